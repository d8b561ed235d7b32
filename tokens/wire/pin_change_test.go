package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
)

func TestSecrets(t *testing.T) {
	pin := func(n int) tokens.PIN { return tokens.NewPIN(bytes.Repeat([]byte{'x'}, n)) }
	for _, n := range [][2]int{{0, 0}, {0, 4}, {4, 0}, {8, 6}, {tokens.MaxPIN, tokens.MaxPIN}} {
		b, err := PackSecrets(pin(n[0]), pin(n[1]))
		require.NoError(t, err)
		first, second, err := UnpackSecrets(b)
		require.NoError(t, err)
		assert.Equal(t, pin(n[0]).Bytes(), first.Bytes()[:n[0]:n[0]])
		assert.Len(t, second.Bytes(), n[1])
		clear(b)
		assert.NotContains(t, string(first.Bytes())+string(second.Bytes()), "x", "wiping the payload wipes the secrets")
	}
	_, err := PackSecrets(pin(tokens.MaxPIN+1), pin(1))
	assert.ErrorIs(t, err, ErrMalformed)
	_, err = PackSecrets(pin(1), pin(tokens.MaxPIN+1))
	assert.ErrorIs(t, err, ErrMalformed)
	for _, b := range [][]byte{nil, {0}, {0, 1}, {0, 5, 1, 2, 3, 4}, {0xff, 0xff, 1}, append([]byte{1, 1}, make([]byte, 400)...), append([]byte{0, 1}, make([]byte, 400)...)} {
		_, _, err := UnpackSecrets(b)
		assert.ErrorIs(t, err, ErrMalformed, "%x", b)
	}
}

func TestPINErrorOfASecret(t *testing.T) {
	for _, s := range []tokens.Secret{tokens.SecretPIN, tokens.SecretNew, tokens.SecretPUK} {
		want := tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1, State: tokens.PINFinalTry, Secret: s}
		var got *tokens.PINError
		require.ErrorAs(t, EncodeError(&want).Err(), &got)
		assert.Equal(t, want, *got)
	}
	e := EncodeError(&tokens.PINError{Reason: tokens.PINWrong, State: tokens.PINOK, Secret: "other"})
	assert.ErrorIs(t, e.Err(), ErrMalformed)
	assert.ErrorIs(t, EncodeError(tokens.ErrNoPINChange).Err(), tokens.ErrNoPINChange)
}
