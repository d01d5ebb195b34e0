package config_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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
	for _, name := range []string{"node", "consensus", "attest"} { // no home is prepared there yet
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

// A key that is gone is not replaced by another, plain one: what belonged to it would
// be lost without a word.
func TestMissingKeyIsReported(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		dir := t.TempDir()
		h, err := config.Keys(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Found("granary-test", netip.MustParseAddr("127.0.0.1"), 4747); err != nil {
			t.Fatal(err)
		}
		if sealed {
			if err := config.Seal(dir, []byte("correct horse")); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, "keys", "publisher")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		network, err := config.LoadNetwork(filepath.Join(dir, "network.json"))
		if err != nil {
			t.Fatal(err)
		}
		_, opened := config.OpenHome(dir)
		_, again := config.Init(dir, network)
		for _, err := range []error{opened, again} {
			if !errors.Is(err, config.ErrKeyMissing) {
				t.Errorf("sealed %v: %v", sealed, err)
			}
		}
		if err := config.Seal(dir, []byte("correct horse")); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("sealed %v: there is another key: %v", sealed, err)
		}
	}
}

// What a crash left of writing a key is removed, and a plain key under another name
// is told of: else it would stay readable.
func TestNoPlainKeyIsLeft(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Keys(dir); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys")
	raw, err := os.ReadFile(filepath.Join(keys, "attest"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".attest.next-123", "attest-copy"} {
		if err := os.WriteFile(filepath.Join(keys, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := config.Seal(dir, []byte("correct horse")); err == nil || !strings.Contains(err.Error(), "attest-copy") {
		t.Errorf("a copy is there: %v", err)
	}
	if err := os.Remove(filepath.Join(keys, "attest-copy")); err != nil {
		t.Fatal(err)
	}
	if err := config.Seal(dir, []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(keys)
	if err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A key from another backup, or a damaged one that is not in use, keeps no node from
// starting.
func TestKeysOfOtherOccasions(t *testing.T) {
	secret := []byte("correct horse")
	dir, other := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, other} {
		if err := config.Seal(d, secret); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(other, "keys", "publisher"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"publisher": raw, "publisher.old": []byte("damaged")} {
		if err := os.WriteFile(filepath.Join(dir, "keys", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h, err := config.Keys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Unlock(secret); err != nil || h.Sealed() {
		t.Errorf("unlock: %v", err)
	}
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

// TestConsensusKeyMayBeAway has only the public half of it in a home, before and
// after the others are encrypted. No other key may be away.
func TestConsensusKeyMayBeAway(t *testing.T) {
	dir := t.TempDir()
	h, err := config.Init(dir, config.Network{Genesis: genesis("one")})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys", "consensus")
	away := "granary-key-v1 " + h.Public.Consensus.String() + "\n"
	if err := os.WriteFile(path, []byte(away), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := []byte("open")
	for what, change := range map[string]func() error{
		"plain": func() error { return nil },
		"encrypted and decrypted": func() error {
			return errors.Join(config.Seal(dir, secret), config.Seal(dir, secret), config.Unseal(dir, secret))
		},
		"encrypted": func() error { return config.Seal(dir, secret) },
	} {
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		again, err := config.OpenHome(dir)
		if err == nil && again.Sealed() {
			err = again.Unlock(secret)
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if again.Sealed() || !again.Away || again.Consensus != nil || again.Public != h.Public || !again.Attest.Equal(h.Attest) {
			t.Errorf("%s: home %+v", what, again)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != away {
			t.Errorf("%s: key file %q, %v", what, raw, err)
		}
	}
	for _, role := range []string{"node", "publisher", "attest"} {
		other := filepath.Join(dir, "keys", role)
		was, err := os.ReadFile(other)
		if err == nil {
			err = os.WriteFile(other, []byte(away), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h, err := config.OpenHome(dir); err == nil {
			t.Errorf("no private %s key: %+v", role, h)
		}
		if err := os.WriteFile(other, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeyThatOthersMayReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := config.Init(dir, config.Network{Genesis: genesis("one")}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys", "attest")
	for mode, want := range map[fs.FileMode]error{0o644: config.ErrKeyMode, 0o640: config.ErrKeyMode, 0o604: config.ErrKeyMode, 0o600: nil, 0o400: nil} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := config.OpenHome(dir); !errors.Is(err, want) {
			t.Errorf("mode %o: %v, want %v", mode, err, want)
		}
	}
	// What is encrypted may lie anywhere.
	if err := errors.Join(os.Chmod(path, 0o600), config.Seal(dir, []byte("open")), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := config.OpenHome(dir); err != nil {
		t.Errorf("an encrypted key: %v", err)
	}
}

// TestStrayPlainKeyIsNotPassedOver has a copy of a key under a name of its own beside
// the others, as somebody's backup can be: no home with it counts as encrypted.
func TestStrayPlainKeyIsNotPassedOver(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o644} {
		dir := t.TempDir()
		if _, err := config.Init(dir, config.Network{Genesis: genesis("one")}); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(filepath.Join(dir, "keys", "attest"))
		stray := filepath.Join(dir, "keys", "backup")
		if err = errors.Join(err, os.WriteFile(stray, key, 0o600), os.Chmod(stray, mode)); err != nil {
			t.Fatal(err)
		}
		if err := config.Seal(dir, []byte("open")); err == nil {
			t.Errorf("mode %o: encrypted, with a plain key beside", mode)
		}
	}
}

// TestKeysAroundOneThatIsAway has the public half of the consensus key put there
// before the others are made.
func TestKeysAroundOneThatIsAway(t *testing.T) {
	dir := t.TempDir()
	other, err := config.Keys(t.TempDir())
	path := filepath.Join(dir, "keys", "consensus")
	if err = errors.Join(err, os.Mkdir(filepath.Dir(path), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("granary-key-v1 "+other.Public.Consensus.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := config.Init(dir, config.Network{Genesis: genesis("one")})
	if err != nil {
		t.Fatal(err)
	}
	if !h.Away || h.Sealed() || h.Public.Consensus != other.Public.Consensus {
		t.Errorf("home %+v", h)
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
	path := filepath.Join(dir, "keys", "consensus") // which has one form more than others
	raw, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("granary-key-v1 " + h.Public.Consensus.String()))
	f.Add([]byte("granary-key-v1 " + h.Public.Consensus.String() + " 00 00 00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Keys(dir)
		if err == nil && got.Consensus != nil && ledger.KeyOf(got.Consensus) != got.Public.Consensus {
			t.Errorf("%q: a private key of another", raw)
		}
		if err == nil && got.Away && got.Consensus != nil {
			t.Errorf("%q: a private key that is away", raw)
		}
	})
}
