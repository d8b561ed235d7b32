package delivery

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
)

// A pki is a throw-away TLS authority.
type pki struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &pki{key: key, cert: c, file: path}
}

func (p *pki) leaf(t testing.TB, until time.Time, ip string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.ParseIP(ip)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.cert, &key.PublicKey, p.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestBadCertificate(t *testing.T) {
	trusted, stranger := newPKI(t), newPKI(t)
	later := time.Now().Add(time.Hour)
	tests := []struct {
		name string
		cert tls.Certificate
		max  uint16 // TLS version
		want Trouble
	}{
		{"good", trusted.leaf(t, later, "127.0.0.1"), 0, ""},
		{"untrusted", stranger.leaf(t, later, "127.0.0.1"), 0, TroubleUntrusted},
		{"expired", trusted.leaf(t, time.Now().Add(-time.Minute), "127.0.0.1"), 0, TroubleExpired},
		{"other name", trusted.leaf(t, later, "10.0.0.1"), 0, TroubleOtherHost},
		{"TLS 1.1", trusted.leaf(t, later, "127.0.0.1"), tls.VersionTLS11, TroubleTLS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCRM(t, func(s *httptest.Server) {
				s.TLS = &tls.Config{Certificates: []tls.Certificate{tt.cert}, MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
				s.StartTLS()
			})
			o := openOutbox(t, testConfig(t, t.TempDir(), trusted.file))
			o.schedule = []time.Duration{time.Hour}
			run(t, o)
			req := request(c.URL, "j", "/in")
			commit(t, o, req, 10, "doc")
			if tt.want == "" {
				assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
				return
			}
			require.Eventually(t, func() bool { return o.List(t.Context())[0].Attempts == 1 }, 5*time.Second, time.Millisecond)
			i := o.List(t.Context())[0]
			assert.Equal(t, job.Delivering, i.State)
			assert.Equal(t, job.CodeUnreachableCRM, i.Code)
			assert.Equal(t, tt.want, i.Trouble)
			assert.Empty(t, c.got(t))
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	origin := "https://" + l.Addr().String()
	require.NoError(t, l.Close())
	o := openOutbox(t, testConfig(t, t.TempDir()))
	o.schedule = []time.Duration{time.Hour, time.Hour}
	run(t, o)
	docs := make([]string, 200)
	for i := range docs {
		docs[i] = fmt.Sprint("d", i)
	}
	commit(t, o, request(origin, "j", "/in"), 10, docs...)
	require.Eventually(t, func() bool {
		for _, i := range o.List(t.Context()) {
			if i.Attempts != 1 || i.Trouble != TroubleNoAnswer || i.Next.Before(time.Now().Add(50*time.Minute)) {
				return false
			}
		}
		return true
	}, 5*time.Second, 5*time.Millisecond, "one that finds nobody counts for all that are due")
	// An extra attempt changes nothing.
	o.Wake()
	time.Sleep(50 * time.Millisecond)
	assert.Equal(t, 1, o.List(t.Context())[0].Attempts)
	assert.Equal(t, Counts{Delivering: 200}, o.Counts())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	r, err := o.Await(ctx, origin, "j")
	require.NoError(t, err, "the end of the wait is no error")
	assert.Equal(t, job.Delivering, r.Documents[7].State)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "120": 2 * time.Minute, "0": time.Second, "999999999": 24 * time.Hour,
		"Sun, 22 Nov 2026 12:01:00 GMT": time.Minute, "Sun, 22 Nov 2026 11:00:00 GMT": time.Second,
		"Mon, 22 Nov 2027 11:00:00 GMT": 24 * time.Hour, "99999999999999999999": 0,
	} {
		assert.Equal(t, want, retryAfter(v, now), v)
	}
}

func TestTooManyRequests(t *testing.T) {
	c := newCRM(t, nil)
	var mu sync.Mutex
	var first time.Time
	c.answer = func(p post, n int, w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if first.IsZero() {
			first = time.Now()
		}
		if time.Since(first) < 900*time.Millisecond {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
		}
	}
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	o.schedule = []time.Duration{50 * time.Millisecond, time.Hour}
	run(t, o)
	req := request(c.URL, "j", "/in")
	docs := make([]string, 100)
	for i := range docs {
		docs[i] = fmt.Sprint("d", i)
	}
	commit(t, o, req, 10, docs...)
	for _, d := range await(t, o, req).Documents {
		assert.Equal(t, job.Delivered, d.State)
	}
	assert.Less(t, len(c.got(t)), 150, "the others wait without asking")
}

func TestTargets(t *testing.T) {
	cfg := testConfig(t, t.TempDir())
	cfg.Targets = func(origin string) []string {
		if origin == "https://crm.example.kz" {
			return []string{"https://files.example.kz:8443", "http://plain.example.kz"}
		}
		return nil
	}
	cfg.HTTPAllowed = func(o string) bool { return o == "http://intranet" || o == "http://plain.example.kz" }
	o := openOutbox(t, cfg)
	const crm = "https://crm.example.kz"
	tests := []struct {
		origin, url string
		ok          bool
	}{
		{crm, "https://crm.example.kz/tanba/results?x=1", true},
		{crm, "https://CRM.example.kz:443/", true},
		{crm, "https://files.example.kz:8443/a", true},
		{"http://intranet", "http://intranet/a", true},
		{"http://intranet", "http://intranet:80", true},
		{crm, "", false},
		{crm, "/tanba/results", false},
		{crm, "//crm.example.kz/a", false},
		{crm, "https://crm.example.kz:8443/", false},
		{crm, "https://files.example.kz/", false},
		{crm, "http://crm.example.kz/", false},
		{crm, "http://plain.example.kz/", false}, // an https site does not go down to http
		{"http://intranet", "http://other/", false},
		{"https://intranet", "http://intranet/", false},
		{"http://elsewhere", "http://elsewhere/", false},
		{crm, "https://crm.example.kz.evil.example/", false},
		{crm, "https://evil.example/https://crm.example.kz", false},
		{crm, "https://user@crm.example.kz/", false},
		{crm, "https://crm.example.kz@evil.example/", false},
		{crm, "https://user:pw@crm.example.kz/", false},
		{crm, "https://crm.example.kz/#f", false},
		{crm, "https://crm.example.kz#", false},
		{crm, `https://crm.example.kz\@evil.example/`, false},
		{crm, "https://crm.example.kz:/", false},
		{crm, "https://crm.example.kz:0443/", false},
		{crm, "https://crm.example.kz:99999/", false},
		{crm, "https://crm.example.kz./", false},
		{crm, "https://crm.example.kz/a b", false},
		{crm, "https://crm.example.kz/\r\nX: y", false},
		{crm, "https://crm.example.kz/\u202e", false},
		{crm, "https:crm.example.kz", false},
		{crm, "file:///etc/passwd", false},
		{crm, "ftp://crm.example.kz/", false},
		{crm, "https://169.254.169.254/", false},
		{crm, "https://[::1]/", false},
		{crm, "https://[fe80::1%25eth0]/", false},
		{crm, "https://crm.example.kz/" + string(bytes.Repeat([]byte("a"), maxURL)), false},
	}
	for _, tt := range tests {
		req := job.Request{ID: "j", Origin: tt.origin, Delivery: job.Delivery{URL: tt.url}}
		b, err := o.Begin(t.Context(), req)
		if tt.ok {
			if assert.NoError(t, err, tt.url) {
				require.NoError(t, b.Close())
			}
			continue
		}
		if assert.Error(t, err, "%q", tt.url) {
			assert.Equal(t, job.CodeTarget, codeOf(t, err), "%q", tt.url)
		}
		_, err = o.Fetch(t.Context(), tt.origin, tt.url, job.Secret{}, 100)
		assert.Equal(t, job.CodeTarget, codeOf(t, err), "%q", tt.url)
	}
	assert.Empty(t, spools(t, o.cfg.Dir))
	for _, id := range []string{"", "a b", "a:b", "a.b", "д", `a"`, string(bytes.Repeat([]byte("a"), 65))} {
		_, err := o.Begin(t.Context(), request(crm, id, "/"))
		assert.Equal(t, job.CodeInvalid, codeOf(t, err), id)
	}
	for _, id := range []string{"opened", "rejected", "", "a.b"} {
		req := request(crm, "j", "/")
		req.Documents = []job.Document{{ID: "good"}, {ID: id}}
		_, err := o.Begin(t.Context(), req)
		assert.Equal(t, job.CodeInvalid, codeOf(t, err), id)
	}
}

func TestPolicyChangedMeanwhile(t *testing.T) {
	c := newCRM(t, nil)
	cfg := testConfig(t, t.TempDir(), c.rootFile(t))
	listed := []string{c.URL}
	cfg.Targets = func(string) []string { return listed }
	o := openOutbox(t, cfg)
	req := request("https://crm.example.kz", "j", "/")
	req.Delivery.URL = c.URL
	commit(t, o, req, 10, "doc")
	listed = nil
	run(t, o)
	d := await(t, o, req).Documents[0]
	assert.Equal(t, job.Dead, d.State)
	assert.Equal(t, job.CodeTarget, d.Code)
	assert.Empty(t, c.got(t))
}

func TestDiskFull(t *testing.T) {
	o := openOutbox(t, testConfig(t, t.TempDir()))
	b, err := o.Begin(t.Context(), request("https://crm.example.kz", "j", "/in"))
	require.NoError(t, err)
	assert.Equal(t, job.CodeDisk, codeOf(t, b.Reserve(t.Context(), 1<<60)), "more than the disk has")
	require.NoError(t, b.Reserve(t.Context(), 1<<20))
	o.reserve = func(string, int64) error { return &fs.PathError{Op: "fallocate", Err: errFull} }
	assert.Equal(t, job.CodeDisk, codeOf(t, b.Reserve(t.Context(), 1)))
	require.NoError(t, b.Close())
	assert.Empty(t, spools(t, o.cfg.Dir))
}

func TestDeadLetters(t *testing.T) {
	c := newCRM(t, nil)
	var mu sync.Mutex
	status := 404
	c.answer = func(_ post, _ int, w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
	}
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	changes, end := o.Changes()
	defer end()
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 500, "a", "b")
	await(t, o, req)
	<-changes
	assert.Equal(t, Counts{Dead: 2}, o.Counts())
	list := o.List(t.Context())
	require.Len(t, list, 2)
	assert.Equal(t, KindSigned, list[0].Kind)
	assert.Equal(t, TroubleHTTP, list[0].Trouble)
	assert.Equal(t, 404, list[0].Status)
	assert.Equal(t, "Договор a.pdf", list[0].Name)
	assert.True(t, list[0].Next.IsZero())

	dir := t.TempDir()
	path, err := o.Save(t.Context(), list[0].ID, dir)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "Договор a.pdf"), path)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(signedFile("a", 500)), string(data))
	_, err = o.Save(t.Context(), list[0].ID, dir)
	require.ErrorIs(t, err, fs.ErrExist)
	secret := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "link")))
	_, err = o.Save(t.Context(), list[0].ID, filepath.Join(dir, "link"))
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = o.Save(t.Context(), "99", dir)
	require.ErrorIs(t, err, ErrUnknownItem)

	mu.Lock()
	status = 200
	mu.Unlock()
	require.NoError(t, o.Retry(t.Context(), list[0].ID))
	assert.Equal(t, job.Delivered, await(t, o, req).Documents[0].State)
	require.NoError(t, o.Drop(t.Context(), list[1].ID))
	require.ErrorIs(t, o.Retry(t.Context(), list[1].ID), ErrUnknownItem)
	require.ErrorIs(t, o.Drop(t.Context(), "x"), ErrUnknownItem)
	assert.Empty(t, o.List(t.Context()))
	assert.Equal(t, job.Dead, await(t, o, req).Documents[1].State, "given up, but never signed again")
	require.Eventually(t, func() bool { return len(spools(t, o.cfg.Dir)) == 0 }, 5*time.Second, 5*time.Millisecond)
}

