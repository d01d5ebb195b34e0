package sampling_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"granary/erasure"
	"granary/sampling"
)

func TestVerdictsSayWhatTheyMean(t *testing.T) {
	control := sampling.Control{ID: erasure.ID{0xab, 0xcd, 0xef, 0x01}, Rows: 8, Verified: 7}
	for _, c := range []struct {
		v            sampling.Verdict
		line, people string
	}{
		{
			sampling.Verdict{State: sampling.Available, Bits: 20, Rows: 51, Verified: 51, Fetched: 51, Need: 4096, Bytes: 855168, Took: 530400 * time.Microsecond},
			"00000000 available: 51 of 51 rows verified, 20 bits, 855168 bytes, 530ms",
			"51 random rows were asked for, 0 were missing. Had fewer than 75 % of the rows been servable and consistent, this test would have passed with probability below 2^-20. It does not show that others were served, or will be later.",
		},
		{
			sampling.Verdict{State: sampling.Available, Bits: 128, Rows: 41, Verified: 40, Missing: 1, Decoded: true, Fetched: 40, Need: 40},
			"00000000 available: 40 of 41 rows verified, decoded, 128 bits, 0 bytes, 0s",
			"40 verified rows were fetched. They decode, and what they decode to encodes to this ID again: the whole block was there for us. It does not show that it is there for others, or will be later.",
		},
		{
			sampling.Verdict{State: sampling.Unavailable, Reason: sampling.Withheld, Rows: 128, Verified: 51, Missing: 77, Tolerated: 10, Fetched: 51, Need: 4096, Control: control},
			"00000000 unavailable (its holders do not serve it, while they serve another block): 51 of 128 rows verified, 0 bytes, 0s",
			"128 random rows were asked for, 77 were missing; at most 10 may be. The holders known were asked in two rounds, and 7 of 8 rows of block abcdef01 came through them at the same time. It may still decode from other rows. It may come back: ask again later.",
		},
		{
			sampling.Verdict{State: sampling.Unavailable, Reason: sampling.Withheld, Rows: 128, Verified: 51, Missing: 77, Tolerated: 10, Fetched: 300, Need: 512, Control: control},
			"00000000 unavailable (its holders do not serve it, while they serve another block): 51 of 128 rows verified, 0 bytes, 0s",
			"128 random rows were asked for, 77 were missing; at most 10 may be. The holders known were asked in two rounds, and 7 of 8 rows of block abcdef01 came through them at the same time. Of the 512 rows that suffice to decode it only 300 could be fetched. It may come back: ask again later.",
		},
		{
			sampling.Verdict{State: sampling.Unavailable, Reason: sampling.Withheld, Rows: 80, Verified: 30, Missing: 50, Tolerated: 40, Fetched: 30, Need: 40, Control: control},
			"00000000 unavailable (its holders do not serve it, while they serve another block): 30 of 80 rows verified, 0 bytes, 0s",
			"80 random rows were asked for, 50 were missing; at most 40 may be. The holders known were asked in two rounds, and 7 of 8 rows of block abcdef01 came through them at the same time. Of the 40 rows that suffice to decode it only 30 could be fetched. It may come back: ask again later.",
		},
		{
			sampling.Verdict{State: sampling.Unavailable, Reason: sampling.NotClean, Rows: 40, Verified: 40, Decoded: true, Fetched: 40, Need: 40},
			"00000000 unavailable (its publisher lied: it is not what its ID commits to): 40 of 40 rows verified, decoded, 0 bytes, 0s",
			"40 verified rows were fetched, and what they decode to does not encode to this ID again. So its publisher lied: it is not what its ID commits to. No holder is to blame, and asking again changes nothing.",
		},
		{
			sampling.Verdict{State: sampling.Unavailable, Reason: sampling.NotClean, Rows: 24, Verified: 20, Missing: 4, Fetched: 20, Need: 600},
			"00000000 unavailable (its publisher lied: it is not what its ID commits to): 20 of 24 rows verified, 0 bytes, 0s",
			"A row that stands under the block's roots does not fit its proof vector. So its publisher lied: it is not what its ID commits to. No holder is to blame, and asking again changes nothing.",
		},
		{
			sampling.Verdict{State: sampling.Inconclusive, Reason: sampling.NobodyAnswered, Rows: 128, Missing: 128, Tolerated: 10, Need: 4096},
			"00000000 inconclusive (nobody answered): 0 of 128 rows verified, 0 bytes, 0s",
			"128 random rows were asked for, 128 were missing. That shows nothing about the block: nobody answered. Ask again later.",
		},
		{
			sampling.Verdict{State: sampling.Inconclusive, Reason: sampling.HeadStale, Rows: 128, Verified: 90, Missing: 38, Tolerated: 10, Fetched: 300, Need: 513},
			"00000000 inconclusive (the head of the ledger is stale): 90 of 128 rows verified, 0 bytes, 0s",
			"128 random rows were asked for, 38 were missing. That shows nothing about the block: the head of the ledger is stale. Of the 513 rows that suffice to decode it only 300 could be fetched. Ask again later.",
		},
	} {
		if got := c.v.String(); got != c.line {
			t.Errorf("line\n%s, want\n%s", got, c.line)
		}
		if got := c.v.Explain(); got != c.people {
			t.Errorf("explanation\n%s, want\n%s", got, c.people)
		}
	}
}

