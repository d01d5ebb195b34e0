package erasure

import (
	"fmt"

	"github.com/klauspost/reedsolomon"
)

const (
	// bandBudget bounds the bytes in memory while a block is coded: half of it
	// holds a band of all rows, half the library's work space. With 74 MiB of
	// the library's tables, and as much again in garbage of an earlier call, a
	// block of any size stays within 256 MiB.
	bandBudget = 64 << 20

	// minStripe is the narrowest stripe in bytes: below it the library spends
	// its time on calls instead of bytes.
	minStripe = 512

	// encodeWidth is the widest band that encodes fastest: a few rows' worth of
	// it stays in a core's own cache.
	encodeWidth = 4 << 10

	// linePad separates rows in memory, so that the same column of many rows
	// does not fall into the same few lines of a cache.
	linePad = 64
)

// bands cuts rows into column bands that fit in memory, and each band into
// stripes that are coded at the same time. The code works on every column by
// itself, so a band is coded as if rows were that short.
type bands struct {
	k       int
	width   int // bytes of every row in memory at once, divides RowSize
	stripe  int // bytes of every row in one call of the library, divides width
	stripes []stripe
	memory  [2][]byte // content rows; parity rows, or content rows to be rebuilt
}

// stripe is one goroutine's part of a band.
type stripe struct {
	code   reedsolomon.Encoder
	shards [][]byte // 2k slices into the band's memory
}

// newBands allocates all memory that coding k rows takes, in bands of at most
// width bytes and, if there is room, stripes of at least atLeast bytes. second
// is how many rows the second half of it holds.
func newBands(k, second, width, atLeast int) (*bands, error) {
	b := &bands{k: k, width: width}
	m := ceilPow2(k)
	for 4*m*b.width > bandBudget {
		b.width /= 2
	}
	b.stripe = min(b.width, max(b.width/ceilPow2(cores()), ceilPow2(atLeast), minStripe))
	b.memory[0] = make([]byte, k*(b.width+linePad))
	b.memory[1] = make([]byte, second*(b.width+linePad))
	for range b.width / b.stripe {
		code, err := reedsolomon.New(k, k,
			reedsolomon.WithLeopardGF16(true), // without it up to 256 rows get another code
			reedsolomon.WithWorkAllocator(newWorkspace(2*m, b.stripe)))
		if err != nil {
			return nil, fmt.Errorf("code of %d rows: %w", 2*k, err)
		}
		b.stripes = append(b.stripes, stripe{code: code, shards: make([][]byte, 2*k)})
	}
	return b, nil
}

// row returns the band's part of row i in one half of its memory.
func (b *bands) row(half, i int) []byte {
	return b.memory[half][i*(b.width+linePad):][:b.width]
}

// cell returns stripe s of row i; its capacity ends where the stripe does.
func (b *bands) cell(half, i, s int) []byte {
	return b.row(half, i)[s*b.stripe : (s+1)*b.stripe : (s+1)*b.stripe]
}

// workspace is the library's work memory for one stripe, allocated once: the
// library's own pool may be emptied by the garbage collector and filled again.
type workspace struct{ buffers [][]byte }

func newWorkspace(n, size int) *workspace {
	w := &workspace{buffers: make([][]byte, n)}
	slab := make([]byte, n*(size+linePad))
	for i := range w.buffers {
		w.buffers[i] = slab[i*(size+linePad):][:size:size]
	}
	return w
}

// Get implements reedsolomon.WorkAllocator.
func (w *workspace) Get(n, size int) [][]byte {
	if n > len(w.buffers) || size > len(w.buffers[0]) {
		panic(fmt.Sprintf("BUG: code asks for %d buffers of %d bytes, has %d of %d", n, size, len(w.buffers), len(w.buffers[0])))
	}
	return w.buffers[:n]
}

// Put implements reedsolomon.WorkAllocator.
func (w *workspace) Put([][]byte) {}
