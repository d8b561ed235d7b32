package js_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/gate"
	"tanba/agent/job"
	"tanba/agent/native"
	"tanba/agent/native/js"
	"tanba/agent/policy"
	"tanba/agent/sites"
)

// An agent is the real gate and protocol with jobs that only look at what
// arrives.
type agent struct {
	t      *testing.T
	port   int
	sites  *sites.Store
	server *native.Server
	tokens atomic.Int32
	allow  atomic.Bool

	mu       sync.Mutex
	requests []job.Request
	sums     map[string]string // SHA-256 of each document that came
}

func (a *agent) Run(ctx context.Context, req job.Request) (job.Receipt, error) {
	if req.ID == "drops" {
		a.server.Progress(req.Origin, job.Progress{Job: req.ID, Step: job.StepOpened, Total: 1})
		select {
		case <-ctx.Done():
			return job.Receipt{}, ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, req)
	a.server.Progress(req.Origin, job.Progress{Job: req.ID, Step: job.StepOpened, Total: len(req.Documents)})
	r := job.Receipt{Job: req.ID}
	for _, d := range req.Documents {
		h := sha256.New()
		switch {
		case d.Content.Blob != nil:
			_, err := io.Copy(h, d.Content.Blob.Reader())
			assert.NoError(a.t, err)
		case d.Content.URL != "":
			h.Write([]byte(d.Content.URL + " " + d.Content.Bearer.Reveal()))
		default:
			h.Write(d.Content.Inline)
		}
		a.sums[d.ID] = hex.EncodeToString(h.Sum(nil))
		r.Documents = append(r.Documents, job.DocumentReceipt{ID: d.ID, State: job.Delivered})
	}
	if req.ID == "fails" {
		return job.Receipt{}, job.Fail(job.CodeNotPDF, req.Documents[0].ID, nil)
	}
	return r, nil
}

func (a *agent) State(_ context.Context, _, id string) (job.Receipt, error) {
	return job.Receipt{}, job.Fail(job.CodeUnknownJob, "", nil)
}

func (a *agent) Redeliver(_ context.Context, _, id string, d job.Delivery) (job.Receipt, error) {
	if d.Bearer.Reveal() != "fresh" {
		return job.Receipt{}, job.Fail(job.CodeUnauthorized, "", nil)
	}
	return job.Receipt{Job: id, Documents: []job.DocumentReceipt{}}, nil
}

func (a *agent) Ask(context.Context, string) (bool, error) { return a.allow.Load(), nil }

func newAgent(t *testing.T, change func(p *policy.Policy)) *agent {
	t.Helper()
	a := &agent{t: t, sums: map[string]string{}}
	a.tokens.Store(1)
	pol := policy.Default()
	change(&pol)
	dir := t.TempDir()
	var err error
	a.sites, err = sites.Open(filepath.Join(dir, "sites.json"), pol, filepath.Join(dir, "secret"))
	require.NoError(t, err)
	l, err := gate.Listen(t.Context(), 0, 0)
	require.NoError(t, err)
	a.port = l.Port
	log := slog.New(slog.DiscardHandler)
	var n atomic.Int32
	a.server = native.New(native.Config{
		Jobs: a, Access: a, Sites: a.sites, Tokens: func() int { return int(a.tokens.Load()) }, Limits: pol.Limits,
		Spools: func() (*job.Spool, func() error, error) {
			s, err := job.CreateSpool(filepath.Join(dir, "spool"+strconv.Itoa(int(n.Add(1)))))
			return s, func() error { return errors.Join(s.Close(), os.Remove(s.Path())) }, err
		},
		Version: "0.1.0", Port: l.Port, Origin: gate.Origin, Refuse: gate.Refuse, Now: time.Now, Log: log,
	})
	g := &gate.Guard{
		Peer: gate.SystemPeer(), Port: l.Port, Path: native.Path, Subprotocol: native.Subprotocol,
		Status: a.sites.Status, Limits: pol.Limits, Now: time.Now, Log: log,
	}
	srv := gate.NewServer(g.Wrap(a.server), pol.Limits, log)
	go func() { _ = l.Serve(srv, gate.Connections(pol.Limits)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, a.server.Close(ctx))
		_ = srv.Close()
	})
	return a
}

// A squatter is a program that took one of our ports: it speaks the protocol
// with a key of its own and remembers what it is told.
type squatter struct {
	port int
	mu   sync.Mutex
	got  []string
}

