package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"granary/erasure"
	"granary/ledger"
)

// A second ledger, written from docs/spec/ledger.md alone: plain maps, no tree,
// nothing clever. It shares no code with the package but the names and IDs of
// erasure, and the genesis struct.

// refPut encodes: uint64, []byte, string, and []any of these.
func refPut(v any) []byte {
	head := func(major byte, n uint64) []byte {
		switch {
		case n < 24:
			return []byte{major<<5 | byte(n)}
		case n < 1<<8:
			return []byte{major<<5 | 24, byte(n)}
		case n < 1<<16:
			return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
		case n < 1<<32:
			return binary.BigEndian.AppendUint32([]byte{major<<5 | 26}, uint32(n))
		}
		return binary.BigEndian.AppendUint64([]byte{major<<5 | 27}, n)
	}
	switch v := v.(type) {
	case uint64:
		return head(0, v)
	case []byte:
		return append(head(2, uint64(len(v))), v...)
	case string:
		return append(head(3, uint64(len(v))), v...)
	}
	list := v.([]any)
	out := head(4, uint64(len(list)))
	for _, x := range list {
		out = append(out, refPut(x)...)
	}
	return out
}

// refGet decodes one value, or reports that the bytes hold no such.
func refGet(b []byte) (v any, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	major, n := b[0]>>5, uint64(b[0]&31)
	rest = b[1:]
	if n >= 24 {
		size := 1 << (n - 24)
		if n > 27 || len(rest) < size {
			return nil, nil, false
		}
		n = 0
		for _, x := range rest[:size] {
			n = n<<8 | uint64(x)
		}
		rest = rest[size:]
	}
	switch major {
	case 0:
		return n, rest, true
	case 2, 3:
		if uint64(len(rest)) < n {
			return nil, nil, false
		}
		if major == 2 {
			return rest[:n:n], rest[n:], true
		}
		return string(rest[:n]), rest[n:], true
	case 4:
		list := []any{}
		for range n {
			var x any
			if x, rest, ok = refGet(rest); !ok {
				return nil, nil, false
			}
			list = append(list, x)
		}
		return list, rest, true
	}
	return nil, nil, false
}

// refList decodes an array of n elements (any number if n < 0), strictly.
func refList(b []byte, n int) ([]any, bool) {
	v, rest, ok := refGet(b)
	list, isList := v.([]any)
	if !ok || !isList || len(rest) != 0 || n >= 0 && len(list) != n || !bytes.Equal(refPut(v), b) {
		return nil, false
	}
	return list, true
}

func refBytes(v any, n int) ([]byte, bool) {
	b, ok := v.([]byte)
	return b, ok && len(b) == n
}

// The reasons of section 7.
const (
	refOK           = 0
	refMalformed    = 2
	refSignature    = 3
	refID           = 4
	refNotYet       = 5
	refNonce        = 6
	refCredits      = 7
	refPending      = 8
	refFull         = 9
	refKeep         = 10
	refNotValidator = 11
	refUnknown      = 12
	refAttested     = 13
	refExpired      = 14
	refNotOwner     = 15
	refChange       = 16
	refOften        = 18
	refPrice        = 19
)

type refItem struct {
	index uint64
	id    erasure.ID
}

type refTx struct {
	kind, nonce uint64
	sender      ledger.PublicKey
	pay         int64
	body        []byte
	signature   []byte
	id          erasure.ID // of the record
	length      int64
	keep        int64
	namespace   string
	items       []refItem

	to      ledger.PublicKey // of a transfer
	credits int64            // of a transfer
	name    string
	terms   int64
	target  []byte // empty or an ID
	owner   []byte // empty or a key
	change  refChangeTo
	index   uint64 // of a proposal
	approve bool
	attest  ledger.PublicKey
	proof   ledger.Proof
}

// refChangeTo is what a proposal would change.
type refChangeTo struct {
	kind      uint64
	validator ledger.Validator
	remove    ledger.PublicKey
	params    []int64
	to        ledger.PublicKey
	credits   int64
}

// refForm is section 2.5.
func refForm(raw []byte) (tx refTx, code uint32) {
	if len(raw) > 4096 {
		return tx, refMalformed
	}
	outer, ok := refList(raw, 2)
	if !ok {
		return tx, refMalformed
	}
	tx.body, ok = outer[0].([]byte)
	var ok2 bool
	tx.signature, ok2 = refBytes(outer[1], 64)
	if !ok || !ok2 {
		return tx, refMalformed
	}
	body, ok := refList(tx.body, 5)
	if !ok {
		return tx, refMalformed
	}
	kind, ok1 := body[0].(uint64)
	nonce, ok2 := body[1].(uint64)
	sender, ok3 := refBytes(body[2], 32)
	pay, ok4 := refAmount(body[3], 0, 1<<62)
	payload, ok5 := body[4].([]byte)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return tx, refMalformed
	}
	tx.kind, tx.nonce, tx.sender, tx.pay = kind, nonce, ledger.PublicKey(sender), pay
	if pay != 0 && kind != 1 && kind != 3 && kind != 4 {
		return tx, refMalformed
	}
	switch kind {
	case 1:
		return tx, tx.refRecord(payload)
	case 2:
		return tx, tx.refItems(payload)
	case 3:
		return tx, tx.refTransfer(payload)
	case 4:
		return tx, tx.refNaming(payload)
	case 5:
		return tx, tx.refPropose(payload)
	case 6:
		return tx, tx.refVote(payload)
	case 7:
		list, ok := refList(payload, 2)
		if !ok {
			return tx, refMalformed
		}
		attest, ok := refBytes(list[0], 32)
		proof, ok2 := refBytes(list[1], 64)
		if !ok || !ok2 || bytes.Equal(attest, tx.sender[:]) {
			return tx, refMalformed
		}
		tx.attest, tx.proof = ledger.PublicKey(attest), ledger.Proof(proof)
		return tx, refOK
	}
	return tx, refMalformed
}

