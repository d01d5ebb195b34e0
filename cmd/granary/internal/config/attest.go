package config

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"granary/cmd/granary/internal/durable"
)

// nextAttest is the file of an attest key that is not in use yet.
const nextAttest = "attest.next"

// AttestKeys reads the home's attest keys: the one in use, and the one that is
// being rotated in, if there is one. A guest has its own only.
func (h *Home) AttestKeys() ([]ed25519.PrivateKey, error) {
	var keys []ed25519.PrivateKey
	for _, name := range []string{"attest", nextAttest} {
		k, err := readKeyFile(filepath.Join(h.Dir, "keys", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		key, err := k.open(h.ring)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		keys = append(keys, h.Attest)
	}
	return keys, nil
}

// NextAttest returns the attest key that is to follow the one in use, and makes
// it if there is none: a rotation that was interrupted goes on with the same.
func (h *Home) NextAttest() (ed25519.PrivateKey, error) {
	path := filepath.Join(h.Dir, "keys", nextAttest)
	s := h.ring[h.newest]
	if h.newest != ([saltSize]byte{}) && s == nil {
		return nil, ErrSealed // or the new one would be plain
	}
	if err := makeKey(path, s); err != nil {
		return nil, err
	}
	k, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	return k.open(h.ring)
}

// RotateAttest puts the next attest key into use. The one before is kept, under
// the name that is returned.
func (h *Home) RotateAttest() (old string, err error) {
	dir := filepath.Join(h.Dir, "keys")
	raw, err := os.ReadFile(filepath.Join(dir, "attest"))
	if err != nil {
		return "", fmt.Errorf("read attest key: %w", err)
	}
	for at := time.Now().UTC(); ; at = at.Add(time.Second) { // another may have been rotated out this second
		old = filepath.Join(dir, "attest."+at.Format("20060102T150405Z"))
		if _, err := os.Stat(old); err != nil {
			break
		}
	}
	if err := durable.Write(old, raw, 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, nextAttest), filepath.Join(dir, "attest")); err != nil {
		return "", fmt.Errorf("put the new attest key into use: %w", err)
	}
	return old, nil
}
