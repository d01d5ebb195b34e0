package kad_test

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/network"

	"granary/erasure"
	"granary/sampling"
	"granary/sampling/kad"
)

// lieAboutRows makes a host alter a bit of every row.
func lieAboutRows(h *simHost) {
	h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
		data, path, err := h.honest(id, row)
		data = slices.Clone(data)
		if len(data) > 0 {
			data[row%len(data)] ^= 1
		}
		return data, path, err
	}
}

// lieAboutPaths makes a host give wrong Merkle paths.
func lieAboutPaths(h *simHost) {
	h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
		data, path, err := h.honest(id, row)
		return data, slices.Repeat([]erasure.Root{{1}}, len(path)), err
	}
}

// babble makes a host answer requests for rows with what is no message.
func babble(h *simHost) {
	h.ServeRows(func(s network.Stream) {
		_, _ = s.Write(slices.Repeat([]byte{0xa5}, 1<<10))
		_ = s.Close()
	})
}

// breakOff makes a host send the length of a row, the first half of it, and no
// more.
func breakOff(h *simHost) {
	h.ServeRows(func(s network.Stream) {
		_, _ = s.Write(append([]byte{0x80, 0x80, 0x01}, make([]byte, 8<<10)...))
	})
}

// sayNothing makes a host take requests for rows and leave it at that.
func sayNothing(h *simHost) { h.ServeRows(func(network.Stream) {}) }

// withhold makes a host refuse two of three rows of the target.
func (w *world) withhold(h *simHost) {
	h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
		if id == w.target() && row%3 != 0 {
			return nil, nil, kad.ErrNotHeld
		}
		return h.honest(id, row)
	}
}

// conspire makes most hosts misbehave, each in one of all the ways there are:
// every fourth is honest.
func (w *world) conspire() {
	w.eclipse(0.25)
	w.part(0.25, 0.35, kill)
	w.part(0.35, 0.42, lieAboutRows)
	w.part(0.42, 0.5, lieAboutPaths)
	w.part(0.5, 0.57, babble)
	w.part(0.57, 0.64, breakOff)
	w.part(0.64, 0.7, sayNothing)
	w.part(0.7, 0.75, refuse)
}

// conspiracies are networks in which many things go wrong at once.
var conspiracies = []scenario{
	{name: "a third speaks garbage, half a message or nothing", want: available, fault: func(w *world) {
		w.part(0, 0.11, babble)
		w.part(0.11, 0.22, breakOff)
		w.part(0.22, 0.33, sayNothing)
	}},
	{name: "three of four are dead or lie in every way", want: anything, right: available, once: true, fault: func(w *world) { w.conspire() }},
	{name: "the same, and the others withhold two of three rows", hosts: 8, once: true, want: withheld, fault: func(w *world) {
		w.conspire()
		w.part(0.75, 1, w.withhold)
	}},
	{name: "the same, and the others serve only the first askers", hosts: 8, once: true, want: withheld, fault: func(w *world) {
		w.conspire()
		served := make(map[int]bool) // rows given away, 40 in all: too few for anybody
		w.part(0.75, 1, func(h *simHost) {
			h.serve = func(id erasure.ID, row int) ([]byte, []erasure.Root, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if id == w.target() && !served[row] && len(served) >= 40 {
					return nil, nil, kad.ErrNotHeld
				}
				if id == w.target() {
					served[row] = true
				}
				return h.honest(id, row)
			}
		})
	}},
	{name: "a third lies about the proof vector, others about paths, or are dead, or refuse", asks: true, want: anything, right: available, fault: func(w *world) {
		w.part(0, 0.2, kill)
		w.part(0.2, 0.53, func(h *simHost) { h.lie = true })
		w.part(0.4, 0.6, lieAboutPaths)
		w.part(0.6, 0.7, refuse)
	}},
	{name: "nobody answers", want: []sampling.State{sampling.Inconclusive}, fault: func(w *world) { w.part(0, 1, kill) }},
}
