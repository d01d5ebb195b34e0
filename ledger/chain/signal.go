package chain

import "sync"

// signal wakes all who wait for the next change.
type signal struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu; closed at the next change
}

func newSignal() *signal { return &signal{next: make(chan struct{})} }

// raise wakes all who wait.
func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.next)
	s.next = make(chan struct{})
}

// wait returns a channel that is closed at the next change. To miss none, take
// it before looking.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}
