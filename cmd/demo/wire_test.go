package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/cmd/demo/stage"
)

// wire is a socket of a page, without a browser.
type wire struct {
	c    *websocket.Conn
	last int
}

func dialAgent(ctx context.Context, s *stage.Stage, origin string) (*wire, error) {
	d := websocket.Dialer{Subprotocols: []string{"tanba.v1"}}
	c, resp, err := d.DialContext(ctx, fmt.Sprintf("ws://127.0.0.1:%d/v1", s.Agent.Port), http.Header{"Origin": {origin}})
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	w := &wire{c: c}
	_, err = w.call("hello", map[string]any{"nonce": base64.RawURLEncoding.EncodeToString(make([]byte, 32))})
	return w, err
}

func (w *wire) send(method string, params map[string]any) (id int, err error) {
	w.last++
	return w.last, w.c.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": w.last, "method": method, "params": params})
}

type said struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Data struct {
			Code string `json:"code"`
		} `json:"data"`
	} `json:"error"`
}

// answer waits for the answer with id; an error of the agent's has its code.
func (w *wire) answer(id int) (string, error) {
	for {
		if err := w.c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return "", err
		}
		var m said
		if err := w.c.ReadJSON(&m); err != nil {
			return "", err
		}
		if m.ID != id || m.Method != "" {
			continue
		}
		if m.Error != nil {
			return "", errors.New(m.Error.Data.Code)
		}
		return string(m.Result), nil
	}
}

func (w *wire) call(method string, params map[string]any) (string, error) {
	id, err := w.send(method, params)
	if err != nil {
		return "", err
	}
	return w.answer(id)
}

// sign sends a job of one small text, whose result goes to the site's /taken.
func (w *wire) sign(site, job string) (id int, err error) {
	return w.send("sign", map[string]any{
		"job": job,
		"documents": []any{map[string]any{
			"id": "note", "name": "note.txt", "format": "cades",
			"content": map[string]any{"inline": base64.StdEncoding.EncodeToString([]byte(site + job))},
		}},
		"delivery": map[string]any{"url": site + "/taken", "bearer": "b"},
	})
}

// letIn changes the settings that the stage wrote, so that these http sites,
// besides the CRM, are allowed, and starts the agent anew.
func letIn(t *testing.T, s *stage.Stage, sites ...string) {
	t.Helper()
	path := filepath.Join(s.Dir, "tanba.toml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	list, err := json.Marshal(append([]string{s.URL}, sites...))
	require.NoError(t, err)
	text = regexp.MustCompile(`(?m)^http_origins.*$`).ReplaceAll(text, []byte("http_origins = "+string(list)+"\nallowed_sites = "+string(list)))
	require.NoError(t, os.WriteFile(path, text, 0o600))
	require.NoError(t, s.Agent.Restart(t.Context()))
}

// taken answers 200 to results at /taken, and counts them.
func taken(got *atomic.Int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/taken" {
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		got.Add(1)
	})
}

// quiet starts a demo without a browser.
func quiet(t *testing.T, change func(*stage.Options)) *stage.Stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	o := stage.Options{
		Dir: dir, Binaries: binaries, CatchPrompts: true, Language: "en", Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
	o.FirstPort, o.LastPort, err = stage.FreePorts(10)
	require.NoError(t, err)
	if change != nil {
		change(&o)
	}
	s, err := stage.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// paper plays a prompt's page by HTTP.
type paper struct {
	ctx            context.Context
	origin, bearer string
	stream         io.Closer
	tokens         chan string // the first identity
	identity       string
}

func openPaper(ctx context.Context, s *stage.Stage) (*paper, error) {
	address, err := s.Prompts.Next(ctx)
	if err != nil {
		return nil, err
	}
	head, secret, _ := strings.Cut(address, "#")
	p := &paper{ctx: ctx, origin: head[:strings.LastIndex(head, "/prompt")], tokens: make(chan string, 1)}
	var in struct{ Bearer string }
	if err := p.call("/api/redeem", map[string]string{"secret": secret}, &in); err != nil {
		return nil, err
	}
	p.bearer = in.Bearer
	resp, err := p.post("/api/stream", "", nil)
	if err != nil {
		return nil, err
	}
	p.stream = resp.Body
	go func() {
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var e struct {
				Data struct {
					Tokens []struct{ Identities []struct{ ID string } }
				}
			}
			if json.Unmarshal(lines.Bytes(), &e) == nil && len(e.Data.Tokens) > 0 && len(e.Data.Tokens[0].Identities) > 0 {
				select {
				case p.tokens <- e.Data.Tokens[0].Identities[0].ID:
				default:
				}
			}
		}
	}()
	return p, nil
}

