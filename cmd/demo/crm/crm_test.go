package crm

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ask sends one request past every client, to the handler.
func (b *bench) ask(method, path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, b.url+path, nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	b.crm.Handler().ServeHTTP(w, r)
	return w
}

func TestWhoMayAsk(t *testing.T) {
	b := newBench(t)
	assert.Equal(t, http.StatusMisdirectedRequest, b.ask("GET", "/", func(r *http.Request) { r.Host = "evil.test" }).Code)
	assert.Equal(t, http.StatusForbidden, b.ask("POST", "/login", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }).Code)
	assert.Equal(t, http.StatusForbidden, b.ask("POST", "/login", func(r *http.Request) { r.Header.Set("Origin", "https://evil.test") }).Code)
	assert.Equal(t, http.StatusSeeOther, b.ask("GET", "/deals/41", nil).Code, "strangers go to the login page")
	assert.Equal(t, http.StatusUnauthorized, b.ask("POST", "/api/deals/41/sign", nil).Code)
	assert.Equal(t, http.StatusNotFound, b.ask("GET", "/static/..%2fcrm.go", nil).Code)
	assert.Equal(t, http.StatusNotFound, b.ask("GET", "/static/login.html", nil).Code)
	assert.Equal(t, "export {}", b.ask("GET", "/static/tanba.js", nil).Body.String())
}

func TestHeaders(t *testing.T) {
	h := newBench(t).ask("GET", "/", nil).Header()
	policy := h.Get("Content-Security-Policy")
	for p := range 10 {
		assert.Contains(t, policy, " ws://127.0.0.1:1765"+string(rune('0'+p)))
	}
	assert.Contains(t, policy, "default-src 'none'; script-src 'self'; style-src 'self';")
	assert.Contains(t, policy, "frame-ancestors 'none'")
	assert.NotContains(t, policy, "unsafe")
	assert.Equal(t, "loopback-network=(self)", h.Get("Permissions-Policy"))
}

func TestCookie(t *testing.T) {
	b := newBench(t)
	w := b.ask("POST", "/login", func(r *http.Request) { r.PostForm = url.Values{"person": {"director"}} })
	require.Len(t, w.Result().Cookies(), 1)
	c := w.Result().Cookies()[0]
	assert.True(t, c.HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, c.SameSite)
	with := func(r *http.Request) { r.AddCookie(c) }
	assert.Equal(t, http.StatusOK, b.ask("GET", "/deals", with).Code)
	b.ask("POST", "/logout", with)
	assert.Equal(t, http.StatusSeeOther, b.ask("GET", "/deals", with).Code, "logged out")

	br := b.login("director")
	b.now = b.now.Add(sessionTime + time.Second)
	_, page, _ := br.get("/deals")
	assert.Contains(t, page, "Log in as", "expired")
	b.login("partner")
	left, err := all[session](b.crm.store, bucketSessions)
	require.NoError(t, err)
	assert.Len(t, left, 1, "expired sessions are swept")
}

func TestEveryPageIsShown(t *testing.T) {
	b := newBench(t)
	br := b.login("director")
	for _, path := range []string{"/deals", "/deals/41", "/deals/42", "/deals/43", "/deals/44", "/deals/45", "/deals/45/live"} {
		code, page, _ := br.get(path)
		assert.Equal(t, http.StatusOK, code, path)
		assert.Contains(t, page, "not sent", path)
	}
	_, page, _ := b.login("partner").get("/deals/41")
	assert.Contains(t, page, us+" signs first.")
	code, _, _ := br.get("/deals/99")
	assert.Equal(t, http.StatusNotFound, code)
}

func TestEnrolment(t *testing.T) {
	b := newBench(t)
	br := b.login("director")
	assert.Equal(t, http.StatusConflict, br.post("/api/deals/41/sign", struct{}{}, nil), "no agent yet")
	for _, bad := range []string{"", "AAAA", "not base64!"} {
		assert.Equal(t, http.StatusBadRequest, br.post("/api/agent", map[string]string{"key": bad}, nil))
	}
	br.enrol().enrol() // the same again is nothing new
	p := br.start("41")

	pub, other, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key := base64.RawURLEncoding.EncodeToString(pub)
	assert.Equal(t, http.StatusConflict, br.post("/api/agent", map[string]string{"key": key}, nil))
	assert.Equal(t, http.StatusNoContent, br.post("/api/agent", map[string]any{"key": key, "replace": true}, nil))

	// The job belongs to the agent that it was given to.
	x := b.event(p, "opened", nil)
	x.signer = other
	status, _ := x.send()
	assert.Equal(t, http.StatusUnauthorized, status)
	x.signer = b.key
	status, text := x.send()
	assert.Equal(t, http.StatusOK, status, text)
	assert.NotEqual(t, p.Job, br.start("41").Job, "another agent, another job")
}

