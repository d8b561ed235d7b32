package approve

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crash is a listener whose connections can be cut, as a crash does.
type crash struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (c *crash) Accept() (net.Conn, error) {
	n, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, n)
		c.mu.Unlock()
	}
	return n, err
}

func (c *crash) now() {
	_ = c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.conns {
		_ = n.Close()
	}
}

// The agent dies while its prompt is open, and another user's process takes
// its port at once and says yes to everything. It does not get the PIN.
func TestImpostorOnThePort(t *testing.T) {
	var l *crash
	h := newHouse(t)
	h.listened = func(n net.Listener) net.Listener { l = &crash{Listener: n}; return l }
	h.ask(t.Context(), newAsk(1, token(t, "ok", director())))
	ctx, _ := h.tab()
	run(t, ctx, chromedp.WaitVisible("#pin"), chromedp.SendKeys("#pin", goodPIN), chromedp.WaitVisible(armedSign))

	var mu sync.Mutex
	var heard []string
	l.now()
	var impostor net.Listener
	require.Eventually(t, func() (ok bool) {
		var err error
		impostor, err = net.Listen("tcp", l.Addr().String())
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		heard = append(heard, r.URL.Path+" "+string(body))
		mu.Unlock()
		if r.URL.Path == "/api/stream" {
			for range 20 {
				_, _ = fmt.Fprintln(w, `{"event":"beat"}`)
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
			return
		}
		_, _ = fmt.Fprint(w, `{"ok":true,"unlocked":true}`)
	})}
	go func() { _ = srv.Serve(impostor) }()
	t.Cleanup(func() { _ = srv.Close() })
	for range 20 { // the signer presses Sign all the while
		_, _ = chromedp.Run(ctx, chromedp.Evaluate[bool](`(document.querySelector('#sign')?.focus(), true)`))
		if eval[bool](t, ctx, `document.querySelector('#sign') !== null`) {
			_ = chromedp.Do(ctx, chromedp.KeyEvent(" "))
		}
		time.Sleep(100 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	require.NotEmpty(t, heard, "the page has met it")
	for _, s := range heard {
		assert.True(t, strings.HasPrefix(s, "/api/stream"), "it was told %q", s)
		assert.NotContains(t, s, goodPIN)
	}
	assert.Contains(t, pageText(t, ctx), "Tanba не отвечает")
}
