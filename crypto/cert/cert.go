// Package cert reads X.509 certificates and says who stands in them: the
// person, the organisation, the identifiers of Kazakhstan and Russia, the
// role, and whether the certificate may sign documents.
package cert

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
	"unicode"

	"tanba/crypto/sigalg"
)

// MaxSize bounds a certificate's DER, in bytes.
const MaxSize = 64 << 10

// A Certificate is one parsed certificate. It is read-only.
type Certificate struct {
	// Raw is the DER as received.
	Raw []byte
	// X509 is what the standard library made of it.
	X509 *x509.Certificate
	// PublicKey is usable with sigalg.
	PublicKey crypto.PublicKey
	// Profile says who stands in it.
	Profile Profile
}

// A Profile is what a certificate says about its holder. Fields that the
// certificate does not carry are empty. Free text is freed of control and
// formatting characters (bidirectional overrides among them), so that it can
// be shown.
type Profile struct {
	// Name is the holder as shown to a person: the subject's common name.
	Name string
	// Organization is the subject's O attribute.
	Organization string
	// Title is the subject's title attribute, a free text (job title).
	Title string
	// Role is a stable word for the holder's role where the certificate's
	// policy tells it ("head", "employee", …), otherwise empty.
	Role string
	// IIN is the 12-digit individual number of Kazakhstan.
	IIN string
	// BIN is the 12-digit business number of Kazakhstan.
	BIN string
	// Country is the subject's two-letter country.
	Country string
	// Email is the first address of the certificate.
	Email string
}

// Parse reads one DER certificate of at most MaxSize bytes. Bytes after it
// are an error.
func Parse(der []byte) (*Certificate, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("malformed certificate: %d bytes, the bound is %d", len(der), MaxSize)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("malformed certificate: %w", err)
	}
	c := &Certificate{Raw: x.Raw, X509: x, PublicKey: x.PublicKey}
	c.Profile = profileOf(x)
	return c, nil
}

// ParsePEM reads every CERTIFICATE block of data.
func ParsePEM(data []byte) ([]*Certificate, error) {
	var out []*Certificate
	for {
		var b *pem.Block
		b, data = pem.Decode(data)
		if b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := Parse(b.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("malformed PEM: no CERTIFICATE block")
	}
	return out, nil
}

// PEM returns the certificate as one PEM block.
func (c *Certificate) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// Fingerprint returns the lower-case hex of the SHA-256 of the DER.
func (c *Certificate) Fingerprint() string {
	s := sha256.Sum256(c.Raw)
	return hex.EncodeToString(s[:])
}

// Serial returns the serial number in upper-case hex, two digits a byte.
func (c *Certificate) Serial() string {
	s := strings.ToUpper(c.X509.SerialNumber.Text(16))
	if len(s)%2 == 1 {
		s = "0" + s
	}
	return s
}

// A Problem says why a certificate cannot sign a document now. It is a stable
// word; agent/text has its wording. Empty means it can.
type Problem string

// The problems.
const (
	NoProblem   Problem = ""
	NotYetValid Problem = "not_yet_valid"
	Expired     Problem = "expired"
	// NotForSigning: the key usage allows neither digitalSignature nor
	// contentCommitment, or the certificate is a CA's or one that NCA RK
	// issued for authentication.
	NotForSigning Problem = "not_for_signing"
	// UnknownKey: the public key is of a kind that we cannot use.
	UnknownKey Problem = "unknown_key"
)

// ProblemAt says why c cannot sign a document at the time at.
func (c *Certificate) ProblemAt(at time.Time) Problem {
	_, err := sigalg.ForKey(c.PublicKey)
	switch {
	case err != nil:
		return UnknownKey
	case at.Before(c.X509.NotBefore):
		return NotYetValid
	case at.After(c.X509.NotAfter):
		return Expired
	case c.X509.BasicConstraintsValid && c.X509.IsCA:
		return NotForSigning
	case c.X509.KeyUsage != 0 && c.X509.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return NotForSigning
	}
	for _, p := range c.X509.PolicyIdentifiers {
		if p.Equal(oidAuthLegalKZ) || p.Equal(oidAuthPersonKZ) {
			return NotForSigning
		}
	}
	return NoProblem
}

// NCA RK's policies for certificates of authentication (root.gov.kz/oid), a
// legal entity's and an individual's. Those for signing are 2.1 and 2.3, and
// since 2022 the umbrella 1.2.398.3.3.2 for both uses.
var (
	oidAuthLegalKZ  = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2, 2}
	oidAuthPersonKZ = asn1.ObjectIdentifier{1, 2, 398, 3, 3, 2, 4}
)

var (
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidTitle        = asn1.ObjectIdentifier{2, 5, 4, 12}
	oidSurname      = asn1.ObjectIdentifier{2, 5, 4, 4}
	oidGivenName    = asn1.ObjectIdentifier{2, 5, 4, 42}
	oidEmail        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// NCA RK's roles, as extended key usages (root.gov.kz/oid).
var rolesKZ = []struct {
	oid  asn1.ObjectIdentifier
	role string
}{
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 1}, "head"},
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 2}, "authorised"},
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 3}, "financial"},
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 4}, "hr"},
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 2, 5}, "employee"},
	{asn1.ObjectIdentifier{1, 2, 398, 3, 3, 4, 1, 1}, "individual"},
}

func profileOf(x *x509.Certificate) Profile {
	p := Profile{Name: clean(x.Subject.CommonName)}
	if len(x.Subject.Organization) > 0 {
		p.Organization = clean(x.Subject.Organization[0])
	}
	if len(x.Subject.Country) > 0 {
		p.Country = clean(x.Subject.Country[0])
	}
	p.Title = clean(attr(x.Subject, oidTitle))
	if p.Name == "" {
		p.Name = clean(attr(x.Subject, oidSurname) + " " + attr(x.Subject, oidGivenName))
	}
	// NCA RK puts "IIN" + 12 digits in serialNumber and "BIN" + 12 digits in OU.
	p.IIN = digits12(attr(x.Subject, oidSerialNumber), "IIN")
	for _, ou := range x.Subject.OrganizationalUnit {
		if b := digits12(ou, "BIN"); b != "" {
			p.BIN = b
		}
	}
	for _, r := range rolesKZ {
		for _, e := range x.UnknownExtKeyUsage {
			if e.Equal(r.oid) && p.Role == "" {
				p.Role = r.role
			}
		}
	}
	if len(x.EmailAddresses) > 0 {
		p.Email = clean(x.EmailAddresses[0])
	} else {
		p.Email = clean(attr(x.Subject, oidEmail))
	}
	return p
}

// clean takes control and formatting characters out and spaces off the ends.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

func attr(n pkix.Name, oid asn1.ObjectIdentifier) string {
	for _, a := range n.Names {
		if s, ok := a.Value.(string); ok && a.Type.Equal(oid) {
			return s
		}
	}
	return ""
}

func digits12(s, prefix string) string {
	d, ok := strings.CutPrefix(s, prefix)
	if !ok || len(d) != 12 || strings.Trim(d, "0123456789") != "" {
		return ""
	}
	return d
}
