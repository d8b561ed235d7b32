package cms

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
)

// NewAttribute returns an attribute of one value, which is DER.
func NewAttribute(oid asn1.ObjectIdentifier, value []byte) (Attribute, error) {
	o, err := marshalOID(oid)
	if err != nil {
		return Attribute{}, err
	}
	return Attribute{Type: oid, Raw: tlv(tagSequence, o, tlv(tagSet, value)), Values: [][]byte{value}}, nil
}

// SigningTime returns the signing-time attribute (RFC 5652 section 11.3): UTC
// in whole seconds, UTCTime up to 2049 and GeneralizedTime from then on.
func SigningTime(t time.Time) (Attribute, error) {
	t = t.UTC().Truncate(time.Second)
	var b cryptobyte.Builder
	if t.Year() >= 1950 && t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
	v, err := b.Bytes()
	if err != nil {
		return Attribute{}, fmt.Errorf("invalid signing time: %w", err)
	}
	return NewAttribute(OIDSigningTime, v)
}

// SigningCertificate returns the signing-certificate-v2 attribute (RFC 5035
// section 3) that binds the signature to c by the digest d of its DER, with
// issuer and serial number. For SHA-256 hashAlgorithm is left out, as DER
// wants of a default.
//
//	SigningCertificateV2 ::= SEQUENCE { certs SEQUENCE OF ESSCertIDv2 }
//	ESSCertIDv2 ::= SEQUENCE {
//	  hashAlgorithm AlgorithmIdentifier DEFAULT {algorithm id-sha256},
//	  certHash      OCTET STRING,
//	  issuerSerial  SEQUENCE { issuer GeneralNames, serialNumber INTEGER } OPTIONAL }
func SigningCertificate(c *cert.Certificate, d sigalg.Digest) (Attribute, error) {
	if d.Size() == 0 {
		return Attribute{}, fmt.Errorf("digest %q: %w", d, sigalg.ErrUnsupported)
	}
	issuer, serial, err := issuerAndSerial(c)
	if err != nil {
		return Attribute{}, err
	}
	h := d.New()
	h.Write(c.Raw)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				if d != sigalg.SHA256 {
					addAlgorithm(b, d.Identifier())
				}
				b.AddASN1OctetString(h.Sum(nil))
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						// GeneralName directoryName [4], explicit because Name is a CHOICE.
						b.AddASN1(cbasn1.Tag(4).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
							b.AddBytes(issuer)
						})
					})
					b.AddBytes(tlv(tagInteger, serial))
				})
			})
		})
	})
	v, err := b.Bytes()
	if err != nil {
		return Attribute{}, err
	}
	return NewAttribute(OIDSigningCertificateV2, v)
}

// issuerAndSerial returns the DER of the issuer's Name and the content octets
// of the serial number as they stand in the certificate.
func issuerAndSerial(c *cert.Certificate) (issuer, serial []byte, err error) {
	tbs := cryptobyte.String(c.X509.RawTBSCertificate)
	var in, sn, name cryptobyte.String
	if !tbs.ReadASN1(&in, cbasn1.SEQUENCE) ||
		!in.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) ||
		!in.ReadASN1(&sn, cbasn1.INTEGER) || !in.SkipASN1(cbasn1.SEQUENCE) ||
		!in.ReadASN1Element(&name, cbasn1.SEQUENCE) {
		return nil, nil, fmt.Errorf("malformed certificate: issuer and serial number")
	}
	return name, sn, nil
}

// setOf encodes attributes as a DER SET OF: sorted by their encoding, X.690
// section 11.6.
func setOf(list []Attribute) []byte {
	raws := make([][]byte, 0, len(list))
	for _, a := range list {
		raws = append(raws, a.Raw)
	}
	slices.SortFunc(raws, bytes.Compare)
	return tlv(tagSet, raws...)
}

// Sorted reports whether the attributes stand in DER's order.
func Sorted(list []Attribute) bool {
	return slices.IsSortedFunc(list, func(a, b Attribute) int { return bytes.Compare(a.Raw, b.Raw) })
}

var oidContentTimestamp = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 20}

// Repeated returns a type that stands more than once among the attributes, nil
// if none does. content-time-stamp may: EN 319 122-1 section 5.2.8.
func Repeated(list []Attribute) asn1.ObjectIdentifier {
	seen := make(map[string]bool, len(list))
	for _, a := range list {
		if seen[a.Type.String()] && !a.Type.Equal(oidContentTimestamp) {
			return a.Type
		}
		seen[a.Type.String()] = true
	}
	return nil
}

// Time reads the one value of a signing-time attribute.
func (a Attribute) Time() (time.Time, error) {
	var t time.Time
	if len(a.Values) == 1 {
		in := cryptobyte.String(a.Values[0])
		if (in.PeekASN1Tag(cbasn1.UTCTime) && in.ReadASN1UTCTime(&t) ||
			in.PeekASN1Tag(cbasn1.GeneralizedTime) && in.ReadASN1GeneralizedTime(&t)) && in.Empty() {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: signing-time", ErrMalformed)
}

// Octets reads the one OCTET STRING value of a message-digest attribute.
func (a Attribute) Octets() ([]byte, error) {
	if len(a.Values) == 1 {
		in := cryptobyte.String(a.Values[0])
		var out []byte
		if in.ReadASN1Bytes(&out, cbasn1.OCTET_STRING) && in.Empty() {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: message-digest", ErrMalformed)
}

// OID reads the one OBJECT IDENTIFIER value of a content-type attribute.
func (a Attribute) OID() (asn1.ObjectIdentifier, error) {
	if len(a.Values) == 1 {
		in := cryptobyte.String(a.Values[0])
		var oid asn1.ObjectIdentifier
		if in.ReadASN1ObjectIdentifier(&oid) && in.Empty() {
			return oid, nil
		}
	}
	return nil, fmt.Errorf("%w: content-type", ErrMalformed)
}
