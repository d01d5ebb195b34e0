package light

import "granary/ledger"

// CheckTwice checks evidence that one of the known validators signed twice.
func CheckTwice(chain string, raw []byte, known []ledger.Validator) error {
	_, err := checkTwice(chain, raw, known)
	return err
}
