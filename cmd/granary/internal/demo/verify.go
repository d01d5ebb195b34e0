package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/node"
	"granary/sampling"
)

const (
	everything = ^uint64(0) // all groups

	// withheldGroups are 40 of the 64 groups of pieces: five eighths of the
	// rows, so that what is left does not decode.
	withheldGroups = 1<<40 - 1

	// withheldSize is the content of the block that is withheld: 128 rows.
	withheldSize = 2 << 20
)

// judge runs `granary verify` as a light client that has never seen the data.
func (s *story) judge(ctx context.Context, u user, id string, status int, more ...string) (node.VerifyResult, error) {
	var r node.VerifyResult
	return r, s.command(ctx, u, append([]string{"verify", id}, more...), status, &r)
}

// verify asks a light client whether the block is available.
func (s *story) verify(ctx context.Context) error {
	began := time.Now()
	r, err := s.judge(ctx, user{"light", s.net.File, s.net.Address(2)}, s.record.ID, exit.OK)
	if err != nil {
		return err
	}
	took := time.Since(began)
	s.result.Verdict, s.result.Samples, s.result.Bits = r.Verdict, r.Samples, r.Bits
	s.result.SampleBytes, s.result.VerdictMS = r.Bytes, r.TookMS
	how := fmt.Sprintf("2^-%d confidence", r.Bits)
	if r.Decoded {
		how = "fetched and decoded whole, as small blocks are"
	}
	return s.ui.Step(struct {
		step
		node.VerifyResult
	}{s.told("verify", took), r},
		"%d. verify   a light client: %s, %d of %d random rows verified, %s from %d holders, %s, in %s (its process: %s)",
		s.step, r.Verdict, r.Samples-r.Missing, r.Samples, size(r.Bytes), r.Holders, how,
		ms(time.Duration(r.TookMS)*time.Millisecond), ms(took))
}

// withhold publishes a second block; once it is certified and kept, all its
// holders drop more than half of its rows. A light client finds out, with the
// first block to compare with.
func (s *story) withhold(ctx context.Context) error {
	began := time.Now()
	content := make([]byte, withheldSize)
	if _, err := rand.Read(content); err != nil {
		return err
	}
	p, err := s.net.Nodes["publisher"].Client.Publish(ctx, "withheld", bytes.NewReader(content),
		node.PublishOptions{Wait: node.WaitCertified, Patience: s.patience}, s.progress)
	if err != nil {
		return err
	}
	if _, err := s.sharesHeld(ctx, p.ID); err != nil {
		return err
	}
	for _, nd := range s.net.Nodes {
		if err := nd.Client.Withhold(ctx, p.ID, withheldGroups); err != nil {
			return fmt.Errorf("withhold at %s: %w", nd.Name, err)
		}
	}
	// Until the grace time is over it could still be on its way.
	if err := s.sleep(ctx, s.net.Network.Genesis.Params.SamplingGrace+s.net.Network.Genesis.Params.Heartbeat); err != nil {
		return err
	}
	r, err := s.judge(ctx, user{"light", s.net.File, s.net.Address(2)}, p.ID, exit.Unavailable)
	if err != nil {
		return err
	}
	s.result.Withheld = r.Verdict
	took := time.Since(began)
	return s.ui.Step(struct {
		step
		node.VerifyResult
	}{s.told("withhold", took), r},
		"%d. withheld a second block, certified at height %d, of which all holders then dropped 5/8: %s\n            %d of %d random rows missing, %s, in %s",
		s.step, p.Height, r.Verdict, r.Missing, r.Samples, r.Reason, ms(time.Duration(r.TookMS)*time.Millisecond))
}

// cutOff asks a light client that can reach nobody.
func (s *story) cutOff(ctx context.Context) error {
	began := time.Now()
	gone := &devnet.Node{IP: s.net.Address(4), Port: 9, Peer: s.net.Nodes["publisher"].Peer}
	file, err := s.net.WriteNetwork("cut-off.json", gone.Bootstrap())
	if err != nil {
		return err
	}
	r, err := s.judge(ctx, user{"cut-off", file, s.net.Address(3)}, s.record.ID, exit.Inconclusive, "--timeout", "2s")
	if err != nil {
		return err
	}
	if r.Verdict != sampling.Inconclusive {
		return fmt.Errorf("a light client that reaches nobody says %q", r.Verdict)
	}
	s.result.CutOff = r.Verdict
	return s.ui.Step(struct {
		step
		node.VerifyResult
	}{s.told("cut off", time.Since(began)), r},
		"%d. cut off  a light client that reaches nobody says %s of the first block, not unavailable", s.step, r.Verdict)
}

// sleep waits for d, or until ctx ends.
func (s *story) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
