package sampling_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/reedsolomon"

	"granary/erasure"
	"granary/sampling"
)

// combination is the rule of docs/spec/block.md section 5 for one block.
type combination []uint16

func newCombination(i erasure.Info) combination {
	h := sha3.NewSHAKE128()
	_, _ = h.Write([]byte("granary/block/v1/combination"))
	_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, uint32(i.Geometry().K())))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(i.Length)))
	_, _ = h.Write(i.Content[:])
	_, _ = h.Write(i.Parity[:])
	out := make([]byte, 8192)
	_, _ = h.Read(out)
	c := make(combination, 4096)
	for n := range c {
		c[n] = binary.LittleEndian.Uint16(out[2*n:])
	}
	return c
}

func (c combination) of(row []byte) []byte {
	var lib reedsolomon.LowLevel
	w := make([]byte, 8*64)
	for chunk := range 256 {
		for l := range 8 {
			lib.GF16MulSliceXor(c[8*chunk+l], row[64*chunk:64*chunk+64], w[64*l:64*l+64])
		}
	}
	y := make([]byte, 16)
	for l := range 8 {
		sum := make([]byte, 64)
		for s := range 256 {
			symbol := make([]byte, 64) // alone, as the first of 32
			symbol[0], symbol[32] = w[64*(s/32)+s%32], w[64*(s/32)+32+s%32]
			lib.GF16MulSliceXor(c[2048+8*s+l], symbol, sum)
		}
		y[2*l], y[2*l+1] = sum[0], sum[32]
	}
	return y
}

// lie makes b what a lying publisher would announce: rows and length as they
// are now, with the roots, paths and proof vector that fit them.
func (b *block) lie(t *testing.T, length int64) *block {
	t.Helper()
	k := b.g.K()
	evil := &block{rows: b.rows, bundle: erasure.Bundle{Info: erasure.Info{Name: "lie", Length: length}}}
	leaves := make([]erasure.Root, 2*k)
	for i, row := range b.rows {
		leaves[i] = erasure.LeafHash(row)
	}
	evil.bundle.Info.Content, evil.bundle.Info.Parity = erasure.FileRoot(leaves[:k]), erasure.FileRoot(leaves[k:])
	c := newCombination(evil.bundle.Info)
	for _, row := range b.rows[:k] {
		evil.bundle.Proof = append(evil.bundle.Proof, c.of(row)...)
	}
	evil.bundle.Info.ProofHash = sha256.Sum256(evil.bundle.Proof)
	evil.id, evil.g = evil.bundle.Info.ID(), evil.bundle.Info.Geometry()
	if evil.g.K() != k {
		t.Fatalf("length %d has %d rows, want %d", length, evil.g.K(), k)
	}
	evil.paths = paths(b.rows)
	return evil
}

func TestTheLyingPublisherOfTheseTestsCanAlsoTellTheTruth(t *testing.T) {
	b := newBlock(t, 5, 1)
	if truth := b.lie(t, b.g.Length()); !bytes.Equal(truth.bundle.Proof, b.bundle.Proof) {
		t.Error("another proof vector than the package's")
	}
}

func TestSmallBlockIsDecoded(t *testing.T) {
	for _, k := range []int{1, 2, 3, 40, 64} {
		b := newBlock(t, k, uint64(k))
		control := newBlock(t, 70, 3)
		for _, missing := range []int{0, 1, k - 1, k, k + 1, 2 * k} {
			if missing < 0 {
				continue
			}
			t.Run(fmt.Sprintf("%d of %d rows missing", missing, 2*k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net := newNetwork(12, b, control)
					net.deny = refuse(b, withhold(b, float64(missing)/float64(2*k), 5))
					v := judge(t, net, fresh(b), &control.bundle)
					if missing > k {
						expect(t, v, sampling.Unavailable, sampling.Withheld)
						if v.Rows != 2*k || v.Fetched != v.Verified || v.Tolerated != k {
							t.Errorf("%v: %d fetched, %d tolerated", v, v.Fetched, v.Tolerated)
						}
						return
					}
					expect(t, v, sampling.Available, "")
					if !v.Decoded || v.Bits != sampling.DecodedBits || v.Verified != k || v.Fetched != k || v.Need != k {
						t.Errorf("%v: decoded %v, %d of %d fetched", v, v.Decoded, v.Fetched, v.Need)
					}
					if v.Bytes != int64(k)*b.rowBytes() || v.Bytes != net.served {
						t.Errorf("%d bytes counted, %d sent, want k rows", v.Bytes, net.served)
					}
				})
			})
		}
	}
}

func TestDecodingGoesOnInTheSecondRound(t *testing.T) {
	b := newBlock(t, 40, 1)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(12, b)
		gone, begun := withhold(b, 0.7, 1), time.Now()
		net.deny = func(ctx context.Context, r request) error {
			if time.Since(begun) < 10*time.Second {
				return refuse(b, gone)(ctx, r)
			}
			return nil
		}
		v := judge(t, net, fresh(b), nil)
		expect(t, v, sampling.Available, "")
		if v.Bytes != 40*b.rowBytes() || v.Fetched != 40 {
			t.Errorf("%v: %d rows fetched", v, v.Fetched)
		}
	})
}

