package delivery

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

func TestDelivered(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	req := request(c.URL, "d41-7f3a", "/tanba/results")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, "contract", "annex", "third")
	require.NoError(t, b.Opened(t.Context(), p))
	require.NoError(t, b.Opened(t.Context(), p), "a second time is nothing new")
	require.NoError(t, b.Reject(t.Context(), p, []string{"third"}, job.ReasonWrongTerms, "Не та цена", time.Unix(1763800001, 0)))
	s := put(t, b, prepared(req, "contract", "annex"), 1000)
	require.NoError(t, b.Commit(t.Context(), s))
	require.NoError(t, b.Close())

	r := await(t, o, req)
	require.Len(t, r.Documents, 3)
	assert.Equal(t, job.DocumentReceipt{ID: "third", State: job.Rejected, Reason: job.ReasonWrongTerms, Text: "Не та цена"}, r.Documents[0])
	assert.Equal(t, job.DocumentReceipt{
		ID: "contract", State: job.Delivered, SHA256: hex.EncodeToString(s[0].SHA256[:]), Fingerprint: testCert().Fingerprint(),
	}, r.Documents[1])

	byKey := map[string]post{}
	require.Eventually(t, func() bool { return len(c.got(t)) == 4 }, 5*time.Second, 5*time.Millisecond)
	for _, g := range c.got(t) {
		assert.Equal(t, testBearer, g.bearer)
		byKey[g.key] = g
	}
	require.Contains(t, byKey, "d41-7f3a:contract")
	g := byKey["d41-7f3a:contract"]
	assert.Equal(t, string(signedFile("contract", 1000)), string(g.file))
	assert.Equal(t, "Договор contract.pdf", g.fileName)
	for k, want := range map[string]any{
		"type": "signed", "origin": c.URL, "job": "d41-7f3a", "document": "contract", "name": "contract.pdf", "format": "pades", "level": "B-B",
		"attached": false, "sha256": p.Documents[0].Digest(), "mediaType": "application/pdf", "signingTime": "2025-11-22T08:26:40Z",
	} {
		assert.Equal(t, want, g.meta[k], k)
	}
	cm := g.meta["certificate"].(map[string]any)
	assert.Equal(t, "123456789012", cm["iin"])
	assert.Equal(t, "ТОО «Ромашка» & Co", cm["organization"])
	assert.Equal(t, "0A1B", cm["serial"])
	assert.Equal(t, testCert().PEM(), cm["pem"])
	assert.Equal(t, map[string]any{"name": "DIRECTOR-PC", "os": "linux", "arch": "amd64", "agent": "0.1.0"}, g.meta["device"])
	assert.Equal(t, []any{"contract", "annex", "third"}, byKey["d41-7f3a:opened"].meta["documents"])
	assert.Equal(t, "wrong_terms", byKey["d41-7f3a:rejected"].meta["reason"])
	assert.Equal(t, "2025-11-22T08:26:41Z", byKey["d41-7f3a:rejected"].meta["at"])

	// What the CRM has is not kept, but known.
	require.Eventually(t, func() bool { return len(spools(t, o.cfg.Dir)) == 0 }, 5*time.Second, 5*time.Millisecond)
	assert.Empty(t, o.List(t.Context()))
	assert.Equal(t, Counts{}, o.Counts())
	again, originals, ok, err := o.Find(req.Origin, req.ID)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, r, again)
	assert.Equal(t, p.Documents[0].SHA256, originals["contract"])
	_, _, ok, err = o.Find("https://other.example", req.ID)
	require.NoError(t, err)
	assert.False(t, ok, "jobs of another site")

	// The same document is not taken twice.
	b, err = o.Begin(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, job.CodeReused, codeOf(t, b.Commit(t.Context(), put(t, b, prepared(req, "contract"), 10))))
	require.NoError(t, b.Close())
	assert.Empty(t, spools(t, o.cfg.Dir))
}

func spools(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out []string
	for _, e := range entries {
		if e.Name() != "outbox.db" {
			out = append(out, e.Name())
		}
	}
	return out
}

func codeOf(t testing.TB, err error) job.Code {
	t.Helper()
	var e *job.Error
	require.ErrorAs(t, err, &e)
	return e.Code
}

