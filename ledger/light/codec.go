package light

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"granary/ledger"
)

// Bounds on what a message may nest or count.
const (
	maxNesting  = 6
	maxElements = 128 // of a list: entries of a reply, hashes of a path
)

var (
	encoder = mustMode(encodeOptions().EncMode())
	decoder = mustMode(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  maxNesting,
		MaxArrayElements: maxElements,
		MaxMapPairs:      16,
	}.DecMode())
)

func encodeOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	o.IndefLength = cbor.IndefLengthForbidden
	o.TagsMd = cbor.TagsForbidden
	return o
}

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("BUG: CBOR options: " + err.Error())
	}
	return m
}

// marshal encodes a message of this package.
func marshal(v any) []byte {
	b, err := encoder.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode %T: %v", v, err))
	}
	return b
}

// unmarshal decodes the one encoding of a value into v and rejects all others
// with ledger.ErrMalformed.
func unmarshal(b []byte, v any) error {
	if err := decoder.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrMalformed, err)
	}
	if again, err := encoder.Marshal(v); err != nil || !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not the deterministic encoding", ledger.ErrMalformed)
	}
	return nil
}
