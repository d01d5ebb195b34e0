package gateway

import (
	"context"
	"net/http"
	"net/url"
)

// Pin makes the node keep a stored block until Unpin.
func (c *Client) Pin(ctx context.Context, ref string) error {
	return c.keep(ctx, http.MethodPut, ref)
}

// Unpin forgets that a block was published, pinned or fetched here: what is
// owed to nobody is deleted.
func (c *Client) Unpin(ctx context.Context, ref string) error {
	return c.keep(ctx, http.MethodDelete, ref)
}

func (c *Client) keep(ctx context.Context, method, ref string) error {
	body, err := c.do(ctx, method, "/v1/blocks/"+url.PathEscape(ref)+"/pin", nil)
	if err != nil {
		return err
	}
	return body.Close()
}

func (g gateway) pin(w http.ResponseWriter, r *http.Request) {
	b, _, err := g.find(r)
	if err == nil {
		err = g.n.Pin(r.Context(), b.ID())
	}
	reply(w, struct{}{}, err)
}

func (g gateway) unpin(w http.ResponseWriter, r *http.Request) {
	b, _, err := g.find(r)
	if err == nil {
		err = g.n.Unpin(r.Context(), b.ID())
	}
	reply(w, struct{}{}, err)
}
