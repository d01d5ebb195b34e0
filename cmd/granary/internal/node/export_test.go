package node

import (
	"context"
	"time"

	"granary/blobstore"
	"granary/ledger"
)

// Owe notes an announcement of b in the log, as a custodian does.
func Owe(ctx context.Context, b *blobstore.Block, index uint64, announced time.Time, days int) error {
	t := task{index: index, record: ledger.Record{Info: b.Bundle().Info, Keep: uint32(days)}}
	t.until = announced.Add(t.keep())
	return owe(ctx, b, t)
}
