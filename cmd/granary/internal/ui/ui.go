// Package ui is the only printer: results on standard output, everything for
// people on standard error.
//
// With JSON each object is one line on standard output and nothing else is
// written there; progress is shown as a bar on a terminal and as plain lines
// elsewhere.
package ui

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// lineEvery is how often progress is told where there is no terminal.
const lineEvery = 3 * time.Second

// UI prints what a command has to say. Its methods may be called by any
// number of goroutines.
type UI struct {
	JSON  bool // one object per line on standard output
	Quiet bool // no progress and no notes

	out, err io.Writer

	mu   sync.Mutex
	bar  *bar      // guarded by mu: the bar on the terminal, nil when none
	last time.Time // guarded by mu: of the last plain progress line
	seen string    // guarded by mu: the stage it was for
}

// New returns a UI that writes results to out and the rest to err.
func New(out, err io.Writer) *UI { return &UI{out: out, err: err} }

// Out is where results go.
func (u *UI) Out() io.Writer { return u.out }

// Result prints the outcome of a command: v as an object, or what text writes.
func (u *UI) Result(v any, text func(w io.Writer)) error {
	u.Done()
	if u.JSON {
		return u.object("result", v)
	}
	w := checked{to: u.out}
	text(&w)
	return w.err
}

// checked remembers that a write failed, for those who do not look.
type checked struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (c *checked) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.err = cmp.Or(c.err, err)
	return n, err
}

// Step prints one finished step of a longer story: v as a progress object, or
// a line for people.
func (u *UI) Step(v any, format string, args ...any) error {
	u.Done()
	if u.JSON {
		return u.object("progress", v)
	}
	_, err := fmt.Fprintf(u.out, format+"\n", args...)
	return err
}

// Note tells people something that is no result.
func (u *UI) Note(format string, args ...any) {
	if u.Quiet {
		return
	}
	u.Done()
	fmt.Fprintf(u.err, "granary: "+format+"\n", args...)
}

// Fail prints an error and what to do about it, and returns the exit status. Of an
// interruption it does not tell which of many things it ended.
func (u *UI) Fail(err error) int {
	u.Done()
	if code, ok := errors.AsType[exit.Code](err); ok {
		return int(code) // said already
	}
	m := gateway.NewError(err)
	if m.Status == exit.Interrupted {
		m.Message = "interrupted"
	}
	if u.JSON {
		if err := json.NewEncoder(u.out).Encode(m); err != nil {
			fmt.Fprintf(u.err, "granary: error: %v\n", err)
		}
		return m.Status
	}
	fmt.Fprintf(u.err, "granary: error: %s\n", m.Message)
	if m.Hint != "" {
		fmt.Fprintf(u.err, "granary: hint: %s\n", m.Hint)
	}
	return m.Status
}

// Progress shows how far the work is: an object, a bar, or now and then a
// plain line.
func (u *UI) Progress(p node.Progress) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.Quiet:
	case u.JSON:
		if err := json.NewEncoder(u.out).Encode(gateway.NewProgress(p)); err != nil {
			return // the reader went away; the command ends by itself
		}
	case terminal(u.err):
		if u.bar == nil || u.bar.stage != p.Stage {
			u.endBar()
			u.bar = newBar(u.err, p)
		}
		u.bar.set(p)
	default:
		if p.Stage != u.seen {
			u.seen, u.last = p.Stage, time.Now() // what is over at once needs no line
		}
		if time.Since(u.last) < lineEvery && p.Stage != "wait" { // minutes may pass before the next
			return
		}
		u.last = time.Now()
		fmt.Fprintf(u.err, "granary: %s\n", line(p))
	}
}

// Done ends the bar on the terminal, if any.
func (u *UI) Done() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endBar()
}

func (u *UI) endBar() {
	if u.bar != nil {
		u.bar.end()
		u.bar = nil
	}
}

// object writes v with "type" and "schema" in front of its fields.
func (u *UI) object(kind string, v any) error {
	fields, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if len(fields) < 2 || fields[0] != '{' {
		return fmt.Errorf("BUG: result %T is no object", v)
	}
	head := fmt.Sprintf(`{"type":%q,"schema":%d`, kind, gateway.Schema)
	if len(fields) > 2 {
		head += ","
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err = fmt.Fprintf(u.out, "%s%s\n", head, fields[1:])
	return err
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
