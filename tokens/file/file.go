// Package file makes a token of an ordinary PKCS#12 file (RFC 7292) with one
// RSA or ECDSA key.
//
// The certificates in such a file are encrypted too, so there is nothing to
// list before [Driver.Unlock]. Unlock remembers the certificates alone; the
// key is decrypted again by each Login, and forgotten by Close. The library
// that reads the format makes copies of the password that cannot be wiped.
package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// MaxSize bounds a key file, in bytes.
const MaxSize = 1 << 20

// maxChain bounds the certificates that are kept of one file.
const maxChain = 32

// A Driver is one key file. It implements tokens.Driver.
type Driver struct {
	path string
	log  *slog.Logger

	mu       sync.Mutex
	closed   bool
	unlocked *content
}

// content is what Unlock remembers.
type content struct {
	sum   [32]byte // SHA-256 of the file
	cert  *cert.Certificate
	chain []*cert.Certificate
}

// New returns a Driver for the file at path. It does not read it.
func New(path string, log *slog.Logger) *Driver {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return &Driver{path: path, log: log}
}

// Name returns the file's base name.
func (d *Driver) Name() string { return filepath.Base(d.path) }

// Unlock reads the certificates of the file with its password. It returns a
// *tokens.PINError for a wrong password, tokens.ErrNotPresent when there is no
// file, and an error that says so for one that is malformed. A file altered
// in the encrypted part cannot be told from a wrong password.
func (d *Driver) Unlock(ctx context.Context, pin tokens.PIN) error {
	data, err := d.read()
	if err != nil {
		return err
	}
	key, err := decode(ctx, data, pin)
	if err != nil {
		return err
	}
	key.wipe()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unlocked = &content{sum: sha256.Sum256(data), cert: key.cert, chain: key.chain}
	return nil
}

// read reads the whole file.
func (d *Driver) read() ([]byte, error) {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, errors.New("key file closed")
	}
	f, err := os.Open(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key file: %w", tokens.ErrNotPresent)
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("key file: not a file")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("malformed key file: more than %d bytes", MaxSize)
	}
	return data, nil
}

func (d *Driver) tokenID() string {
	h := sha256.Sum256([]byte("file:" + d.path))
	return hex.EncodeToString(h[:16])
}

func (d *Driver) identityID(c *cert.Certificate) string {
	h := sha256.Sum256(slices.Concat([]byte(d.tokenID()), c.Raw))
	return hex.EncodeToString(h[:])
}

// present reports whether the file is there.
func (d *Driver) present() bool {
	st, err := os.Stat(d.path)
	return err == nil && st.Mode().IsRegular()
}

// List implements tokens.Driver: one token, with its identity after Unlock.
func (d *Driver) List(ctx context.Context) ([]tokens.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	closed, u := d.closed, d.unlocked
	d.mu.Unlock()
	if closed {
		return nil, errors.New("key file closed")
	}
	if !d.present() {
		return []tokens.Token{}, nil
	}
	t := tokens.Token{ID: d.tokenID(), Label: d.Name(), Library: d.path, PIN: tokens.PINOK, MinPIN: 1, MaxPIN: tokens.MaxPIN}
	if u != nil {
		i := tokens.Identity{ID: d.identityID(u.cert), TokenID: t.ID, Certificate: u.cert, Chain: u.chain, Label: d.Name()}
		algs, err := sigalg.ForKey(u.cert.PublicKey)
		if err != nil {
			i.Problem = err.Error()
		}
		i.Algorithms = algs
		t.Identities = []tokens.Identity{i}
	}
	return []tokens.Token{t}, nil
}

// Open implements tokens.Driver. Before Unlock there is nothing to open.
func (d *Driver) Open(ctx context.Context, identityID string) (tokens.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.unlocked == nil || d.identityID(d.unlocked.cert) != identityID || !d.present() {
		return nil, tokens.ErrNotPresent
	}
	return &session{d: d, content: d.unlocked}, nil
}

// pollEvery is the time between two looks at the file.
const pollEvery = time.Second

// Watch implements tokens.Driver: a file on a stick comes and goes.
func (d *Driver) Watch(ctx context.Context, events chan<- tokens.Event) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for was := d.present(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		is := d.present()
		if is == was {
			continue
		}
		was = is
		e := tokens.Event{Kind: tokens.Removed, TokenID: d.tokenID()}
		if is {
			e.Kind = tokens.Inserted
		}
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
	}
}

// Close forgets the certificates.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.unlocked = true, nil
	return nil
}

// same reports whether the file is still the one that was unlocked.
func (c *content) same(data []byte) bool {
	sum := sha256.Sum256(data)
	return bytes.Equal(sum[:], c.sum[:])
}
