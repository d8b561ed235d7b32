package remote_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts/pivcard"
	"tanba/tokens"
	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

// piv starts a card service with a PIV card and reaches it.
func piv(t *testing.T) (*remote.Driver, *tokentest.PIVBed) {
	t.Helper()
	sharedOnce.Do(func() { sharedPKI = tokentest.NewPKI(t) })
	b := tokentest.PIVWith(t, sharedPKI)
	return pivDriver(t, b), b
}

func pivDriver(t *testing.T, b *tokentest.PIVBed) *remote.Driver {
	t.Helper()
	d, err := remote.New(remote.Config{
		Host: tokentest.BuildHost(t), Library: b.Module, Env: b.Env,
		Timeouts: remote.Timeouts{Call: 10 * time.Second, Login: 10 * time.Second, Sign: 5 * time.Second, Grace: 500 * time.Millisecond, Look: time.Second},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// find returns the identity of the pair with this name, within 40 seconds.
func find(t *testing.T, d *remote.Driver, name string) tokens.Identity {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		list, err := d.List(t.Context())
		for _, k := range list {
			for _, i := range k.Identities {
				if i.Certificate.X509.Equal(sharedPKI.Pair(t, name).Certificate) {
					return i
				}
			}
		}
		require.True(t, time.Now().Before(deadline), "no identity %s: %v", name, err)
		time.Sleep(50 * time.Millisecond)
	}
}

// signed logs in, signs n digests and returns how many came and the error.
func signed(t *testing.T, s tokens.Session, id tokens.Identity, n int) (made int, failed error) {
	t.Helper()
	digests := tokentest.Digests(id.Algorithms[0], n)
	for sig, err := range s.Sign(t.Context(), id.Algorithms[0], digests) {
		if err != nil {
			return made, err
		}
		tokentest.Verify(t, id.Algorithms[0], id.Certificate.PublicKey, digests[made], sig)
		made++
	}
	return made, nil
}

// pivWorks checks that a new request goes through.
func pivWorks(t *testing.T, d *remote.Driver, b *tokentest.PIVBed, name string) {
	t.Helper()
	id := find(t, d, name)
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	n, err := signed(t, s, id, 3)
	assert.NoError(t, err)
	assert.Equal(t, 3, n)
	assert.NoError(t, s.Close())
}

func TestSuitePIV(t *testing.T) {
	_, b := piv(t)
	tokentest.Run(t, func(t *testing.T) tokentest.Env {
		b.Card.Unlock()
		return tokentest.Env{Driver: pivDriver(t, b), PIN: b.PIN, WrongPIN: "999999", Certificates: b.Certificates}
	})
}

func TestPIVCounter(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "rsa")
	s, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	try := func(pin string) tokens.PINError {
		t.Helper()
		var pinError *tokens.PINError
		require.ErrorAs(t, s.Login(t.Context(), tokens.NewPIN([]byte(pin))), &pinError)
		return *pinError
	}
	assert.Equal(t, tokens.PINLength, try("123").Reason)
	assert.Equal(t, tokens.PINLength, try("123456789").Reason)
	assert.Equal(t, 3, b.Card.TriesLeft(), "what cannot be the PIN costs no try")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINOK}, try("999999"))
	assert.Equal(t, 2, b.Card.TriesLeft(), "one try for one entry")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry}, try("999999"))
	assert.Equal(t, 1, b.Card.TriesLeft())
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tokens.PINFinalTry, list[0].PIN)
	last := try("999999")
	assert.Zero(t, last.TriesLeft)
	assert.Equal(t, tokens.PINLocked, last.State)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}, try(b.PIN))
	assert.Zero(t, b.Card.TriesLeft())
	require.NoError(t, s.Close())
	b.Card.Unlock()
	pivWorks(t, d, b, "rsa")
}

func TestPIVPulled(t *testing.T) {
	d, b := piv(t)
	for _, name := range []string{"rsa", "p256", "p384"} {
		t.Run(name, func(t *testing.T) { pulled(t, d, b, name) })
	}
}

