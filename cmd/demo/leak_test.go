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
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
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

// sign sends a job of one small text.
func (w *wire) sign(s *stage.Stage, job string) (id int, err error) {
	return w.send("sign", map[string]any{
		"job":       job,
		"documents": []any{map[string]any{"id": "note", "name": "note.txt", "format": "cades", "content": map[string]any{"inline": "aGVsbG8="}}},
		"delivery":  map[string]any{"url": s.URL + "/leak", "bearer": "b"},
	})
}

// paper plays a prompt's page by HTTP.
type paper struct {
	ctx            context.Context
	origin, bearer string
	stream         io.Closer
	tokens         chan string // the first identity
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
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", path, resp.Status, said)
	}
	return errors.Join(err, json.Unmarshal(said, out))
}

// approve does what the page's script does for a signer.
func (p *paper) approve(pin string) error {
	var view struct {
		Documents []struct {
			ID     string `json:"id"`
			SHA256 string `json:"sha256"`
		}
	}
	if err := p.call("/api/call/load", struct{}{}, &view); err != nil {
		return err
	}
	var ok struct{ Unlocked bool }
	if err := p.call("/api/call/focus", map[string]bool{"on": true}, &ok); err != nil {
		return err
	}
	time.Sleep(1050 * time.Millisecond)
	id := <-p.tokens
	if err := p.call("/api/call/approve", map[string]any{"documents": view.Documents, "identity": id, "finalTry": false}, &ok); err != nil {
		return err
	}
	if err := p.call("/api/raw/pin", []byte(pin), &ok); err != nil {
		return err
	}
	if !ok.Unlocked {
		return errors.New("not unlocked")
	}
	return nil
}

// descriptors counts the agent's open files and sockets.
func descriptors(t *testing.T, s *stage.Stage) int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Agent.PID()))
	require.NoError(t, err)
	return len(list)
}

// resident is the agent's resident size, in bytes.
func resident(t *testing.T, s *stage.Stage) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Agent.PID()))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	return kb << 10
}

// Hundreds of pages come and go, ask, withdraw, vanish, sign and reject. When
// they are gone nothing of them is left in the agent.
func TestNothingIsLeftBehind(t *testing.T) {
	dir, err := os.MkdirTemp("", "demo-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	var got atomic.Int64
	var origins []string
	for i := range 20 {
		origins = append(origins, fmt.Sprintf("https://site%d.example", i))
	}
	list, _ := json.Marshal(origins)
	o := stage.Options{
		Dir: dir, Binaries: binaries, CatchPrompts: true, Language: "en", Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Config: "log_level = \"debug\"\n",
		Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/leak" {
					next.ServeHTTP(w, r)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				got.Add(1)
			})
		},
	}
	o.FirstPort, o.LastPort, err = stage.FreePorts(10)
	require.NoError(t, err)
	s, err := stage.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	// The stage writes the settings; the sites come in beside them.
	config := filepath.Join(dir, "tanba.toml")
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, append([]byte("allowed_sites = "+strings.TrimSuffix(string(list), "]")+", \""+s.URL+"\"]\n"), text...), 0o600))
	require.NoError(t, s.Agent.Restart(t.Context()))
	time.Sleep(time.Second)
	files, size := descriptors(t, s), resident(t, s)

	for i := range 300 {
		w, err := dialAgent(t.Context(), s, origins[i%len(origins)])
		require.NoError(t, err, "socket %d", i)
		require.NoError(t, w.c.Close())
	}
	w, err := dialAgent(t.Context(), s, s.URL)
	require.NoError(t, err)
	defer func() { _ = w.c.Close() }()
	for i := range 100 {
		id, err := w.sign(s, fmt.Sprintf("withdrawn%d", i))
		require.NoError(t, err)
		_, err = s.Prompts.Next(t.Context())
		require.NoError(t, err)
		_, err = w.send("cancel", map[string]any{"job": fmt.Sprintf("withdrawn%d", i)})
		require.NoError(t, err)
		_, err = w.answer(id)
		require.EqualError(t, err, "cancelled")
	}
	for i := range 20 {
		id, err := w.sign(s, fmt.Sprintf("seen%d", i))
		require.NoError(t, err)
		p, err := openPaper(t.Context(), s)
		require.NoError(t, err)
		var ok any
		switch i % 4 {
		case 0:
			require.NoError(t, p.approve(s.PIN))
			result, err := w.answer(id)
			require.NoError(t, err)
			assert.Contains(t, result, `"delivered"`)
		case 1:
			require.NoError(t, p.call("/api/call/reject", map[string]any{"documents": []string{"note"}, "reason": "other", "text": ""}, &ok))
			result, err := w.answer(id)
			require.NoError(t, err)
			assert.Contains(t, result, `"rejected"`)
		case 2:
			require.NoError(t, p.call("/api/call/later", struct{}{}, &ok))
			_, err := w.answer(id)
			require.NoError(t, err)
		case 3: // the page's tab is closed
			require.NoError(t, p.stream.Close())
			_, err := w.answer(id)
			require.EqualError(t, err, "prompt_closed")
		}
		_ = p.stream.Close()
	}
	for i := range 5 { // the CRM's page vanishes
		v, err := dialAgent(t.Context(), s, s.URL)
		require.NoError(t, err)
		_, err = v.sign(s, fmt.Sprintf("vanished%d", i))
		require.NoError(t, err)
		_, err = s.Prompts.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, v.c.Close())
		time.Sleep(11 * time.Second)
	}
	require.NoError(t, w.c.Close())
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(30 * time.Second) // ended pages and their listener live on for a while

	t.Log("files:", files, "→", descriptors(t, s), " resident:", size>>10, "→", resident(t, s)>>10, "KiB, delivered:", got.Load())
	assert.LessOrEqual(t, descriptors(t, s), files+4)
	assert.Less(t, resident(t, s), size+32<<20)
	outbox, err := os.ReadDir(filepath.Join(dir, "data", "tanba", "outbox"))
	require.NoError(t, err)
	assert.Len(t, outbox, 1, "the database alone")
	uploads, err := os.ReadDir(filepath.Join(dir, "data", "tanba", "uploads"))
	require.NoError(t, err)
	assert.Empty(t, uploads)

	require.NoError(t, syscall.Kill(s.Agent.PID(), syscall.SIGQUIT))
	<-s.Agent.Exited()
	dump, err := os.ReadFile(s.Agent.LogPath)
	require.NoError(t, err)
	n := len(regexp.MustCompile(`(?m)^goroutine \d+ `).FindAll(dump, -1))
	t.Log("goroutines:", n)
	require.Greater(t, n, 3, "the agent said what it was doing")
	assert.Less(t, n, 60)
	for _, busy := range []string{"native.(*socket)", "native.(*Server).start", "approve.(*prompt)", "pages.(*Server).stream", "job.(*Runner)", "delivery.(*Outbox).attempt"} {
		assert.NotContains(t, string(dump), busy, "somebody still works for a page that is gone")
	}
	if t.Failed() {
		t.Log(string(dump[max(0, len(dump)-20000):]))
	}
}
