package remote_test

import (
	"context"
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

var _ tokens.PINChanger = (*remote.Driver)(nil)

func pin(s string) tokens.PIN { return tokens.NewPIN([]byte(s)) }

// pinError wants err to be a PINError, and returns it.
func pinError(t *testing.T, err error) tokens.PINError {
	t.Helper()
	var e *tokens.PINError
	require.ErrorAs(t, err, &e)
	return *e
}

// signs logs in with a PIN and makes a signature.
func signs(t *testing.T, d tokens.Driver, id tokens.Identity, pin string) {
	t.Helper()
	s := tokentest.Unlock(t, d, id.ID, pin)
	for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 2)) {
		assert.NoError(t, err)
	}
	require.NoError(t, s.Close())
}

// refused wants the PIN not to open the identity any more.
func refused(t *testing.T, d tokens.Driver, id tokens.Identity, old string) tokens.PINError {
	t.Helper()
	s, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	defer func() { assert.NoError(t, s.Close()) }()
	return pinError(t, s.Login(t.Context(), pin(old)))
}

func TestChangePINSoftHSM(t *testing.T) {
	b := tokentest.SoftHSM(t)
	d := softHSM(t, b)
	id := tokentest.Identities(t, d)[0]
	const fresh = "жаңа-5678"

	assert.Equal(t, tokens.PINWrong, pinError(t, d.ChangePIN(t.Context(), id.TokenID, pin("9999"), pin(fresh))).Reason)
	signs(t, d, id, b.PIN)
	require.NoError(t, d.ChangePIN(t.Context(), id.TokenID, pin(b.PIN), pin(fresh)))
	assert.Equal(t, tokens.PINWrong, refused(t, d, id, b.PIN).Reason)
	signs(t, d, id, fresh)

	e := pinError(t, d.UnblockPIN(t.Context(), id.TokenID, pin("87654321"), pin("2222")))
	assert.Equal(t, tokens.PINWrong, e.Reason)
	assert.Equal(t, tokens.SecretPUK, e.Secret)
	assert.Equal(t, tokens.PINCountLow, e.State)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tokens.PINCountLow, list[0].PUK, "the list tells")
	signs(t, d, id, fresh)
	require.NoError(t, d.UnblockPIN(t.Context(), id.TokenID, pin("12345678"), pin("2222")))
	assert.Equal(t, tokens.PINWrong, refused(t, d, id, fresh).Reason)
	signs(t, d, id, "2222")

	assert.ErrorIs(t, d.ChangePIN(t.Context(), "no such token", pin("2222"), pin("3333")), tokens.ErrNotPresent)
	assert.ErrorIs(t, d.UnblockPIN(t.Context(), "no such token", pin("2222"), pin("3333")), tokens.ErrNotPresent)
}

// A token that a job is logged in to is left alone, and the job goes on.
func TestChangePINWhileSigning(t *testing.T) {
	b := tokentest.SoftHSM(t)
	d := softHSM(t, b)
	id := tokentest.Identities(t, d)[0]
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	assert.ErrorIs(t, d.ChangePIN(t.Context(), id.TokenID, pin(b.PIN), pin("5678")), tokens.ErrBusy)
	assert.ErrorIs(t, d.UnblockPIN(t.Context(), id.TokenID, pin("12345678"), pin("5678")), tokens.ErrBusy)
	for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 5)) {
		assert.NoError(t, err)
	}
	require.NoError(t, s.Close())
	require.NoError(t, d.ChangePIN(t.Context(), id.TokenID, pin(b.PIN), pin("5678")))
	signs(t, d, id, "5678")
}

// pinReader is a token of the soft module with a PUK.
func pinReader(t *testing.T, info softtoken.Info) (*remote.Driver, *softtoken.Reader) {
	t.Helper()
	module, err := softModule()
	require.NoError(t, err)
	dir := t.TempDir()
	r, err := softtoken.Create(dir, "Reader 0", info)
	require.NoError(t, err)
	sharedOnce.Do(func() { sharedPKI = tokentest.NewPKI(t) })
	x := sharedPKI.Pairs[0]
	require.NoError(t, r.Add(softtoken.Object{Label: x.Name, ID: x.ID, Certificate: x.Certificate.Raw, Key: x.Key}))
	d, err := remote.New(remote.Config{Host: tokentest.BuildHost(t), Library: module, Env: []string{softtoken.EnvDir + "=" + dir}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d, r
}

func state(t *testing.T, d tokens.Driver) (pin, puk tokens.PINState) {
	t.Helper()
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0].PIN, list[0].PUK
}

func TestChangePIN(t *testing.T) {
	d, r := pinReader(t, softtoken.Info{Label: "x", Serial: "1", PIN: "1234", MaxPIN: 8, ToBeChanged: true})
	left := func() int {
		t.Helper()
		n, err := r.TriesLeft()
		require.NoError(t, err)
		return n
	}
	id := tokentest.Identities(t, d)[0]
	change := func(old, fresh string) tokens.PINError {
		t.Helper()
		return pinError(t, d.ChangePIN(t.Context(), id.TokenID, pin(old), pin(fresh)))
	}
	p, _ := state(t, d)
	assert.Equal(t, tokens.PINToChange, p)
	signs(t, d, id, "1234")

	length := func(s tokens.Secret) tokens.PINError {
		return tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINToChange, Secret: s}
	}
	assert.Equal(t, length(tokens.SecretNew), change("1234", "123"))
	assert.Equal(t, length(tokens.SecretNew), change("1234", "123456789"))
	assert.Equal(t, length(tokens.SecretNew), change("1234", ""))
	assert.Equal(t, length(tokens.SecretPIN), change("123", "5678"))
	assert.Equal(t, length(tokens.SecretPIN), change("", "5678"))
	assert.Equal(t, tokens.PINChars, change("1234", "56\n78").Reason)
	assert.Equal(t, tokens.PINChars, change("1234", "56\xff78").Reason)
	assert.Equal(t, 3, left(), "the token saw none of these")

	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINCountLow}, change("1111", "5678"))
	assert.Equal(t, 2, left(), "one try for one entry")
	require.NoError(t, d.ChangePIN(t.Context(), id.TokenID, pin("1234"), pin("5678")))
	p, _ = state(t, d)
	assert.Equal(t, tokens.PINOK, p, "and no longer to be changed")
	signs(t, d, id, "5678")

	change("1111", "2222")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry}, change("1111", "2222"))
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}, change("1111", "2222"))
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}, change("5678", "2222"))
}

