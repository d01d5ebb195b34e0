package node

import (
	"context"
	"time"

	"granary/ledger"
)

// Repeat makes a test again and again, as Verify does in a network of p.
func Repeat(ctx context.Context, p ledger.Params, wait time.Duration, test func(try int) (Verified, error)) (Verified, error) {
	s := schedule{p.RetryRound, p.SamplingGrace}
	return s.repeat(ctx, wait, test, func(Verified, time.Time) {})
}
