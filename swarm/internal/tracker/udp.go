package tracker

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// BEP 15. All numbers are big-endian.
const (
	connectMagic = 0x41727101980

	actionConnect  = 0
	actionAnnounce = 1
	actionError    = 3

	optionPath = 2 // BEP 41: path and query of the tracker's URL

	// An unanswered request is sent again after 5, 10 and 20 s; BEP 15 waits
	// three times as long and for an hour, which no fetch can.
	firstWait = 5 * time.Second
	maxTries  = 3
)

func overUDP(ctx context.Context, nc net.Conn, path string, r Request) (Reply, error) {
	connected, err := roundTrip(ctx, nc, actionConnect, binary.BigEndian.AppendUint64(nil, connectMagic), nil)
	if err != nil {
		return Reply{}, err
	}
	if len(connected) < 8 {
		return Reply{}, fmt.Errorf("%w: connection answer of %d bytes", ErrTracker, len(connected))
	}
	answer, err := roundTrip(ctx, nc, actionAnnounce, connected[:8], announcement(path, r))
	if err != nil {
		return Reply{}, err
	}
	remote, _ := netip.ParseAddrPort(nc.RemoteAddr().String())
	return ParseUDP(answer, remote.Addr().Unmap().Is6())
}

// announcement is the request after its header of 16 bytes.
func announcement(path string, r Request) []byte {
	be := binary.BigEndian
	b := append([]byte(nil), r.Hash[:]...)
	b = append(b, r.PeerID[:]...)
	b = be.AppendUint64(b, 0) // downloaded
	b = be.AppendUint64(b, uint64(r.Left))
	b = be.AppendUint64(b, 0) // uploaded
	event := uint32(0)
	if r.Begin {
		event = 2
	}
	b = be.AppendUint32(b, event)
	b = be.AppendUint32(b, 0) // our address: that of the packet
	b = be.AppendUint32(b, r.Key)
	b = be.AppendUint32(b, uint32(r.Want))
	b = be.AppendUint16(b, r.Port)
	for len(path) > 0 {
		part := path[:min(len(path), 255)]
		b = append(append(b, optionPath, byte(len(part))), part...)
		path = path[len(part):]
	}
	return b
}

// ParseUDP reads an announcement's answer after its header of 8 bytes. Whether
// it has IPv6 addresses follows from the tracker's own.
func ParseUDP(b []byte, ipv6 bool) (Reply, error) {
	if len(b) < 12 {
		return Reply{}, fmt.Errorf("%w: answer of %d bytes", ErrTracker, len(b))
	}
	size := 4
	if ipv6 {
		size = 16
	}
	return Reply{Interval: seconds(int64(int32(binary.BigEndian.Uint32(b)))), Peers: compact(b[12:], size)}, nil
}

// roundTrip sends a request, up to maxTries times, and returns its answer
// without the header.
func roundTrip(ctx context.Context, nc net.Conn, action uint32, connection, body []byte) ([]byte, error) {
	request := binary.BigEndian.AppendUint32(append([]byte(nil), connection...), action)
	request = append(request, make([]byte, 4)...)
	_, _ = rand.Read(request[12:16])
	id := binary.BigEndian.Uint32(request[12:16])
	request = append(request, body...)
	for try := range maxTries {
		if err := nc.SetReadDeadline(time.Now().Add(firstWait << try)); err != nil {
			return nil, err
		}
		if ctx.Err() != nil { // it may have ended before the deadline was set
			return nil, context.Cause(ctx)
		}
		if _, err := nc.Write(request); err != nil {
			return nil, err
		}
		answer, err := receive(nc, action, id)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, err
		}
	}
	return nil, fmt.Errorf("%w: no answer", ErrTracker)
}

// receive waits for the answer to request id. Others are late or forged.
func receive(nc net.Conn, action, id uint32) ([]byte, error) {
	buf := make([]byte, 8+12+18*maxPeers)
	for {
		n, err := nc.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 8 || binary.BigEndian.Uint32(buf[4:]) != id {
			continue
		}
		switch got := binary.BigEndian.Uint32(buf); got {
		case action:
			return buf[8:n], nil
		case actionError:
			return nil, fmt.Errorf("%w: %.200q", ErrTracker, buf[8:n])
		}
	}
}
