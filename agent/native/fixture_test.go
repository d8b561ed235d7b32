package native

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/agent/sites"
)

const (
	crm   = "https://crm.example.kz"
	other = "https://other.example"
	// port stands in the proofs; the test's server listens elsewhere.
	port = 17650
)

var now = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// fakeJobs answers as the test wants.
type fakeJobs struct {
	run       func(ctx context.Context, req job.Request) (job.Receipt, error)
	state     func(origin, id string) (job.Receipt, error)
	redeliver func(origin, id string, d job.Delivery) (job.Receipt, error)
	runs      atomic.Int32
}

func (f *fakeJobs) Run(ctx context.Context, req job.Request) (job.Receipt, error) {
	f.runs.Add(1)
	return f.run(ctx, req)
}

func (f *fakeJobs) State(_ context.Context, origin, id string) (job.Receipt, error) {
	return f.state(origin, id)
}

func (f *fakeJobs) Redeliver(_ context.Context, origin, id string, d job.Delivery) (job.Receipt, error) {
	return f.redeliver(origin, id, d)
}

type askFunc func(ctx context.Context, origin string) (bool, error)

func (f askFunc) Ask(ctx context.Context, origin string) (bool, error) { return f(ctx, origin) }

// A bench is a server with everything around it.
type bench struct {
	t      *testing.T
	server *Server
	http   *httptest.Server
	sites  *sites.Store
	jobs   *fakeJobs
	access askFunc
	spools string
	cfg    Config
}

// newBench starts a server that knows crm as an allowed site.
func newBench(t *testing.T, change func(b *bench)) *bench {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("a secret of thirty-two bytes, ok"), 0o600))
	store, err := sites.Open(filepath.Join(dir, "sites.json"), policy.Default(), filepath.Join(dir, "secret"))
	require.NoError(t, err)
	require.NoError(t, store.Allow(crm, now))
	b := &bench{t: t, sites: store, spools: filepath.Join(dir, "spools"), jobs: &fakeJobs{}}
	require.NoError(t, os.Mkdir(b.spools, 0o700))
	b.access = func(context.Context, string) (bool, error) { return false, nil }
	var n atomic.Int32
	b.cfg = Config{
		Jobs: b.jobs, Sites: store, Limits: policy.Default().Limits, Version: "0.1.0", Port: port,
		Access: askFunc(func(ctx context.Context, origin string) (bool, error) { return b.access(ctx, origin) }),
		Tokens: func() int { return 1 },
		Spools: func() (*job.Spool, func() error, error) {
			s, err := job.CreateSpool(filepath.Join(b.spools, fmt.Sprint(n.Add(1))))
			if err != nil {
				return nil, nil, err
			}
			return s, func() error { _ = s.Close(); return os.Remove(s.Path()) }, nil
		},
		Origin: func(r *http.Request) string { return r.Header.Get("Origin") },
		Refuse: func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		Now:    time.Now, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(b)
	}
	b.server = New(b.cfg)
	b.http = httptest.NewServer(b.server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, b.server.Close(ctx))
		b.http.Close()
		assert.Eventually(t, func() bool { left, err := os.ReadDir(b.spools); return err == nil && len(left) == 0 },
			5*time.Second, 10*time.Millisecond, "no spool is left")
		assert.Eventually(t, func() bool { return b.server.stored.Load() == 0 }, time.Second, 10*time.Millisecond)
	})
	return b
}

// A page is the other end of a socket.
type page struct {
	*websocket.Conn
	t *testing.T
}

func (b *bench) dial(origin string) *page {
	b.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{Subprotocol}, HandshakeTimeout: 5 * time.Second, EnableCompression: true}
	c, resp, err := d.Dial("ws"+strings.TrimPrefix(b.http.URL, "http")+Path, http.Header{"Origin": {origin}})
	require.NoError(b.t, err)
	_ = resp.Body.Close()
	assert.Equal(b.t, Subprotocol, c.Subprotocol())
	assert.Empty(b.t, resp.Header.Get("Sec-Websocket-Extensions"), "no compression")
	require.NoError(b.t, c.SetReadDeadline(time.Now().Add(15*time.Second)))
	b.t.Cleanup(func() { _ = c.Close() })
	return &page{c, b.t}
}

func (p *page) send(text string) {
	p.t.Helper()
	require.NoError(p.t, p.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (p *page) call(id int, method, params string) {
	p.t.Helper()
	p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, id, method, params))
}

// A reply is any message of the agent.
type reply struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *errorBody
}

// next reads the next answer, past notifications.
func (p *page) next() reply {
	p.t.Helper()
	for {
		r := p.any()
		if r.Method == "" {
			return r
		}
	}
}

func (p *page) any() reply {
	p.t.Helper()
	_, b, err := p.ReadMessage()
	require.NoError(p.t, err)
	var r reply
	require.NoError(p.t, json.Unmarshal(b, &r))
	return r
}

// code reads the next answer, which must be an error, and returns its code.
func (p *page) code() job.Code {
	p.t.Helper()
	r := p.next()
	require.NotNil(p.t, r.Error, string(r.Result))
	assert.Equal(p.t, Texts[r.Error.Data.Code], r.Error.Message)
	return r.Error.Data.Code
}

// closed reads until the socket ends and returns the close code.
func (p *page) closed() int {
	p.t.Helper()
	for {
		_, _, err := p.ReadMessage()
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			return e.Code
		}
		if err != nil {
			require.NoError(p.t, err)
		}
	}
}

func (p *page) chunk(stream uint32, data []byte) {
	p.t.Helper()
	b := append([]byte{byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}, data...)
	require.NoError(p.t, p.WriteMessage(websocket.BinaryMessage, b))
}

var testNonce = base64.RawURLEncoding.EncodeToString([]byte("thirty-two random bytes, or so.."))

// checkHello verifies the proof in a result of hello.
func checkHello(t *testing.T, r reply, origin string) {
	t.Helper()
	require.Nil(t, r.Error)
	var h helloResult
	require.NoError(t, json.Unmarshal(r.Result, &h))
	key, err := base64.RawURLEncoding.DecodeString(h.Key)
	require.NoError(t, err)
	sig, err := base64.RawURLEncoding.DecodeString(h.Signature)
	require.NoError(t, err)
	assert.True(t, ed25519.Verify(key, []byte("tanba.v1 hello\n"+testNonce+"\n"+origin+"\n17650"), sig))
}

// signOne is params of sign with one inline document.
func signOne(id string) string {
	return `{"job":"` + id + `","documents":[{"id":"contract","name":"contract.pdf","format":"pades","content":{"inline":"JVBERi0="}}],` +
		`"delivery":{"url":"https://crm.example.kz/tanba/results","bearer":"b1"}}`
}

// delivered is a receipt of one delivered document.
func delivered(id string) job.Receipt {
	return job.Receipt{Job: id, Documents: []job.DocumentReceipt{{
		ID: "contract", State: job.Delivered,
		SHA256: strings.Repeat("ab", 32), Fingerprint: strings.Repeat("cd", 32),
	}}}
}