// refAmount reads an integer from least to most.
func refAmount(v any, least, most int64) (int64, bool) {
	n, ok := v.(uint64)
	return int64(n), ok && n < 1<<63 && int64(n) >= least && int64(n) <= most
}

func refNameOK(name string) bool {
	if len(name) < 1 || len(name) > 63 || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (tx *refTx) refTransfer(payload []byte) uint32 {
	list, ok := refList(payload, 2)
	if !ok {
		return refMalformed
	}
	to, ok1 := refBytes(list[0], 32)
	credits, ok2 := refAmount(list[1], 1, 1<<62)
	if !ok1 || !ok2 || bytes.Equal(to, tx.sender[:]) {
		return refMalformed
	}
	tx.to, tx.credits = ledger.PublicKey(to), credits
	return refOK
}

func (tx *refTx) refNaming(payload []byte) uint32 {
	list, ok := refList(payload, 4)
	if !ok {
		return refMalformed
	}
	name, ok1 := list[0].(string)
	terms, ok2 := refAmount(list[1], 0, 10)
	target, ok3 := list[2].([]byte)
	owner, ok4 := list[3].([]byte)
	if !(ok1 && ok2 && ok3 && ok4) || !refNameOK(name) || terms == 0 && len(target) == 0 && len(owner) == 0 {
		return refMalformed
	}
	for _, b := range [][]byte{target, owner} {
		if len(b) != 0 && (len(b) != 32 || bytes.Equal(b, make([]byte, 32))) {
			return refMalformed
		}
	}
	tx.name, tx.terms, tx.target, tx.owner = name, terms, target, owner
	return refOK
}

func (tx *refTx) refVote(payload []byte) uint32 {
	list, ok := refList(payload, 2)
	if !ok {
		return refMalformed
	}
	index, ok1 := list[0].(uint64)
	approve, ok2 := refAmount(list[1], 0, 1)
	if !ok1 || !ok2 {
		return refMalformed
	}
	tx.index, tx.approve = index, approve == 1
	return refOK
}

func (tx *refTx) refPropose(payload []byte) uint32 {
	outer, ok := refList(payload, 2)
	if !ok {
		return refMalformed
	}
	kind, ok1 := outer[0].(uint64)
	data, ok2 := outer[1].([]byte)
	if !ok1 || !ok2 || kind < 1 || kind > 4 {
		return refMalformed
	}
	list, ok := refList(data, []int{6, 1, 12, 2}[kind-1])
	if !ok {
		return refMalformed
	}
	c := refChangeTo{kind: kind}
	switch kind {
	case 1:
		name, ok1 := list[0].(string)
		power, ok2 := refAmount(list[1], 1, 1<<50)
		consensus, ok3 := refBytes(list[2], 32)
		attest, ok4 := refBytes(list[3], 32)
		proof, ok5 := refBytes(list[4], 64)
		peer, ok6 := list[5].([]byte)
		if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) {
			return refMalformed
		}
		c.validator = ledger.Validator{Name: name, Power: power, Consensus: ledger.PublicKey(consensus), Attest: ledger.PublicKey(attest), Proof: ledger.Proof(proof), Peer: peer}
		ok = refSetOK([]ledger.Validator{c.validator})
	case 2:
		var key []byte
		if key, ok = refBytes(list[0], 32); ok {
			c.remove = ledger.PublicKey(key)
		}
	case 3:
		month, years := int64(31*refDay), int64(3650*refDay)
		for i, bound := range [][2]int64{
			{1, month},
			{1, month},
			{1, month},
			{1, month},
			{1, 64},
			{0, 1 << 62},
			{0, 1 << 62},
			{1, 1 << 62},
			{1, month},
			{1, years},
			{0, (1 << 62) / 10},
			{0, 1 << 62},
		} {
			n, within := refAmount(list[i], bound[0], bound[1])
			c.params = append(c.params, n)
			ok = ok && within
		}
		ok = ok && c.params[5] <= c.params[6] && (c.params[5] == 0 || c.params[5] >= c.params[11])
	case 4:
		key, ok1 := refBytes(list[0], 32)
		credits, ok2 := refAmount(list[1], 1, 1<<62)
		if ok = ok1 && ok2; ok {
			c.to, c.credits = ledger.PublicKey(key), credits
		}
	}
	if !ok {
		return refMalformed
	}
	tx.change = c
	return refOK
}