func pulled(t *testing.T, d *remote.Driver, b *tokentest.PIVBed, name string) {
	id := find(t, d, name)
	open := func() tokens.Session {
		s, err := d.Open(t.Context(), id.ID)
		require.NoError(t, err)
		return s
	}
	gone := func(err error) {
		t.Helper()
		assert.True(t, errors.Is(err, tokens.ErrRemoved) || errors.Is(err, tokens.ErrNotPresent), "%v", err)
	}
	back := func(s tokens.Session) {
		t.Helper()
		if s != nil {
			assert.NoError(t, s.Close())
		}
		_, err := d.Open(t.Context(), id.ID)
		assert.ErrorIs(t, err, tokens.ErrNotPresent)
		list, err := d.List(t.Context())
		assert.NoError(t, err)
		assert.Empty(t, list)
		b.Reader.Insert(b.Card)
		assert.Equal(t, id.ID, find(t, d, name).ID, "the same identity as before")
		pivWorks(t, d, b, name)
		b.Card.SetFault(pivcard.Fault{})
	}

	// Nobody may have noticed yet: then the login tells.
	b.Reader.Pull()
	s, err := d.Open(t.Context(), id.ID)
	if err == nil {
		err = s.Login(t.Context(), tokens.NewPIN([]byte(b.PIN)))
	}
	gone(err)
	back(s)

	s = open()
	b.Reader.Pull()
	gone(s.Login(t.Context(), tokens.NewPIN([]byte(b.PIN))))
	back(s)

	s = tokentest.Unlock(t, d, id.ID, b.PIN)
	b.Reader.Pull()
	n, err := signed(t, s, id, 2)
	assert.Zero(t, n)
	assert.ErrorIs(t, err, tokens.ErrRemoved)
	back(s)

	s = tokentest.Unlock(t, d, id.ID, b.PIN)
	b.Card.SetFault(pivcard.Fault{PullAt: 5})
	n, err = signed(t, s, id, 10)
	assert.Equal(t, 4, n, "what was made before stays good")
	assert.ErrorIs(t, err, tokens.ErrRemoved)
	assert.False(t, b.Reader.Occupied())
	back(s)

	// Out and in again before the next signature: nothing is signed with the
	// login of before.
	s = tokentest.Unlock(t, d, id.ID, b.PIN)
	b.Reader.Pull()
	b.Reader.Insert(b.Card)
	time.Sleep(time.Second)
	n, err = signed(t, s, id, 2)
	assert.Zero(t, n)
	assert.Error(t, err)
	assert.NotErrorIs(t, err, tokens.ErrLibrary)
	require.NoError(t, s.Close())
	pivWorks(t, d, b, name)
}

// A key that wants the PIN for each signature gets it for a batch from one
// entry.
func TestPIVAlwaysAuthenticate(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "p256")
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	assert.True(t, find(t, d, "p256").AlwaysAuthenticate)
	assert.False(t, find(t, d, "rsa").AlwaysAuthenticate)
	n, err := signed(t, s, id, 20)
	assert.NoError(t, err)
	assert.Equal(t, 20, n)
	assert.Equal(t, 20, b.Card.Made())

	// A PIN that is refused in the middle is not offered again.
	require.NoError(t, b.Card.SetPIN("111111"))
	n, err = signed(t, s, id, 5)
	assert.Zero(t, n)
	var pinError *tokens.PINError
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINWrong, pinError.Reason)
	assert.Equal(t, 2, b.Card.TriesLeft())
	for range 2 {
		_, err = signed(t, s, id, 5)
		assert.ErrorIs(t, err, tokens.ErrNotLoggedIn)
	}
	assert.Equal(t, 2, b.Card.TriesLeft(), "once")
	require.NoError(t, s.Login(t.Context(), tokens.NewPIN([]byte("111111"))), "the signer enters it again")
	n, err = signed(t, s, id, 2)
	assert.NoError(t, err)
	assert.Equal(t, 2, n)
	require.NoError(t, s.Close())
}

