package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
	"granary/ledger"
)

func (a *app) validators() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validators list|propose|vote",
		Short: "See who decides, and decide",
		Long: `Lists the validators, what the network's parameters are, and what is put to the
vote. Any validator proposes; validators with more than two thirds of the voting
power decide, and the change takes effect as an entry of the ledger. What a home
says is signed by its attest key.

Exit status: 0 done; 1 refused by the ledger: no validator, or a change that
cannot be made; 64 usage; 75 the ledger cannot be reached, or did not take it in
time.`,
		Example: "  granary validators list",
		GroupID: "ledger",
		RunE:    subcommands,
	}
	cmd.AddCommand(a.validatorsList(), a.validatorsPropose(), a.validatorsVote())
	return cmd
}

func (a *app) validatorsList() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:     "list",
		Short:   "List validators, parameters and open proposals",
		Example: "  granary validators list --json",
		Args:    exactly(0),
	}, func(ctx context.Context, c *gateway.Client, _ []string) error {
		s, err := c.Network(ctx)
		if err != nil {
			return err
		}
		return a.ui.Result(s, func(w io.Writer) { printNetwork(w, s) })
	})
}

func printNetwork(w io.Writer, s node.NetworkStatus) {
	for _, v := range s.Validators {
		you := ""
		if v.You {
			you = "  (this home)"
		}
		fmt.Fprintf(w, "%-16s power %d of %d  consensus %.16s…  attest %.16s…  %s%s\n", v.Name, v.Power, s.Total, v.Consensus, v.Attest, v.Peer, you)
		if v.SignedTwice != 0 {
			fmt.Fprintf(w, "                 signed two different votes at height %d: its consensus key is stolen or in use twice, or it lies\n", v.SignedTwice)
		}
	}
	params, err := json.Marshal(s.Params)
	if err == nil {
		fmt.Fprintf(w, "parameters       %s\n", params)
	}
	for _, p := range s.Proposals {
		fmt.Fprintf(w, "proposal %-7d %s\n                 by %s, %d of %d power in favour (%s), open until %s\n",
			p.Index, p.What, p.Proposer, p.Power, s.Total, strings.Join(p.Voters, ", "), p.Deadline.Format(time.RFC3339))
	}
}

func (a *app) validatorsVote() *cobra.Command {
	var no bool
	cmd := a.asking(&cobra.Command{
		Use:     "vote PROPOSAL",
		Short:   "Agree to a proposal",
		Example: "  granary validators vote 118",
		Args:    exactly(1),
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		index, err := strconv.ParseUint(strings.TrimPrefix(args[0], "#"), 10, 64)
		if err != nil {
			return exit.Usagef("`granary validators list` shows what is open", "proposal %q is no number", args[0])
		}
		d, err := c.Vote(ctx, ledger.Vote{Proposal: index, Approve: !no})
		if err != nil {
			return err
		}
		return a.showDecided(d)
	})
	cmd.Flags().BoolVar(&no, "no", false, "take back what was said")
	return cmd
}

func (a *app) showDecided(d node.Decided) error {
	return a.ui.Result(d, func(w io.Writer) {
		if d.Enacted {
			fmt.Fprintf(w, "proposal %d is enacted\n", d.Index)
		} else {
			fmt.Fprintf(w, "proposal %d\n", d.Index)
			a.ui.Note("it waits for more votes: `granary validators list` shows how far it is, others say `granary validators vote %d`", d.Index)
		}
	})
}

func (a *app) validatorsPropose() *cobra.Command {
	return a.asking(&cobra.Command{
		Use:   "propose join|power|replace-key|leave|set|grant …",
		Short: "Put a change to the vote",
		Long: `Puts a change to the vote:

  join NAME POWER CANDIDATE      a new validator; CANDIDATE is what its ` + "`granary keys`" + ` prints
  power NAME POWER               another voting power
  replace-key NAME CANDIDATE     another attest key and peer, of the same consensus key
  leave NAME                     a validator leaves
  set PARAMETER=VALUE…           parameters, as ` + "`granary validators list`" + ` names them
  grant KEY CREDITS              credits for an account`,
		Example: "  granary validators propose grant 9a3f… 1000000000000",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exit.Usagef("`granary validators propose --help` lists what can be proposed", "propose what?")
			}
			return nil
		},
	}, func(ctx context.Context, c *gateway.Client, args []string) error {
		now, err := c.Network(ctx)
		if err != nil {
			return err
		}
		change, err := parseChange(now, args)
		if err != nil {
			return err
		}
		d, err := c.Propose(ctx, change)
		if err != nil {
			return err
		}
		return a.showDecided(d)
	})
}

