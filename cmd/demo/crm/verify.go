package crm

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/verify"
)

// verify checks a signed file against the document that was sent and returns
// who signed it and when, as the signature itself states. The error is a
// refusal with the reason.
//
// For a PDF: what was sent is still there byte for byte at the file's start,
// the newest signature covers the whole file, and those that the document
// carried before are still intact. For a CMS: it holds one signature, over
// exactly what was sent. For both the new signature is intact, with a
// certificate of an authority that we accept, valid now.
func (s *Server) verify(ctx context.Context, original, file []byte, format string) (*cert.Certificate, time.Time, error) {
	// Revocation is skipped: the demo's authority is thrown away with it. A
	// real CRM asks OCSP or a CRL here.
	opts := verify.Options{Roots: s.cfg.Roots, Intermediates: s.cfg.Issuers, At: s.cfg.Now(), Revocation: verify.Skip}
	var report *verify.Report
	var err error
	if format == formatPAdES {
		if len(file) <= len(original) || !bytes.HasPrefix(file, original) {
			return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "the signed PDF does not begin with the document that was sent")
		}
		report, err = verify.PDF(ctx, bytes.NewReader(file), int64(len(file)), opts)
	} else {
		report, err = verify.Bytes(ctx, file, bytes.NewReader(original), opts)
	}
	if err != nil || len(report.Signatures) == 0 {
		return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "the file cannot be verified: %v", err)
	}
	last := report.Signatures[len(report.Signatures)-1]
	for _, earlier := range report.Signatures[:len(report.Signatures)-1] {
		if !earlier.Intact {
			return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "an earlier signature does not hold any more: %s", earlier.Reason)
		}
	}
	switch {
	case last.Indication != verify.TotalPassed:
		return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "%s %s: %s", last.Indication, last.SubIndication, last.Reason)
	case format == formatCAdES && (len(report.Signatures) != 1 || last.Attached):
		return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "want one detached signature")
	case format == formatPAdES && !last.CoversWholeFile:
		return nil, time.Time{}, refuse(http.StatusUnprocessableEntity, "the newest signature does not cover the whole file")
	}
	return last.Signer, last.SigningTime, nil
}
