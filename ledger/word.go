package ledger

import "fmt"

const (
	// MaxWords is how much one validator can say on one day: proposals and votes
	// have no price, since a network must stay governable when credits are gone, but
	// each leaves its entry and the change that it makes on every disk.
	MaxWords = 64

	// RotationWords is how many words a rotation counts as: it leaves another copy
	// of the validator set, 35 KB for a hundred.
	RotationWords = 16
)

// spoken is what a validator said: o ‖ consensus key.
type spoken struct {
	_        struct{} `cbor:",toarray"`
	Proposal uint64   // its latest; 0: none
	Day      int64    // since 1970, of its last word
	Words    int64    // on that day
	Left     optional // the attest key that it had when it was voted out, latest
}

func (s *State) spoken(consensus PublicKey) (w spoken, err error) {
	_, err = s.get(keyProposed(consensus), &w)
	return w, err
}

// leave notes by which key a validator that is voted out attests what it still owes.
func (s *State) leave(consensus PublicKey) error {
	set, err := s.Validators()
	if err != nil {
		return err
	}
	w, err := s.spoken(consensus)
	if err != nil {
		return err
	}
	w.Left = optionally(attestKey(set, consensus))
	return s.put(keyProposed(consensus), w)
}

// say returns w after a transaction of a kind at a time.
func (w spoken) say(kind Kind, millis int64) spoken {
	if day := millis / dayMillis; day != w.Day {
		w.Day, w.Words = day, 0
	}
	if w.Words++; kind == KindRotate {
		w.Words += RotationWords - 1
	}
	return w
}

// checkWord says why a proposal, vote or rotation is refused.
func (s *State) checkWord(tx Tx) error {
	v, err := s.validator(tx.Sender)
	if err != nil {
		return err
	}
	w, err := s.spoken(v.Consensus)
	if err != nil {
		return err
	}
	if w.say(tx.Kind, s.meta.Millis).Words > MaxWords {
		return fmt.Errorf("%w: %s has said %d of %d words today, and a rotation counts as %d", ErrOften, v.Name, w.Words, MaxWords, RotationWords)
	}
	switch tx.Kind {
	case KindPropose:
		_, err = s.changed(tx.Change)
	case KindVote:
		err = s.checkVote(v, tx.Vote)
	default:
		_, err = s.rotated(v, tx.Rotation)
	}
	return err
}

// foldWord takes a proposal, vote or rotation into the state.
func (s *State) foldWord(index uint64, now int64, tx Tx) error {
	v, err := s.validator(tx.Sender)
	if err != nil {
		return err
	}
	if err := s.spend(index, tx, 0); err != nil {
		return err
	}
	w, err := s.spoken(v.Consensus)
	if err != nil {
		return err
	}
	if w = w.say(tx.Kind, now); tx.Kind == KindPropose {
		w.Proposal = index
	}
	if err := s.put(keyProposed(v.Consensus), w); err != nil {
		return err
	}
	switch tx.Kind {
	case KindPropose:
		return s.put(keyProposal(index), proposal{
			Proposer: v.Consensus, Deadline: now + s.net.Params.VoteWindow, Voters: v.Consensus[:], Set: s.net.Set,
		})
	case KindVote:
		return s.foldVote(v, tx.Vote)
	}
	set, err := s.rotated(v, tx.Rotation)
	if err != nil {
		return err
	}
	return s.putSet(set)
}
