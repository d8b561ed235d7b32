package pkcs11

import (
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"

	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/wire"
)

// ahead is how many signatures may be made before they are taken.
const ahead = 16

// mechanismOf returns the mechanism by which a token makes a.
func mechanismOf(a sigalg.Algorithm) (mechanism uint, ok bool) {
	switch a {
	case sigalg.RSASHA256, sigalg.RSASHA384, sigalg.RSASHA512:
		return p11.CKM_RSA_PKCS, true
	case sigalg.RSAPSSSHA256:
		return p11.CKM_RSA_PKCS_PSS, true
	case sigalg.ECDSAP256SHA256, sigalg.ECDSAP384SHA384:
		return p11.CKM_ECDSA, true
	}
	return 0, false
}

// task is how one algorithm is done on the token.
type task struct {
	alg       sigalg.Algorithm
	mechanism []*p11.Mechanism
	ecdsa     bool
}

func newTask(a sigalg.Algorithm) (*task, error) {
	m, ok := mechanismOf(a)
	if !ok {
		return nil, fmt.Errorf("%s: %w", a, sigalg.ErrUnsupported)
	}
	t := &task{alg: a, ecdsa: m == p11.CKM_ECDSA}
	var params any
	if m == p11.CKM_RSA_PKCS_PSS {
		params = p11.NewPSSParams(p11.CKM_SHA256, p11.CKG_MGF1_SHA256, uint(a.Digest().Size()))
	}
	t.mechanism = []*p11.Mechanism{p11.NewMechanism(m, params)}
	return t, nil
}

// input returns what C_Sign gets for a digest: for CKM_RSA_PKCS the DigestInfo
// of RFC 8017 section 9.2, otherwise the digest itself.
func (t *task) input(digest []byte) ([]byte, error) {
	if t.mechanism[0].Mechanism != p11.CKM_RSA_PKCS {
		return digest, nil
	}
	return asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}{pkix.AlgorithmIdentifier{Algorithm: t.alg.Digest().Identifier().OID, Parameters: asn1.NullRawValue}, digest})
}

// output turns a token's signature into the layout of package sigalg. An
// ECDSA signature comes as r||s, each half big-endian and padded to the length
// of the group order (PKCS#11 v2.40 mechanisms, section 2.3.1).
func (t *task) output(raw []byte) ([]byte, error) {
	if !t.ecdsa {
		return raw, nil
	}
	if len(raw) == 0 || len(raw)%2 != 0 {
		return nil, fmt.Errorf("r||s of %d bytes: %w", len(raw), tokens.ErrBadSignature)
	}
	n := len(raw) / 2
	r, s := new(big.Int).SetBytes(raw[:n]), new(big.Int).SetBytes(raw[n:])
	if r.Sign() == 0 || s.Sign() == 0 {
		return nil, fmt.Errorf("r or s is zero: %w", tokens.ErrBadSignature)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

// Sign implements tokens.Session.
func (s *session) Sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := s.sign(ctx, alg, digests, yield); err != nil {
			yield(nil, err)
		}
	}
}

// errStopped: the caller wants no more.
var errStopped = errors.New("stopped")

func (s *session) sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte, yield func([]byte, error) bool) error {
	if !s.loggedIn {
		return tokens.ErrNotLoggedIn
	}
	if err := wire.CheckDigests(alg, digests); err != nil {
		return err
	}
	if usable, err := sigalg.ForKey(s.known.cert.PublicKey); err != nil || !slices.Contains(usable, alg) {
		return fmt.Errorf("%s with this key: %w", alg, sigalg.ErrUnsupported)
	}
	t, err := newTask(alg)
	if err != nil {
		return err
	}
	// The first one alone: it settles which key it is.
	sig, err := s.first(ctx, t, digests[0])
	if err != nil {
		return err
	}
	if !yield(sig, nil) || len(digests) == 1 {
		return nil
	}
	err = s.batch(ctx, t, digests[1:], yield)
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// first makes one signature with each key that can be the certificate's until
// one fits.
func (s *session) first(ctx context.Context, t *task, digest []byte) ([]byte, error) {
	var failed error
	for _, k := range s.keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		raw, err := s.one(s.sh, k, t, digest)
		if err == nil {
			raw, err = s.check(t, digest, raw)
		}
		if err == nil {
			s.keys = []keyObject{k}
			return raw, nil
		}
		if failed == nil {
			failed = err
		}
		if !errors.Is(err, tokens.ErrBadSignature) && !otherKey(err) {
			return nil, err
		}
	}
	return nil, failed
}

