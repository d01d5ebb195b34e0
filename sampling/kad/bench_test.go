package kad_test

import "testing"

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
