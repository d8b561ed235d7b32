package gate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/policy"
	"tanba/agent/sites"
)

const crm = "https://crm.example.kz"

// serve starts a guarded server that answers 200 with the origin.
func serve(t *testing.T, change func(g *Guard)) *Listeners {
	t.Helper()
	l, err := Listen(t.Context(), 0, 0)
	require.NoError(t, err)
	pol := policy.Default()
	pol.BlockedSites = []string{"https://blocked.example"}
	pol.HTTPOrigins = []string{"http://intranet:8080"}
	store, err := sites.Open(t.TempDir()+"/sites", pol, t.TempDir()+"/secret")
	require.NoError(t, err)
	g := &Guard{
		Peer: SystemPeer(), Port: l.Port, Path: "/v1", Subprotocol: "tanba.v1", Status: store.Status,
		Limits: pol.Limits, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(g)
	}
	srv := NewServer(g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "in:"+Origin(r))
	})), g.Limits, g.Log)
	done := make(chan error, 1)
	go func() { done <- l.Serve(srv, Connections(g.Limits)) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return l
}

// raw sends a request as it is written and returns the whole answer.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(b)
}

// refusal is every byte of every refusal.
const refusal = "HTTP/1.1 403 Forbidden\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: 10\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\r\nForbidden\n"

func TestGuard(t *testing.T) {
	l := serve(t, nil)
	port := strconv.Itoa(l.Port)
	addr := "127.0.0.1:" + port
	const sub = "Sec-WebSocket-Protocol: tanba.v1\r\n"
	for _, c := range []struct {
		name, line, host, headers string
		ok                        bool
	}{
		{"as a browser sends it", "GET /v1", addr, "Origin: " + crm + "\r\n" + sub, true},
		{"localhost", "GET /v1", "localhost:" + port, "Origin: " + crm + "\r\n" + sub, true},
		{"IPv6 name", "GET /v1", "[::1]:" + port, "Origin: " + crm + "\r\n" + sub, true},
		{"http that policy names", "GET /v1", addr, "Origin: http://intranet:8080\r\n" + sub, true},
		{"several subprotocols", "GET /v1", addr, "Origin: " + crm + "\r\nSec-WebSocket-Protocol: x, tanba.v1\r\n", true},
		{"no Origin", "GET /v1", addr, sub, false},
		{"empty Origin", "GET /v1", addr, "Origin:\r\n" + sub, false},
		{"two Origins", "GET /v1", addr, "Origin: " + crm + "\r\nOrigin: " + crm + "\r\n" + sub, false},
		{"two origins in one", "GET /v1", addr, "Origin: " + crm + " https://b.example\r\n" + sub, false},
		{"null", "GET /v1", addr, "Origin: null\r\n" + sub, false},
		{"file", "GET /v1", addr, "Origin: file://\r\n" + sub, false},
		{"extension", "GET /v1", addr, "Origin: chrome-extension://abcdefghijklmnop\r\n" + sub, false},
		{"http page", "GET /v1", addr, "Origin: http://crm.example.kz\r\n" + sub, false},
		{"origin of our own address", "GET /v1", addr, "Origin: http://" + addr + "\r\n" + sub, false},
		{"origin with a path", "GET /v1", addr, "Origin: " + crm + "/\r\n" + sub, false},
		{"origin with capitals", "GET /v1", addr, "Origin: https://CRM.example.kz\r\n" + sub, false},
		{"origin with the default port", "GET /v1", addr, "Origin: " + crm + ":443\r\n" + sub, false},
		{"origin with an empty port", "GET /v1", addr, "Origin: " + crm + ":\r\n" + sub, false},
		{"origin with port zero", "GET /v1", addr, "Origin: " + crm + ":0\r\n" + sub, false},
		{"origin with a long port", "GET /v1", addr, "Origin: " + crm + ":08443\r\n" + sub, false},
		{"origin with a user", "GET /v1", addr, "Origin: https://a@crm.example.kz\r\n" + sub, false},
		{"origin not in ASCII", "GET /v1", addr, "Origin: https://срм.example.kz\r\n" + sub, false},
		{"very long origin", "GET /v1", addr, "Origin: https://" + strings.Repeat("a", 400) + ".kz\r\n" + sub, false},
		{"blocked site", "GET /v1", addr, "Origin: https://blocked.example\r\n" + sub, false},
		{"rebound name", "GET /v1", "evil.example:" + port, "Origin: http://evil.example:" + port + "\r\n" + sub, false},
		{"rebound name, good origin", "GET /v1", "evil.example:" + port, "Origin: " + crm + "\r\n" + sub, false},
		{"Host without port", "GET /v1", "127.0.0.1", "Origin: " + crm + "\r\n" + sub, false},
		{"Host of another port", "GET /v1", "127.0.0.1:1", "Origin: " + crm + "\r\n" + sub, false},
		{"Host 0.0.0.0", "GET /v1", "0.0.0.0:" + port, "Origin: " + crm + "\r\n" + sub, false},
		{"Host 127.0.0.2", "GET /v1", "127.0.0.2:" + port, "Origin: " + crm + "\r\n" + sub, false},
		{"Host with a dot", "GET /v1", "localhost.:" + port, "Origin: " + crm + "\r\n" + sub, false},
		{"Host in the request line", "GET http://evil.example:" + port + "/v1", addr, "Origin: " + crm + "\r\n" + sub, false},
		{"another path", "GET /", addr, "Origin: " + crm + "\r\n" + sub, false},
		{"a path that would be cleaned", "GET //v1", addr, "Origin: " + crm + "\r\n" + sub, false},
		{"query", "GET /v1?a=b", addr, "Origin: " + crm + "\r\n" + sub, false},
		{"POST", "POST /v1", addr, "Origin: " + crm + "\r\nContent-Length: 0\r\n" + sub, false},
		{"preflight", "OPTIONS /v1", addr, "Origin: " + crm + "\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n", false},
		{"OPTIONS *", "OPTIONS *", addr, "Origin: " + crm + "\r\n", false},
		{"no subprotocol", "GET /v1", addr, "Origin: " + crm + "\r\n", false},
		{"another subprotocol", "GET /v1", addr, "Origin: " + crm + "\r\nSec-WebSocket-Protocol: tanba.v2\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := raw(t, addr, c.line+" HTTP/1.1\r\nHost: "+c.host+"\r\n"+c.headers+"Connection: close\r\n\r\n")
			if c.ok {
				assert.Contains(t, got, "200 OK")
				assert.Contains(t, got, "in:http")
			} else {
				assert.Equal(t, refusal, got)
			}
		})
	}
}

