// Package cms reads, builds and verifies SignedData, the Cryptographic
// Message Syntax of RFC 5652 section 5.
//
// Reading keeps what was received: SignerInfos, certificates and CRLs are
// slices of the input and are written back byte for byte, so that parsing DER
// and encoding it again gives the same bytes. BER input (indefinite lengths,
// OCTET STRINGs in pieces) is understood; a normalised copy is used where DER
// matters. The content of an attached signature stays where it is and is
// streamed, so that its size is bounded by nothing but the disk.
//
// Building has two phases, with the token between them: [Prepare] fixes the
// signed attributes, [Pending.Digest] is what the token signs, and one of
// [Pending.Finish], [Pending.WriteAttached] and [Pending.AddTo] puts the
// signature in. Signature octets are laid out as in package sigalg.
package cms

import (
	"encoding/asn1"
	"errors"
	"io"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
)

// Bounds of what is read, all inclusive.
const (
	// MaxStructure is the largest size in bytes of a SignedData without its
	// content: certificates, CRLs and signatures.
	MaxStructure = 64 << 20
	// MaxDepth is the deepest nesting of elements.
	MaxDepth = 64
	// MaxSigners is the largest number of SignerInfos.
	MaxSigners = 256
	// MaxCertificates bounds the certificates, and apart from them the CRLs.
	MaxCertificates = 1024
	// maxHead bounds what stands before the content, in bytes.
	maxHead = 64 << 10
)

// ErrMalformed reports input that is no SignedData or breaks a bound.
var ErrMalformed = errors.New("malformed CMS")

// ErrUnsupported reports a legal CMS of a kind that this package does not
// read: another content type than SignedData, a content that is no OCTET
// STRING.
var ErrUnsupported = errors.New("unsupported CMS")

// Object identifiers of RFC 5652, RFC 5035 and RFC 3161.
var (
	OIDData                 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDSignedData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	OIDContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	OIDMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	OIDSigningTime          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	OIDCountersignature     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 6}
	OIDSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	OIDSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// SignedData is one parsed or built SignedData.
//
//	SignedData ::= SEQUENCE {
//	  version           INTEGER,
//	  digestAlgorithms  SET OF AlgorithmIdentifier,
//	  encapContentInfo  SEQUENCE { eContentType OBJECT IDENTIFIER, eContent [0] EXPLICIT OCTET STRING OPTIONAL },
//	  certificates      [0] IMPLICIT SET OF CertificateChoices OPTIONAL,
//	  crls              [1] IMPLICIT SET OF RevocationInfoChoice OPTIONAL,
//	  signerInfos       SET OF SignerInfo }
type SignedData struct {
	Version int
	// DigestAlgorithms holds the AlgorithmIdentifiers in DER, in the order
	// received.
	DigestAlgorithms [][]byte
	// ContentType is eContentType.
	ContentType asn1.ObjectIdentifier
	// Content is eContent, nil for a detached signature.
	Content *Content
	// Certificates and CRLs hold the elements as received; nil: the field is
	// absent, empty: it is present without elements.
	Certificates [][]byte
	CRLs         [][]byte
	SignerInfos  []*SignerInfo
	// DER is true if the whole structure was received in definite lengths of
	// the shortest form. The order in sets is not looked at.
	DER bool
	// parsed are the certificates as cert.Parse read them, nil: not yet.
	parsed []*cert.Certificate
}

// SignerInfo is one signature.
//
//	SignerInfo ::= SEQUENCE {
//	  version INTEGER,
//	  sid     CHOICE { SEQUENCE { issuer Name, serialNumber INTEGER }, [0] IMPLICIT OCTET STRING },
//	  digestAlgorithm     AlgorithmIdentifier,
//	  signedAttrs         [0] IMPLICIT SET OF Attribute OPTIONAL,
//	  signatureAlgorithm  AlgorithmIdentifier,
//	  signature           OCTET STRING,
//	  unsignedAttrs       [1] IMPLICIT SET OF Attribute OPTIONAL }
type SignerInfo struct {
	// Raw is the element as received.
	Raw     []byte
	Version int
	// Issuer is the DER of the issuer's Name and Serial the content octets of
	// the serialNumber INTEGER; both nil if SubjectKeyID names the signer.
	Issuer, Serial []byte
	SubjectKeyID   []byte
	// DigestAlgorithm and SignatureAlgorithm are as received.
	DigestAlgorithm    sigalg.Identifier
	SignatureAlgorithm sigalg.Identifier
	// SignedAttrsSet is the DER SET OF the signed attributes (tag 0x31) in the
	// order received: what is hashed. nil if there are none.
	SignedAttrsSet []byte
	SignedAttrs    []Attribute
	Signature      []byte
	UnsignedAttrs  []Attribute
}

// An Attribute is a type with its values.
type Attribute struct {
	Type asn1.ObjectIdentifier
	// Raw is the whole Attribute in DER, Values its values in DER.
	Raw    []byte
	Values [][]byte
}

// Content is the content of an attached signature, where it was found.
type Content struct {
	r io.ReaderAt
	// body is the run of bytes after the OCTET STRING's header.
	off, end int64
	// pieces is true for a constructed OCTET STRING; then end is where the
	// last piece ends and off where the first begins.
	pieces bool
	size   int64
}

// NewContent returns size bytes of r as a content.
func NewContent(r io.ReaderAt, size int64) *Content {
	return &Content{r: r, end: size, size: size}
}

// Size returns the number of content bytes.
func (c *Content) Size() int64 { return c.size }

// Reader returns a new reader of the content bytes.
func (c *Content) Reader() io.Reader {
	if !c.pieces {
		return io.NewSectionReader(c.r, c.off, c.end-c.off)
	}
	return newPieces(c.r, c.off, c.end)
}

// Find returns the attributes of type oid.
func Find(list []Attribute, oid asn1.ObjectIdentifier) []Attribute {
	var out []Attribute
	for _, a := range list {
		if a.Type.Equal(oid) {
			out = append(out, a)
		}
	}
	return out
}

// Digest returns the digest that the signer used, or sigalg.ErrUnsupported.
func (s *SignerInfo) Digest() (sigalg.Digest, error) { return sigalg.DigestByID(s.DigestAlgorithm) }
