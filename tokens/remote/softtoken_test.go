package remote_test

import (
	"context"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts/softtoken"
	"tanba/tokens"
	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

var softModule = sync.OnceValues(func() (string, error) { return softtoken.Build(moduleDir) })

// sharedPKI spares each test its own RSA key.
var (
	sharedOnce sync.Once
	sharedPKI  *tokentest.PKI
)

// moduleDir is made and removed by TestMain.
var moduleDir string

// soft makes a soft token with the pairs of a new PKI.
func soft(t *testing.T) (*remote.Driver, *softtoken.Reader, *tokentest.PKI) {
	t.Helper()
	module, err := softModule()
	require.NoError(t, err)
	dir := t.TempDir()
	r, err := softtoken.Create(dir, "Reader 0", softtoken.Info{Label: "Директор", Serial: "0001", Manufacturer: "Tanba", Model: "soft", PIN: "1234"})
	require.NoError(t, err)
	sharedOnce.Do(func() { sharedPKI = tokentest.NewPKI(t) })
	p := sharedPKI
	for _, x := range p.Pairs {
		require.NoError(t, r.Add(softtoken.Object{Label: x.Name, ID: x.ID, Certificate: x.Certificate.Raw, Key: x.Key}))
	}
	require.NoError(t, r.Add(softtoken.Object{Label: "CA", ID: []byte{0xCA}, Certificate: p.CA.Raw}))
	d, err := remote.New(remote.Config{
		Host: tokentest.BuildHost(t), Library: module, Env: []string{softtoken.EnvDir + "=" + dir},
		Timeouts: remote.Timeouts{Call: 5 * time.Second, Login: 5 * time.Second, Sign: time.Second, Grace: 300 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d, r, p
}

// next returns the next event, within 10 seconds.
func next(t *testing.T, events <-chan tokens.Event) tokens.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(10 * time.Second):
		require.Fail(t, "no event came")
		return tokens.Event{}
	}
}

func TestSuiteSoftToken(t *testing.T) {
	tokentest.Run(t, func(t *testing.T) tokentest.Env {
		d, _, p := soft(t)
		var certs []*x509.Certificate
		for _, x := range p.Pairs {
			certs = append(certs, x.Certificate)
		}
		return tokentest.Env{Driver: d, PIN: "1234", WrongPIN: "9999", Certificates: certs}
	})
}

func TestPINCounter(t *testing.T) {
	d, r, _ := soft(t)
	id := tokentest.Identities(t, d)[0]
	s, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	try := func(pin string) tokens.PINError {
		t.Helper()
		var pinError *tokens.PINError
		require.ErrorAs(t, s.Login(t.Context(), tokens.NewPIN([]byte(pin))), &pinError)
		return *pinError
	}
	left := func() int {
		t.Helper()
		n, err := r.TriesLeft()
		require.NoError(t, err)
		return n
	}
	assert.Equal(t, tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK}, try("123"))
	assert.Equal(t, 3, left(), "a PIN of a wrong length costs no try")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINCountLow}, try("1111"))
	assert.Equal(t, 2, left(), "one try for one entry")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry}, try("1111"))
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tokens.PINFinalTry, list[0].PIN)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}, try("1111"))
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}, try("1234"))
	assert.Equal(t, 0, left())
}

func TestPulledWhileUsed(t *testing.T) {
	d, r, _ := soft(t)
	events := make(chan tokens.Event, 16)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go d.Watch(ctx, events)
	id := tokentest.Identities(t, d)[0]
	time.Sleep(100 * time.Millisecond) // the watch has seen the token

	s := tokentest.Unlock(t, d, id.ID, "1234")
	digests := tokentest.Digests(id.Algorithms[0], 100)
	n := 0
	var failed error
	for sig, err := range s.Sign(t.Context(), id.Algorithms[0], digests) {
		if failed = err; err != nil {
			break
		}
		tokentest.Verify(t, id.Algorithms[0], id.Certificate.PublicKey, digests[n], sig)
		if n++; n == 20 {
			require.NoError(t, r.Pull())
		}
	}
	assert.ErrorIs(t, failed, tokens.ErrRemoved)
	assert.Less(t, n, 100)
	assert.Equal(t, tokens.Event{Kind: tokens.Removed, TokenID: id.TokenID}, next(t, events))
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
	_, err = d.Open(t.Context(), id.ID)
	assert.ErrorIs(t, err, tokens.ErrNotPresent)

	require.NoError(t, r.Insert())
	assert.Equal(t, tokens.Event{Kind: tokens.Inserted, TokenID: id.TokenID}, next(t, events))
	for _, err := range s.Sign(t.Context(), id.Algorithms[0], digests) {
		assert.Error(t, err, "the old session stays dead")
		assert.NotErrorIs(t, err, tokens.ErrLibrary)
	}
	assert.NoError(t, s.Close())
	again := tokentest.Identities(t, d)
	assert.Equal(t, id.ID, again[0].ID, "the same identity as before")
	fresh := tokentest.Unlock(t, d, id.ID, "1234")
	for _, err := range fresh.Sign(t.Context(), id.Algorithms[0], digests[:5]) {
		assert.NoError(t, err)
	}
}