func TestSitesLocked(t *testing.T) {
	pol := policy.Default()
	pol.SitesLocked, pol.AllowedSites = true, []string{crm}
	store, err := sites.Open(t.TempDir()+"/sites", pol, t.TempDir()+"/secret")
	require.NoError(t, err)
	l := serve(t, func(g *Guard) { g.Status = store.Status })
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	ask := func(origin string) string {
		return raw(t, addr, "GET /v1 HTTP/1.1\r\nHost: "+addr+"\r\nOrigin: "+origin+"\r\nSec-WebSocket-Protocol: tanba.v1\r\nConnection: close\r\n\r\n")
	}
	assert.Contains(t, ask(crm), "200 OK")
	assert.Equal(t, refusal, ask("https://other.example"))
}

type peerFunc func(local, remote netip.AddrPort) error

func (f peerFunc) Check(local, remote netip.AddrPort) error { return f(local, remote) }
func (peerFunc) Supported() error                           { return nil }

func TestAForeignProcessIsRefusedFirst(t *testing.T) {
	l := serve(t, func(g *Guard) { g.Peer = peerFunc(func(_, _ netip.AddrPort) error { return ErrPeer }) })
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	assert.Equal(t, refusal, raw(t, addr, "GET /v1 HTTP/1.1\r\nHost: "+addr+"\r\nOrigin: "+crm+
		"\r\nSec-WebSocket-Protocol: tanba.v1\r\nConnection: close\r\n\r\n"))
}

func TestPeerAndHost(t *testing.T) {
	l, err := Listen(t.Context(), 0, 0)
	require.NoError(t, err)
	got := make(chan error, 1)
	srv := NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- PeerAndHost(r, l.Port) }),
		policy.Default().Limits, slog.New(slog.DiscardHandler))
	go func() { _ = l.Serve(srv, 8) }()
	defer func() { _ = srv.Close() }()
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	raw(t, addr, "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n")
	assert.NoError(t, <-got)
	raw(t, addr, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
	assert.ErrorIs(t, <-got, ErrHost)
	if l.NoIPv6 == nil {
		raw(t, "[::1]:"+strconv.Itoa(l.Port), "GET / HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n")
		assert.NoError(t, <-got)
	}
}

func TestSlowHeaderIsCutOff(t *testing.T) {
	l := serve(t, func(g *Guard) { g.Limits.Header = policy.Duration(200 * time.Millisecond) })
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(l.Port))
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = io.WriteString(c, "GET /v1 HTTP/1.1\r\nHost:")
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = bufio.NewReader(c).ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}

func TestLongHeaderIsRefused(t *testing.T) {
	l := serve(t, nil)
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /v1 HTTP/1.1\r\nHost: "+addr+"\r\nX: "+strings.Repeat("a", 2*MaxHeader)+"\r\n\r\n")
	require.NoError(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	got, err := io.ReadAll(c) // the rest of what we sent may reset the connection
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	assert.NotContains(t, string(got), "200")
}

func TestSilentConnectionsAreBounded(t *testing.T) {
	l := serve(t, func(g *Guard) { g.Limits.Sockets = 1 })
	for range Connections(policy.Limits{Sockets: 1}) {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(l.Port))
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
	}
	assert.Eventually(t, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(l.Port))
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}, 3*time.Second, 20*time.Millisecond)
}

