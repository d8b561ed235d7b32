package pages

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

// desk is a Server with what it opened and logged.
type desk struct {
	t      *testing.T
	server *Server
	urls   chan string
	log    *bytes.Buffer
	ls     []net.Listener
	check  func(*http.Request, int) error
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, urls: make(chan string, 8), log: &bytes.Buffer{}, check: func(*http.Request, int) error { return nil }}
	d.server = New(Config{
		Listen: func(context.Context) ([]net.Listener, int, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, 0, err
			}
			d.ls = append(d.ls, l)
			return []net.Listener{l}, l.Addr().(*net.TCPAddr).Port, nil
		},
		Check: func(r *http.Request, port int) error { return d.check(r, port) },
		Open:  func(_ context.Context, url string) error { d.urls <- url; return nil },
		Now:   time.Now,
		Log:   slog.New(slog.NewTextHandler(&locked{w: d.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	t.Cleanup(func() { _ = d.server.Close() })
	return d
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func echo(name string) Page {
	return Page{
		Name: name, Assets: fstest.MapFS{"index.html": {Data: []byte("<!doctype html>")}, "page.js": {Data: []byte("1")}, "secret.key": {Data: []byte("x")}},
		Handle: func(_ context.Context, method string, body json.RawMessage) (any, error) {
			switch method {
			case "refuse":
				return nil, Refusal("no")
			case "fail":
				return nil, errors.New("the cause")
			}
			return map[string]any{"page": name, "body": body}, nil
		},
	}
}

// show shows p and returns its address, taken apart.
func (d *desk) show(p Page) (sh *Shown, base, secret string) {
	d.t.Helper()
	sh, err := d.server.Show(d.t.Context(), p)
	require.NoError(d.t, err)
	base, secret = d.next()
	return sh, base, secret
}

func (d *desk) next() (base, secret string) {
	d.t.Helper()
	address, secret, ok := strings.Cut(<-d.urls, "#")
	require.True(d.t, ok)
	rest, ok := strings.CutPrefix(address, "http://127.0.0.1:")
	require.True(d.t, ok)
	port, path, _ := strings.Cut(rest, "/")
	assert.Regexp(d.t, "^[a-z]+/$", path)
	assert.Len(d.t, secret, 43)
	return "http://127.0.0.1:" + port, secret
}

type mutate func(r *http.Request)

func send(t *testing.T, method, url, body string, changes ...mutate) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if method == http.MethodPost {
		r.Header.Set("Origin", url[:strings.Index(url[7:], "/")+7])
		r.Header.Set("Content-Type", "application/json")
	}
	for _, c := range changes {
		c(r)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(data)
}

func header(k string, v ...string) mutate {
	return func(r *http.Request) { r.Header[k] = v }
}

// redeem returns the bearer for a secret, empty if it was refused.
func redeem(t *testing.T, base, secret string) string {
	t.Helper()
	status, _, body := send(t, "POST", base+"/api/redeem", `{"secret":"`+secret+`"}`)
	if status != http.StatusOK {
		assert.Equal(t, http.StatusForbidden, status)
		assert.Contains(t, body, "page.gone_title")
		return ""
	}
	var out struct{ Bearer string }
	require.NoError(t, json.Unmarshal([]byte(body), &out))
	return out.Bearer
}

func as(bearer string) mutate { return header("Authorization", "Bearer "+bearer) }

func TestSecretIsGoodOnce(t *testing.T) {
	d := newDesk(t)
	_, base, secret := d.show(echo("prompt"))
	assert.Empty(t, redeem(t, base, strings.Repeat("A", 43)))
	assert.Empty(t, redeem(t, base, ""))
	bearer := redeem(t, base, secret)
	require.NotEmpty(t, bearer)
	assert.NotEqual(t, secret, bearer)
	assert.Empty(t, redeem(t, base, secret), "replayed")
	status, _, body := send(t, "POST", base+"/api/call/x", `{"a":1}`, as(bearer))
	assert.Equal(t, http.StatusOK, status)
	assert.JSONEq(t, `{"page":"prompt","body":{"a":1}}`, body)
	for name, m := range map[string]mutate{"none": header("X", "y"), "the secret": as(secret), "empty": as(""), "another scheme": header("Authorization", "Basic "+bearer)} {
		status, _, body = send(t, "POST", base+"/api/call/x", `{}`, m)
		assert.Equal(t, http.StatusForbidden, status, name)
		assert.Equal(t, "forbidden\n", body, name)
	}
	assert.NotContains(t, d.log.String(), secret)
	assert.NotContains(t, d.log.String(), bearer)
}

func TestSecretExpires(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	d.server.cfg.Now = func() time.Time { return now }
	_, base, secret := d.show(echo("prompt"))
	now = now.Add(SecretLife + time.Second)
	assert.Empty(t, redeem(t, base, secret))
}

func TestReopenEndsTheEarlierTab(t *testing.T) {
	d := newDesk(t)
	sh, base, secret := d.show(echo("prompt"))
	bearer := redeem(t, base, secret)
	require.NoError(t, sh.Reopen(t.Context()))
	_, second := d.next()
	status, _, _ := send(t, "POST", base+"/api/call/x", `{}`, as(bearer))
	assert.Equal(t, http.StatusOK, status, "until the new tab is there")
	newer := redeem(t, base, second)
	require.NotEmpty(t, newer)
	status, _, _ = send(t, "POST", base+"/api/call/x", `{}`, as(bearer))
	assert.Equal(t, http.StatusForbidden, status)
	status, _, _ = send(t, "POST", base+"/api/call/x", `{}`, as(newer))
	assert.Equal(t, http.StatusOK, status)
}

func TestEachPageItsOwnRights(t *testing.T) {
	d := newDesk(t)
	_, base, one := d.show(echo("prompt"))
	sh, base2, two := d.show(echo("history"))
	require.Equal(t, base, base2, "one listener")
	require.NotEmpty(t, redeem(t, base, one))
	bearer := redeem(t, base, two)
	_, _, body := send(t, "POST", base+"/api/call/approve", `{}`, as(bearer))
	assert.Contains(t, body, `"history"`)
	status, _, _ := send(t, "POST", base+"/api/raw/pin", `1234`, as(bearer), header("Content-Type", "application/octet-stream"))
	assert.Equal(t, http.StatusConflict, status, "a page without raw calls")
	sh.End()
	status, _, _ = send(t, "POST", base+"/api/call/x", `{}`, as(bearer))
	assert.Equal(t, http.StatusConflict, status)
}

func TestStrangersAreRefused(t *testing.T) {
	d := newDesk(t)
	_, base, secret := d.show(echo("prompt"))
	port := base[strings.LastIndexByte(base, ':'):]
	body := `{"secret":"` + secret + `"}`
	for name, m := range map[string]mutate{
		"foreign origin":       header("Origin", "https://evil.example"),
		"null origin":          header("Origin", "null"),
		"no origin":            func(r *http.Request) { r.Header.Del("Origin") },
		"two origins":          header("Origin", base, base),
		"origin of other port": header("Origin", "http://127.0.0.1:1"),
		"origin by name":       header("Origin", "http://localhost"+port),
		"rebound host":         func(r *http.Request) { r.Host = "evil.example" + port },
		"localhost":            func(r *http.Request) { r.Host = "localhost" + port },
		"ipv6 host":            func(r *http.Request) { r.Host = "[::1]" + port },
		"host without port":    func(r *http.Request) { r.Host = "127.0.0.1" },
		"cross-site":           header("Sec-Fetch-Site", "cross-site"),
		"same-site":            header("Sec-Fetch-Site", "same-site"),
		"framed":               header("Sec-Fetch-Dest", "iframe"),
	} {
		status, h, answer := send(t, "POST", base+"/api/redeem", body, m)
		assert.Equal(t, http.StatusForbidden, status, name)
		assert.Equal(t, "forbidden\n", answer, name)
		assert.Empty(t, h.Values("Access-Control-Allow-Origin"), name)
	}
	d.check = func(*http.Request, int) error { return errors.New("another user") }
	status, _, _ := send(t, "POST", base+"/api/redeem", body)
	assert.Equal(t, http.StatusForbidden, status, "another user's process")
	d.check = func(*http.Request, int) error { return nil }
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "HEAD"} {
		status, _, _ := send(t, method, base+"/api/redeem", body)
		assert.Equal(t, http.StatusForbidden, status, method)
	}
	status, _, _ = send(t, "GET", base+"/prompt/", "", header("Sec-Fetch-Dest", "iframe"))
	assert.Equal(t, http.StatusForbidden, status, "framing")
	assert.NotEmpty(t, redeem(t, base, secret), "none of those used the secret up")
}

func TestHeaders(t *testing.T) {
	d := newDesk(t)
	_, base, _ := d.show(echo("prompt"))
	for _, path := range []string{"/prompt/", "/prompt/page.js", "/pages.js", "/pages.css", "/pages.svg", "/nothing/"} {
		_, h, _ := send(t, "GET", base+path, "")
		csp := h.Get("Content-Security-Policy")
		assert.Contains(t, csp, "default-src 'none'", path)
		assert.Contains(t, csp, "frame-ancestors 'none'", path)
		assert.NotContains(t, csp, "unsafe", path)
		for k, v := range map[string]string{"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"} {
			assert.Equal(t, v, h.Get(k), path)
		}
		assert.Empty(t, h.Values("Set-Cookie"), path)
	}
	for _, path := range []string{"/", "/prompt/secret.key", "/prompt/../pages.go", "/nothing/", "/prompt/none.js", "/file/x", "/client/pages.js"} {
		status, _, body := send(t, "GET", base+path, "")
		assert.NotEqual(t, http.StatusOK, status, path)
		assert.NotContains(t, body, "package", path)
	}
}

func TestBodies(t *testing.T) {
	d := newDesk(t)
	_, base, secret := d.show(echo("prompt"))
	bearer := redeem(t, base, secret)
	for body, want := range map[string]int{
		`{"a":1}`: 200, `{"a":1}{}`: 400, `{`: 400, ``: 400, `{"a":"` + strings.Repeat("x", MaxCall) + `"}`: 400,
	} {
		status, _, _ := send(t, "POST", base+"/api/call/x", body, as(bearer))
		assert.Equal(t, want, status, "%.20s", body)
	}
	status, _, _ := send(t, "POST", base+"/api/call/x", `{}`, as(bearer), header("Content-Type", "text/plain"))
	assert.Equal(t, http.StatusUnsupportedMediaType, status, "what a form could send")
	_, _, body := send(t, "POST", base+"/api/call/refuse", `{}`, as(bearer))
	assert.JSONEq(t, `{"error":"no"}`, body)
	_, _, body = send(t, "POST", base+"/api/call/fail", `{}`, as(bearer))
	assert.JSONEq(t, `{"error":"internal"}`, body)
}

func TestStream(t *testing.T) {
	d := newDesk(t)
	sh, base, secret := d.show(echo("prompt"))
	sh.Push("state", 1)
	bearer := redeem(t, base, secret)
	sh.Push("state", 2)
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/api/stream", nil)
	require.NoError(t, err)
	r.Header.Set("Origin", base)
	r.Header.Set("Authorization", "Bearer "+bearer)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if !strings.Contains(lines.Text(), `"beat"`) {
				return lines.Text()
			}
		}
		return ""
	}
	assert.JSONEq(t, `{"event":"state","data":2}`, next(), "the latest only")
	sh.Push("state", 3)
	assert.JSONEq(t, `{"event":"state","data":3}`, next())
	sh.Push("state", 4)
	sh.End()
	sh.Push("state", 5)
	assert.JSONEq(t, `{"event":"state","data":4}`, next())
	assert.JSONEq(t, `{"event":"end"}`, next())
	assert.Empty(t, next())
}

func TestFileIsGivenOnce(t *testing.T) {
	d := newDesk(t)
	sh, base, _ := d.show(echo("prompt"))
	content := []byte("<script>alert(1)</script>")
	file := File{Name: `договор "1".html`, MediaType: "text/html", Size: int64(len(content)), Content: bytes.NewReader(content)}
	path, err := sh.Offer(file)
	require.NoError(t, err)
	status, h, body := send(t, "GET", base+path, "")
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, string(content), body)
	assert.Equal(t, "application/octet-stream", h.Get("Content-Type"), "never shown under our origin")
	assert.Contains(t, h.Get("Content-Disposition"), "attachment")
	assert.Contains(t, h.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	status, _, _ = send(t, "GET", base+path, "")
	assert.Equal(t, http.StatusForbidden, status)
	path, err = sh.Offer(file)
	require.NoError(t, err)
	sh.End()
	status, _, _ = send(t, "GET", base+path, "")
	assert.Equal(t, http.StatusForbidden, status, "the page has ended")
	_, err = sh.Offer(file)
	assert.Error(t, err)
}

func TestOfferIsBounded(t *testing.T) {
	d := newDesk(t)
	now := time.Now()
	d.server.cfg.Now = func() time.Time { return now }
	sh, _, _ := d.show(echo("prompt"))
	file := File{Name: "a.pdf", MediaType: "application/pdf", Content: bytes.NewReader(nil)}
	for range maxFiles {
		_, err := sh.Offer(file)
		require.NoError(t, err)
	}
	_, err := sh.Offer(file)
	assert.ErrorIs(t, err, errFull)
	now = now.Add(fileLife + time.Second)
	_, err = sh.Offer(file)
	assert.NoError(t, err, "those that were not fetched lapse")
}

func TestNoBrowser(t *testing.T) {
	d := newDesk(t)
	d.server.cfg.Open = func(context.Context, string) error { return errors.New("no display") }
	_, err := d.server.Show(t.Context(), echo("prompt"))
	var e *job.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, job.CodeNoBrowser, e.Code)
	assert.Empty(t, d.server.all())
}

