package gateway_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// A node that is killed, or ends, while somebody watches is not a bare EOF.
func TestWatchSaysThatTheNodeEnded(t *testing.T) {
	dir, err := os.MkdirTemp("", "") // a test's own folder can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for how, end := range map[string]func(){
		"ended":  func() {},
		"killed": func() { panic(http.ErrAbortHandler) },
	} {
		path := filepath.Join(dir, how)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "{}\n")
			_ = http.NewResponseController(w).Flush()
			end()
		})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		c, err := gateway.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		err = c.Watch(t.Context(), node.WatchOptions{}, func(node.Watched) error { seen++; return nil })
		if err == nil || !strings.Contains(err.Error(), "the node at "+path+" ended") || seen != 1 {
			t.Errorf("%s: error %v after %d lines", how, err, seen)
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		<-served
	}
}
