package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"math/big"

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
)

type refItem struct {
	index uint64
	id    erasure.ID
}

type refTx struct {
	kind, nonce uint64
	sender      ledger.PublicKey
	body        []byte
	signature   []byte
	id          erasure.ID // of the record
	length      int64
	keep        int64
	items       []refItem
}

// refForm is section 2.3.
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
	body, ok := refList(tx.body, 4)
	if !ok {
		return tx, refMalformed
	}
	kind, ok1 := body[0].(uint64)
	nonce, ok2 := body[1].(uint64)
	sender, ok3 := refBytes(body[2], 32)
	payload, ok4 := body[3].([]byte)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return tx, refMalformed
	}
	tx.kind, tx.nonce, tx.sender = kind, nonce, ledger.PublicKey(sender)
	switch kind {
	case 1:
		return tx, tx.refRecord(payload)
	case 2:
		return tx, tx.refItems(payload)
	case 3, 4, 5, 6:
		return tx, refNotYet
	}
	return tx, refMalformed
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
	case namespace != "":
		return refNotYet
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
	tx.length, tx.keep = int64(length), int64(keep)
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

type refAccount struct {
	credits int64
	used    map[uint64]bool
	highest uint64
	pending uint64
}

type refAnnouncement struct {
	tx       refTx
	status   string
	height   int64
	deadline int64
	attested map[int]bool
	power    int64
}

type refBlock struct {
	certified bool
	until     int64
}

type refLedger struct {
	g             ledger.Genesis
	height, now   int64
	entries       [][]byte
	accounts      map[ledger.PublicKey]*refAccount
	announcements map[uint64]*refAnnouncement
	blocks        map[erasure.ID]*refBlock
	handedOut     map[int64]int64 // by day
}

const refDay = 86_400_000

func newRefLedger(g ledger.Genesis) *refLedger {
	l := &refLedger{
		g: g, now: g.Time.UnixMilli(),
		accounts: map[ledger.PublicKey]*refAccount{}, announcements: map[uint64]*refAnnouncement{},
		blocks: map[erasure.ID]*refBlock{}, handedOut: map[int64]int64{},
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
		validators = append(validators, []any{v.Name, uint64(v.Power), v.Consensus[:], v.Attest[:], []byte(v.Peer)})
	}
	for _, x := range g.Grants {
		grants = append(grants, []any{x.Key[:], uint64(x.Credits)})
	}
	p := g.Params
	params := []any{
		uint64(p.Heartbeat / 1e6), uint64(p.AnnounceWindow / 1e6), uint64(p.SamplingGrace / 1e6), uint64(p.RetryRound / 1e6),
		uint64(p.Custody), uint64(p.Allowance), uint64(p.AllowancePerDay), uint64(p.MaxPending),
	}
	values := refPut([]any{g.ChainID, uint64(g.Time.UnixMilli()), validators, params, grants})
	return sha256.Sum256(append([]byte("granary/genesis/v1"), values...))
}

func (l *refLedger) add(kind uint64, payload any) uint64 {
	l.entries = append(l.entries, refPut([]any{kind, uint64(l.height), uint64(l.now), payload}))
	return uint64(len(l.entries) - 1)
}

func (l *refLedger) head() ledger.Head {
	return ledger.Head{Size: uint64(len(l.entries)), Root: slowRoot(l.entries)}
}

func refAppHash(h ledger.Head) ledger.Hash {
	b := binary.LittleEndian.AppendUint64([]byte("granary/head/v1"), h.Size)
	return sha256.Sum256(append(b, h.Root[:]...))
}

func (l *refLedger) total() (sum int64) {
	for _, v := range l.g.Validators {
		sum += v.Power
	}
	return sum
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
	for index := range uint64(len(l.entries)) {
		a := l.announcements[index]
		switch {
		case a == nil || a.status != "pending":
		case a.height+1 == l.height:
			a.deadline = l.now + l.g.Params.AnnounceWindow.Milliseconds()
		case l.now >= a.deadline:
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

func (l *refLedger) outcome(kind, index uint64, a *refAnnouncement) {
	l.add(kind, []any{index, a.tx.id[:], uint64(a.power), uint64(l.total())})
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
	if p := l.g.Params; tx.kind == 1 && known == nil && l.handedOut[l.now/refDay]+p.Allowance <= p.AllowancePerDay {
		allowance = p.Allowance
		account.credits = allowance
	}
	if tx.kind == 1 {
		code = l.checkRecord(tx, account)
	} else {
		code = l.checkItems(tx)
	}
	if code != refOK {
		return code
	}
	signed := append([]byte("granary/tx/v1"), byte(len(l.g.ChainID)))
	signed = append(append(signed, l.g.ChainID...), tx.body...)
	if !ed25519.Verify(tx.sender[:], signed, tx.signature) {
		return refSignature
	}

	index := l.add(1, raw)
	l.handedOut[l.now/refDay] += allowance
	account.used[tx.nonce] = true
	account.highest = max(account.highest, tx.nonce)
	l.accounts[tx.sender] = &account
	if tx.kind == 1 {
		l.announce(index, tx, &account)
		return refOK
	}
	for _, item := range tx.items {
		if who, code := l.counts(item, tx.sender); code == refOK {
			a := l.announcements[item.index]
			a.attested[who] = true
			a.power += l.g.Validators[who].Power
		}
	}
	for _, item := range tx.items {
		l.certify(item)
	}
	return refOK
}

func (l *refLedger) checkRecord(tx refTx, account refAccount) uint32 {
	if tx.length*tx.keep > account.credits {
		return refCredits
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
	if count, bytes := l.pending(tx.id); count == 0 && bytes+tx.rows() > l.g.Params.MaxPending {
		return refFull
	}
	return refOK
}

func (l *refLedger) announce(index uint64, tx refTx, account *refAccount) {
	account.credits -= tx.length * tx.keep
	a := &refAnnouncement{tx: tx, status: "pending", height: l.height, attested: map[int]bool{}}
	if l.blocks[tx.id] == nil {
		l.blocks[tx.id] = &refBlock{}
	}
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
	for i, v := range l.g.Validators {
		if v.Attest == sender {
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
	if a == nil || a.status != "pending" || 3*a.power <= 2*l.total() {
		return
	}
	l.outcome(2, item.index, a)
	b := l.blocks[a.tx.id]
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
