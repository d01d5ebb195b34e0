package ledger

// fold takes entry number index into the state. It decides nothing, for that the
// entry is in the log says that it belongs there, and it looks at no clock: the
// log alone gives the same state, but for deadlines.
func (s *State) fold(index uint64, e Entry) error {
	now := e.Time.UnixMilli()
	switch e.Kind {
	case EntryTx:
		return s.foldTx(index, now, e.Tx)
	case EntryCertified:
		return s.foldCertified(index, now, e.Outcome)
	case EntryExpired:
		return s.foldExpired(index, e.Outcome)
	case EntryEnacted:
		return s.foldEnacted(index, e.Enacted)
	}
	return nil // the genesis is the state that the fold begins with
}

func (s *State) foldTx(index uint64, now int64, tx Tx) error {
	switch tx.Kind {
	case KindAnnounce:
		return s.foldAnnounce(index, now, tx)
	case KindAttest:
		return s.foldAttest(tx)
	case KindTransfer:
		if err := s.spend(index, tx, tx.Transfer.Credits); err != nil {
			return err
		}
		return s.receive(index, tx.Transfer.To, tx.Transfer.Credits)
	case KindName:
		return s.foldNaming(index, now, tx)
	}
	return s.foldWord(index, now, tx)
}

// spend takes from the sender of a transaction what it pays and what it moves, and
// its nonce.
func (s *State) spend(index uint64, tx Tx, moved int64) error {
	key := keyAccount(tx.Sender)
	var a account
	if _, err := s.get(key, &a); err != nil {
		return err
	}
	if err := a.spend(tx.Nonce); err != nil {
		return err
	}
	a.Credits -= tx.Pay + moved
	if tx.Pay+moved > 0 {
		if err := s.extend(key, &a.Trail, index); err != nil {
			return err
		}
	}
	return s.put(key, a)
}

// receive gives credits to an account, which begins with them if there is none.
func (s *State) receive(index uint64, who PublicKey, credits int64) error {
	key := keyAccount(who)
	var a account
	if _, err := s.get(key, &a); err != nil {
		return err
	}
	a.Credits += credits
	if err := s.extend(key, &a.Trail, index); err != nil {
		return err
	}
	return s.put(key, a)
}

func (s *State) foldAnnounce(index uint64, now int64, tx Tx) error {
	r := tx.Record
	sender, allowance, err := s.account(tx.Sender, now)
	if err != nil {
		return err
	}
	s.grant(allowance, now)
	if err := sender.spend(tx.Nonce); err != nil {
		return err
	}
	sender.Credits -= tx.Pay

	id := r.ID()
	var b block
	if _, err := s.get(keyBlock(id), &b); err != nil {
		return err
	}
	a := announced{ID: id, Status: Pending, Set: s.net.Set, Previous: b.Latest}
	if b.kept(now) {
		a.Status, a.Decision = Certified, b.Certificate
		b.Until += r.keepMillis()
	} else {
		sender.Pending = index
		if b.Pending == 0 {
			s.meta.Pending += r.pendingBytes()
		}
		b.Pending++
	}
	b.Latest = index
	if err := s.extend(keyAccount(tx.Sender), &sender.Trail, index); err != nil {
		return err
	}
	if err := s.put(keyAccount(tx.Sender), sender); err != nil {
		return err
	}
	if err := s.put(keyAnnounced(index), a); err != nil {
		return err
	}
	return s.put(keyBlock(id), b)
}

func (s *State) foldAttest(tx Tx) error {
	if err := s.spend(0, tx, 0); err != nil {
		return err
	}
	for _, item := range tx.Attested {
		a, i, err := s.attestable(item, tx.Sender)
		if Code(err) == CodeOther {
			return err
		}
		if err != nil {
			continue
		}
		set, err := s.set(a.Set)
		if err != nil {
			return err
		}
		a.mark(i)
		a.Power += set[i].Power
		if err := s.put(keyAnnounced(item.Index), a); err != nil {
			return err
		}
	}
	return nil
}

// foldCertified certifies a block: with the announcement whose attestations
// sufficed, all others of the block that are pending. Each has paid for its days
// of keep, and they add up.
func (s *State) foldCertified(index uint64, now int64, o Outcome) error {
	var b block
	if err := s.must(keyBlock(o.ID), &b); err != nil {
		return err
	}
	b.Certificate, b.Until, b.Pending = index, now, 0
	// The pending ones are the latest: those before them are decided.
	for i := b.Latest; i != 0; {
		var a announced
		if err := s.must(keyAnnounced(i), &a); err != nil {
			return err
		}
		if a.Status != Pending {
			break
		}
		r, err := s.settle(i, a, Certified, index)
		if err != nil {
			return err
		}
		b.Until += r.keepMillis()
		i = a.Previous
	}
	b.Until = min(b.Until, now+MaxKeep*dayMillis)
	if err := s.forget(o); err != nil {
		return err
	}
	return s.put(keyBlock(o.ID), b)
}

func (s *State) foldExpired(index uint64, o Outcome) error {
	var a announced
	if err := s.must(keyAnnounced(o.Announcement), &a); err != nil {
		return err
	}
	if _, err := s.settle(o.Announcement, a, Expired, index); err != nil {
		return err
	}
	var b block
	if err := s.must(keyBlock(o.ID), &b); err != nil {
		return err
	}
	if b.Pending--; b.Pending == 0 {
		if err := s.forget(o); err != nil {
			return err
		}
	}
	return s.put(keyBlock(o.ID), b)
}

// settle ends the pending announcement at index by the entry decision, and
// returns its record. Its publisher may announce again.
func (s *State) settle(index uint64, a announced, status Status, decision uint64) (Record, error) {
	a.Status, a.Decision = status, decision
	if err := s.put(keyAnnounced(index), a); err != nil {
		return Record{}, err
	}
	e, err := s.announceEntry(index)
	if err != nil {
		return Record{}, err
	}
	var publisher account
	if err := s.must(keyAccount(e.Tx.Sender), &publisher); err != nil {
		return Record{}, err
	}
	publisher.Pending = 0
	return e.Tx.Record, s.put(keyAccount(e.Tx.Sender), publisher)
}

// forget takes the bytes of a block that is no more pending out of the sum.
func (s *State) forget(o Outcome) error {
	e, err := s.announceEntry(o.Announcement)
	if err != nil {
		return err
	}
	s.meta.Pending -= e.Tx.Record.pendingBytes()
	return nil
}

// grant counts an allowance that is handed out now.
func (s *State) grant(allowance, now int64) {
	if day := now / dayMillis; day != s.meta.Day {
		s.meta.Day, s.meta.Granted = day, 0
	}
	s.meta.Granted += allowance
}
