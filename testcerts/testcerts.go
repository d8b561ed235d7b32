// Package testcerts makes throw-away certificates for the demo, trials and
// tests: a root, an issuing CA and leaves laid out as those of NCA RK (subject,
// extensions, roles and policies as observed in its certificates and listed in
// the registry of root.gov.kz/oid), and web server certificates.
//
// Nothing here belongs to a real authority, and no key is ever kept: every PKI
// is made anew. Keys and serial numbers are random; everything else comes from
// the caller, who also says what time it is.
package testcerts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"tanba/crypto/cert"
)

// A KeyKind is a kind of key pair to make.
type KeyKind string

// The kinds.
const (
	RSA2048 KeyKind = "rsa-2048"
	P256    KeyKind = "p-256"
	P384    KeyKind = "p-384"
)

// NewKey makes a key pair.
func NewKey(kind KeyKind) (crypto.Signer, error) {
	switch kind {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("unsupported kind of key %q", kind)
}

// Options say what kind of PKI to make.
type Options struct {
	// Now is the moment the PKI is made at. It must be set. The CAs are valid
	// from ten years before it to ten years after, leaves by default from a
	// day before to a year after.
	Now time.Time
	// CAKey is the kind of the root's and the issuing CA's keys, P256 if empty.
	CAKey KeyKind
	// Name tells PKIs apart in their CAs' names; "TEST" if empty.
	Name string
	// CRLURL, OCSPURL and IssuerURL go into the leaves' CRL distribution
	// points and authority information access; each is left out if empty.
	CRLURL, OCSPURL, IssuerURL string
}

// A PKI is a root and an issuing CA. Its methods may be called from several
// goroutines.
type PKI struct {
	Root, CA *Authority
	opts     Options
}

// An Authority is a CA with its key.
type Authority struct {
	Certificate *cert.Certificate
	Key         crypto.Signer

	mu        sync.Mutex
	revoked   []x509.RevocationListEntry
	crlNumber int64
}

const caYears = 10

// New makes a root and a CA below it.
func New(opts Options) (*PKI, error) {
	if opts.Now.IsZero() {
		return nil, errors.New("invalid options: Now is not set")
	}
	if opts.CAKey == "" {
		opts.CAKey = P256
	}
	if opts.Name == "" {
		opts.Name = "TEST"
	}
	root, err := newAuthority(opts, "НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ "+opts.Name, nil)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	ca, err := newAuthority(opts, "ҰЛТТЫҚ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ "+opts.Name, root)
	if err != nil {
		return nil, fmt.Errorf("issuing CA: %w", err)
	}
	return &PKI{Root: root, CA: ca, opts: opts}, nil
}

func newAuthority(opts Options, name string, parent *Authority) (*Authority, error) {
	key, err := NewKey(opts.CAKey)
	if err != nil {
		return nil, err
	}
	anyPolicy, err := x509.OIDFromInts([]uint64{2, 5, 29, 32, 0})
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: name}, {Type: oidCountry, Value: "KZ"}}},
		NotBefore:             opts.Now.AddDate(-caYears, 0, 0),
		NotAfter:              opts.Now.AddDate(caYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
		Policies:              []x509.OID{anyPolicy},
	}
	if parent != nil {
		t.MaxPathLen, t.MaxPathLenZero = 0, true
	}
	a := &Authority{Key: key}
	if parent == nil {
		parent = a
	}
	a.Certificate, err = parent.sign(t, key.Public())
	return a, err
}

// sign issues t for pub, with a fresh serial number and pub's key identifier.
// An authority that has no certificate yet signs its own.
func (a *Authority) sign(t *x509.Certificate, pub crypto.PublicKey) (*cert.Certificate, error) {
	var err error
	if t.SerialNumber, err = newSerial(); err != nil {
		return nil, err
	}
	if t.SubjectKeyId, err = keyID(pub); err != nil {
		return nil, err
	}
	parent := t
	if a.Certificate != nil {
		parent = a.Certificate.X509
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, a.Key)
	if err != nil {
		return nil, err
	}
	return cert.Parse(der)
}

// newSerial returns 158 random bits as a positive number of 20 bytes, the
// length of NCA RK's and the longest that RFC 5280 section 4.1.2.2 allows.
func newSerial() (*big.Int, error) {
	b := make([]byte, 20)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b), nil
}

// keyID is the SHA-1 of the subjectPublicKey bits (RFC 5280 section 4.2.1.2).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, err
	}
	s := sha1.Sum(spki.Bits.Bytes)
	return s[:], nil
}

// Pool returns a pool with the root in it.
func (p *PKI) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Root.Certificate.X509)
	return pool
}

// chain is what every leaf comes with: the CA, then the root.
func (p *PKI) chain() []*cert.Certificate {
	return []*cert.Certificate{p.CA.Certificate, p.Root.Certificate}
}
