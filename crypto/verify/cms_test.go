package verify_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/testcerts"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var pki = sync.OnceValue(func() *testcerts.PKI {
	p, err := testcerts.New(testcerts.Options{Now: now})
	if err != nil {
		panic(err)
	}
	return p
})

var rsaKey = sync.OnceValues(func() (crypto.Signer, error) { return testcerts.NewKey(testcerts.RSA2048) })

func newLeaf(t testing.TB, kind testcerts.KeyKind) *testcerts.Leaf {
	t.Helper()
	return issue(t, testcerts.LeafSpec{Name: "ТЕСТОВ ТЕСТ", IIN: "123456789011", Kind: kind})
}

func issue(t testing.TB, spec testcerts.LeafSpec) *testcerts.Leaf {
	t.Helper()
	if spec.Kind == testcerts.RSA2048 {
		key, err := rsaKey()
		require.NoError(t, err)
		spec.Key = key
	}
	l, err := pki().Issue(spec)
	require.NoError(t, err)
	return l
}

func sum(d sigalg.Digest, b []byte) []byte {
	h := d.New()
	h.Write(b)
	return h.Sum(nil)
}

// sign makes our own detached signature over doc, with chain in it.
func sign(t testing.TB, l *testcerts.Leaf, alg sigalg.Algorithm, doc []byte, chain ...*cert.Certificate) []byte {
	t.Helper()
	p, err := cades.Prepare(cades.Options{
		Certificate: l.Certificate, Chain: chain, Algorithm: alg, SigningTime: now, ContentDigest: sum(alg.Digest(), doc),
	})
	require.NoError(t, err)
	sig, err := l.Key.Sign(rand.Reader, p.Digest(), sigalg.SignerOpts(alg))
	require.NoError(t, err)
	der, err := p.Finish(sig)
	require.NoError(t, err)
	return der
}

func trusting() verify.Options {
	return verify.Options{
		Roots: []*cert.Certificate{pki().Root.Certificate}, Intermediates: []*cert.Certificate{pki().CA.Certificate},
		At: now, Revocation: verify.Skip,
	}
}

// one judges a file with one signature.
func one(t testing.TB, sig []byte, content io.Reader, o verify.Options) verify.Signature {
	t.Helper()
	r, err := verify.Bytes(t.Context(), sig, content, o)
	require.NoError(t, err)
	require.Len(t, r.Signatures, 1)
	return r.Signatures[0]
}

// opensslSign has OpenSSL make a signature over doc.
func opensslSign(t testing.TB, l *testcerts.Leaf, doc []byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	key, err := l.KeyPEM()
	require.NoError(t, err)
	for name, b := range map[string][]byte{"key": []byte(key), "cert": []byte(l.Certificate.PEM()), "doc": doc} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	all := append([]string{
		"cms", "-sign", "-binary", "-outform", "DER", "-in", filepath.Join(dir, "doc"),
		"-signer", filepath.Join(dir, "cert"), "-inkey", filepath.Join(dir, "key"), "-out", filepath.Join(dir, "out"),
	}, args...)
	out, err := exec.Command("openssl", all...).CombinedOutput()
	require.NoError(t, err, string(out))
	der, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	return der
}

