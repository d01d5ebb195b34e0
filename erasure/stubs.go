package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const unwritten = "BUG: not written"

// What callers branch on.
var (
	ErrInfo       = errors.New("info dictionary is not a block's")
	ErrName       = errors.New("name cannot name a block")
	ErrMagnet     = errors.New("magnet link is not a block's")
	ErrLayers     = errors.New("piece layers do not hash to the roots")
	ErrProof      = errors.New("proof vector does not match the info")
	ErrTorrent    = errors.New("torrent file is not a block's")
	ErrTooFewRows = errors.New("too few rows")
	ErrNotClean   = errors.New("block is not clean")
)

func (i Info) Geometry() Geometry      { panic(unwritten) }
func (i Info) Validate() error         { panic(unwritten) }
func (i Info) Encode() []byte          { panic(unwritten) }
func (i Info) ID() ID                  { panic(unwritten) }
func ParseInfo(b []byte) (Info, error) { panic(unwritten) }
func CheckName(name string) error      { panic(unwritten) }
func ParseMagnet(s string) (ID, error) { panic(unwritten) }

// Layers holds the piece hashes of both files, FilePieces each.
type Layers struct{ Content, Parity []Root }

func (l Layers) Check(i Info) error                { panic(unwritten) }
func (l Layers) Piece(p int) Root                  { panic(unwritten) }
func (l Layers) Encode() []byte                    { panic(unwritten) }
func ParseLayers(i Info, b []byte) (Layers, error) { panic(unwritten) }

// Bundle is everything that describes a block, all self-verifying against its ID.
type Bundle struct {
	Info   Info
	Proof  []byte // y, 16·K bytes; nil when not known
	Layers Layers
}

func (b Bundle) Check() error               { panic(unwritten) }
func (b Bundle) Torrent() []byte            { panic(unwritten) }
func ParseTorrent(b []byte) (Bundle, error) { panic(unwritten) }

// Progress is told how many of total bytes are done.
type Progress func(done, total int64)

func Commit(ctx context.Context, name string, length int64, content io.ReaderAt, parity io.WriterAt, progress Progress) (Bundle, error) {
	panic(unwritten)
}

// Source says which rows can be read and where.
type Source struct {
	Have    func(row int) bool
	Content io.ReaderAt
	Parity  io.ReaderAt
}

// TooFewRowsError is ErrTooFewRows with the counts.
type TooFewRowsError struct{ Have, Need int }

func (e *TooFewRowsError) Error() string        { return fmt.Sprintf("%d rows of %d needed", e.Have, e.Need) }
func (e *TooFewRowsError) Is(target error) bool { return target == ErrTooFewRows }

func Recover(ctx context.Context, g Geometry, src Source, out io.WriterAt, progress Progress) error {
	panic(unwritten)
}

func CheckClean(ctx context.Context, info Info, content io.ReaderAt, parity io.WriterAt, progress Progress) (Bundle, error) {
	panic(unwritten)
}

func ParityRow(g Geometry, row int, content io.ReaderAt, dst []byte) error { panic(unwritten) }

func LeafHash(row []byte) Root { panic(unwritten) }

func PieceHash(g Geometry, piece int, data []byte) (Root, error) { panic(unwritten) }

func RowPath(g Geometry, l Layers, row int, piece []byte) ([]Root, error) { panic(unwritten) }

// RowError reports a row that does not belong to the committed codeword.
type RowError struct {
	Row    int
	Reason string // "length", "index", "path" or "combination"
}

func (e *RowError) Error() string { return fmt.Sprintf("row %d: wrong %s", e.Row, e.Reason) }

// Verifier checks rows.
type Verifier struct{}

func NewVerifier(i Info, proof []byte) (*Verifier, error)        { panic(unwritten) }
func (v *Verifier) Row(row int, data []byte, path []Root) error  { panic(unwritten) }
func (v *Verifier) Piece(l Layers, piece int, data []byte) error { panic(unwritten) }

// Stage is one step of a plan.
type Stage struct{ Rows, Tolerate int }

// Plan is a sampling plan.
type Plan struct{ Stages []Stage }

func NewPlan(k, bits int) Plan                    { panic(unwritten) }
func (p Plan) PassProbability(k, bad int) float64 { panic(unwritten) }
func Draw(k, n int) ([]int, error)                { panic(unwritten) }
