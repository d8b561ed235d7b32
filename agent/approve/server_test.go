package approve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/tokens"
)

// The tests here play a page that does what ours never would.

func armed(t *testing.T, c *client) {
	t.Helper()
	require.Empty(t, c.call("focus", map[string]bool{"on": true}))
	time.Sleep(armAfter + 50*time.Millisecond)
}

// listed waits until the prompt has read the tokens.
func listed(t *testing.T, c *client, f *fakeAsk) {
	t.Helper()
	armed(t, c)
	require.Eventually(t, func() bool { return c.call("approve", approval(f)) == "" }, 20*time.Second, 20*time.Millisecond)
}

func TestApproveBeforeArmed(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	ctx, stop := context.WithCancel(t.Context())
	done := h.ask(ctx, f)
	c := h.client()
	time.Sleep(200 * time.Millisecond) // the tokens are read
	assert.Equal(t, "not_armed", c.call("approve", approval(f)), "never focused")
	c.call("focus", map[string]bool{"on": true})
	assert.Equal(t, "not_armed", c.call("approve", approval(f)), "just focused")
	time.Sleep(armAfter / 2)
	assert.Equal(t, "not_armed", c.call("approve", approval(f)), "half a second")
	time.Sleep(armAfter/2 + 50*time.Millisecond)
	c.call("focus", map[string]bool{"on": false})
	assert.Equal(t, "not_armed", c.call("approve", approval(f)), "focus lost")
	c.call("focus", map[string]bool{"on": true})
	assert.Equal(t, "not_armed", c.call("approve", approval(f)), "armed anew")
	word, unlocked := c.pin(goodPIN)
	assert.Equal(t, "not_approved", word)
	assert.False(t, unlocked)
	assert.Empty(t, f.offered(), "no PIN reached the token")
	time.Sleep(armAfter + 50*time.Millisecond)
	assert.Empty(t, c.call("approve", approval(f)))
	stop()
	assertCode(t, job.CodeCancelled, wait(t, done).err)
}

func TestApproveOtherThanShown(t *testing.T) {
	h, f := newHouse(t), newAsk(2, token(t, tokens.PINOK, director(), director()))
	f.misfits[f.tokens[0].Identities[1].ID] = job.OtherPerson
	done := h.ask(t.Context(), f)
	c := h.client()
	listed(t, c, f)
	change := func(key string, v any) map[string]any {
		a := approval(f)
		a[key] = v
		return a
	}
	d0, d1 := f.prepared.Documents[0], f.prepared.Documents[1]
	doc := func(id, sum string) map[string]string { return map[string]string{"id": id, "sha256": sum} }
	for name, x := range map[string]struct {
		body any
		want string
	}{
		"swapped digests":     {change("documents", []any{doc(d0.ID, d1.Digest()), doc(d1.ID, d0.Digest())}), "mismatch"},
		"a digest not ours":   {change("documents", []any{doc(d0.ID, strings.Repeat("0", 64))}), "mismatch"},
		"an unknown document": {change("documents", []any{doc("other", d0.Digest())}), "mismatch"},
		"one document twice":  {change("documents", []any{doc(d0.ID, d0.Digest()), doc(d0.ID, d0.Digest())}), "mismatch"},
		"no document":         {change("documents", []any{}), "invalid"},
		"another person":      {change("identity", f.tokens[0].Identities[1].ID), "identity"},
		"an unknown identity": {change("identity", "x"), "identity"},
		"an unknown key":      {change("more", true), "invalid"},
		"not an object":       {"approve", "invalid"},
	} {
		assert.Equal(t, x.want, c.call("approve", x.body), name)
		word, _ := c.pin(goodPIN)
		assert.Equal(t, "not_approved", word, name)
	}
	assert.Empty(t, f.offered())
	assert.Equal(t, "invalid", c.call("nonsense", struct{}{}))
	assert.Equal(t, "invalid", c.call("reject", map[string]any{"documents": []string{d0.ID}, "reason": "no_such_reason", "text": ""}))
	assert.Equal(t, "mismatch", c.call("reject", map[string]any{"documents": []string{"other"}, "reason": "other", "text": ""}))
	assert.Equal(t, "invalid", c.call("reject", map[string]any{"documents": []string{d0.ID}, "reason": "other", "text": strings.Repeat("щ", 501)}))
	require.Empty(t, c.call("reject", map[string]any{"documents": []string{d0.ID}, "reason": "other", "text": strings.Repeat("щ", 500)}))
	o := wait(t, done)
	require.NoError(t, o.err)
	assert.Equal(t, []string{d0.ID}, o.answer.Rejected)
}