// otherKey reports whether the key is of another size, kind or purpose than
// the mechanism wants.
func otherKey(err error) bool {
	c, ok := errors.AsType[*tokens.CallError](err)
	return ok && (c.Code == p11.CKR_KEY_SIZE_RANGE || c.Code == p11.CKR_KEY_TYPE_INCONSISTENT ||
		c.Code == p11.CKR_KEY_FUNCTION_NOT_PERMITTED || c.Code == p11.CKR_DATA_LEN_RANGE)
}

// one makes one signature on a PKCS#11 session and returns it as the token
// gave it.
func (s *session) one(sh p11.SessionHandle, key keyObject, t *task, digest []byte) ([]byte, error) {
	in, err := t.input(digest)
	if err != nil {
		return nil, err
	}
	leave, err := s.d.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.d.p.SignInit(sh, t.mechanism, key.handle); err != nil {
		return nil, s.failed("C_SignInit", err)
	}
	if key.always {
		if err := s.again(); err != nil {
			return nil, err
		}
	}
	raw, err := s.d.p.Sign(sh, in)
	if err != nil {
		return nil, s.failed("C_Sign", err)
	}
	return raw, nil
}

// check returns the token's signature in our layout if it is good.
func (s *session) check(t *task, digest, raw []byte) ([]byte, error) {
	sig, err := t.output(raw)
	if err != nil {
		return nil, err
	}
	if err := sigalg.Verify(t.alg, s.known.cert.PublicKey, digest, sig); err != nil {
		return nil, fmt.Errorf("%w: %w", tokens.ErrBadSignature, err)
	}
	return sig, nil
}

type made struct {
	raw []byte
	err error
}

// batch makes signatures on one or two PKCS#11 sessions, while the caller's
// goroutine checks them and yields them in order.
func (s *session) batch(ctx context.Context, t *task, digests [][]byte, yield func([]byte, error) bool) error {
	sessions := s.workers(t, len(digests))
	var (
		next    atomic.Int64
		wg      sync.WaitGroup
		stop    = make(chan struct{})
		room    = make(chan struct{}, ahead)
		results = make([]chan made, len(digests))
		key     = s.keys[0]
	)
	for i := range results {
		results[i] = make(chan made, 1)
	}
	defer wg.Wait()
	defer close(stop)
	for _, sh := range sessions {
		wg.Go(func() {
			for {
				select {
				case room <- struct{}{}:
				case <-stop:
					return
				}
				i := int(next.Add(1)) - 1
				if i >= len(digests) {
					return
				}
				raw, err := s.one(sh, key, t, digests[i])
				results[i] <- made{raw, err}
				if err != nil {
					return
				}
			}
		})
	}
	for i, d := range digests {
		var m made
		select {
		case m = <-results[i]:
		case <-ctx.Done():
			return ctx.Err()
		}
		<-room
		if m.err != nil {
			return m.err
		}
		sig, err := s.check(t, d, m.raw)
		if err != nil {
			return err
		}
		if !yield(sig, nil) {
			return errStopped
		}
	}
	return nil
}

// workers returns the PKCS#11 sessions for a batch of n. A second one pays for
// RSA alone: an ECDSA signature is made in a tenth of the time, and with two
// sessions SoftHSM was measured to make fewer of them, not more.
func (s *session) workers(t *task, n int) []p11.SessionHandle {
	if !s.d.scales || t.ecdsa || s.keys[0].always || n < 4 || runtime.GOMAXPROCS(0) < 2 {
		return []p11.SessionHandle{s.sh}
	}
	if s.second == 0 {
		leave, err := s.d.enter()
		if err != nil {
			return []p11.SessionHandle{s.sh}
		}
		defer leave()
		sh, err := s.d.p.OpenSession(s.slot, p11.CKF_SERIAL_SESSION)
		if err != nil {
			return []p11.SessionHandle{s.sh}
		}
		s.second = sh
	}
	return []p11.SessionHandle{s.sh, s.second}
}
