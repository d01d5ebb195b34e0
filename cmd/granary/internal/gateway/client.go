package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
)

// maxLine bounds one line of a node's answer: a result with its holders.
const maxLine = 4 << 20

// ErrNoNode reports that no node answers on a home's socket.
var ErrNoNode = errors.New("no node runs in this home")

// Client talks to the node behind one socket.
type Client struct {
	http *http.Client
	path string
}

// Dial returns a client of the node at the socket, or ErrNoNode.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNode, err)
	}
	if err := conn.Close(); err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", path)
	}}
	return &Client{http: &http.Client{Transport: transport}, path: path}, nil
}

// Close drops idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Status asks how the node stands.
func (c *Client) Status(ctx context.Context) (node.Status, error) {
	var s node.Status
	return s, c.get(ctx, "/v1/status", &s)
}

// Peers asks whom the node knows.
func (c *Client) Peers(ctx context.Context) (node.PeersStatus, error) {
	var s node.PeersStatus
	return s, c.get(ctx, "/v1/peers", &s)
}

// Custodians looks up in the DHT who keeps custody: their peer IDs.
func (c *Client) Custodians(ctx context.Context) ([]string, error) {
	var ids []string
	return ids, c.get(ctx, "/v1/custodians", &ids)
}

// Blocks lists what the home holds.
func (c *Client) Blocks(ctx context.Context) ([]node.BlockStatus, error) {
	var bs []node.BlockStatus
	return bs, c.get(ctx, "/v1/blocks", &bs)
}

// Block tells how one block stands; ref is an ID or a prefix of one.
func (c *Client) Block(ctx context.Context, ref string) (node.BlockStatus, error) {
	var b node.BlockStatus
	return b, c.get(ctx, "/v1/blocks/"+url.PathEscape(ref), &b)
}

// Holders asks the DHT, and those it names, who keeps rows of a block.
func (c *Client) Holders(ctx context.Context, ref string) (HoldersReply, error) {
	var h HoldersReply
	return h, c.get(ctx, "/v1/blocks/"+url.PathEscape(ref)+"/holders", &h)
}

// Standing asks the ledger about a block.
func (c *Client) Standing(ctx context.Context, ref string) (node.Standing, error) {
	var s node.Standing
	return s, c.get(ctx, "/v1/ledger/"+url.PathEscape(ref), &s)
}

// Submit hands a signed transaction to the ledger.
func (c *Client) Submit(ctx context.Context, raw []byte) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/tx", bytes.NewReader(raw))
	if err != nil {
		return err
	}
	return body.Close()
}

// Torrent returns the block's .torrent file.
func (c *Client) Torrent(ctx context.Context, ref string) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, "/v1/blocks/"+url.PathEscape(ref)+"/torrent", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxTorrent))
}

// Metrics returns what the node counts, in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, maxTorrent))
}

// Content opens the bytes of a whole block; the caller closes it.
func (c *Client) Content(ctx context.Context, ref string) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, "/v1/blocks/"+url.PathEscape(ref)+"/content", nil)
}

