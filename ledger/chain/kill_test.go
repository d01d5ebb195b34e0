package chain_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"granary/ledger"
	"granary/ledger/chain"
	"granary/ledger/light"
)

// GRANARY_TEST_ROUNDS says how often TestKilledValidatorsContinue kills: 10 unless
// set. 100 take some four minutes.
const killRounds = "GRANARY_TEST_ROUNDS"

// TestKilledValidatorsContinue kills one or all validators again and again while
// clients send transactions. After each time all have equal heads, and in the end
// everything that was acknowledged is where it was.
func TestKilledValidatorsContinue(t *testing.T) {
	t.Parallel() // most of it is waiting
	rounds := 10
	if s := os.Getenv(killRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	p := newProcesses(t, 4, 500*time.Millisecond)
	full := p.start(4)
	p.certify("before")

	h := &history{TB: t, genesis: p.genesis}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	people := []string{"alice", "bob", "carol", "dave"}
	for _, who := range people {
		c := h.client(p.lightClient(light.Config{}), who)
		load.Go(func() { c.live(ctx, 1<<30, people) })
	}
	for round := range rounds {
		from := p.head(4)
		raw, err := ledger.SignAnnounce(p.genesis.ChainID, key("killer %d", round), 1, record(fmt.Sprint("killed ", round)))
		if err != nil {
			t.Fatal(err)
		}
		p.submit(4, raw)
		after := delay(t, 400*time.Millisecond)
		victims := []int{round % 4}
		if round%3 == 2 {
			victims = []int{0, 1, 2, 3}
		}
		t.Logf("round %d: kill %v after %s", round, victims, after)
		wait, cancel := context.WithTimeout(t.Context(), after)
		_, _ = full.Wait(wait, 1<<40, 1<<40) // nothing comes that far: it waits
		cancel()
		for _, i := range victims {
			p.kill(i)
		}
		for _, i := range victims {
			p.run(i)
		}
		// All that waited at those who were killed is gone. Here it waits, or is in
		// the log.
		if err := full.Submit(t.Context(), raw); err != nil && !errors.Is(err, ledger.ErrNonce) {
			t.Fatal(err)
		}
		index := p.announced(4, from.Size, record(fmt.Sprint("killed ", round)).ID())
		certified, _ := p.entry(4, index, ledger.EntryCertified)
		for i := range 4 {
			p.reach(i, certified+1)
		}
	}
	stop()
	load.Wait()
	h.check(full)
	p.allSay(p.head(4))
}

// allSay waits until the validators said that they have a head, by restarting
// them: what they have on disk is what counts.
func (p *processes) allSay(want ledger.Head) {
	p.t.Helper()
	for i := range p.cmds {
		p.kill(i)
		c := p.start(i)
		p.until(i, want.Size-1, "the head", func(u chain.Update) bool { return u.Head.Size >= want.Size })
		err := c.View(func(s *ledger.State) {
			proof, err := s.Consistency(want.Size, s.Head().Size)
			if err == nil && s.Head().Size > want.Size {
				err = ledger.VerifyConsistency(want, s.Head(), proof)
			}
			if err != nil || s.Head().Size == want.Size && s.Head() != want {
				p.t.Errorf("validator %d has head %+v, want %+v (%v)", i, s.Head(), want, err)
			}
		})
		if err != nil {
			p.t.Error(err)
		}
	}
}

// TestValidatorContinuesFromEveryStep ends a validator at each of the steps by
// which the engine decides and stores a height, where it can be told to.
func TestValidatorContinuesFromEveryStep(t *testing.T) {
	t.Parallel() // most of it is waiting
	steps := []int{1, 6, 9}
	if os.Getenv(killRounds) != "" {
		steps = nil
		for i := range 24 { // twice as many as a height has
			steps = append(steps, i)
		}
	}
	p := newProcesses(t, 4, time.Second)
	p.start(4)
	for _, step := range steps {
		p.kill(3)
		p.run(3, fmt.Sprintf("FAIL_TEST_INDEX=%d", step))
		for k := 0; ; k++ { // heights, until it has come to its step
			p.certify(fmt.Sprint("step ", step, " ", k))
			select {
			case <-p.done[3]:
			default:
				continue
			}
			break
		}
		p.ended(3)
		p.run(3)
	}
	p.certify("in the end")
	p.allSay(p.head(4))
}

// delay returns a random duration below max.
func delay(t *testing.T, max time.Duration) time.Duration {
	t.Helper()
	d, err := rand.Int(rand.Reader, big.NewInt(int64(max)))
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(d.Int64())
}
