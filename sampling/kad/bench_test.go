package kad_test

import (
	"errors"
	"testing"

	"granary/erasure"
	"granary/sampling/kad"
)

// BenchmarkRow asks one peer on loopback for one row after the other, as far
// as it admits; what is measured includes its answers that it is busy.
func BenchmarkRow(b *testing.B) {
	src := &memory{}
	id := src.add(b, content(1<<20)).Info.ID()
	server, client := pair(b, src)
	b.SetBytes(erasure.RowSize)
	b.ReportAllocs()
	served := 0
	for b.Loop() {
		_, _, err := client.Row(b.Context(), server.ID(), id, 0)
		if err == nil {
			served++
		} else if !errors.Is(err, kad.ErrBusy) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(served)/float64(b.N), "served/op")
}

// BenchmarkCustodians looks up all 64 group keys among seven nodes.
func BenchmarkCustodians(b *testing.B) {
	hosts := hostsOf(b, 7, true)
	waitFor(b, "all custodians", func() bool {
		got, err := hosts[6].Custodians(b.Context())
		return err == nil && len(got) == 6
	})
	b.ReportAllocs()
	for b.Loop() {
		if got, err := hosts[6].Custodians(b.Context()); err != nil || len(got) != 6 {
			b.Fatalf("%d custodians, %v", len(got), err)
		}
	}
}
