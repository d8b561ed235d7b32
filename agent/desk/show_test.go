package desk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/pages"
	"tanba/agent/text"
)

type noOutbox struct{}

func (noOutbox) Items(context.Context) []Item                 { return nil }
func (noOutbox) Retry(context.Context, string) error          { return nil }
func (noOutbox) Drop(context.Context, string) error           { return nil }
func (noOutbox) Save(context.Context, string) (string, error) { return "", nil }
func (noOutbox) Changes() (<-chan struct{}, func())           { return nil, func() {} }

// withPages gives the house's desk pages whose opener is open.
func (h *house) withPages(t *testing.T, listen func() (net.Listener, error), open func(url string) error) {
	log := slog.New(slog.DiscardHandler)
	h.cfg.Pages = pages.New(pages.Config{
		Listen: func(context.Context) ([]net.Listener, int, error) {
			l, err := listen()
			if err != nil {
				return nil, 0, err
			}
			if a, ok := l.Addr().(*net.TCPAddr); ok {
				return []net.Listener{l}, a.Port, nil
			}
			return []net.Listener{l}, 1, nil
		},
		Check: func(*http.Request, int) error { return nil }, Now: time.Now, Log: log,
		Open: func(_ context.Context, url string) error { return open(url) },
	})
	t.Cleanup(func() { _ = h.cfg.Pages.Close() })
	h.cfg.Outbox, h.cfg.Drivers, h.cfg.About = noOutbox{}, func() []Driver { return nil }, func() []Fact { return nil }
	h.cfg.Lang, h.cfg.Log = func() text.Lang { return text.English }, log
}

// An opener that becomes the browser does not return while the page is there.
func TestPageComesBeforeTheOpenerReturns(t *testing.T) {
	h := newHouse()
	got := make(chan int, 1)
	h.withPages(t, func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }, func(url string) error {
		base, secret, _ := strings.Cut(url, "#")
		base = strings.TrimSuffix(base, "/desk/")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/redeem", strings.NewReader(`{"secret":"`+secret+`"}`))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", base)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		got <- resp.StatusCode
		return resp.Body.Close()
	})
	require.NoError(t, h.Show(t.Context(), Tokens))
	assert.Equal(t, http.StatusOK, <-got)
}

// idle is a listener to which nobody comes.
type idle chan struct{}

func (i idle) Accept() (net.Conn, error) { <-i; return nil, net.ErrClosed }
func (i idle) Close() error              { close(i); return nil }
func (i idle) Addr() net.Addr            { return &net.UnixAddr{} }

func TestPageThatNeverCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		l := make(idle)
		h.withPages(t, func() (net.Listener, error) { return l, nil }, func(string) error { return nil })
		require.NoError(t, h.Show(t.Context(), Tokens))
		time.Sleep(time.Minute)
		select {
		case <-l:
			t.Fatal("too early")
		default:
		}
		time.Sleep(5 * time.Minute)
		<-l // closed: nothing listens for a page that nobody sees
		assert.Nil(t, h.shown)
	})
}

func TestNoBrowserForThePage(t *testing.T) {
	h := newHouse()
	h.withPages(t, func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }, func(string) error { return errors.New("no display") })
	require.Error(t, h.Show(t.Context(), Tokens))
	assert.Nil(t, h.shown)
}
