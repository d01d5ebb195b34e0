package erasure

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"
)

const (
	// minStripe is the narrowest stripe in bytes: below it the library spends
	// its time on calls instead of bytes.
	minStripe = 512

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

// limits say how a block is cut for the library.
type limits struct {
	memory int  // bytes, for a band of all rows and the library's work space
	width  int  // bytes: the widest band
	stripe int  // bytes: the narrowest stripe
	work   span // which of its 2m work buffers the library uses
}

// span is the numbers from ≤ i < to.
type span struct{ from, to int }

// encodeLimits keeps any block within 256 MiB, with 74 MiB of the library's
// tables and as much garbage of earlier calls as there is memory in use. Bands
// wider than 4 KiB are slower: they leave a core's own cache. The library
// works in the first k rows of parity themselves, and needs its second m
// buffers only for codes with more content rows than m.
func encodeLimits(k int) limits {
	return limits{memory: 32 << 20, width: 4 << 10, stripe: minStripe, work: span{k, ceilPow2(k)}}
}

// decodeLimits makes stripes of 4 MiB over all rows: each call of the library
// pays a transform of 65,536 points, 0.8 ms, which is then less than a tenth.
func decodeLimits(k int) limits {
	return limits{memory: 64 << 20, width: RowSize, stripe: max(minStripe, ceilPow2(4<<20/k)), work: span{0, 2 * ceilPow2(k)}}
}

// newBands allocates all memory that coding k rows takes. second is how many
// rows the second half of it holds.
func newBands(k, second int, l limits) (*bands, error) {
	for (k+second+l.work.to-l.work.from)*l.width > l.memory {
		l.width /= 2
	}
	b := &bands{
		k:      k,
		width:  l.width,
		stripe: min(l.width, max(l.width/ceilPow2(cores()), l.stripe)),
	}
	var wg sync.WaitGroup // clearing this much takes a core 3 ms
	for half, rows := range [2]int{k, second} {
		wg.Go(func() { b.memory[half] = make([]byte, rows*(b.width+linePad)) })
	}
	wg.Wait()
	for range b.width / b.stripe {
		code, err := reedsolomon.New(k, k,
			reedsolomon.WithLeopardGF16(true), // without it up to 256 rows get another code
			reedsolomon.WithWorkAllocator(newWorkspace(2*ceilPow2(k), b.stripe, l.work)))
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

// group returns the band's part of up to groupRows rows from g·groupRows on.
func (b *bands) group(half, g int) (rows [][]byte) {
	for i := g * groupRows; i < min((g+1)*groupRows, b.k); i++ {
		rows = append(rows, b.row(half, i))
	}
	return rows
}

// cell returns stripe s of row i; its capacity ends where the stripe does.
func (b *bands) cell(half, i, s int) []byte {
	return b.row(half, i)[s*b.stripe : (s+1)*b.stripe : (s+1)*b.stripe]
}

// workspace is the library's work memory for one stripe, allocated once: the
// library's own pool may be emptied by the garbage collector and filled again.
type workspace struct{ buffers [][]byte }

// newWorkspace returns n buffers of size bytes. Those outside of used are one
// and the same: the library asks for them and leaves them alone.
func newWorkspace(n, size int, used span) *workspace {
	w := &workspace{buffers: make([][]byte, n)}
	slab := make([]byte, (used.to-used.from+1)*(size+linePad))
	for i := range w.buffers {
		at := 0
		if used.from <= i && i < used.to {
			at = i - used.from + 1
		}
		w.buffers[i] = slab[at*(size+linePad):][:size:size]
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
