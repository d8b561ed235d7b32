package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"sync"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/pades"
	"tanba/crypto/sigalg"
)

// ErrUnsigned reports a PDF without signatures.
var ErrUnsigned = errors.New("invalid document: no signature in it")

// PDF judges every signature of a PDF of size bytes. Its bytes are hashed as a
// stream. A signature that something was appended behind is judged for what it
// covers: see Signature.CoversWholeFile and Warning. The error is ErrUnsigned,
// one of package pades for a file that cannot be read, a read that fails, or
// ctx.
func PDF(ctx context.Context, r io.ReaderAt, size int64, o Options) (*Report, error) {
	list, err := pades.Signatures(r, size)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrUnsigned
	}
	rep := &Report{}
	for i := range list {
		s, err := inPDF(ctx, r, &list[i], o)
		if err != nil {
			return nil, err
		}
		if n := size - list[i].ByteRange[2] - list[i].ByteRange[3]; n > 0 && list[i].Err == nil {
			s.Warning = fmt.Sprintf("%d bytes were added to the document after this signature, which does not cover them", n)
		}
		rep.Signatures = append(rep.Signatures, s)
	}
	return rep, nil
}

// inPDF judges one signature.
func inPDF(ctx context.Context, r io.ReaderAt, p *pades.Signature, o Options) (Signature, error) {
	s := Signature{Format: "CMS"}
	if p.Err != nil {
		s.fail(TotalFailed, FormatFailure, p.Err.Error())
		return s.of(p), nil
	}
	switch p.SubFilter {
	case "ETSI.CAdES.detached", "adbe.pkcs7.detached":
	default:
		s.fail(Indeterminate, SigConstraintsFailure, fmt.Sprintf("signatures of the kind %q are not supported by this version", p.SubFilter))
		return s.of(p), nil
	}
	sd, _, err := cms.ParsePrefix(p.Contents)
	if err != nil || len(sd.SignerInfos) == 0 {
		s.fail(TotalFailed, FormatFailure, fmt.Sprintf("the signature cannot be read: %v", err))
		return s.of(p), nil
	}
	sums, err := cms.Sum(ctx, p.Signed(r), sd.Digests())
	if err != nil {
		return s, err
	}
	s = judge(sd, sd.SignerInfos[0], cades.PAdES, sums, o)
	if p.Reason != "" && states(sd.SignerInfos[0]) {
		s.Violations = append(s.Violations, cades.Violation{ID: "P-06", Reason: "Reason stands beside a commitment or a policy"})
	}
	if sd.Content != nil { // what it signs is not the document
		s.Intact = false
		s.fail(TotalFailed, FormatFailure, "the signature carries a content of its own")
	}
	return s.of(p), nil
}

// states reports whether the CMS says why it was made: commitment-type-indication
// or signature-policy-identifier (RFC 5126, sections 5.11.1 and 5.8.1).
func states(si *cms.SignerInfo) bool {
	for _, last := range []int{15, 16} {
		if len(cms.Find(si.SignedAttrs, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, last})) > 0 {
			return true
		}
	}
	return false
}

// of adds what the PDF says of the signature.
func (s Signature) of(p *pades.Signature) Signature {
	s.FieldName, s.CoversWholeFile = p.Field, p.CoversWholeFile
	if p.ByteRange != [4]int64{} {
		s.ByteRange = p.ByteRange[:]
	}
	if s.SigningTime.IsZero() {
		s.SigningTime = p.SigningTime
	}
	s.Violations = append(s.Violations, p.Violations...)
	if len(s.Violations) > 0 {
		s.Level = ""
		if p.SubFilter != "ETSI.CAdES.detached" {
			s.Format = "CMS"
		}
	}
	return s
}

// A Base is the document that was to be signed.
type Base struct {
	Size   int64
	SHA256 [sha256.Size]byte
}

// OwnPDF checks a PDF of size bytes that was signed just now, in one pass over
// it: the document begins with base byte for byte, one signature covers all of
// the file and stands behind base, it is by signer, verifies, and keeps every
// rule of level B-B. Trust in the certificate is not looked at. The error is
// ErrOwn, a read that fails, or ctx.
func OwnPDF(ctx context.Context, r io.ReaderAt, size int64, base Base, signer *cert.Certificate) error {
	list, err := pades.Signatures(r, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOwn, err)
	}
	var p *pades.Signature
	for i := range list {
		if list[i].CoversWholeFile {
			if p != nil {
				return fmt.Errorf("%w: two signatures cover the file", ErrOwn)
			}
			p = &list[i]
		}
	}
	switch {
	case p == nil:
		return fmt.Errorf("%w: none covers the file", ErrOwn)
	case p.Err != nil:
		return fmt.Errorf("%w: %w", ErrOwn, p.Err)
	case len(p.Violations) > 0:
		return fmt.Errorf("%w: %s: %s", ErrOwn, p.Violations[0].ID, p.Violations[0].Reason)
	case base.Size <= 0 || p.ByteRange[1] < base.Size:
		return fmt.Errorf("%w: it stands inside the document", ErrOwn)
	}
	sd, err := cms.Parse(p.Contents)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOwn, err)
	}
	digests := sd.Digests()
	if len(digests) != 1 {
		return fmt.Errorf("%w: %d digests", ErrOwn, len(digests))
	}
	same, sum, err := prefixAndSum(ctx, p.Signed(r), base, digests[0])
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%w: the document was changed", ErrOwn)
	}
	return own(sd, sum, signer, cades.PAdES)
}

// prefixAndSum reads signed to its end. It reports whether it begins with base
// and returns its digest. Where that is SHA-256, one state serves for both.
func prefixAndSum(ctx context.Context, signed io.Reader, base Base, d sigalg.Digest) (bool, []byte, error) {
	h := d.New()
	first := h
	if d != sigalg.SHA256 {
		first = sha256.New()
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left := base.Size; ; {
		if err := ctx.Err(); err != nil {
			return false, nil, err
		}
		b := *buf
		if left > 0 {
			b = b[:min(int64(len(b)), left)]
		}
		n, err := signed.Read(b)
		h.Write(b[:n])
		if left > 0 {
			if left -= int64(n); first != h {
				first.Write(b[:n])
			}
			if left == 0 && !bytes.Equal(first.Sum(nil), base.SHA256[:]) {
				return false, nil, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return left == 0, h.Sum(nil), nil
		case err != nil:
			return false, nil, fmt.Errorf("reading document: %w", err)
		}
	}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}
