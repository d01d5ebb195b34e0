package ledger

import "fmt"

// NonceWindow is how far a nonce may be from the highest one that its sender
// used: up to that many above it, or unused and fewer than that many below. So
// transactions of one sender need not arrive in order, one that is lost holds up
// no other, and none counts twice. The first nonce is 1.
const NonceWindow = 64

// nonces says which nonces were used: bit i of Seen is Last-i, and all that lie
// 64 or more below Last count as used. It is the window of IPsec, RFC 4303
// section 3.4.3.
type nonces struct {
	_    struct{} `cbor:",toarray"`
	Last uint64
	Seen uint64
}

// use returns n with nonce used, or ErrNonce.
func (n nonces) use(nonce uint64) (nonces, error) {
	switch {
	case nonce > n.Last && nonce-n.Last <= NonceWindow:
		n.Seen = n.Seen<<(nonce-n.Last) | 1
		n.Last = nonce
		return n, nil
	case nonce >= 1 && nonce <= n.Last && n.Last-nonce < NonceWindow && n.Seen>>(n.Last-nonce)&1 == 0:
		n.Seen |= 1 << (n.Last - nonce)
		return n, nil
	}
	return n, fmt.Errorf("%w: %d, the highest used is %d", ErrNonce, nonce, n.Last)
}

// spend uses a nonce of a transaction that is in the log.
func (a *account) spend(nonce uint64) error {
	used, err := a.Nonces.use(nonce)
	if err != nil {
		return fmt.Errorf("%w: account: %v", ErrCorrupt, err)
	}
	a.Nonces = used
	return nil
}

const dayMillis = 24 * 60 * 60 * 1000

// account returns the account of key at a time, and what part of its credits is
// a newcomer's allowance that it does not have yet.
func (s *State) account(key PublicKey, millis int64) (account, int64, error) {
	var a account
	found, err := s.get(keyAccount(key), &a)
	if err != nil || found {
		return a, 0, err
	}
	granted := s.meta.Granted
	if millis/dayMillis != s.meta.Day {
		granted = 0
	}
	if p := s.net.Params; granted <= p.AllowancePerDay-p.Allowance {
		a.Credits = p.Allowance
	}
	return a, a.Credits, nil
}
