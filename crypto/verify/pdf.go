package verify

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
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
		rep.Signatures = append(rep.Signatures, s)
	}
	for i := range list {
		if n := size - list[i].ByteRange[2] - list[i].ByteRange[3]; n > 0 && list[i].Err == nil {
			rep.Signatures[i].Warning = fmt.Sprintf("%d bytes were added to the document after this signature; %s", n, rep.coverer())
		}
	}
	return rep, nil
}

// coverer says who answers for the last bytes of a PDF.
func (r *Report) coverer() string {
	for _, s := range r.Signatures {
		if s.CoversWholeFile && s.Intact {
			return fmt.Sprintf("the signature in the field %q covers them", s.FieldName)
		}
	}
	return "no intact signature covers them"
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
// rule of level B-B. Trust in the certificate is not looked at. It returns the
// SHA-256 of the file. The error is ErrOwn, a read that fails, or ctx.
func OwnPDF(ctx context.Context, r io.ReaderAt, size int64, base Base, signer *cert.Certificate) (sum [sha256.Size]byte, err error) {
	list, err := pades.Signatures(r, size)
	if err != nil {
		return sum, fmt.Errorf("%w: %w", ErrOwn, err)
	}
	p, err := covering(list)
	if err != nil {
		return sum, err
	}
	if base.Size <= 0 || p.ByteRange[1] < base.Size {
		return sum, fmt.Errorf("%w: it stands inside the document", ErrOwn)
	}
	sd, err := cms.Parse(p.Contents)
	if err != nil {
		return sum, fmt.Errorf("%w: %w", ErrOwn, err)
	}
	digests := sd.Digests()
	if len(digests) != 1 {
		return sum, fmt.Errorf("%w: %d digests", ErrOwn, len(digests))
	}
	w := pass{ctx: ctx, r: r, signed: digests[0].New()}
	if _, ok := w.signed.(hash.Cloner); !ok || digests[0] != sigalg.SHA256 {
		w.file = sha256.New()
	}
	digest, sum, err := w.run(p, base)
	if err != nil {
		return sum, err
	}
	return sum, own(sd, digest, signer, cades.PAdES)
}

// covering returns the one signature that covers the file.
func covering(list []pades.Signature) (*pades.Signature, error) {
	var p *pades.Signature
	for i := range list {
		if list[i].CoversWholeFile {
			if p != nil {
				return nil, fmt.Errorf("%w: two signatures cover the file", ErrOwn)
			}
			p = &list[i]
		}
	}
	switch {
	case p == nil:
		return nil, fmt.Errorf("%w: none covers the file", ErrOwn)
	case p.Err != nil:
		return nil, fmt.Errorf("%w: %w", ErrOwn, p.Err)
	case len(p.Violations) > 0:
		return nil, fmt.Errorf("%w: %s: %s", ErrOwn, p.Violations[0].ID, p.Violations[0].Reason)
	}
	return p, nil
}

// A pass reads a signed file once.
type pass struct {
	ctx context.Context
	r   io.ReaderAt
	// signed takes in what the signature covers; file takes in everything with
	// SHA-256, nil where signed does that as well, up to the hole.
	signed, file hash.Hash
}

// run returns the digest of what p covers and the SHA-256 of the file. A file
// that does not begin with base is ErrOwn.
func (w *pass) run(p *pades.Signature, base Base) (digest []byte, sum [sha256.Size]byte, err error) {
	br := p.ByteRange
	if err := w.read(0, base.Size, true); err != nil {
		return nil, sum, err
	}
	prefix := w.file
	if prefix == nil {
		prefix = w.signed
	}
	if [sha256.Size]byte(prefix.Sum(nil)) != base.SHA256 {
		return nil, sum, fmt.Errorf("%w: the document was changed", ErrOwn)
	}
	if w.file == nil { // from here on the two differ
		if w.file, err = w.signed.(hash.Cloner).Clone(); err != nil {
			return nil, sum, err
		}
	}
	for _, part := range []struct {
		from, to int64
		signed   bool
	}{{base.Size, br[1], true}, {br[1], br[2], false}, {br[2], br[2] + br[3], true}} {
		if err := w.read(part.from, part.to, part.signed); err != nil {
			return nil, sum, err
		}
	}
	return w.signed.Sum(nil), [sha256.Size]byte(w.file.Sum(nil)), nil
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// read takes in the bytes from from to to.
func (w *pass) read(from, to int64, signed bool) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for from < to {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		b := (*buf)[:min(int64(len(*buf)), to-from)]
		n, err := w.r.ReadAt(b, from)
		if n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading document: %w", err)
		}
		if signed {
			w.signed.Write(b)
		}
		if w.file != nil {
			w.file.Write(b)
		}
		from += int64(n)
	}
	return nil
}
