package light_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"granary/ledger"
	"granary/ledger/light"
)

// wordy refuses every transaction for a reason of its own.
type wordy struct {
	*synth
	reason string
}

func (w wordy) Submit(context.Context, []byte) error {
	return errors.Join(ledger.ErrCredits, errors.New(w.reason))
}

// TestDetailIsCutBetweenCharacters is for clients, who take what is no UTF-8 for a
// lie.
func TestDetailIsCutBetweenCharacters(t *testing.T) {
	c := newSynth(t, 1)
	long := 512 - len(ledger.ErrCredits.Error()) - 1
	for what, reason := range map[string]string{
		"short":            "ä",
		"just fits":        strings.Repeat("a", long),
		"two bytes cut":    strings.Repeat("a", long-1) + "ä",
		"four bytes cut":   strings.Repeat("a", long-3) + "𝄞𝄞",
		"nothing but such": strings.Repeat("𝄞", 300),
		"no UTF-8":         strings.Repeat("\xff", 600),
	} {
		var r struct {
			_      struct{} `cbor:",toarray"`
			Code   uint32
			Detail string
		}
		if err := cbor.Unmarshal(light.ServeTx(t.Context(), wordy{c, reason}, nil), &r); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		said := ledger.ErrCredits.Error() + "\n" + strings.ToValidUTF8(reason, "\uFFFD")
		if r.Code != ledger.Code(ledger.ErrCredits) || !utf8.ValidString(r.Detail) || !strings.HasPrefix(said, r.Detail) || len(r.Detail) < min(len(said), 509) {
			t.Errorf("%s: code %d, %d bytes %q", what, r.Code, len(r.Detail), r.Detail)
		}
	}
}
