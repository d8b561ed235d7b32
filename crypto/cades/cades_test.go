package cades_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mozilla.org/pkcs7"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/testcerts"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A holder signs with a throw-away certificate below an issuing CA.
type holder struct {
	*testcerts.Leaf
	root *cert.Certificate
}

var pki = sync.OnceValue(func() *testcerts.PKI {
	p, err := testcerts.New(testcerts.Options{Now: now})
	if err != nil {
		panic(err)
	}
	return p
})

var rsaKey = sync.OnceValues(func() (crypto.Signer, error) { return testcerts.NewKey(testcerts.RSA2048) })

func newHolder(t testing.TB, kind testcerts.KeyKind) holder {
	t.Helper()
	spec := testcerts.LeafSpec{Name: "ТЕСТОВ ТЕСТ", IIN: "123456789011", Kind: kind}
	if kind == testcerts.RSA2048 {
		key, err := rsaKey()
		require.NoError(t, err)
		spec.Key = key
	}
	l, err := pki().Issue(spec)
	require.NoError(t, err)
	return holder{l, pki().Root.Certificate}
}

func (h holder) sign(t testing.TB, alg sigalg.Algorithm, digest []byte) []byte {
	t.Helper()
	sig, err := h.Key.Sign(rand.Reader, digest, sigalg.SignerOpts(alg))
	require.NoError(t, err)
	return sig
}

func (h holder) options() verify.Options {
	return verify.Options{Roots: []*cert.Certificate{h.root}, At: now, Revocation: verify.Skip}
}

// prepare begins a signature over doc with the issuing CA's certificate in it.
func (h holder) prepare(t testing.TB, alg sigalg.Algorithm, at time.Time, doc []byte, existing *cms.SignedData) *cades.Pending {
	t.Helper()
	p, err := cades.Prepare(cades.Options{
		Certificate: h.Certificate, Chain: h.Chain, Algorithm: alg, SigningTime: at,
		ContentDigest: sum(alg.Digest(), doc), Existing: existing,
	})
	require.NoError(t, err)
	require.Len(t, p.Digest(), alg.Digest().Size())
	return p
}

func sum(d sigalg.Digest, b []byte) []byte {
	x := d.New()
	x.Write(b)
	return x.Sum(nil)
}

var algorithms = []struct {
	kind testcerts.KeyKind
	alg  sigalg.Algorithm
}{
	{testcerts.RSA2048, sigalg.RSASHA256},
	{testcerts.RSA2048, sigalg.RSASHA384},
	{testcerts.RSA2048, sigalg.RSASHA512},
	{testcerts.RSA2048, sigalg.RSAPSSSHA256},
	{testcerts.P256, sigalg.ECDSAP256SHA256},
	{testcerts.P384, sigalg.ECDSAP384SHA384},
}

// openssl runs the stranger that judges our signatures.
func openssl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("openssl", args...).CombinedOutput()
	return string(out), err
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(p, b, 0o600))
	return p
}

// opensslAccepts has OpenSSL verify a signature and returns the content.
func opensslAccepts(t *testing.T, root *cert.Certificate, der, doc []byte) {
	t.Helper()
	dir := t.TempDir()
	args := []string{
		"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", write(t, dir, "s", der),
		"-CAfile", write(t, dir, "ca", []byte(root.PEM())), "-purpose", "any",
		"-attime", strconv.FormatInt(now.Unix(), 10), "-out", filepath.Join(dir, "out"),
	}
	sd, err := cms.Parse(der)
	require.NoError(t, err)
	if sd.Content == nil {
		args = append(args, "-content", write(t, dir, "doc", doc))
	}
	out, err := openssl(t, args...)
	require.NoError(t, err, out)
	assert.Contains(t, out, "CAdES Verification successful")
	got, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	assert.Equal(t, doc, got)
}

