// Command peers measures what it costs to make content samplable: here, in
// Celestia's rsmt2d and in Ethereum's PeerDAS (go-eth-kzg). All three work on
// the same content, in turns, in one process, and a table is printed.
//
// It is a module of its own, so that the peers never become dependencies of
// ours. Run it in its folder:
//
//	go run .
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/celestiaorg/rsmt2d"
	goethkzg "github.com/crate-crypto/go-eth-kzg"

	"granary/erasure"
)

const mib = 1 << 20

func main() {
	runs := flag.Int("runs", 5, "runs of each; the table has the median")
	cores := flag.Int("cores", 1, "processor cores to use")
	blobs := flag.Int("blobs", 8, "most blobs that go-eth-kzg encodes in a run: each takes the same time")
	flag.Parse()
	runtime.GOMAXPROCS(*cores)
	if err := run(os.Stdout, max(1, *runs), *cores, max(1, *blobs)); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// contender makes content samplable, or the first part of it, and returns how
// many of its bytes that were.
type contender struct {
	name string
	do   func(content []byte) (int, error)
}

func run(w io.Writer, runs, cores, blobs int) error {
	kzg, err := goethkzg.NewContext4096Secure()
	if err != nil {
		return fmt.Errorf("go-eth-kzg: %w", err)
	}
	contenders := []contender{
		{"granary: code, two roots, proof vector", commit},
		{"rsmt2d v0.15.1: square, row and column roots", square},
		{"go-eth-kzg v1.5.0: commitment, cells, proofs", func(content []byte) (int, error) {
			return cells(kzg, content, blobs, cores)
		}},
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "content\twhat\tMB/s\tgranary is\n")
	for _, size := range []int{2 * mib, 8 * mib, 32 * mib} { // whole squares of 512-byte shares
		content := make([]byte, size)
		rand.NewChaCha8([32]byte{1}).Read(content)
		rates, err := measure(contenders, content, runs)
		if err != nil {
			return err
		}
		for i, c := range contenders {
			fmt.Fprintf(table, "%d MiB\t%s\t%.3g\t%.1f×\n", size/mib, c.name, rates[i]/1e6, rates[0]/rates[i])
		}
	}
	return table.Flush()
}

// measure returns the median rate of each contender in bytes of content per
// second. They take turns, so that a busy machine slows down all of them, and
// the first turn, in which tables are made, does not count.
func measure(contenders []contender, content []byte, runs int) ([]float64, error) {
	rates := make([][]float64, len(contenders))
	for turn := range runs + 1 {
		for i, c := range contenders {
			runtime.GC()
			start := time.Now()
			n, err := c.do(content)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if turn > 0 {
				rates[i] = append(rates[i], float64(n)/time.Since(start).Seconds())
			}
		}
	}
	medians := make([]float64, len(contenders))
	for i, r := range rates {
		slices.Sort(r)
		medians[i] = r[len(r)/2]
	}
	return medians, nil
}

func commit(content []byte) (int, error) {
	parity := make(memory, len(content))
	_, err := erasure.Commit(context.Background(), "a", int64(len(content)), bytes.NewReader(content), parity, nil)
	return len(content), err
}

// memory is a file in memory.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// square extends content, a square of shares, in two dimensions. Its trees are
// the library's plain ones; Celestia's own, with namespaces, cost more.
func square(content []byte) (int, error) {
	const share = 512
	var shares [][]byte
	for i := 0; i < len(content); i += share {
		shares = append(shares, content[i:i+share])
	}
	eds, err := rsmt2d.ComputeExtendedDataSquare(shares, rsmt2d.NewLeoRSCodec(), rsmt2d.NewDefaultTree)
	if err != nil {
		return 0, err
	}
	if _, err := eds.RowRoots(); err != nil {
		return 0, err
	}
	_, err = eds.ColRoots()
	return len(content), err
}

// cells encodes content as PeerDAS does: into blobs of 4,096 field elements,
// each of which has room for 31 bytes.
func cells(kzg *goethkzg.Context, content []byte, blobs, cores int) (n int, err error) {
	const elements, element, room = 4096, 32, 31
	for ; blobs > 0 && n < len(content); blobs-- {
		blob := new(goethkzg.Blob)
		for i := 0; i < elements && n < len(content); i++ {
			n += copy(blob[i*element+element-room:(i+1)*element], content[n:])
		}
		if _, err := kzg.BlobToKZGCommitment(blob, cores); err != nil {
			return n, err
		}
		if _, _, err := kzg.ComputeCellsAndKZGProofs(blob, cores); err != nil {
			return n, err
		}
	}
	return n, nil
}
