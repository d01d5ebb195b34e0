package gateway

import (
	"context"
	"net/http"
	"strconv"

	"granary/cmd/granary/internal/exit"
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

// Lend sets how many bytes of disk are lent to what others need; see node.Lend.
func (c *Client) Lend(ctx context.Context, bytes int64) error {
	body, err := c.do(ctx, http.MethodPut, "/v1/lend?bytes="+strconv.FormatInt(bytes, 10), nil)
	if err != nil {
		return err
	}
	return body.Close()
}

func (g gateway) lend(w http.ResponseWriter, r *http.Request) {
	bytes, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || bytes < 0 {
		reply(w, nil, exit.Usagef("", "bytes=%.40q is no number of bytes to lend", r.URL.Query().Get("bytes")))
		return
	}
	err = g.n.Lend(bytes)
	reply(w, g.n.Lent(), err)
}

func (g gateway) seedOn(w http.ResponseWriter, _ *http.Request)  { g.seed(w, true) }
func (g gateway) seedOff(w http.ResponseWriter, _ *http.Request) { g.seed(w, false) }

func (g gateway) seed(w http.ResponseWriter, on bool) {
	err := g.n.Seed(on)
	reply(w, struct {
		node.Seeding `json:"seeding"`
	}{g.n.Seeding()}, err)
}
