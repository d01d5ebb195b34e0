// Package tracker asks BitTorrent trackers for peers: over HTTP and HTTPS (BEP
// 3, 7, 23) and over UDP (BEP 15, 41).
//
// What a tracker answers is a stranger's word: it is bounded in size and in
// number, parsed without allocating more than it holds, and gives addresses,
// nothing else. No redirect is followed if the caller's http.Client follows
// none. The package keeps no state and starts no goroutine.
package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// ErrTracker reports that a tracker refused, or answered what is no answer.
var ErrTracker = errors.New("tracker refused")

// maxPeers bounds the addresses taken from one answer; trackers send 50 to 200.
const maxPeers = 200

// Request is what a tracker is told.
type Request struct {
	Hash   [20]byte // of a v2 torrent the first 20 bytes (BEP 52)
	PeerID [20]byte
	Port   uint16 // where we listen
	Left   int64  // bytes we lack; 0: we are a seeder
	Want   int    // addresses to send us; 0: none
	Begin  bool   // the first announcement
	Key    uint32 // tells us from others behind one address
}

// Reply is what it answers.
type Reply struct {
	Interval time.Duration // before the next announcement
	Peers    []netip.AddrPort
}

// Client asks trackers.
type Client struct {
	HTTP *http.Client
	Dial func(ctx context.Context, network, address string) (net.Conn, error) // "udp"
}

// Check reports whether a tracker can be asked at this URL.
func Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "udp":
		return fmt.Errorf("tracker %q: neither http, https nor udp", address)
	case u.Host == "" || u.Scheme == "udp" && u.Port() == "":
		return fmt.Errorf("tracker %q: no host, or no port", address)
	}
	return nil
}

// Announce tells the tracker at address of us and returns whom it names. It
// ends with ctx.
func (c Client) Announce(ctx context.Context, address string, r Request) (Reply, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Reply{}, err
	}
	reply, err := c.announce(ctx, u, r)
	if err != nil {
		return Reply{}, fmt.Errorf("ask tracker %s: %w", u.Host, err)
	}
	reply.Peers = reply.Peers[:min(len(reply.Peers), maxPeers)]
	return reply, nil
}

func (c Client) announce(ctx context.Context, u *url.URL, r Request) (Reply, error) {
	if u.Scheme == "udp" {
		nc, err := c.Dial(ctx, "udp", u.Host)
		if err != nil {
			return Reply{}, err
		}
		defer nc.Close()
		defer context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })()
		reply, err := overUDP(ctx, nc, u.RequestURI(), r)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return reply, err
	}
	return overHTTP(ctx, c.HTTP, *u, r)
}

// seconds is an interval as a tracker says it, within reason.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 60), 24*60*60)) * time.Second
}

// compact reads addresses of BEP 23 and 7: size bytes of IP and two of port
// each. What remains at the end is ignored.
func compact(b []byte, size int) []netip.AddrPort {
	var list []netip.AddrPort
	for ; len(b) >= size+2; b = b[size+2:] {
		ip, _ := netip.AddrFromSlice(b[:size])
		list = append(list, netip.AddrPortFrom(ip, uint16(b[size])<<8|uint16(b[size+1])))
	}
	return list
}
