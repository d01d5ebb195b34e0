package tracker

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/anacrolix/torrent/bencode"
)

// maxBody bounds an answer: 200 peers as dictionaries are 20 KB.
const maxBody = 64 << 10

func overHTTP(ctx context.Context, client *http.Client, u url.URL, r Request) (Reply, error) {
	q := url.Values{
		"info_hash":  {string(r.Hash[:])},
		"peer_id":    {string(r.PeerID[:])},
		"port":       {strconv.Itoa(int(r.Port))},
		"uploaded":   {"0"},
		"downloaded": {"0"},
		"left":       {strconv.FormatInt(r.Left, 10)},
		"compact":    {"1"},
		"numwant":    {strconv.Itoa(r.Want)},
		"key":        {fmt.Sprintf("%08x", r.Key)},
	}
	if r.Begin {
		q.Set("event", "started")
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += strings.ReplaceAll(q.Encode(), "+", "%20") // trackers read "+" as itself
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Reply{}, err
	}
	req.Header.Set("User-Agent", "granary")
	res, err := client.Do(req)
	if err != nil {
		return Reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return Reply{}, err
	}
	if res.StatusCode != http.StatusOK {
		return Reply{}, fmt.Errorf("%w: %s", ErrTracker, res.Status)
	}
	return ParseHTTP(body)
}

// ParseHTTP reads the body of an answer over HTTP.
func ParseHTTP(body []byte) (Reply, error) {
	var answer struct {
		Failure  string        `bencode:"failure reason"`
		Interval int64         `bencode:"interval"`
		Peers    bencode.Bytes `bencode:"peers"`
		Peers6   string        `bencode:"peers6"`
	}
	if err := bencode.Unmarshal(body, &answer); err != nil {
		return Reply{}, fmt.Errorf("%w: not a tracker's answer: %w", ErrTracker, err)
	}
	if answer.Failure != "" {
		return Reply{}, fmt.Errorf("%w: %.200q", ErrTracker, answer.Failure)
	}
	r := Reply{Interval: seconds(answer.Interval)}
	var text string
	if len(answer.Peers) > 0 && bencode.Unmarshal(answer.Peers, &text) == nil {
		r.Peers = compact([]byte(text), 4)
	} else if len(answer.Peers) > 0 {
		r.Peers = dictionaries(answer.Peers)
	}
	r.Peers = append(r.Peers, compact([]byte(answer.Peers6), 16)...)
	return r, nil
}

// dictionaries reads the list of BEP 3. What is no address is left out; names
// are not looked up.
func dictionaries(raw bencode.Bytes) []netip.AddrPort {
	var list []struct {
		IP   string `bencode:"ip"`
		Port int    `bencode:"port"`
	}
	if err := bencode.Unmarshal(raw, &list); err != nil {
		return nil
	}
	var peers []netip.AddrPort
	for _, p := range list {
		if ip, err := netip.ParseAddr(p.IP); err == nil && p.Port > 0 && p.Port < 1<<16 {
			peers = append(peers, netip.AddrPortFrom(ip, uint16(p.Port)))
		}
	}
	return peers
}
