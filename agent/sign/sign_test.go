package sign_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/agent/sign"
	"tanba/crypto/sigalg"
	"tanba/testcerts"
	"tanba/tokens"
)

var now = time.Now().UTC().Truncate(time.Second)

// tinyPDF is a PDF of one empty page.
func tinyPDF() []byte {
	var b bytes.Buffer
	var at []int
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	for i, o := range []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"} {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	x := b.Len()
	b.WriteString("xref\n0 4\n0000000000 65535 f \n")
	for _, o := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", x)
	return b.Bytes()
}

func spool(t *testing.T) *job.Spool {
	s, err := job.CreateSpool(filepath.Join(t.TempDir(), "spool"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

type noFetch struct{}

func (noFetch) Fetch(context.Context, string, string, job.Secret, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("fetched")), nil
}

func preparer() *sign.Preparer {
	return &sign.Preparer{Fetcher: noFetch{}, Limits: policy.Default().Limits}
}

func prepare(t *testing.T, d job.Document) (*job.PreparedDocument, error) {
	p, err := preparer().Prepare(t.Context(), job.Request{Origin: "https://crm.test", Documents: []job.Document{d}}, spool(t))
	if err != nil {
		return nil, err
	}
	return p.Documents[0], nil
}

func issue(t *testing.T, kind testcerts.KeyKind) (*testcerts.PKI, *testcerts.Leaf, tokens.Identity) {
	pki, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	leaf, err := pki.Issue(testcerts.LeafSpec{Name: "Тест Директор", Organization: "ТОО Болат", Kind: kind, BIN: "123456789012", Role: "head"})
	require.NoError(t, err)
	algs, err := sigalg.ForKey(leaf.Certificate.PublicKey)
	require.NoError(t, err)
	return pki, leaf, tokens.Identity{ID: "i", Certificate: leaf.Certificate, Chain: leaf.Chain, Algorithms: algs}
}

func TestSignedFilesAreAcceptedByStrangers(t *testing.T) {
	content := []byte("договор\n")
	for _, kind := range []testcerts.KeyKind{testcerts.RSA2048, testcerts.P256, testcerts.P384} {
		for _, c := range []struct {
			name string
			doc  job.Document
		}{
			{"pades", job.Document{ID: "d", Name: "Договор.pdf", Format: job.PAdES, Content: job.Content{Inline: tinyPDF()}}},
			{"cades", job.Document{ID: "d", Name: "act.txt", Format: job.CAdES, Content: job.Content{Inline: content}}},
			{"cades attached", job.Document{ID: "d", Name: "act.txt", Format: job.CAdES, Attached: true, Content: job.Content{Inline: content}}},
		} {
			t.Run(string(kind)+" "+c.name, func(t *testing.T) {
				pki, leaf, id := issue(t, kind)
				d, err := prepare(t, c.doc)
				require.NoError(t, err)
				p, err := new(sign.Assembler).Begin(t.Context(), d, id, id.Algorithms[0], now)
				require.NoError(t, err)
				sig, err := leaf.Key.Sign(rand.Reader, p.Digest(), sigalg.SignerOpts(id.Algorithms[0]))
				require.NoError(t, err)
				s, err := p.Finish(t.Context(), sig, spool(t))
				require.NoError(t, err)
				out, err := io.ReadAll(s.File.Reader())
				require.NoError(t, err)
				assert.Equal(t, sha256.Sum256(out), s.SHA256)

				dir := t.TempDir()
				put := func(name string, b []byte) string {
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
					return filepath.Join(dir, name)
				}
				root := put("root.pem", []byte(pki.Root.Certificate.PEM()))
				file, data := put("out", out), put("data", content)
				if c.doc.Format == job.PAdES {
					said, err := exec.CommandContext(t.Context(), "pdfsig", "-nocert", file).CombinedOutput()
					require.NoError(t, err, string(said))
					assert.Contains(t, string(said), "Signature is Valid")
					assert.Contains(t, string(said), "Total document signed")
					return
				}
				args := []string{"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", file, "-CAfile", root, "-purpose", "any", "-out", filepath.Join(dir, "got")}
				if !c.doc.Attached {
					args = append(args, "-content", data)
				}
				said, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
				require.NoError(t, err, string(said))
				got, err := os.ReadFile(filepath.Join(dir, "got"))
				require.NoError(t, err)
				assert.Equal(t, content, got)
			})
		}
	}
}

func TestWrongSignatureNeverLeaves(t *testing.T) {
	_, _, id := issue(t, testcerts.P256)
	_, other, _ := issue(t, testcerts.P256)
	for _, doc := range []job.Document{
		{ID: "d", Name: "a.pdf", Format: job.PAdES, Content: job.Content{Inline: tinyPDF()}},
		{ID: "d", Name: "a.txt", Format: job.CAdES, Content: job.Content{Inline: []byte("x")}},
		{ID: "d", Name: "a.txt", Format: job.CAdES, Attached: true, Content: job.Content{Inline: []byte("x")}},
	} {
		d, err := prepare(t, doc)
		require.NoError(t, err)
		p, err := new(sign.Assembler).Begin(t.Context(), d, id, id.Algorithms[0], now)
		require.NoError(t, err)
		sig, err := other.Key.Sign(rand.Reader, p.Digest(), crypto.SHA256)
		require.NoError(t, err)
		_, err = p.Finish(t.Context(), sig, spool(t))
		assert.Equal(t, job.CodeVerify, code(t, err))
	}
}

func code(t *testing.T, err error) job.Code {
	t.Helper()
	var e *job.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "d", e.Document, "the document is named")
	return e.Code
}

func TestDocumentsThatAreRefused(t *testing.T) {
	sum := sha256.Sum256([]byte("other"))
	inline := func(b []byte) job.Content { return job.Content{Inline: b} }
	cases := map[string]struct {
		doc  job.Document
		want job.Code
	}{
		"empty":        {job.Document{Format: job.CAdES, Content: inline([]byte{})}, job.CodeInvalid},
		"other digest": {job.Document{Format: job.CAdES, Content: inline([]byte("x")), SHA256: sum[:]}, job.CodeDigestMismatch},
		"not a PDF":    {job.Document{Format: job.PAdES, Content: inline([]byte("PK\x03\x04"))}, job.CodeNotPDF},
		"broken PDF":   {job.Document{Format: job.PAdES, Content: inline([]byte("%PDF-1.7\n1 0 obj"))}, job.CodeBrokenPDF},
	}
	if data := os.Getenv("TANBA_TESTDATA"); data != "" || exists("../../../shared/data") {
		if data == "" {
			data = "../../../shared/data"
		}
		b, err := os.ReadFile(filepath.Join(data, "pdf", "pyHanko__minimal-aes256.pdf"))
		require.NoError(t, err)
		cases["encrypted PDF"] = struct {
			doc  job.Document
			want job.Code
		}{job.Document{Format: job.PAdES, Content: inline(b)}, job.CodeEncryptedPDF}
	} else if os.Getenv("TANBA_REQUIRE_DATA") == "1" {
		t.Fatal("the test data is missing: set TANBA_TESTDATA")
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.doc.ID = "d"
			_, err := prepare(t, c.doc)
			assert.Equal(t, c.want, code(t, err))
		})
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func TestBounds(t *testing.T) {
	p := preparer()
	p.Limits.Document, p.Limits.Job = 10, 15
	doc := func(id string, n int) job.Document {
		return job.Document{ID: id, Format: job.CAdES, Content: job.Content{Inline: bytes.Repeat([]byte("x"), n)}}
	}
	_, err := p.Prepare(t.Context(), job.Request{Documents: []job.Document{doc("d", 11)}}, spool(t))
	assert.Equal(t, job.CodeTooLarge, code(t, err))
	_, err = p.Prepare(t.Context(), job.Request{Documents: []job.Document{doc("a", 10), doc("d", 6)}}, spool(t))
	assert.Equal(t, job.CodeTooLarge, code(t, err))
	_, err = p.Prepare(t.Context(), job.Request{Documents: []job.Document{doc("a", 10), doc("b", 5), doc("d", 1)}}, spool(t))
	assert.Equal(t, job.CodeTooLarge, code(t, err))
}

func TestPreparedIsAPrivateCopy(t *testing.T) {
	src := []byte("bytes of the page")
	want := sha256.Sum256(src)
	d, err := prepare(t, job.Document{ID: "d", Name: "../x\u202e.txt", Format: job.CAdES, Content: job.Content{Inline: src}, SHA256: want[:]})
	require.NoError(t, err)
	src[0] = 'X'
	got, err := io.ReadAll(io.NewSectionReader(d.Content, 0, d.Size))
	require.NoError(t, err)
	assert.Equal(t, "bytes of the page", string(got))
	assert.Equal(t, hex.EncodeToString(want[:]), d.Digest())
	assert.Equal(t, "x.txt", d.Name)
	assert.Equal(t, "text/plain; charset=utf-8", d.MediaType)

	d, err = prepare(t, job.Document{ID: "d", Format: job.CAdES, Content: job.Content{URL: "https://crm.test/d"}})
	require.NoError(t, err)
	assert.Equal(t, int64(len("fetched")), d.Size)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = preparer().Prepare(ctx, job.Request{Documents: []job.Document{{ID: "d", Content: job.Content{Inline: src}}}}, spool(t))
	assert.True(t, errors.Is(err, context.Canceled))
}
