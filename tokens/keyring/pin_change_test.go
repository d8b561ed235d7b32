package keyring_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
	"tanba/tokens/keyring"
	"tanba/tokens/tokentest"
)

// changer is a driver that can set PINs.
type changer struct {
	*driver
	did []string
	err error
}

func (c *changer) ChangePIN(_ context.Context, id string, old, fresh tokens.PIN) error {
	c.did = append(c.did, "change "+id+" "+string(old.Bytes())+" "+string(fresh.Bytes()))
	return c.err
}

func (c *changer) UnblockPIN(_ context.Context, id string, puk, fresh tokens.PIN) error {
	c.did = append(c.did, "unblock "+id+" "+string(puk.Bytes())+" "+string(fresh.Bytes()))
	return c.err
}

func TestSetPIN(t *testing.T) {
	plain := newDriver("file", tokens.Token{ID: "file", Label: "a"})
	able := &changer{driver: newDriver("card", tokens.Token{ID: "card", Label: "b", PIN: tokens.PINLocked})}
	k := keyring.New([]tokens.Driver{plain, able}, slog.New(slog.DiscardHandler))
	defer func() { assert.NoError(t, k.Close()) }()
	pin := func(s string) tokens.PIN { return tokens.NewPIN([]byte(s)) }
	ctx := t.Context()

	require.NoError(t, k.ChangePIN(ctx, "card", pin("1"), pin("2")), "it lists by itself")
	require.NoError(t, k.UnblockPIN(ctx, "card", pin("3"), pin("4")))
	assert.Equal(t, []string{"change card 1 2", "unblock card 3 4"}, able.did)
	assert.ErrorIs(t, k.ChangePIN(ctx, "file", pin("1"), pin("2")), tokens.ErrNoPINChange)
	assert.ErrorIs(t, k.UnblockPIN(ctx, "gone", pin("1"), pin("2")), tokens.ErrNotPresent)
	assert.True(t, k.CanSetPIN("card"))
	assert.False(t, k.CanSetPIN("file"))
	assert.False(t, k.CanSetPIN("gone"))

	changes, stop := k.Changes()
	defer stop()
	_, err := k.List(ctx)
	require.NoError(t, err)
	able.set(nil, tokens.Token{ID: "card", Label: "b", PIN: tokens.PINOK})
	able.err = &tokens.PINError{Reason: tokens.PINWrong}
	var refused *tokens.PINError
	require.ErrorAs(t, k.UnblockPIN(ctx, "card", pin("3"), pin("4")), &refused)
	select {
	case <-changes:
	case <-time.After(time.Second):
		assert.Fail(t, "nobody was told")
	}
	list, err := k.List(ctx)
	require.NoError(t, err)
	assert.Equal(t, tokens.PINOK, list[1].PIN, "the list is a new one")
}

// strict is a session whose PIN is "right".
type strict struct{ tokens.Session }

func (strict) Login(_ context.Context, p tokens.PIN) error {
	if string(p.Bytes()) == "12345678" {
		return nil
	}
	if string(p.Bytes()) != "right" {
		return &tokens.PINError{Reason: tokens.PINWrong}
	}
	return nil
}

func (strict) Close() error { return nil }

// opener is a driver whose sessions these are.
type opener struct{ *driver }

func (opener) Open(context.Context, string) (tokens.Session, error) { return strict{}, nil }

// The PIN's state may have changed with a login that failed, and at the end of
// one that did not: those who listen are told, and not while the job signs.
func TestLoginsAreTold(t *testing.T) {
	card := token(t, "card", "1", tokentest.NewPKI(t).Pairs[0])
	id := card.Identities[0]
	d := opener{newDriver("card", card)}
	k := keyring.New([]tokens.Driver{d}, slog.New(slog.DiscardHandler))
	defer func() { assert.NoError(t, k.Close()) }()
	changes, stop := k.Changes()
	defer stop()
	told := func() bool {
		select {
		case <-changes:
			return true
		case <-time.After(50 * time.Millisecond):
			return false
		}
	}
	told() // the driver's coming
	s, err := k.Open(t.Context(), id.ID)
	require.NoError(t, err)
	require.Error(t, s.Login(t.Context(), tokens.NewPIN([]byte("wrong"))))
	assert.True(t, told())
	require.NoError(t, s.Login(t.Context(), tokens.NewPIN([]byte("right"))))
	assert.False(t, told())
	require.NoError(t, s.Close())
	assert.True(t, told())
	require.NoError(t, s.Close())
	assert.False(t, told())
}

func TestFactoryPIN(t *testing.T) {
	card := token(t, "card", "1", tokentest.NewPKI(t).Pairs[0])
	able := &changer{driver: newDriver("card", card)}
	k := ring(t, struct {
		opener
		tokens.PINChanger
	}{opener{able.driver}, able})
	shown := func() bool {
		list, err := k.List(t.Context())
		require.NoError(t, err)
		return list[0].FactoryPIN
	}
	login := func(pin string) {
		s, err := k.Open(t.Context(), card.Identities[0].ID)
		require.NoError(t, err)
		require.NoError(t, s.Login(t.Context(), tokens.NewPIN([]byte(pin))))
		require.NoError(t, s.Close())
	}
	assert.False(t, shown())
	login("12345678")
	assert.True(t, shown())
	login("right")
	assert.False(t, shown(), "changed elsewhere")
	login("12345678")
	require.NoError(t, k.ChangePIN(t.Context(), "card", tokens.NewPIN([]byte("12345678")), tokens.NewPIN([]byte("right"))))
	assert.False(t, shown())
}
