package ui_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"granary/cmd/granary/internal/exit"
	"granary/cmd/granary/internal/ui"
)

type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

func TestResultThatCannotBeWrittenIsAnError(t *testing.T) {
	full := errors.New("no space left")
	for _, asJSON := range []bool{false, true} {
		u := ui.New(fullDisk{full}, io.Discard)
		u.JSON = asJSON
		if err := u.Result(struct{}{}, func(w io.Writer) { fmt.Fprintln(w, "a"); fmt.Fprintln(w, "b") }); !errors.Is(err, full) {
			t.Errorf("JSON %v: error %v, want %v", asJSON, err, full)
		}
	}
}

func TestInterruptionIsSaidInOneWord(t *testing.T) {
	err := errors.Join(fmt.Errorf("ask the node: %w", context.Canceled), errors.New("interrupt signal received"))
	var people, script strings.Builder
	if got := ui.New(io.Discard, &people).Fail(err); got != exit.Interrupted {
		t.Errorf("exit status %d, want %d", got, exit.Interrupted)
	}
	if got, want := people.String(), "granary: error: interrupted\ngranary: hint: run the same command again to resume\n"; got != want {
		t.Errorf("told people %q, want %q", got, want)
	}
	u := ui.New(&script, io.Discard)
	u.JSON = true
	u.Fail(err)
	if got, want := script.String(), `"status":130,"message":"interrupted"`; !strings.Contains(got, want) {
		t.Errorf("told a script %q, want %s in it", got, want)
	}
}