// refSetOK is the rule of section 5 for validators.
func refSetOK(set []ledger.Validator) bool {
	seen := map[string]bool{}
	sum := new(big.Int)
	for _, v := range set {
		for _, k := range []string{string(v.Consensus[:]), string(v.Attest[:]), "peer " + string(v.Peer)} {
			if seen[k] {
				return false
			}
			seen[k] = true
		}
		for _, c := range v.Name {
			if c < ' ' || c > '~' || strings.ContainsRune("<>&", c) {
				return false
			}
		}
		if len(v.Name) < 1 || len(v.Name) > 64 || len(v.Peer) < 1 || len(v.Peer) > 64 || v.Power < 1 {
			return false
		}
		sum.Add(sum, big.NewInt(v.Power))
	}
	return len(set) >= 1 && len(set) <= 100 && sum.Cmp(big.NewInt(1<<50)) <= 0
}

func (tx *refTx) refRecord(payload []byte) uint32 {
	r, ok := refList(payload, 10)
	if !ok {
		return refMalformed
	}
	version, ok := r[0].(uint64)
	id, ok1 := refBytes(r[1], 32)
	name, ok2 := r[2].(string)
	length, ok3 := r[3].(uint64)
	content, ok4 := refBytes(r[4], 32)
	parity, ok5 := refBytes(r[5], 32)
	proof, ok6 := refBytes(r[6], 32)
	keep, ok7 := r[7].(uint64)
	namespace, ok8 := r[8].(string)
	peers, ok9 := r[9].([]any)
	if !(ok && ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7 && ok8 && ok9) {
		return refMalformed
	}
	for _, p := range peers {
		if _, ok := p.([]byte); !ok {
			return refMalformed
		}
	}
	if !bytes.Equal([]byte(name), bytes.ToValidUTF8([]byte(name), nil)) || !bytes.Equal([]byte(namespace), bytes.ToValidUTF8([]byte(namespace), nil)) ||
		length >= 1<<63 || keep >= 1<<32 || len(peers) > 16 {
		return refMalformed
	}
	switch {
	case version != 1:
		return refNotYet
	case erasure.CheckName(name) != nil, length < 1, length > 268_435_456, keep < 1, keep > 3650:
		return refMalformed
	case namespace != "" && !refNameOK(namespace):
		return refMalformed
	case len(peers) > 4:
		return refMalformed
	}
	for i, p := range peers {
		if len(p.([]byte)) < 1 || len(p.([]byte)) > 64 {
			return refMalformed
		}
		for _, q := range peers[:i] {
			if bytes.Equal(p.([]byte), q.([]byte)) {
				return refMalformed
			}
		}
	}
	tx.length, tx.keep, tx.namespace = int64(length), int64(keep), namespace
	tx.id = erasure.Info{
		Name: name, Length: tx.length,
		Content: erasure.Root(content), Parity: erasure.Root(parity), ProofHash: [32]byte(proof),
	}.ID()
	if !bytes.Equal(tx.id[:], id) {
		return refID
	}
	return refOK
}

func (tx *refTx) refItems(payload []byte) uint32 {
	list, ok := refList(payload, -1)
	if !ok || len(list) < 1 || len(list) > 16 {
		return refMalformed
	}
	for i, x := range list {
		pair, ok := x.([]any)
		if !ok || len(pair) != 2 {
			return refMalformed
		}
		index, ok1 := pair[0].(uint64)
		id, ok2 := refBytes(pair[1], 32)
		if !ok1 || !ok2 || i > 0 && index <= tx.items[i-1].index {
			return refMalformed
		}
		tx.items = append(tx.items, refItem{index, erasure.ID(id)})
	}
	return refOK
}

// rows is 16,384·k.
func (tx refTx) rows() int64 { return (tx.length + 16383) / 16384 * 16384 }

// refTrail is the entries about something.
type refTrail struct{ latest, count uint64 }

func (r *refTrail) add(index uint64) { r.latest, r.count = index, r.count+1 }

type refAccount struct {
	credits int64
	used    map[uint64]bool
	highest uint64
	pending uint64
	trail   refTrail
}

type refName struct {
	owner  ledger.PublicKey
	until  int64
	target []byte
	trail  refTrail
}

type refProposal struct {
	change   refChangeTo
	proposer ledger.PublicKey // consensus key
	deadline int64
	voters   []ledger.PublicKey
	decision uint64
	set      uint64
}

type refAnnouncement struct {
	tx       refTx
	status   string
	height   int64
	deadline int64
	attested map[int]bool
	power    int64
	set      []ledger.Validator
}

type refBlock struct {
	certified   bool
	until       int64
	latest      uint64
	certificate uint64
}