// TestLife follows a page from its opening to its end on a clock of its own.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int32
		s := New(Config{
			Listen: func(context.Context) ([]net.Listener, int, error) {
				return []net.Listener{idle(make(chan struct{}))}, 1, nil
			},
			Open: func(context.Context, string) error { return nil },
			Now:  time.Now, Log: slog.New(slog.DiscardHandler),
		})
		add := func() *Shown {
			sh, err := s.Show(t.Context(), Page{Name: "prompt", Assets: fs.FS(fstest.MapFS{}), Closed: func() { closed.Add(1) }})
			require.NoError(t, err)
			return sh
		}
		in := func(sh *Shown) {
			_, sum := newSecret()
			sh.mu.Lock()
			sh.secret, sh.expires = sum, time.Now().Add(SecretLife)
			sh.mu.Unlock()
			_, _, ok := sh.redeem(sum)
			require.True(t, ok)
		}
		sh := add()
		time.Sleep(time.Hour)
		assert.Zero(t, closed.Load(), "not opened yet: its owner decides")
		in(sh)
		n := sh.join()
		time.Sleep(time.Hour)
		assert.Zero(t, closed.Load())
		sh.leave(n)
		time.Sleep(LostAfter - time.Second)
		n = sh.join()
		time.Sleep(time.Minute)
		assert.Zero(t, closed.Load(), "the stream came back in time")
		sh.reloaded()
		sh.leave(n)
		time.Sleep(LostReload - time.Second)
		assert.Zero(t, closed.Load(), "reloaded: time to find the tray")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, closed.Load())
		assert.NotEmpty(t, s.origin(), "the listener lingers")
		other := add()
		time.Sleep(linger + time.Second)
		assert.NotEmpty(t, s.origin(), "another page came in time")
		other.End()
		time.Sleep(endedLife + linger + time.Second)
		synctest.Wait()
		assert.Empty(t, s.origin(), "no page, no listener")
		assert.EqualValues(t, 1, closed.Load(), "a page that we end is not closed by the signer")
		third := add()
		assert.NotEmpty(t, s.origin())
		in(third)
		time.Sleep(LostAfter + time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, closed.Load(), "got in, never listened")
		require.NoError(t, s.Close())
	})
}

// idle is a listener to which nobody comes.
type idle chan struct{}

func (i idle) Accept() (net.Conn, error) { <-i; return nil, net.ErrClosed }
func (i idle) Close() error              { close(i); return nil }
func (i idle) Addr() net.Addr            { return &net.TCPAddr{} }

func TestSame(t *testing.T) {
	var zero [32]byte
	assert.False(t, same(zero, zero), "no secret is not a secret")
	a := sha256.Sum256([]byte("a"))
	assert.True(t, same(a, a))
	assert.False(t, same(a, sha256.Sum256([]byte("b"))))
}
