package sampling

import (
	"bytes"
	"crypto/sha256"
	"slices"
)

// StandIns returns the groups that self keeps beside its own: of those that
// nobody owes by the rule of Custody, the ones for which self comes first in the
// order of StandInOrder, but no more than count, so that nobody's duty more than
// doubles. others are the IDs of the other custodians
// known that answer. Who knows
// others differently may come to another result: then two keep a group, or
// nobody does for a while.
func StandIns(chain string, self []byte, others [][]byte, count int) GroupSet {
	kept := Custody(chain, self, count)
	for _, o := range others {
		kept |= Custody(chain, o, count)
	}
	var mine GroupSet
	for g := range (AllGroups &^ kept).All() {
		before := func(o []byte) bool { return StandInOrder(chain, g, o, self) < 0 }
		if mine.Count() < count && !slices.ContainsFunc(others, before) {
			mine |= 1 << g
		}
	}
	return mine
}

// StandInOrder compares two custodians by who sooner stands in for a group that
// nobody owes: the one whose SHA-256("granary/stand-in/v1" ‖ u8 length ‖ chain
// ID ‖ u8 group ‖ peer ID) is smaller. The result is as that of cmp.Compare.
func StandInOrder(chain string, group int, a, b []byte) int {
	return bytes.Compare(standInPlace(chain, group, a), standInPlace(chain, group, b))
}

func standInPlace(chain string, group int, peer []byte) []byte {
	h := sha256.New()
	h.Write([]byte("granary/stand-in/v1"))
	h.Write([]byte{byte(len(chain))})
	h.Write([]byte(chain))
	h.Write([]byte{byte(group)})
	h.Write(peer)
	return h.Sum(nil)
}