func TestStrangersAcceptOurs(t *testing.T) {
	doc := []byte("договор поставки\r\nстрока 2\n")
	for _, a := range algorithms {
		for _, attached := range []bool{false, true} {
			name := string(a.alg) + map[bool]string{true: " attached", false: " detached"}[attached]
			t.Run(name, func(t *testing.T) {
				h := newHolder(t, a.kind)
				p := h.prepare(t, a.alg, now, doc, nil)
				sig := h.sign(t, a.alg, p.Digest())
				der, err := p.Finish(sig)
				require.NoError(t, err)
				assert.LessOrEqual(t, len(der), p.Size())
				assert.Less(t, p.Size()-len(der), 16)
				sd, err := cms.Parse(der)
				require.NoError(t, err)
				assert.ElementsMatch(t, [][]byte{h.Certificate.Raw, h.Chain[0].Raw}, sd.Certificates, "the chain below the anchor")
				var content io.Reader = bytes.NewReader(doc)
				if attached {
					var b bytes.Buffer
					require.NoError(t, p.WriteAttached(&b, bytes.NewReader(doc), int64(len(doc)), sig))
					der, content = b.Bytes(), nil
					require.NoError(t, verify.OwnAttached(t.Context(), bytes.NewReader(der), int64(len(der)), sum(a.alg.Digest(), doc), h.Certificate))
				}
				require.NoError(t, verify.Own(der, sum(a.alg.Digest(), doc), h.Certificate, cades.CAdES))
				opensslAccepts(t, h.root, der, doc)

				rep, err := verify.Bytes(t.Context(), der, content, h.options())
				require.NoError(t, err)
				require.Len(t, rep.Signatures, 1)
				s := rep.Signatures[0]
				assert.Equal(t, verify.TotalPassed, s.Indication, s.Reason)
				assert.Equal(t, "CAdES", s.Format)
				assert.Equal(t, "B-B", s.Level)
				assert.Equal(t, string(a.alg), s.Algorithm)
				assert.Equal(t, string(a.alg.Digest()), s.DigestAlgorithm)
				assert.Equal(t, now, s.SigningTime)
				assert.Equal(t, attached, s.Attached)
				assert.Equal(t, h.Certificate.Raw, s.Signer.Raw)

				if a.alg == sigalg.RSAPSSSHA256 {
					return // go.mozilla.org/pkcs7 has no PSS
				}
				m, err := pkcs7.Parse(der)
				require.NoError(t, err)
				m.Content = doc
				require.NoError(t, m.VerifyWithChainAtTime(pki().Pool(), now))
				m.Content = append(bytes.Clone(doc), 'x')
				assert.Error(t, m.VerifyWithChainAtTime(pki().Pool(), now))
			})
		}
	}
}

func TestWrongContentIsNotWritten(t *testing.T) {
	h := newHolder(t, testcerts.P256)
	p := h.prepare(t, sigalg.ECDSAP256SHA256, now, []byte("signed"), nil)
	sig := h.sign(t, sigalg.ECDSAP256SHA256, p.Digest())
	err := p.WriteAttached(io.Discard, strings.NewReader("swapped"), 7, sig)
	require.ErrorIs(t, err, cms.ErrContentChanged)
	require.ErrorIs(t, p.WriteAttached(io.Discard, strings.NewReader("sign"), 6, sig), io.EOF)
}

func TestPrepareRefuses(t *testing.T) {
	h := newHolder(t, testcerts.P256)
	digest := sum(sigalg.SHA256, nil)
	_, err := cades.Prepare(cades.Options{Certificate: h.Certificate, Algorithm: sigalg.RSASHA256, ContentDigest: digest})
	require.ErrorIs(t, err, sigalg.ErrUnsupported)
	_, err = cades.Prepare(cades.Options{Certificate: h.Certificate, Algorithm: sigalg.ECDSAP256SHA256, ContentDigest: digest[1:]})
	require.Error(t, err)
	_, err = cades.Prepare(cades.Options{Algorithm: sigalg.ECDSAP256SHA256, ContentDigest: digest})
	require.Error(t, err)
	p := h.prepare(t, sigalg.ECDSAP256SHA256, now, nil, nil)
	_, err = p.Finish(nil)
	require.Error(t, err)
	_, err = p.Finish(make([]byte, 200))
	require.Error(t, err)
}

