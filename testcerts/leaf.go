package testcerts

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"tanba/crypto/cert"
)

// A Usage is what a leaf's key usage allows.
type Usage string

// The usages, after NCA RK's pairs of certificates.
const (
	// Signing: digitalSignature and contentCommitment, emailProtection.
	Signing Usage = "signing"
	// Authentication: digitalSignature and keyEncipherment, clientAuth.
	Authentication Usage = "authentication"
	// Encryption: keyEncipherment alone, so that it cannot sign at all.
	Encryption Usage = "encryption"
)

// A LeafSpec says who stands in a certificate. Empty attributes are left out.
type LeafSpec struct {
	// Name is the common name, surname first: "ИВАНОВ ИВАН". Its first word
	// becomes the surname attribute. It must be set.
	Name string
	// Patronymic is the givenName attribute, where NCA RK puts it.
	Patronymic string
	// Organization and Title are the O and title attributes.
	Organization, Title string
	// IIN and BIN are 12 digits each.
	IIN, BIN string
	// Role is one of cert.Profile's words ("head", "employee", …); "individual"
	// if empty and there is no BIN, none if empty and there is one.
	Role string
	// Email goes into the subject alternative name.
	Email string
	// Usage is Signing if empty.
	Usage Usage
	// NotBefore and NotAfter replace the default validity.
	NotBefore, NotAfter time.Time
	// Kind is the kind of key to make, P256 if empty. Key, if set, is used
	// instead: RSA keys take time to make.
	Kind KeyKind
	Key  crypto.Signer
}

// A Leaf is a certificate with its key and its issuers.
type Leaf struct {
	Certificate *cert.Certificate
	// Chain is the issuing CA, then the root.
	Chain []*cert.Certificate
	Key   crypto.Signer
}

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSurname      = asn1.ObjectIdentifier{2, 5, 4, 4}
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOrgUnit      = asn1.ObjectIdentifier{2, 5, 4, 11}
	oidTitle        = asn1.ObjectIdentifier{2, 5, 4, 12}
	oidGivenName    = asn1.ObjectIdentifier{2, 5, 4, 42}

	oidIndividual  = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 1}
	oidLegalEntity = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2}
)

// The last arc of a legal entity's role below oidLegalEntity.
var roleArcs = map[string]int{"head": 1, "authorised": 2, "financial": 3, "hr": 4, "employee": 5}

// Issue makes a certificate for a person.
func (p *PKI) Issue(spec LeafSpec) (*Leaf, error) {
	if strings.TrimSpace(spec.Name) == "" {
		return nil, fmt.Errorf("invalid leaf: no name")
	}
	for _, n := range []string{spec.IIN, spec.BIN} {
		if n != "" && (len(n) != 12 || strings.Trim(n, "0123456789") != "") {
			return nil, fmt.Errorf("invalid leaf: IIN and BIN have 12 digits")
		}
	}
	t := &x509.Certificate{Subject: subject(spec), BasicConstraintsValid: true}
	if spec.Email != "" {
		t.EmailAddresses = []string{spec.Email}
	}
	policy := uint64(3) // EDS of an individual; 4, authentication; 1 and 2 for a legal entity
	if spec.BIN != "" {
		policy = 1
	}
	switch spec.Usage {
	case "", Signing:
		t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	case Authentication:
		policy++
		t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case Encryption:
		policy++
		t.KeyUsage = x509.KeyUsageKeyEncipherment
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	default:
		return nil, fmt.Errorf("unsupported usage %q", spec.Usage)
	}
	var err error
	if t.UnknownExtKeyUsage, err = roles(spec); err != nil {
		return nil, err
	}
	return p.issue(t, policy, spec.NotBefore, spec.NotAfter, spec.Kind, spec.Key)
}

