package approve

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
)

// The second that a prompt has been before the signer is that tab's alone: a
// tab that was opened for it anew begins again.
func TestAnotherTabIsNotArmed(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	ctx, stop := context.WithCancel(t.Context())
	done := h.ask(ctx, f)
	listed(t, h.client(), f)
	require.NoError(t, h.approver.Reopen(ctx))
	c := h.client()
	time.Sleep(50 * time.Millisecond)
	assert.Equal(t, "not_armed", c.call("approve", approval(f)))
	word, _ := c.pin(goodPIN)
	assert.Equal(t, "not_approved", word, "nor has it the other's approval")
	listed(t, c, f)
	stop()
	wait(t, done)
}

func TestAnotherTabMayNotAllow(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := h.approver.AskSite(ctx, "https://crm.altyn.kz"); done <- err }()
	armed(t, h.client())
	require.NoError(t, h.approver.Reopen(ctx))
	assert.Equal(t, "not_armed", h.client().call("allow", struct{}{}))
	stop()
	<-done
}

// A tab that gets in while the token is busy, and says at once that it is
// before the signer, is believed.
func TestAnotherTabWhileTheTokenIsBusy(t *testing.T) {
	for range 3 {
		h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
		busy, free := make(chan struct{}), make(chan struct{})
		f.unlock = func(string, string) error {
			close(busy)
			<-free
			return &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := h.ask(ctx, f)
		a := h.client()
		listed(t, a, f)
		tried := make(chan struct{})
		go func() { a.pin("0000"); close(tried) }()
		<-busy
		require.NoError(t, h.approver.Reopen(ctx))
		b := h.client()
		focused := make(chan string, 1)
		go func() { focused <- b.call("focus", map[string]bool{"on": true}) }()
		time.Sleep(50 * time.Millisecond)
		close(free)
		<-tried
		require.Empty(t, <-focused)
		time.Sleep(armAfter + 50*time.Millisecond)
		assert.Empty(t, b.call("approve", approval(f)))
		stop()
		wait(t, done)
	}
}
