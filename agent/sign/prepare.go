// Package sign fills the job's Preparer and Assembler with crypto: it fixes
// the bytes of each document, and turns a token's octets into a signed file
// that has been verified by reading it back.
package sign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/crypto/pades"
)

// A Preparer implements job.Preparer.
type Preparer struct {
	Fetcher job.Fetcher
	Limits  policy.Limits
}

// Prepare copies each document into work, hashing it once, and checks that it
// can be signed as asked. Its errors are *job.Error with the document's ID.
func (p *Preparer) Prepare(ctx context.Context, req job.Request, work *job.Spool) (*job.Prepared, error) {
	out := &job.Prepared{Request: req}
	room := p.Limits.Job
	for i := range req.Documents {
		d, err := p.prepare(ctx, req.Origin, &req.Documents[i], work, min(room, p.Limits.Document))
		if err != nil {
			return nil, inDocument(req.Documents[i].ID, err)
		}
		room -= d.Size
		out.Documents = append(out.Documents, d)
		// What was copied is not kept twice.
		req.Documents[i].Content = job.Content{}
	}
	return out, nil
}

// inDocument names the document in err, giving it a code if it has none.
func inDocument(id string, err error) error {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return job.Fail(e.Code, id, e.Err)
	}
	if errors.Is(err, job.ErrTooLarge) {
		return job.Fail(job.CodeTooLarge, id, err)
	}
	return fmt.Errorf("document %s: %w", id, err)
}

func (p *Preparer) prepare(ctx context.Context, origin string, in *job.Document, work *job.Spool, most int64) (*job.PreparedDocument, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if most <= 0 {
		return nil, fmt.Errorf("the job's bound is reached: %w", job.ErrTooLarge)
	}
	src, err := p.open(ctx, origin, in, most)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	hash := sha256.New()
	blob, err := work.Append(most, func(w io.Writer) error {
		_, err := io.Copy(io.MultiWriter(w, hash), src)
		return err
	})
	if err != nil {
		return nil, err
	}
	d := &job.PreparedDocument{
		ID: in.ID, Name: job.CleanName(in.Name), Format: in.Format, Attached: in.Attached, Size: blob.Size, Content: blob,
	}
	hash.Sum(d.SHA256[:0])
	if blob.Size == 0 {
		return nil, job.Fail(job.CodeInvalid, in.ID, errors.New("the document is empty"))
	}
	if in.SHA256 != nil && !bytes.Equal(in.SHA256, d.SHA256[:]) {
		return nil, job.Fail(job.CodeDigestMismatch, in.ID, nil)
	}
	if d.MediaType, err = mediaType(blob); err != nil {
		return nil, err
	}
	if d.Format != job.PAdES {
		return d, nil
	}
	doc, err := pades.Open(blob, blob.Size)
	if err != nil {
		return nil, pdfError(in.ID, err)
	}
	doc.HashedSHA256(hash)
	d.Signatures, d.Parsed = doc.Signatures(), doc
	return d, nil
}

func (p *Preparer) open(ctx context.Context, origin string, in *job.Document, most int64) (io.ReadCloser, error) {
	switch c := in.Content; {
	case c.Inline != nil:
		return io.NopCloser(bytes.NewReader(c.Inline)), nil
	case c.Blob != nil:
		return io.NopCloser(c.Blob.Reader()), nil
	default:
		return p.Fetcher.Fetch(ctx, origin, c.URL, c.Bearer, most)
	}
}

func pdfError(id string, err error) error {
	code := job.CodeBrokenPDF
	switch {
	case errors.Is(err, pades.ErrNotPDF):
		code = job.CodeNotPDF
	case errors.Is(err, pades.ErrEncrypted):
		code = job.CodeEncryptedPDF
	case errors.Is(err, pades.ErrForbidden):
		code = job.CodePDFForbids
	}
	return job.Fail(code, id, err)
}

// mediaType finds the type from the first bytes, whatever the page called it.
func mediaType(b *job.Blob) (string, error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(b.Reader(), head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte("%PDF-")) {
		return "application/pdf", nil
	}
	return http.DetectContentType(head), nil
}
