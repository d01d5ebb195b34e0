package sampling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"granary/erasure"
)

// DefaultBits is the confidence of a verdict unless more or less is asked for.
const DefaultBits = 20

// decodeInMemory bounds the content, in bytes, of blocks that are fetched and
// decoded in memory before they are called unavailable: 8 MiB.
const decodeInMemory = 8 << 20

// What a holder can answer instead of a row. A Fetcher wraps them.
var (
	ErrNotHeld  = errors.New("not held")
	ErrBusy     = errors.New("busy")                           // ask again later, or another
	ErrPending  = errors.New("pending")                        // being fetched, will be held
	ErrProtocol = errors.New("peer does not keep to protocol") // its answer is malformed
)

// Holder names a peer that may hold rows: a peer ID, or whatever the Fetcher
// understands. The sampler only compares names.
type Holder string

// Fetcher asks one holder for one row.
type Fetcher interface {
	// Row returns a row and its Merkle path as received; the sampler verifies
	// both and owns them afterwards. The error wraps ErrNotHeld, ErrBusy,
	// ErrPending or ErrProtocol; any other means that there was no answer. Row
	// is called concurrently and returns soon after ctx has ended.
	Row(ctx context.Context, holder Holder, id erasure.ID, row int) (data []byte, path []erasure.Root, err error)
}

// Holders knows who may hold a piece of a block.
type Holders interface {
	// For returns up to 24 peers that may hold the piece, those to be asked
	// first in front and from as different sources as there are: custodians of
	// its group, validators, holders of the whole block. Round is 0, then 1
	// when rows were missing: what is known should be looked up afresh then. It
	// is called concurrently, and returns within seconds and once ctx has ended.
	For(ctx context.Context, id erasure.ID, piece, round int) []Holder
}

// Scratch is room for a block that is fetched to be decoded: row i stands at
// RowSize·i, 2K rows in all. An empty *os.File will do. The sampler leaves the
// K rows of content at its front when the verdict says Decoded.
type Scratch interface {
	io.ReaderAt
	io.WriterAt
}

// Config adjusts a Sampler. The zero value works.
type Config struct {
	RetryRound  time.Duration // between the two rounds; 0: 30 s
	RowTimeout  time.Duration // for one row in one round, all its holders together; 0: 5 s
	Concurrency int           // rows asked for at once, with at most twice as many requests; 0: 24

	// Origin tells from where in the network a holder answers, its /24 for
	// example, or "" where it is not known. Holders of one origin may be one
	// person's: rows are spread over origins before they are spread over
	// holders. nil: every holder is an origin of its own.
	Origin func(Holder) string
}

// Target is a block to be judged.
type Target struct {
	Bundle erasure.Bundle // of which Info and Proof are used

	Bits int // confidence asked for, at most erasure.MaxBits; 0: DefaultBits

	// Draw holds the rows to ask for, made by Draw for this block and these
	// bits and used for no other test; nil: they are drawn now. Who may have to
	// ask again, even after a crash, keeps them before the test begins.
	Draw []int

	// Fresh says that the ledger's head is fresh and has the block in it.
	// Without it no absence proves anything, and no verdict is Unavailable.
	Fresh bool

	// Announced and Grace say until when the block may still be on its way to
	// its holders. A test begun before that is never Unavailable either.
	Announced time.Time
	Grace     time.Duration

	// Scratch, if not nil, has the block fetched and decoded, whatever its
	// size, when the test has failed. Blocks up to 8 MiB need none: they are
	// decoded in memory before they are called unavailable.
	Scratch Scratch
}

// Draw draws the rows of one test of a block with k content rows at so many
// bits, 1 to erasure.MaxBits: all that its plan can come to need, in the order
// in which they are asked for. The error is that of the system's randomness.
func Draw(k, bits int) ([]int, error) {
	stages := stagesOf(k, bits)
	return erasure.Draw(k, stages[len(stages)-1].Rows)
}

// stagesOf is the plan's stages. Decoding is a stage like any other: of all
// rows, k may be missing.
func stagesOf(k, bits int) []erasure.Stage {
	plan := erasure.NewPlan(k, bits)
	if plan.Decode {
		return []erasure.Stage{{Rows: 2 * k, Tolerate: k}}
	}
	return plan.Stages
}

// Sampler judges whether blocks are available. It is safe for concurrent use;
// of one verdict it remembers nothing for the next but how long rows took.
type Sampler struct {
	fetcher Fetcher
	holders Holders
	cfg     Config
	pace    pace
}

// New returns a sampler that finds holders through h and asks them through f.
func New(f Fetcher, h Holders, cfg Config) *Sampler {
	if cfg.RetryRound <= 0 {
		cfg.RetryRound = 30 * time.Second
	}
	if cfg.RowTimeout <= 0 {
		cfg.RowTimeout = 5 * time.Second
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 24
	}
	if cfg.Origin == nil {
		cfg.Origin = func(Holder) string { return "" }
	}
	return &Sampler{fetcher: f, holders: h, cfg: cfg}
}

// Judge tests whether the target is available. The rows are drawn before the
// first request and never redrawn. When too many of them are missing after two
// rounds, rows of another block that is known to be available are asked of the
// same holders: the one that control names then, for which it may take its
// time. Where control is nil, or returns nil, no verdict but that of a block
// that is not clean is Unavailable.
//
// When ctx ends the verdict is Inconclusive, with what was seen until then.
// The error is not about the block: a bundle that does not verify itself, a
// draw that does not fit, a source of randomness or a Scratch that fails. The
// verdict beside it is Inconclusive.
func (s *Sampler) Judge(ctx context.Context, target Target, control func(context.Context) *erasure.Bundle) (Verdict, error) {
	begun := time.Now()
	j, err := s.newJudgement(target)
	if err != nil {
		return Verdict{State: Inconclusive, Reason: Stopped}, fmt.Errorf("judge %q: %w", target.Bundle.Info.Name, err)
	}
	j.another = control
	v, err := j.run(ctx)
	v.Took = time.Since(begun)
	if err != nil {
		return v, fmt.Errorf("judge %s: %w", j.id.Short(), err)
	}
	return v, nil
}
