package ledger

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds on anything a message may nest or count; the smallest that the decoder
// can enforce. What a field may hold is checked by its own rule.
const (
	maxNesting  = 4
	maxElements = 16
)

var (
	encoder = mustMode(encodeOptions().EncMode())
	decoder = mustMode(decodeOptions().DecMode())
)

func encodeOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty
	o.IndefLength = cbor.IndefLengthForbidden
	o.TagsMd = cbor.TagsForbidden
	return o
}

func decodeOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
	}
}

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("BUG: CBOR options: " + err.Error())
	}
	return m
}

// unmarshal decodes the one encoding of a value into v and rejects all others:
// what v holds must encode to the same bytes.
func unmarshal(b []byte, v any) error {
	if err := decoder.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := encoder.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w: not the deterministic encoding", ErrMalformed)
	}
	return nil
}
