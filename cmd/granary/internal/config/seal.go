package config

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"granary/cmd/granary/internal/durable"
	"granary/ledger"
)

// ErrSealed reports keys that are encrypted, where nobody gave the passphrase.
var ErrSealed = errors.New("the home's keys are encrypted")

// ErrKeyMissing reports a prepared home without one of its keys. No other is made in
// its place: what belongs to the key would be lost without a word.
var ErrKeyMissing = errors.New("a key of the home is missing")

// ErrKeyMode reports a plain key that others on the machine may read, as a copy or
// a backup that was put back can be.
var ErrKeyMode = errors.New("others may read this key")

// ErrPassphrase reports a passphrase that opens no key, or a key file that was
// altered: the two cannot be told apart.
var ErrPassphrase = errors.New("wrong passphrase")

const (
	sealedMark = "granary-key-v1"
	saltSize   = 16

	// The second recommendation of RFC 9106 section 4: 64 MiB, for as long as it
	// takes, which is a fraction of a second.
	kdfPasses, kdfKiB, kdfLanes = 3, 64 << 10, 4

	maxKeyFile = 1 << 10

	// keyAway is the role whose key may be kept elsewhere: a signer's.
	keyAway = "consensus"
)

// sealer encrypts and decrypts keys under one passphrase and salt.
type sealer struct {
	salt [saltSize]byte
	aead cipher.AEAD
}

func newSealer(passphrase []byte, salt [saltSize]byte) (*sealer, error) {
	key := argon2.IDKey(passphrase, salt[:], kdfPasses, kdfKiB, kdfLanes, chacha20poly1305.KeySize)
	aead, err := chacha20poly1305.NewX(key)
	return &sealer{salt, aead}, err
}

// ring opens keys that are sealed under one passphrase, by their salts: files that
// come from different backups have different ones.
type ring map[[saltSize]byte]*sealer

// keyFile is a file of keys/: one key, plain or sealed, or the public half of one
// that is kept elsewhere.
type keyFile struct {
	path   string
	seed   []byte // nil if it is sealed, or away
	public ledger.PublicKey
	away   bool
	salt   [saltSize]byte
	nonce  []byte
	box    []byte
}

// role is what the key is for: the file's name up to a dot. It is sealed with the
// key, so that none can be put in the place of another.
func (k keyFile) role() string {
	role, _, _ := strings.Cut(filepath.Base(k.path), ".")
	return role
}

// bound is what is not secret, and cannot be altered either.
func (k keyFile) bound() []byte {
	return []byte(sealedMark + " " + k.role() + " " + k.public.String())
}

// readKeyFile reads a key as it is stored.
func readKeyFile(path string) (keyFile, error) {
	k := keyFile{path: path}
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("read key: %w", err)
	}
	damaged := fmt.Errorf("key %s is neither %d hex digits nor a sealed key: restore it from a backup", path, 2*ed25519.SeedSize)
	if len(raw) > maxKeyFile {
		return k, damaged
	}
	fields := strings.Fields(string(raw))
	if len(fields) == 5 && fields[0] == sealedMark {
		var parts [4][]byte
		for i := range parts {
			if parts[i], err = hex.DecodeString(fields[i+1]); err != nil {
				return k, damaged
			}
		}
		if len(parts[0]) != len(k.public) || len(parts[1]) != saltSize || len(parts[2]) != chacha20poly1305.NonceSizeX {
			return k, damaged
		}
		k.public, k.salt, k.nonce, k.box = ledger.PublicKey(parts[0]), [saltSize]byte(parts[1]), parts[2], parts[3]
		return k, nil
	}
	if len(fields) == 2 && fields[0] == sealedMark && k.role() == keyAway {
		k.away = true
		if err := k.public.UnmarshalText([]byte(fields[1])); err != nil {
			return k, damaged
		}
		return k, nil
	}
	if k.seed, err = hex.DecodeString(strings.TrimSpace(string(raw))); err != nil || len(k.seed) != ed25519.SeedSize {
		return k, damaged
	}
	k.public = ledger.KeyOf(ed25519.NewKeyFromSeed(k.seed))
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" { // which has no such modes
		err = fmt.Errorf("%w: `chmod 600 %s`", ErrKeyMode, path)
	}
	return k, err
}

