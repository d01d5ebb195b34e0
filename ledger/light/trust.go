package light

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cometbft/cometbft/types"

	"granary/ledger"
)

// trusted is what the client builds on: a verified light block, and the head of
// the log that its header commits to.
type trusted struct {
	block *types.LightBlock
	head  ledger.Head
	peer  string // whom it came from; empty when it came from disk
}

// trustFile is what is on disk.
type trustFile struct {
	_     struct{} `cbor:",toarray"`
	Block []byte   // protobuf
	Head  head
}

// store keeps what is trusted in a file; with no directory, nowhere.
type store struct{ dir string }

func (s store) path() string { return filepath.Join(s.dir, "trusted") }

// load returns what was saved last, nil if nothing was.
func (s store) load(chain string) (*trusted, error) {
	if s.dir == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f trustFile
	if err := unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(), err)
	}
	block, err := parseLightBlock(f.Block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(), err)
	}
	t := &trusted{block: block, head: f.Head.head()}
	if err := block.ValidateBasic(chain); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(), err)
	}
	if err := checkHead(t.block, t.head); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(), err)
	}
	return t, nil
}

// save replaces what is on disk, at once or not at all.
func (s store) save(t *trusted) error {
	if s.dir == "" {
		return nil
	}
	msg, err := t.block.ToProto()
	if err != nil {
		return err
	}
	block, err := msg.Marshal()
	if err != nil {
		return err
	}
	return s.write(s.path(), marshal(trustFile{Block: block, Head: headOf(t.head)}))
}

// write replaces a file, at once or not at all.
func (s store) write(path string, raw []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "trusted-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // of no effect once it is renamed
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// evidenceFile is what shows a fork, for people and for other tools: two light
// blocks in protobuf, both signed.
type evidenceFile struct {
	_            struct{} `cbor:",toarray"`
	Reason       string
	Ours, Theirs []byte
}

func (s store) evidencePath() string { return filepath.Join(s.dir, "forked") }

// evidence returns the fork that was seen before, nil if none was, and what it
// shows against single validators.
func (s store) evidence() (forked error, against [][]byte, err error) {
	if s.dir == "" {
		return nil, nil, nil
	}
	raw, err := os.ReadFile(s.evidencePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var f evidenceFile
	if err := unmarshal(raw, &f); err != nil {
		f.Reason = "its evidence cannot be read"
	}
	ours, errOurs := parseLightBlock(f.Ours)
	theirs, errTheirs := parseLightBlock(f.Theirs)
	if errOurs == nil && errTheirs == nil {
		against = contradictions(ours, theirs)
	}
	return fmt.Errorf("%w: %s; the evidence is in %s", ErrForked, f.Reason, s.evidencePath()), against, nil
}

// keepEvidence writes what shows a fork.
func (s store) keepEvidence(reason error, ours, theirs *types.LightBlock) error {
	if s.dir == "" {
		return nil
	}
	f := evidenceFile{Reason: reason.Error()}
	for block, to := range map[*types.LightBlock]*[]byte{ours: &f.Ours, theirs: &f.Theirs} {
		msg, err := block.ToProto()
		if err != nil {
			return err
		}
		if *to, err = msg.Marshal(); err != nil {
			return err
		}
	}
	return s.write(s.evidencePath(), marshal(f))
}

// checkHead checks that a block's header commits to a head.
func checkHead(block *types.LightBlock, h ledger.Head) error {
	if hash := h.AppHash(); string(block.AppHash) != string(hash[:]) {
		return fmt.Errorf("height %d does not commit to the head of size %d that was given", block.Height, h.Size)
	}
	return nil
}