func newSquatter(t *testing.T) *squatter {
	t.Helper()
	s := &squatter{}
	up := websocket.Upgrader{Subprotocols: []string{native.Subprotocol}, CheckOrigin: func(*http.Request) bool { return true }}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		for {
			_, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.got = append(s.got, string(b))
			s.mu.Unlock()
			var m struct{ ID json.RawMessage }
			if json.Unmarshal(b, &m) != nil {
				return
			}
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"protocol":1,"key":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","signature":"5VZDAMNgrHKQhuzMgG6ChIR_Hrjl2XTYc-BlIkkBVV-4ghWQozusxh45cBz5tGvSW_XwWVu-JGVRQUOOehALAA","version":"9.9.9","tokens":1,"limits":{"document":1000000,"job":1000000,"documents":10,"frame":1000000,"chunk":1000}}}`))
		}
	}))
	t.Cleanup(srv.Close)
	_, p, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	s.port, err = strconv.Atoi(p)
	require.NoError(t, err)
	return s
}

// crm is a page with the client loaded as window.tanba.
func crm(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/tanba.js":
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = w.Write(js.Module)
	case "/frame":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><script type="module">
			import { connect } from './tanba.js';
			onmessage = async (m) => parent.postMessage(await connect({ports: [m.data]}).status(), '*');
			parent.postMessage('loaded', '*');</script>`)
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><title>CRM</title><script type="module">
			import * as tanba from './tanba.js'; window.tanba = tanba;</script>`)
	default:
		http.NotFound(w, r)
	}
}

// A tab is one page in Chromium.
type tab struct {
	context.Context
	t *testing.T
}

type action = chromedp.Action[chromedp.Void]

// openTab starts Chromium and loads address, after prepare.
func openTab(t *testing.T, address string, flags []chromedp.ExecAllocatorOption, prepare ...action) tab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", "new"), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true))
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), append(opts, flags...)...)
	t.Cleanup(stopAlloc)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); stop() })
	require.NoError(t, chromedp.Do(ctx, append(prepare, chromedp.Navigate(address))...))
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	tb := tab{limit, t}
	tb.js(false, `while (!window.tanba) await new Promise((r) => setTimeout(r, 10))`) // Poll would count as a click
	return tb
}

// js runs the body of an async function and returns its string.
func (tb tab) js(gesture bool, body string) string {
	tb.t.Helper()
	script := `(async () => { try { ` + body + ` } catch (e) { return 'error ' + (e.code ?? e.stack) + (e.document ? ' ' + e.document : '') } return '' })()`
	out, err := chromedp.Run(tb, chromedp.Evaluate[string](script, func(p *runtime.EvaluateParams) {
		yes := true
		p.AwaitPromise = &yes
		p.UserGesture = &gesture
	}))
	require.NoError(tb.t, err)
	return out
}

