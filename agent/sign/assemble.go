package sign

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"tanba/agent/job"
	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/pades"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/tokens"
)

// level is what this version makes.
const level = "B-B"

// An Assembler implements job.Assembler. It may be used from several
// goroutines.
type Assembler struct {
	mu sync.Mutex
	// room is the size of the CMS for what was signed with last: a batch has
	// one signer, and the size is the same for every document.
	room    int
	roomFor signerAlgorithm
}

// signerAlgorithm is what the size of a CMS depends on.
type signerAlgorithm struct {
	signer *cert.Certificate
	alg    sigalg.Algorithm
}

// Begin computes what the token must sign for d.
func (a *Assembler) Begin(ctx context.Context, d *job.PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (job.Pending, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.Format == job.PAdES {
		return a.beginPDF(d, id, alg, at)
	}
	return beginCMS(d, id, alg, at)
}

// finished describes a signed file that was written to b while sum hashed it.
func finished(d *job.PreparedDocument, b *job.Blob, sum []byte, name, mediaType string, at time.Time, c *cert.Certificate) *job.Signed {
	s := &job.Signed{Document: d, File: b, Name: name, MediaType: mediaType, At: at, Certificate: c, Level: level}
	copy(s.SHA256[:], sum)
	return s
}

// unverified is the error for a result of ours that does not verify.
func unverified(d *job.PreparedDocument, err error) error {
	return job.Fail(job.CodeVerify, d.ID, err)
}

type pendingPDF struct {
	*pades.Pending
	d      *job.PreparedDocument
	signer *cert.Certificate
	at     time.Time
}

func (a *Assembler) beginPDF(d *job.PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (job.Pending, error) {
	doc, ok := d.Parsed.(*pades.Document)
	if !ok {
		return nil, job.Fail(job.CodeInternal, d.ID, errors.New("not prepared as a PDF"))
	}
	o := pades.Options{Certificate: id.Certificate, Chain: id.Chain, Algorithm: alg, SigningTime: at, Name: id.Certificate.Profile.Name}
	var err error
	if o.ContentsSize, err = a.contentsSize(o); err != nil {
		return nil, pdfError(d.ID, err)
	}
	p, err := doc.Prepare(o)
	if err != nil {
		return nil, pdfError(d.ID, err)
	}
	return &pendingPDF{Pending: p, d: d, signer: id.Certificate, at: at}, nil
}

// contentsSize is pades.ContentsSize, computed once for a batch.
func (a *Assembler) contentsSize(o pades.Options) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := signerAlgorithm{o.Certificate, o.Algorithm}
	if a.room == 0 || a.roomFor != k {
		n, err := pades.ContentsSize(o)
		if err != nil {
			return 0, err
		}
		a.room, a.roomFor = n, k
	}
	return a.room, nil
}

// Finish implements job.Pending.
func (p *pendingPDF) Finish(ctx context.Context, sig []byte, out *job.Spool) (*job.Signed, error) {
	b, err := out.Append(0, func(w io.Writer) error {
		_, err := p.Pending.Finish(ctx, sig, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	sum, err := verify.OwnPDF(ctx, b, b.Size, verify.Base{Size: p.d.Size, SHA256: p.d.SHA256}, p.signer)
	if err != nil {
		return nil, unverified(p.d, err)
	}
	return finished(p.d, b, sum[:], withExtension(p.d.Name, ".pdf"), "application/pdf", p.at, p.signer), nil
}

type pendingCMS struct {
	*cades.Pending
	d      *job.PreparedDocument
	signer *cert.Certificate
	at     time.Time
	digest []byte // of the content, with the signature's digest
}

func beginCMS(d *job.PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (job.Pending, error) {
	digest := d.SHA256[:]
	if alg.Digest() != sigalg.SHA256 {
		h := alg.Digest().New()
		if _, err := io.Copy(h, io.NewSectionReader(d.Content, 0, d.Size)); err != nil {
			return nil, err
		}
		digest = h.Sum(nil)
	}
	p, err := cades.Prepare(cades.Options{Certificate: id.Certificate, Chain: id.Chain, Algorithm: alg, SigningTime: at, ContentDigest: digest})
	if err != nil {
		return nil, fmt.Errorf("document %s: %w", d.ID, err)
	}
	return &pendingCMS{Pending: p, d: d, signer: id.Certificate, at: at, digest: digest}, nil
}

// Finish implements job.Pending.
func (p *pendingCMS) Finish(ctx context.Context, sig []byte, out *job.Spool) (*job.Signed, error) {
	sum := sha256.New()
	b, err := out.Append(0, func(w io.Writer) error {
		w = io.MultiWriter(w, sum)
		if p.d.Attached {
			return p.WriteAttached(w, io.NewSectionReader(p.d.Content, 0, p.d.Size), p.d.Size, sig)
		}
		der, err := p.Pending.Finish(sig)
		if err != nil {
			return err
		}
		_, err = w.Write(der)
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.d.Attached {
		if err := verify.OwnAttached(ctx, b, b.Size, p.digest, p.signer); err != nil {
			return nil, unverified(p.d, err)
		}
		return finished(p.d, b, sum.Sum(nil), p.d.Name+".p7m", "application/pkcs7-mime", p.at, p.signer), nil
	}
	der := make([]byte, b.Size)
	if _, err := b.ReadAt(der, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := verify.Own(der, p.digest, p.signer, cades.CAdES); err != nil {
		return nil, unverified(p.d, err)
	}
	return finished(p.d, b, sum.Sum(nil), p.d.Name+".p7s", "application/pkcs7-signature", p.at, p.signer), nil
}

// withExtension makes sure that a name ends as its type does.
func withExtension(name, ext string) string {
	if strings.EqualFold(path.Ext(name), ext) {
		return name
	}
	return name + ext
}