// A co-signature keeps the earlier ones and is accepted with them.
func TestCosign(t *testing.T) {
	doc := []byte("one contract, two signers")
	a, b := newHolder(t, testcerts.P256), newHolder(t, testcerts.RSA2048)
	for _, attached := range []bool{false, true} {
		t.Run(map[bool]string{true: "attached", false: "detached"}[attached], func(t *testing.T) {
			p := a.prepare(t, sigalg.ECDSAP256SHA256, now, doc, nil)
			sig := a.sign(t, sigalg.ECDSAP256SHA256, p.Digest())
			first, err := p.Finish(sig)
			require.NoError(t, err)
			if attached {
				var buf bytes.Buffer
				require.NoError(t, p.WriteAttached(&buf, bytes.NewReader(doc), int64(len(doc)), sig))
				first = buf.Bytes()
			}
			sd, err := cms.Parse(first)
			require.NoError(t, err)

			q := b.prepare(t, sigalg.RSASHA512, now, doc, sd)
			both, err := q.Finish(b.sign(t, sigalg.RSASHA512, q.Digest()))
			require.NoError(t, err)
			opensslAccepts(t, a.root, both, doc)
			assert.Contains(t, string(both), string(sd.SignerInfos[0].Raw))

			got, err := cms.Parse(both)
			require.NoError(t, err)
			require.Len(t, got.SignerInfos, 2)
			assert.Len(t, got.DigestAlgorithms, 2)
			assert.Len(t, got.Certificates, 3) // two signers, one CA
			assert.Equal(t, 1, got.Version)
			for _, si := range got.SignerInfos {
				assert.Empty(t, cades.Check(got, si, cades.CAdES))
			}
			require.NoError(t, verify.Own(both, sum(sigalg.SHA512, doc), b.Certificate, cades.CAdES))
			require.NoError(t, verify.Own(both, sum(sigalg.SHA256, doc), a.Certificate, cades.CAdES))

			// Not over another content.
			q = b.prepare(t, sigalg.RSASHA512, now, []byte("another"), sd)
			both, err = q.Finish(b.sign(t, sigalg.RSASHA512, q.Digest()))
			if attached {
				require.ErrorIs(t, err, cms.ErrContentChanged)
				return
			}
			require.NoError(t, err)
			require.ErrorIs(t, verify.Own(both, sum(sigalg.SHA512, doc), b.Certificate, cades.CAdES), verify.ErrOwn)
		})
	}
}

func TestCheckKinds(t *testing.T) {
	h := newHolder(t, testcerts.P256)
	sign := func(at time.Time) *cms.SignedData {
		p := h.prepare(t, sigalg.ECDSAP256SHA256, at, []byte("x"), nil)
		der, err := p.Finish(h.sign(t, sigalg.ECDSAP256SHA256, p.Digest()))
		require.NoError(t, err)
		sd, err := cms.Parse(der)
		require.NoError(t, err)
		return sd
	}
	with, without := sign(now), sign(time.Time{})
	assert.Empty(t, cades.Check(with, with.SignerInfos[0], cades.CAdES))
	assert.Empty(t, cades.Check(without, without.SignerInfos[0], cades.PAdES))
	assert.Equal(t, []string{"P-03"}, ids(cades.Check(with, with.SignerInfos[0], cades.PAdES)))
	assert.Equal(t, []string{"C-05"}, ids(cades.Check(without, without.SignerInfos[0], cades.CAdES)))
}

func ids(list []cades.Violation) []string {
	var out []string
	for _, v := range list {
		out = append(out, v.ID)
	}
	return out
}

// BenchmarkSmall is one small detached signature: begin, finish, check. The
// token's part is left out.
func BenchmarkSmall(b *testing.B) {
	h := newHolder(b, testcerts.P256)
	doc := []byte("contract")
	// The same options give the same attributes, so one signature serves.
	sig := h.sign(b, sigalg.ECDSAP256SHA256, h.prepare(b, sigalg.ECDSAP256SHA256, now, doc, nil).Digest())
	for b.Loop() {
		p := h.prepare(b, sigalg.ECDSAP256SHA256, now, doc, nil)
		der, err := p.Finish(sig)
		if err != nil {
			b.Fatal(err)
		}
		if err := verify.Own(der, sum(sigalg.SHA256, doc), h.Certificate, cades.CAdES); err != nil {
			b.Fatal(err)
		}
	}
}