// Before a block up to 8 MiB is called unavailable it is fetched and decoded.
func TestBlockThatStillDecodesIsAvailable(t *testing.T) {
	control := newBlock(t, 70, 3)
	for _, c := range []struct {
		name    string
		k       int
		part    float64
		scratch bool
		fresh   bool
		state   sampling.State
		reason  sampling.Reason
	}{
		{"8 MiB, 30 % withheld", 512, 0.3, false, true, sampling.Available, ""},
		{"8 MiB, 49 % withheld", 512, 0.49, false, true, sampling.Available, ""},
		{"8 MiB, 51 % withheld", 512, 0.51, false, true, sampling.Unavailable, sampling.Withheld},
		{"8 MiB, 30 % withheld, stale head", 512, 0.3, false, false, sampling.Inconclusive, sampling.HeadStale},
		{"larger, 30 % withheld", 513, 0.3, false, true, sampling.Unavailable, sampling.Withheld},
		{"larger, 30 % withheld, scratch", 513, 0.3, true, true, sampling.Available, ""},
		{"larger, 51 % withheld, scratch", 513, 0.51, true, true, sampling.Unavailable, sampling.Withheld},
		{"larger, 30 % withheld, scratch, stale head", 513, 0.3, true, false, sampling.Available, ""},
		{"larger, 51 % withheld, scratch, stale head", 513, 0.51, true, false, sampling.Inconclusive, sampling.HeadStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBlock(t, c.k, 1)
			target := fresh(b)
			target.Fresh = c.fresh
			var f *os.File
			if c.scratch {
				var err error
				if f, err = os.Create(filepath.Join(t.TempDir(), "scratch")); err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				target.Scratch = f
			}
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(12, b, control)
				net.deny = refuse(b, withhold(b, c.part, 5))
				v := judge(t, net, target, &control.bundle)
				expect(t, v, c.state, c.reason)
				if c.state == sampling.Available && (!v.Decoded || v.Fetched != c.k || v.Bits != sampling.DecodedBits) {
					t.Errorf("%v: decoded %v, %d rows fetched", v, v.Decoded, v.Fetched)
				}
				if v.Bytes != net.served {
					t.Errorf("%d bytes counted, %d sent", v.Bytes, net.served)
				}
				if v.Missing <= v.Tolerated {
					t.Errorf("%d missing in the sample, %d tolerated", v.Missing, v.Tolerated)
				}
			})
			if c.scratch && c.state == sampling.Available {
				content := make([]byte, b.g.PaddedLength())
				if _, err := f.ReadAt(content, 0); err != nil || !bytes.Equal(content, bytes.Join(b.rows[:c.k], nil)) {
					t.Errorf("scratch does not hold the content (%v)", err)
				}
			}
		})
	}
}

func TestBlockThatIsNotCleanIsUnavailable(t *testing.T) {
	// The last byte of the last row is not zero, and not part of the content.
	honest := newBlock(t, 40, 1)
	padding := honest.lie(t, honest.g.Length()-1)

	// Half of the parity is something else. The proof vector fits the content,
	// and a row of that half shows it.
	swapped := *newBlock(t, 600, 2)
	swapped.rows = append([][]byte(nil), swapped.rows...)
	copy(swapped.rows[600:900], swapped.rows[:300])
	parity := swapped.lie(t, swapped.g.Length())

	for _, c := range []struct {
		name    string
		b       *block
		decoded bool
	}{
		{"padding", padding, true},
		{"parity", parity, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := newNetwork(12, c.b)
				target := sampling.Target{Bundle: c.b.bundle} // no fresh head, no control: it needs neither
				v := judge(t, net, target, nil)
				expect(t, v, sampling.Unavailable, sampling.NotClean)
				if v.Decoded != c.decoded || len(v.Liars) != 0 {
					t.Errorf("%v: decoded %v, holders blamed: %v", v, v.Decoded, v.Liars)
				}
				if !c.decoded && tally(v)[sampling.BadCombination] == 0 {
					t.Errorf("causes %v", tally(v))
				}
				if v.Took != 0 || v.Bytes != net.served {
					t.Errorf("took %v, %d bytes of %d", v.Took, v.Bytes, net.served)
				}
			})
		})
	}
}

// full is a Scratch without room.
type full struct{}

var errFull = errors.New("disk full")

func (full) ReadAt([]byte, int64) (int, error)  { return 0, errFull }
func (full) WriteAt([]byte, int64) (int, error) { return 0, errFull }

func TestFailingScratchIsAnError(t *testing.T) {
	for _, k := range []int{40, 600} {
		b := newBlock(t, k, 1)
		synctest.Test(t, func(t *testing.T) {
			net := newNetwork(12, b)
			net.deny = refuse(b, withhold(b, 0.3, 5))
			target := fresh(b)
			target.Scratch = full{}
			v, err := sampling.New(net, net, sampling.Config{}).Judge(t.Context(), target, nil)
			if !errors.Is(err, errFull) || v.State != sampling.Inconclusive {
				t.Errorf("%v, error %v", v, err)
			}
		})
	}
}

func TestStoppedDecodingIsInconclusive(t *testing.T) {
	b, control := newBlock(t, 512, 1), newBlock(t, 70, 3)
	synctest.Test(t, func(t *testing.T) {
		net := newNetwork(12, b, control)
		gone := withhold(b, 0.3, 5)
		net.deny = func(ctx context.Context, r request) error {
			if err := after(ctx, 100*time.Millisecond); err != nil {
				return err
			}
			return refuse(b, gone)(ctx, r)
		}
		for _, limit := range []time.Duration{40 * time.Second, 41 * time.Second, 42 * time.Second, 45 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			v, err := sampling.New(net, net, sampling.Config{}).Judge(ctx, fresh(b), against(&control.bundle))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			t.Log(limit, v)
			if v.Took >= limit {
				expect(t, v, sampling.Inconclusive, sampling.Stopped)
			}
		}
	})
}