type refLedger struct {
	g             ledger.Genesis
	height, now   int64
	entries       [][]byte
	accounts      map[ledger.PublicKey]*refAccount
	announcements map[uint64]*refAnnouncement
	blocks        map[erasure.ID]*refBlock
	handedOut     map[int64]int64 // by day
	names         map[string]*refName
	proposals     map[uint64]*refProposal
	proposed      map[ledger.PublicKey]uint64
	spoke         map[ledger.PublicKey]int64  // the day of the last word, by consensus key
	left          map[ledger.PublicKey][]byte // the attest key when it was voted out, by consensus key
	words         map[ledger.PublicKey]int64  // on that day
	sets          [][]ledger.Validator        // the last is the present one
	params        []int64
}

const refDay = 86_400_000

func newRefLedger(g ledger.Genesis) *refLedger {
	l := &refLedger{
		g: g, now: g.Time.UnixMilli(),
		accounts: map[ledger.PublicKey]*refAccount{}, announcements: map[uint64]*refAnnouncement{},
		blocks: map[erasure.ID]*refBlock{}, handedOut: map[int64]int64{},
		names: map[string]*refName{}, proposals: map[uint64]*refProposal{}, proposed: map[ledger.PublicKey]uint64{},
		spoke: map[ledger.PublicKey]int64{}, left: map[ledger.PublicKey][]byte{}, words: map[ledger.PublicKey]int64{},
		sets: [][]ledger.Validator{g.Validators}, params: refParams(g.Params),
	}
	for _, grant := range g.Grants {
		l.accounts[grant.Key] = &refAccount{credits: grant.Credits, used: map[uint64]bool{}}
	}
	hash := refGenesisHash(g)
	l.add(0, hash[:])
	return l
}

func refGenesisHash(g ledger.Genesis) ledger.Hash {
	validators, grants := []any{}, []any{}
	for _, v := range g.Validators {
		validators = append(validators, []any{v.Name, uint64(v.Power), v.Consensus[:], v.Attest[:], v.Proof[:], []byte(v.Peer)})
	}
	for _, x := range g.Grants {
		grants = append(grants, []any{x.Key[:], uint64(x.Credits)})
	}
	values := refPut([]any{g.ChainID, uint64(g.Time.UnixMilli()), validators, refInts(refParams(g.Params)), grants})
	return sha256.Sum256(append([]byte("granary/genesis/v1"), values...))
}

// Places in the list of parameters.
const (
	refAnnounceWindow  = 1
	refAllowance       = 5
	refAllowancePerDay = 6
	refMaxPending      = 7
	refVoteWindow      = 8
	refNameTerm        = 9
	refNameCost        = 10
	refFee             = 11
)

func refParams(p ledger.Params) []int64 {
	return []int64{
		int64(p.Heartbeat / 1e6), int64(p.AnnounceWindow / 1e6), int64(p.SamplingGrace / 1e6), int64(p.RetryRound / 1e6),
		int64(p.Custody), p.Allowance, p.AllowancePerDay, p.MaxPending,
		int64(p.VoteWindow / 1e6), int64(p.NameTerm / 1e6), p.NameCost, p.Fee,
	}
}

func refInts(list []int64) []any {
	out := []any{}
	for _, n := range list {
		out = append(out, uint64(n))
	}
	return out
}

// refValues is what the heads commit to: section 4.7.
func (l *refLedger) refValues() map[string][]byte {
	number := func(letter string, n uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte(letter), n))
	}
	list := func(t refTrail) []any { return []any{t.latest, t.count} }
	out := map[string][]byte{"p": refPut([]any{l.g.ChainID, refInts(l.params), uint64(len(l.sets) - 1)})}
	for n, set := range l.sets {
		before := 0
		for i := range n {
			for _, v := range l.sets[i] {
				if !slices.ContainsFunc(l.sets[i+1], func(o ledger.Validator) bool { return o.Consensus == v.Consensus }) {
					before = i
				}
			}
		}
		list, _ := json.Marshal(set)
		out[number("s", uint64(n))] = fmt.Appendf(nil, `{"before":%d,"validators":%s}`, before, list)
	}
	for id, b := range l.blocks {
		pending, _ := l.pending(id)
		out["b"+string(id[:])] = refPut([]any{b.latest, uint64(pending), b.certificate, uint64(b.until)})
	}
	for key, a := range l.accounts {
		seen := uint64(0)
		for i := range uint64(64) {
			if i <= a.highest && a.used[a.highest-i] {
				seen |= 1 << i
			}
		}
		out["k"+string(key[:])] = refPut([]any{uint64(a.credits), []any{a.highest, seen}, a.pending, list(a.trail)})
	}
	for name, n := range l.names {
		out["w"+name] = refPut([]any{n.owner[:], uint64(n.until), n.target, list(n.trail)})
	}
	for index, p := range l.proposals {
		voters := []byte{}
		for _, v := range p.voters {
			voters = append(voters, v[:]...)
		}
		out[number("g", index)] = refPut([]any{p.proposer[:], uint64(p.deadline), voters, p.decision, p.set})
	}
	said := map[ledger.PublicKey]bool{}
	for key := range l.spoke {
		said[key] = true
	}
	for key := range l.left {
		said[key] = true
	}
	for key := range said {
		out["o"+string(key[:])] = refPut([]any{l.proposed[key], uint64(l.spoke[key]), uint64(l.words[key]), l.left[key]})
	}
	return out
}

