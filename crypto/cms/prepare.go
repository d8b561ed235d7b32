package cms

import (
	"bytes"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
)

// ErrContentChanged reports a content that is not the one whose digest is
// signed.
var ErrContentChanged = errors.New("invalid content: its digest is not the one that was signed")

// Options says what is to be signed.
type Options struct {
	// ContentType is eContentType; nil means id-data.
	ContentType asn1.ObjectIdentifier
	// ContentDigest is the digest of the content with Algorithm.Digest().
	ContentDigest []byte
	// Certificate is the signer's; Chain holds its issuers' certificates. All
	// of them go into SignedData.certificates, in DER's order.
	Certificate *cert.Certificate
	Chain       []*cert.Certificate
	Algorithm   sigalg.Algorithm
	// Attributes are the signed attributes beyond content-type and
	// message-digest.
	Attributes []Attribute
}

// A Pending is a signature that lacks only the signature octets. It may be
// used once or more, by one goroutine at a time.
type Pending struct {
	opts Options
	// before is what stands before the signature in the SignerInfo.
	before []byte
	attrs  []byte // the DER SET OF, tag 0x31
	digest []byte
	most   int // the longest signature, in bytes
}

// Prepare fixes the signed attributes. It returns sigalg.ErrUnsupported for
// an algorithm that does not fit the certificate's key.
func Prepare(o Options) (*Pending, error) {
	if o.Certificate == nil {
		return nil, errors.New("invalid options: no certificate")
	}
	usable, err := sigalg.ForKey(o.Certificate.PublicKey)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(usable, o.Algorithm) {
		return nil, fmt.Errorf("%s with this certificate's key: %w", o.Algorithm, sigalg.ErrUnsupported)
	}
	d := o.Algorithm.Digest()
	if len(o.ContentDigest) != d.Size() {
		return nil, fmt.Errorf("invalid content digest: %d bytes where %s has %d", len(o.ContentDigest), d, d.Size())
	}
	if o.ContentType == nil {
		o.ContentType = OIDData
	}
	attrs, err := signedAttrs(o)
	if err != nil {
		return nil, err
	}
	p := &Pending{opts: o, attrs: setOf(attrs), most: sigalg.MaxSignatureSize(o.Certificate.PublicKey)}
	h := d.New()
	h.Write(p.attrs)
	p.digest = h.Sum(nil)

	issuer, serial, err := issuerAndSerial(o.Certificate)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1Int64(1)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(issuer)
		b.AddBytes(tlv(tagInteger, serial))
	})
	addAlgorithm(&b, d.Identifier())
	_, set, _ := body(p.attrs)
	b.AddBytes(tlv(tag0, set))
	addAlgorithm(&b, o.Algorithm.Identifier())
	p.before, err = b.Bytes()
	return p, err
}

func signedAttrs(o Options) ([]Attribute, error) {
	ctype, err := marshalOID(o.ContentType)
	if err != nil {
		return nil, err
	}
	ct, err := NewAttribute(OIDContentType, ctype)
	if err != nil {
		return nil, err
	}
	md, err := NewAttribute(OIDMessageDigest, tlv(tagOctets, o.ContentDigest))
	if err != nil {
		return nil, err
	}
	list := append([]Attribute{ct, md}, o.Attributes...)
	for i, a := range list {
		for _, b := range list[:i] {
			if a.Type.Equal(b.Type) {
				return nil, fmt.Errorf("invalid options: attribute %v twice", a.Type)
			}
		}
	}
	return list, nil
}

// Digest returns what the token signs: the digest of the signed attributes,
// of the algorithm's digest length.
func (p *Pending) Digest() []byte { return bytes.Clone(p.digest) }

// Size returns an upper bound in bytes of what Finish returns.
func (p *Pending) Size() int {
	der, err := p.Finish(make([]byte, p.most))
	if err != nil {
		return 0 // unreachable: Prepare has encoded the same parts
	}
	return len(der)
}

// Finish returns the detached SignedData in DER with the signature sig. It
// does not check sig; package verify does.
func (p *Pending) Finish(sig []byte) ([]byte, error) {
	sd, err := p.signedData(sig)
	if err != nil {
		return nil, err
	}
	return sd.Marshal()
}

