package cms

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/sigalg"
)

// Parse reads one SignedData in DER or BER from memory, content included.
// Bytes after it are an error. The errors are ErrMalformed and ErrUnsupported.
func Parse(b []byte) (*SignedData, error) {
	return Open(bytes.NewReader(b), int64(len(b)))
}

// ParsePrefix reads the SignedData at the start of b and returns what follows
// it, such as the zeros with which a PDF fills its signature's room.
func ParsePrefix(b []byte) (sd *SignedData, rest []byte, err error) {
	sd, end, err := open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, nil, err
	}
	return sd, b[end:], nil
}

// Open reads one SignedData in DER or BER of size bytes from r. The content
// stays in r, which must not change while the result is used; everything else
// is held in memory and bounded by MaxStructure. Bytes after it are an error.
func Open(r io.ReaderAt, size int64) (*SignedData, error) {
	sd, end, err := open(r, size)
	if err != nil {
		return nil, err
	}
	if end != size {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrMalformed, size-end)
	}
	return sd, nil
}

func open(r io.ReaderAt, size int64) (*SignedData, int64, error) {
	s := &scanner{w: window{r: r, size: size}, der: true}
	if _, err := s.enter(tagSequence); err != nil { // ContentInfo
		return nil, 0, err
	}
	oid, err := s.oid()
	if err != nil {
		return nil, 0, err
	}
	if !oid.Equal(OIDSignedData) {
		return nil, 0, fmt.Errorf("%w: content type %v, no SignedData", ErrUnsupported, oid)
	}
	if _, err := s.enter(tag0); err != nil {
		return nil, 0, err
	}
	if _, err := s.enter(tagSequence); err != nil {
		return nil, 0, err
	}
	sd := &SignedData{}
	if err := sd.readHead(s); err != nil {
		return nil, 0, err
	}
	if err := sd.readTail(s); err != nil {
		return nil, 0, err
	}
	for range 3 {
		if err := s.leave(); err != nil {
			return nil, 0, err
		}
	}
	sd.DER = s.der
	sd.parsed = sd.ParseCertificates()
	return sd, s.pos, nil
}

func (s *scanner) oid() (asn1.ObjectIdentifier, error) {
	el, err := s.next(tagOID)
	if err != nil {
		return nil, err
	}
	var oid asn1.ObjectIdentifier
	if in := cryptobyte.String(el); !in.ReadASN1ObjectIdentifier(&oid) {
		return nil, fmt.Errorf("%w: object identifier", ErrMalformed)
	}
	return oid, nil
}

// readHead reads version, digestAlgorithms and encapContentInfo.
func (sd *SignedData) readHead(s *scanner) error {
	el, err := s.next(tagInteger)
	if err != nil {
		return err
	}
	if in := cryptobyte.String(el); !in.ReadASN1Integer(&sd.Version) || sd.Version < 0 || sd.Version > 5 {
		return fmt.Errorf("%w: SignedData version", ErrMalformed)
	}
	if el, err = s.next(tagSet); err != nil {
		return err
	}
	_, in, _ := body(el)
	for len(in) > 0 {
		if el, in, err = element(in, 0); err != nil {
			return err
		}
		if _, ok := ReadAlgorithm(el); !ok {
			return fmt.Errorf("%w: digestAlgorithms", ErrMalformed)
		}
		if len(sd.DigestAlgorithms) >= MaxSigners {
			return fmt.Errorf("%w: more than %d digest algorithms", ErrMalformed, MaxSigners)
		}
		sd.DigestAlgorithms = append(sd.DigestAlgorithms, el)
	}
	if _, err := s.enter(tagSequence); err != nil {
		return err
	}
	if sd.ContentType, err = s.oid(); err != nil {
		return err
	}
	end, err := s.atEnd()
	if err != nil {
		return err
	}
	if !end {
		if _, err := s.enter(tag0); err != nil {
			return err
		}
		if sd.Content, err = s.content(); err != nil {
			return err
		}
		if err := s.leave(); err != nil {
			return err
		}
	}
	return s.leave()
}

// readTail reads certificates, crls and signerInfos.
func (sd *SignedData) readTail(s *scanner) error {
	end := s.levels[len(s.levels)-1]
	definite := end >= 0
	if !definite {
		end = min(s.limit(), s.pos+MaxStructure)
	}
	if end-s.pos > MaxStructure {
		return fmt.Errorf("%w: structure of %d bytes, the bound is %d", ErrMalformed, end-s.pos, MaxStructure)
	}
	tail, err := s.read(end)
	if err != nil {
		return err
	}
	rest := tail
	var el []byte
	if len(rest) > 0 && rest[0] == tag0 {
		if el, rest, err = element(rest, 0); err != nil {
			return err
		}
		if sd.Certificates, err = s.set(el, MaxCertificates); err != nil {
			return err
		}
	}
	if len(rest) > 0 && rest[0] == tag1 {
		if el, rest, err = element(rest, 0); err != nil {
			return err
		}
		if sd.CRLs, err = s.set(el, MaxCertificates); err != nil {
			return err
		}
	}
	if len(rest) == 0 || rest[0] != tagSet {
		return fmt.Errorf("%w: signerInfos missing", ErrMalformed)
	}
	if el, rest, err = element(rest, 0); err != nil {
		return err
	}
	infos, err := s.set(el, MaxSigners)
	if err != nil {
		return err
	}
	for _, raw := range infos {
		si, err := parseSignerInfo(raw)
		if err != nil {
			return err
		}
		sd.SignerInfos = append(sd.SignerInfos, si)
	}
	s.pos += int64(len(tail) - len(rest))
	return nil
}

