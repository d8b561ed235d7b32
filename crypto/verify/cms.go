package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
)

// CMS judges every signature of a signature file of size bytes in DER, BER,
// PEM or base64. content is the signed content of a detached signature, read
// to its end; nil: the signature is attached, or the verdict is INDETERMINATE
// SIGNED_DATA_NOT_FOUND. A content given for an attached signature must be the
// attached one. Neither content nor an attached one in DER or BER is held in
// memory. The error is for a file that cannot be read as signatures at all
// (cms.ErrMalformed, cms.ErrUnsupported), a read that fails, or ctx.
func CMS(ctx context.Context, sig io.ReaderAt, size int64, content io.Reader, o Options) (*Report, error) {
	if o.At.IsZero() {
		return nil, errors.New("invalid options: no time of validation")
	}
	sd, err := open(sig, size)
	if err != nil {
		return nil, err
	}
	var sums map[sigalg.Digest][]byte
	switch {
	case content != nil:
		if sums, err = cms.Sum(ctx, content, sd.Digests()); err != nil {
			return nil, err
		}
		if sd.Content != nil {
			own, err := cms.Sum(ctx, sd.Content.Reader(), sd.Digests())
			if err != nil {
				return nil, err
			}
			for d := range own {
				if !bytes.Equal(own[d], sums[d]) {
					sums[d] = nil // fits no signature: HASH_FAILURE
				}
			}
		}
	case sd.Content != nil:
		if sums, err = cms.Sum(ctx, sd.Content.Reader(), sd.Digests()); err != nil {
			return nil, err
		}
	}
	r := &Report{}
	for _, si := range sd.SignerInfos {
		r.Signatures = append(r.Signatures, judge(sd, si, cades.CAdES, sums, o))
	}
	return r, nil
}

// Bytes is CMS for a signature file in memory.
func Bytes(ctx context.Context, sig []byte, content io.Reader, o Options) (*Report, error) {
	return CMS(ctx, bytes.NewReader(sig), int64(len(sig)), content, o)
}

func open(sig io.ReaderAt, size int64) (*cms.SignedData, error) {
	var first [1]byte
	if n, err := sig.ReadAt(first[:], 0); n == 0 {
		if errors.Is(err, io.EOF) {
			err = cms.ErrMalformed
		}
		return nil, fmt.Errorf("reading signature: %w", err)
	}
	if first[0] != 0x30 { // no DER or BER SEQUENCE: PEM or base64
		if size > 2*cms.MaxStructure {
			return nil, fmt.Errorf("%w: %d bytes, the bound is %d", cms.ErrMalformed, size, 2*cms.MaxStructure)
		}
		text, err := io.ReadAll(io.NewSectionReader(sig, 0, size))
		if err != nil {
			return nil, fmt.Errorf("reading signature: %w", err)
		}
		der, err := cms.Unarmor(text)
		if err != nil {
			return nil, err
		}
		sig, size = bytes.NewReader(der), int64(len(der))
	}
	sd, err := cms.Open(sig, size)
	if err != nil {
		return nil, err
	}
	if len(sd.SignerInfos) == 0 {
		return nil, fmt.Errorf("%w: no signature in it", cms.ErrMalformed)
	}
	return sd, nil
}

// judge gives the verdict over si of sd. sums holds the digests of the
// content, nil if the content is not there.
func judge(sd *cms.SignedData, si *cms.SignerInfo, kind cades.Kind, sums map[sigalg.Digest][]byte, o Options) Signature {
	s := Signature{
		Format:          string(kind),
		Violations:      cades.Check(sd, si, kind),
		Attached:        sd.Content != nil,
		Algorithm:       si.SignatureAlgorithm.OID.String(),
		DigestAlgorithm: si.DigestAlgorithm.OID.String(),
	}
	if len(s.Violations) == 0 {
		s.Level = "B-B"
	} else if kind == cades.CAdES {
		s.Format = "CMS"
	}
	if st := cms.Find(si.SignedAttrs, cms.OIDSigningTime); len(st) == 1 {
		if t, err := st[0].Time(); err == nil {
			s.SigningTime = t
		}
	}
	embedded := sd.ParseCertificates()
	signer, err := si.Signer(append(embedded, o.Intermediates...))
	if err == nil {
		s.Signer, s.Certificate = signer, describe(signer)
	}
	if d, err := si.Digest(); err == nil {
		s.DigestAlgorithm = string(d)
	}
	if !s.cryptography(sd, si, sums) {
		return s
	}
	s.Intact = true
	s.chain(embedded, o)
	if s.Indication == TotalPassed && len(si.SignedAttrs) == 0 {
		// Someone else's signed attributes could be passed off as this content:
		// both are signed alike.
		s.fail(Indeterminate, SigConstraintsFailure, "the signature has no signed attributes: nothing in it says what was signed or with which certificate")
	}
	return s
}

