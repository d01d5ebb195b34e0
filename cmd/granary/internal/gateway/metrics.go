package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"granary/cmd/granary/internal/node"
	"granary/ledger/light"
)

// ListenHTTP opens the port of Monitor.
func ListenHTTP(at netip.AddrPort) (net.Listener, error) {
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for monitoring: %w", err)
	}
	return l, nil
}

// Monitor answers /metrics, /healthz and /readyz on l, and nothing else, until
// ctx ends; then it closes l. What it tells names no peer, block or address.
func Monitor(ctx context.Context, l net.Listener, n *node.Node) error {
	mux := http.NewServeMux()
	monitor(mux, n)
	return serve(ctx, l, mux)
}

func monitor(mux *http.ServeMux, n *node.Node) {
	// A registry of our own: the default one has whatever libraries put there.
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{n}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, err := n.Status() // it reads the store
		say(w, err)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { say(w, ready(n)) })
}

// ready says what keeps the node from being of use, nil if nothing.
func ready(n *node.Node) error {
	s, err := n.Status()
	switch {
	case err != nil:
		return err
	case len(s.Peers) == 0:
		return errors.New("connected to nobody")
	case s.Ledger.State != light.Synced:
		return fmt.Errorf("the ledger is %s", s.Ledger.State)
	}
	return nil
}

func say(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// collector tells Prometheus what a node counts. docs/metrics.md lists it.
type collector struct{ n *node.Node }

// metric describes one of them.
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("granary_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector. It sends nothing, so nothing is
// checked before it is collected.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64) {
		out <- prometheus.MustNewConstMetric(metric(name, help), prometheus.GaugeValue, value)
	}
	s, err := c.n.Status()
	if err != nil {
		out <- prometheus.NewInvalidMetric(metric("node_status", "what the node says of itself"), err)
		return
	}
	inbound, relayed := 0, 0
	for _, p := range s.Peers {
		if p.Inbound {
			inbound++
		}
		if p.Relayed {
			relayed++
		}
	}
	gauge("kad_peers", "Connected peers.", float64(len(s.Peers)))
	gauge("kad_inbound_peers", "Connected peers that dialled this node.", float64(inbound))
	gauge("kad_relayed_peers", "Peers connected through a relay only.", float64(relayed))
	states(out, "kad_reachability", "1 at what is known of whether others can dial this node.", s.Reach.State, "open", "closed", "untested", "devnet")

	gauge("ledger_height", "Height of the verified head.", float64(s.Ledger.Height))
	gauge("ledger_entries", "Entries in the log of the verified head.", float64(s.Ledger.Size))
	if !s.Ledger.Time.IsZero() {
		gauge("ledger_head_age_seconds", "Time since the validators signed the verified head.", time.Since(s.Ledger.Time).Seconds())
	}
	states(out, "ledger_state", "1 at the state of the verified head.", string(s.Ledger.State),
		string(light.Synced), string(light.Lagging), string(light.Stale), string(light.Forked), string(light.Unreachable))

	gauge("blobstore_blocks", "Blocks of which something is stored.", float64(s.Blocks))
	gauge("blobstore_bytes", "Bytes on disk, everything in the home.", float64(s.Storage.Bytes))
	gauge("blobstore_quota_bytes", "Most bytes that the home may take; 0 for no limit.", float64(s.Storage.Quota))
	gauge("blobstore_damaged_blocks", "Blocks with pieces that were found damaged and are not repaired.", float64(s.Storage.Damaged))
	gauge("swarm_connections", "Torrent connections.", float64(s.Conns))
	gauge("swarm_banned_addresses", "Addresses that sent wrong bytes.", float64(len(s.Banned)))
	gauge("swarm_month_sent_bytes", "Torrent bytes sent in this calendar month.", float64(s.Traffic.Sent))
	gauge("swarm_month_received_bytes", "Torrent bytes received in this calendar month.", float64(s.Traffic.Received))
	gauge("node_backlog_blocks", "Announced blocks that are owed and not kept yet.", float64(s.Backlog))
	gauge("node_lent_bytes", "Bytes lent to pieces that few others hold.", float64(s.Lent.Bytes))

	c.exchanges(out)
	sampled(out, s.Sampled)
}

// states sends one gauge per state, of which one is 1.
func states(out chan<- prometheus.Metric, name, help, now string, all ...string) {
	for _, state := range all {
		value := 0.0
		if state == now {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(metric(name, help, "state"), prometheus.GaugeValue, value, state)
	}
}

// exchanges sends what the host has counted.
func (c collector) exchanges(out chan<- prometheus.Metric) {
	times := metric("kad_exchanges_total", "Requests served and asked, and announcements heard, by how they ended.", "protocol", "side", "result")
	bytes := metric("kad_exchange_bytes_total", "Bytes of their replies, and of announcements.", "protocol", "side", "result")
	for e, tally := range c.n.Counts() {
		out <- prometheus.MustNewConstMetric(times, prometheus.CounterValue, float64(tally.Times), e.Protocol, e.Side, e.Result)
		out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(tally.Bytes), e.Protocol, e.Side, e.Result)
	}
}

// sampled sends what tests came to, for each custody group too.
func sampled(out chan<- prometheus.Metric, s node.Sampled) {
	verdicts := metric("sampling_verdicts_total", "Tests of blocks by their verdict.", "verdict")
	for state, n := range s.Verdicts {
		out <- prometheus.MustNewConstMetric(verdicts, prometheus.CounterValue, float64(n), string(state))
	}
	causes := metric("sampling_rows_total", "Rows asked for in tests, by how asking for them ended.", "cause")
	for cause, n := range s.Causes {
		out <- prometheus.MustNewConstMetric(causes, prometheus.CounterValue, float64(n), string(cause))
	}
	out <- prometheus.MustNewConstMetric(metric("sampling_bytes_total", "Bytes of rows and paths received in tests."),
		prometheus.CounterValue, float64(s.Bytes))
	buckets := map[float64]uint64{}
	for i, n := range s.Took.Buckets {
		buckets[node.TookBucket(i).Seconds()] = n
	}
	out <- prometheus.MustNewConstHistogram(metric("sampling_verdict_seconds", "Time from the beginning of a test to its verdict."),
		s.Took.Count, s.Took.Sum.Seconds(), buckets)

	asked := metric("sampling_group_rows_total", "Rows asked for in tests, by custody group.", "group")
	verified := metric("sampling_group_verified_rows_total", "Rows that came verified, by custody group.", "group")
	holders := metric("kad_group_custodians", "Custodians of a group that are known and answered when asked last.", "group")
	for g, group := range s.Groups {
		label := strconv.Itoa(g)
		out <- prometheus.MustNewConstMetric(asked, prometheus.CounterValue, float64(group.Asked), label)
		out <- prometheus.MustNewConstMetric(verified, prometheus.CounterValue, float64(group.Verified), label)
		out <- prometheus.MustNewConstMetric(holders, prometheus.GaugeValue, float64(group.Holders), label)
	}
}