// refStateRoot is the root of the tree over the hashes of keys, by their bits.
func refStateRoot(values map[string][]byte) ledger.Hash {
	leaves := map[ledger.Hash][]byte{}
	for key, value := range values {
		leaves[sha256.Sum256([]byte(key))] = value
	}
	return refSubtree(leaves, 0)
}

func refSubtree(leaves map[ledger.Hash][]byte, depth int) ledger.Hash {
	if len(leaves) == 0 {
		return ledger.Hash{}
	}
	if len(leaves) == 1 {
		for path, value := range leaves {
			hash := sha256.Sum256(value)
			return sha256.Sum256(append(append([]byte{0}, path[:]...), hash[:]...))
		}
	}
	halves := [2]map[ledger.Hash][]byte{{}, {}}
	for path, value := range leaves {
		halves[path[depth/8]>>(7-depth%8)&1][path] = value
	}
	left, right := refSubtree(halves[0], depth+1), refSubtree(halves[1], depth+1)
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func (l *refLedger) add(kind uint64, payload any) uint64 {
	l.entries = append(l.entries, refPut([]any{kind, uint64(l.height), uint64(l.now), payload}))
	return uint64(len(l.entries) - 1)
}

func (l *refLedger) head() ledger.Head {
	return ledger.Head{Size: uint64(len(l.entries)), Root: slowRoot(l.entries), State: refStateRoot(l.refValues())}
}

func refAppHash(h ledger.Head) ledger.Hash {
	b := binary.LittleEndian.AppendUint64([]byte("granary/head/v1"), h.Size)
	return sha256.Sum256(append(append(b, h.Root[:]...), h.State[:]...))
}

func refTotal(set []ledger.Validator) (sum int64) {
	for _, v := range set {
		sum += v.Power
	}
	return sum
}

// set is the present one.
func (l *refLedger) set() []ledger.Validator { return l.sets[len(l.sets)-1] }

// who is the validator with an attest key, -1 if none.
func (l *refLedger) who(attest ledger.PublicKey) int {
	for i, v := range l.set() {
		if v.Attest == attest {
			return i
		}
	}
	return -1
}

func (l *refLedger) kept(id erasure.ID) bool {
	b := l.blocks[id]
	return b != nil && b.certified && l.now < b.until
}

// pending is how many announcements of an ID are, and P.
func (l *refLedger) pending(id erasure.ID) (count int, bytes int64) {
	sum := map[erasure.ID]int64{}
	for _, a := range l.announcements {
		if a.status == "pending" {
			sum[a.tx.id] = a.tx.rows()
			if a.tx.id == id {
				count++
			}
		}
	}
	for _, n := range sum {
		bytes += n
	}
	return count, bytes
}

// apply is section 4.1.
func (l *refLedger) apply(millis int64, txs [][]byte) []uint32 {
	l.height++
	l.now = max(l.now, min(millis, 253_402_300_799_999))
	held := false // by one before that is still pending
	for index := range uint64(len(l.entries)) {
		a := l.announcements[index]
		switch {
		case a == nil || a.status != "pending":
		case a.height+1 == l.height:
			a.deadline = l.now + l.params[refAnnounceWindow]
		case l.now < a.deadline || held:
			held = true
		default:
			a.status = "expired"
			l.accounts[a.tx.sender].pending = 0
			l.outcome(3, index, a)
		}
	}
	codes := []uint32{}
	for _, raw := range txs {
		codes = append(codes, l.transaction(raw))
	}
	return codes
}

func (l *refLedger) outcome(kind, index uint64, a *refAnnouncement) uint64 {
	return l.add(kind, []any{index, a.tx.id[:], uint64(a.power), uint64(refTotal(a.set))})
}

func (l *refLedger) transaction(raw []byte) uint32 {
	tx, code := refForm(raw)
	if code != refOK {
		return code
	}
	account := refAccount{used: map[uint64]bool{}}
	known := l.accounts[tx.sender]
	if known != nil {
		account = *known
	}
	n, nonce := new(big.Int).SetUint64(account.highest), new(big.Int).SetUint64(tx.nonce)
	distance := new(big.Int).Sub(nonce, n)
	if tx.nonce < 1 || distance.Cmp(big.NewInt(64)) > 0 || distance.Cmp(big.NewInt(-63)) < 0 || account.used[tx.nonce] {
		return refNonce
	}
	allowance := int64(0)
	if p := l.params; tx.kind == 1 && known == nil && l.handedOut[l.now/refDay]+p[refAllowance] <= p[refAllowancePerDay] {
		allowance = p[refAllowance]
		account.credits = allowance
	}
	if tx.pay != l.price(tx) {
		return refPrice
	}
	if tx.pay > account.credits {
		return refCredits
	}
	account.credits -= tx.pay
	switch tx.kind {
	case 1:
		code = l.checkRecord(tx, account)
	case 2:
		code = l.checkItems(tx)
	case 3:
		code = refOK
		if tx.credits > account.credits || !l.room(tx.to, tx.credits) {
			code = refCredits
		}
	case 4:
		code = l.checkNaming(tx)
	case 5, 6, 7:
		if code = l.checkSpeaker(tx); code != refOK {
			return code
		}
		switch {
		case tx.kind == 5:
			_, code = l.changed(tx.change)
		case tx.kind == 6:
			code = l.checkVote(tx)
		case !refSetOK(l.rotated(tx)):
			code = refChange
		}
	}
	if code != refOK {
		return code
	}
	signed := append([]byte("granary/tx/v1"), byte(len(l.g.ChainID)))
	signed = append(append(signed, l.g.ChainID...), tx.body...)
	if !ed25519.Verify(tx.sender[:], signed, tx.signature) {
		return refSignature
	}
	proven := true
	switch {
	case tx.kind == 5 && tx.change.kind == 1:
		v := tx.change.validator
		proven = l.possesses(v.Consensus, v.Attest, v.Proof)
	case tx.kind == 7:
		proven = l.possesses(l.set()[l.who(tx.sender)].Consensus, tx.attest, tx.proof)
	}
	if !proven {
		return refSignature
	}

	index := l.add(1, raw)
	if tx.pay > 0 || tx.kind == 3 {
		account.trail.add(index)
	}
	l.handedOut[l.now/refDay] += allowance
	account.used[tx.nonce] = true
	account.highest = max(account.highest, tx.nonce)
	l.accounts[tx.sender] = &account
	if tx.kind >= 5 {
		consensus := l.set()[l.who(tx.sender)].Consensus
		l.words[consensus] = l.wordsAfter(tx, consensus)
		l.spoke[consensus] = l.now / refDay
	}
	l.do(index, tx, &account)
	return refOK
}

// possesses is the proof of section 2.4.
func (l *refLedger) possesses(consensus, attest ledger.PublicKey, proof ledger.Proof) bool {
	signed := append([]byte("granary/attest-key/v1"), byte(len(l.g.ChainID)))
	return ed25519.Verify(attest[:], append(append(signed, l.g.ChainID...), consensus[:]...), proof[:])
}

// checkSpeaker is what 4.6 demands of whoever proposes, votes or rotates.
func (l *refLedger) checkSpeaker(tx refTx) uint32 {
	who := l.who(tx.sender)
	if who < 0 {
		return refNotValidator
	}
	if l.wordsAfter(tx, l.set()[who].Consensus) > 64 {
		return refOften
	}
	return refOK
}

func (l *refLedger) wordsAfter(tx refTx, consensus ledger.PublicKey) int64 {
	n := int64(1)
	if tx.kind == 7 {
		n = 16
	}
	if l.spoke[consensus] == l.now/refDay {
		n += l.words[consensus]
	}
	return n
}

// do is what follows from an accepted transaction.
func (l *refLedger) do(index uint64, tx refTx, account *refAccount) {
	switch tx.kind {
	case 1:
		l.announce(index, tx, account)
	case 2:
		for _, item := range tx.items {
			if who, code := l.counts(item, tx.sender); code == refOK {
				a := l.announcements[item.index]
				a.attested[who] = true
				a.power += a.set[who].Power
			}
		}
		for _, item := range tx.items {
			l.certify(item)
		}
	case 3:
		account.credits -= tx.credits
		l.receive(index, tx.to, tx.credits)
	case 4:
		n := l.names[tx.name]
		if n == nil {
			n = &refName{}
			l.names[tx.name] = n
		}
		if l.now >= n.until {
			n.owner, n.until, n.target = tx.sender, l.now, []byte{}
		}
		n.until += tx.terms * l.params[refNameTerm]
		if len(tx.target) > 0 {
			n.target = tx.target
		}
		if len(tx.owner) > 0 {
			n.owner = ledger.PublicKey(tx.owner)
		}
		n.trail.add(index)
	case 5:
		proposer := l.set()[l.who(tx.sender)].Consensus
		l.proposals[index] = &refProposal{
			change: tx.change, proposer: proposer, deadline: l.now + l.params[refVoteWindow], voters: []ledger.PublicKey{proposer},
			set: uint64(len(l.sets) - 1),
		}
		l.proposed[proposer] = index
		l.enact(index)
	case 6:
		p := l.proposals[tx.index]
		voter := l.set()[l.who(tx.sender)].Consensus
		if tx.approve {
			p.voters = append(p.voters, voter)
			l.enact(tx.index)
		} else {
			p.voters = slices.DeleteFunc(p.voters, func(v ledger.PublicKey) bool { return v == voter })
		}
	case 7:
		l.sets = append(l.sets, l.rotated(tx))
	}
}

func (l *refLedger) room(key ledger.PublicKey, credits int64) bool {
	a := l.accounts[key]
	return a == nil || a.credits <= 1<<62-credits
}

func (l *refLedger) receive(index uint64, key ledger.PublicKey, credits int64) {
	if l.accounts[key] == nil {
		l.accounts[key] = &refAccount{used: map[uint64]bool{}}
	}
	l.accounts[key].credits += credits
	l.accounts[key].trail.add(index)
}

func (l *refLedger) rotated(tx refTx) []ledger.Validator {
	set := slices.Clone(l.set())
	set[l.who(tx.sender)].Attest = tx.attest
	set[l.who(tx.sender)].Proof = tx.proof
	return set
}

// price is section 4.1's.
func (l *refLedger) price(tx refTx) int64 {
	switch fee := l.params[refFee]; tx.kind {
	case 1:
		return max(tx.length*tx.keep, fee)
	case 3:
		return fee
	case 4:
		return max(tx.terms*l.params[refNameCost], fee)
	}
	return 0
}

func (l *refLedger) checkNaming(tx refTx) uint32 {
	n := l.names[tx.name]
	owned := n != nil && l.now < n.until
	until := l.now
	if owned {
		until = n.until
	}
	term := l.params[refNameTerm]
	switch {
	case owned && n.owner != tx.sender, !owned && tx.terms == 0:
		return refNotOwner
	case tx.terms > 0 && until+tx.terms*term > l.now+10*term:
		return refKeep
	case len(tx.target) > 0 && l.blocks[erasure.ID(tx.target)] == nil:
		return refUnknown
	}
	return refOK
}

// changed is the set after a change, or why it cannot be made.
func (l *refLedger) changed(c refChangeTo) ([]ledger.Validator, uint32) {
	set := slices.Clone(l.set())
	place := func(key ledger.PublicKey) int {
		return slices.IndexFunc(set, func(v ledger.Validator) bool { return v.Consensus == key })
	}
	ok := true
	switch c.kind {
	case 1:
		if i := place(c.validator.Consensus); i >= 0 {
			a, b := set[i], c.validator
			ok = a.Name != b.Name || a.Power != b.Power || a.Attest != b.Attest || a.Proof != b.Proof || !bytes.Equal(a.Peer, b.Peer)
			set[i] = c.validator
		} else {
			set = append(set, c.validator)
		}
	case 2:
		if i := place(c.remove); i >= 0 {
			set = slices.Delete(set, i, i+1)
		} else {
			ok = false
		}
	case 3:
		for _, i := range []int{0, 2, 3, 4} {
			ok = ok && c.params[i] == l.params[i]
		}
	case 4:
		ok = l.room(c.to, c.credits)
	}
	if !ok || !refSetOK(set) {
		return nil, refChange
	}
	return set, refOK
}

// carried is the power in favour among the present set, and of all.
func (l *refLedger) carried(voters []ledger.PublicKey) (power, total int64) {
	for _, v := range l.set() {
		if slices.Contains(voters, v.Consensus) {
			power += v.Power
		}
	}
	return power, refTotal(l.set())
}

func (l *refLedger) checkVote(tx refTx) uint32 {
	who := l.who(tx.sender)
	p := l.proposals[tx.index]
	if p == nil {
		return refUnknown
	}
	present := slices.ContainsFunc(l.set(), func(v ledger.Validator) bool { return v.Consensus == p.proposer })
	if p.decision != 0 || l.now >= p.deadline || l.proposed[p.proposer] != tx.index || !present {
		return refExpired
	}
	voter := l.set()[who].Consensus
	if slices.Contains(p.voters, voter) == tx.approve {
		return refAttested
	}
	if power, total := l.carried(append(slices.Clone(p.voters), voter)); tx.approve && 3*power > 2*total {
		if v := p.change.validator; p.change.kind == 1 {
			then, now := refAttestKey(l.sets[p.set], v.Consensus), refAttestKey(l.set(), v.Consensus)
			if then != now && (then == v.Attest || then == ledger.PublicKey{}) {
				return refChange
			}
		}
		_, code := l.changed(p.change)
		return code
	}
	return refOK
}

func refAttestKey(set []ledger.Validator, consensus ledger.PublicKey) (key ledger.PublicKey) {
	for _, v := range set {
		if v.Consensus == consensus {
			key = v.Attest
		}
	}
	return key
}

func (l *refLedger) enact(index uint64) {
	p := l.proposals[index]
	power, total := l.carried(p.voters)
	if 3*power <= 2*total {
		return
	}
	set, _ := l.changed(p.change)
	p.decision = l.add(4, []any{index, uint64(power), uint64(total)})
	switch p.change.kind {
	case 1, 2:
		if p.change.kind == 2 {
			key := refAttestKey(l.set(), p.change.remove)
			l.left[p.change.remove] = key[:]
		}
		l.sets = append(l.sets, set)
	case 3:
		l.params = p.change.params
	case 4:
		l.receive(p.decision, p.change.to, p.change.credits)
	}
}

func (l *refLedger) checkRecord(tx refTx, account refAccount) uint32 {
	if n := l.names[tx.namespace]; tx.namespace != "" && (n == nil || l.now >= n.until || n.owner != tx.sender) {
		return refNotOwner
	}
	if l.kept(tx.id) {
		if l.blocks[tx.id].until+tx.keep*refDay > l.now+3650*refDay {
			return refKeep
		}
		return refOK
	}
	if account.pending != 0 {
		return refPending
	}
	if count, bytes := l.pending(tx.id); count == 0 && bytes+tx.rows() > l.params[refMaxPending] {
		return refFull
	}
	return refOK
}

func (l *refLedger) announce(index uint64, tx refTx, account *refAccount) {
	a := &refAnnouncement{tx: tx, status: "pending", height: l.height, attested: map[int]bool{}, set: l.set()}
	if l.blocks[tx.id] == nil {
		l.blocks[tx.id] = &refBlock{}
	}
	l.blocks[tx.id].latest = index
	if l.kept(tx.id) {
		a.status = "certified"
		l.blocks[tx.id].until += tx.keep * refDay
	} else {
		account.pending = index
	}
	l.announcements[index] = a
}

// counts says whether an attestation does, and whose it is.
func (l *refLedger) counts(item refItem, sender ledger.PublicKey) (int, uint32) {
	a := l.announcements[item.index]
	if a == nil || a.tx.id != item.id {
		return 0, refUnknown
	}
	if a.status == "expired" {
		return 0, refExpired
	}
	for i, v := range a.set {
		speaks := refAttestKey(l.set(), v.Consensus)
		if speaks == (ledger.PublicKey{}) {
			speaks = ledger.PublicKey(l.left[v.Consensus])
		}
		if speaks == sender {
			if a.attested[i] {
				return 0, refAttested
			}
			return i, refOK
		}
	}
	return 0, refNotValidator
}

func (l *refLedger) checkItems(tx refTx) uint32 {
	first := uint32(refOK)
	for _, item := range tx.items {
		_, code := l.counts(item, tx.sender)
		if code == refOK {
			return refOK
		}
		if first == refOK {
			first = code
		}
	}
	return first
}

func (l *refLedger) certify(item refItem) {
	a := l.announcements[item.index]
	if a == nil || a.status != "pending" || 3*a.power <= 2*refTotal(a.set) {
		return
	}
	b := l.blocks[a.tx.id]
	b.certificate = l.outcome(2, item.index, a)
	b.certified, b.until = true, l.now
	for _, other := range l.announcements {
		if other.tx.id == a.tx.id && other.status == "pending" {
			other.status = "certified"
			l.accounts[other.tx.sender].pending = 0
			b.until += other.tx.keep * refDay
		}
	}
	b.until = min(b.until, l.now+3650*refDay)
}

// refShare is section 6, in big numbers.
func refShare(chain string, set []ledger.Validator, v int, g erasure.Geometry) erasure.PieceSet {
	pieces := g.Pieces()
	total, before := int64(0), int64(0)
	for i, x := range set {
		total += x.Power
		if i < v {
			before += x.Power
		}
	}
	if g.K() < 256 || 6*set[v].Power >= total {
		return erasure.AllPieces(pieces)
	}
	bound := func(power int64, up bool) int {
		q, r := new(big.Int).QuoRem(new(big.Int).Mul(big.NewInt(power), big.NewInt(int64(pieces))), big.NewInt(total), new(big.Int))
		if up && r.Sign() > 0 {
			return int(q.Int64()) + 1
		}
		return int(q.Int64())
	}
	s := []byte("granary/validators/v1")
	for _, x := range set {
		s = binary.LittleEndian.AppendUint64(append(s, x.Consensus[:]...), uint64(x.Power))
	}
	hash := sha256.Sum256(s)
	share := erasure.NewPieceSet(pieces)
	for lap := range 3 {
		seed := append([]byte("granary/share/v1"), byte(len(chain)))
		seed = append(append(seed, chain...), hash[:]...)
		seed = append(binary.LittleEndian.AppendUint32(seed, uint32(pieces)), byte(lap))
		stream := sha3.SumSHAKE128(seed, 1<<16)
		order := make([]int, pieces)
		for i := range order {
			order[i] = i
		}
		for i := pieces - 1; i > 0; i-- {
			n := big.NewInt(int64(i) + 1)
			limit := new(big.Int).Lsh(big.NewInt(1), 64)
			limit.Sub(limit, new(big.Int).Mod(limit, n))
			for {
				r := new(big.Int).SetUint64(binary.LittleEndian.Uint64(stream))
				stream = stream[8:]
				if r.Cmp(limit) < 0 {
					j := int(r.Mod(r, n).Int64())
					order[i], order[j] = order[j], order[i]
					break
				}
			}
		}
		for _, p := range order[bound(before, false):bound(before+set[v].Power, true)] {
			share.Add(p)
		}
	}
	return share
}
