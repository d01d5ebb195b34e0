package ledger

import "fmt"

// Price is what a transaction costs its sender in credits, which nobody gets:
// whatever somebody can have put into the log again and again costs at least the
// fee. What validators say has no price: attestations are as many as there are
// announcements, for the others see MaxWords.
func (p Params) Price(tx Tx) int64 {
	switch tx.Kind {
	case KindAnnounce:
		return max(tx.Record.Cost(), p.Fee)
	case KindName:
		return max(int64(tx.Naming.Terms)*p.NameCost, p.Fee) // Validate bounds it to less than 2^63
	case KindTransfer:
		return p.Fee
	}
	return 0
}

// checkPay returns ErrMalformed for a payment that no parameters ask for.
func (tx Tx) checkPay() error {
	most := int64(0)
	switch tx.Kind {
	case KindAnnounce, KindTransfer, KindName:
		most = MaxCredits
	}
	if tx.Pay < 0 || tx.Pay > most {
		return malformed("%d credits paid for %s", tx.Pay, tx.Kind)
	}
	return nil
}

// checkPrice refuses a transaction that does not pay its price: not more either,
// so that a vote that changes it makes no one pay what he did not sign.
func (s *State) checkPrice(tx Tx, sender account) error {
	price := s.Params().Price(tx)
	if tx.Pay != price {
		return fmt.Errorf("%w: %s costs %d, %d are offered", ErrPrice, tx.Kind, price, tx.Pay)
	}
	if price > sender.Credits {
		return fmt.Errorf("%w: %s costs %d, the account has %d", ErrCredits, tx.Kind, price, sender.Credits)
	}
	return nil
}
