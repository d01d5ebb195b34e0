package gateway

import (
	"context"
	"net/http"

	"granary/cmd/granary/internal/node"
)

// Seed turns working for others on or off; see node.Seed.
func (c *Client) Seed(ctx context.Context, on bool) error {
	method := http.MethodDelete
	if on {
		method = http.MethodPut
	}
	body, err := c.do(ctx, method, "/v1/seeding", nil)
	if err != nil {
		return err
	}
	return body.Close()
}

func (g gateway) seedOn(w http.ResponseWriter, _ *http.Request)  { g.seed(w, true) }
func (g gateway) seedOff(w http.ResponseWriter, _ *http.Request) { g.seed(w, false) }

func (g gateway) seed(w http.ResponseWriter, on bool) {
	err := g.n.Seed(on)
	reply(w, struct {
		node.Seeding `json:"seeding"`
	}{g.n.Seeding()}, err)
}