func TestClientInABrowser(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(crm))
	defer page.Close()
	a := newAgent(t, func(p *policy.Policy) { p.HTTPOrigins = []string{page.URL} })
	s := newSquatter(t)
	tb := openTab(t, page.URL, nil)
	connect := func(ports ...int) string {
		return fmt.Sprintf(`window.seen = []; window.c = tanba.connect({ports: %s, onStatus: (s) => seen.push(s)});`,
			strings.ReplaceAll(fmt.Sprint(ports), " ", ","))
	}

	// nobody there, then a site that is not allowed, refused, then allowed
	assert.Equal(t, "not_installed", tb.js(false, connect(1)+`return await c.status()`))
	assert.Equal(t, "site_not_allowed", tb.js(false, connect(a.port)+`return await c.status()`))
	assert.Equal(t, "error access_refused", tb.js(true, `return await c.requestAccess()`))
	assert.Equal(t, "error too_many_requests", tb.js(true, `return await c.requestAccess()`))
	require.NoError(t, a.sites.Revoke(page.URL))
	a.allow.Store(true)
	assert.Equal(t, "0.1.0 true", tb.js(true, `const h = await c.requestAccess(); return h.version + ' ' + (localStorage.getItem('tanba.v1.key') === h.key)`))
	assert.Equal(t, "ready", tb.js(false, `return await c.status()`))

	// tokens come and go
	a.server.TokensChanged(0)
	assert.Equal(t, "no_token", tb.js(false, `while (c.last !== 'no_token') await new Promise((r) => setTimeout(r, 10)); return c.last`))
	a.server.TokensChanged(1)
	tb.js(false, `while (c.last !== 'ready') await new Promise((r) => setTimeout(r, 10)); c.close(); return ''`)

	// a squatter on the first port is passed over and learns nothing
	assert.Equal(t, "ready", tb.js(false, `localStorage.removeItem('tanba.v1.port'); `+connect(s.port, a.port)+`return await c.status()`))
	assert.Equal(t, strconv.Itoa(a.port), tb.js(false, `return String(c.agent.port)`))
	assert.Equal(t, "not_installed", tb.js(false, connect(s.port)+`return await c.status()`))
	assert.Equal(t, "error wrong_agent", tb.js(true, `await c.sign({job:'j', documents:[{id:'a',name:'a',format:'cades',content:new Uint8Array(5)}], delivery:{url:location.origin}})`))
	s.mu.Lock()
	require.NotEmpty(t, s.got)
	for _, m := range s.got {
		assert.Contains(t, m, `"method":"hello"`)
	}
	s.mu.Unlock()

	// signing: inline, chunks and by address
	result := tb.js(true, connect(s.port, a.port)+`
		const big = new Uint8Array(3_000_000).map((_, i) => i % 251);
		const steps = [];
		const r = await c.sign({job: 'd41', title: 'Deal <41>', documents: [
			{id: 'small', name: 'small.txt', format: 'cades', content: new TextEncoder().encode('small')},
			{id: 'big', name: 'big.txt', format: 'cades', attached: true, content: new Blob([big])},
			{id: 'view', name: 'view.txt', format: 'cades', content: big.subarray(1, 2_000_001)},
			{id: 'url', name: 'url.pdf', format: 'pades', content: {url: location.origin + '/x.pdf', bearer: 'b2'}},
		], filter: {iin: '', roles: ['head']}, delivery: {url: location.origin + '/results', bearer: 'b1', expires: new Date(1e12)}},
		{onProgress: (p) => steps.push(p.step + p.total)});
		return JSON.stringify([r.documents.map((d) => d.id + ':' + d.state), steps, seen])`)
	assert.JSONEq(t, `[["small:delivered","big:delivered","view:delivered","url:delivered"],["opened4"],["busy","ready"]]`, result)
	big := make([]byte, 3_000_000)
	for i := range big {
		big[i] = byte(i % 251)
	}
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	a.mu.Lock()
	assert.Equal(t, map[string]string{
		"small": sum([]byte("small")), "big": sum(big), "view": sum(big[1:2_000_001]),
		"url": sum([]byte(page.URL + "/x.pdf b2")),
	}, a.sums)
	req := a.requests[0]
	a.mu.Unlock()
	assert.Equal(t, "Deal <41>", req.Title)
	assert.Equal(t, page.URL, req.Origin)
	assert.Equal(t, "b1", req.Delivery.Bearer.Reveal())
	assert.Equal(t, time.Unix(1e9, 0).UTC(), req.Delivery.Expires)

	// errors come with their code and document
	assert.Equal(t, "error not_pdf a", tb.js(true, `await c.sign({job:'fails', documents:[{id:'a',name:'a',format:'pades',content:new Uint8Array(5)}], delivery:{url:location.origin}})`))
	assert.Equal(t, "error invalid_params", tb.js(true, `await c.sign({job:'no spaces', documents:[], delivery:{url:location.origin}})`))
	assert.Equal(t, "error unknown_job", tb.js(true, `await c.state('nothing')`))
	assert.Equal(t, "error delivery_unauthorized", tb.js(true, `await c.deliver('d41', {url: location.origin, bearer: 'stale'})`))
	assert.Equal(t, "d41", tb.js(true, `return (await c.deliver('d41', {url: location.origin, bearer: 'fresh'})).job`))

	// a connection that breaks while the prompt is open
	a.mu.Lock()
	a.requests = nil
	a.mu.Unlock()
	assert.Equal(t, "delivered 2", tb.js(true, `
		const W = WebSocket, all = []; window.WebSocket = class extends W { constructor(...x) { super(...x); all.push(this) } };
		c.close(); await c.status();
		let broken = false;
		const r = await c.sign({job:'drops', documents:[{id:'a',name:'a',format:'cades',content:new Uint8Array(5)}], delivery:{url:location.origin}},
			{onProgress: () => { if (!broken) { broken = true; all.at(-1).close() } }});
		window.WebSocket = W;
		return r.documents[0].state + ' ' + all.filter((s) => s.url.includes('`+strconv.Itoa(a.port)+`')).length`))
	a.mu.Lock()
	assert.Len(t, a.requests, 1, "signed once")
	a.mu.Unlock()

	// withdrawn while its documents are on their way: the signer is not asked
	assert.Equal(t, "AbortError", tb.js(true, `
		const stop = new AbortController();
		const p = c.sign({job:'withdrawn', documents:[{id:'a',name:'a',format:'cades',content:new Uint8Array(9e6)}], delivery:{url:location.origin}}, {signal: stop.signal})
			.then(() => 'signed', (e) => e.name);
		setTimeout(() => stop.abort(), 1);
		return await p`))
	time.Sleep(200 * time.Millisecond)
	a.mu.Lock()
	assert.Len(t, a.requests, 1)
	a.mu.Unlock()

	// keys from the CRM's server, an agent too old, a browser without Ed25519
	assert.Equal(t, "not_installed", tb.js(false, `c.close(); c = tanba.connect({ports: [`+strconv.Itoa(a.port)+`], pins: ['another']}); return await c.status()`))
	assert.Equal(t, "old", tb.js(false, `c = tanba.connect({ports: [`+strconv.Itoa(a.port)+`], minVersion: '0.2'}); return await c.status()`))
	assert.Equal(t, "error no_ed25519", tb.js(true, `c = tanba.connect({ports: [`+strconv.Itoa(a.port)+`], ed25519: async () => false}); await c.requestAccess()`))
}

