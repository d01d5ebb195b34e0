package node

import "errors"

// Errors of the use cases; internal/exit gives each its status and hint.
var (
	ErrRef          = errors.New("not a reference to a block")
	ErrNotFound     = errors.New("no reachable node knows the block")
	ErrTooFewRows   = errors.New("too few rows can be had")
	ErrStalled      = errors.New("the download makes no progress")
	ErrNoCustodians = errors.New("no custodian reported its share held")
	ErrNotCertified = errors.New("the block was not certified")
	ErrNotCommitted = errors.New("the transaction did not get into the ledger")
	ErrOffline      = errors.New("the ledger cannot be read")
)

// Progress tells how far a use case is. Stages come in the order in which the
// work is done: "encode", "certify", "custody" when publishing; "find", "fetch",
// "decode" when fetching; "sample" when verifying; "chain" while a node fetches
// the heights of the chain.
type Progress struct {
	Stage string `json:"stage"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"` // 0: not known
	Unit  string `json:"unit,omitempty"`
	Text  string `json:"text,omitempty"` // what is waited for, in words
}

// Report receives progress; it is called from one goroutine at a time and may
// be nil.
type Report func(Progress)

func (r Report) to(p Progress) {
	if r != nil {
		r(p)
	}
}

// bytes returns an erasure.Progress that reports stage in bytes.
func (r Report) bytes(stage string) func(done, total int64) {
	if r == nil {
		return nil
	}
	return func(done, total int64) {
		r(Progress{Stage: stage, Done: done, Total: total, Unit: "bytes"})
	}
}
