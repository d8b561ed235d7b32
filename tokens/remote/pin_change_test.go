package remote_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
