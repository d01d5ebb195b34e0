package erasure_test

import (
	"bytes"
	"context"
	"fmt"

	"granary/erasure"
)

// A block survives the loss of any half of its rows.
func Example() {
	ctx := context.Background()
	content := bytes.Repeat([]byte("granary "), 10_000)

	g, err := erasure.NewGeometry(int64(len(content)))
	if err != nil {
		panic(err)
	}
	stored, parity := make(file, g.PaddedLength()), make(file, g.PaddedLength())
	block, err := erasure.Commit(ctx, "greeting.txt", g.Length(), bytes.NewReader(content), parity, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(block.Info.ID().Magnet())

	// All content rows are lost; the parity rows are enough.
	rows := erasure.Source{Have: func(row int) bool { return row >= g.K() }, Parity: parity}
	if err := erasure.Recover(ctx, g, rows, stored, nil); err != nil {
		panic(err)
	}
	if _, err := erasure.CheckClean(ctx, block.Info, stored, nil, nil); err != nil {
		panic(err)
	}
	fmt.Println(bytes.Equal(stored[:g.Length()], content))
	// Output:
	// magnet:?xt=urn:btmh:1220f5aecb2cf0ea46ab0c1eb2a6761dba05ddf31da391f25df65051c7be84cfb8cb
	// true
}
