//go:build !purego && !noasm

package erasure

import "github.com/klauspost/cpuid/v2"

// The two kernels that are worth their assembly: docs/performance.md says what
// each gains. Every machine without them, and every build with the tag purego
// or noasm, takes the plain path, which gives the same bytes.
var (
	hasHashLanes = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW)
	hasFoldRow   = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.GFNI)
)

// hashLanes continues the SHA-256 of sixteen messages, whose states are the
// columns of state, by as many blocks of 64 bytes of each, blocks > 0. Every
// row has that many bytes. constants are those of FIPS 180-4, section 4.2.2.
//
//go:noescape
func hashLanes(state *[8][16]uint32, rows *[16][]byte, blocks int, constants *[64]uint32)

// foldRow sets sums[l] to the sum over all chunks c of row of factor l of c
// times the chunk; see foldFactors for how a factor is written.
//
//go:noescape
func foldRow(sums *[lanes][chunkSize]byte, factors *foldFactors, row *[RowSize]byte)
