// Package utp stands in for github.com/anacrolix/go-utp, which cannot be
// downloaded everywhere Granary must build. It has the names that
// anacrolix/torrent compiles against and refuses every socket, so Granary
// speaks BitTorrent over TCP only. go.mod replaces the real module with it.
package utp

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Default names the implementation in error messages.
const Default = "refused"

// ErrRefused is what every constructor returns.
var ErrRefused = errors.New("uTP is not built in: Granary uses TCP")

// FirewallCallback decides whether a connection attempt is dropped.
type FirewallCallback func(net.Addr) bool

// Option configures a socket; options are accepted and ignored.
type Option func()

// WithLogger returns an option without effect.
func WithLogger(*slog.Logger) Option { return func() {} }

// Socket has the methods that anacrolix/torrent calls. Nothing implements it.
type Socket interface {
	net.PacketConn
	Accept() (net.Conn, error)
	Addr() net.Addr
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	SetFirewallCallback(FirewallCallback)
}

// NewSocket returns ErrRefused.
func NewSocket(network, addr string, opts ...Option) (Socket, error) { return nil, ErrRefused }

// NewSocketFromPacketConn returns ErrRefused and leaves pc open.
func NewSocketFromPacketConn(pc net.PacketConn, opts ...Option) (Socket, error) {
	return nil, ErrRefused
}
