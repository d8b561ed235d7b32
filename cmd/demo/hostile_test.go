package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/robot"
	"tanba/cmd/demo/stage"
)

// A squatter sits on a port of the agent's and says it is the agent, with a
// key of its own. It remembers every word that pages say to it.
type squatter struct {
	mu    sync.Mutex
	heard []string
}

func (q *squatter) sit(t *testing.T, port int) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	require.NoError(t, err)
	up := websocket.Upgrader{Subprotocols: []string{"tanba.v1"}, CheckOrigin: func(*http.Request) bool { return true }}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			var m struct {
				ID     json.RawMessage `json:"id"`
				Method string          `json:"method"`
			}
			if c.ReadJSON(&m) != nil {
				return
			}
			q.mu.Lock()
			q.heard = append(q.heard, m.Method)
			q.mu.Unlock()
			zeros := strings.Repeat("A", 43)
			_ = c.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": map[string]any{
				"protocol": 1, "key": zeros, "signature": strings.Repeat("A", 86), "version": "0.1.0", "tokens": 1,
				"limits": map[string]int{"document": 1 << 20, "job": 1 << 20, "documents": 10, "frame": 1 << 20, "chunk": 1 << 18},
			}})
		}
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func TestSquatterOnTheFirstPort(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect(), "the page pins the agent's key")
	first := s.Agent.Port
	require.NoError(t, s.Agent.Kill9())
	var q squatter
	q.sit(t, first)
	require.NoError(t, s.Agent.Start(t.Context()))
	require.NotEqual(t, first, s.Agent.Port)
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
	q.mu.Lock()
	defer q.mu.Unlock()
	assert.NotEmpty(t, q.heard, "the page has met it")
	for _, m := range q.heard {
		assert.Equal(t, "hello", m, "and told it nothing")
	}
}

// probe is a page that tries to reach the agent and writes what happens into
// its title: it plays a site of somebody else.
func probe(t *testing.T, script string) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, "<!doctype html><title>trying</title><body><script>%s</script>", script)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// title waits until the page in tab has another title than "trying".
func title(t *testing.T, tab context.Context) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, 30*time.Second)
	defer cancel()
	for {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.title"))
		require.NoError(t, err)
		if got != "trying" {
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
}

const dial = `const ws = new WebSocket('%s', 'tanba.v1'); ws.onopen = () => document.title = 'open'; ws.onerror = () => document.title = 'refused';`

func TestSitesThatMayNotConnect(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	ours := fmt.Sprintf("ws://127.0.0.1:%d/v1", s.Agent.Port)
	for name, script := range map[string]string{
		"an http site that policy does not name": fmt.Sprintf(dial, ours),
		"localhost by name":                      fmt.Sprintf(dial, fmt.Sprintf("ws://localhost:%d/v1", s.Agent.Port)),
		"a sandboxed frame": `const f = document.createElement('iframe'); f.sandbox = 'allow-scripts';
			f.srcdoc = "<script>const ws = new WebSocket('` + ours + `', 'tanba.v1'); ws.onopen = () => parent.postMessage('open', '*'); ws.onerror = () => parent.postMessage('refused', '*')<\/script>";
			onmessage = (e) => document.title = e.data; document.body.append(f);`,
		"fetch": fmt.Sprintf(`fetch('http://127.0.0.1:%d/v1').then(() => document.title = 'open', () => document.title = 'refused')`, s.Agent.Port),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := r.Visit(probe(t, script).URL)
			require.NoError(t, err)
			defer p.Close()
			assert.Equal(t, "refused", title(t, p.Tab()))
		})
	}
	n, err := s.Prompts.Waiting()
	require.NoError(t, err)
	assert.Zero(t, n, "and nobody is asked")
}

