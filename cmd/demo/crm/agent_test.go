package crm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/pades"
	"tanba/crypto/sigalg"
	"tanba/testcerts"
)

// A bench is a running CRM with a browser logged in, and an agent played by
// the test: what the agent does is done here with the same cryptography.
type bench struct {
	t        *testing.T
	crm      *Server
	url      string
	pki      *testcerts.PKI
	director *testcerts.Leaf
	other    *testcerts.Leaf
	key      ed25519.PrivateKey
	now      time.Time // ahead of the real clock by what a test adds
	tools    *fakeTools
}

const (
	directorIIN = "800101300123"
	partnerIIN  = "790202400456"
)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Now().Truncate(time.Second), tools: &fakeTools{}}
	var err error
	b.pki, err = testcerts.New(testcerts.Options{Now: b.now})
	require.NoError(t, err)
	b.director = b.issue(b.pki, testcerts.LeafSpec{Name: "ТЕСТОВ ДИРЕКТОР", Organization: us, BIN: "123456789013", IIN: directorIIN, Role: "head"})
	b.other = b.issue(b.pki, testcerts.LeafSpec{Name: "ТЕСТОВА ПАРТНЁР", Organization: "TOO Baiterek", BIN: "987654321098", IIN: partnerIIN, Role: "head"})
	_, b.key, err = ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)

	srv := httptest.NewUnstartedServer(nil)
	b.url = "http://" + srv.Listener.Addr().String()
	b.crm, err = New(Config{
		Dir: t.TempDir(), Origin: b.url, Roots: []*cert.Certificate{b.pki.Root.Certificate},
		People: []Person{
			{ID: "director", Name: "Director", Party: Ours, IIN: directorIIN},
			{ID: "partner", Name: "Partner", Party: Theirs, IIN: partnerIIN},
		},
		Client: []byte("export {}"),
		Tools:  b.tools, Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	srv.Config.Handler = b.crm.Handler()
	srv.Start()
	t.Cleanup(func() { srv.Close(); require.NoError(t, b.crm.Close()) })
	return b
}

type fakeTools struct{ out bool }

func (f *fakeTools) Tokens() []SoftToken { return []SoftToken{{ID: "a", Name: "A", In: !f.out}} }
func (f *fakeTools) Insert(string) error { f.out = false; return nil }
func (f *fakeTools) Pull(string) error   { f.out = true; return nil }

func (b *bench) issue(pki *testcerts.PKI, spec testcerts.LeafSpec) *testcerts.Leaf {
	b.t.Helper()
	l, err := pki.Issue(spec)
	require.NoError(b.t, err)
	return l
}

// A browser is someone who is logged in.
type browser struct {
	*bench
	client *http.Client
}

func (b *bench) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(b.t, err)
	return &browser{b, &http.Client{Jar: jar}}
}

func (b *bench) login(person string) *browser {
	br := b.browser()
	r, err := br.client.PostForm(b.url+"/login", url.Values{"person": {person}})
	require.NoError(b.t, err)
	require.NoError(b.t, r.Body.Close())
	require.Equal(b.t, http.StatusOK, r.StatusCode)
	return br
}

func (b *browser) post(path string, in, out any) int {
	b.t.Helper()
	body, err := json.Marshal(in)
	require.NoError(b.t, err)
	r, err := b.client.Post(b.url+path, "application/json", bytes.NewReader(body))
	require.NoError(b.t, err)
	defer r.Body.Close()
	if out != nil && r.StatusCode == http.StatusOK {
		require.NoError(b.t, json.NewDecoder(r.Body).Decode(out))
	}
	return r.StatusCode
}

func (b *browser) get(path string) (int, string, http.Header) {
	b.t.Helper()
	r, err := b.client.Get(b.url + path)
	require.NoError(b.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(b.t, err)
	return r.StatusCode, string(body), r.Header
}

func (b *browser) enrol() *browser {
	key := base64.RawURLEncoding.EncodeToString(b.key.Public().(ed25519.PublicKey))
	require.Equal(b.t, http.StatusNoContent, b.post("/api/agent", map[string]string{"key": key}, nil))
	return b
}

func (b *browser) start(deal string) signParams {
	b.t.Helper()
	var p signParams
	require.Equal(b.t, http.StatusOK, b.post("/api/deals/"+deal+"/sign", struct{}{}, &p))
	return p
}

// fetch gets a document as the agent would.
func (b *bench) fetch(d signDoc) (int, []byte) {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, d.Content.URL, nil)
	require.NoError(b.t, err)
	req.Header.Set("Authorization", "Bearer "+d.Content.Bearer)
	r, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	require.NoError(b.t, err)
	return r.StatusCode, data
}

