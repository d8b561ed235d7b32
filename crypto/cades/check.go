package cades

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
)

// A Kind is the use of a CMS: the standards ask different things of it.
type Kind string

// The kinds.
const (
	// CAdES is a signature file: EN 319 122-1 level B-B.
	CAdES Kind = "CAdES"
	// PAdES is the CMS in a PDF signature's /Contents: EN 319 142-1 level B-B.
	PAdES Kind = "PAdES"
)

// A Violation is a rule of the baseline level B-B that a signature breaks.
type Violation struct {
	// ID is the rule: "C-01" to "C-10" for what CAdES asks, "P-03", "P-05" and
	// "P-08" for what PAdES changes.
	ID string `json:"id"`
	// Reason is one plain English line.
	Reason string `json:"reason"`
}

// Object identifiers of attributes that a rule mentions: EN 319 122-1 section
// 5 and RFC 5035.
var (
	oidSignaturePolicy      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 15}
	oidSignerAttributes     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 18}
	oidSignerAttributesV2   = asn1.ObjectIdentifier{0, 4, 0, 19122, 1, 1}
	oidSignerLocation       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 17}
	oidCommitmentType       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 16}
	oidContentHints         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 4}
	oidContentReference     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 10}
	oidContentIdentifier    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 7}
	oidMIMEType             = asn1.ObjectIdentifier{0, 4, 0, 1733, 2, 1}
	oidSignaturePolicyStore = asn1.ObjectIdentifier{0, 4, 0, 19122, 1, 3}
	oidSHA1                 = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// Check walks the rules of level B-B over the signature si of sd and returns
// what it breaks, nil if nothing. It looks at form only: that digest and
// signature fit is for cms and verify to see.
func Check(sd *cms.SignedData, si *cms.SignerInfo, kind Kind) []Violation {
	c := &checker{sd: sd, si: si}
	c.signer, _ = si.Signer(sd.ParseCertificates()) // nil if it is not there
	c.certificates()
	c.contentType()
	c.messageDigest()
	c.signingCertificate()
	c.optional()
	c.policyStore()
	c.versions()
	c.attributeSet()
	c.digestAlgorithms()
	times := len(cms.Find(si.SignedAttrs, cms.OIDSigningTime))
	switch kind {
	case CAdES:
		c.signingTime(times)
	case PAdES:
		if times != 0 {
			c.add("P-03", "signing-time is forbidden in PAdES")
		}
		c.pades()
	}
	return c.found
}

type checker struct {
	sd     *cms.SignedData
	si     *cms.SignerInfo
	signer *cert.Certificate
	found  []Violation
}

func (c *checker) add(id, format string, args ...any) {
	c.found = append(c.found, Violation{ID: id, Reason: fmt.Sprintf(format, args...)})
}

func (c *checker) count(oid asn1.ObjectIdentifier) int { return len(cms.Find(c.si.SignedAttrs, oid)) }

func (c *checker) certificates() {
	switch {
	case len(c.sd.Certificates) == 0:
		c.add("C-01", "no certificates in SignedData")
	case c.signer == nil:
		c.add("C-01", "the signing certificate is not in SignedData")
	}
}

func (c *checker) contentType() {
	list := cms.Find(c.si.SignedAttrs, cms.OIDContentType)
	if len(list) != 1 {
		c.add("C-02", "content-type stands %d times, must be once", len(list))
		return
	}
	if oid, err := list[0].OID(); err != nil || !oid.Equal(cms.OIDData) {
		c.add("C-02", "content-type is not id-data")
	}
}

func (c *checker) messageDigest() {
	list := cms.Find(c.si.SignedAttrs, cms.OIDMessageDigest)
	if len(list) != 1 {
		c.add("C-03", "message-digest stands %d times, must be once", len(list))
		return
	}
	if _, err := list[0].Octets(); err != nil {
		c.add("C-03", "message-digest is malformed")
	}
}

func (c *checker) signingCertificate() {
	v1 := cms.Find(c.si.SignedAttrs, cms.OIDSigningCertificate)
	v2 := cms.Find(c.si.SignedAttrs, cms.OIDSigningCertificateV2)
	if len(v1)+len(v2) != 1 {
		c.add("C-04", "signing-certificate attributes: %d, must be one", len(v1)+len(v2))
		return
	}
	r, err := cms.ReadReference(append(v1, v2...)[0])
	if err != nil {
		c.add("C-04", "the signing-certificate attribute is malformed")
		return
	}
	if r.Version == 2 {
		if r.HashAlgorithm.OID.Equal(oidSHA1) {
			c.add("C-04", "signing-certificate-v2 with SHA-1")
		}
		if d, err := sigalg.DigestByID(r.HashAlgorithm); err == nil && d == sigalg.SHA256 && r.Explicit {
			c.add("C-04", "signing-certificate-v2 states the default SHA-256, which DER leaves out")
		}
	}
	if c.signer != nil {
		if err := c.si.CheckReference(c.signer); errors.Is(err, cms.ErrReference) {
			c.add("C-04", "%v", err)
		}
	}
}

