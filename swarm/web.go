package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// errRedirect ends a request that is sent elsewhere: where to, a stranger says.
var errRedirect = errors.New("redirected, which is not followed: name the last address")

// HTTP is a client for URLs that the user named: trackers, web seeds. Its
// connections count like those to peers, for limits on rates, volume and
// number. It follows no redirect and uses no proxy.
func (s *Swarm) HTTP() *http.Client { return s.http }

// silence is how long a server may say nothing.
const silence = 20 * time.Second

func newHTTP(g *gate) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            g.dialNamed,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  silence,
			IdleConnTimeout:        15 * time.Second,
			MaxConnsPerHost:        4,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}
}

// dialNamed connects to a host that the user named, wherever it is.
func (g *gate) dialNamed(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.spend(0, 0); err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dialer := g.dialer
	dialer.KeepAlive = 0 // on: HTTP has none of its own
	nc, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if nc, err = g.track(nc, false); err != nil {
		return nil, err
	}
	return impatient{nc}, nil
}

// impatient is a connection that fails if nothing comes for a while: a router may
// have forgotten it in the middle of an answer.
type impatient struct{ net.Conn }

func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// dialUDP is dialNamed for a UDP tracker.
func (g *gate) dialUDP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{}
	if g.ip.IsValid() {
		d.LocalAddr = &net.UDPAddr{IP: g.ip.AsSlice(), Zone: g.ip.Zone()}
	}
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return datagrams{nc, g}, nil
}

// listenUDP opens a socket for the mainline DHT, on the port of the torrents if
// that is a fixed one.
func (g *gate) listenUDP() (net.PacketConn, error) {
	host := ""
	if g.ip.IsValid() {
		host = g.ip.String()
	}
	address := net.JoinHostPort(host, fmt.Sprint(g.fixed))
	pc, err := new(net.ListenConfig).ListenPacket(g.ctx, "udp", address)
	if isInUse(err) {
		return nil, fmt.Errorf("listen on %s, UDP: %w", address, ErrPortInUse)
	}
	if err != nil {
		return nil, err
	}
	return packets{pc, g}, nil
}

// datagrams and packets are counted, and paid for by what goes over TCP: they
// are few and small, and do not wait. Of packets that come only answers count, which
// who reads them knows: anybody can send others.
type datagrams struct {
	net.Conn
	g *gate
}

func (d datagrams) Write(p []byte) (int, error) {
	if err := d.g.pay(len(p)); err != nil {
		return 0, err
	}
	return d.Conn.Write(p)
}

func (d datagrams) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	d.g.paid(n)
	return n, err
}

type packets struct {
	net.PacketConn
	g *gate
}

func (c packets) WriteTo(p []byte, to net.Addr) (int, error) {
	if err := c.g.pay(len(p)); err != nil {
		return 0, err
	}
	return c.PacketConn.WriteTo(p, to)
}

// pay counts n bytes that are about to be sent.
func (g *gate) pay(n int) error {
	if g.up != nil {
		g.up.ReserveN(time.Now(), min(n, g.up.Burst()))
	}
	return g.spend(n, 0)
}

// paid counts n bytes that came in answer to what we sent. It takes from the rate
// what there is, and owes nothing: nobody can hold back who sends datagrams, and a
// flood of them must not stop what comes over TCP.
func (g *gate) paid(n int) {
	if g.down != nil {
		g.down.AllowN(time.Now(), min(n, g.down.Burst()))
	}
	_ = g.spend(0, n) // they are here
}
