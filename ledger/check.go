package ledger

import "fmt"

// check returns why a transaction is refused by the state, whoever signed it.
func (s *State) check(tx Tx) error {
	sender, allowance, err := s.account(tx.Sender, s.meta.Millis)
	if tx.Kind != KindAnnounce {
		sender.Credits -= allowance // newcomers get it to announce with
	}
	if err != nil {
		return err
	}
	if _, err := sender.Nonces.use(tx.Nonce); err != nil {
		return err
	}
	if err := s.checkPrice(tx, sender); err != nil {
		return err
	}
	switch tx.Kind {
	case KindAnnounce:
		return s.checkAnnounce(tx.Record, sender)
	case KindAttest:
		return s.checkAttest(tx)
	case KindTransfer:
		return s.checkTransfer(tx.Transfer, sender.Credits-tx.Pay)
	case KindName:
		return s.checkNaming(tx)
	}
	return s.checkWord(tx)
}

// checkTransfer is told what the sender has when it has paid.
func (s *State) checkTransfer(t Transfer, left int64) error {
	if t.Credits > left {
		return fmt.Errorf("%w: %d are to move, the account has %d besides the fee", ErrCredits, t.Credits, left)
	}
	return s.room(t.To, t.Credits, ErrCredits)
}

// room returns reason if an account would have more credits than there may be.
func (s *State) room(key PublicKey, credits int64, reason error) error {
	var a account
	if _, err := s.get(keyAccount(key), &a); err != nil {
		return err
	}
	if a.Credits > MaxCredits-credits {
		return fmt.Errorf("%w: %s would have more than %d credits", reason, key, int64(MaxCredits))
	}
	return nil
}

func (s *State) checkAnnounce(r Record, sender account) error {
	if r.Namespace != "" {
		n, owned, err := s.owned(r.Namespace, s.meta.Millis)
		if err != nil {
			return err
		}
		if !owned || n.Owner != r.Publisher {
			return fmt.Errorf("%w: namespace %q", ErrNotOwner, r.Namespace)
		}
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
	now, err := s.Validators()
	if err != nil {
		return a, 0, err
	}
	for i, v := range set {
		key, err := s.speaksBy(now, v)
		if err != nil {
			return a, 0, err
		}
		if key != sender {
			continue
		}
		if a.has(i) {
			return a, 0, fmt.Errorf("%w: entry %d", ErrAttested, item.Index)
		}
		return a, i, nil
	}
	return a, 0, fmt.Errorf("%w: entry %d", ErrNotValidator, item.Index)
}

// speaksBy returns the attest key of a validator of an earlier set: the present one,
// or the last that it had. Those before may have been stolen.
func (s *State) speaksBy(now []Validator, v Validator) (PublicKey, error) {
	if place(now, v.Consensus) >= 0 {
		return attestKey(now, v.Consensus), nil
	}
	w, err := s.spoken(v.Consensus)
	if err != nil {
		return PublicKey{}, err
	}
	return w.Left.value()
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