// sign makes the signed file for a document.
func (b *bench) sign(format string, doc []byte, l *testcerts.Leaf) []byte {
	b.t.Helper()
	algs, err := sigalg.ForKey(l.Certificate.PublicKey)
	require.NoError(b.t, err)
	token := func(digest []byte) []byte {
		sig, err := l.Key.Sign(rand.Reader, digest, sigalg.SignerOpts(algs[0]))
		require.NoError(b.t, err)
		return sig
	}
	if format == formatPAdES {
		d, err := pades.Open(bytes.NewReader(doc), int64(len(doc)))
		require.NoError(b.t, err)
		p, err := d.Prepare(pades.Options{Certificate: l.Certificate, Chain: l.Chain, Algorithm: algs[0], SigningTime: b.now})
		require.NoError(b.t, err)
		var out bytes.Buffer
		_, err = p.Finish(context.Background(), token(p.Digest()), &out)
		require.NoError(b.t, err)
		return out.Bytes()
	}
	require.Equal(b.t, crypto.SHA256, algs[0].Digest().CryptoHash())
	sum := sha256.Sum256(doc)
	p, err := cades.Prepare(cades.Options{Certificate: l.Certificate, Chain: l.Chain, Algorithm: algs[0], SigningTime: b.now, ContentDigest: sum[:]})
	require.NoError(b.t, err)
	der, err := p.Finish(token(p.Digest()))
	require.NoError(b.t, err)
	return der
}

// A delivery is one POST of the agent, open to every kind of damage.
type delivery struct {
	b       *bench
	url     string
	bearer  string
	key     string
	kind    string
	body    []byte
	stamp   string
	signer  ed25519.PrivateKey
	headers map[string]string // replace the right ones
}

// meta is the metadata of a signed document.
func (b *bench) meta(p signParams, d signDoc, file []byte, l *testcerts.Leaf) map[string]any {
	return map[string]any{
		"type": "signed", "origin": b.url, "job": p.Job, "document": d.ID, "name": d.Name, "format": d.Format, "level": "B-B",
		"attached": false, "sha256": d.SHA256, "signedSha256": hexDigest(file), "signedName": "x", "mediaType": "application/pdf",
		"signingTime": b.now.UTC().Format(time.RFC3339),
		"device":      map[string]string{"name": "PC", "os": "linux", "arch": "amd64", "agent": "0.1.0"},
		"certificate": map[string]string{"sha256": l.Certificate.Fingerprint(), "pem": l.Certificate.PEM(), "name": l.Certificate.Profile.Name},
	}
}

func (b *bench) signed(p signParams, d signDoc, file []byte, meta map[string]any) *delivery {
	b.t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	raw, err := json.Marshal(meta)
	require.NoError(b.t, err)
	for _, part := range []struct {
		name, kind string
		data       []byte
	}{{"metadata", "application/json", raw}, {"file", "application/octet-stream", file}} {
		pw, err := w.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename="x"`, part.name)}, "Content-Type": {part.kind},
		})
		require.NoError(b.t, err)
		_, err = pw.Write(part.data)
		require.NoError(b.t, err)
	}
	require.NoError(b.t, w.Close())
	return b.delivery(p, d.ID, w.FormDataContentType(), body.Bytes())
}

func (b *bench) event(p signParams, kind string, more map[string]any) *delivery {
	m := map[string]any{
		"type": kind, "origin": b.url, "job": p.Job, "at": b.now.UTC().Format(time.RFC3339),
		"device": map[string]string{"name": "PC", "os": "linux", "arch": "amd64", "agent": "0.1.0"},
	}
	var ids []string
	for _, d := range p.Documents {
		ids = append(ids, d.ID)
	}
	m["documents"] = ids
	for k, v := range more {
		m[k] = v
	}
	raw, err := json.Marshal(m)
	require.NoError(b.t, err)
	return b.delivery(p, kind, "application/json", raw)
}

func (b *bench) delivery(p signParams, tail, kind string, body []byte) *delivery {
	return &delivery{b: b, url: p.Delivery.URL, bearer: p.Delivery.Bearer, key: p.Job + ":" + tail, kind: kind, body: body, signer: b.key}
}

// send posts it and returns the status and the reason.
func (d *delivery) send() (int, string) {
	d.b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, d.url, bytes.NewReader(d.body))
	require.NoError(d.b.t, err)
	if d.stamp == "" {
		d.stamp = strconv.FormatInt(d.b.now.Unix(), 10)
	}
	sum := sha256.Sum256(d.body)
	sig := ed25519.Sign(d.signer, append([]byte(d.key+"."+d.stamp+"."), d.body...))
	req.Header.Set("Authorization", "Bearer "+d.bearer)
	req.Header.Set("Idempotency-Key", `"`+d.key+`"`)
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	req.Header.Set("Content-Type", d.kind)
	req.Header.Set("webhook-id", d.key)
	req.Header.Set("webhook-timestamp", d.stamp)
	req.Header.Set("webhook-signature", "v1a,"+base64.StdEncoding.EncodeToString(sig))
	for k, v := range d.headers {
		if v == "" {
			req.Header.Del(k)
		} else {
			req.Header.Set(k, v)
		}
	}
	r, err := http.DefaultClient.Do(req)
	require.NoError(d.b.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(d.b.t, err)
	return r.StatusCode, strings.TrimSpace(string(text))
}

func (b *bench) deal(id string) *Deal {
	b.t.Helper()
	d, err := read[*Deal](b.crm.store, bucketDeals, id)
	require.NoError(b.t, err)
	return d
}

func (b *bench) history(deal string) []Entry {
	b.t.Helper()
	h, err := b.crm.store.history(deal)
	require.NoError(b.t, err)
	return h
}
