package tokentest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"crypto/x509"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// An Env is a driver with at least one identity that can sign.
type Env struct {
	Driver tokens.Driver
	// PIN is right; WrongPIN is not, but looks like one.
	PIN, WrongPIN string
	// Certificates are those of all identities that can sign.
	Certificates []*x509.Certificate
}

// Run puts a driver through what every driver must do. open makes a fresh
// Env; closing the driver is Run's.
func Run(t *testing.T, open func(t *testing.T) Env) {
	for _, c := range []struct {
		name string
		f    func(t *testing.T, e Env)
	}{
		{"list", list},
		{"wrong PIN, then right", wrongThenRight},
		{"login needed", loginNeeded},
		{"every algorithm", everyAlgorithm},
		{"batch", batch},
		{"batch stopped", stopped},
		{"bad digests", badDigests},
		{"odd PINs", oddPINs},
		{"two sessions", twoSessions},
		{"unknown identity", unknownIdentity},
		{"ended context", endedContext},
		{"close", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() { _ = e.Driver.Close() })
			c.f(t, e)
		})
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Identities lists every identity of a driver that can sign.
func Identities(t testing.TB, d tokens.Driver) []tokens.Identity {
	t.Helper()
	list, err := d.List(context.Background())
	require.NoError(t, err)
	var out []tokens.Identity
	for _, k := range list {
		for _, i := range k.Identities {
			if len(i.Algorithms) > 0 {
				out = append(out, i)
			}
		}
	}
	return out
}

// Unlock opens an identity and logs in.
func Unlock(t testing.TB, d tokens.Driver, identityID, pin string) tokens.Session {
	t.Helper()
	s, err := d.Open(context.Background(), identityID)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Login(context.Background(), tokens.NewPIN([]byte(pin))))
	return s
}

// Digests returns n different digests for alg.
func Digests(alg sigalg.Algorithm, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		h := alg.Digest().New()
		_ = binary.Write(h, binary.BigEndian, uint64(i))
		out[i] = h.Sum(nil)
	}
	return out
}

// Verify checks a signature with the standard library alone.
func Verify(t testing.TB, alg sigalg.Algorithm, pub crypto.PublicKey, digest, sig []byte) {
	t.Helper()
	h := map[int]crypto.Hash{32: crypto.SHA256, 48: crypto.SHA384, 64: crypto.SHA512}[len(digest)]
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if alg == sigalg.RSAPSSSHA256 {
			assert.NoError(t, rsa.VerifyPSS(k, h, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
			return
		}
		assert.NoError(t, rsa.VerifyPKCS1v15(k, h, digest, sig))
	case *ecdsa.PublicKey:
		assert.True(t, ecdsa.VerifyASN1(k, digest, sig))
	default:
		assert.Fail(t, "unknown kind of key")
	}
}

func list(t *testing.T, e Env) {
	var first []tokens.Token
	for range 3 {
		got, err := e.Driver.List(bounded(t))
		require.NoError(t, err)
		require.NotEmpty(t, got)
		if first == nil {
			first = got
		}
		assert.Equal(t, first, got, "the list stays the same")
	}
	seen := map[string]bool{}
	var raw [][]byte
	for _, k := range first {
		assert.NotEmpty(t, k.ID)
		assert.NotEmpty(t, k.Library)
		assert.NotEmpty(t, k.PIN)
		for _, i := range k.Identities {
			assert.Equal(t, k.ID, i.TokenID)
			assert.False(t, seen[i.ID], "identities have IDs of their own")
			seen[i.ID] = true
			assert.Equal(t, len(i.Algorithms) == 0, i.Problem != "", "a key that cannot be used has a problem")
			if len(i.Algorithms) > 0 {
				raw = append(raw, i.Certificate.Raw)
			}
			for _, c := range i.Chain {
				assert.NotEqual(t, i.Certificate.Raw, c.Raw, "the chain is the issuers'")
			}
		}
	}
	var want [][]byte
	for _, c := range e.Certificates {
		want = append(want, c.Raw)
	}
	assert.ElementsMatch(t, want, raw)
	assert.NotEmpty(t, e.Driver.Name())
}

func wrongThenRight(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s, err := e.Driver.Open(bounded(t), id.ID)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()

	err = s.Login(bounded(t), tokens.NewPIN([]byte(e.WrongPIN)))
	var pinError *tokens.PINError
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINWrong, pinError.Reason)
	assert.NotContains(t, err.Error(), e.WrongPIN)

	require.NoError(t, s.Login(bounded(t), tokens.NewPIN([]byte(e.PIN))))
	sigs := signAll(t, s, id.Algorithms[0], Digests(id.Algorithms[0], 1))
	assert.Len(t, sigs, 1)

	// A PIN proves the signer even when the token is logged in already.
	err = s.Login(bounded(t), tokens.NewPIN([]byte(e.WrongPIN)))
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINWrong, pinError.Reason)
	_, err = signOne(t, s, id.Algorithms[0])
	assert.ErrorIs(t, err, tokens.ErrNotLoggedIn)
}

