package light

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"granary/ledger"
)

// ErrUnsure reports a transaction that was handed over, of which the verified log
// does not tell yet whether it has it. It may still get there: to sign the same
// again could do it twice.
var ErrUnsure = errors.New("the transaction may still get into the ledger")

const (
	// maxAhead is how many transactions of a key may wait while we sign another.
	maxAhead = 16

	// maxLook is how many entries of the log are looked through for what became of a
	// transaction that was refused.
	maxLook = 4096

	// settlePause is how often the log is looked at while a nonce is in doubt.
	settlePause = 200 * time.Millisecond
)

// Transact signs tx by key, which pays what it costs now, with a nonce that is
// free, and hands it to the ledger; Update goes before. It returns it with the
// payment, and as it travels.
//
// No provider's word makes it sign another copy: it does so only if the verified
// log shows that another transaction has used the nonce. Until the log tells, at
// most until ctx ends, it waits and submits the same again; then it returns
// ErrUnsure. Otherwise it returns what Submit does, which for a refusal is what two
// providers say, or all that there are. The next transaction of the key takes the
// nonce of a refused one: should that have been a lie, only one of them gets there, and
// ErrNonce says so of the next.
func (c *Client) Transact(ctx context.Context, key ed25519.PrivateKey, tx ledger.Tx) (ledger.Tx, []byte, error) {
	// A nonce that the account has not used by now can be used from here on only.
	head, _ := c.Head()
	account, err := c.Account(ctx, ledger.KeyOf(key))
	if err != nil {
		return tx, nil, fmt.Errorf("read own account: %w", err)
	}
	params, err := c.Params(ctx)
	if err != nil {
		return tx, nil, fmt.Errorf("read prices: %w", err)
	}
	tx.Pay = params.Price(tx)
	for range maxAhead {
		n := c.nextNonce(ledger.KeyOf(key), account.Nonce, head.Size)
		raw, err := ledger.Sign(c.cfg.Genesis.ChainID, key, n.nonce, tx)
		if err != nil {
			return tx, nil, fmt.Errorf("sign %s: %w", tx.Kind, err)
		}
		other, err := c.settle(ctx, n.from, raw)
		if err != nil && !errors.Is(err, ErrUnsure) {
			c.giveBack(ledger.KeyOf(key), unused{n.nonce, n.from, raw})
		}
		if err != nil || other == nil {
			return tx, raw, err
		}
		if bytes.Equal(other, n.refused) {
			return tx, nil, fmt.Errorf("%w: the one before, which was refused, is in the ledger all the same; see what it did before you send this again", ledger.ErrNonce)
		}
	}
	return tx, nil, fmt.Errorf("%w: others use this key's nonces as fast", ledger.ErrWaiting)
}

// nonces is what this client signed with, by one key.
type nonces struct {
	last    uint64
	refused []unused // the oldest first
}

// unused is a nonce that no entry of the log before number from has used.
type unused struct {
	nonce, from uint64
	refused     []byte // the transaction that was refused with it; nil: none was
}

// nextNonce returns the nonce for another transaction of a key, whose account has
// used those up to used when the log had size entries: that of one that was
// refused, else one that this client has not signed with before, since what waits
// for a height is not in the account yet.
func (c *Client) nextNonce(who ledger.PublicKey, used, size uint64) unused {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, signed := c.nonces[who]
	defer func() { c.nonces[who] = n }()
	for len(n.refused) > 0 {
		free := n.refused[0]
		n.refused = n.refused[1:]
		if free.nonce+ledger.NonceWindow > used && size < free.from+maxLook {
			return free
		}
	}
	if !signed || n.last < used || n.last >= used+maxAhead { // so many got lost: their nonces are free again
		n.last = used
	}
	n.last++
	return unused{nonce: n.last, from: size}
}

// giveBack frees the nonce of a transaction that was refused.
func (c *Client) giveBack(who ledger.PublicKey, u unused) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nonces[who]
	if len(n.refused) < maxAhead {
		n.refused = append(n.refused, u)
		c.nonces[who] = n
	}
}

// settle submits a transaction until a provider accepts it, two refuse it for good,
// or it is in the log. It returns the one that the log has with its nonce instead, in
// entry number from or later, nil if there is none.
func (c *Client) settle(ctx context.Context, from uint64, raw []byte) (other []byte, err error) {
	tx, err := ledger.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	lone, doubt := c.submitted(ctx, raw)
	for tried := int64(0); ; {
		if !lone && !doubtful(doubt) {
			return nil, doubt
		}
		if _, err := c.Update(ctx); stops(err) {
			return nil, fmt.Errorf("%w: %w", ErrUnsure, err)
		}
		var found *ledger.Tx
		if from, found, err = c.nonceUsed(ctx, from, tx); err == nil && found != nil {
			if other = found.Encode(); bytes.Equal(other, raw) {
				other = nil
			}
			return other, nil
		}
		if pause(ctx, settlePause) != nil {
			return nil, fmt.Errorf("%w: %v", ErrUnsure, doubt)
		}
		// What used the nonce at a provider, and waited, may have been dropped there.
		if _, height := c.Head(); err == nil && height != tried {
			tried = height
			lone, doubt = c.submitted(ctx, raw)
		}
	}
}

// doubtful reports what Submit may return of a transaction that gets there.
func doubtful(err error) bool {
	for _, d := range []error{ledger.ErrNonce, ErrUnreachable, ErrLying, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}

// nonceUsed looks in the verified log, from entry number from on, for the
// transaction that has the sender and the nonce of tx. It returns where to look on.
func (c *Client) nonceUsed(ctx context.Context, from uint64, tx ledger.Tx) (next uint64, found *ledger.Tx, err error) {
	for head, _ := c.Head(); from < head.Size; {
		entries, err := c.Entries(ctx, from, MaxEntries)
		if err != nil {
			return from, nil, err
		}
		for _, e := range entries {
			if e.Kind == ledger.EntryTx && e.Tx.Sender == tx.Sender && e.Tx.Nonce == tx.Nonce {
				return from, &e.Tx, nil
			}
			from++
		}
	}
	return from, nil, nil
}
