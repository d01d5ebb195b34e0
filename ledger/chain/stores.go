package chain

import (
	"errors"
	"fmt"
	"sync"

	dbm "github.com/cometbft/cometbft-db"
	"github.com/cometbft/cometbft/config"
)

// stores are the databases that the engine opens: blocks, its own state, and
// evidence of double signing. We close them, for it does so only if it came as
// far as starting, and then too early.
type stores struct {
	app   *app
	state dbm.DB
	all   []*engineDB
}

// open implements CometBFT's DBProvider.
func (s *stores) open(ctx *config.DBContext) (dbm.DB, error) {
	db, err := dbm.NewDB(ctx.ID, dbm.GoLevelDBBackend, ctx.Config.DBDir())
	if err != nil {
		return nil, fmt.Errorf("open the engine's %s: %w", ctx.ID, err)
	}
	e := &engineDB{DB: db}
	s.all = append(s.all, e)
	if ctx.ID == "state" {
		s.state = e
	}
	return e, nil
}

// close closes all. The engine must have stopped.
func (s *stores) close() error {
	var errs []error
	if s.app != nil {
		errs = append(errs, s.app.rollback())
	}
	for _, db := range s.all {
		errs = append(errs, db.shut())
	}
	return errors.Join(errs...)
}

// engineDB is a database that can be read after it is closed, and is empty then.
// When the engine has stopped, goroutines of its reactors still look once more
// for blocks that peers lack, up to two seconds later, and panic if the database
// is closed: every other stop of a busy node would end the process.
type engineDB struct {
	dbm.DB

	mu     sync.RWMutex
	closed bool // guarded by mu
}

// Close does nothing: the engine calls it too early.
func (e *engineDB) Close() error { return nil }

// shut closes the database once nobody reads.
func (e *engineDB) shut() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return e.DB.Close()
}

// Get returns nil when the database is closed.
func (e *engineDB) Get(key []byte) ([]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, nil
	}
	return e.DB.Get(key)
}

// Has returns false when the database is closed.
func (e *engineDB) Has(key []byte) (bool, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return false, nil
	}
	return e.DB.Has(key)
}
