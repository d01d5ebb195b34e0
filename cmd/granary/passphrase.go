package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"granary/cmd/granary/internal/config"
)

// maxPassphrase bounds what is read of a passphrase file.
const maxPassphrase = 4 << 10

// unlock opens the home's keys, if they are encrypted.
func (a *app) unlock(ctx context.Context, h *config.Home) error {
	if !h.Sealed() {
		return nil
	}
	passphrase, err := a.passphrase(ctx, false)
	if err != nil {
		return err
	}
	return h.Unlock(passphrase)
}

// passphrase asks, once, for the passphrase of the home's keys: of a file, of the
// environment, of whoever sits at the terminal. It is in no command line, since
// others on the machine can read those.
func (a *app) passphrase(ctx context.Context, fresh bool) (_ []byte, err error) {
	if a.secret == nil {
		a.secret, err = a.findPassphrase(ctx, fresh)
	}
	return a.secret, err
}

func (a *app) findPassphrase(ctx context.Context, fresh bool) ([]byte, error) {
	if a.passphraseFile != "" {
		return readPassphrase(a.passphraseFile)
	}
	if p := os.Getenv("GRANARY_PASSPHRASE"); p != "" {
		return []byte(p), nil
	}
	tty, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return nil, config.ErrSealed
	}
	p, err := a.ask(ctx, tty, "passphrase of the keys in "+a.home+": ")
	if err != nil || !fresh {
		return p, err
	}
	again, err := a.ask(ctx, tty, "the same again: ")
	if err == nil && !bytes.Equal(p, again) {
		err = fmt.Errorf("%w: the two differ", config.ErrPassphrase)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// seal encrypts the home's keys, and makes those that are not there.
func (a *app) seal(ctx context.Context) error {
	passphrase, err := a.passphrase(ctx, true)
	if err != nil {
		return err
	}
	return config.Seal(a.home, passphrase)
}

// ask reads a line that is not shown. Interrupted, it leaves the terminal as it was,
// and the reading goroutine to the end of the process.
func (a *app) ask(ctx context.Context, tty *os.File, prompt string) ([]byte, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	fmt.Fprint(a.stderr, prompt)
	defer fmt.Fprintln(a.stderr)
	type line struct {
		p   []byte
		err error
	}
	read := make(chan line, 1)
	go func() {
		p, err := term.ReadPassword(fd)
		read <- line{p, err}
	}()
	select {
	case l := <-read:
		if l.err != nil {
			return nil, fmt.Errorf("read passphrase: %w", l.err)
		}
		return l.p, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

// readPassphrase returns the first line of a file, which is all of it.
func readPassphrase(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrSealed, err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxPassphrase+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", config.ErrSealed, err)
	}
	p := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(p) == 0 || len(raw) > maxPassphrase || bytes.ContainsAny(p, "\r\n") {
		return nil, fmt.Errorf("%w: %s is not one line of at most %d bytes", config.ErrPassphrase, path, maxPassphrase)
	}
	return p, nil
}