func signAll(t *testing.T, s tokens.Session, alg sigalg.Algorithm, digests [][]byte) [][]byte {
	t.Helper()
	var out [][]byte
	for sig, err := range s.Sign(bounded(t), alg, digests) {
		require.NoError(t, err)
		out = append(out, sig)
	}
	return out
}

// signOne asks for two signatures and returns what comes first.
func signOne(t *testing.T, s tokens.Session, alg sigalg.Algorithm) (sig []byte, err error) {
	t.Helper()
	n := 0
	for got, e := range s.Sign(bounded(t), alg, Digests(alg, 2)) {
		if n++; n == 1 {
			sig, err = got, e
		}
		if e != nil {
			assert.Nil(t, got)
			assert.Equal(t, 1, n, "nothing comes after an error")
		}
	}
	require.Positive(t, n)
	return sig, err
}

func loginNeeded(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s, err := e.Driver.Open(bounded(t), id.ID)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	_, err = signOne(t, s, id.Algorithms[0])
	assert.ErrorIs(t, err, tokens.ErrNotLoggedIn)
}

func everyAlgorithm(t *testing.T, e Env) {
	for _, id := range Identities(t, e.Driver) {
		s := Unlock(t, e.Driver, id.ID, e.PIN)
		for _, alg := range id.Algorithms {
			digests := Digests(alg, 3)
			sigs := signAll(t, s, alg, digests)
			require.Len(t, sigs, 3)
			for i, sig := range sigs {
				Verify(t, alg, id.Certificate.PublicKey, digests[i], sig)
			}
		}
		require.NoError(t, s.Close())
	}
}

func batch(t *testing.T, e Env) {
	for _, id := range Identities(t, e.Driver) {
		s := Unlock(t, e.Driver, id.ID, e.PIN)
		alg := id.Algorithms[0]
		digests := Digests(alg, 50)
		n := 0
		for sig, err := range s.Sign(bounded(t), alg, digests) {
			require.NoError(t, err)
			Verify(t, alg, id.Certificate.PublicKey, digests[n], sig)
			n++
		}
		assert.Equal(t, 50, n)
		require.NoError(t, s.Close())
	}
}

func stopped(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s := Unlock(t, e.Driver, id.ID, e.PIN)
	alg := id.Algorithms[0]
	n := 0
	for _, err := range s.Sign(bounded(t), alg, Digests(alg, 200)) {
		require.NoError(t, err)
		if n++; n == 5 {
			break
		}
	}
	// The session is as good as before.
	assert.Len(t, signAll(t, s, alg, Digests(alg, 2)), 2)
}

