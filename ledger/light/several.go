package light

import (
	"context"
	"sync"
	"time"
)

// several calls ask for providers, the best first and three at once, until it has
// said of three that they answered, or all were asked. Once one has answered, it
// waits for others no longer than for one that is silent, and ends their ctx
// then: many silent ones must not keep it. ask is called by several goroutines.
func (c *Client) several(ctx context.Context, ask func(ctx context.Context, peer string) (answered bool)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		peers = c.providers() // guarded by mu: those not asked yet
		first sync.Once
		late  *time.Timer
	)
	next := func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if len(peers) == 0 || ctx.Err() != nil {
			return "", false
		}
		peer := peers[0]
		peers = peers[1:]
		return peer, true
	}
	for range wanted { // each asks until it has an answer
		wg.Go(func() {
			for {
				peer, more := next()
				if !more {
					return
				}
				if ask(ctx, peer) {
					first.Do(func() { late = time.AfterFunc(callTimeout, cancel) })
					return
				}
			}
		})
	}
	wg.Wait()
	if late != nil {
		late.Stop()
	}
}