// open returns the private key, nil if it is away: ErrSealed if that takes a
// passphrase which r was not made of, ErrPassphrase if it was another.
func (k keyFile) open(r ring) (ed25519.PrivateKey, error) {
	if k.away {
		return nil, nil
	}
	seed := k.seed
	if seed == nil {
		s := r[k.salt]
		if s == nil {
			return nil, fmt.Errorf("%w: %s", ErrSealed, k.path)
		}
		var err error
		if seed, err = s.aead.Open(nil, k.nonce, k.box, k.bound()); err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("%w, or %s was altered", ErrPassphrase, k.path)
		}
	}
	key := ed25519.NewKeyFromSeed(seed)
	if ledger.KeyOf(key) != k.public {
		return nil, fmt.Errorf("%w, or %s was altered", ErrPassphrase, k.path)
	}
	return key, nil
}

// write stores a key: sealed, or plain if s is nil.
func (k keyFile) write(key ed25519.PrivateKey, s *sealer) error {
	if s == nil {
		return durable.Write(k.path, []byte(hex.EncodeToString(key.Seed())+"\n"), 0o600)
	}
	k.public = ledger.KeyOf(key)
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return fmt.Errorf("seal key: %w", err)
	}
	box := s.aead.Seal(nil, nonce, key.Seed(), k.bound())
	line := fmt.Sprintf("%s %s %x %x %x\n", sealedMark, k.public, s.salt, nonce, box)
	return durable.Write(k.path, []byte(line), 0o600)
}

// makeKey makes the key of a file that is not there: sealed, or plain if s is nil.
func makeKey(path string, s *sealer) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // nil, or who knows what is there
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	return keyFile{path: path}.write(key, s)
}

// isKey reports whether a file of keys/ is one of ours: a key in use, one that is
// being rotated in, or one of before.
func isKey(name string) bool {
	role, _, _ := strings.Cut(name, ".")
	return slices.Contains(keyNames, role)
}

// inUse reports whether a node reads a file of keys/: the four, and the one that is
// being rotated in.
func inUse(name string) bool { return name == nextAttest || slices.Contains(keyNames, name) }

// keyFiles reads the keys of a home that are of a kind: isKey, or inUse.
func keyFiles(dir string, kind func(name string) bool) ([]keyFile, error) {
	entries, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	var files []keyFile
	for _, e := range entries {
		if !kind(e.Name()) {
			continue
		}
		k, err := readKeyFile(filepath.Join(dir, "keys", e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, k)
	}
	return files, nil
}

// tidy removes what a crash left of writing keys, and returns an error for a file
// that holds a key in plain under a name that nobody knows.
func tidy(dir string) error {
	keys := filepath.Join(dir, "keys")
	entries, err := os.ReadDir(keys)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(keys, e.Name())
		name, _, temporary := strings.Cut(strings.TrimPrefix(e.Name(), "."), "-")
		switch {
		case isKey(e.Name()) || !e.Type().IsRegular():
		case temporary && e.Name()[0] == '.' && isKey(name):
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove what a crash left: %w", err)
			}
		default:
			if k, err := readKeyFile(path); (err == nil || errors.Is(err, ErrKeyMode)) && k.seed != nil {
				return fmt.Errorf("%s holds a key in plain: move it out of %s, or remove it", path, keys)
			}
		}
	}
	return nil
}

