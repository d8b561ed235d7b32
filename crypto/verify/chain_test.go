package verify_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/testcerts"
)

// What is wrong with the chain of an intact signature is said by name.
func TestChains(t *testing.T) {
	doc := []byte("contract")
	leafBelow := func(t *testing.T, issuer *cert.Certificate, issuerKey crypto.Signer, change func(*x509.Certificate)) *testcerts.Leaf {
		key, err := testcerts.NewKey(testcerts.P256)
		require.NoError(t, err)
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "ТЕСТОВ ТЕСТ"},
			NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if change != nil {
			change(tmpl)
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer.X509, key.Public(), issuerKey)
		require.NoError(t, err)
		c, err := cert.Parse(der)
		require.NoError(t, err)
		return &testcerts.Leaf{Certificate: c, Key: key}
	}
	old, err := testcerts.New(testcerts.Options{Now: now.AddDate(-11, 0, 0)})
	require.NoError(t, err)
	other, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	person := newLeaf(t, testcerts.P256)

	for _, c := range []struct {
		name  string
		leaf  *testcerts.Leaf
		given []*cert.Certificate // roots first, then one more
		at    time.Time
		want  verify.Indication
		sub   verify.SubIndication
	}{
		{"good", leafBelow(t, pki().CA.Certificate, pki().CA.Key, nil), nil, now, verify.TotalPassed, ""},
		{"issuer expired", leafBelow(t, old.CA.Certificate, old.CA.Key, nil),
			[]*cert.Certificate{old.Root.Certificate, old.CA.Certificate}, now, verify.Indeterminate, verify.OutOfBoundsNoPOE},
		{"issuer a person", leafBelow(t, person.Certificate, person.Key, nil),
			[]*cert.Certificate{pki().Root.Certificate, person.Certificate}, now, verify.Indeterminate, verify.NoCertificateChainFound},
		{"issuer of the same name, another key", leafBelow(t, other.CA.Certificate, other.CA.Key, nil), nil, now, verify.Indeterminate, verify.NoCertificateChainFound},
		{"critical extension", leafBelow(t, pki().CA.Certificate, pki().CA.Key, func(x *x509.Certificate) {
			x.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), nil, now, verify.Indeterminate, verify.ChainConstraintsFailure},
		{"expired and no chain", person, []*cert.Certificate{other.Root.Certificate}, now.AddDate(2, 0, 0), verify.Indeterminate, verify.NoCertificateChainFound},
		{"trusted itself", person, []*cert.Certificate{person.Certificate}, now, verify.TotalPassed, ""},
		{"a CA signs", &testcerts.Leaf{Certificate: pki().CA.Certificate, Key: pki().CA.Key}, nil, now, verify.Indeterminate, verify.ChainConstraintsFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := trusting()
			o.At = c.at
			if len(c.given) > 0 {
				o.Roots, o.Intermediates = c.given[:1], append(c.given[1:], pki().CA.Certificate)
			}
			s := one(t, sign(t, c.leaf, sigalg.ECDSAP256SHA256, doc), bytes.NewReader(doc), o)
			assert.Equal(t, c.want, s.Indication, s.Reason)
			assert.Equal(t, c.sub, s.SubIndication, s.Reason)
			assert.True(t, s.Intact)
		})
	}
}

func TestOwnAttached(t *testing.T) {
	doc := []byte("contract")
	digest := sum(sigalg.SHA256, doc)
	l := newLeaf(t, testcerts.P256)
	own := func(der, digest []byte, c *cert.Certificate) error {
		return verify.OwnAttached(t.Context(), bytes.NewReader(der), int64(len(der)), digest, c)
	}
	good := opensslSign(t, l, doc, "-cades", "-md", "sha256", "-nodetach")
	require.NoError(t, own(good, digest, l.Certificate))
	for name, err := range map[string]error{
		"detached":      own(sign(t, l, sigalg.ECDSAP256SHA256, doc), digest, l.Certificate),
		"another":       own(good, sum(sigalg.SHA256, []byte("x")), l.Certificate),
		"not ours":      own(good, digest, newLeaf(t, testcerts.P256).Certificate),
		"cut":           own(good[:len(good)-1], digest, l.Certificate),
		"not CAdES":     own(opensslSign(t, l, doc, "-md", "sha256", "-nodetach"), digest, l.Certificate),
		"BER":           own(opensslSign(t, l, doc, "-cades", "-md", "sha256", "-nodetach", "-stream"), digest, l.Certificate),
		"content wrong": own(bytes.Replace(good, doc, []byte("contracT"), 1), digest, l.Certificate),
	} {
		assert.ErrorIs(t, err, verify.ErrOwn, name)
	}
	assert.ErrorIs(t, verify.Own(sign(t, l, sigalg.ECDSAP256SHA256, doc), nil, l.Certificate, cades.CAdES), verify.ErrOwn)
}
