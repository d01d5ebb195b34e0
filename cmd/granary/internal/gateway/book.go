package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/ledger"
)

// commitPatience is how long a call waits for its transaction to be in the log.
const commitPatience = time.Minute

// maxBody bounds what such a call carries: a change with a validator.
const maxBody = 64 << 10

// book serves what the ledger has beside blocks: names, credits, validators.
func (g gateway) book(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/names/{name}", func(w http.ResponseWriter, r *http.Request) {
		s, err := g.n.Name(r.Context(), r.PathValue("name"), askLedger)
		reply(w, s, err)
	})
	mux.HandleFunc("GET /v1/names/{name}/history", func(w http.ResponseWriter, r *http.Request) {
		s, err := g.n.NameHistory(r.Context(), r.PathValue("name"), askLedger)
		reply(w, s, err)
	})
	mux.HandleFunc("POST /v1/names", posted(g.n.SetName))
	mux.HandleFunc("GET /v1/credits", func(w http.ResponseWriter, r *http.Request) {
		s, err := g.n.Credit(r.Context(), r.URL.Query().Get("key"), askLedger)
		reply(w, s, err)
	})
	mux.HandleFunc("POST /v1/credits", posted(func(ctx context.Context, t transfer, patience time.Duration) (node.CreditStatus, error) {
		return g.n.Transfer(ctx, t.To, t.Credits, patience)
	}))
	mux.HandleFunc("GET /v1/validators", func(w http.ResponseWriter, r *http.Request) {
		s, err := g.n.Network(r.Context(), askLedger)
		reply(w, s, err)
	})
	mux.HandleFunc("POST /v1/proposals", posted(g.n.Propose))
	mux.HandleFunc("POST /v1/votes", posted(g.n.Vote))
	mux.HandleFunc("POST /v1/attest-key", posted(func(ctx context.Context, r ledger.Rotation, patience time.Duration) (struct{}, error) {
		return struct{}{}, g.n.Rotate(ctx, r, patience)
	}))
}

type transfer struct {
	To      string `json:"to"`
	Credits int64  `json:"credits"`
}

// posted returns a handler that does what a JSON body says and replies with what
// came of it.
func posted[Q, R any](do func(context.Context, Q, time.Duration) (R, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&q); err != nil {
			reply(w, nil, exit.Usagef("", "read request: %w", err))
			return
		}
		out, err := do(r.Context(), q, commitPatience)
		reply(w, out, err)
	}
}

// Name asks what the ledger has about a name.
func (c *Client) Name(ctx context.Context, name string) (node.NameStatus, error) {
	var s node.NameStatus
	return s, c.get(ctx, "/v1/names/"+url.PathEscape(name), &s)
}

// NameHistory asks for all entries about a name.
func (c *Client) NameHistory(ctx context.Context, name string) ([]node.NameStep, error) {
	var s []node.NameStep
	return s, c.get(ctx, "/v1/names/"+url.PathEscape(name)+"/history", &s)
}

// SetName makes the node do something with a name; see node.SetName.
func (c *Client) SetName(ctx context.Context, change node.NameChange) (node.NameStatus, error) {
	var s node.NameStatus
	return s, c.post(ctx, "/v1/names", change, &s)
}

// Credit asks for the account of a key; empty: of the node's publisher.
func (c *Client) Credit(ctx context.Context, key string) (node.CreditStatus, error) {
	var s node.CreditStatus
	return s, c.get(ctx, "/v1/credits?key="+url.QueryEscape(key), &s)
}

// Transfer makes the node move credits of its publisher to another key.
func (c *Client) Transfer(ctx context.Context, to string, credits int64) (node.CreditStatus, error) {
	var s node.CreditStatus
	return s, c.post(ctx, "/v1/credits", transfer{to, credits}, &s)
}

// Network asks who the validators are, and what is put to the vote.
func (c *Client) Network(ctx context.Context) (node.NetworkStatus, error) {
	var s node.NetworkStatus
	return s, c.get(ctx, "/v1/validators", &s)
}

// Propose makes the node put a change to the vote.
func (c *Client) Propose(ctx context.Context, change ledger.Change) (node.Decided, error) {
	var d node.Decided
	return d, c.post(ctx, "/v1/proposals", change, &d)
}

// Vote makes the node vote on a proposal.
func (c *Client) Vote(ctx context.Context, v ledger.Vote) (node.Decided, error) {
	var d node.Decided
	return d, c.post(ctx, "/v1/votes", v, &d)
}

// Rotate makes another attest key that of the node's validator.
func (c *Client) Rotate(ctx context.Context, to ledger.Rotation) error {
	return c.post(ctx, "/v1/attest-key", to, &struct{}{})
}

func (c *Client) post(ctx context.Context, path string, q, v any) error {
	raw, err := json.Marshal(q)
	if err != nil {
		return err
	}
	body, err := c.do(ctx, http.MethodPost, path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	err = json.NewDecoder(body).Decode(v)
	return errors.Join(err, body.Close())
}
