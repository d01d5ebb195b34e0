package swarm

import "time"

// Rest does what the sweep does, at another time.
func (s *Swarm) Rest(now time.Time) { s.rest(now, maxResting) }

// MaxResting bounds what strangers can keep in the engine.
const MaxResting = maxResting

// Torrents is how many are in the engine.
func (s *Swarm) Torrents() int { return len(s.list()) }