func TestOnePINForOneApproval(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	done := h.ask(t.Context(), f)
	c := h.client()
	listed(t, c, f)
	word, unlocked := c.pin("0000")
	assert.Empty(t, word)
	assert.False(t, unlocked)
	word, _ = c.pin(goodPIN)
	assert.Equal(t, "not_approved", word, "an approval is good for one PIN")
	assert.Equal(t, []string{"0000"}, f.offered())
	assert.Equal(t, http.StatusBadRequest, c.post("raw/pin", "application/octet-stream", []byte(strings.Repeat("9", tokens.MaxPIN+1)), nil))
	assert.Equal(t, http.StatusBadRequest, c.post("raw/pin", "application/octet-stream", nil, nil))
	assert.Equal(t, http.StatusBadRequest, c.post("raw/pin", "application/json", []byte(goodPIN), nil))
	require.Empty(t, c.call("approve", approval(f)))
	_, unlocked = c.pin(goodPIN)
	assert.True(t, unlocked)
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, "over", c.call("approve", approval(f)))
}

func TestFinalTryNeedsTick(t *testing.T) {
	h, f := newHouse(t), newAsk(1, token(t, tokens.PINOK, director()))
	f.unlock = func(_, pin string) error {
		state := map[int]tokens.PINState{1: tokens.PINFinalTry, 2: tokens.PINLocked}[len(f.pins)]
		return &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: 2 - len(f.pins), State: state}
	}
	ctx, stop := context.WithCancel(t.Context())
	done := h.ask(ctx, f)
	c := h.client()
	listed(t, c, f)
	_, unlocked := c.pin("1111")
	assert.False(t, unlocked)
	assert.Equal(t, "final_try", c.call("approve", approval(f)), "the refused PIN told that one try is left")
	a := approval(f)
	a["finalTry"] = true
	require.Empty(t, c.call("approve", a))
	_, unlocked = c.pin("2222")
	assert.False(t, unlocked)
	assert.Equal(t, "locked", c.call("approve", a))
	assert.Equal(t, []string{"1111", "2222"}, f.offered())
	stop()
	assertCode(t, job.CodeCancelled, wait(t, done).err)
}

func TestPad(t *testing.T) {
	k := token(t, tokens.PINOK, director())
	k.ProtectedPath = true
	h, f := newHouse(t), newAsk(1, k)
	f.unlock = func(string, string) error { return nil }
	done := h.ask(t.Context(), f)
	c := h.client()
	listed(t, c, f)
	word, _ := c.pin(goodPIN)
	assert.Equal(t, "not_approved", word, "a PIN for a token with a pad")
	require.Empty(t, c.call("approve", approval(f)))
	assert.Empty(t, c.call("pad", struct{}{}))
	require.NoError(t, wait(t, done).err)
	assert.Equal(t, []string{""}, f.offered())
}

func TestPINOnlyOnTheReader(t *testing.T) {
	k := token(t, tokens.PINOK, director())
	h, f := newHouse(t, func(c *Config) { c.PINEntry = "pad" }), newAsk(1, k)
	f.unlock = func(string, string) error { return nil }
	done := h.ask(t.Context(), f)
	c := h.client()
	armed(t, c)
	assert.Equal(t, "identity", c.call("approve", approval(f)), "its PIN would be typed in the page")
	k.ProtectedPath = true
	f.plug(k)
	listed(t, c, f)
	assert.Empty(t, c.call("pad", struct{}{}))
	require.NoError(t, wait(t, done).err)
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int
		q := &queue{max: 2, open: 2, shown: map[string]*ticket{}, changed: func(n int) { told = append(told, n) }}
		a, err := q.enter(t.Context(), "https://a.kz", false)
		require.NoError(t, err)
		b, err := q.enter(t.Context(), "https://b.kz", false)
		require.NoError(t, err)
		turn := make(chan string, 4)
		enter := func(ctx context.Context, origin string) {
			go func() {
				x, err := q.enter(ctx, origin, false)
				if err != nil {
					turn <- "gave up"
					return
				}
				turn <- origin
				defer q.leave(x)
				<-ctx.Done()
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		enter(ctx, "https://a.kz")
		enter(ctx, "https://c.kz")
		_, err = q.enter(t.Context(), "https://d.kz", false)
		assertCode(t, job.CodeBusy, err)
		assert.Equal(t, 4, q.waiting())
		q.leave(b)
		assert.Equal(t, "https://c.kz", <-turn, "a.kz has its prompt already")
		q.leave(a)
		assert.Equal(t, "https://a.kz", <-turn)
		enter(ctx, "https://c.kz")
		cancel()
		assert.Equal(t, "gave up", <-turn)
		synctest.Wait()
		assert.Zero(t, q.waiting())
		assert.Zero(t, told[len(told)-1])
	})
}

