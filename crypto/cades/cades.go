// Package cades makes and judges CAdES signatures (ETSI EN 319 122-1) on top
// of package cms. Level B-B is made here; the same builder makes the CMS of a
// PAdES signature (ETSI EN 319 142-1), which differs in that it must not carry
// signing-time.
package cades

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
)

// Options says what is to be signed.
type Options struct {
	// Certificate is the signer's, Chain its issuers' as far as known, in any
	// order. Self-signed ones of the chain are left out: who verifies has their
	// anchors already, and must not take them from here.
	Certificate *cert.Certificate
	Chain       []*cert.Certificate
	// Algorithm must fit the certificate's key.
	Algorithm sigalg.Algorithm
	// SigningTime goes into the signing-time attribute, which CAdES demands
	// and PAdES forbids: the zero value leaves it out.
	SigningTime time.Time
	// ContentDigest is the digest of the content with Algorithm.Digest().
	ContentDigest []byte
	// CertificateDigest is that of the signing-certificate-v2 attribute; ""
	// means SHA-256.
	CertificateDigest sigalg.Digest
	// Existing is the signature to which ours is added (co-signature), nil for
	// a new one. ContentDigest is then that of its content.
	Existing *cms.SignedData
}

// A Pending is a signature that lacks only the token's octets. It is not for
// use by several goroutines.
type Pending struct {
	cms      *cms.Pending
	existing *cms.SignedData
}

// Prepare fixes the signed attributes: content-type, message-digest,
// signing-certificate-v2 with issuerSerial, and signing-time if it is set. It
// returns sigalg.ErrUnsupported for an algorithm that does not fit the key.
func Prepare(o Options) (*Pending, error) {
	if o.Certificate == nil {
		return nil, errors.New("invalid options: no certificate")
	}
	d := o.CertificateDigest
	if d == "" {
		d = sigalg.SHA256
	}
	ess, err := cms.SigningCertificate(o.Certificate, d)
	if err != nil {
		return nil, err
	}
	attrs := []cms.Attribute{ess}
	if !o.SigningTime.IsZero() {
		st, err := cms.SigningTime(o.SigningTime)
		if err != nil {
			return nil, err
		}
		attrs = append(attrs, st)
	}
	var chain []*cert.Certificate
	for _, c := range o.Chain {
		if !bytes.Equal(c.X509.RawIssuer, c.X509.RawSubject) {
			chain = append(chain, c)
		}
	}
	p, err := cms.Prepare(cms.Options{
		ContentDigest: o.ContentDigest,
		Certificate:   o.Certificate,
		Chain:         chain,
		Algorithm:     o.Algorithm,
		Attributes:    attrs,
	})
	if err != nil {
		return nil, err
	}
	return &Pending{cms: p, existing: o.Existing}, nil
}

// Digest returns what the token signs, of the algorithm's digest length.
func (p *Pending) Digest() []byte { return p.cms.Digest() }

// Size returns an upper bound in bytes of what Finish returns for a new
// detached signature.
func (p *Pending) Size() int { return p.cms.Size() }

// Finish puts sig in and returns the detached SignedData in DER; with
// Options.Existing that one with ours added, attached if it was. It does not
// check sig: verify.Own does.
func (p *Pending) Finish(sig []byte) ([]byte, error) {
	if p.existing == nil {
		return p.cms.Finish(sig)
	}
	sd, err := p.cms.AddTo(p.existing, sig)
	if err != nil {
		return nil, err
	}
	if sd.Content != nil && sd.Content.Size() > cms.MaxStructure {
		return nil, fmt.Errorf("content of %d bytes: use WriteAttached", sd.Content.Size())
	}
	var b bytes.Buffer
	if err := p.cms.WriteChecked(&b, sd); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// WriteAttached puts sig in and writes the SignedData in DER with the size
// bytes of content to w, in memory that does not grow with size. A content
// that is not the one signed is cms.ErrContentChanged. With Options.Existing
// content and size are not used: its own content is written.
func (p *Pending) WriteAttached(w io.Writer, content io.Reader, size int64, sig []byte) error {
	if p.existing == nil {
		return p.cms.WriteAttached(w, content, size, sig)
	}
	sd, err := p.cms.AddTo(p.existing, sig)
	if err != nil {
		return err
	}
	return p.cms.WriteChecked(w, sd)
}