// opener returns what opens the sealed ones among files. It tries all of them.
func opener(files []keyFile, passphrase []byte) (ring, error) {
	r := ring{}
	for _, k := range files {
		if k.seed != nil || k.away {
			continue
		}
		if r[k.salt] == nil {
			s, err := newSealer(passphrase, k.salt)
			if err != nil {
				return nil, err
			}
			r[k.salt] = s
		}
		if _, err := k.open(r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// everyKey tidies keys/ and reads every key there is, with what opens the sealed ones.
func everyKey(dir string, passphrase []byte) ([]keyFile, ring, error) {
	if err := tidy(dir); err != nil {
		return nil, nil, err
	}
	files, err := keyFiles(dir, isKey)
	if err != nil {
		return nil, nil, err
	}
	r, err := opener(files, passphrase)
	return files, r, err
}

// Seal encrypts the keys in dir under a passphrase, and, if no home was prepared
// there yet, makes those that are not there, so that they are never written in plain.
// Keys that are sealed must be so under the same passphrase: interrupted, it can be
// run again. No node may run on dir.
func Seal(dir string, passphrase []byte) error {
	if len(passphrase) == 0 {
		return fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return fmt.Errorf("make home: %w", err)
	}
	files, r, err := everyKey(dir, passphrase)
	if err != nil {
		return err
	}
	var salt [saltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return fmt.Errorf("seal keys: %w", err)
	}
	for known := range r {
		salt = known // one that there is
	}
	s := r[salt]
	if s == nil {
		if s, err = newSealer(passphrase, salt); err != nil {
			return err
		}
	}
	for _, k := range files {
		if k.seed == nil {
			continue
		}
		if err := k.write(ed25519.NewKeyFromSeed(k.seed), s); err != nil {
			return err
		}
	}
	if prepared(dir) {
		return nil
	}
	for _, name := range keyNames {
		if err := makeKey(filepath.Join(dir, "keys", name), s); err != nil {
			return err
		}
	}
	return nil
}

// Unseal writes the keys in dir in plain again. No node may run on dir.
func Unseal(dir string, passphrase []byte) error {
	files, r, err := everyKey(dir, passphrase)
	if err != nil {
		return err
	}
	for _, k := range files {
		if k.seed != nil || k.away {
			continue
		}
		key, err := k.open(r)
		if err == nil {
			err = k.write(key, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sealed reports whether the home's private keys still await their passphrase:
// see Unlock. Its public ones are known in any case.
func (h *Home) Sealed() bool {
	return h.Node == nil || h.Publisher == nil || h.Consensus == nil && !h.Away || h.Attest == nil
}

// Encrypted reports whether all keys of the home are encrypted on the disk.
func (h *Home) Encrypted() bool { return h.encrypted }

// Unlock opens the home's keys: ErrPassphrase if it is not the one.
func (h *Home) Unlock(passphrase []byte) error {
	files, err := keyFiles(h.Dir, inUse)
	if err != nil {
		return err
	}
	if h.ring, err = opener(files, passphrase); err != nil {
		return err
	}
	return h.readKeys()
}

// readKeys reads the keys in use, as far as they can be opened.
func (h *Home) readKeys() error {
	h.encrypted = true
	for i, key := range []struct {
		private *ed25519.PrivateKey
		public  *ledger.PublicKey
	}{
		{&h.Node, &h.Public.Node}, {&h.Publisher, &h.Public.Publisher}, {&h.Consensus, &h.Public.Consensus}, {&h.Attest, &h.Public.Attest},
	} {
		path := filepath.Join(h.Dir, "keys", keyNames[i])
		k, err := readKeyFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", ErrKeyMissing, path)
		}
		if err != nil {
			return err
		}
		*key.public = k.public
		if k.away {
			h.Away = true
			continue
		}
		if h.encrypted = h.encrypted && k.seed == nil; k.seed == nil && h.newest == ([saltSize]byte{}) {
			h.newest = k.salt
		}
		if *key.private, err = k.open(h.ring); err != nil && (!errors.Is(err, ErrSealed) || h.ring != nil) {
			return err
		}
	}
	return nil
}
