package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"granary/cmd/granary/internal/devnet"
	"granary/erasure"
	"granary/sampling"
)

const (
	rowSize    = erasure.RowSize
	smallBlock = 64 // content rows up to which every custodian owes every piece
)

// chooseVictims picks three custodians whose loss leaves k rows. Nearly every
// choice does; with bad luck in the random custody of six nodes one may not.
func (s *story) chooseVictims() ([]*devnet.Node, error) {
	for a := range s.alive {
		for b := range a {
			for c := range b {
				victims := []*devnet.Node{s.alive[a], s.alive[b], s.alive[c]}
				left := slices.DeleteFunc(slices.Clone(s.alive), func(nd *devnet.Node) bool { return slices.Contains(victims, nd) })
				if s.together(left) >= s.record.Rows/2 {
					return victims, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("no three of the six custodians can be spared: their random shares overlap too much; run it again")
}

// together is the number of distinct rows that the nodes owe, and so hold.
func (s *story) together(nodes []*devnet.Node) int {
	id, err := erasure.ParseID(s.record.ID)
	if err != nil {
		panic("BUG: own record: " + err.Error())
	}
	g, err := erasure.NewGeometry(s.record.Length)
	if err != nil {
		panic("BUG: own record: " + err.Error())
	}
	union := erasure.NewPieceSet(g.Pieces())
	for _, nd := range nodes {
		groups := sampling.Custody(s.net.Network.ChainID(), []byte(nd.Peer), s.net.Network.Genesis.Params.Custody)
		union.Union(sampling.Owed(id, g, groups))
	}
	return g.RowsIn(union)
}

func custodian(i int) string { return fmt.Sprintf("custodian-%d", i+1) }

// shares says who holds how much, by name.
func shares(rows map[string]int, all int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "custodian-"), rows[name]))
	}
	return fmt.Sprintf("rows by custodian: %s of %d", strings.Join(parts, ", "), all)
}

func size(n int64) string { return humanize.IBytes(uint64(n)) }

func ms(d time.Duration) string { return d.Round(time.Millisecond).String() }