// TestSecondRejection has a key of its own: it is another event.
func TestSecondRejection(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	req := request(c.URL, "j", "/in")
	p := prepared(req, "a", "b", "c")
	for _, d := range []string{"a", "b", "c"} {
		b, err := o.Begin(t.Context(), req)
		require.NoError(t, err)
		require.NoError(t, b.Opened(t.Context(), p))
		require.NoError(t, b.Reject(t.Context(), p, []string{d}, job.ReasonOther, "", time.Unix(1763800001, 0)))
		assert.Equal(t, job.CodeReused, codeOf(t, b.Reject(t.Context(), p, []string{d}, job.ReasonOther, "", time.Unix(1763800002, 0))))
		require.NoError(t, b.Close())
		await(t, o, req)
	}
	require.Eventually(t, func() bool { return len(c.got(t)) == 4 }, 10*time.Second, 5*time.Millisecond)
	var keys []string
	for _, g := range c.got(t) {
		keys = append(keys, g.key)
	}
	assert.ElementsMatch(t, []string{"j:opened", "j:rejected", "j:rejected:2", "j:rejected:3"}, keys)
}

// TestAnswers plays each answer of a CRM to one document.
func TestAnswers(t *testing.T) {
	status := func(codes ...int) func(post, int, http.ResponseWriter, *http.Request) {
		return func(_ post, n int, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(codes[min(n, len(codes)-1)])
		}
	}
	tests := []struct {
		name   string
		answer func(post, int, http.ResponseWriter, *http.Request)
		state  job.State
		code   job.Code
		posts  int
	}{
		{"204", status(204), job.Delivered, "", 1},
		{"500 then 200", status(500, 200), job.Delivered, "", 2},
		{"409 then 200", status(409, 200), job.Delivered, "", 2},
		{"408 425 then 200", status(408, 425, 200), job.Delivered, "", 3},
		{"502 then 200", status(502, 200), job.Delivered, "", 2},
		{"500 for ever", status(500), job.Dead, job.CodeUnreachableCRM, 4},
		{"401", status(401), job.Parked, job.CodeUnauthorized, 1},
		{"403", status(403), job.Parked, job.CodeUnauthorized, 1},
		{"400", status(400), job.Dead, job.CodeRefusedByCRM, 1},
		{"404", status(404), job.Dead, job.CodeRefusedByCRM, 1},
		{"410", status(410), job.Dead, job.CodeRefusedByCRM, 1},
		{"422", status(422), job.Dead, job.CodeRefusedByCRM, 1},
		{"302 to itself", redirectTo(302, "/other"), job.Dead, job.CodeRefusedByCRM, 1},
		{"307 to another origin", redirectTo(307, "https://evil.example/"), job.Dead, job.CodeRefusedByCRM, 1},
		{"308 to http", redirectTo(308, "http://127.0.0.1/"), job.Dead, job.CodeRefusedByCRM, 1},
		{"307 in circles", redirectTo(307, "/again"), job.Dead, job.CodeRefusedByCRM, 4},
		{"307 once", redirectOnce, job.Delivered, "", 2},
		{"huge reply", func(_ post, _ int, w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, job.Delivered, "", 1},
		{"taken, then the connection breaks", func(_ post, n int, w http.ResponseWriter, _ *http.Request) {
			if n == 0 {
				panic(http.ErrAbortHandler)
			}
		}, job.Delivered, "", 2},
		{"answered, then the connection breaks", func(_ post, _ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("short"))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, job.Delivered, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCRM(t, nil)
			c.answer = tt.answer
			o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
			run(t, o)
			req := request(c.URL, "j", "/in")
			commit(t, o, req, 5000, "doc")
			r := await(t, o, req)
			require.Len(t, r.Documents, 1)
			assert.Equal(t, tt.state, r.Documents[0].State)
			assert.Equal(t, tt.code, r.Documents[0].Code)
			posts := c.got(t)
			assert.Equal(t, tt.posts, len(posts))
			for _, p := range posts {
				assert.Equal(t, "j:doc", p.key)
				assert.True(t, bytes.Equal(posts[0].body, p.body), "the body is the same each time")
			}
		})
	}
}

func redirectTo(code int, to string) func(post, int, http.ResponseWriter, *http.Request) {
	return func(_ post, _ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(code)
	}
}

func redirectOnce(_ post, _ int, w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/in" {
		w.Header().Set("Location", "/moved")
		w.WriteHeader(307)
	}
}

func TestHang(t *testing.T) {
	c := newCRM(t, nil)
	release := make(chan struct{})
	c.answer = func(_ post, n int, _ http.ResponseWriter, _ *http.Request) {
		if n == 0 {
			<-release
		}
	}
	t.Cleanup(func() { close(release) })
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	o.timeout = 200 * time.Millisecond
	run(t, o)
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 100, "doc")
	require.Eventually(t, func() bool {
		l := o.List(t.Context())
		return len(l) == 0 || l[0].Trouble == TroubleTimeout
	}, 5*time.Second, time.Millisecond)
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
}

