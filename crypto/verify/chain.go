package verify

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"tanba/crypto/cert"
)

// chain judges the certification path of s.Signer at o.At and with it gives
// the final verdict of an intact signature.
func (s *Signature) chain(embedded []*cert.Certificate, o Options) {
	c := s.Signer
	switch {
	case o.At.Before(c.X509.NotBefore):
		s.fail(TotalFailed, NotYetValid, "the certificate is valid from "+day(c.X509.NotBefore)+", the signature existed before")
		return
	case len(o.Roots) == 0:
		s.fail(Indeterminate, NoCertificateChainFound, "no trusted certificates were given")
		return
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, r := range o.Roots {
		roots.AddCert(r.X509)
	}
	for _, i := range append(embedded, o.Intermediates...) {
		between.AddCert(i.X509)
	}
	// First without regard to the leaf's own validity, so that "expired" is
	// said only of a certificate that chains.
	at := o.At
	expired := at.After(c.X509.NotAfter)
	if expired {
		at = c.X509.NotAfter
	}
	_, err := c.X509.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		s.chainError(err)
		return
	}
	switch {
	case expired:
		s.fail(Indeterminate, OutOfBoundsNoPOE, "the certificate expired on "+day(c.X509.NotAfter)+
			" and nothing proves that the signature is older")
	case c.ProblemAt(at) == cert.NotForSigning:
		s.fail(Indeterminate, ChainConstraintsFailure, "the certificate is not for signing documents")
	case o.Revocation == Skip:
		s.Indication = TotalPassed
	default:
		s.fail(Indeterminate, TryLater, "there is no revocation data for the certificate")
	}
}

func (s *Signature) chainError(err error) {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &unknown):
		s.fail(Indeterminate, NoCertificateChainFound, "no chain leads to a trusted certificate")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		s.fail(Indeterminate, OutOfBoundsNoPOE, fmt.Sprintf("a certificate of the chain is not valid at this time: %v", err))
	case errors.As(err, &invalid):
		s.fail(Indeterminate, ChainConstraintsFailure, fmt.Sprintf("the chain breaks a constraint: %v", err))
	case errors.As(err, &critical):
		s.fail(Indeterminate, ChainConstraintsFailure, "a certificate of the chain has a critical extension that is not understood")
	default:
		s.fail(Indeterminate, CertificateChainGeneralFailure, fmt.Sprintf("the chain cannot be checked: %v", err))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
