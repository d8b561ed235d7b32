package delivery

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/crypto/cert"
)

const testBearer = "bearer-canary-5e1f0d"

// A post is one request as the CRM understood it.
type post struct {
	key, bearer string
	body        []byte
	meta        map[string]any
	file        []byte
	fileName    string
	timestamp   string
}

// A crm is a server that checks every delivery on its own and answers as told.
type crm struct {
	*httptest.Server
	pub ed25519.PublicKey

	mu     sync.Mutex
	posts  []post
	faults []string
	// answer decides; nil means 200. It runs after the checks.
	answer func(p post, n int, w http.ResponseWriter, r *http.Request)
	// before runs before the body is read; true means it took over.
	before func(w http.ResponseWriter, r *http.Request) bool
}

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

func newCRM(t testing.TB, start func(*httptest.Server)) *crm {
	t.Helper()
	c := &crm{pub: testKey.Public().(ed25519.PublicKey)}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.serve))
	c.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	if start == nil {
		start = (*httptest.Server).StartTLS
	}
	start(c.Server)
	t.Cleanup(c.Close)
	return c
}

func (c *crm) serve(w http.ResponseWriter, r *http.Request) {
	if c.before != nil && c.before(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p, err := c.check(r, body)
	c.mu.Lock()
	if err != nil {
		c.faults = append(c.faults, err.Error())
	}
	n := 0
	for _, old := range c.posts {
		if old.key == p.key {
			n++
		}
	}
	c.posts = append(c.posts, p)
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		answer(p, n, w, r)
	}
}

// check verifies a delivery from the protocol's text alone.
func (c *crm) check(r *http.Request, body []byte) (post, error) {
	p := post{body: body, key: r.Header.Get("webhook-id"), timestamp: r.Header.Get("webhook-timestamp")}
	p.bearer, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.Method != http.MethodPost || p.key == "" || strings.Contains(p.key, ".") {
		return p, fmt.Errorf("method %s, webhook-id %q", r.Method, p.key)
	}
	if got := r.Header.Get("Idempotency-Key"); got != `"`+p.key+`"` {
		return p, fmt.Errorf("idempotency key %s", got)
	}
	sum := sha256.Sum256(body)
	if got := r.Header.Get("Content-Digest"); got != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		return p, fmt.Errorf("content digest %s", got)
	}
	ts, err := strconv.ParseInt(p.timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(ts, 0)).Abs() > 5*time.Minute {
		return p, fmt.Errorf("timestamp %q", p.timestamp)
	}
	sig, ok := strings.CutPrefix(r.Header.Get("webhook-signature"), "v1a,")
	raw, err := base64.StdEncoding.DecodeString(sig)
	signed := p.key + "." + p.timestamp + "." + string(body)
	if !ok || err != nil || !ed25519.Verify(c.pub, []byte(signed), raw) {
		return p, fmt.Errorf("signature %q", sig)
	}
	if r.Header.Get("User-Agent") != "Tanba/0.1.0" || len(r.Cookies()) != 0 {
		return p, fmt.Errorf("user agent %q", r.UserAgent())
	}
	return p, p.parse(r.Header.Get("Content-Type"))
}

func (p *post) parse(contentType string) error {
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	if mt == "application/json" {
		return json.Unmarshal(p.body, &p.meta)
	}
	if mt != "multipart/form-data" {
		return fmt.Errorf("content type %s", mt)
	}
	mr := multipart.NewReader(bytes.NewReader(p.body), params["boundary"])
	for _, want := range []string{"metadata", "file"} {
		part, err := mr.NextPart()
		if err != nil {
			return err
		}
		if part.FormName() != want {
			return fmt.Errorf("part %q, want %q", part.FormName(), want)
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		if want == "metadata" {
			if err := json.Unmarshal(data, &p.meta); err != nil {
				return err
			}
			continue
		}
		p.file, p.fileName = data, part.FileName()
		sum := sha256.Sum256(data)
		if p.meta["signedSha256"] != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("file has not the digest of the metadata")
		}
	}
	if _, err := mr.NextPart(); err != io.EOF {
		return fmt.Errorf("a third part")
	}
	return nil
}

