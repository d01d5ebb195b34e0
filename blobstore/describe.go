package blobstore

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"granary/erasure"
)

// maxDescriptions bounds the memory of the descriptions kept, in bytes. The
// largest block's takes 1 MiB, a block of 1 MiB takes 8 KiB.
const maxDescriptions = 32 << 20

// A description is what layers and proof say of a block, checked against its
// info. It is immutable.
type description struct {
	layers   erasure.Layers
	proof    []byte            // nil while unknown
	verifier *erasure.Verifier // nil while the proof is unknown
}

func newDescription(b erasure.Bundle) (*description, error) {
	d := &description{layers: b.Layers, proof: b.Proof}
	if err := b.Layers.Check(b.Info); err != nil || b.Proof == nil {
		return d, err
	}
	var err error
	d.verifier, err = erasure.NewVerifier(b.Info, b.Proof)
	return d, err
}

// cost is about what the description takes in memory: a verifier extends the
// proof to all 2k rows.
func (d *description) cost() int {
	return 1024 + 32*(len(d.layers.Content)+len(d.layers.Parity)) + 3*len(d.proof)
}

// descriptions keeps those used last.
type descriptions struct {
	mu    sync.Mutex
	byID  map[erasure.ID]*list.Element
	order list.List // of known, most recently used first
	bytes int
}

type known struct {
	id erasure.ID
	d  *description
}

func (ds *descriptions) get(id erasure.ID) *description {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	e := ds.byID[id]
	if e == nil {
		return nil
	}
	ds.order.MoveToFront(e)
	return e.Value.(known).d
}

func (ds *descriptions) put(id erasure.ID, d *description) {
	ds.forget(id)
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.byID == nil {
		ds.byID = make(map[erasure.ID]*list.Element)
	}
	ds.byID[id] = ds.order.PushFront(known{id, d})
	for ds.bytes += d.cost(); ds.bytes > maxDescriptions && ds.order.Len() > 1; {
		ds.drop(ds.order.Back())
	}
}

func (ds *descriptions) forget(id erasure.ID) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if e := ds.byID[id]; e != nil {
		ds.drop(e)
	}
}

func (ds *descriptions) drop(e *list.Element) {
	k := ds.order.Remove(e).(known)
	delete(ds.byID, k.id)
	ds.bytes -= k.d.cost()
}

// describe returns the block's description, reading and checking the files if
// it is not at hand. A damaged proof counts as unknown, because it can be
// learned again; damaged layers are ErrDamaged until Put mends them. What cannot
// be read now is neither, and the error is the system's.
func (b *Block) describe() (*description, error) {
	if d := b.s.known.get(b.id); d != nil {
		return d, nil
	}
	b.describing.Lock()
	defer b.describing.Unlock()
	if d := b.s.known.get(b.id); d != nil {
		return d, nil
	}
	d, proofErr, err := b.readDescription()
	if err != nil {
		return nil, unusable(b.id, err)
	}
	if proofErr != nil {
		b.s.log.Error("stored proof is damaged: it counts as unknown", "block", b.id, "err", proofErr)
	}
	b.s.known.put(b.id, d)
	return d, nil
}

// readDescription reads layers and proof from the disk and checks them. A proof
// that is damaged, which proofErr says, is left out.
func (b *Block) readDescription() (d *description, proofErr, err error) {
	raw, err := readFile(b.path(layersFile), layersLength(b.g))
	if err != nil {
		return nil, nil, err
	}
	bundle := erasure.Bundle{Info: b.info}
	if bundle.Layers, err = erasure.ParseLayers(b.info, raw); err != nil {
		return nil, nil, err
	}
	proof, err := readFile(b.path(proofFile), proofLength(b.g))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case isAway(err):
		return nil, nil, err
	case err != nil:
		proofErr = err
	case sha256.Sum256(proof) != b.info.ProofHash:
		proofErr = fmt.Errorf("%w: hash of %d bytes", erasure.ErrProof, len(proof))
	default:
		bundle.Proof = proof
	}
	d, err = newDescription(bundle)
	return d, proofErr, err
}

// learn takes from bundle, which was checked, what the stored description
// lacks: the proof, or all of it when it is damaged.
func (b *Block) learn(bundle erasure.Bundle) error {
	d, err := b.describe()
	if err == nil && (d.proof != nil || bundle.Proof == nil) {
		return nil
	}
	mend := errors.Is(err, ErrDamaged)
	if err != nil && !mend {
		return err
	}
	b.describing.Lock()
	defer b.describing.Unlock()
	if err := b.s.writeDescription(b.dir, bundle, mend); err != nil {
		return fmt.Errorf("learn %s: %w", b.id, diskError(err))
	}
	b.s.known.forget(b.id)
	return nil
}

// writeDescription replaces proof, and with all also info and layers.
func (s *Store) writeDescription(dir string, bundle erasure.Bundle, all bool) error {
	if all {
		if err := replaceFile(dir, layersFile, bundle.Layers.Encode()); err != nil {
			return err
		}
		if err := replaceFile(dir, infoFile, bundle.Info.Encode()); err != nil {
			return err
		}
	}
	if bundle.Proof == nil {
		return nil
	}
	if err := s.at("learn: proof"); err != nil {
		return err
	}
	return replaceFile(dir, proofFile, bundle.Proof)
}