func badDigests(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s := Unlock(t, e.Driver, id.ID, e.PIN)
	alg := id.Algorithms[0]
	good := Digests(alg, 1)[0]
	for name, digests := range map[string][][]byte{
		"short":         {good[1:]},
		"long":          {append([]byte{1}, good...)},
		"empty":         {{}},
		"none":          {},
		"second of two": {good, good[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for sig, err := range s.Sign(bounded(t), alg, digests) {
				assert.Error(t, err)
				assert.Nil(t, sig)
				n++
			}
			assert.Equal(t, 1, n)
		})
	}
	t.Run("another key's algorithm", func(t *testing.T) {
		other := sigalg.ECDSAP384SHA384
		if id.Algorithms[0] == other {
			other = sigalg.RSASHA256
		}
		_, err := signOne(t, s, other)
		assert.ErrorIs(t, err, sigalg.ErrUnsupported)
	})
	t.Run("unknown algorithm", func(t *testing.T) {
		for _, err := range s.Sign(bounded(t), "none", [][]byte{good}) {
			assert.ErrorIs(t, err, sigalg.ErrUnsupported)
		}
	})
}

func oddPINs(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s, err := e.Driver.Open(bounded(t), id.ID)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	long := make([]byte, tokens.MaxPIN+1)
	_, _ = rand.Read(long)
	for name, c := range map[string]struct {
		pin    []byte
		reason tokens.PINReason
	}{
		"empty":    {nil, tokens.PINLength},
		"too long": {long, tokens.PINLength},
		"NUL":      {[]byte("12\x0034"), tokens.PINChars},
		"no UTF-8": {[]byte("12\xff34"), tokens.PINChars},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Login(bounded(t), tokens.NewPIN(c.pin))
			var pinError *tokens.PINError
			require.ErrorAs(t, err, &pinError)
			assert.Equal(t, c.reason, pinError.Reason)
		})
	}
	assert.NoError(t, s.Login(bounded(t), tokens.NewPIN([]byte(e.PIN))), "no try was lost")
}

func twoSessions(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	alg := id.Algorithms[0]
	first := Unlock(t, e.Driver, id.ID, e.PIN)
	second, err := e.Driver.Open(bounded(t), id.ID)
	require.NoError(t, err)
	_, err = signOne(t, second, alg)
	assert.ErrorIs(t, err, tokens.ErrNotLoggedIn, "one session's login is not another's")
	_, err = e.Driver.List(bounded(t))
	assert.NoError(t, err)

	// Whether the second waits for the first or not, in the end both have signed.
	done := make(chan error, 1)
	go func() { done <- second.Login(context.Background(), tokens.NewPIN([]byte(e.PIN))) }()
	assert.Len(t, signAll(t, first, alg, Digests(alg, 20)), 20)
	require.NoError(t, first.Close())
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		require.Fail(t, "the second login did not end")
	}
	assert.Len(t, signAll(t, second, alg, Digests(alg, 2)), 2)
	assert.NoError(t, second.Close())
}

func unknownIdentity(t *testing.T, e Env) {
	_, err := e.Driver.Open(bounded(t), "0123")
	assert.ErrorIs(t, err, tokens.ErrNotPresent)
}

func endedContext(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s := Unlock(t, e.Driver, id.ID, e.PIN)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for sig, err := range s.Sign(ctx, id.Algorithms[0], Digests(id.Algorithms[0], 2)) {
		assert.Nil(t, sig)
		assert.ErrorIs(t, err, context.Canceled)
	}
	assert.Len(t, signAll(t, s, id.Algorithms[0], Digests(id.Algorithms[0], 2)), 2)
}

func closed(t *testing.T, e Env) {
	id := Identities(t, e.Driver)[0]
	s := Unlock(t, e.Driver, id.ID, e.PIN)
	require.NoError(t, s.Close())
	assert.NoError(t, s.Close(), "closing twice is no error")
	_, err := signOne(t, s, id.Algorithms[0])
	assert.Error(t, err)
	require.NoError(t, e.Driver.Close())
	assert.NoError(t, e.Driver.Close())
	_, err = e.Driver.List(bounded(t))
	assert.Error(t, err)
}