func TestVerdictOfAWholePlanNamesItsOwnNumbers(t *testing.T) {
	b := newBlock(t, 600, 1)
	synctest.Test(t, func(t *testing.T) {
		for _, bits := range []int{1, 20, 40, 60} {
			net := newNetwork(30, b)
			target := fresh(b)
			target.Bits = bits
			v := judge(t, net, target, nil)
			expect(t, v, sampling.Available, "")
			if v.Bits != bits || v.Rows != erasure.NewPlan(600, bits).Stages[0].Rows {
				t.Errorf("%d bits: %v", bits, v)
			}
		}
	})
}

// Holders that are slow and do not notice that nobody waits for them send
// second copies, and these count too.
func TestEveryByteHandedOverIsCounted(t *testing.T) {
	b, control := newBlock(t, 600, 1), newBlock(t, 70, 3)
	for _, c := range []struct {
		name string
		part float64
	}{{"all served", 0}, {"some withheld", 0.05}, {"most withheld", 0.7}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(30, b, control)
				gone := withhold(b, c.part, 5)
				slow := func(h sampling.Holder) bool { return strings.HasSuffix(string(h), "3") }
				net.deny = func(_ context.Context, r request) error {
					if slow(r.holder) {
						_ = after(context.Background(), 2*time.Second)
					}
					return refuse(b, gone)(t.Context(), r)
				}
				net.forge = func(r request, data []byte, path []erasure.Root) ([]byte, []erasure.Root) {
					if strings.HasSuffix(string(r.holder), "7") {
						return data[:len(data)/2], path
					}
					return data, path
				}
				v := judge(t, net, fresh(b), &control.bundle)
				check(t, v)
				if v.Bytes != net.served {
					t.Errorf("%v: %d bytes counted, %d sent", v, v.Bytes, net.served)
				}
				if once := int64(v.Verified) * b.rowBytes(); v.Bytes <= once {
					t.Errorf("%v: no second copies beyond %d bytes", v, once)
				}
			})
		})
	}
}

// BenchmarkVerdict is what a verdict costs the one who asks for it, the
// network's own work left out: drawing, asking, verifying.
func BenchmarkVerdict(b *testing.B) {
	block := newBlock(b, 600, 1)
	net := newNetwork(100, block)
	s := sampling.New(net, net, sampling.Config{})
	b.ReportAllocs()
	for b.Loop() {
		v, err := s.Judge(b.Context(), fresh(block), nil)
		if err != nil || v.State != sampling.Available {
			b.Fatal(v, err)
		}
		net.requests = nil
	}
}

// BenchmarkDecodingVerdict is the same for the largest block that is never
// sampled.
func BenchmarkDecodingVerdict(b *testing.B) {
	block := newBlock(b, 64, 1)
	net := newNetwork(100, block)
	s := sampling.New(net, net, sampling.Config{})
	b.ReportAllocs()
	for b.Loop() {
		v, err := s.Judge(b.Context(), fresh(block), nil)
		if err != nil || !v.Decoded {
			b.Fatal(v, err)
		}
		net.requests = nil
	}
}

// BenchmarkVerifier is the part of a verdict that grows with the block, at its
// largest: extending the proof vector.
func BenchmarkVerifier(b *testing.B) {
	proof := make([]byte, 16*erasure.MaxContentRows)
	info := erasure.Info{Name: "block", Length: erasure.MaxLength, ProofHash: sha256.Sum256(proof)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := erasure.NewVerifier(info, proof); err != nil {
			b.Fatal(err)
		}
	}
}
