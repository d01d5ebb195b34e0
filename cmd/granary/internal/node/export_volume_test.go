package node

import "time"

// OpenVolume opens what counts a month's traffic.
func OpenVolume(path string, limit int64, now func() time.Time) (Volume, error) {
	v, err := openVolume(path, limit, now)
	return Volume{v}, err
}

// Volume is a volume for tests.
type Volume struct{ v *volume }

// Spend is what the swarm calls.
func (v Volume) Spend(sent, received int) error { return v.v.spend(sent, received) }

// Traffic is what was used.
func (v Volume) Traffic() Traffic { return v.v.traffic() }

// Close stops cleanly.
func (v Volume) Close() error { return v.v.close() }