// OpenSSL's signatures in all the forms it makes are judged as they should be.
func TestOpenSSLSignatures(t *testing.T) {
	doc := bytes.Repeat([]byte("договор "), 20000) // several pieces with -stream
	for _, c := range []struct {
		name       string
		kind       testcerts.KeyKind
		args       []string
		algorithm  string
		level      string
		violations []string
		der        bool
	}{
		{"RSA", testcerts.RSA2048, []string{"-cades", "-md", "sha256"}, "rsa-pkcs1-sha256", "B-B", nil, true},
		{"RSA SHA-384", testcerts.RSA2048, []string{"-cades", "-md", "sha384"}, "rsa-pkcs1-sha384", "B-B", nil, true},
		{"PSS", testcerts.RSA2048, []string{"-cades", "-md", "sha256", "-keyopt", "rsa_padding_mode:pss"}, "rsa-pss-sha256", "B-B", nil, true},
		{"PSS SHA-512, salt 20", testcerts.RSA2048, []string{"-cades", "-md", "sha512", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:20"}, "rsa-pss-sha512", "B-B", nil, true},
		{"P-256", testcerts.P256, []string{"-cades", "-md", "sha256"}, "ecdsa-p256-sha256", "B-B", nil, true},
		{"P-256 SHA-512", testcerts.P256, []string{"-cades", "-md", "sha512"}, "ecdsa-p256-sha512", "B-B", nil, true},
		{"P-384", testcerts.P384, []string{"-cades", "-md", "sha384"}, "ecdsa-p384-sha384", "B-B", nil, true},
		{"key identifier", testcerts.P256, []string{"-cades", "-md", "sha256", "-keyid"}, "ecdsa-p256-sha256", "B-B", nil, true},
		{"plain CMS", testcerts.P256, []string{"-md", "sha256"}, "ecdsa-p256-sha256", "", []string{"C-04"}, true},
		{"no attributes", testcerts.P256, []string{"-md", "sha256", "-noattr"}, "ecdsa-p256-sha256", "", []string{"C-02", "C-03", "C-04", "C-09", "C-05"}, true},
		{"BER", testcerts.P256, []string{"-cades", "-md", "sha256", "-stream"}, "ecdsa-p256-sha256", "B-B", nil, false},
	} {
		for _, attached := range []bool{false, true} {
			name, args := c.name+" detached", c.args
			if !c.der && !attached {
				continue // -stream always puts the content in
			}
			if attached {
				name, args = c.name+" attached", append(args[:len(args):len(args)], "-nodetach")
			}
			t.Run(name, func(t *testing.T) {
				l := newLeaf(t, c.kind)
				sig := opensslSign(t, l, doc, args...)
				sd, err := cms.Parse(sig)
				require.NoError(t, err)
				assert.Equal(t, c.der, sd.DER)
				if sd.DER {
					again, err := sd.Marshal()
					require.NoError(t, err)
					assert.Equal(t, sig, again)
				}
				var content, changed io.Reader
				if !attached {
					content, changed = bytes.NewReader(doc), bytes.NewReader(doc[1:])
				}
				s := one(t, sig, content, trusting())
				if slices.Contains(c.args, "-noattr") {
					assert.Equal(t, verify.SigConstraintsFailure, s.SubIndication)
				} else {
					assert.Equal(t, verify.TotalPassed, s.Indication, s.Reason)
				}
				assert.True(t, s.Intact)
				assert.Equal(t, c.algorithm, s.Algorithm)
				assert.Equal(t, c.level, s.Level)
				var broken []string
				for _, v := range s.Violations {
					broken = append(broken, v.ID)
				}
				assert.Equal(t, c.violations, broken)
				assert.Equal(t, attached, s.Attached)
				assert.Equal(t, l.Certificate.Raw, s.Signer.Raw)

				if attached {
					at := bytes.Index(sig, doc[:64])
					require.Positive(t, at)
					sig[at] ^= 1
				}
				s = one(t, sig, changed, trusting())
				assert.Equal(t, verify.TotalFailed, s.Indication)
				if len(broken) > 1 {
					assert.Equal(t, verify.SigCryptoFailure, s.SubIndication) // no message-digest to compare
				} else {
					assert.Equal(t, verify.HashFailure, s.SubIndication)
				}
				assert.False(t, s.Intact)
			})
		}
	}
}

func TestVerdicts(t *testing.T) {
	doc := []byte("contract")
	l := newLeaf(t, testcerts.P256)
	good := sign(t, l, sigalg.ECDSAP256SHA256, doc)
	stranger, err := testcerts.New(testcerts.Options{Now: now, Name: "OTHER"})
	require.NoError(t, err)
	with := func(change func(*verify.Options)) verify.Options {
		o := trusting()
		change(&o)
		return o
	}
	for _, c := range []struct {
		name string
		sig  []byte
		doc  string
		o    verify.Options
		want verify.Indication
		sub  verify.SubIndication
	}{
		{"good", good, "contract", trusting(), verify.TotalPassed, ""},
		{"other content", good, "contracT", trusting(), verify.TotalFailed, verify.HashFailure},
		{"no roots", good, "contract", with(func(o *verify.Options) { o.Roots = nil }), verify.Indeterminate, verify.NoCertificateChainFound},
		{"no intermediate", good, "contract", with(func(o *verify.Options) { o.Intermediates = nil }), verify.Indeterminate, verify.NoCertificateChainFound},
		{"intermediate in the file", sign(t, l, sigalg.ECDSAP256SHA256, doc, l.Chain[0]), "contract", with(func(o *verify.Options) { o.Intermediates = nil }), verify.TotalPassed, ""},
		{"foreign root", good, "contract", with(func(o *verify.Options) { o.Roots = []*cert.Certificate{stranger.Root.Certificate} }), verify.Indeterminate, verify.NoCertificateChainFound},
		{"no revocation data", good, "contract", with(func(o *verify.Options) { o.Revocation = verify.Require }), verify.Indeterminate, verify.TryLater},
		{"revocation not said", good, "contract", with(func(o *verify.Options) { o.Revocation = "" }), verify.Indeterminate, verify.TryLater},
		{"expired", good, "contract", with(func(o *verify.Options) { o.At = now.AddDate(2, 0, 0) }), verify.Indeterminate, verify.OutOfBoundsNoPOE},
		{"not yet valid", good, "contract", with(func(o *verify.Options) { o.At = now.AddDate(0, -1, 0) }), verify.TotalFailed, verify.NotYetValid},
		{"not for signing", sign(t, issue(t, testcerts.LeafSpec{Name: "ТЕСТОВ ТЕСТ", Usage: testcerts.Encryption}), sigalg.ECDSAP256SHA256, doc), "contract", trusting(), verify.Indeterminate, verify.ChainConstraintsFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := one(t, c.sig, strings.NewReader(c.doc), c.o)
			assert.Equal(t, c.want, s.Indication, s.Reason)
			assert.Equal(t, c.sub, s.SubIndication, s.Reason)
			assert.Equal(t, c.want == verify.TotalPassed, s.Reason == "")
		})
	}
	t.Run("no content", func(t *testing.T) {
		s := one(t, good, nil, trusting())
		assert.Equal(t, verify.Indeterminate, s.Indication)
		assert.Equal(t, verify.SignedDataNotFound, s.SubIndication)
	})
	t.Run("no certificate", func(t *testing.T) {
		sig := opensslSign(t, l, doc, "-cades", "-nocerts")
		s := one(t, sig, bytes.NewReader(doc), trusting())
		assert.Equal(t, verify.NoSigningCertificateFound, s.SubIndication)
		o := trusting()
		o.Intermediates = append(o.Intermediates, l.Certificate)
		s = one(t, sig, bytes.NewReader(doc), o)
		assert.Equal(t, verify.TotalPassed, s.Indication)
		assert.Equal(t, []cades.Violation{{ID: "C-01", Reason: "no certificates in SignedData"}}, s.Violations)
	})
	t.Run("attached and another content given", func(t *testing.T) {
		sig := opensslSign(t, l, doc, "-cades", "-nodetach")
		assert.Equal(t, verify.TotalPassed, one(t, sig, bytes.NewReader(doc), trusting()).Indication)
		assert.Equal(t, verify.HashFailure, one(t, sig, strings.NewReader("contracT"), trusting()).SubIndication)
	})
	t.Run("false certificate beside the right one", func(t *testing.T) {
		// The same issuer and serial number, another key.
		sd, err := cms.Parse(good)
		require.NoError(t, err)
		tmpl := *l.Certificate.X509
		tmpl.Subject.ExtraNames, tmpl.ExtraExtensions = nil, nil
		key, err := testcerts.NewKey(testcerts.P384)
		require.NoError(t, err)
		fake, err := x509.CreateCertificate(rand.Reader, &tmpl, pki().CA.Certificate.X509, key.Public(), pki().CA.Key)
		require.NoError(t, err)
		sd.Certificates = [][]byte{fake, sd.Certificates[0]}
		der, err := sd.Marshal()
		require.NoError(t, err)
		s := one(t, der, bytes.NewReader(doc), trusting())
		assert.Equal(t, verify.TotalPassed, s.Indication, s.Reason)
		assert.Equal(t, l.Certificate.Raw, s.Signer.Raw)
	})
	t.Run("substituted certificate", func(t *testing.T) {
		// The same key and issuer, another certificate with the same serial
		// number is out of reach here; a changed byte in the certificate must
		// be seen by the signing-certificate attribute.
		at := bytes.LastIndex(good, []byte("123456789011"))
		require.Positive(t, at)
		bad := bytes.Clone(good)
		bad[at] = '9'
		s := one(t, bad, bytes.NewReader(doc), trusting())
		assert.Equal(t, verify.Indeterminate, s.Indication)
		assert.Equal(t, verify.NoSigningCertificateFound, s.SubIndication)
	})
}

func TestForms(t *testing.T) {
	doc := []byte("contract")
	der := sign(t, newLeaf(t, testcerts.P256), sigalg.ECDSAP256SHA256, doc)
	b64 := base64.StdEncoding.EncodeToString(der)
	for name, in := range map[string]string{
		"DER":            string(der),
		"PEM":            string(pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: der})),
		"PEM PKCS7":      "\xef\xbb\xbf" + string(pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: der})) + "\r\n",
		"base64":         b64,
		"base64 in rows": b64[:64] + "\r\n" + b64[64:] + "\n",
	} {
		assert.Equal(t, verify.TotalPassed, one(t, []byte(in), bytes.NewReader(doc), trusting()).Indication, name)
	}
	for name, in := range map[string]string{
		"empty": "", "text": "hello", "cut": string(der[:len(der)-1]), "more": string(der) + "\x00",
		"two PEM blocks": strings.Repeat(string(pem.EncodeToMemory(&pem.Block{Type: "CMS", Bytes: der})), 2),
		"certificate":    string(pki().Root.Certificate.Raw),
	} {
		_, err := verify.Bytes(t.Context(), []byte(in), bytes.NewReader(doc), trusting())
		assert.ErrorIs(t, err, cms.ErrMalformed, name)
	}
}

