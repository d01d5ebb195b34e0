package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/cmd/granary/internal/node"
	"granary/cmd/granary/internal/ui"
)

// TestMain lets the test binary stand for the program: child processes that
// tests start are real granary processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"granary": main, "flood": flood})
}

// TestScripts runs the stories in testdata/script. A line `exits N granary …`
// runs the program and wants exactly that status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "../../testdata/script",
		RequireUniqueNames: true,
		Cmds:               commands(),
	})
}

// commands are those that the stories have beside testscript's own.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 2 {
				ts.Fatalf("usage: exits STATUS PROGRAM [ARGS…]")
			}
			got := 0
			if err := ts.Exec(args[1], args[2:]...); err != nil {
				exit, ok := errors.AsType[*exec.ExitError](err)
				if !ok {
					ts.Fatalf("%v", err)
				}
				got = exit.ExitCode()
			}
			if strconv.Itoa(got) != args[0] {
				ts.Fatalf("exit status %d, want %s", got, args[0])
			}
		},
		// size NAME BYTES: make a file of so many bytes of a fixed pattern
		"size": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 2 {
				ts.Fatalf("usage: size NAME BYTES")
			}
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(i*7 + i>>8)
			}
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
		},
		// cut NAME BYTES: truncate a file
		"cut": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 2 {
				ts.Fatalf("usage: cut NAME BYTES")
			}
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(n)))
		},
		// flip NAME OFFSET: turn over every bit of one byte
		"flip": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) != 2 {
				ts.Fatalf("usage: flip NAME OFFSET")
			}
			n, err := strconv.Atoi(args[1])
			ts.Check(err)
			b, err := os.ReadFile(ts.MkAbs(args[0]))
			ts.Check(err)
			b[n] ^= 0xff
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
		},
		// capture VAR PROGRAM [ARGS…]: keep the first line of its output
		"capture": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 2 {
				ts.Fatalf("usage: capture VAR PROGRAM [ARGS…]")
			}
			ts.Check(ts.Exec(args[1], args[2:]...))
			first, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
			ts.Setenv(args[0], first)
		},
		// eventually REGEXP PROGRAM [ARGS…]: run it until its output matches, since
		// nodes learn of things one after the other
		"eventually": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 2 {
				ts.Fatalf("usage: eventually REGEXP PROGRAM [ARGS…]")
			}
			want, err := regexp.Compile("(?m)" + args[0])
			ts.Check(err)
			for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
				err := ts.Exec(args[1], args[2:]...)
				if err == nil && want.MatchString(ts.ReadFile("stdout")) {
					return
				}
				if time.Now().After(deadline) {
					ts.Fatalf("no match for %#q after %v (%v)", args[0], patience, err)
				}
			}
		},
		// gone TEXT PROGRAM [ARGS…]: run it until its output has no such text
		"gone": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 2 {
				ts.Fatalf("usage: gone TEXT PROGRAM [ARGS…]")
			}
			for deadline := time.Now().Add(patience); ; <-time.After(100 * time.Millisecond) {
				err := ts.Exec(args[1], args[2:]...)
				if err == nil && !strings.Contains(ts.ReadFile("stdout"), args[0]) {
					return
				}
				if time.Now().After(deadline) {
					ts.Fatalf("%q is still there after %v (%v)", args[0], patience, err)
				}
			}
		},
		// field VAR NAME PROGRAM [ARGS…]: keep a field of the object that it prints
		"field": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg || len(args) < 3 {
				ts.Fatalf("usage: field VAR NAME PROGRAM [ARGS…]")
			}
			ts.Check(ts.Exec(args[2], args[3:]...))
			var object map[string]any
			ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &object))
			ts.Setenv(args[0], fmt.Sprint(object[args[1]]))
		},
	}
}

func TestEveryVerbHasAnExampleAndItsExitStatuses(t *testing.T) {
	a := &app{ui: ui.New(io.Discard, io.Discard)}
	for _, cmd := range a.root().Commands() {
		switch {
		case cmd.Example == "":
			t.Errorf("granary %s: no example", cmd.Name())
		case cmd.GroupID == "":
			t.Errorf("granary %s: in no group", cmd.Name())
		case cmd.Name() != "version" && !strings.Contains(cmd.Long, "Exit status:"):
			t.Errorf("granary %s: exit statuses not documented", cmd.Name())
		}
	}
}

// TestRecordOfTheRealFile holds the whole block format to the one vector that
// anybody can make from a file in this repository; docs/spec/home.md prints it.
func TestRecordOfTheRealFile(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"inspect", "../../testdata/sepolia-00000-643a00f7.era1", "--json", "-q"}, strings.NewReader(""), &out, &errs); status != 0 {
		t.Fatalf("exit status %d: %s", status, errs.String())
	}
	spec, err := os.ReadFile("../../docs/spec/home.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(spec), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	want, err := node.ParseRecord([]byte(text))
	if err != nil {
		t.Fatalf("the record in the specification: %v", err)
	}
	var got node.Record
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got != node.NewRecord(want) {
		t.Errorf("record %+v, the specification has %+v", got, node.NewRecord(want))
	}
}