// parseChange reads what is proposed, as a change of how things are now.
func parseChange(now node.NetworkStatus, args []string) (ledger.Change, error) {
	usage := func(format string, args ...any) (ledger.Change, error) {
		return ledger.Change{}, exit.Usagef("`granary validators propose --help` lists what can be proposed", format, args...)
	}
	want := map[string]int{"join": 4, "power": 3, "replace-key": 3, "leave": 2, "grant": 3}
	if n, ok := want[args[0]]; ok && len(args) != n {
		return usage("propose %s takes %d arguments, not %d", args[0], n-1, len(args)-1)
	}
	c := ledger.Change{Kind: ledger.ChangeValidator}
	var err error
	switch args[0] {
	case "join":
		if c.Validator, err = parseCandidate(args[3]); err != nil {
			return usage("%w", err)
		}
		c.Validator.Name = args[1]
		c.Validator.Power, err = whole("power", args[2])
	case "power", "replace-key", "leave":
		if c.Validator, err = named(now, args[1]); err != nil {
			return usage("%w", err)
		}
		switch args[0] {
		case "power":
			c.Validator.Power, err = whole("power", args[2])
		case "leave":
			c = ledger.Change{Kind: ledger.ChangeRemove, Remove: c.Validator.Consensus}
		default:
			var other ledger.Validator
			other, err = parseCandidate(args[2])
			if err == nil && other.Consensus != c.Validator.Consensus {
				err = fmt.Errorf("%s has another consensus key: let it leave and join", args[1])
			}
			c.Validator.Attest, c.Validator.Proof, c.Validator.Peer = other.Attest, other.Proof, other.Peer
		}
	case "set":
		c.Kind = ledger.ChangeParams
		c.Params, err = changedParams(now.Params, args[1:])
	case "grant":
		c.Kind = ledger.ChangeGrant
		if err = c.Grant.Key.UnmarshalText([]byte(args[1])); err == nil {
			c.Grant.Credits, err = whole("credits", args[2])
		}
	default:
		return usage("%q cannot be proposed", args[0])
	}
	if err != nil {
		return usage("%w", err)
	}
	return c, nil
}

// whole reads a whole number.
func whole(what, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no whole number", what, text)
	}
	return n, nil
}

// named returns the validator that is called so.
func named(now node.NetworkStatus, name string) (ledger.Validator, error) {
	for _, v := range now.Validators {
		if v.Name != name {
			continue
		}
		id, err := peer.Decode(v.Peer)
		return ledger.Validator{Name: v.Name, Power: v.Power, Consensus: v.Consensus, Attest: v.Attest, Proof: v.Proof, Peer: ledger.PeerID(id)}, err
	}
	return ledger.Validator{}, fmt.Errorf("no validator is called %q", name)
}

// candidate is how a home offers itself as a validator: its public keys, and the
// attest key's word that they belong together.
func candidate(v ledger.Validator) string {
	proof, _ := v.Proof.MarshalText() // it cannot fail
	return v.Consensus.String() + ":" + v.Attest.String() + ":" + string(proof) + ":" + peer.ID(v.Peer).String()
}

func parseCandidate(s string) (ledger.Validator, error) {
	var v ledger.Validator
	parts := strings.Split(s, ":")
	if len(parts) != 4 {
		return v, fmt.Errorf("a candidate is what `granary keys` prints there, not %q", s)
	}
	id, err := peer.Decode(parts[3])
	if err == nil {
		err = v.Consensus.UnmarshalText([]byte(parts[0]))
	}
	if err == nil {
		err = v.Attest.UnmarshalText([]byte(parts[1]))
	}
	if err == nil {
		err = v.Proof.UnmarshalText([]byte(parts[2]))
	}
	v.Peer = ledger.PeerID(id)
	return v, err
}

// changedParams returns p with some of its values replaced.
func changedParams(p ledger.Params, settings []string) (ledger.Params, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	values := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &values); err != nil {
		return p, err
	}
	for _, s := range settings {
		key, value, _ := strings.Cut(s, "=")
		old, ok := values[key]
		if !ok || value == "" {
			return p, fmt.Errorf("%q is no PARAMETER=VALUE", s)
		}
		if old[0] == '"' {
			value = strconv.Quote(value)
		} else if _, err := whole(key, value); err != nil {
			return p, err
		}
		values[key] = json.RawMessage(value)
	}
	if raw, err = json.Marshal(values); err != nil {
		return p, err
	}
	var out ledger.Params
	if err := json.Unmarshal(raw, &out); err != nil {
		return p, err
	}
	if out == p {
		return p, errors.New("it is so already")
	}
	return out, out.Validate()
}
