package gost3410

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/gost/gost94"
	"tanba/crypto/gost/streebog"
)

// An object is what certificates, requests and CRLs have in common.
type object struct {
	TBS       asn1.RawValue
	Algorithm pkix.AlgorithmIdentifier
	Signature asn1.BitString
}

// parseSPKI reads a SubjectPublicKeyInfo; nil for one that is not GOST.
func parseSPKI(t *testing.T, der []byte) *PublicKey {
	t.Helper()
	in := cryptobyte.String(der)
	var spki, algorithm, params cryptobyte.String
	var oid, set asn1.ObjectIdentifier
	require.True(t, in.ReadASN1(&spki, cbasn1.SEQUENCE) && spki.ReadASN1(&algorithm, cbasn1.SEQUENCE) && algorithm.ReadASN1ObjectIdentifier(&oid))
	if !strings.HasPrefix(oid.String(), "1.2.643.") && !strings.HasPrefix(oid.String(), "1.2.398.") {
		return nil
	}
	require.True(t, algorithm.ReadASN1(&params, cbasn1.SEQUENCE) && params.ReadASN1ObjectIdentifier(&set))
	var bits asn1.BitString
	require.True(t, spki.ReadASN1BitString(&bits))
	octets := cryptobyte.String(bits.Bytes)
	var point cryptobyte.String
	require.True(t, octets.ReadASN1(&point, cbasn1.OCTET_STRING) && octets.Empty())
	c, err := ByOID(set)
	require.NoError(t, err)
	key, err := NewPublicKey(c, point)
	require.NoError(t, err)
	return key
}

// check verifies an object with the issuer's key, by the algorithm that it names.
func check(t *testing.T, der []byte, key *PublicKey) error {
	t.Helper()
	var o object
	rest, err := asn1.Unmarshal(der, &o)
	require.NoError(t, err)
	require.Empty(t, rest)
	layout := Russian
	h := streebog.New256()
	switch o.Algorithm.Algorithm.String() {
	case "1.2.643.7.1.1.3.2":
	case "1.2.643.7.1.1.3.3":
		h = streebog.New512()
	case "1.2.643.2.2.3":
		h = gost94.NewCryptoPro()
	case "1.2.398.3.10.1.1.2.3.2":
		h, layout = streebog.New512(), Kazakh
	case "1.2.398.3.10.1.1.1.2":
		h, layout = gost94.NewTest(), Kazakh
	default:
		t.Fatalf("unknown algorithm %v", o.Algorithm.Algorithm)
	}
	h.Write(o.TBS.FullBytes)
	if err := key.Verify(h.Sum(nil), o.Signature.Bytes, layout); err != nil {
		return err
	}
	// The same with a bit of the content flipped.
	bad := flip(o.TBS.FullBytes, 8*len(o.TBS.FullBytes)/2)
	h.Reset()
	h.Write(bad)
	assert.ErrorIs(t, key.Verify(h.Sum(nil), o.Signature.Bytes, layout), ErrSignature)
	return nil
}

func readDER(t *testing.T, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(testData(t, name...))
	require.NoError(t, err)
	if p, _ := pem.Decode(b); p != nil {
		return p.Bytes
	}
	return b
}

func readCert(t *testing.T, name ...string) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(readDER(t, name...))
	require.NoError(t, err, name)
	return c
}

// The certificates, requests and CRLs of RFC 9215 appendix D.
func TestRFC9215(t *testing.T) {
	for _, n := range []string{"D1", "D2", "D3"} {
		cert := readCert(t, "ru", "rfc9215", n+"-cert.pem")
		key := parseSPKI(t, cert.RawSubjectPublicKeyInfo)
		assert.NoError(t, check(t, cert.Raw, key), n)
		assert.NoError(t, check(t, readDER(t, "ru", "rfc9215", n+"-csr.pem"), key), n)
		assert.NoError(t, check(t, readDER(t, "ru", "rfc9215", n+"-crl.pem"), key), n)
	}
}

// Each GOST certificate of the data whose issuer's certificate is there too
// verifies with it: those of NCA RK in use, its test CAs' and the tests'.
func TestCertificates(t *testing.T) {
	testData(t)
	var certs []*x509.Certificate
	names := map[*x509.Certificate]string{}
	for _, dir := range []string{"kz/prod-ca", "kz/nca-sdk-test", "kz/ncanode-test", "kz/gokalkan-test", "ru/cryptoarm-web"} {
		for _, pattern := range []string{"*.cer", "*.crt", "*.pem"} {
			files, err := filepath.Glob(testData(t, dir, pattern))
			require.NoError(t, err)
			for _, f := range files {
				b, err := os.ReadFile(f)
				require.NoError(t, err)
				if p, _ := pem.Decode(b); p != nil {
					b = p.Bytes
				}
				c, err := x509.ParseCertificate(b)
				if err != nil {
					t.Logf("%s: %v", f, err)
					continue
				}
				certs = append(certs, c)
				names[c] = filepath.Base(f)
			}
		}
	}
	verified := map[string]bool{}
	for _, c := range certs {
		if c.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
			continue // RSA
		}
		issuers := 0
		for _, issuer := range certs {
			if !bytes.Equal(c.RawIssuer, issuer.RawSubject) {
				continue
			}
			key := parseSPKI(t, issuer.RawSubjectPublicKeyInfo)
			if key == nil {
				continue
			}
			issuers++
			if check(t, c.Raw, key) == nil {
				verified[names[c]] = true
			}
		}
		if issuers == 0 {
			t.Logf("%s: no issuer in the data", names[c])
			continue
		}
		assert.True(t, verified[names[c]], "%s verifies with no issuer", names[c])
	}
	for _, want := range []string{
		"root_gost.pem", "root_gost_2020.cer", "root_gost_2022.pem", // roots of NCA RK, self-signed
		"nca_gost.pem", "nca_gost_2022.pem", "root_test_gost_2022.cer",
		"individual_valid.leaf.cer", "legal_ceo_valid.leaf.cer",
	} {
		assert.True(t, verified[want], want)
	}
	t.Logf("%d certificates verified", len(verified))
	assert.GreaterOrEqual(t, len(verified), 15)
}

func TestCRLs(t *testing.T) {
	key := parseSPKI(t, readCert(t, "kz", "nca-sdk-test", "nca_gost2022_test.cer").RawSubjectPublicKeyInfo)
	assert.NoError(t, check(t, readDER(t, "kz", "nca-sdk-test", "nca_gost2022_test.crl"), key))
	assert.NoError(t, check(t, readDER(t, "kz", "nca-sdk-test", "nca_gost2022_d_test.crl"), key))
	old := parseSPKI(t, readCert(t, "kz", "ncanode-test", "nca_gost_test.crt").RawSubjectPublicKeyInfo)
	assert.NoError(t, check(t, readDER(t, "kz", "ncanode-test", "nca_gost_test.crl"), old))
}
