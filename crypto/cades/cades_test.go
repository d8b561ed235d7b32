package cades_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
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
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A holder is a key with its certificate and issuer.
type holder struct {
	key  crypto.Signer
	cert *cert.Certificate
	root *cert.Certificate
}

var keys = sync.OnceValue(func() map[string]crypto.Signer {
	out := map[string]crypto.Signer{}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	out["rsa"] = r
	for name, c := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "root": elliptic.P256()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		out[name] = k
	}
	return out
})

func newHolder(t *testing.T, key string, serial int64) holder {
	t.Helper()
	root := keys()["root"]
	rt := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test root", Country: []string{"KZ"}},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, rt, rt, root.Public(), root)
	require.NoError(t, err)
	lt := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "Тест Тестов", Country: []string{"KZ"}},
		NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	k := keys()[key]
	der, err := x509.CreateCertificate(rand.Reader, lt, rt, k.Public(), root)
	require.NoError(t, err)
	h := holder{key: k}
	h.cert, err = cert.Parse(der)
	require.NoError(t, err)
	h.root, err = cert.Parse(rootDER)
	require.NoError(t, err)
	return h
}

func (h holder) sign(t *testing.T, alg sigalg.Algorithm, digest []byte) []byte {
	t.Helper()
	sig, err := h.key.Sign(rand.Reader, digest, sigalg.SignerOpts(alg))
	require.NoError(t, err)
	return sig
}

func (h holder) options() verify.Options {
	return verify.Options{Roots: []*cert.Certificate{h.root}, At: now, Revocation: verify.Skip}
}

func sum(d sigalg.Digest, b []byte) []byte {
	x := d.New()
	x.Write(b)
	return x.Sum(nil)
}

var algorithms = []struct {
	key string
	alg sigalg.Algorithm
}{
	{"rsa", sigalg.RSASHA256},
	{"rsa", sigalg.RSASHA384},
	{"rsa", sigalg.RSASHA512},
	{"rsa", sigalg.RSAPSSSHA256},
	{"p256", sigalg.ECDSAP256SHA256},
	{"p384", sigalg.ECDSAP384SHA384},
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

func TestStrangersAcceptOurs(t *testing.T) {
	doc := []byte("договор поставки\r\nстрока 2\n")
	for i, a := range algorithms {
		for _, attached := range []bool{false, true} {
			name := string(a.alg) + map[bool]string{true: " attached", false: " detached"}[attached]
			t.Run(name, func(t *testing.T) {
				h := newHolder(t, a.key, int64(100+i))
				p, err := cades.Prepare(cades.Options{
					Certificate: h.cert, Algorithm: a.alg, SigningTime: now, ContentDigest: sum(a.alg.Digest(), doc),
				})
				require.NoError(t, err)
				require.Len(t, p.Digest(), a.alg.Digest().Size())
				sig := h.sign(t, a.alg, p.Digest())
				var der []byte
				if attached {
					var b bytes.Buffer
					require.NoError(t, p.WriteAttached(&b, bytes.NewReader(doc), int64(len(doc)), sig))
					der = b.Bytes()
					require.NoError(t, verify.OwnAttached(t.Context(), bytes.NewReader(der), int64(len(der)), sum(a.alg.Digest(), doc), h.cert))
				} else {
					der, err = p.Finish(sig)
					require.NoError(t, err)
					assert.LessOrEqual(t, len(der), p.Size())
					assert.Less(t, p.Size()-len(der), 16)
				}
				require.NoError(t, verify.Own(der, sum(a.alg.Digest(), doc), h.cert, cades.CAdES))

				dir := t.TempDir()
				args := []string{
					"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", write(t, dir, "s", der),
					"-CAfile", write(t, dir, "ca", []byte(h.root.PEM())), "-purpose", "any", "-attime", "1795348800", "-out", filepath.Join(dir, "out"),
				}
				if !attached {
					args = append(args, "-content", write(t, dir, "doc", doc))
				}
				out, err := openssl(t, args...)
				require.NoError(t, err, out)
				assert.Contains(t, out, "CAdES Verification successful")
				got, err := os.ReadFile(filepath.Join(dir, "out"))
				require.NoError(t, err)
				assert.Equal(t, doc, got)

				var content *bytes.Reader
				rep := &verify.Report{}
				if attached {
					rep, err = verify.Bytes(t.Context(), der, nil, h.options())
				} else {
					content = bytes.NewReader(doc)
					rep, err = verify.Bytes(t.Context(), der, content, h.options())
				}
				require.NoError(t, err)
				require.Len(t, rep.Signatures, 1)
				s := rep.Signatures[0]
				assert.Equal(t, verify.TotalPassed, s.Indication, s.Reason)
				assert.Equal(t, "CAdES", s.Format)
				assert.Equal(t, "B-B", s.Level)
				assert.Equal(t, string(a.alg), s.Algorithm)
				assert.Equal(t, now, s.SigningTime)
				assert.Equal(t, attached, s.Attached)

				if a.alg == sigalg.RSAPSSSHA256 {
					return // mozilla/pkcs7 has no PSS
				}
				m, err := pkcs7.Parse(der)
				require.NoError(t, err)
				if !attached {
					m.Content = doc
				}
				pool := x509.NewCertPool()
				pool.AddCert(h.root.X509)
				require.NoError(t, m.VerifyWithChainAtTime(pool, now))
				m.Content = append(bytes.Clone(doc), 'x')
				assert.Error(t, m.VerifyWithChainAtTime(pool, now))
			})
		}
	}
}

func TestCheckKinds(t *testing.T) {
	h := newHolder(t, "p256", 7)
	doc := []byte("x")
	make := func(at time.Time) *cms.SignedData {
		p, err := cades.Prepare(cades.Options{Certificate: h.cert, Algorithm: sigalg.ECDSAP256SHA256, SigningTime: at, ContentDigest: sum(sigalg.SHA256, doc)})
		require.NoError(t, err)
		der, err := p.Finish(h.sign(t, sigalg.ECDSAP256SHA256, p.Digest()))
		require.NoError(t, err)
		sd, err := cms.Parse(der)
		require.NoError(t, err)
		return sd
	}
	with, without := make(now), make(time.Time{})
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