// WriteAttached writes the SignedData in DER with the signature sig and size
// bytes of content to w. The content is streamed and hashed again on its way:
// when it is not what was signed, the error is ErrContentChanged and what was
// written is worthless.
func (p *Pending) WriteAttached(w io.Writer, content io.Reader, size int64, sig []byte) error {
	if size < 0 {
		return fmt.Errorf("invalid content size: %d", size)
	}
	sd, err := p.signedData(sig)
	if err != nil {
		return err
	}
	return p.hashed(content, func(r io.Reader) error {
		_, err := sd.write(w, r, size)
		return err
	})
}

// WriteChecked writes sd, which AddTo returned, to w and hashes its content on
// the way: a content that is not what was signed is ErrContentChanged. A
// detached sd is written as it is.
func (p *Pending) WriteChecked(w io.Writer, sd *SignedData) error {
	if sd.Content == nil {
		_, err := sd.WriteTo(w)
		return err
	}
	return p.hashed(sd.Content.Reader(), func(r io.Reader) error {
		_, err := sd.write(w, r, sd.Content.Size())
		return err
	})
}

// hashed calls write with the content and checks what passed.
func (p *Pending) hashed(content io.Reader, write func(io.Reader) error) error {
	h := p.opts.Algorithm.Digest().New()
	if err := write(io.TeeReader(content, h)); err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), p.opts.ContentDigest) {
		return ErrContentChanged
	}
	return nil
}

func (p *Pending) signedData(sig []byte) (*SignedData, error) {
	return p.AddTo(&SignedData{ContentType: p.opts.ContentType, Certificates: [][]byte{}}, sig)
}

// AddTo returns a copy of sd with our signature added (co-signature): earlier
// SignerInfos, certificates and CRLs stay byte for byte; digestAlgorithms and
// certificates are united and the version computed anew. Its content, if
// there is one, is sd's: that it is what was signed is the caller's to know.
// Elements are put where DER's order in sets wants them if they stood in
// order before, otherwise at the end.
func (p *Pending) AddTo(sd *SignedData, sig []byte) (*SignedData, error) {
	if len(sig) == 0 || len(sig) > p.most {
		return nil, fmt.Errorf("invalid signature: %d bytes, at most %d fit the key", len(sig), p.most)
	}
	if !sd.ContentType.Equal(p.opts.ContentType) {
		return nil, fmt.Errorf("invalid co-signature: content type %v where the CMS has %v", p.opts.ContentType, sd.ContentType)
	}
	raw := tlv(tagSequence, p.before, tlv(tagOctets, sig))
	si, err := parseSignerInfo(raw)
	if err != nil {
		return nil, err
	}
	out := *sd
	out.parsed = nil
	var b cryptobyte.Builder
	addAlgorithm(&b, p.opts.Algorithm.Digest().Identifier())
	alg, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	if !hasDigest(sd.DigestAlgorithms, p.opts.Algorithm.Digest()) {
		out.DigestAlgorithms = insert(sd.DigestAlgorithms, alg)
	}
	for _, c := range append([]*cert.Certificate{p.opts.Certificate}, p.opts.Chain...) {
		if !slices.ContainsFunc(out.Certificates, func(b []byte) bool { return bytes.Equal(b, c.Raw) }) {
			out.Certificates = insert(out.Certificates, c.Raw)
		}
	}
	raws := make([][]byte, 0, len(sd.SignerInfos)+1)
	for _, s := range sd.SignerInfos {
		raws = append(raws, s.Raw)
	}
	at := place(raws, raw)
	out.SignerInfos = slices.Insert(slices.Clone(sd.SignerInfos), at, si)
	out.Version = out.ExpectedVersion()
	return &out, nil
}

func hasDigest(list [][]byte, d sigalg.Digest) bool {
	return slices.ContainsFunc(list, func(el []byte) bool {
		id, ok := ReadAlgorithm(el)
		got, err := sigalg.DigestByID(id)
		return ok && err == nil && got == d
	})
}

// insert returns a new slice with el where place says.
func insert(list [][]byte, el []byte) [][]byte {
	return slices.Insert(slices.Clone(list), place(list, el), el)
}

func place(list [][]byte, el []byte) int {
	if !slices.IsSortedFunc(list, bytes.Compare) {
		return len(list)
	}
	at, _ := slices.BinarySearchFunc(list, el, bytes.Compare)
	return at
}