// Pulled and put back between Login and Sign, faster than anybody looks.
func TestPutBackBeforeSigning(t *testing.T) {
	d, r, _ := soft(t)
	id := tokentest.Identities(t, d)[0]
	s := tokentest.Unlock(t, d, id.ID, "1234")
	require.NoError(t, r.Pull())
	_, err := d.List(t.Context())
	require.NoError(t, err)
	require.NoError(t, r.Insert())
	for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 2)) {
		assert.ErrorIs(t, err, tokens.ErrNotLoggedIn)
	}
	require.NoError(t, s.Close())
	tokentest.Unlock(t, d, id.ID, "1234")
}

func TestModuleFaults(t *testing.T) {
	for _, fault := range []string{"segv", "abort", "exit", "hang", "spin"} {
		t.Run(fault, func(t *testing.T) {
			d, r, _ := soft(t)
			id := tokentest.Identities(t, d)[0]
			s := tokentest.Unlock(t, d, id.ID, "1234")
			require.NoError(t, r.Fault(fault))
			var failed error
			for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 10)) {
				failed = err
			}
			assert.ErrorIs(t, failed, tokens.ErrLibrary)
			require.NoError(t, s.Close())
			require.NoError(t, r.Fault(""))
			fresh := tokentest.Unlock(t, d, id.ID, "1234")
			for _, err := range fresh.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 2)) {
				assert.NoError(t, err)
			}
		})
	}
	for _, fault := range []string{"deverr", "removed"} {
		t.Run(fault, func(t *testing.T) {
			d, r, _ := soft(t)
			id := tokentest.Identities(t, d)[0]
			s := tokentest.Unlock(t, d, id.ID, "1234")
			require.NoError(t, r.Fault(fault))
			var failed error
			for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 10)) {
				failed = err
			}
			var call *tokens.CallError
			require.ErrorAs(t, failed, &call)
			assert.NotErrorIs(t, failed, tokens.ErrLibrary)
			assert.NotEmpty(t, call.Name)
			if fault == "removed" {
				assert.ErrorIs(t, failed, tokens.ErrRemoved)
			}
		})
	}
}

func TestInvalidSignatureStaysInside(t *testing.T) {
	d, r, _ := soft(t)
	for _, id := range tokentest.Identities(t, d) {
		s := tokentest.Unlock(t, d, id.ID, "1234")
		digests := tokentest.Digests(id.Algorithms[0], 100)
		n := 0
		var failed error
		for sig, err := range s.Sign(t.Context(), id.Algorithms[0], digests) {
			if failed = err; err != nil {
				break
			}
			tokentest.Verify(t, id.Algorithms[0], id.Certificate.PublicKey, digests[n], sig)
			if n++; n == 3 {
				require.NoError(t, r.Fault("badsig"))
			}
		}
		assert.ErrorIs(t, failed, tokens.ErrBadSignature)
		assert.Less(t, n, 100)
		require.NoError(t, r.Fault(""))
		require.NoError(t, s.Close())
	}
}

func TestAlwaysAuthenticate(t *testing.T) {
	d, r, p := soft(t)
	k := tokentest.Key(t, "p256")
	c := p.Issue(t, "PIN always", k.Public(), false)
	require.NoError(t, r.Add(softtoken.Object{Label: "always", ID: []byte{9}, Certificate: c.Raw, Key: k, AlwaysAuthenticate: true}))
	find := func() tokens.Identity {
		for _, i := range tokentest.Identities(t, d) {
			if i.Certificate.X509.Equal(c) {
				return i
			}
		}
		require.Fail(t, "not listed")
		return tokens.Identity{}
	}
	s := tokentest.Unlock(t, d, find().ID, "1234")
	assert.True(t, find().AlwaysAuthenticate)
	n, err := signed(t, s, find(), 10)
	assert.NoError(t, err, "one entry for a batch")
	assert.Equal(t, 10, n)
}

// A login that waits for its turn until its time is over is told so; the
// session that has the token goes on.
func TestWaitingLoginCostsOthersNothing(t *testing.T) {
	b := tokentest.SoftHSM(t)
	d, err := remote.New(remote.Config{
		Host: tokentest.BuildHost(t), Library: b.Module, Env: b.Env,
		Timeouts: remote.Timeouts{Call: 10 * time.Second, Login: 2 * time.Second, Sign: 10 * time.Second, Grace: 10 * time.Second},
	})
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	id := tokentest.Identities(t, d)[0]
	first := tokentest.Unlock(t, d, id.ID, b.PIN)
	second, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	assert.ErrorIs(t, second.Login(t.Context(), tokens.NewPIN([]byte(b.PIN))), tokens.ErrBusy)
	for _, err := range first.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 5)) {
		assert.NoError(t, err)
	}
	require.NoError(t, first.Close())
	require.NoError(t, second.Login(t.Context(), tokens.NewPIN([]byte(b.PIN))), "the session that waited in vain is as good as before")
	require.NoError(t, second.Close())
}