func TestCounter(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := policy.Default().Limits
	fresh := func() *counter { return newCounter(l, func() time.Time { return now }) }

	c := fresh()
	var releases []func()
	for range l.SocketsPerOrigin {
		r, err := c.enter(crm, true)
		require.NoError(t, err)
		releases = append(releases, r)
	}
	_, err := c.enter(crm, true)
	assert.ErrorIs(t, err, ErrRate, "per origin")
	releases[0]()
	releases[0]()
	_, err = c.enter(crm, true)
	assert.NoError(t, err)
	_, err = c.enter(crm, true)
	assert.ErrorIs(t, err, ErrRate, "released once, not twice")

	c = fresh()
	n := 0
	for i := range l.Sockets {
		if _, err := c.enter("https://a"+strconv.Itoa(i)+".example", false); err == nil {
			n++
		}
	}
	assert.Equal(t, l.Sockets/2, n, "strangers leave room")
	for i := range l.Sockets {
		if _, err := c.enter("https://b"+strconv.Itoa(i)+".example", true); err == nil {
			n++
		}
	}
	assert.Equal(t, l.Sockets, n, "in all")

	c = fresh()
	n = 0
	for range 3 * originBurst {
		if r, err := c.enter(crm, true); err == nil {
			r()
			n++
		}
	}
	assert.Equal(t, originBurst, n, "rate of an origin")
	now = now.Add(5 * time.Second)
	for range 10 {
		if r, err := c.enter(crm, true); err == nil {
			r()
			n++
		}
	}
	assert.Equal(t, originBurst+5, n, "one a second afterwards")

	c = fresh()
	n = 0
	for i := range 1000 {
		if r, err := c.enter("https://s"+strconv.Itoa(i)+".example", false); err == nil {
			r()
			n++
		}
	}
	assert.Equal(t, allBurst, n, "rate of all strangers")
	assert.LessOrEqual(t, len(c.origins), maxOrigins)
	_, err = c.enter(crm, true)
	assert.ErrorIs(t, err, ErrRate, "memory is bounded even then")
	now = now.Add(time.Hour)
	_, err = c.enter(crm, true)
	assert.NoError(t, err)
}

func TestRefusalsAreLogged(t *testing.T) {
	var log bytes.Buffer
	l := serve(t, func(g *Guard) { g.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	for range 3 * logBurst {
		raw(t, addr, "GET /v1 HTTP/1.1\r\nHost: "+addr+"\r\nOrigin: https://blocked.example\r\nConnection: close\r\n\r\n")
	}
	raw(t, addr, "GET /v1 HTTP/1.1\r\nHost: "+addr+"\r\nOrigin: a secret\r\nConnection: close\r\n\r\n")
	assert.Contains(t, log.String(), "origin=https://blocked.example")
	assert.NotContains(t, log.String(), "secret")
	assert.Equal(t, logBurst, strings.Count(log.String(), "connection refused"), "a flood does not fill the log")
}

func TestTooManySockets(t *testing.T) {
	release := make(chan struct{})
	l, err := Listen(t.Context(), 0, 0)
	require.NoError(t, err)
	limits := policy.Default().Limits
	g := &Guard{
		Peer: SystemPeer(), Port: l.Port, Path: "/v1", Limits: limits, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Status: func(string) sites.Status { return sites.Allowed },
	}
	srv := NewServer(g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-release })), limits, g.Log)
	go func() { _ = l.Serve(srv, Connections(limits)) }()
	defer func() { _ = srv.Close() }()
	addr := "127.0.0.1:" + strconv.Itoa(l.Port)
	request := func(origin string) string {
		return "GET /v1 HTTP/1.1\r\nHost: " + addr + "\r\nOrigin: " + origin + "\r\nConnection: close\r\n\r\n"
	}
	for i := range limits.Sockets {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, request("https://s"+strconv.Itoa(i/limits.SocketsPerOrigin)+".example"))
		require.NoError(t, err)
	}
	assert.Eventually(t, func() bool { g.count.mu.Lock(); defer g.count.mu.Unlock(); return g.count.open == limits.Sockets },
		5*time.Second, 10*time.Millisecond)
	assert.Equal(t, refusal, raw(t, addr, request("https://s0.example")), "of one site")
	assert.Equal(t, refusal, raw(t, addr, request("https://fresh.example")), "in all")
	close(release)
	assert.Eventually(t, func() bool { return strings.Contains(raw(t, addr, request("https://fresh.example")), "200 OK") },
		5*time.Second, 50*time.Millisecond, "their places are given back")
}