func TestSecondPressIsTheSameJob(t *testing.T) {
	b := newBench(t)
	br := b.login("director").enrol()
	first, second := br.start("41"), br.start("41")
	assert.Equal(t, first.Job, second.Job)
	code, _ := b.fetch(first.Documents[0])
	assert.Equal(t, http.StatusUnauthorized, code, "the first press's bearers are void")
	status, _ := b.event(first, "opened", nil).send()
	assert.Equal(t, http.StatusUnauthorized, status)
	status, text := b.event(second, "opened", nil).send()
	assert.Equal(t, http.StatusOK, status, text)
	assert.Len(t, b.history("41"), 2, "sent once, opened once")
}

func TestRejectedInTwoGoes(t *testing.T) {
	b := newBench(t)
	p := b.login("director").enrol().start("42")
	one := b.event(p, "rejected", map[string]any{"documents": []string{"note"}})
	two := b.event(p, "rejected", map[string]any{"documents": []string{"lease"}})
	two.key = p.Job + ":rejected:2"
	for _, x := range []*delivery{one, two} {
		status, text := x.send()
		require.Equal(t, http.StatusOK, status, text)
	}
	assert.Equal(t, Rejected, b.deal("42").Document("note").Ours)
	assert.Equal(t, Rejected, b.deal("42").Document("lease").Ours)
	two.key = p.Job + ":rejected:x"
	status, _ := two.send()
	assert.Equal(t, http.StatusUnsupportedMediaType, status)
}

func TestAtOnceCountsOnce(t *testing.T) {
	b := newBench(t)
	p, d, file := b.ready("41")
	var wg sync.WaitGroup
	codes := make([]int, 8)
	for i := range codes {
		x := b.signed(p, d, file, b.meta(p, d, file, b.director))
		wg.Go(func() { codes[i], _ = x.send() })
	}
	wg.Wait()
	for _, c := range codes {
		assert.Equal(t, http.StatusOK, c)
	}
	assert.Len(t, b.deal("41").Document(d.ID).Signatures, 1)
	assert.Len(t, b.history("41"), 2)
}

func TestPagesLearnOfChanges(t *testing.T) {
	b := newBench(t)
	br := b.login("director").enrol()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/deals/41/events", nil)
	require.NoError(t, err)
	r, err := br.client.Do(req)
	require.NoError(t, err)
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	require.True(t, lines.Scan(), "the stream has begun")
	br.start("41")
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "event: changed") {
			return
		}
	}
	t.Fatal("no event: ", lines.Err())
}

func TestSoftTokenHelper(t *testing.T) {
	b := newBench(t)
	br := b.login("director")
	for _, in := range []bool{false, true} {
		r, err := br.client.PostForm(b.url+"/demo/token", url.Values{"token": {"a"}})
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		assert.Equal(t, http.StatusNoContent, r.StatusCode)
		assert.Equal(t, in, b.tools.Tokens()[0].In)
	}
}

func TestWhatIsStoredStays(t *testing.T) {
	b := newBench(t)
	p, d, file := b.ready("41")
	status, text := b.signed(p, d, file, b.meta(p, d, file, b.director)).send()
	require.Equal(t, http.StatusOK, status, text)
	list, err := b.crm.SignedFiles(t.Context(), "41", t.TempDir())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "TOTAL-PASSED", list[0].Verdict)
	_, err = b.crm.SignedFiles(t.Context(), "42", t.TempDir())
	assert.Error(t, err, "nothing is signed")

	// Opened anew the CRM has the same deals, and the agent's key.
	require.NoError(t, b.crm.Close())
	again, err := New(b.crm.cfg)
	require.NoError(t, err)
	b.crm = again
	assert.Equal(t, Signed, b.deal("41").Status())
	who, err := read[Person](again.store, bucketPeople, "director")
	require.NoError(t, err)
	assert.Equal(t, []byte(b.key.Public().(ed25519.PublicKey)), who.Key)
}
