package cms

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // for signing-certificate of RFC 2634 only
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
)

// Errors that decide a verdict, beside sigalg.ErrSignature and
// sigalg.ErrUnsupported.
var (
	// ErrAttributes: the signed attributes break RFC 5652 section 5.3 or 11.
	ErrAttributes = errors.New("invalid signed attributes")
	// ErrContentDigest: message-digest is not the digest of the content.
	ErrContentDigest = errors.New("invalid content: its digest is not the signed one")
	// ErrNoSigner: no certificate fits the signer identifier.
	ErrNoSigner = errors.New("signer's certificate not found")
	// ErrReference: the signing-certificate attribute names another
	// certificate.
	ErrReference = errors.New("invalid signing-certificate attribute")
)

// Digests returns the digests of our table that the signers use, each once.
func (sd *SignedData) Digests() []sigalg.Digest {
	var out []sigalg.Digest
	for _, si := range sd.SignerInfos {
		if d, err := si.Digest(); err == nil && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// Sum reads r to its end and returns its digest with each of list. ctx is
// looked at between blocks.
func Sum(ctx context.Context, r io.Reader, list []sigalg.Digest) (map[sigalg.Digest][]byte, error) {
	out := make(map[sigalg.Digest][]byte, len(list))
	if len(list) == 0 {
		return out, nil
	}
	ws := make([]io.Writer, 0, len(list))
	sums := make([]func(), 0, len(list))
	for _, d := range list {
		h := d.New()
		ws = append(ws, h)
		sums = append(sums, func() { out[d] = h.Sum(nil) })
	}
	w := io.MultiWriter(ws...)
	buf := blocks.Get().(*[]byte)
	defer blocks.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(*buf)
		if _, werr := w.Write((*buf)[:n]); werr != nil {
			return nil, werr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading content: %w", err)
		}
	}
	for _, f := range sums {
		f()
	}
	return out, nil
}

// blocks are Sum's buffers: a batch has a thousand small documents.
var blocks = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// ParseCertificates returns the certificates that can be parsed; others, such
// as attribute certificates, are left out.
func (sd *SignedData) ParseCertificates() []*cert.Certificate {
	if sd.parsed != nil {
		return sd.parsed
	}
	out := []*cert.Certificate{}
	for _, der := range sd.Certificates {
		if c, err := cert.Parse(der); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// Signer returns the certificate of list that the signer identifier names, or
// ErrNoSigner. Of several it takes the one that the signing-certificate
// attribute names, so that a false one put beside it does no harm.
func (s *SignerInfo) Signer(list []*cert.Certificate) (*cert.Certificate, error) {
	var first *cert.Certificate
	for _, c := range list {
		if !s.Names(c) {
			continue
		}
		if s.CheckReference(c) == nil {
			return c, nil
		}
		if first == nil {
			first = c
		}
	}
	if first == nil {
		return nil, ErrNoSigner
	}
	return first, nil
}

// Names reports whether the signer identifier names c.
func (s *SignerInfo) Names(c *cert.Certificate) bool {
	if s.SubjectKeyID != nil {
		return bytes.Equal(c.X509.SubjectKeyId, s.SubjectKeyID)
	}
	issuer, serial, err := issuerAndSerial(c)
	return err == nil && bytes.Equal(issuer, s.Issuer) && bytes.Equal(serial, s.Serial)
}

// Verify checks everything about one signature but the certificate's own
// trust: CheckAttributes, CheckContent, CheckReference and CheckSignature with
// signer, in this order.
func (s *SignerInfo) Verify(contentType asn1.ObjectIdentifier, contentDigest []byte, signer *cert.Certificate) (sigalg.Algorithm, error) {
	if !s.Names(signer) {
		return "", ErrNoSigner
	}
	if err := s.CheckAttributes(contentType); err != nil {
		return "", err
	}
	if err := s.CheckContent(contentDigest); err != nil {
		return "", err
	}
	if err := s.CheckReference(signer); err != nil {
		return "", err
	}
	return s.CheckSignature(contentDigest, signer)
}

// CheckAttributes checks the signed attributes against RFC 5652 sections 5.3
// and 11: no type twice (but content-time-stamp, which may repeat), content-type
// equal to contentType, message-digest there; without signed attributes the
// content must be id-data. The error is ErrAttributes.
func (s *SignerInfo) CheckAttributes(contentType asn1.ObjectIdentifier) error {
	if len(s.SignedAttrs) == 0 {
		if !contentType.Equal(OIDData) {
			return fmt.Errorf("%w: none, but the content is %v", ErrAttributes, contentType)
		}
		return nil
	}
	if twice := Repeated(s.SignedAttrs); twice != nil {
		return fmt.Errorf("%w: %v twice", ErrAttributes, twice)
	}
	ct := Find(s.SignedAttrs, OIDContentType)
	if len(ct) != 1 {
		return fmt.Errorf("%w: no content-type", ErrAttributes)
	}
	oid, err := ct[0].OID()
	if err != nil || !oid.Equal(contentType) {
		return fmt.Errorf("%w: content-type is not that of the content", ErrAttributes)
	}
	if _, err := s.messageDigest(); err != nil {
		return fmt.Errorf("%w: message-digest", ErrAttributes)
	}
	return nil
}

func (s *SignerInfo) messageDigest() ([]byte, error) {
	md := Find(s.SignedAttrs, OIDMessageDigest)
	if len(md) != 1 {
		return nil, fmt.Errorf("%w: message-digest", ErrMalformed)
	}
	return md[0].Octets()
}

// CheckContent compares message-digest with the digest of the content. The
// error is ErrContentDigest. Without signed attributes there is nothing to
// compare: CheckSignature looks at the content then.
func (s *SignerInfo) CheckContent(contentDigest []byte) error {
	if len(s.SignedAttrs) == 0 {
		return nil
	}
	md, err := s.messageDigest()
	if err != nil {
		return err
	}
	if len(contentDigest) == 0 || !bytes.Equal(md, contentDigest) {
		return ErrContentDigest
	}
	return nil
}

// CheckSignature checks the signature octets with signer's key: over the
// signed attributes in the order received or else in DER's order (both are
// met), or over contentDigest if there are none. The errors are
// sigalg.ErrSignature and sigalg.ErrUnsupported.
func (s *SignerInfo) CheckSignature(contentDigest []byte, signer *cert.Certificate) (sigalg.Algorithm, error) {
	d, err := s.Digest()
	if err != nil {
		return "", err
	}
	digests := [][]byte{contentDigest}
	if len(s.SignedAttrs) > 0 {
		h := d.New()
		h.Write(s.SignedAttrsSet)
		digests[0] = h.Sum(nil)
		if !Sorted(s.SignedAttrs) {
			h.Reset()
			h.Write(setOf(s.SignedAttrs))
			digests = append(digests, h.Sum(nil))
		}
	}
	var alg sigalg.Algorithm
	for _, digest := range digests {
		alg, err = sigalg.VerifyByID(s.SignatureAlgorithm, d, signer.PublicKey, digest, s.Signature)
		if !errors.Is(err, sigalg.ErrSignature) {
			break
		}
	}
	return alg, err
}

// A Reference is the first entry of a signing-certificate attribute.
type Reference struct {
	// Version is 1 (RFC 2634, always SHA-1) or 2 (RFC 5035).
	Version int
	// HashAlgorithm is as received, or SHA-256 or SHA-1 where it is left out.
	HashAlgorithm sigalg.Identifier
	// Explicit is true if the attribute states the algorithm.
	Explicit bool
	Hash     []byte
	// Issuer (the DER of a Name) and Serial (content octets) are nil if
	// issuerSerial is absent.
	Issuer, Serial []byte
}

var oidSHA1 = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}

// ReadReference reads a signing-certificate or signing-certificate-v2
// attribute. The error is ErrReference.
func ReadReference(a Attribute) (Reference, error) {
	bad := func() (Reference, error) { return Reference{}, fmt.Errorf("%w: malformed", ErrReference) }
	r := Reference{Version: 2, HashAlgorithm: sigalg.SHA256.Identifier()}
	if a.Type.Equal(OIDSigningCertificate) {
		r.Version, r.HashAlgorithm = 1, sigalg.Identifier{OID: oidSHA1}
	}
	if len(a.Values) != 1 {
		return bad()
	}
	in := cryptobyte.String(a.Values[0])
	var outer, certs, id, is, names, name cryptobyte.String
	if !in.ReadASN1(&outer, cbasn1.SEQUENCE) || !in.Empty() || !outer.ReadASN1(&certs, cbasn1.SEQUENCE) ||
		!certs.ReadASN1(&id, cbasn1.SEQUENCE) {
		return bad()
	}
	if r.Version == 2 && id.PeekASN1Tag(cbasn1.SEQUENCE) {
		ok := false
		if r.HashAlgorithm, ok = takeAlgorithm(&id); !ok {
			return bad()
		}
		r.Explicit = true
	}
	if !id.ReadASN1Bytes(&r.Hash, cbasn1.OCTET_STRING) {
		return bad()
	}
	if !id.Empty() {
		var serial cryptobyte.String
		if !id.ReadASN1(&is, cbasn1.SEQUENCE) || !id.Empty() || !is.ReadASN1(&names, cbasn1.SEQUENCE) ||
			!is.ReadASN1(&serial, cbasn1.INTEGER) || !is.Empty() {
			return bad()
		}
		// One directoryName; anything else cannot be compared and is refused.
		if !names.ReadASN1(&name, cbasn1.Tag(4).ContextSpecific().Constructed()) || !names.Empty() {
			return bad()
		}
		r.Issuer, r.Serial = name, serial
	}
	return r, nil
}

// CheckReference checks that every signing-certificate attribute present
// names signer: the hash, and issuer and serial number if they are stated. No
// such attribute is no error. A hash that our table lacks is
// sigalg.ErrUnsupported (in version 2 SHA-1 too), another certificate
// ErrReference.
func (s *SignerInfo) CheckReference(signer *cert.Certificate) error {
	list := append(Find(s.SignedAttrs, OIDSigningCertificateV2), Find(s.SignedAttrs, OIDSigningCertificate)...)
	for _, a := range list {
		r, err := ReadReference(a)
		if err != nil {
			return err
		}
		if r.Issuer != nil {
			issuer, serial, err := issuerAndSerial(signer)
			if err != nil {
				return err
			}
			if !bytes.Equal(issuer, r.Issuer) || !bytes.Equal(serial, r.Serial) {
				return fmt.Errorf("%w: issuer and serial number of another certificate", ErrReference)
			}
		}
		var h hash.Hash
		if r.Version == 1 {
			h = sha1.New() //nolint:gosec // RFC 2634 fixes it; a second preimage would be needed
		} else {
			d, err := sigalg.DigestByID(r.HashAlgorithm)
			if err != nil {
				return fmt.Errorf("signing-certificate attribute: %w", err)
			}
			h = d.New()
		}
		h.Write(signer.Raw)
		if !bytes.Equal(h.Sum(nil), r.Hash) {
			return fmt.Errorf("%w: hash of another certificate", ErrReference)
		}
	}
	return nil
}