func TestJSON(t *testing.T) {
	doc := []byte("contract")
	r, err := verify.Bytes(t.Context(), sign(t, newLeaf(t, testcerts.P256), sigalg.ECDSAP256SHA256, doc), bytes.NewReader(doc), trusting())
	require.NoError(t, err)
	assert.True(t, r.Passed())
	b, err := json.Marshal(r)
	require.NoError(t, err)
	var got struct{ Signatures []map[string]any }
	require.NoError(t, json.Unmarshal(b, &got))
	s := got.Signatures[0]
	assert.Equal(t, "TOTAL-PASSED", s["indication"])
	assert.Equal(t, "CAdES", s["format"])
	assert.Equal(t, "B-B", s["level"])
	assert.Equal(t, "2026-11-22T12:00:00Z", s["signingTime"])
	assert.Equal(t, "123456789011", s["certificate"].(map[string]any)["iin"])
	assert.NotContains(t, s, "Signer")
	assert.NotContains(t, s, "subIndication")
	assert.NotContains(t, s, "byteRange")
	assert.False(t, (&verify.Report{}).Passed())
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := verify.Bytes(ctx, sign(t, newLeaf(t, testcerts.P256), sigalg.ECDSAP256SHA256, nil), strings.NewReader(""), trusting())
	require.ErrorIs(t, err, context.Canceled)
	_, err = verify.Bytes(t.Context(), sign(t, newLeaf(t, testcerts.P256), sigalg.ECDSAP256SHA256, nil), strings.NewReader(""), verify.Options{})
	require.Error(t, err, "no time")
}
