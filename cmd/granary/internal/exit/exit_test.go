package exit_test

import (
	"testing"

	"granary/cmd/granary/internal/exit"
	"granary/ledger"
)

// TestEveryRefusalOfTheLedgerHasAHint goes through the codes that package ledger
// knows.
func TestEveryRefusalOfTheLedgerHasAHint(t *testing.T) {
	code := uint32(ledger.CodeOther + 1)
	for ; ; code++ {
		err := ledger.CodeError(code, "refused")
		if ledger.Code(err) != code {
			break // there are no more
		}
		if status, hint := exit.Of(err); status == exit.OK || hint == "" {
			t.Errorf("code %d: status %d, hint %q", code, status, hint)
		}
	}
	if code < 19 {
		t.Errorf("%d is no code of the ledger", code)
	}
}
