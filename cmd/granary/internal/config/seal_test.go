package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"granary/cmd/granary/internal/config"
	"granary/ledger"
)

func TestSealedKeysOpenWithTheirPassphraseOnly(t *testing.T) {
	dir := t.TempDir()
	plain, err := config.Keys(dir)
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("correct horse")
	// As if it had been interrupted: one is sealed, the others are plain.
	if err := config.Seal(dir, secret); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node", "consensus", "attest"} {
		if err := os.Remove(filepath.Join(dir, "keys", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := config.Seal(dir, secret); err != nil {
		t.Fatal(err)
	}
	h, err := config.Keys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Sealed() || !h.Encrypted() || h.Publisher != nil || h.Public.Publisher != plain.Public.Publisher {
		t.Errorf("sealed: %+v", h.Public)
	}
	if _, err := h.AttestKeys(); !errors.Is(err, config.ErrSealed) {
		t.Errorf("attest keys of a sealed home: %v", err)
	}
	if _, err := h.NextAttest(); !errors.Is(err, config.ErrSealed) {
		t.Errorf("a new key in a sealed home: %v", err)
	}
	if err := h.Unlock([]byte("battery staple")); !errors.Is(err, config.ErrPassphrase) || !h.Sealed() {
		t.Errorf("another passphrase: %v", err)
	}
	if err := h.Unlock(secret); err != nil || h.Sealed() || ledger.KeyOf(h.Publisher) != plain.Public.Publisher {
		t.Fatalf("unlocked: %v", err)
	}
	next, err := h.NextAttest()
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "keys", "attest.next")); err != nil || string(raw[:15]) != "granary-key-v1 " {
		t.Errorf("the next attest key is stored as %q, %v", raw, err)
	}
	if _, err := h.RotateAttest(); err != nil {
		t.Fatal(err)
	}
	if keys, err := h.AttestKeys(); err != nil || len(keys) != 1 || !keys[0].Equal(next) {
		t.Errorf("attest keys after rotation: %d, %v", len(keys), err)
	}
	if err := config.Unseal(dir, secret); err != nil {
		t.Fatal(err)
	}
	if h, err = config.Keys(dir); err != nil || h.Encrypted() || !h.Publisher.Equal(plain.Publisher) || !h.Attest.Equal(next) {
		t.Errorf("in plain again: %v", err)
	}
	checkModes(t, dir)
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "keys"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// FuzzKeyFile has a damaged key refused, whatever it holds: no panic, and no
// other key.
func FuzzKeyFile(f *testing.F) {
	dir := f.TempDir()
	h, err := config.Keys(dir)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "keys", "publisher")
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("granary-key-v1 " + h.Public.Publisher.String() + " 00 00 00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Keys(dir)
		if err == nil && got.Publisher != nil && ledger.KeyOf(got.Publisher) != got.Public.Publisher {
			t.Errorf("%q: a private key of another", raw)
		}
	})
}
