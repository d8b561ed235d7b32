package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/pages"
	"tanba/agent/text"
	"tanba/tokens"
)

// house is a desk with a token whose state the test sets.
type house struct {
	*Desk
	token tokens.Token
	able  bool
	now   time.Time
	log   bytes.Buffer
	err   error    // what the setter answers
	did   []string // what it was told
	ended bool     // its context had ended
}

func newHouse() *house {
	h := &house{able: true, now: time.Unix(1e9, 0), token: tokens.Token{ID: "t", PIN: tokens.PINOK, PUK: tokens.PINOK}}
	h.Desk = New(Config{
		Tokens: h, PINs: h, Now: func() time.Time { return h.now },
		Log: slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return h
}

func (h *house) List(context.Context) ([]tokens.Token, error) { return []tokens.Token{h.token}, nil }
func (h *house) Open(context.Context, string) (tokens.Session, error) {
	return nil, tokens.ErrNotPresent
}
func (h *house) Changes() (<-chan struct{}, func()) { return nil, func() {} }
func (h *house) CanSetPIN(string) bool              { return h.able }

func (h *house) ChangePIN(ctx context.Context, id string, old, fresh tokens.PIN) error {
	h.did = append(h.did, fmt.Sprintf("change %s %s %s", id, old.Bytes(), fresh.Bytes()))
	h.ended = ctx.Err() != nil
	return h.err
}

func (h *house) UnblockPIN(_ context.Context, id string, puk, fresh tokens.PIN) error {
	h.did = append(h.did, fmt.Sprintf("unblock %s %s %s", id, puk.Bytes(), fresh.Bytes()))
	return h.err
}

func (h *house) call(t *testing.T, method, body string) error {
	t.Helper()
	_, err := h.handle(t.Context(), method, json.RawMessage(body))
	return err
}

// arm makes the page look at, long enough.
func (h *house) arm(t *testing.T) {
	t.Helper()
	require.NoError(t, h.call(t, "focus", `{"on":true}`))
	h.now = h.now.Add(armAfter)
}

func secrets(given, fresh string) []byte {
	return append([]byte{byte(len(given) >> 8), byte(len(given))}, given+fresh...)
}

func TestSetPIN(t *testing.T) {
	h := newHouse()
	h.arm(t)
	require.NoError(t, h.call(t, "pin", `{"token":"t","unblock":false,"finalTry":false}`))
	body := secrets("1234", "жаңа5678")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	v, err := h.raw(gone, "pin", body)
	require.NoError(t, err)
	assert.Equal(t, pinSet{Done: true, Tries: -1}, v)
	assert.Equal(t, []string{"change t 1234 жаңа5678"}, h.did)
	assert.False(t, h.ended, "a page that goes does not break it off")
	assert.Equal(t, make([]byte, len(body)), body, "wiped")
	_, err = h.raw(t.Context(), "pin", secrets("1234", "5678"))
	assert.Equal(t, refusedNoAsk, err, "one question, one change")

	require.NoError(t, h.call(t, "pin", `{"token":"t","unblock":true}`))
	_, err = h.raw(t.Context(), "pin", secrets("87654320", "5678"))
	require.NoError(t, err)
	assert.Equal(t, "unblock t 87654320 5678", h.did[1])
	for _, s := range []string{"1234", "5678", "87654320"} {
		assert.NotContains(t, h.log.String(), s)
	}
}

func TestPINRefused(t *testing.T) {
	const ask, unblock = `{"token":"t"}`, `{"token":"t","unblock":true}`
	for name, c := range map[string]struct {
		change func(h *house)
		body   string
		want   error
	}{
		"unknown key":        {nil, `{"token":"t","x":1}`, refusedInvalid},
		"no token":           {nil, `{}`, refusedInvalid},
		"another token":      {nil, `{"token":"u"}`, refusedGone},
		"locked":             {func(h *house) { h.token.PIN = tokens.PINLocked }, ask, refusedLocked},
		"locked, by the PUK": {func(h *house) { h.token.PIN = tokens.PINLocked }, unblock, nil},
		"PUK locked":         {func(h *house) { h.token.PUK = tokens.PINLocked }, unblock, refusedLocked},
		"PUK locked, PIN":    {func(h *house) { h.token.PUK = tokens.PINLocked }, ask, nil},
		"final try":          {func(h *house) { h.token.PIN = tokens.PINFinalTry }, ask, refusedFinalTry},
		"final try, ticked":  {func(h *house) { h.token.PIN = tokens.PINFinalTry }, `{"token":"t","finalTry":true}`, nil},
		"PUK's final try":    {func(h *house) { h.token.PUK = tokens.PINFinalTry }, unblock, refusedFinalTry},
		"pad":                {func(h *house) { h.token.ProtectedPath = true }, ask, refusedElsewhere},
		"native entry":       {func(h *house) { h.cfg.PINEntry = "native" }, ask, refusedElsewhere},
		"page entry":         {func(h *house) { h.cfg.PINEntry = "page" }, ask, nil},
		"key file":           {func(h *house) { h.able = false }, ask, refusedElsewhere},
		"not long enough":    {func(h *house) { h.now = h.now.Add(-time.Millisecond) }, ask, refusedNotArmed},
		"went away":          {func(h *house) { h.pin.focused = time.Time{} }, ask, refusedNotArmed},
		"another tab":        {func(h *house) { h.opened() }, ask, refusedNotArmed},
	} {
		h := newHouse()
		h.arm(t)
		if c.change != nil {
			c.change(h)
		}
		err := h.call(t, "pin", c.body)
		if c.want == nil {
			assert.NoError(t, err, name)
			continue
		}
		assert.Equal(t, c.want, err, name)
		_, err = h.raw(t.Context(), "pin", secrets("1234", "5678"))
		assert.Equal(t, refusedNoAsk, err, name)
		assert.Empty(t, h.did, name)
	}
}

func TestSecretsMustFollow(t *testing.T) {
	h := newHouse()
	h.arm(t)
	ask := func() { require.NoError(t, h.call(t, "pin", `{"token":"t"}`)) }
	ask()
	h.now = h.now.Add(pinWithin + time.Millisecond)
	_, err := h.raw(t.Context(), "pin", secrets("1234", "5678"))
	assert.Equal(t, refusedNoAsk, err, "too late")
	ask()
	_, err = h.raw(t.Context(), "other", secrets("1234", "5678"))
	assert.Equal(t, refusedNoAsk, err)
	ask()
	require.NoError(t, h.call(t, "focus", `{"on":false}`))
	_, err = h.raw(t.Context(), "pin", secrets("1234", "5678"))
	assert.Equal(t, refusedNoAsk, err, "the page went")
	h.arm(t)
	for _, b := range [][]byte{{}, {1}, {0, 5, 1, 2}, {255, 255}} {
		ask()
		_, err = h.raw(t.Context(), "pin", b)
		assert.Equal(t, refusedInvalid, err, "%x", b)
	}
	ask()
	h.pin.busy = true
	_, err = h.raw(t.Context(), "pin", secrets("1234", "5678"))
	assert.Equal(t, refusedBusy, err)
	assert.Empty(t, h.did)
}

func TestPINProblems(t *testing.T) {
	for want, err := range map[pinSet]error{
		{Problem: "pin_wrong", Tries: 1}:    &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 1},
		{Problem: "puk_wrong", Tries: -1}:   &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, Secret: tokens.SecretPUK},
		{Problem: "new_length", Tries: -1}:  &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, Secret: tokens.SecretNew},
		{Problem: "puk_locked", Tries: 0}:   &tokens.PINError{Reason: tokens.PINIsGone, Secret: tokens.SecretPUK},
		{Problem: "busy", Tries: -1}:        fmt.Errorf("x: %w", tokens.ErrBusy),
		{Problem: "removed", Tries: -1}:     tokens.ErrRemoved,
		{Problem: "unsupported", Tries: -1}: tokens.ErrNoPINChange,
		{Problem: "failed", Tries: -1}:      tokens.ErrLibrary,
	} {
		h := newHouse()
		h.err = err
		h.arm(t)
		require.NoError(t, h.call(t, "pin", `{"token":"t"}`))
		v, err := h.raw(t.Context(), "pin", secrets("1234", "5678"))
		require.NoError(t, err)
		assert.Equal(t, want, v)
		assert.NotContains(t, text.Get(text.English, text.Key("desk.pin.problem."+want.Problem)), "<", "it has words")
	}
	h := newHouse()
	h.arm(t)
	require.NoError(t, h.call(t, "pin", `{"token":"t"}`))
	v, err := h.raw(t.Context(), "pin", secrets("1234", "12345678"))
	require.NoError(t, err)
	assert.Equal(t, pinSet{Problem: "new_factory", Tries: -1}, v)
	assert.Empty(t, h.did, "the token is not asked")
}

// The page's rights are its own: no call of the prompt's.
func TestDeskCannotApprove(t *testing.T) {
	h := newHouse()
	h.arm(t)
	for _, m := range []string{"approve", "reject", "later", "extend", "pad", "copy"} {
		var refusal pages.Refusal
		require.True(t, errors.As(h.call(t, m, `{}`), &refusal), m)
		assert.Equal(t, pages.Refusal("unknown"), refusal, m)
	}
}