func TestRebinding(t *testing.T) {
	dir := t.TempDir()
	s, _ := play(t, nil)
	r, err := robot.New(context.Background(), robot.Options{Dir: dir, Prompts: s.Prompts, Flags: []string{"host-resolver-rules=MAP evil.test 127.0.0.1"}})
	require.NoError(t, err)
	defer r.Close()
	page := probe(t, fmt.Sprintf(dial, fmt.Sprintf("ws://evil.test:%d/v1", s.Agent.Port)))
	_, port, err := net.SplitHostPort(page.Listener.Addr().String())
	require.NoError(t, err)
	p, err := r.Visit("http://evil.test:" + port)
	require.NoError(t, err)
	defer p.Close()
	assert.Equal(t, "refused", title(t, p.Tab()))

	// The answer itself says nothing of who we are.
	for _, host := range []string{"evil.test", "evil.test:" + strconv.Itoa(s.Agent.Port), "0.0.0.0:" + strconv.Itoa(s.Agent.Port), "127.0.0.1"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/v1", s.Agent.Port), nil)
		require.NoError(t, err)
		req.Host = host
		req.Header.Set("Origin", s.URL)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode, host)
		assert.NotContains(t, fmt.Sprint(resp.Header), "Tanba")
		require.NoError(t, resp.Body.Close())
	}
}

func TestRefusedSiteLearnsNothing(t *testing.T) {
	s, r := play(t, nil)
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	status, err := r.AgentStatus()
	require.NoError(t, err)
	require.Equal(t, "site_not_allowed", status)
	require.NoError(t, r.Press("connect"))
	p, err := r.OpenPage()
	require.NoError(t, err)
	require.NoError(t, p.RefuseSite())
	p.Close()
	require.NoError(t, r.OpenDeal("41"))
	status, err = r.AgentStatus()
	require.NoError(t, err)
	assert.Equal(t, "site_not_allowed", status)
	require.NoError(t, r.Press("connect"), "asked again at once")
	time.Sleep(time.Second)
	n, err := s.Prompts.Waiting()
	require.NoError(t, err)
	assert.Zero(t, n, "no second page within ten minutes")
}

func TestPageInsideAForeignFrame(t *testing.T) {
	var inner string
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>portal</title><iframe id="crm" allow="loopback-network" style="width:1100px;height:900px" src="%s"></iframe>`, inner)
	}))
	t.Cleanup(outer.Close)
	s, r := play(t, func(o *stage.Options) { o.FrameAncestors = []string{outer.URL} })
	inner = s.URL + "/deals/41"
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.OpenDeal("41"))
	require.NoError(t, r.Connect())
	p, err := r.Visit(outer.URL)
	require.NoError(t, err)
	defer p.Close()
	// The frame has another origin than the page around it: it is pressed as a
	// person would, by its place on the screen.
	frame := func(expression string) string {
		got, err := p.InFrame(s.URL, expression)
		require.NoError(t, err)
		return got
	}
	require.Eventually(t, func() bool { return frame(`document.querySelector('#agent-status')?.dataset.status ?? ''`) == "ready" }, 30*time.Second, 100*time.Millisecond)
	frame(`(() => { document.querySelector('#sign').click(); return '' })()`)
	require.NoError(t, r.ApprovePrompt(s.PIN, stage.DirectorName))
	require.Eventually(t, func() bool { return frame(`document.querySelector('#live')?.dataset.status ?? ''`) == "signed" }, 30*time.Second, 100*time.Millisecond)
}

// The CRM stands on https in what Chromium takes for the public internet, and
// the person has given the browser's permission. Denied and unanswered are in
// agent/native/js, where the page has a name that is not this computer's.
func TestPublicSite(t *testing.T) {
	s, _ := play(t, func(o *stage.Options) { o.TLS = true })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	require.NoError(t, err)
	r, err := robot.New(context.Background(), robot.Options{Dir: t.TempDir(), Prompts: s.Prompts, Flags: []string{
		"ignore-certificate-errors", "ip-address-space-overrides=127.0.0.1:" + port + "=public,[::1]:" + port + "=public"}})
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithTimeout(r.Tab(), 10*time.Second)
	defer cancel()
	require.NoError(t, chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "loopback-network"}, Setting: browser.PermissionSettingGranted, Origin: s.URL})
		return err
	})))
	require.NoError(t, r.Login(s.URL, "director"))
	require.NoError(t, r.SignDeal("41", s.PIN, stage.DirectorName, "signed"))
}
