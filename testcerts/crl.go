package testcerts

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"tanba/crypto/cert"
)

// Revoke puts c on the authority's next list. Reason is a CRLReason of RFC
// 5280 section 5.3.1; 0, unspecified, is left out of the list as it says.
func (a *Authority) Revoke(c *cert.Certificate, at time.Time, reason int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: c.X509.SerialNumber, RevocationTime: at, ReasonCode: reason})
}

// CRL returns the DER of a new revocation list, each with the next number,
// signed by the authority.
func (a *Authority) CRL(thisUpdate, nextUpdate time.Time) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.crlNumber++
	t := &x509.RevocationList{
		RevokedCertificateEntries: a.revoked,
		Number:                    big.NewInt(a.crlNumber),
		ThisUpdate:                thisUpdate,
		NextUpdate:                nextUpdate,
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, a.Certificate.X509, a.Key)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	return der, nil
}
