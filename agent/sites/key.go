package sites

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// secretSize is the length of the secret, in bytes.
const secretSize = 32

// Key returns the ed25519 key of this computer's user for origin, the same at
// each call: its seed is HKDF-SHA-256 (RFC 5869) of the secret with the salt
// "tanba site key 1" and the origin as info.
func (s *Store) Key(origin string) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, s.secret, []byte("tanba site key 1"), origin, ed25519.SeedSize)
	if err != nil {
		panic("sites: HKDF of 32 bytes: " + err.Error()) // only lengths can fail
	}
	return ed25519.NewKeyFromSeed(seed)
}

// openSecret reads the secret, or makes it. A shorter file was left by a crash
// while it was being made, before any site could have seen a key of it, and is
// replaced.
func openSecret(path string) ([]byte, error) {
	b, err := readSecret(path)
	if err == nil && len(b) < secretSize {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		err = fs.ErrNotExist
	} else if err == nil {
		return b, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	_, err = f.Write(secret)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return secret, nil
}

// readSecret reads the file and closes it to others.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, secretSize+1))
	if err == nil && len(b) > secretSize {
		err = fmt.Errorf("malformed secret: more than %d bytes", secretSize)
	}
	return b, errors.Join(err, f.Close(), os.Chmod(path, 0o600))
}
