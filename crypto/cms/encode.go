package cms

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/sigalg"
)

// Marshal returns the SignedData with definite lengths, in memory. What was
// parsed from DER comes out as it went in. A content of more than MaxStructure
// bytes is an error: use WriteTo.
func (sd *SignedData) Marshal() ([]byte, error) {
	if sd.Content != nil && sd.Content.Size() > MaxStructure {
		return nil, fmt.Errorf("content of %d bytes: the bound in memory is %d", sd.Content.Size(), int64(MaxStructure))
	}
	var b bytes.Buffer
	_, err := sd.WriteTo(&b)
	return b.Bytes(), err
}

// WriteTo writes the SignedData with definite lengths to w and streams the
// content. It returns the number of bytes written.
func (sd *SignedData) WriteTo(w io.Writer) (int64, error) {
	var content io.Reader
	size := int64(-1)
	if sd.Content != nil {
		content, size = sd.Content.Reader(), sd.Content.Size()
	}
	return sd.write(w, content, size)
}

// write writes with size bytes of content, or detached if size is negative.
func (sd *SignedData) write(w io.Writer, content io.Reader, size int64) (int64, error) {
	head, tail, err := sd.frame(size)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(head)
	total := int64(n)
	if err != nil {
		return total, err
	}
	if size >= 0 {
		m, err := io.CopyN(w, content, size)
		total += m
		if err != nil {
			return total, fmt.Errorf("content of %d bytes ended after %d: %w", size, m, err)
		}
	}
	n, err = w.Write(tail)
	return total + int64(n), err
}

// frame encodes what stands before and behind size bytes of content.
func (sd *SignedData) frame(size int64) (head, tail []byte, err error) {
	ctype, err := marshalOID(sd.ContentType)
	if err != nil {
		return nil, nil, err
	}
	dataOID, err := marshalOID(OIDSignedData)
	if err != nil {
		return nil, nil, err
	}
	version := tlv(tagInteger, []byte{byte(sd.Version)})
	digests := tlv(tagSet, sd.DigestAlgorithms...)
	if sd.Certificates != nil {
		tail = append(tail, tlv(tag0, sd.Certificates...)...)
	}
	if sd.CRLs != nil {
		tail = append(tail, tlv(tag1, sd.CRLs...)...)
	}
	infos := make([][]byte, 0, len(sd.SignerInfos))
	for _, si := range sd.SignerInfos {
		infos = append(infos, si.Raw)
	}
	tail = append(tail, tlv(tagSet, infos...)...)

	// Lengths from the inside out.
	var octets, wrap, encap int64 // bodies of OCTET STRING, [0], EncapsulatedContentInfo
	encap = int64(len(ctype))
	if size >= 0 {
		octets = size
		wrap = headerSize(octets) + octets
		encap += headerSize(wrap) + wrap
	}
	signed := int64(len(version)+len(digests)) + headerSize(encap) + encap + int64(len(tail))
	explicit := headerSize(signed) + signed
	info := int64(len(dataOID)) + headerSize(explicit) + explicit

	head = appendHeader(head, tagSequence, info)
	head = append(head, dataOID...)
	head = appendHeader(head, tag0, explicit)
	head = appendHeader(head, tagSequence, signed)
	head = append(head, version...)
	head = append(head, digests...)
	head = appendHeader(head, tagSequence, encap)
	head = append(head, ctype...)
	if size >= 0 {
		head = appendHeader(head, tag0, wrap)
		head = appendHeader(head, tagOctets, octets)
	}
	return head, tail, nil
}

func marshalOID(oid []int) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(oid)
	return b.Bytes()
}

func addAlgorithm(b *cryptobyte.Builder, id sigalg.Identifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(id.OID)
		b.AddBytes(id.Params)
	})
}

// ExpectedVersion returns the version that RFC 5652 section 5.1 gives to a
// SignedData with these parts.
func (sd *SignedData) ExpectedVersion() int {
	attrV1, attrV2, other := false, false, false
	for _, c := range sd.Certificates {
		switch c[0] {
		case 0xa1: // [1] v1AttrCert
			attrV1 = true
		case 0xa2: // [2] v2AttrCert
			attrV2 = true
		case 0xa3: // [3] other
			other = true
		}
	}
	for _, c := range sd.CRLs {
		other = other || c[0] == tag1 // [1] other
	}
	v3 := !sd.ContentType.Equal(OIDData) || attrV1
	for _, si := range sd.SignerInfos {
		v3 = v3 || si.Version == 3
	}
	switch {
	case other:
		return 5
	case attrV2:
		return 4
	case v3:
		return 3
	}
	return 1
}
