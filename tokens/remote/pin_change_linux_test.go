package remote_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

// A real card stack: OpenSC over a card service.
func TestChangePINOfACard(t *testing.T) {
	b := tokentest.PIV(t)
	d, err := remote.New(remote.Config{Host: tokentest.BuildHost(t), Library: b.Module, Env: b.Env})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	id := tokentest.Identities(t, d)[0]
	assert.Equal(t, tokens.PINWrong, pinError(t, d.ChangePIN(t.Context(), id.TokenID, pin("999999"), pin("654321"))).Reason)
	assert.Equal(t, 2, b.Card.TriesLeft(), "one try for one entry")
	require.NoError(t, d.ChangePIN(t.Context(), id.TokenID, pin(b.PIN), pin("654321")))
	assert.Equal(t, 3, b.Card.TriesLeft())
	assert.Equal(t, tokens.PINWrong, refused(t, d, id, b.PIN).Reason)
	signs(t, d, id, "654321")

	// OpenSC takes the PUK for the security officer's PIN, but a PIV card does
	// not let one log in with it.
	assert.ErrorIs(t, d.UnblockPIN(t.Context(), id.TokenID, pin(b.PUK), pin("111111")), tokens.ErrNoPINChange)
	assert.Equal(t, 3, b.Card.PUKTriesLeft())
	signs(t, d, id, "654321")
}