func TestDamagedFile(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 500, "a")
	f, err := os.OpenFile(filepath.Join(o.cfg.Dir, spools(t, o.cfg.Dir)[0]), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xff}, 17)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	run(t, o)
	d := await(t, o, req).Documents[0]
	assert.Equal(t, job.Dead, d.State)
	assert.Equal(t, TroubleDamaged, o.List(t.Context())[0].Trouble)
	assert.Empty(t, c.got(t))
	_, err = o.Save(t.Context(), o.List(t.Context())[0].ID, t.TempDir())
	require.ErrorIs(t, err, errDamaged)
}

// TestNothingLeaks plays good and bad answers at the highest log level and
// looks for what must not be in a log.
func TestNothingLeaks(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})
	c := newCRM(t, nil)
	c.answer = func(p post, n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case p.key == "j:a" && n == 0:
			panic(http.ErrAbortHandler)
		case p.key == "j:b":
			w.WriteHeader(401)
		case p.key == "j:c":
			w.WriteHeader(404)
		case p.key == "j:d":
			w.Header().Set("Location", "https://evil.example/?t=url-canary")
			w.WriteHeader(307)
		case n == 0:
			w.WriteHeader(500)
		}
	}
	for _, roots := range [][]string{{c.rootFile(t)}, nil} {
		cfg := testConfig(t, t.TempDir(), roots...)
		cfg.Log = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
		o := openOutbox(t, cfg)
		run(t, o)
		req := request(c.URL, "j", "/in?token=url-canary")
		commit(t, o, req, 500, "a", "b", "c", "d", "e")
		await(t, o, req)
		_, err := o.Fetch(t.Context(), c.URL, c.URL+"/x?token=url-canary", job.NewSecret(testBearer), 10)
		if err != nil {
			cfg.Log.Error("fetch", "err", err)
		}
		cfg.Log.Debug("items", "list", fmt.Sprintf("%+v", o.List(t.Context())[0].State))
		for _, name := range spools(t, cfg.Dir) {
			assert.Regexp(t, spoolName, name)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	require.Greater(t, log.Len(), 1000)
	for _, canary := range []string{testBearer, "document-canary", "url-canary", "Договор", "123456789012", "ТЕСТОВ"} {
		assert.NotContains(t, log.String(), canary)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSafeName(t *testing.T) {
	for in, want := range map[string]string{
		"contract.pdf": "contract.pdf", "Договор №5.pdf": "Договор №5.pdf", `..\..\startup\x.lnk`: "x.lnk", "../../etc/passwd": "passwd",
		"a.pdf:evil": "a.pdf_evil", "CON": "_CON", "con.pdf": "_con.pdf", "COM1.txt": "_COM1.txt", "lpt².x.pdf": "_lpt².x.pdf", "COMMA.pdf": "COMMA.pdf",
		"a.pdf. . ": "a.pdf", "..": "document", "": "document", ".profile": "profile", "a\x00\n\u202efdp.exe": "afdp.exe", "a/": "document",
		"\xff.pdf": "_.pdf", "<a>|?*\".pdf": "_a_____.pdf", "NUL .pdf": "_NUL .pdf",
	} {
		assert.Equal(t, want, safeName(in), "%q", in)
	}
	long := safeName(string(bytes.Repeat([]byte("ж"), 300)) + ".pdf")
	assert.LessOrEqual(t, len(long), maxName)
	assert.Equal(t, ".pdf", filepath.Ext(long))
}

func TestPrune(t *testing.T) {
	c := newCRM(t, nil)
	o := openOutbox(t, testConfig(t, t.TempDir(), c.rootFile(t)))
	run(t, o)
	req := request(c.URL, "j", "/in")
	commit(t, o, req, 10, "a")
	await(t, o, req)
	require.NoError(t, o.flush(t.Context()))
	require.NoError(t, o.prune(time.Now().Add(keepFor-time.Minute)))
	_, _, ok, err := o.Find(req.Origin, req.ID)
	require.NoError(t, err)
	assert.True(t, ok)
	require.NoError(t, o.prune(time.Now().Add(keepFor+time.Minute)))
	_, _, ok, err = o.Find(req.Origin, req.ID)
	require.NoError(t, err)
	assert.False(t, ok)

	now := time.Now()
	list := []finishedJob{{"old", 10, now.Add(-2 * time.Hour)}, {"big", keepItems - 5, now.Add(-time.Hour)}, {"new", 5, now}}
	assert.Equal(t, []finishedJob{{"old", 10, now.Add(-2 * time.Hour)}}, tooOld(list, now))
}

// pkiConfig serves a good certificate for 127.0.0.1.
func pkiConfig(t testing.TB, p *pki) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.leaf(t, time.Now().Add(time.Hour), "127.0.0.1")}}
}
