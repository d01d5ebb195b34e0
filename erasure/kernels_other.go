//go:build !amd64 || purego || noasm

package erasure

const (
	hasHashLanes = false
	hasFoldRow   = false
)

func hashLanes(*[8][16]uint32, *[16][]byte, int, *[64]uint32) { panic("BUG: no kernel") }

func foldRow(*[lanes][chunkSize]byte, *foldFactors, *[RowSize]byte) { panic("BUG: no kernel") }