func TestParkedThenRedelivered(t *testing.T) {
	c := newCRM(t, nil)
	c.answer = func(p post, _ int, w http.ResponseWriter, r *http.Request) {
		if p.bearer != "fresh" {
			w.WriteHeader(401)
		}
	}
	cfg := testConfig(t, t.TempDir(), c.rootFile(t))
	cfg.Targets = func(string) []string { return []string{"https://files.example.kz"} }
	o := openOutbox(t, cfg)
	run(t, o)
	req := request(c.URL, "j", "/in")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, "a", "b")
	require.NoError(t, b.Opened(t.Context(), p))
	require.NoError(t, b.Commit(t.Context(), put(t, b, p, 10)))
	require.NoError(t, b.Close())
	for _, d := range await(t, o, req).Documents {
		assert.Equal(t, job.Parked, d.State)
		assert.Equal(t, job.CodeUnauthorized, d.Code)
	}
	assert.Equal(t, Counts{Parked: 2}, o.Counts())

	bad := req.Delivery
	bad.URL = "https://evil.example/"
	assert.Equal(t, job.CodeTarget, codeOf(t, o.Redeliver(t.Context(), req.Origin, req.ID, bad)))
	bad = req.Delivery
	bad.Bearer = job.NewSecret("a\r\nb: c")
	assert.Equal(t, job.CodeInvalid, codeOf(t, o.Redeliver(t.Context(), req.Origin, req.ID, bad)))
	assert.Equal(t, job.CodeUnknownJob, codeOf(t, o.Redeliver(t.Context(), req.Origin, "other", req.Delivery)))

	require.NoError(t, o.Redeliver(t.Context(), req.Origin, req.ID, job.Delivery{URL: c.URL + "/elsewhere", Bearer: job.NewSecret("fresh")}))
	for _, d := range await(t, o, req).Documents {
		assert.Equal(t, job.Delivered, d.State)
	}
	posts := c.got(t)
	assert.Equal(t, "j:opened", posts[0].key)
	require.Eventually(t, func() bool { return len(o.List(t.Context())) == 0 }, 5*time.Second, 5*time.Millisecond, "opened goes too")
}

func TestOpenedGoesFirst(t *testing.T) {
	c := newCRM(t, nil)
	c.answer = func(p post, n int, w http.ResponseWriter, _ *http.Request) {
		if p.key == "j:opened" && n == 0 {
			time.Sleep(50 * time.Millisecond)
		}
	}
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	req := request(c.URL, "j", "/in")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, "a", "b", "c")
	require.NoError(t, b.Opened(t.Context(), p))
	require.NoError(t, b.Commit(t.Context(), put(t, b, p, 10)))
	require.NoError(t, b.Close())
	run(t, o)
	await(t, o, req)
	posts := c.got(t)
	require.Equal(t, 4, len(posts))
	assert.Equal(t, "j:opened", posts[0].key)
}

func TestBrokenOpenedDoesNotHoldResults(t *testing.T) {
	c := newCRM(t, nil)
	c.answer = func(p post, _ int, w http.ResponseWriter, _ *http.Request) {
		if p.key == "j:opened" {
			w.WriteHeader(500)
		}
	}
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	o.schedule = []time.Duration{time.Hour}
	req := request(c.URL, "j", "/in")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, "a")
	require.NoError(t, b.Opened(t.Context(), p))
	require.NoError(t, b.Commit(t.Context(), put(t, b, p, 10)))
	require.NoError(t, b.Close())
	run(t, o)
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
}

func TestGivenUpOpenedDoesNotHoldResults(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	req := request(c.URL, "j", "/in")
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, "a")
	require.NoError(t, b.Opened(t.Context(), p))
	require.NoError(t, b.Commit(t.Context(), put(t, b, p, 10)))
	require.NoError(t, b.Close())
	require.NoError(t, o.Drop(t.Context(), o.List(t.Context())[0].ID))
	run(t, o)
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
	assert.Len(t, c.got(t), 1)
}

func TestHTTP2(t *testing.T) {
	c := newCRM(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	var mu sync.Mutex
	protocols := map[string]int{}
	c.answer = func(_ post, _ int, _ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		protocols[r.Proto]++
	}
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	req := request(c.URL, "j", "/in")
	docs := make([]string, 50)
	for i := range docs {
		docs[i] = fmt.Sprint("d", i)
	}
	commit(t, o, req, 100_000, docs...)
	for _, d := range await(t, o, req).Documents {
		require.Equal(t, job.Delivered, d.State)
	}
	assert.Equal(t, 50, len(c.got(t)))
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, map[string]int{"HTTP/2.0": 50}, protocols)
}