// public makes pages of this port public ones, under any name in .test.
func public(port string) []chromedp.ExecAllocatorOption {
	return []chromedp.ExecAllocatorOption{
		chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("ip-address-space-overrides", "127.0.0.1:"+port+"=public"),
	}
}

// permit answers the browser's question about loopback for a site.
func permit(origin string, s browser.PermissionSetting) action {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "loopback-network"}, Setting: s, Origin: origin,
		})
		return err
	})
}

// The page stands on https in what Chromium takes for the public internet.
func TestPublicPage(t *testing.T) {
	page := httptest.NewTLSServer(http.HandlerFunc(crm))
	defer page.Close()
	_, port, err := net.SplitHostPort(page.Listener.Addr().String())
	require.NoError(t, err)
	origin := "https://crm.test:" + port
	flags := public(port)
	for _, c := range []struct {
		name    string
		prepare []action
		onLoad  string // status() when the page loads
		onClick string // sign() from a click, and the status after it
		sockets bool   // the agent may be reached
	}{
		{"granted", []action{permit(origin, browser.PermissionSettingGranted)}, "ready", "delivered ready", true},
		{"denied", []action{permit(origin, browser.PermissionSettingDenied)}, "lna_blocked", "error lna_blocked", false},
		{"unanswered", nil, "lna_prompt", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgent(t, func(p *policy.Policy) { p.AllowedSites = []string{origin} })
			tb := openTab(t, origin, flags, c.prepare...)
			assert.Equal(t, c.onLoad, tb.js(false, fmt.Sprintf(`window.c = tanba.connect({ports: [%d]}); return await c.status()`, a.port)))
			sign := `const r = await c.sign({job:'j', documents:[{id:'a',name:'a',format:'cades',content:new Uint8Array(5)}], delivery:{url:location.origin}}); return r.documents[0].state + ' ' + c.last`
			if c.onClick != "" {
				assert.Equal(t, c.onClick, tb.js(true, sign))
			} else {
				assert.Equal(t, "error needs_click", tb.js(false, sign), "not without a click")
				// Headless Chromium has nobody to answer: the socket fails, or waits.
				assert.Empty(t, a.requests)
				got := tb.js(true, `return await Promise.race([(async () => { `+strings.Replace(sign, "return", "throw", 1)+` })().catch((e) => 'error ' + e.code), new Promise((r) => setTimeout(() => r('waits'), 6000))])`)
				assert.Contains(t, []string{"error needs_click", "error lna_blocked", "waits"}, got)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			assert.Equal(t, c.sockets, len(a.requests) > 0)
		})
	}
}

// The CRM's page is a frame in another site's, as applications of portals are:
// the permission is the outer page's.
func TestPageInAFrame(t *testing.T) {
	page := httptest.NewTLSServer(http.HandlerFunc(crm))
	defer page.Close()
	_, port, err := net.SplitHostPort(page.Listener.Addr().String())
	require.NoError(t, err)
	origin, portal := "https://crm.test:"+port, "https://portal.test:"+port
	for _, c := range []struct {
		name, allow, status string
		prepare             []action
	}{
		{"granted to the outer page", "", "ready", []action{permit(portal, browser.PermissionSettingGranted)}},
		{"granted to the inner page", "loopback-network", "lna_prompt", []action{permit(origin, browser.PermissionSettingGranted)}},
		{"not delegated", "", "lna_blocked", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgent(t, func(p *policy.Policy) { p.AllowedSites = []string{origin} })
			tb := openTab(t, portal, public(port), c.prepare...)
			assert.Equal(t, c.status, tb.js(false, fmt.Sprintf(`return await new Promise((ok) => {
				const f = document.createElement('iframe');
				onmessage = (m) => m.data === 'loaded' ? f.contentWindow.postMessage(%d, '*') : ok(m.data);
				f.allow = %q; f.src = %q; document.body.append(f) })`, a.port, c.allow, origin+"/frame")))
		})
	}
}
