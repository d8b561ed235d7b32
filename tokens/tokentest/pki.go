// Package tokentest holds the suite that every token driver passes, and what
// tests of other packages need to have a token: a SoftHSM of their own with
// keys and certificates, and the token process, built.
package tokentest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A Pair is a throw-away key and its certificate.
type Pair struct {
	Name        string
	Key         crypto.Signer
	Certificate *x509.Certificate
	// ID is the CKA_ID that SoftHSM gives both.
	ID []byte
}

// A PKI is a throw-away authority with a certificate for each kind of key:
// RSA-2048, P-256 and P-384.
type PKI struct {
	CA    *x509.Certificate
	CAKey crypto.Signer
	Pairs []Pair
}

// NewPKI makes a PKI whose certificates are valid for a day around now.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	p := &PKI{CAKey: Key(t, "p256")}
	p.CA = p.Issue(t, "Test CA", p.CAKey.Public(), true)
	for i, kind := range []string{"rsa", "p256", "p384"} {
		k := Key(t, kind)
		p.Pairs = append(p.Pairs, Pair{
			Name: kind, Key: k, Certificate: p.Issue(t, "Signer "+kind, k.Public(), false), ID: []byte{byte(i + 1)},
		})
	}
	return p
}

// Pair returns the pair with this name: rsa, p256 or p384.
func (p *PKI) Pair(t testing.TB, name string) Pair {
	t.Helper()
	for _, x := range p.Pairs {
		if x.Name == name {
			return x
		}
	}
	require.Fail(t, "no such pair", name)
	return Pair{}
}

// Key makes a key: "rsa" (2048 bits), "p256" or "p384".
func Key(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var k crypto.Signer
	var err error
	switch kind {
	case "rsa":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "p256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		require.Fail(t, "unknown kind of key", kind)
	}
	require.NoError(t, err)
	return k
}

// Issue makes a certificate for pub, by the PKI's authority; the first one, of
// the authority, by itself.
func (p *PKI) Issue(t testing.TB, name string, pub crypto.PublicKey, ca bool) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Test"}, Country: []string{"KZ"}},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		BasicConstraintsValid: true, IsCA: ca,
	}
	if ca {
		tmpl.KeyUsage = x509.KeyUsageCertSign
	}
	parent := p.CA
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, p.CAKey)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}
