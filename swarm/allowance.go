package swarm

import "time"

const (
	// A peer is asked at once for what it delivers in askAhead: the engine asks
	// for the next such batch when it has all of the last, so the round trip
	// between is lost time. Where others fetch at the same time and keep the
	// peer busy it is not, and what is best asked for changes with what they get:
	// then it is askAheadInCrowd.
	askAhead        = time.Second
	askAheadInCrowd = time.Second / 4

	// firstAsk is how many rows may come from a peer of which nothing has been
	// verified yet, or two pieces if they have more. Four for each that it proves
	// by good pieces are added. So a liar is believed a few pieces, and an honest
	// peer's share doubles with every batch, though the last is not hashed yet.
	firstAsk   = 16
	askForGood = 4

	// leastAsk keeps the pace of a far peer from being mistaken for a slow one's.
	leastAsk = 2

	// maxAsked bounds the rows asked of one peer at once: 8 MiB, enough for
	// 40 MB/s at 200 ms.
	maxAsked = 512
)

// allowance says how many rows a peer may be asked for at once. A Torrent's mu
// guards it.
type allowance struct {
	first   int         // rows that may come on trust
	accepts int         // rows the peer says it queues; 0: it has not said
	proven  int         // rows it sent of pieces that hashed right, less those that did not
	sent    map[int]int // rows it sent of pieces not hashed yet
	unsure  int         // their sum
	began   time.Time   // of the present stretch
	came    int         // rows in it
	pace    float64     // rows a second, as of the last stretch
}

// start begins a stretch if none is running: the peer was asked for something
// after it had sent all.
func (a *allowance) start(now time.Time) { a.began, a.came = now, 0 }

// row counts a row of piece. A stretch ends, and tells the pace, when all that
// was asked for is there, or after askAhead.
func (a *allowance) row(piece int, now time.Time, last bool) {
	a.sent[piece]++
	a.unsure++
	a.came++
	if took := max(now.Sub(a.began), time.Millisecond); last || took >= askAhead {
		a.pace = float64(a.came) / took.Seconds()
		a.start(now)
	}
}

// hashed settles what the peer sent of piece.
func (a *allowance) hashed(piece int, good bool) {
	n := a.sent[piece]
	delete(a.sent, piece)
	a.unsure -= n
	if good {
		a.proven += n
	} else {
		a.proven -= n // others may be to blame; when it is clear who was, the engine bans
	}
}

// rows is the allowance now. share is how many rows each peer would have to send
// if all sent as many of what is missing: more would only make the others wait.
func (a *allowance) rows(share int, crowd bool) int {
	ahead := askAhead
	if crowd {
		ahead = askAheadInCrowd
	}
	n := max(min(int(a.pace*ahead.Seconds()), share), leastAsk)
	n = min(n, a.first+askForGood*a.proven-a.unsure, maxAsked)
	if a.accepts > 0 {
		n = min(n, a.accepts)
	}
	return max(n, 1)
}
