package node

import "errors"

// Errors of the use cases; internal/exit gives each its status and hint.
var (
	ErrRef          = errors.New("not a reference to a block")
	ErrNotPublisher = errors.New("this home may not publish on this network")
	ErrNotFound     = errors.New("no reachable node knows the block")
	ErrTooFewRows   = errors.New("too few rows can be had")
	ErrStalled      = errors.New("the download makes no progress")
	ErrNoCustodians = errors.New("no custodian reported its share held")
	ErrPending      = errors.New("1 GiB of announced blocks is still on its way")
)

// Progress tells how far a use case is. Stages come in the order in which the
// work is done: "encode", "announce", "custody" when publishing; "find",
// "fetch", "decode" when fetching.
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