func TestUnblockPIN(t *testing.T) {
	d, r := pinReader(t, softtoken.Info{Label: "x", Serial: "1", PIN: "1234", PUK: "87654321"})
	id := tokentest.Identities(t, d)[0]
	for range 3 {
		refused(t, d, id, "0000")
	}
	p, k := state(t, d)
	assert.Equal(t, tokens.PINLocked, p)
	assert.Equal(t, tokens.PINOK, k)
	unblock := func(puk, fresh string) tokens.PINError {
		t.Helper()
		return pinError(t, d.UnblockPIN(t.Context(), id.TokenID, pin(puk), pin(fresh)))
	}
	assert.Equal(t, tokens.SecretNew, unblock("87654321", "1").Secret)
	assert.Equal(t, tokens.PINLength, unblock("", "5678").Reason)
	n, err := r.PUKTriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 3, n, "the token saw none of these")
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINCountLow, Secret: tokens.SecretPUK}, unblock("00000000", "5678"))
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry, Secret: tokens.SecretPUK}, unblock("00000000", "5678"))
	_, k = state(t, d)
	assert.Equal(t, tokens.PINFinalTry, k)
	require.NoError(t, d.UnblockPIN(t.Context(), id.TokenID, pin("87654321"), pin("5678")))
	p, k = state(t, d)
	assert.Equal(t, tokens.PINOK, p)
	assert.Equal(t, tokens.PINOK, k)
	signs(t, d, id, "5678")

	for range 3 {
		unblock("00000000", "1111")
	}
	_, k = state(t, d)
	assert.Equal(t, tokens.PINLocked, k)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked, Secret: tokens.SecretPUK}, unblock("87654321", "1111"))
	signs(t, d, id, "5678")
}

// Lists and watches go on while PINs are set: none of them costs a try or ends
// as busy.
func TestUnblockPINBesideLists(t *testing.T) {
	d, _ := pinReader(t, softtoken.Info{Label: "x", Serial: "1", PIN: "1234", PUK: "87654321"})
	id := tokentest.Identities(t, d)[0]
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, err := d.List(context.Background())
				assert.NoError(t, err)
			}
		})
	}
	for range 20 {
		assert.NoError(t, d.UnblockPIN(t.Context(), id.TokenID, pin("87654321"), pin("5678")))
		assert.NoError(t, d.ChangePIN(t.Context(), id.TokenID, pin("5678"), pin("1234")))
	}
	close(done)
	wg.Wait()
}

func TestPINChangeRefused(t *testing.T) {
	d, r := pinReader(t, softtoken.Info{Label: "x", Serial: "1", PIN: "1234"})
	id := tokentest.Identities(t, d)[0]
	assert.ErrorIs(t, d.UnblockPIN(t.Context(), id.TokenID, pin("87654321"), pin("5678")), tokens.ErrNoPINChange, "there is no PUK")
	long := tokens.NewPIN(make([]byte, tokens.MaxPIN+1))
	assert.Equal(t, tokens.SecretNew, pinError(t, d.ChangePIN(t.Context(), id.TokenID, pin("1234"), long)).Secret)
	assert.Equal(t, tokens.SecretPUK, pinError(t, d.UnblockPIN(t.Context(), id.TokenID, long, pin("1234"))).Secret)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, d.ChangePIN(over, id.TokenID, pin("1234"), pin("5678")), context.Canceled)
	require.NoError(t, r.Pull())
	assert.ErrorIs(t, d.ChangePIN(t.Context(), id.TokenID, pin("1234"), pin("5678")), tokens.ErrNotPresent)
	require.NoError(t, r.Insert())
	signs(t, d, id, "1234")
}

// What a library prints while it has a PIN does not go to the log.
func TestPINChangeIsNotLogged(t *testing.T) {
	d, log := fakeDriver(t, "change: print PIN")
	require.NoError(t, d.ChangePIN(t.Context(), "t", pin(fakePIN), pin(fakePIN+"-new")))
	require.NoError(t, d.UnblockPIN(t.Context(), "t", pin(fakePIN), pin(fakePIN+"-new")))
	assert.ErrorIs(t, d.ChangePIN(t.Context(), "other", pin(fakePIN), pin("x")), tokens.ErrNotPresent)
	assert.NotContains(t, log.String(), fakePIN)
	assert.Contains(t, log.String(), "token process says")
}

// A page that goes does not break a change off, a library that hangs does.
func TestPINChangeHangs(t *testing.T) {
	d, _ := fakeDriver(t, "change: hang")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	assert.ErrorIs(t, d.ChangePIN(ctx, "t", pin("1234"), pin("5678")), tokens.ErrLibrary)
	assert.Greater(t, time.Since(began), 400*time.Millisecond)
}