func (c *checker) signingTime(n int) {
	if n != 1 {
		c.add("C-05", "signing-time stands %d times, must be once", n)
		return
	}
	if _, err := cms.Find(c.si.SignedAttrs, cms.OIDSigningTime)[0].Time(); err != nil {
		c.add("C-05", "signing-time is malformed")
	}
}

func (c *checker) optional() {
	for _, a := range []struct {
		name string
		oids []asn1.ObjectIdentifier
	}{
		{"signer-attributes", []asn1.ObjectIdentifier{oidSignerAttributes, oidSignerAttributesV2}},
		{"signature-policy-identifier", []asn1.ObjectIdentifier{oidSignaturePolicy}},
		{"signer-location", []asn1.ObjectIdentifier{oidSignerLocation}},
		{"commitment-type", []asn1.ObjectIdentifier{oidCommitmentType}},
		{"content-hints", []asn1.ObjectIdentifier{oidContentHints}},
		{"mime-type", []asn1.ObjectIdentifier{oidMIMEType}},
		{"content-reference", []asn1.ObjectIdentifier{oidContentReference}},
		{"content-identifier", []asn1.ObjectIdentifier{oidContentIdentifier}},
	} {
		n := 0
		for _, oid := range a.oids {
			n += c.count(oid)
		}
		if n > 1 {
			c.add("C-06", "%s stands %d times, at most one is allowed", a.name, n)
		}
	}
	if c.count(cms.OIDCountersignature) > 0 {
		c.add("C-06", "countersignature among the signed attributes")
	}
}

func (c *checker) policyStore() {
	if len(cms.Find(c.si.UnsignedAttrs, oidSignaturePolicyStore)) > 0 && c.count(oidSignaturePolicy) == 0 {
		c.add("C-07", "signature-policy-store without signature-policy-identifier")
	}
}

func (c *checker) versions() {
	want := 1
	if c.si.SubjectKeyID != nil {
		want = 3
	}
	if c.si.Version != want {
		c.add("C-08", "SignerInfo version %d, must be %d", c.si.Version, want)
	}
	if want := c.sd.ExpectedVersion(); c.sd.Version != want {
		c.add("C-08", "SignedData version %d, must be %d", c.sd.Version, want)
	}
}

func (c *checker) attributeSet() {
	if len(c.si.SignedAttrs) == 0 {
		c.add("C-09", "no signed attributes")
		return
	}
	if !cms.Sorted(c.si.SignedAttrs) {
		c.add("C-09", "signed attributes are not in DER's order")
	}
	if twice := cms.Repeated(c.si.SignedAttrs); twice != nil {
		c.add("C-09", "attribute %v stands twice", twice)
	}
}

func (c *checker) digestAlgorithms() {
	listed := 0
	for _, el := range c.sd.DigestAlgorithms {
		if id, ok := cms.ReadAlgorithm(el); ok && id.OID.Equal(c.si.DigestAlgorithm.OID) {
			listed++
		}
	}
	if listed != 1 {
		c.add("C-10", "digestAlgorithms holds the signer's digest %d times, must be once", listed)
	}
}

// pades checks what PAdES changes: P-05 and P-08.
func (c *checker) pades() {
	if !c.sd.DER {
		c.add("P-05", "the CMS is not DER")
	}
	if n := len(c.sd.SignerInfos); n != 1 {
		c.add("P-05", "%d SignerInfos, must be one", n)
	}
	if c.sd.Content != nil {
		c.add("P-05", "the CMS carries content")
	}
	if !c.sd.ContentType.Equal(cms.OIDData) {
		c.add("P-05", "the content type is not id-data")
	}
	for _, a := range []struct {
		name string
		oid  asn1.ObjectIdentifier
	}{
		{"signer-location", oidSignerLocation},
		{"content-hints", oidContentHints},
		{"content-reference", oidContentReference},
		{"content-identifier", oidContentIdentifier},
		{"mime-type", oidMIMEType},
	} {
		if c.count(a.oid) > 0 {
			c.add("P-08", "%s is not used in PAdES", a.name)
		}
	}
	if len(cms.Find(c.si.UnsignedAttrs, cms.OIDCountersignature)) > 0 {
		c.add("P-08", "countersignature is not used in PAdES")
	}
}
