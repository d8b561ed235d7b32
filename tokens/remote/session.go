package remote

import (
	"context"
	"fmt"
	"iter"

	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/wire"
)

// session is a session in a token process; it dies with it.
type session struct {
	d        *Driver
	c        *child
	id       uint64
	identity string
	timeouts Timeouts
	closed   bool
}

// Login implements tokens.Session.
func (s *session) Login(ctx context.Context, pin tokens.PIN) error {
	if len(pin.Bytes()) > tokens.MaxPIN {
		return &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK}
	}
	s.c.secret.Add(1)
	defer s.c.secret.Add(-1)
	call := func() error {
		_, err := s.c.call(ctx, wire.Request{Op: wire.Login, Session: s.id}, pin.Bytes(), s.timeouts.Login)
		return err
	}
	if pin.Empty() { // a person is at the pad
		return call()
	}
	l := s.d.lookout(ctx, s.c, s.identity)
	return l.stop(call())
}

// Sign implements tokens.Session.
func (s *session) Sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := s.sign(ctx, alg, digests, yield); err != nil {
			yield(nil, err)
		}
	}
}

func (s *session) sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte, yield func([]byte, error) bool) error {
	l := s.d.lookout(ctx, s.c, s.identity)
	return l.stop(s.batch(ctx, alg, digests, yield, l))
}

func (s *session) batch(ctx context.Context, alg sigalg.Algorithm, digests [][]byte, yield func([]byte, error) bool, l *lookout) error {
	payload, err := wire.PackDigests(alg, digests)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	q := wire.Request{Op: wire.Sign, Session: s.id, Algorithm: alg, Count: len(digests)}
	id, k, err := s.c.send(q, payload, len(digests)+1, false)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		r, err := s.c.await(ctx, id, k, s.timeouts.Sign)
		if err != nil {
			return err
		}
		switch {
		case !r.More && n == len(digests):
			return nil
		case !r.More, n == len(digests), len(r.payload) == 0, len(r.payload) > maxSignature:
			return s.c.kill(fmt.Errorf("%w: signature %d of %d", wire.ErrMalformed, n+1, len(digests)))
		}
		if !yield(r.payload, nil) {
			s.c.abandon(id, k)
			return nil
		}
		l.again()
	}
}

// maxSignature bounds one signature, in bytes.
const maxSignature = 4 << 10

// Close implements tokens.Session. A session whose process has ended is closed
// already.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	l := s.d.lookout(context.Background(), s.c, s.identity)
	_, err := s.c.call(context.Background(), wire.Request{Op: wire.Close, Session: s.id}, nil, s.timeouts.Call)
	err = l.stop(err)
	if !s.c.alive() {
		return nil
	}
	return err
}
