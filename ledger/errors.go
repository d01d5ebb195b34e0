package ledger

import (
	"errors"
	"fmt"
)

// Why a transaction is refused. Callers branch on these; Code gives each a
// number that survives a wire.
var (
	// ErrMalformed reports bytes that are no message, or values outside the rules.
	ErrMalformed = errors.New("malformed message")

	// ErrSignature reports a message that its sender did not sign for this chain.
	ErrSignature = errors.New("signature does not match")

	// ErrID reports a record whose ID does not follow from its other fields.
	ErrID = errors.New("ID does not follow from the record")

	// ErrNotYet reports a kind of transaction, or a value, that the format
	// reserves and this version does not know.
	ErrNotYet = errors.New("not yet supported")

	// ErrNonce reports a nonce that its sender used before, or one too far from
	// the last: see NonceWindow.
	ErrNonce = errors.New("nonce used or out of range")

	// ErrCredits reports a sender with fewer credits than it wants to spend.
	ErrCredits = errors.New("too few credits")

	// ErrPending reports a publisher whose last record still awaits its certificate.
	ErrPending = errors.New("publisher has a pending record")

	// ErrFull reports that too many bytes await a certificate in the whole network.
	ErrFull = errors.New("too much is pending in the network")

	// ErrKeep reports a record that asks to be kept for longer than MaxKeep from
	// now, or a name that is paid for more than MaxTerms ahead.
	ErrKeep = errors.New("keep is too long")

	// ErrNotValidator reports an attestation by a key that attests for no
	// validator of the set at the height of the announcement, and a proposal, vote
	// or rotation by one that is no validator's attest key now.
	ErrNotValidator = errors.New("sender is not a validator")

	// ErrUnknown reports an announcement, a proposal or a block that a transaction
	// refers to and that is not in the log.
	ErrUnknown = errors.New("it refers to nothing in the log")

	// ErrAttested reports an attestation or a vote that the validator gave before.
	ErrAttested = errors.New("said already")

	// ErrExpired reports an attestation or a vote that came too late: what it is about
	// has expired, or a vote's proposal is enacted.
	ErrExpired = errors.New("it came too late")

	// ErrNotOwner reports a name that the sender does not own: it is another's, or
	// nobody's and not paid for.
	ErrNotOwner = errors.New("sender does not own the name")

	// ErrChange reports a change that cannot be made to the validators, parameters
	// or accounts that there are.
	ErrChange = errors.New("the change cannot be made")

	// ErrWaiting reports a sender with MaxWaiting transactions that wait already. A
	// mempool says it, a height never does.
	ErrWaiting = errors.New("too many transactions of the sender wait")

	// ErrOften reports a validator that has said as much on one day as it may: see
	// MaxWords.
	ErrOften = errors.New("said too much on one day")

	// ErrPrice reports a payment that is not the price, which a vote may have changed
	// since it was signed.
	ErrPrice = errors.New("the price is another")
)

// ErrNotFound reports that the ledger has no such entry, announcement or block.
var ErrNotFound = errors.New("not in the ledger")

// ErrCorrupt reports stored bytes that this package did not write.
var ErrCorrupt = errors.New("stored state is damaged")

// CodeOther is the code of an error that is not a refusal.
const CodeOther = 1

// refusals lists the reasons by code, counted on from CodeOther. The codes are in
// the headers of the chain, so the order never changes: append only.
func refusals() []error {
	return []error{
		ErrMalformed, ErrSignature, ErrID, ErrNotYet, ErrNonce, ErrCredits, ErrPending, ErrFull, ErrKeep,
		ErrNotValidator, ErrUnknown, ErrAttested, ErrExpired, ErrNotOwner, ErrChange, ErrWaiting, ErrOften, ErrPrice,
	}
}

// Code returns the number of the reason that err wraps: 0 for nil, CodeOther
// for an error of another kind.
func Code(err error) uint32 {
	if err == nil {
		return 0
	}
	for i, refusal := range refusals() {
		if errors.Is(err, refusal) {
			return CodeOther + 1 + uint32(i)
		}
	}
	return CodeOther
}

// CodeError is the way back: an error that wraps the reason with this code and
// says detail, which is what the original error said. Code 0 gives nil.
func CodeError(code uint32, detail string) error {
	if code == 0 {
		return nil
	}
	list := refusals()
	if code <= CodeOther || int64(code) > CodeOther+int64(len(list)) {
		return errors.New(detail)
	}
	return &refused{detail, list[code-CodeOther-1]}
}

// refused is a refusal that came over a wire.
type refused struct {
	detail string
	reason error
}

func (r *refused) Error() string { return r.detail }
func (r *refused) Unwrap() error { return r.reason }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func notYet(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotYet, fmt.Sprintf(format, args...))
}

// firstError returns err, or otherwise if there is none.
func firstError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
