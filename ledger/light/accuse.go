package light

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// maxAccused is how many pieces of evidence one request brings: each has two votes
// of about 220 bytes, and a request MaxRequest.
const maxAccused = 8

// contradictions returns what two light blocks show against single validators: of
// each that signed both in one round, the two votes. Votes of different heights or
// rounds contradict each other only together with what others signed between.
func contradictions(ours, theirs *types.LightBlock) [][]byte {
	a, b := ours.Commit, theirs.Commit
	if a.Height != b.Height || a.Round != b.Round {
		return nil
	}
	var out [][]byte
	for i, s := range a.Signatures {
		for j, o := range b.Signatures {
			both := s.BlockIDFlag == types.BlockIDFlagCommit && o.BlockIDFlag == types.BlockIDFlagCommit
			if !both || !bytes.Equal(s.ValidatorAddress, o.ValidatorAddress) {
				continue
			}
			e, err := types.NewDuplicateVoteEvidence(a.GetVote(int32(i)), b.GetVote(int32(j)), ours.Time, ours.ValidatorSet)
			if err == nil {
				out = append(out, e.Bytes())
			}
		}
	}
	return out
}

// accuse hands the evidence of a fork to three providers that do not have it yet,
// for a moment: each passes it on to all who run the chain. It is called whenever
// somebody asks for news that there are none of.
func (c *Client) accuse(ctx context.Context) {
	c.mu.Lock()
	evidence := c.against
	c.mu.Unlock()
	if len(evidence) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c.several(ctx, func(ctx context.Context, peer string) bool {
		c.mu.Lock()
		told := c.told[peer]
		c.mu.Unlock()
		if told {
			return false
		}
		for left := evidence; len(left) > 0; left = left[min(maxAccused, len(left)):] {
			if _, err := call[accuseReply](ctx, c, peer, kindAccuse, accuseRequest{Evidence: left[:min(maxAccused, len(left))]}); err != nil {
				c.logger.Debug("evidence of a fork not taken", "peer", peer, "err", err)
				return false
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told[peer] = true
		return true
	})
}

// serveAccuse hands evidence on, and says how much of it is true and known now.
func serveAccuse(src Source, q accuseRequest) (accuseReply, error) {
	if len(q.Evidence) < 1 || len(q.Evidence) > maxAccused {
		return accuseReply{}, fmt.Errorf("%w: %d pieces of evidence", ledger.ErrMalformed, len(q.Evidence))
	}
	var r accuseReply
	var failed error
	for _, e := range q.Evidence {
		if failed = src.Accuse(e); failed == nil {
			r.Known++
		}
	}
	if r.Known == 0 {
		return r, failed
	}
	return r, nil
}