func (p *paper) post(path, kind string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.origin+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Origin", p.origin)
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Authorization", "Bearer "+p.bearer)
	return http.DefaultClient.Do(r)
}

func (p *paper) call(path string, in, out any) error {
	kind, body := "application/json", []byte(nil)
	if raw, ok := in.([]byte); ok {
		kind, body = "application/octet-stream", raw
	} else {
		body, _ = json.Marshal(in)
	}
	resp, err := p.post(path, kind, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, resp.Status, said)
	}
	return errors.Join(err, json.Unmarshal(said, out))
}

// A sheet is what the page was loaded with.
type sheet struct {
	Origin    struct{ Whole string }
	Documents []struct {
		ID     string `json:"id"`
		SHA256 string `json:"sha256"`
	}
}

func (p *paper) load() (v sheet, err error) {
	err = p.call("/api/call/load", struct{}{}, &v)
	return v, err
}

// approve does what the page's script does for a signer, and says whether the
// token was unlocked.
func (p *paper) approve(v sheet, pin string) (unlocked bool, err error) {
	var ok struct{ Unlocked bool }
	if err := p.call("/api/call/focus", map[string]bool{"on": true}, &ok); err != nil {
		return false, err
	}
	time.Sleep(1050 * time.Millisecond)
	if p.identity == "" {
		p.identity = <-p.tokens
	}
	if err := p.call("/api/call/approve", map[string]any{"documents": v.Documents, "identity": p.identity, "finalTry": false}, &ok); err != nil {
		return false, err
	}
	err = p.call("/api/raw/pin", []byte(pin), &ok)
	return ok.Unlocked, err
}

// Two sites ask at once, for the same token. Each prompt is its own site's
// alone, and one site's login is not the other's.
func TestTwoSitesAtOnce(t *testing.T) {
	var got atomic.Int64
	s := quiet(t, func(o *stage.Options) { o.Wrap = func(next http.Handler) http.Handler { return taken(&got, next) } })
	second := httptest.NewServer(taken(&got, http.NotFoundHandler()))
	t.Cleanup(second.Close)
	letIn(t, s, second.URL)
	token := s.Tokens.Reader("altyn")

	type side struct {
		site string
		w    *wire
		id   int
		p    *paper
		v    sheet
	}
	var sides []*side
	for _, site := range []string{s.URL, second.URL} {
		w, err := dialAgent(t.Context(), s, site)
		require.NoError(t, err)
		t.Cleanup(func() { _ = w.c.Close() })
		x := &side{site: site, w: w}
		x.id, err = w.sign(site, "job")
		require.NoError(t, err)
		x.p, err = openPaper(t.Context(), s)
		require.NoError(t, err)
		t.Cleanup(func() { _ = x.p.stream.Close() })
		x.v, err = x.p.load()
		require.NoError(t, err)
		assert.Equal(t, site, x.v.Origin.Whole)
		sides = append(sides, x)
	}
	a, b := sides[0], sides[1]
	_, err := a.p.approve(b.v, s.PIN)
	require.ErrorContains(t, err, "mismatch", "what the other prompt shows cannot be approved here")

	require.NoError(t, token.Fault("delay:3000"))
	unlocked, err := a.p.approve(a.v, s.PIN)
	require.NoError(t, err)
	require.True(t, unlocked)
	unlocked, err = b.p.approve(b.v, "00000000")
	require.NoError(t, err)
	assert.False(t, unlocked, "the first site's login does not make any PIN right")
	left, err := token.TriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 2, left)
	require.NoError(t, token.Fault(""))
	require.Eventually(t, func() bool {
		unlocked, err := b.p.approve(b.v, s.PIN)
		return err == nil && unlocked
	}, 20*time.Second, 100*time.Millisecond)
	for _, x := range sides {
		result, err := x.w.answer(x.id)
		require.NoError(t, err)
		assert.Contains(t, result, `"delivered"`)
		assert.NotContains(t, result, `"failed"`)
	}
	left, err = token.TriesLeft()
	require.NoError(t, err)
	assert.Equal(t, 3, left)
}