// Delete removes a block from the home.
func (c *Client) Delete(ctx context.Context, ref string) error {
	body, err := c.do(ctx, http.MethodDelete, "/v1/blocks/"+url.PathEscape(ref), nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// Publish hands content to the node; see node.Publish.
func (c *Client) Publish(ctx context.Context, name string, content io.Reader, opt node.PublishOptions, report node.Report) (node.PublishResult, error) {
	q := url.Values{
		"name": {name}, "patience": {opt.Patience.String()},
		"wait": {string(opt.Wait)}, "keep": {strconv.Itoa(opt.Keep)}, "size": {strconv.FormatInt(opt.Size, 10)},
		"namespace": {opt.Namespace},
	}
	var r node.PublishResult
	return r, c.stream(ctx, "/v1/blocks?"+q.Encode(), content, report, &r)
}

// Fetch makes the node fetch a block; see node.Fetch. Only an ID, a prefix or
// a .torrent's bytes travel.
func (c *Client) Fetch(ctx context.Context, ref node.Ref, opt node.FetchOptions, report node.Report) (node.FetchResult, error) {
	q := url.Values{"patience": {opt.Patience.String()}}
	for _, p := range opt.Peers {
		q.Add("peer", p.String())
	}
	var body io.Reader
	if ref.Bundle != nil {
		body = bytes.NewReader(ref.Bundle.Torrent())
	}
	var r node.FetchResult
	return r, c.stream(ctx, "/v1/blocks/"+refPath(ref)+"/fetch?"+q.Encode(), body, report, &r)
}

// Verify makes the node test whether a block is available; see node.Verify.
func (c *Client) Verify(ctx context.Context, ref node.Ref, opt node.VerifyOptions, report node.Report) (node.VerifyResult, error) {
	var r node.VerifyResult
	return r, c.stream(ctx, "/v1/blocks/"+refPath(ref)+"/verify?"+verifyQuery(opt).Encode(), nil, report, &r)
}

func verifyQuery(opt node.VerifyOptions) url.Values {
	return url.Values{
		"bits": {strconv.Itoa(opt.Bits)}, "patience": {opt.Patience.String()},
		"escalate": {strconv.FormatBool(opt.Escalate)}, "wait": {opt.Wait.String()},
	}
}

// Watch makes the node follow the ledger and test what is certified, until ctx
// ends; see node.Watch.
func (c *Client) Watch(ctx context.Context, opt node.WatchOptions, emit func(node.Watched) error) error {
	q := verifyQuery(opt.VerifyOptions)
	q.Set("budget", strconv.FormatInt(opt.Budget, 10))
	q.Set("namespace", opt.Namespace)
	body, err := c.do(ctx, http.MethodPost, "/v1/watch?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	defer body.Close()
	d := json.NewDecoder(body)
	for {
		var seen node.Watched
		if err := d.Decode(&seen); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return fmt.Errorf("the node at %s ended: %w", c.path, err)
		}
		if err := emit(seen); err != nil {
			return err
		}
	}
}

// Withhold makes a devnet's node drop the pieces of a block in these groups.
func (c *Client) Withhold(ctx context.Context, id string, groups uint64) error {
	body, err := c.do(ctx, http.MethodPost, "/v1/faults/withhold/"+id+"?groups="+strconv.FormatUint(groups, 16), nil)
	if err != nil {
		return err
	}
	return body.Close()
}

// refPath is how a reference travels: a torrent's content goes in the body.
func refPath(ref node.Ref) string {
	switch {
	case ref.Name != "":
		return url.PathEscape("@" + ref.Name)
	case ref.Index != nil:
		return url.PathEscape("#" + strconv.FormatUint(*ref.Index, 10))
	case ref.Prefix != "":
		return ref.Prefix
	}
	return ref.ID.String()
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://granary"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // its text has an address that means nothing
		}
		return nil, fmt.Errorf("ask the node at %s: %w", c.path, err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var m ErrorMessage
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil || m.Type != "error" {
		return nil, fmt.Errorf("the node at %s answered %s", c.path, resp.Status)
	}
	return nil, c.failed(ctx, m)
}

// failed is the error that the node reports. One that was interrupted is stopped, if
// it was not the caller who interrupted it.
func (c *Client) failed(ctx context.Context, m ErrorMessage) error {
	switch {
	case m.Status != exit.Interrupted:
		return m.Err()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &exit.Error{
		Status: exit.TryAgain, Err: fmt.Errorf("the node at %s was stopped", c.path),
		Hint: "start it, and run the same command again to resume",
	}
}

func (c *Client) stream(ctx context.Context, path string, content io.Reader, report node.Report, result any) error {
	body, err := c.do(ctx, http.MethodPost, path, content)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var m struct {
			ErrorMessage
			node.Progress
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("read the node's answer: %w", err)
		}
		switch m.Type {
		case "progress":
			if report != nil {
				report(m.Progress)
			}
		case "error":
			return c.failed(ctx, m.ErrorMessage)
		case "result":
			return json.Unmarshal(m.Result, result)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the node at %s ended before it answered: %w", c.path, errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// Await dials until a node answers on the socket or ctx ends. Where that is may
// change when the node starts.
func Await(ctx context.Context, path func() string) (*Client, error) {
	for {
		c, err := Dial(ctx, path())
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
