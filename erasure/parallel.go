package erasure

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Progress is told how many of total bytes a call has dealt with: bytes of
// work, so total exceeds the content where content is read twice. It is called
// from one goroutine at a time, about once per MiB and at the end, and should
// return quickly.
type Progress func(done, total int64)

// meter adds up the work of several goroutines for a Progress.
type meter struct {
	report Progress // may be nil
	total  int64

	mu         sync.Mutex // guards done and told
	done, told int64
}

func (m *meter) add(n int) {
	if m.report == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(n)
	if m.done-m.told >= 1<<20 || m.done == m.total {
		m.told = m.done
		m.report(m.done, m.total)
	}
}

// cores is the number of goroutines that work at the same time.
func cores() int { return runtime.GOMAXPROCS(0) }

// each calls f(worker, i) once for every 0 ≤ i < n, from workers goroutines
// numbered from 0, and returns when all have ended. After an error or the end
// of ctx no further call is made; the first error is returned, since those of
// the other goroutines have the same cause.
func each(ctx context.Context, workers, n int, f func(worker, i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		first  error // of whoever set failed
		wg     sync.WaitGroup
	)
	for w := range min(workers, n) {
		wg.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = f(w, i)
				}
				if err != nil && !failed.Swap(true) {
					first = err
				}
			}
		})
	}
	wg.Wait()
	return first
}
