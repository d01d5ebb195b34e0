package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
)

// maxScrubRequest bounds a list of references.
const maxScrubRequest = 1 << 20

// scrubRequest is the body of a scrub call.
type scrubRequest struct {
	Refs     []string      `json:"refs"`
	Repair   bool          `json:"repair"`
	Rate     int64         `json:"rate"`
	Patience time.Duration `json:"patience"`
}

// scrubMessage is one line of the answer: progress, a block, the sum or an
// error.
type scrubMessage struct {
	ErrorMessage
	Progress *node.Progress     `json:"progress,omitempty"`
	Block    *node.ScrubResult  `json:"block,omitempty"`
	Sum      *node.ScrubSummary `json:"sum,omitempty"`
}

// Scrub makes the node check what it holds; see node.Scrub.
func (c *Client) Scrub(ctx context.Context, opt node.ScrubOptions, report node.Report, visit func(node.ScrubResult)) (node.ScrubSummary, error) {
	req := scrubRequest{Repair: opt.Repair, Rate: opt.Rate, Patience: opt.Patience}
	for _, ref := range opt.Refs {
		req.Refs = append(req.Refs, refText(ref))
	}
	raw, err := json.Marshal(req)
	if err != nil {
		return node.ScrubSummary{}, err
	}
	body, err := c.do(ctx, http.MethodPost, "/v1/scrub", bytes.NewReader(raw))
	if err != nil {
		return node.ScrubSummary{}, err
	}
	defer body.Close()
	d := json.NewDecoder(body)
	for {
		var m scrubMessage
		if err := d.Decode(&m); ctx.Err() != nil {
			return node.ScrubSummary{}, ctx.Err()
		} else if err != nil {
			return node.ScrubSummary{}, fmt.Errorf("the node ended before it answered: %w", err)
		}
		switch {
		case m.Type == "error":
			return node.ScrubSummary{}, c.failed(ctx, m.ErrorMessage)
		case m.Progress != nil && report != nil:
			report(*m.Progress)
		case m.Block != nil:
			visit(*m.Block)
		case m.Sum != nil:
			return *m.Sum, nil
		}
	}
}

// refText is how a reference to a stored block is written.
func refText(ref node.Ref) string {
	if ref.Prefix != "" {
		return ref.Prefix
	}
	return ref.ID.String()
}

func (g gateway) scrub(w http.ResponseWriter, r *http.Request) {
	var req scrubRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, maxScrubRequest)).Decode(&req); err != nil {
		reply(w, nil, exit.Usagef("", "scrub: %w", err))
		return
	}
	opt := node.ScrubOptions{Repair: req.Repair, Rate: req.Rate, Patience: req.Patience}
	for _, text := range req.Refs {
		ref, err := node.ParseRef(text)
		if err != nil {
			reply(w, nil, err)
			return
		}
		opt.Refs = append(opt.Refs, ref)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var last time.Time
	sum, err := g.n.Scrub(r.Context(), opt, func(p node.Progress) {
		if p.Done == p.Total || time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			line(w, scrubMessage{Progress: &p})
		}
	}, func(b node.ScrubResult) { line(w, scrubMessage{Block: &b}) })
	if err != nil {
		line(w, scrubMessage{ErrorMessage: NewError(err)})
		return
	}
	line(w, scrubMessage{Sum: &sum})
}
