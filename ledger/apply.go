package ledger

import "time"

// Applied is what a block of the chain did.
type Applied struct {
	Head    Head    // of the log now
	Results []error // for each transaction why it was refused, nil if it is in the log
	First   uint64  // log index of Entries[0]
	Entries []Entry // what the block added to the log
}

// Apply applies the block of the next height. Transactions that break a rule are
// refused, each with a reason that Code knows, and change nothing; the error is
// for what must not happen: a height out of order, or a KV that fails or is
// damaged. Then what was written must not be kept: give Apply a transaction of
// the store, and commit it when Apply has succeeded.
func (s *State) Apply(height int64, t time.Time, txs [][]byte) (Applied, error) {
	return Applied{}, nil
}

// has reports whether validator number i attested.
func (a *announced) has(i int) bool { return i/8 < len(a.Attested) && a.Attested[i/8]>>(i%8)&1 == 1 }
