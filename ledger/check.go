package ledger

import "fmt"

// check returns why a transaction is refused by the state, whoever signed it.
func (s *State) check(tx Tx) error {
	sender, _, err := s.account(tx.Sender, s.meta.Millis)
	if err != nil {
		return err
	}
	if _, err := sender.Nonces.use(tx.Nonce); err != nil {
		return err
	}
	if tx.Kind == KindAttest {
		return s.checkAttest(tx)
	}
	return s.checkAnnounce(tx.Record, sender)
}

func (s *State) checkAnnounce(r Record, sender account) error {
	if cost := r.Cost(); cost > sender.Credits {
		return fmt.Errorf("%w: %d bytes for %d days cost %d, the account has %d", ErrCredits, r.Info.Length, r.Keep, cost, sender.Credits)
	}
	var b block
	if _, err := s.get(keyBlock(r.ID()), &b); err != nil {
		return err
	}
	if b.kept(s.meta.Millis) {
		if b.Until+r.keepMillis() > s.meta.Millis+MaxKeep*dayMillis {
			return fmt.Errorf("%w: with what is paid for already it would end more than %d days from now", ErrKeep, MaxKeep)
		}
		return nil
	}
	if sender.Pending != 0 {
		return fmt.Errorf("%w: entry %d", ErrPending, sender.Pending)
	}
	if b.Pending == 0 && s.meta.Pending+r.pendingBytes() > s.net.Params.MaxPending {
		return fmt.Errorf("%w: %d bytes of at most %d", ErrFull, s.meta.Pending, s.net.Params.MaxPending)
	}
	return nil
}

// checkAttest accepts a transaction if any of its attestations counts: one that
// is late must not take the others with it.
func (s *State) checkAttest(tx Tx) error {
	var refused error
	for _, item := range tx.Attested {
		_, _, err := s.attestable(item, tx.Sender)
		if err == nil || Code(err) == CodeOther {
			return err
		}
		refused = firstError(refused, err)
	}
	return refused
}

// attestable returns the announcement that an attestation is about and the
// sender's place in its validator set, or why the attestation does not count.
func (s *State) attestable(item Attestation, sender PublicKey) (announced, int, error) {
	var a announced
	found, err := s.get(keyAnnounced(item.Index), &a)
	if err != nil {
		return a, 0, err
	}
	if !found || a.ID != item.ID {
		return a, 0, fmt.Errorf("%w: block %s at entry %d", ErrUnknown, item.ID.Short(), item.Index)
	}
	if a.Status == Expired {
		return a, 0, fmt.Errorf("%w: entry %d", ErrExpired, item.Index)
	}
	set, err := s.set(a.Set)
	if err != nil {
		return a, 0, err
	}
	for i, v := range set {
		if v.Attest != sender {
			continue
		}
		if a.has(i) {
			return a, 0, fmt.Errorf("%w: entry %d", ErrAttested, item.Index)
		}
		return a, i, nil
	}
	return a, 0, fmt.Errorf("%w: entry %d", ErrNotValidator, item.Index)
}

// kept reports whether the block is certified and its keep has not ended.
func (b *block) kept(millis int64) bool { return b.Certificate != 0 && millis < b.Until }

// has reports whether validator number i attested.
func (a *announced) has(i int) bool { return i/8 < len(a.Attested) && a.Attested[i/8]>>(i%8)&1 == 1 }

// mark notes that validator number i attested.
func (a *announced) mark(i int) {
	for i/8 >= len(a.Attested) {
		a.Attested = append(a.Attested, 0)
	}
	a.Attested[i/8] |= 1 << (i % 8)
}

func (r Record) keepMillis() int64 { return int64(r.Keep) * dayMillis }

// pendingBytes is what a validator has to fetch before it attests: whole rows.
func (r Record) pendingBytes() int64 { return r.Info.Geometry().PaddedLength() }
