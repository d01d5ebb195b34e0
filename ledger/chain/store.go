package chain

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"granary/ledger"
)

// ErrLocked reports a directory that another process has open.
var ErrLocked = errors.New("another process has the chain open")

// lockPatience is how long Open waits for a process that is just ending.
const lockPatience = 2 * time.Second

var bucketState = []byte("state")

// openStore opens the file that holds the state, and begins the network in it if
// it is new.
func openStore(path string, g ledger.Genesis) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockPatience, NoFreelistSync: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucketState)
		if err != nil {
			return err
		}
		s, err := ledger.Load(bucket{b})
		if errors.Is(err, ledger.ErrNotFound) {
			s, err = ledger.Init(bucket{b}, g)
		}
		if err != nil {
			return err
		}
		return checkGenesis(s, g)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state in %s: %w", path, err), db.Close())
	}
	return db, nil
}

// ErrGenesis reports a directory that holds another network.
var ErrGenesis = errors.New("the directory holds another network")

func checkGenesis(s *ledger.State, g ledger.Genesis) error {
	first, err := s.Entry(0)
	if err != nil {
		return err
	}
	if first.Genesis != g.Hash() {
		return fmt.Errorf("%w: genesis %s, want %s of %s", ErrGenesis, first.Genesis, g.Hash(), g.ChainID)
	}
	return nil
}

// bucket is the state in a transaction: a consistent view that ends with it.
type bucket struct{ b *bbolt.Bucket }

func (k bucket) Get(key []byte) []byte       { return k.b.Get(key) }
func (k bucket) Put(key, value []byte) error { return k.b.Put(key, value) }

// view calls read with the state as it was last committed.
func view(db *bbolt.DB, read func(*ledger.State) error) error {
	return db.View(func(tx *bbolt.Tx) error {
		s, err := ledger.Load(bucket{tx.Bucket(bucketState)})
		if err != nil {
			return err
		}
		return read(s)
	})
}
