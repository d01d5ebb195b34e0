// Package exit gives every outcome of the command one status and one hint.
//
// It is the only place that knows the numbers scripts rely on; the statuses
// are listed in docs/cli.md. An error keeps its status when it crosses a
// node's socket.
package exit

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"granary/blobstore"
	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/deny"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/node"
	"granary/cmd/granary/internal/traffic"
	"granary/erasure"
	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
	"granary/sampling/kad"
	"granary/swarm"
)

// Statuses of the process. A status that is not listed means failure.
const (
	OK           = 0
	Failure      = 1   // anything that has no status of its own
	Partial      = 3   // some of several failed
	Unavailable  = 4   // fewer than k rows can be had
	Inconclusive = 5   // cannot tell
	Mismatch     = 6   // altered, truncated, or a lie
	Quota        = 7   // the home's quota is reached
	Locked       = 8   // another process has the home
	Sealed       = 9   // the home's keys are encrypted, and their passphrase is missing or wrong
	Usage        = 64  // the command line, or what it names, is refused
	TryAgain     = 75  // no peers, port in use, disk full
	Interrupted  = 130 // stopped by the user; running it again resumes
)

// Error is an error with its status and what to do about it.
type Error struct {
	Status int
	Err    error
	Hint   string // one line without a full stop, or empty
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code is an outcome that was reported already: only the process's status is
// left to give.
type Code int

// Error implements error.
func (c Code) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

// Usagef returns an error of status Usage with a hint.
func Usagef(hint, format string, args ...any) error {
	return &Error{Status: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// rule maps a cause to its status and hint; the first that matches counts.
type rule struct {
	cause  error
	status int
	hint   string
}

var rules = []rule{
	{context.Canceled, Interrupted, "run the same command again to resume"},
	{node.ErrRef, Usage, "a REF is an ID, 8 or more of its first hex digits, a magnet link, @name, #index in the log, or a .torrent file"},
	{node.ErrNotFound, TryAgain, "check the ID, and that nodes of this network are reachable: `granary status`"},
	{node.ErrTooFewRows, Unavailable, "more seeders may come back: run the same command again, or with a longer --timeout"},
	{node.ErrStalled, TryAgain, "run the same command again to resume, or with a longer --timeout"},
	{node.ErrNoCustodians, TryAgain, "the block is stored and seeded; `granary show` tells who holds it"},
	{node.ErrNotCertified, TryAgain, "the block is stored and seeded here; publish it again, and see `granary status` on a validator"},
	{node.ErrNotCommitted, TryAgain, "it may still get there: look before you say it again"},
	{node.ErrOffline, TryAgain, "check that validators of this network are reachable: `granary status`"},
	{node.ErrFault, Failure, ""},
	{deny.ErrDenied, Failure, "the file deny in the home names it, or who announced it"},
	{deny.ErrList, Usage, "a line of the file deny in the home is `block ID`, `publisher KEY` or `namespace NAME`"},
	{traffic.ErrVolume, Quota, "wait for the next month, or raise monthly_volume in config.toml"},
	{node.ErrDuty, Failure, ""},
	{node.ErrNoCustody, Failure, "run the node with --role seeder"},
	{node.ErrWatching, Locked, "`granary watch --history` shows what it has found"},
	{light.ErrUnreachable, TryAgain, "check that validators of this network are reachable: `granary status`"},
	{light.ErrStale, TryAgain, "the chain has stopped, or the network is partitioned: wait for its validators"},
	{light.ErrForked, Mismatch, "more than a third of the voting power lies: ask the operators before you trust either side"},
	{light.ErrCheckpoint, Failure, "get a newer network file, with a checkpoint you trust"},
	{light.ErrClock, Failure, "set this machine's clock"},
	{light.ErrLying, Mismatch, "ask other providers: get a newer network file"},
	{config.ErrNetwork, Usage, "ask whoever runs the network for its file; docs/network-file.md describes it"},
	{ledger.ErrMalformed, Usage, "names are 1 to 63 of a-z, 0-9 and -; keys are 64 hex digits, as `granary keys` prints them"},
	{ledger.ErrSignature, Failure, "a candidate is for one network: let `granary keys` print it again, in a home of this one"},
	{ledger.ErrID, Mismatch, "the record contradicts itself: publish the content itself"},
	{ledger.ErrNotYet, Failure, "the network does not know that yet: its validators run an older version, or this is one"},
	{ledger.ErrCredits, Failure, "`granary credit` shows what the key has and what the fee is; credits come by transfer or by vote"},
	{ledger.ErrPending, TryAgain, "wait until this key's last block is certified or has expired"},
	{ledger.ErrFull, TryAgain, "wait until blocks announced before are certified"},
	{ledger.ErrKeep, Usage, "choose a smaller --keep, or fewer --terms of a name"},
	{ledger.ErrNonce, TryAgain, "run it again"},
	{ledger.ErrWaiting, TryAgain, "wait until what this key sent before is in the ledger"},
	{ledger.ErrPrice, TryAgain, "run it again: validators changed what it costs"},
	{ledger.ErrOften, TryAgain, "wait for the next day, UTC: a validator says so much a day, and no more"},
	{ledger.ErrUnknown, Failure, "it is not in the ledger: check the block, or `granary validators list` for what is open"},
	{ledger.ErrNotOwner, Failure, "`granary name show NAME` tells whose it is, and until when"},
	{ledger.ErrNotValidator, Failure, "only validators propose and vote: `granary validators list`"},
	{ledger.ErrChange, Failure, "`granary validators list` shows how things are"},
	{ledger.ErrAttested, Failure, "it counts already"},
	{ledger.ErrExpired, Failure, "`granary validators list` shows what is open"},
	{ledger.ErrNotFound, Failure, "check the reference: the ledger has nothing of that kind"},
	{chain.ErrPortInUse, TryAgain, "choose another with --consensus-port, or 0 for any free one"},
	{chain.ErrLocked, Locked, "stop the other process, or choose another --home"},
	{chain.ErrGenesis, Failure, "choose another --home for this network"},
	{folder.ErrExists, Usage, "choose another output, or say --force to replace it"},
	{folder.ErrFolder, Usage, "name one file, not a folder"},
	{folder.ErrNoFile, Usage, "choose another output; - is standard output where content is written"},
	{folder.ErrChanged, TryAgain, "run it again once nobody writes to it"},
	{config.ErrSealed, Sealed, "give the passphrase at a terminal, in a file (--passphrase-file) or in GRANARY_PASSPHRASE"},
	{config.ErrKeyMissing, Failure, "restore it from a backup of keys/, with its name; only if it never mattered, remove network.json too and run `granary init` again"},
	{config.ErrPassphrase, Sealed, "try again; one that is lost cannot be recovered, so restore keys/ from a backup whose passphrase you have"},
	{config.ErrNoHome, Usage, "prepare it with `granary init --network FILE`; get, verify, watch and publish take --network FILE instead"},
	{config.ErrSettings, Usage, "`granary node --help` lists the settings"},
	{config.ErrOtherNetwork, Failure, "choose another --home for this network"},
	{erasure.ErrLength, Usage, "a block holds 1 byte to 256 MiB"},
	{erasure.ErrName, Usage, "choose another with --name"},
	{erasure.ErrMagnet, Usage, "Granary reads magnet links of the form magnet:?xt=urn:btmh:1220<64 hex digits>"},
	{erasure.ErrTooFewRows, Unavailable, "put back any other rows of content or parity and run it again"},
	{erasure.ErrNotClean, Mismatch, "the publisher's own data contradicts itself: no honest node keeps this block"},
	{erasure.ErrInfo, Mismatch, ""},
	{erasure.ErrLayers, Mismatch, ""},
	{erasure.ErrProof, Mismatch, ""},
	{erasure.ErrTorrent, Mismatch, ""},
	{kad.ErrOtherChain, Failure, "use the network file of the network you mean"},
	{kad.ErrPortInUse, TryAgain, "choose another with --port, or 0 for any free one"},
	{swarm.ErrPortInUse, TryAgain, "choose another with --torrent-port, or 0 for any free one"},
	{swarm.ErrSource, Usage, "trackers are http://, https:// or udp:// URLs; nodes of the mainline DHT are host:port, or public; web seeds are http:// or https:// URLs that end in /"},
	{blobstore.ErrQuota, Quota, "`granary list` says why each block is kept; `granary seed REF --stop` gives one up; or raise quota in config.toml"},
	{blobstore.ErrDiskFull, TryAgain, "free some space and run it again; what was stored is kept"},
	{syscall.ENOSPC, TryAgain, "free some space and run it again"},
	{blobstore.ErrAbsent, TryAgain, ""},
	{blobstore.ErrFailed, TryAgain, "look at the disk and the system's log, then start again: what the index is at is read anew"},
	{syscall.EIO, Failure, "the disk fails, or its cable: look at the system's log, then `granary scrub --repair`"},
	{blobstore.ErrLocked, Locked, "stop the other process, or choose another --home"},
	{blobstore.ErrNotFound, Failure, "`granary list` shows the blocks of this home"},
	{blobstore.ErrAmbiguous, Usage, "give more digits"},
	{context.DeadlineExceeded, TryAgain, "run it again, or with a longer --timeout"},
}

// Of returns the status and hint of err; a nil err is OK.
func Of(err error) (status int, hint string) {
	if err == nil {
		return OK, ""
	}
	if c, ok := errors.AsType[Code](err); ok {
		return int(c), ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status, e.Hint
	}
	for _, r := range rules {
		if errors.Is(err, r.cause) {
			return r.status, r.hint
		}
	}
	return Failure, ""
}
