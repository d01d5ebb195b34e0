package demo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/node"
)

// settle is how long the network may take to find itself, or to show what it
// holds of a small block; on two busy cores it takes a few seconds.
const settle = 60 * time.Second

// certify starts the network, hands the file in, and waits until the ledger
// has its certificate.
func (s *story) certify(ctx context.Context) error {
	began := time.Now()
	names := []string{"publisher"}
	for i := range validators {
		names = append(names, fmt.Sprintf("validator-%d", i+1))
	}
	for i := range custodians {
		names = append(names, custodian(i))
	}
	if err := s.net.Start(ctx, names...); err != nil {
		return err
	}
	for i := range custodians {
		s.alive = append(s.alive, s.net.Nodes[custodian(i)])
	}
	publisher := s.net.Nodes["publisher"].Client
	if err := s.await(ctx, "custodians found in the DHT", custodians, func(ctx context.Context) (int, error) {
		found, err := publisher.Custodians(ctx)
		return len(found), err
	}); err != nil {
		return err
	}
	up := time.Since(began)

	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	began = time.Now()
	p, err := publisher.Publish(ctx, s.name, f, node.PublishOptions{Wait: node.WaitCertified, Patience: s.patience}, s.progress)
	if err != nil {
		return err
	}
	if p.ID != s.record.ID {
		return fmt.Errorf("the publisher made %s, expected %s", p.ID, s.record.ID)
	}
	took := time.Since(began)
	s.result.CertifiedHeight, s.result.VotingPower, s.result.TotalPower = p.Height, p.Power, p.Total
	s.result.CertifyMS = p.CertifyMS
	return s.ui.Step(struct {
		step
		node.PublishResult
	}{s.told("certify", took), p},
		"%d. certify  %d processes up in %s; announced as #%d in the log, fetched, checked whole and certified at height %d\n"+
			"            by %d of %d voting power, %s after it was submitted",
		s.step, len(names), ms(up), p.Index, p.Height, p.Power, p.Total, ms(time.Duration(p.CertifyMS)*time.Millisecond))
}

// custody waits until every custodian's share is fsynced and found by DHT
// lookup.
func (s *story) custody(ctx context.Context) error {
	began := time.Now()
	rows, err := s.sharesHeld(ctx, s.record.ID)
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.result.CustodyMS = took.Milliseconds()
	return s.ui.Step(struct {
		step
		Custodians map[string]int `json:"custodian_rows"`
	}{s.told("custody", took), rows},
		"%d. custody  %d custodians keep their shares, fsynced and found in the DHT, %s after the certificate\n            %s",
		s.step, len(rows), ms(took), shares(rows, s.record.Rows))
}

// sharesHeld waits until each custodian itself reports its share held and a
// DHT lookup names it, and returns the rows each holds.
func (s *story) sharesHeld(ctx context.Context, id string) (map[string]int, error) {
	rows := map[string]int{}
	err := s.await(ctx, "shares held and found", len(s.alive), func(ctx context.Context) (int, error) {
		found, err := s.net.Nodes["publisher"].Client.Custodians(ctx)
		if err != nil {
			return 0, err
		}
		clear(rows)
		for _, nd := range s.alive {
			b, err := nd.Client.Block(ctx, id)
			if err == nil && b.Owed != nil && b.Owed.Held && slices.Contains(found, nd.Peer.String()) {
				rows[nd.Name] = b.Held
			}
		}
		return len(rows), nil
	})
	return rows, err
}

// await polls count until it reaches want, or settle has passed.
func (s *story) await(ctx context.Context, what string, want int, count func(context.Context) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	for {
		got, err := count(ctx)
		s.progress(node.Progress{Stage: "settle", Done: int64(got), Total: int64(want), Unit: what})
		if got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %s after %v: %v", got, want, what, s.patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// loseHalf makes the validators drop the block and kills the publisher and
// three custodians, such that those left hold k rows between them and no one of
// them alone.
func (s *story) loseHalf(ctx context.Context) error {
	began := time.Now()
	victims, err := s.chooseVictims()
	if err != nil {
		return err
	}
	for i := range validators {
		if err := s.net.Nodes[fmt.Sprintf("validator-%d", i+1)].Client.Withhold(ctx, s.record.ID, everything); err != nil {
			return err
		}
	}
	names := []string{"the publisher"}
	if err := s.net.Nodes["publisher"].Kill(); err != nil {
		return err
	}
	for _, nd := range victims {
		names = append(names, nd.Name)
		if err := nd.Kill(); err != nil {
			return err
		}
		s.alive = slices.DeleteFunc(s.alive, func(o *devnet.Node) bool { return o == nd })
	}
	rows, k := map[string]int{}, s.record.Rows/2
	for _, nd := range s.alive {
		b, err := nd.Client.Block(ctx, s.record.ID)
		if err != nil {
			return err
		}
		rows[nd.Name] = b.Held
		if k > smallBlock && b.Held >= k {
			return fmt.Errorf("%s alone holds %d rows, %d are enough", nd.Name, b.Held, k)
		}
		if k <= smallBlock && b.Held != b.Rows {
			return fmt.Errorf("%s holds %d rows of a small block, want all %d", nd.Name, b.Held, b.Rows)
		}
	}
	together := s.together(s.alive)
	verdict := fmt.Sprintf("none of the %d left has the %d rows it takes, together they have %d", len(rows), k, together)
	if k <= smallBlock {
		verdict = fmt.Sprintf("the block is small: each of the %d left holds all its %d rows", len(rows), s.record.Rows)
	}
	return s.ui.Step(struct {
		step
		Killed   []string       `json:"killed"`
		Left     map[string]int `json:"left_rows"`
		Together int            `json:"distinct_rows"`
	}{s.told("lose half", time.Since(began)), names, rows, together},
		"%d. lose     the validators drop the block; SIGKILL to %s\n            %s\n            %s", s.step, strings.Join(names, ", "), shares(rows, s.record.Rows), verdict)
}
