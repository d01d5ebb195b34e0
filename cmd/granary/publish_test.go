package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// Ctrl-C ends a publish whose content is still to come.
func TestStandardInputIsReadUntilInterrupted(t *testing.T) {
	whole, err := io.ReadAll(interruptible(t.Context(), strings.NewReader("content")))
	if err != nil || string(whole) != "content" {
		t.Errorf("read %q, %v", whole, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never, writer := io.Pipe()
	defer writer.Close()
	in := interruptible(ctx, never)
	go cancel()
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