func TestPIVServiceRestarted(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "rsa")
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	b.KillService()
	n, err := signed(t, s, id, 2)
	assert.Zero(t, n)
	assert.Error(t, err)
	assert.NoError(t, s.Close())
	list, err := d.List(t.Context())
	assert.Empty(t, list)
	if err != nil {
		assert.ErrorIs(t, err, tokens.ErrLibrary)
	}
	b.StartService(t)
	pivWorks(t, d, b, "rsa")
}

func TestPIVEvents(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "rsa")
	events := make(chan tokens.Event, 16)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go d.Watch(ctx, events)
	time.Sleep(300 * time.Millisecond) // the watch has seen the card
	// When the library hangs with the card, the watch is lost and comes back,
	// and says that what happened meanwhile nobody saw.
	come := func(want tokens.EventKind) {
		t.Helper()
		begin := time.Now()
		e := next(t, events)
		if e.Kind == tokens.Lost {
			e = next(t, events)
			assert.Equal(t, tokens.Event{Kind: tokens.Inserted}, e)
			t.Log("lost and back after", time.Since(begin))
			return
		}
		assert.Equal(t, tokens.Event{Kind: want, TokenID: id.TokenID}, e)
		assert.Less(t, time.Since(begin), 5*time.Second)
		t.Log(want, "after", time.Since(begin))
	}
	for range 2 {
		b.Reader.Pull()
		come(tokens.Removed)
		b.Reader.Insert(b.Card)
		come(tokens.Inserted)
	}
	// Another card, in the other reader.
	second := b.NewCard(t)
	b.Second.Insert(second)
	e := next(t, events)
	assert.Equal(t, tokens.Inserted, e.Kind)
	assert.NotEqual(t, id.TokenID, e.TokenID)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, list, 2)
	pivWorks(t, d, b, "rsa")
}

// Another card in the place of the one that was asked for is not taken.
func TestPIVSwapped(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "rsa")
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	other := b.NewCard(t)
	b.Reader.Insert(other)
	deadline := time.Now().Add(40 * time.Second)
	for {
		i := find(t, d, "rsa")
		if i.ID != id.ID {
			break
		}
		require.True(t, time.Now().Before(deadline), "the other card does not come")
	}
	n, err := signed(t, s, id, 2)
	assert.Zero(t, n)
	assert.Error(t, err)
	assert.NoError(t, s.Close())
	assert.Zero(t, other.Made(), "the other card was not asked")
	_, err = d.Open(t.Context(), id.ID)
	assert.ErrorIs(t, err, tokens.ErrNotPresent)
	assert.Equal(t, 3, other.TriesLeft())
	pivWorks(t, d, b, "rsa")
}

func TestPIVFaults(t *testing.T) {
	d, b := piv(t)
	id := find(t, d, "rsa")
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	b.Card.SetFault(pivcard.Fault{Status: 0x6F00})
	_, err := signed(t, s, id, 2)
	var call *tokens.CallError
	require.ErrorAs(t, err, &call)
	assert.NotErrorIs(t, err, tokens.ErrRemoved)
	b.Card.SetFault(pivcard.Fault{BadSignature: true})
	_, err = signed(t, s, id, 2)
	assert.ErrorIs(t, err, tokens.ErrBadSignature)
	b.Card.SetFault(pivcard.Fault{Delay: 100 * time.Millisecond})
	n, err := signed(t, s, id, 2)
	assert.NoError(t, err, "a slow card")
	assert.Equal(t, 2, n)
	b.Card.SetFault(pivcard.Fault{Delay: time.Minute})
	_, err = signed(t, s, id, 2)
	assert.ErrorIs(t, err, tokens.ErrLibrary, "a card that does not answer")
	assert.NoError(t, s.Close())
	b.Card.SetFault(pivcard.Fault{})
	b.Reader.Insert(b.Card)
	pivWorks(t, d, b, "rsa")
}
