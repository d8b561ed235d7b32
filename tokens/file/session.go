package file

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"

	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/wire"
)

// session is the file's key, decrypted between Login and Close.
type session struct {
	d       *Driver
	content *content
	key     *key
	closed  bool
}

// Login implements tokens.Session: it decrypts the key. A file that is not the
// one that was unlocked is tokens.ErrNotPresent.
func (s *session) Login(ctx context.Context, pin tokens.PIN) error {
	s.forget()
	if s.closed {
		return tokens.ErrNotPresent
	}
	data, err := s.d.read()
	if err != nil {
		return err
	}
	if !s.content.same(data) {
		return fmt.Errorf("key file changed: %w", tokens.ErrNotPresent)
	}
	s.key, err = decode(ctx, data, pin)
	return err
}

func (s *session) forget() {
	if s.key != nil {
		s.key.wipe()
		s.key = nil
	}
}

// Sign implements tokens.Session.
func (s *session) Sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := s.ready(alg, digests); err != nil {
			yield(nil, err)
			return
		}
		for _, d := range digests {
			sig, err := s.one(ctx, alg, d)
			if !yield(sig, err) || err != nil {
				return
			}
		}
	}
}

func (s *session) ready(alg sigalg.Algorithm, digests [][]byte) error {
	if s.key == nil {
		return tokens.ErrNotLoggedIn
	}
	if err := wire.CheckDigests(alg, digests); err != nil {
		return err
	}
	if usable, err := sigalg.ForKey(s.key.cert.PublicKey); err != nil || !slices.Contains(usable, alg) {
		return fmt.Errorf("%s with this key: %w", alg, sigalg.ErrUnsupported)
	}
	return nil
}

func (s *session) one(ctx context.Context, alg sigalg.Algorithm, digest []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sig, err := s.key.signer.Sign(rand.Reader, digest, sigalg.SignerOpts(alg))
	if err != nil {
		return nil, err
	}
	if err := sigalg.Verify(alg, s.key.cert.PublicKey, digest, sig); err != nil {
		return nil, fmt.Errorf("%w: %w", tokens.ErrBadSignature, err)
	}
	return sig, nil
}

// Close implements tokens.Session.
func (s *session) Close() error {
	s.closed = true
	s.forget()
	return nil
}
