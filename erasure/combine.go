package erasure

import (
	"crypto/sha3"
	"encoding/binary"
	"sync"

	"github.com/klauspost/reedsolomon"
)

const (
	combinationDomain = "granary/block/v1/combination"

	elementSize = 16            // bytes: eight lanes
	lanes       = 8             // of GF(2^16) each, so that a lie survives with probability about 2^-128
	chunkSize   = 64            // bytes: the code's unit, 32 low bytes before 32 high bytes
	chunkCount  = 256           // RowSize / chunkSize
	symbolCount = 256           // lanes · 32: the symbols of level one's result
	half        = chunkSize / 2 // symbols in a chunk, and the distance of a symbol's two bytes
	batchRows   = 16            // rows that combineBulk takes at a time
)

// coefficients define the combination of a row, the linear map from 8,192
// symbols to one element that the proof vector holds for every content row.
// They depend on both roots, so nobody can choose rows after them.
type coefficients struct {
	u     [chunkCount][lanes]uint16    // level one, as the code's library takes it
	uMul  func() *[chunkCount]products // level one in plain Go
	uFold func() *foldFactors          // level one in assembly
	vMul  [symbolCount]products        // level two
	vFold func() *foldFactors          // level two of many rows in assembly
}

// deriveCoefficients expands k, length and the roots by SHAKE-128.
func deriveCoefficients(g Geometry, content, parity Root) *coefficients {
	seed := []byte(combinationDomain)
	seed = binary.LittleEndian.AppendUint32(seed, uint32(g.K()))
	seed = binary.LittleEndian.AppendUint64(seed, uint64(g.Length()))
	seed = append(seed, content[:]...)
	seed = append(seed, parity[:]...)
	stream := sha3.SumSHAKE128(seed, 2*(chunkCount+symbolCount)*lanes)

	e := parseElements(stream)
	c := &coefficients{}
	var v [symbolCount][lanes]uint16
	for i := range c.u {
		for l := range lanes {
			c.u[i][l], v[i][l] = e[i].lane(l), e[chunkCount+i].lane(l)
		}
	}
	field().setProducts(c.vMul[:], e[chunkCount:])
	c.uMul = sync.OnceValue(func() *[chunkCount]products {
		t := new([chunkCount]products)
		field().setProducts(t[:], e[:chunkCount])
		return t
	})
	c.uFold = sync.OnceValue(func() *foldFactors { return field().newFoldFactors(&c.u) })
	c.vFold = sync.OnceValue(func() *foldFactors { return field().newFoldFactors(&v) })
	return c
}

// combine returns the combination of row, RowSize bytes, without the tables of
// the code's library: in assembly where the processor has what it takes, else
// in plain Go, slower than combineBulk.
func (c *coefficients) combine(row []byte) (y element) {
	var sums [lanes][chunkSize]byte
	if hasFoldRow {
		foldRow(&sums, c.uFold(), (*[RowSize]byte)(row))
	} else {
		c.foldPlain(&sums, row)
	}
	for l := range sums {
		c.addSum(&y, l, sums[l][:])
	}
	return y
}

// foldPlain is level one of the combination in plain Go.
func (c *coefficients) foldPlain(sums *[lanes][chunkSize]byte, row []byte) {
	var w [half]element // w[t] holds symbol t of all eight sums
	tables := c.uMul()
	for i := range tables {
		table, chunk := &tables[i], row[i*chunkSize:][:chunkSize]
		for t := range w {
			table.addTo(&w[t], chunk[t], chunk[half+t])
		}
	}
	for t := range w {
		for l := range sums {
			s := w[t].lane(l)
			sums[l][t], sums[l][half+t] = byte(s), byte(s>>8)
		}
	}
}

// addSum adds to y what level two makes of the sum of lane l, one chunk.
func (c *coefficients) addSum(y *element, l int, sum []byte) {
	low, high := sum[:half], sum[half:chunkSize]
	for t := range half {
		c.vMul[l*half+t].addTo(y, low[t], high[t])
	}
}

// combineBulk sets y[i] to the combination of row i of the consecutive rows
// given, in whatever way is fastest when there are many.
func (c *coefficients) combineBulk(y []element, rows []byte) {
	batch := c.combineBatch
	switch {
	case hasFoldRow && len(y) == 1:
		batch = c.combineEach // the piece of a small block: nothing to share
	case hasFoldRow:
		batch = c.foldBatch
	}
	for len(y) > batchRows {
		batch(y[:batchRows], rows[:batchRows*RowSize])
		y, rows = y[batchRows:], rows[batchRows*RowSize:]
	}
	batch(y, rows)
}

// foldBatch is combineBulk for up to batchRows rows in assembly. For level two
// the sums of all rows are turned: one chunk for each of the 256 symbols, which
// holds that symbol of every row. Then it is the same work as level one.
func (c *coefficients) foldBatch(y []element, rows []byte) {
	var (
		sums   [lanes][chunkSize]byte
		turned [RowSize]byte
	)
	for r := range y {
		foldRow(&sums, c.uFold(), (*[RowSize]byte)(rows[r*RowSize:]))
		for l := range sums {
			sum, chunks := &sums[l], turned[l*half*chunkSize:][:half*chunkSize]
			for t := range half {
				chunks[t*chunkSize+r], chunks[t*chunkSize+half+r] = sum[t], sum[half+t]
			}
		}
	}
	foldRow(&sums, c.vFold(), &turned)
	for r := range y {
		y[r] = element{}
		for l := range sums {
			y[r][l/4] |= (uint64(sums[l][r]) | uint64(sums[l][half+r])<<8) << (16 * (l % 4))
		}
	}
}

// combineEach is combineBulk without the tables of the code's library.
func (c *coefficients) combineEach(y []element, rows []byte) {
	for i := range y {
		y[i] = c.combine(rows[i*RowSize:][:RowSize])
	}
}

// combineBatch is combineBulk for up to batchRows rows. Level one runs in the
// assembly of the code's library, which takes eight factors at a time, on one
// chunk of all rows together: preparing the factors costs more than using them
// on 64 bytes.
func (c *coefficients) combineBatch(y []element, rows []byte) {
	var (
		lib    reedsolomon.LowLevel
		gather [batchRows * chunkSize]byte
		sums   [lanes][batchRows * chunkSize]byte
		outs   [lanes][]byte
	)
	size := len(y) * chunkSize
	for l := range outs {
		outs[l] = sums[l][:size:size]
	}
	for i := range c.u {
		for r := range y {
			copy(gather[r*chunkSize:][:chunkSize], rows[r*RowSize+i*chunkSize:])
		}
		lib.GF16MulSliceXor8(&c.u[i], gather[:size], &outs)
	}
	for r := range y {
		y[r] = element{}
		for l := range outs {
			c.addSum(&y[r], l, outs[l][r*chunkSize:])
		}
	}
}

func appendElement(b []byte, e element) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, e[0]), e[1])
}

// parseElements cuts a whole number of elements from b.
func parseElements(b []byte) []element {
	e := make([]element, len(b)/elementSize)
	for i := range e {
		e[i] = element{binary.LittleEndian.Uint64(b[i*elementSize:]), binary.LittleEndian.Uint64(b[i*elementSize+8:])}
	}
	return e
}