// got returns a copy of the requests so far and fails on any fault.
func (c *crm) got(t testing.TB) []post {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.faults)
	return append([]post(nil), c.posts...)
}

// rootFile writes the server's certificate as a PEM file.
func (c *crm) rootFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

// testConfig is an outbox's config for a site that is the server itself.
func testConfig(t testing.TB, dir string, roots ...string) Config {
	t.Helper()
	return Config{
		Dir:         dir,
		Key:         func(string) (ed25519.PrivateKey, error) { return testKey, nil },
		Targets:     func(string) []string { return nil },
		HTTPAllowed: func(string) bool { return false },
		Roots:       roots,
		Device:      DeviceInfo{Name: "DIRECTOR-PC", OS: "linux", Arch: "amd64", Agent: "0.1.0"},
		Limits:      policy.Default().Limits,
		Now:         time.Now,
		Log:         slog.New(slog.DiscardHandler),
	}
}

// openOutbox opens an outbox with a schedule of milliseconds.
func openOutbox(t testing.TB, cfg Config) *Outbox {
	t.Helper()
	o, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	o.schedule = []time.Duration{20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond}
	return o
}

// run starts delivery until the test ends.
func run(t testing.TB, o *Outbox) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

var testCert = sync.OnceValue(func() *cert.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(0x0a1b), Subject: pkix.Name{CommonName: "ТЕСТОВ ТЕСТ", Organization: []string{"ТОО «Ромашка» & Co"}, SerialNumber: "IIN123456789012"},
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	c, err := cert.Parse(der)
	if err != nil {
		panic(err)
	}
	return c
})

// request is a job of the site with this origin that goes to path there.
func request(origin, id, path string) job.Request {
	return job.Request{ID: id, Origin: origin, Delivery: job.Delivery{URL: origin + path, Bearer: job.NewSecret(testBearer)}}
}

func prepared(req job.Request, docs ...string) *job.Prepared {
	p := &job.Prepared{Request: req}
	for _, d := range docs {
		p.Documents = append(p.Documents, &job.PreparedDocument{
			ID: d, Name: d + ".pdf", Format: job.PAdES, SHA256: sha256.Sum256([]byte("original of " + d)),
		})
	}
	return p
}

// signedFile is what the signed file of a document holds.
func signedFile(doc string, size int) []byte {
	return bytes.Repeat([]byte("document-canary of "+doc+"\n"), size/24+1)
}

// put writes signed documents into the batch and returns them.
func put(t testing.TB, b job.Batch, p *job.Prepared, size int) []*job.Signed {
	t.Helper()
	var out []*job.Signed
	for _, d := range p.Documents {
		data := signedFile(d.ID, size)
		blob, err := b.Out().Append(0, func(w io.Writer) error { _, err := w.Write(data); return err })
		require.NoError(t, err)
		out = append(out, &job.Signed{
			Document: d, File: blob, SHA256: sha256.Sum256(data), Name: "Договор " + d.ID + ".pdf", MediaType: "application/pdf",
			At: time.Unix(1763800000, 0), Certificate: testCert(), Level: "B-B",
		})
	}
	return out
}

// commit makes a job with signed documents of size bytes.
func commit(t testing.TB, o *Outbox, req job.Request, size int, docs ...string) {
	t.Helper()
	b, err := o.Begin(t.Context(), req)
	require.NoError(t, err)
	p := prepared(req, docs...)
	require.NoError(t, b.Reserve(t.Context(), int64(size*len(docs))))
	require.NoError(t, b.Commit(t.Context(), put(t, b, p, size)))
	require.NoError(t, b.Close())
}

// await waits for the job to leave the state delivering.
func await(t testing.TB, o *Outbox, req job.Request) job.Receipt {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := o.Await(ctx, req.Origin, req.ID)
	require.NoError(t, err)
	return r
}
