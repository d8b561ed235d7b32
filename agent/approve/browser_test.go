package approve

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/agent/policy"
	"tanba/agent/text"
)

// browser is one headless Chromium for the whole test binary.
var browser struct {
	once   sync.Once
	ctx    context.Context
	cancel func()
}

func chromium(t testing.TB) context.Context {
	t.Helper()
	browser.once.Do(func() {
		dir, err := mkdir()
		require.NoError(t, err)
		opts := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir), chromedp.WindowSize(1280, 860),
			chromedp.Flag("headless", "new"), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true))
		alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, stop := chromedp.NewContext(alloc)
		browser.ctx, browser.cancel = ctx, func() { stop(); stopAlloc(); rmdir(dir) }
		require.NoError(t, chromedp.Do(ctx, chromedp.Sleep(0)))
	})
	require.NoError(t, browser.ctx.Err(), "chromium")
	return browser.ctx
}

// house is an Approver with its pages, and the tabs that it opened.
type house struct {
	t        testing.TB
	approver *Approver
	urls     chan string
	listened func(net.Listener) net.Listener // stands between the pages and their listener
}

type option func(*Config)

func withPrompt(d time.Duration) option {
	return func(c *Config) { c.Limits.Prompt = policy.Duration(d) }
}

func withLang(l text.Lang) option { return func(c *Config) { c.Lang = func() text.Lang { return l } } }

func newHouse(t testing.TB, options ...option) *house {
	t.Helper()
	h := &house{t: t, urls: make(chan string, 8), listened: func(l net.Listener) net.Listener { return l }}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	p := pages.New(pages.Config{
		Listen: func(context.Context) ([]net.Listener, int, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, 0, err
			}
			return []net.Listener{h.listened(l)}, l.Addr().(*net.TCPAddr).Port, nil
		},
		Check: func(r *http.Request, port int) error { return nil },
		Open:  func(_ context.Context, url string) error { h.urls <- url; return nil },
		Now:   time.Now, Log: log,
	})
	t.Cleanup(func() { _ = p.Close() })
	cfg := Config{Pages: p, Lang: func() text.Lang { return text.Russian }, Limits: policy.Default().Limits, Now: time.Now, Log: log}
	for _, o := range options {
		o(&cfg)
	}
	h.approver = New(cfg)
	return h
}

// outcome is what Approve returned.
type outcome struct {
	answer job.Answer
	err    error
}

func (h *house) ask(ctx context.Context, f *fakeAsk) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		a, err := h.approver.approve(ctx, f)
		done <- outcome{a, err}
	}()
	return done
}

// tab opens the next address in a new tab.
func (h *house) tab(before ...action) (context.Context, context.CancelFunc) {
	h.t.Helper()
	var url string
	select {
	case url = <-h.urls:
	case <-time.After(10 * time.Second):
		require.Fail(h.t, "no page was opened")
	}
	return h.visit(url, before...)
}

func (h *house) visit(url string, before ...action) (context.Context, context.CancelFunc) {
	h.t.Helper()
	ctx, cancel := chromedp.NewContext(chromium(h.t))
	h.t.Cleanup(cancel)
	require.NoError(h.t, chromedp.Listen(ctx, func(e any) {
		if e, ok := e.(*runtime.EventExceptionThrown); ok {
			h.t.Errorf("script error: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
		}
	}))
	limit, stop := context.WithTimeout(ctx, 40*time.Second)
	h.t.Cleanup(stop)
	require.NoError(h.t, chromedp.Do(limit, append(before, chromedp.Navigate(url))...))
	return limit, cancel
}

type action = chromedp.Action[chromedp.Void]

func run(t testing.TB, ctx context.Context, actions ...action) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, actions...))
}

// eval returns the value of a script's expression.
func eval[T any](t testing.TB, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err)
	return v
}

const armedSign = `#sign[aria-disabled="false"]`

// enterPIN types a PIN and waits until Sign can be pressed.
func enterPIN(pin string) action {
	return chromedp.Steps(chromedp.WaitVisible("#pin"), chromedp.SendKeys("#pin", pin), chromedp.WaitVisible(armedSign))
}

func wait(t testing.TB, done <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(20 * time.Second):
		require.Fail(t, "the prompt did not end")
		return outcome{}
	}
}

func pageText(t testing.TB, ctx context.Context) string {
	t.Helper()
	s, err := chromedp.Run(ctx, chromedp.Text("#main"))
	require.NoError(t, err)
	return s
}

func assertCode(t testing.TB, want job.Code, err error) {
	t.Helper()
	e, ok := errors.AsType[*job.Error](err)
	if assert.True(t, ok, "%v", err) {
		assert.Equal(t, want, e.Code)
	}
}