// Sites that nobody has allowed cannot take every place.
func TestStrangersLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{max: 5, open: maxOpen, shown: map[string]*ticket{}}
		ctx, cancel := context.WithCancel(t.Context())
		shown := make(chan *ticket, 8)
		for i := range maxOpen {
			go func() {
				if x, err := q.enter(ctx, fmt.Sprintf("https://stranger%d.kz", i), true); err == nil {
					shown <- x
				}
			}()
		}
		synctest.Wait()
		assert.Len(t, shown, maxOpen/2)
		ours, err := q.enter(ctx, "https://crm.altyn.kz", false)
		require.NoError(t, err, "at once")
		q.leave(ours)
		q.leave(<-shown)
		synctest.Wait()
		assert.Len(t, shown, maxOpen/2, "the next one")
		cancel()
		synctest.Wait()
	})
}

func TestNoBrowser(t *testing.T) {
	h := newHouse(t)
	p := pages.New(pages.Config{
		Listen: func(context.Context) ([]net.Listener, int, error) { return nil, 0, errors.New("no port") },
		Now:    time.Now, Log: slog.New(slog.DiscardHandler),
	})
	h.approver.cfg.Pages = p
	assertCode(t, job.CodeNoBrowser, wait(t, h.ask(t.Context(), newAsk(1))).err)
	p = pages.New(pages.Config{
		Listen: func(ctx context.Context) ([]net.Listener, int, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			return []net.Listener{l}, 1, err
		},
		Open: func(context.Context, string) error { return errors.New("no display") },
		Now:  time.Now, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() { _ = p.Close() })
	h.approver.cfg.Pages = p
	assertCode(t, job.CodeNoBrowser, wait(t, h.ask(t.Context(), newAsk(1))).err)
	_, err := h.approver.AskSite(t.Context(), "https://crm.altyn.kz")
	assertCode(t, job.CodeNoBrowser, err)
	assert.Zero(t, h.approver.Waiting())
}

func TestOrigins(t *testing.T) {
	for origin, want := range map[string]originView{
		"https://crm.altyn.kz":            {Scheme: "https://", Before: "crm.", Main: "altyn.kz"},
		"https://a.b.altyn.com.kz:8443":   {Scheme: "https://", Before: "a.b.", Main: "altyn.com.kz", After: ":8443"},
		"https://altyn.kz":                {Scheme: "https://", Main: "altyn.kz"},
		"https://com.kz":                  {Scheme: "https://", Main: "com.kz"},
		"http://127.0.0.1:8080":           {Scheme: "http://", Main: "127.0.0.1", After: ":8080", Plain: true},
		"https://[::1]":                   {Scheme: "https://", Main: "[::1]"},
		"https://[::1]:444":               {Scheme: "https://", Main: "[::1]", After: ":444"},
		"https://crm":                     {Scheme: "https://", Main: "crm"},
		"https://bank.kz.xn--80ak6aa.com": {Scheme: "https://", Before: "bank.kz.", Main: "xn--80ak6aa.com", Puny: true},
	} {
		want.Whole = origin
		assert.Equal(t, want, viewOrigin(origin))
	}
}

func TestNames(t *testing.T) {
	assert.Equal(t, "invoice.pdf", clean("invoice\u202e\u200b.pdf\x00"))
	assert.Equal(t, "_.._etc_passwd", safeName("/../etc/passwd"))
	assert.Equal(t, "document", safeName(" ... "))
	assert.Equal(t, "2741", tail("00912741"))
}

// TestFramed has another site put the prompt into a frame.
func TestFramed(t *testing.T) {
	h := newHouse(t)
	ask, stop := context.WithCancel(t.Context())
	done := h.ask(ask, newAsk(1))
	prompt := <-h.urls
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><iframe id="f" src="`+prompt+`"></iframe>`)
	}))
	t.Cleanup(site.Close)
	ctx, _ := h.visit(site.URL)
	run(t, ctx, chromedp.Sleep(time.Second))
	h.urls <- prompt
	c := h.client() // the secret was not redeemed in the frame
	assert.Equal(t, "invalid", c.call("nothing", struct{}{}), "and is good still")
	stop()
	wait(t, done)
}
