// Package verify judges signatures in the words of ETSI EN 319 102-1: a main
// indication, a sub-indication, and for people one line that says why.
//
// Cryptography, form and the certification path are judged here. The main
// indication is about the signature at Options.At; the baseline level that its
// form reaches is told apart from it, because a signature can be good without
// being AdES and the reverse.
package verify

import (
	"time"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
)

// An Indication is the main verdict, EN 319 102-1 section 5.1.3.
type Indication string

// The indications.
const (
	TotalPassed   Indication = "TOTAL-PASSED"
	TotalFailed   Indication = "TOTAL-FAILED"
	Indeterminate Indication = "INDETERMINATE"
)

// A SubIndication says why a signature did not pass, EN 319 102-1 section
// 5.1.3.
type SubIndication string

// The sub-indications that this package gives.
const (
	// With TOTAL-FAILED.
	FormatFailure    SubIndication = "FORMAT_FAILURE"
	HashFailure      SubIndication = "HASH_FAILURE"
	SigCryptoFailure SubIndication = "SIG_CRYPTO_FAILURE"
	NotYetValid      SubIndication = "NOT_YET_VALID"
	// With INDETERMINATE.
	SigConstraintsFailure          SubIndication = "SIG_CONSTRAINTS_FAILURE"
	ChainConstraintsFailure        SubIndication = "CHAIN_CONSTRAINTS_FAILURE"
	CertificateChainGeneralFailure SubIndication = "CERTIFICATE_CHAIN_GENERAL_FAILURE"
	CryptoConstraintsFailure       SubIndication = "CRYPTO_CONSTRAINTS_FAILURE"
	NoSigningCertificateFound      SubIndication = "NO_SIGNING_CERTIFICATE_FOUND"
	NoCertificateChainFound        SubIndication = "NO_CERTIFICATE_CHAIN_FOUND"
	OutOfBoundsNoPOE               SubIndication = "OUT_OF_BOUNDS_NO_POE"
	SignedDataNotFound             SubIndication = "SIGNED_DATA_NOT_FOUND"
	TryLater                       SubIndication = "TRY_LATER"
)

// Options says against what a signature is judged.
type Options struct {
	// Roots are the trust anchors. Without any no chain is found.
	Roots []*cert.Certificate
	// Intermediates help to build a chain, with those in the signature.
	Intermediates []*cert.Certificate
	// At is the time of validation. It must be set.
	At time.Time
	// Revocation is Require or Skip; the zero value is Require.
	Revocation Revocation
}

// A Revocation says what to do about the revocation of certificates.
type Revocation string

// The ways.
const (
	// Require: without revocation data the verdict is INDETERMINATE TRY_LATER.
	Require Revocation = "require"
	// Skip: revocation is not asked about.
	Skip Revocation = "skip"
)

// A Report is the verdict over one file. Its JSON is documented by the tags
// and stable.
type Report struct {
	// Signatures is never empty: a file without a signature is an error.
	Signatures []Signature `json:"signatures"`
}

// Passed reports whether every signature is TOTAL-PASSED.
func (r *Report) Passed() bool {
	for _, s := range r.Signatures {
		if s.Indication != TotalPassed {
			return false
		}
	}
	return len(r.Signatures) > 0
}

// A Signature is the verdict over one signature.
type Signature struct {
	Indication    Indication    `json:"indication"`
	SubIndication SubIndication `json:"subIndication,omitempty"`
	// Reason is one plain English line, empty for TOTAL-PASSED.
	Reason string `json:"reason,omitempty"`
	// Format is "CAdES", "PAdES", or "CMS" where the form is neither.
	Format string `json:"format"`
	// Level is "B-B", or empty with the rules broken in Violations.
	Level      string            `json:"level"`
	Violations []cades.Violation `json:"violations,omitempty"`
	// Intact is true if digest and signature fit: the content is what the
	// holder of the key signed, whoever that is.
	Intact bool `json:"intact"`
	// Signer is nil if the certificate was not found.
	Signer *cert.Certificate `json:"-"`
	// Certificate is Signer for JSON.
	Certificate *Certificate `json:"certificate,omitempty"`
	// SigningTime is what the signature itself claims, UTC; zero if nothing.
	SigningTime time.Time `json:"signingTime,omitzero"`
	// Algorithm is named as in package sigalg, or by its object identifier if
	// unsupported; DigestAlgorithm too.
	Algorithm       string `json:"algorithm,omitempty"`
	DigestAlgorithm string `json:"digestAlgorithm,omitempty"`
	// Attached is true if the CMS carries its content.
	Attached bool `json:"attached"`

	// FieldName, ByteRange and CoversWholeFile are a PDF signature's.
	FieldName       string  `json:"fieldName,omitempty"`
	ByteRange       []int64 `json:"byteRange,omitempty"`
	CoversWholeFile bool    `json:"coversWholeFile,omitempty"`
	// Warning is one plain English line about the file around the signature,
	// such as bytes that were added to a PDF afterwards. It does not change
	// the verdict.
	Warning string `json:"warning,omitempty"`
}

// A Certificate is a signer's certificate in JSON.
type Certificate struct {
	Subject      string    `json:"subject"`
	Name         string    `json:"name"`
	Organization string    `json:"organization,omitempty"`
	Title        string    `json:"title,omitempty"`
	Role         string    `json:"role,omitempty"`
	IIN          string    `json:"iin,omitempty"`
	BIN          string    `json:"bin,omitempty"`
	Country      string    `json:"country,omitempty"`
	Serial       string    `json:"serial"`
	Issuer       string    `json:"issuer"`
	NotBefore    time.Time `json:"notBefore"`
	NotAfter     time.Time `json:"notAfter"`
	// SHA256 is the fingerprint in lower-case hex.
	SHA256 string `json:"sha256"`
}

func describe(c *cert.Certificate) *Certificate {
	return &Certificate{
		Subject: c.X509.Subject.String(), Name: c.Profile.Name, Organization: c.Profile.Organization,
		Title: c.Profile.Title, Role: c.Profile.Role, IIN: c.Profile.IIN, BIN: c.Profile.BIN, Country: c.Profile.Country,
		Serial: c.Serial(), Issuer: c.X509.Issuer.String(),
		NotBefore: c.X509.NotBefore.UTC(), NotAfter: c.X509.NotAfter.UTC(), SHA256: c.Fingerprint(),
	}
}

// fail sets the verdict.
func (s *Signature) fail(i Indication, sub SubIndication, reason string) {
	s.Indication, s.SubIndication, s.Reason = i, sub, reason
}