// subject lays the name out in NCA RK's order, one attribute to an RDN.
func subject(spec LeafSpec) pkix.Name {
	var n pkix.Name
	add := func(oid asn1.ObjectIdentifier, prefix, v string) {
		if v != "" {
			n.ExtraNames = append(n.ExtraNames, pkix.AttributeTypeAndValue{Type: oid, Value: prefix + v})
		}
	}
	add(oidCommonName, "", spec.Name)
	add(oidSurname, "", strings.Fields(spec.Name)[0])
	add(oidSerialNumber, "IIN", spec.IIN)
	add(oidCountry, "", "KZ")
	add(oidOrganization, "", spec.Organization)
	add(oidOrgUnit, "BIN", spec.BIN)
	add(oidTitle, "", spec.Title)
	add(oidGivenName, "", spec.Patronymic)
	return n
}

func roles(spec LeafSpec) ([]asn1.ObjectIdentifier, error) {
	if spec.Role == "individual" || spec.Role == "" && spec.BIN == "" {
		return []asn1.ObjectIdentifier{oidIndividual}, nil
	}
	if spec.Role == "" {
		return []asn1.ObjectIdentifier{oidLegalEntity}, nil
	}
	arc, ok := roleArcs[spec.Role]
	if !ok {
		return nil, fmt.Errorf("unsupported role %q", spec.Role)
	}
	return []asn1.ObjectIdentifier{oidLegalEntity, append(oidLegalEntity[:len(oidLegalEntity):len(oidLegalEntity)], arc)}, nil
}

// issue adds what every leaf carries: key, validity, policy and addresses.
func (p *PKI) issue(t *x509.Certificate, policy uint64, notBefore, notAfter time.Time, kind KeyKind, key crypto.Signer) (*Leaf, error) {
	t.NotBefore, t.NotAfter = notBefore, notAfter
	if notBefore.IsZero() {
		t.NotBefore = p.opts.Now.AddDate(0, 0, -1)
	}
	if notAfter.IsZero() {
		t.NotAfter = p.opts.Now.AddDate(1, 0, 0)
	}
	if t.NotAfter.Before(t.NotBefore) {
		return nil, fmt.Errorf("invalid leaf: it ends before it begins")
	}
	if key == nil {
		if kind == "" {
			kind = P256
		}
		var err error
		if key, err = NewKey(kind); err != nil {
			return nil, err
		}
	}
	// 1.2.398.3.3.2: NCA RK's certificate policies.
	oid, err := x509.OIDFromInts([]uint64{1, 2, 398, 3, 3, 2, policy})
	if err != nil {
		return nil, err
	}
	t.Policies = []x509.OID{oid}
	if p.opts.CRLURL != "" {
		t.CRLDistributionPoints = []string{p.opts.CRLURL}
	}
	if p.opts.OCSPURL != "" {
		t.OCSPServer = []string{p.opts.OCSPURL}
	}
	if p.opts.IssuerURL != "" {
		t.IssuingCertificateURL = []string{p.opts.IssuerURL}
	}
	c, err := p.CA.sign(t, key.Public())
	if err != nil {
		return nil, err
	}
	return &Leaf{Certificate: c, Chain: p.chain(), Key: key}, nil
}

// KeyPEM returns the private key as an unencrypted PKCS#8 PEM block.
func (l *Leaf) KeyPEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(l.Key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// ChainPEM returns the certificate, the issuing CA's and the root's as PEM.
func (l *Leaf) ChainPEM() string {
	s := l.Certificate.PEM()
	for _, c := range l.Chain {
		s += c.PEM()
	}
	return s
}

// PKCS12 returns key, certificate and issuers as a PKCS#12 file with PBES2,
// AES-256 and SHA-256, as OpenSSL 3 writes them.
func (l *Leaf) PKCS12(password string) ([]byte, error) {
	var issuers []*x509.Certificate
	for _, c := range l.Chain {
		issuers = append(issuers, c.X509)
	}
	return pkcs12.Modern.Encode(l.Key, l.Certificate.X509, issuers, password)
}

// TLS returns the certificate and the issuing CA's for a web server.
func (l *Leaf) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: l.Key, Leaf: l.Certificate.X509}
	c.Certificate = [][]byte{l.Certificate.Raw, l.Chain[0].Raw}
	return c
}
