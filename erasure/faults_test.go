package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"granary/erasure"
)

// tripwire lets so many reads and writes through and then calls trip, whose
// error, if any, is what all others get.
type tripwire struct {
	file
	left *atomic.Int64
	trip func() error
}

func (f tripwire) ReadAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) < 0 {
		if err := f.trip(); err != nil {
			return 0, err
		}
	}
	return f.file.ReadAt(p, off)
}

func (f tripwire) WriteAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) < 0 {
		if err := f.trip(); err != nil {
			return len(p) / 2, err
		}
	}
	return f.file.WriteAt(p, off)
}

// Whenever a disk fails or the caller gives up, the error says so, nothing
// that looks like a result comes back, and no goroutine stays behind.
func TestFailuresHalfway(t *testing.T) {
	defer goleak.VerifyNone(t)
	const k = 200 // some groups, pieces and stripes
	b, content, parity := commit(t, random(1, k*erasure.RowSize-77))
	g := b.Info.Geometry()
	recovery := func(missing int) func(ctx context.Context, in, out tripwire) error {
		return func(ctx context.Context, in, out tripwire) error {
			lost := func(row int) bool { return row < missing }
			in.file = parity
			return erasure.Recover(ctx, g, erasure.Source{Have: func(row int) bool { return !lost(row) }, Content: content, Parity: in}, out, nil)
		}
	}
	works := map[string]func(ctx context.Context, in, out tripwire) error{
		"commit": func(ctx context.Context, in, out tripwire) error {
			got, err := erasure.Commit(ctx, "a", g.Length(), in, out, nil)
			if err != nil && !reflect.DeepEqual(got, erasure.Bundle{}) {
				t.Errorf("a bundle comes with the error %v", err)
			}
			return err
		},
		"clean check": func(ctx context.Context, in, out tripwire) error {
			got, err := erasure.CheckClean(ctx, b.Info, in, out, nil)
			if err != nil && !reflect.DeepEqual(got, erasure.Bundle{}) {
				t.Errorf("a bundle comes with the error %v", err)
			}
			if errors.Is(err, erasure.ErrNotClean) {
				t.Error("a failure is said to be a lie")
			}
			return err
		},
		"proof vector": func(ctx context.Context, in, _ tripwire) error {
			_, err := erasure.ProofVector(ctx, b.Info, in)
			return err
		},
		"repair of few rows":   recovery(5),
		"recovery of many":     recovery(k / 2),
		"recovery of all rows": recovery(k),
	}
	broken := errors.New("broken disk")
	for what, work := range works {
		var all atomic.Int64 // reads and writes of a run without failure
		all.Store(1 << 40)
		whole := tripwire{content, &all, nil}
		if err := work(t.Context(), whole, tripwire{make(file, len(content)), &all, nil}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		calls := 1<<40 - all.Load()
		random := rand.New(rand.NewPCG(1, 2))
		for _, at := range []int64{0, 1, calls / 2, random.Int64N(calls), calls - 1} {
			var left atomic.Int64
			left.Store(at)
			fail := func() error { return broken }
			err := work(t.Context(), tripwire{content, &left, fail}, tripwire{make(file, len(content)), &left, fail})
			if !errors.Is(err, broken) || strings.Count(err.Error(), broken.Error()) != 1 {
				t.Errorf("%s, call %d of %d fails: error %q, want %q in it once", what, at, calls, err, broken)
			}
			if at == calls-1 {
				continue // nothing is left to be cancelled
			}
			ctx, cancel := context.WithCancel(t.Context())
			left.Store(at / 2)
			give := func() error { cancel(); return nil }
			err = work(ctx, tripwire{content, &left, give}, tripwire{make(file, len(content)), &left, give})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s, cancelled at call %d of %d: error %v", what, at/2, calls, err)
			}
			cancel()
		}
	}
}

// A block of so many rows is coded in bands that are narrower than a row, and
// in as many stripes as there are cores; single parity rows are not.
func TestCoresAndBandsDoNotMatter(t *testing.T) {
	const k = 4100
	content := file(random(2, k*erasure.RowSize))
	g, err := erasure.NewGeometry(int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var bundles [2]erasure.Bundle
	parity := make(file, len(content))
	for i, cores := range []int{1, 3} {
		runtime.GOMAXPROCS(cores)
		if bundles[i], err = erasure.Commit(t.Context(), "a", g.Length(), content, parity, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(bundles[0], bundles[1]) {
		t.Error("three cores make another block than one")
	}
	row := make([]byte, erasure.RowSize)
	for _, j := range []int{0, k / 2, k - 1} {
		if err := erasure.ParityRow(g, k+j, content, row); err != nil || !bytes.Equal(row, parity[j*erasure.RowSize:][:erasure.RowSize]) {
			t.Errorf("parity row %d differs from the Cauchy form, %v", j, err)
		}
	}
	lost := rand.New(rand.NewPCG(3, 4)).Perm(k)[:k/2]
	damaged, missing := file(bytes.Clone(content)), make(map[int]bool)
	for _, row := range lost {
		missing[row] = true
		clear(damaged[row*erasure.RowSize:][:erasure.RowSize])
	}
	src := erasure.Source{Have: func(row int) bool { return !missing[row] }, Content: damaged, Parity: parity}
	if err := erasure.Recover(t.Context(), g, src, damaged, nil); err != nil || !bytes.Equal(damaged, content) {
		t.Errorf("recovery of %d rows in bands: wrong, %v", len(lost), err)
	}
}