// cryptography checks what needs no trust: format, content, identification,
// signature, in the order of EN 319 102-1 section 5.3. It sets the verdict and
// returns false when one of them fails.
func (s *Signature) cryptography(sd *cms.SignedData, si *cms.SignerInfo, sums map[sigalg.Digest][]byte) bool {
	if err := si.CheckAttributes(sd.ContentType); err != nil {
		s.fail(TotalFailed, FormatFailure, err.Error())
		return false
	}
	if s.Signer == nil {
		s.fail(Indeterminate, NoSigningCertificateFound, "the signer's certificate is not in the file and was not given")
		return false
	}
	if err := si.CheckReference(s.Signer); errors.Is(err, cms.ErrReference) {
		s.fail(Indeterminate, NoSigningCertificateFound, "the certificate is not the one that the signature names: "+err.Error())
		return false
	} else if err != nil {
		s.fail(Indeterminate, CryptoConstraintsFailure, err.Error())
		return false
	}
	d, err := si.Digest()
	if err != nil {
		s.fail(Indeterminate, CryptoConstraintsFailure,
			fmt.Sprintf("digest algorithm %s is not supported by this version", s.DigestAlgorithm))
		return false
	}
	if sums == nil {
		s.fail(Indeterminate, SignedDataNotFound, "the signature is detached and its content was not given")
		return false
	}
	if err := si.CheckContent(sums[d]); err != nil {
		s.fail(TotalFailed, HashFailure, "the content is not what was signed: its digest differs")
		return false
	}
	alg, err := si.CheckSignature(sums[d], s.Signer)
	if alg != "" {
		s.Algorithm = string(alg)
	}
	switch {
	case errors.Is(err, sigalg.ErrUnsupported):
		s.fail(Indeterminate, CryptoConstraintsFailure,
			fmt.Sprintf("signature algorithm %s or the key it is used with is not supported by this version", s.Algorithm))
	case err != nil:
		s.fail(TotalFailed, SigCryptoFailure, "the signature does not verify with the signer's key")
	default:
		return true
	}
	return false
}

// ErrOwn reports a signature of ours that is not what it should be.
var ErrOwn = errors.New("own signature is not valid")

// Own checks a CMS that was made just now: der is DER and one of its
// signatures is by signer over contentDigest (with the signature's own
// digest), verifies, and keeps every rule of level B-B for kind. It trusts
// nothing that was known while it was made but its arguments. Trust in the
// certificate is not looked at. The error is ErrOwn.
func Own(der, contentDigest []byte, signer *cert.Certificate, kind cades.Kind) error {
	sd, err := cms.Parse(der)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOwn, err)
	}
	return own(sd, contentDigest, signer, kind)
}

// OwnAttached is Own for an attached signature of size bytes in r, whose
// content is hashed where it stands and must have contentDigest.
func OwnAttached(ctx context.Context, r io.ReaderAt, size int64, contentDigest []byte, signer *cert.Certificate) error {
	sd, err := cms.Open(r, size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOwn, err)
	}
	if sd.Content == nil {
		return fmt.Errorf("%w: no content in it", ErrOwn)
	}
	sums, err := cms.Sum(ctx, sd.Content.Reader(), sd.Digests())
	if err != nil {
		return err
	}
	for _, sum := range sums {
		if bytes.Equal(sum, contentDigest) {
			return own(sd, contentDigest, signer, cades.CAdES)
		}
	}
	return fmt.Errorf("%w: %w", ErrOwn, cms.ErrContentDigest)
}

func own(sd *cms.SignedData, contentDigest []byte, signer *cert.Certificate, kind cades.Kind) error {
	if !sd.DER && len(sd.SignerInfos) == 1 {
		return fmt.Errorf("%w: not DER", ErrOwn)
	}
	var last error = cms.ErrNoSigner
	for _, si := range sd.SignerInfos {
		if !si.Names(signer) {
			continue
		}
		if _, last = si.Verify(sd.ContentType, contentDigest, signer); last != nil {
			continue
		}
		if v := cades.Check(sd, si, kind); len(v) > 0 {
			last = fmt.Errorf("%s: %s", v[0].ID, v[0].Reason)
			continue
		}
		return nil
	}
	return fmt.Errorf("%w: %w", ErrOwn, last)
}