// set splits a set into its elements as received; never nil.
func (s *scanner) set(el []byte, most int) ([][]byte, error) {
	h, in, err := body(el)
	if err != nil {
		return nil, err
	}
	s.der = s.der && h.short
	out := [][]byte{}
	for len(in) > 0 {
		var e []byte
		if e, in, err = element(in, 0); err != nil {
			return nil, err
		}
		if len(out) >= most {
			return nil, fmt.Errorf("%w: more than %d elements in a set", ErrMalformed, most)
		}
		ok, err := isDER(e, 0)
		if err != nil {
			return nil, err
		}
		s.der = s.der && ok
		out = append(out, e)
	}
	return out, nil
}

func parseSignerInfo(raw []byte) (*SignerInfo, error) {
	bad := func(what string) (*SignerInfo, error) {
		return nil, fmt.Errorf("%w: SignerInfo: %s", ErrMalformed, what)
	}
	der, _, err := toDER(raw)
	if err != nil {
		return nil, err
	}
	si := &SignerInfo{Raw: raw}
	outer := cryptobyte.String(der)
	var in, sid, attrs cryptobyte.String
	var tag cbasn1.Tag
	if !outer.ReadASN1(&in, cbasn1.SEQUENCE) || !outer.Empty() {
		return bad("no SEQUENCE")
	}
	if !in.ReadASN1Integer(&si.Version) {
		return bad("version")
	}
	if !in.ReadAnyASN1(&sid, &tag) {
		return bad("signer identifier")
	}
	switch tag {
	case cbasn1.SEQUENCE:
		var issuer, serial cryptobyte.String
		if !sid.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !sid.ReadASN1(&serial, cbasn1.INTEGER) || len(serial) == 0 || !sid.Empty() {
			return bad("issuerAndSerialNumber")
		}
		si.Issuer, si.Serial = issuer, serial
	case cbasn1.Tag(tag0Octets):
		if sid.Empty() {
			return bad("subjectKeyIdentifier")
		}
		si.SubjectKeyID = sid
	default:
		return bad("signer identifier")
	}
	ok := false
	if si.DigestAlgorithm, ok = takeAlgorithm(&in); !ok {
		return bad("digestAlgorithm")
	}
	if in.PeekASN1Tag(cbasn1.Tag(tag0)) {
		if !in.ReadASN1(&attrs, cbasn1.Tag(tag0)) {
			return bad("signedAttrs")
		}
		si.SignedAttrsSet = tlv(tagSet, attrs)
		if si.SignedAttrs, ok = readAttributes(attrs); !ok || len(si.SignedAttrs) == 0 {
			return bad("signedAttrs")
		}
	}
	if si.SignatureAlgorithm, ok = takeAlgorithm(&in); !ok {
		return bad("signatureAlgorithm")
	}
	if !in.ReadASN1Bytes(&si.Signature, cbasn1.OCTET_STRING) {
		return bad("signature")
	}
	if in.PeekASN1Tag(cbasn1.Tag(tag1)) {
		if !in.ReadASN1(&attrs, cbasn1.Tag(tag1)) {
			return bad("unsignedAttrs")
		}
		if si.UnsignedAttrs, ok = readAttributes(attrs); !ok {
			return bad("unsignedAttrs")
		}
	}
	if !in.Empty() {
		return bad("unexpected element")
	}
	return si, nil
}

func readAttributes(in cryptobyte.String) ([]Attribute, bool) {
	var out []Attribute
	for !in.Empty() {
		var raw, seq, vals cryptobyte.String
		var a Attribute
		if !in.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
			return nil, false
		}
		el := raw
		if !el.ReadASN1(&seq, cbasn1.SEQUENCE) || !seq.ReadASN1ObjectIdentifier(&a.Type) ||
			!seq.ReadASN1(&vals, cbasn1.SET) || !seq.Empty() {
			return nil, false
		}
		for !vals.Empty() {
			var v cryptobyte.String
			var tag cbasn1.Tag
			if !vals.ReadAnyASN1Element(&v, &tag) {
				return nil, false
			}
			a.Values = append(a.Values, v)
		}
		a.Raw = raw
		out = append(out, a)
	}
	return out, true
}

// takeAlgorithm reads an AlgorithmIdentifier from in.
func takeAlgorithm(in *cryptobyte.String) (sigalg.Identifier, bool) {
	var el cryptobyte.String
	if !in.ReadASN1Element(&el, cbasn1.SEQUENCE) {
		return sigalg.Identifier{}, false
	}
	return ReadAlgorithm(el)
}

// ReadAlgorithm reads el, one whole AlgorithmIdentifier in DER.
func ReadAlgorithm(el []byte) (sigalg.Identifier, bool) {
	var id sigalg.Identifier
	var seq cryptobyte.String
	in := cryptobyte.String(el)
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1ObjectIdentifier(&id.OID) {
		return id, false
	}
	if !seq.Empty() {
		var p cryptobyte.String
		var tag cbasn1.Tag
		if !seq.ReadAnyASN1Element(&p, &tag) || !seq.Empty() {
			return id, false
		}
		id.Params = p
	}
	return id, true
}
