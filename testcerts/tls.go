package testcerts

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"time"
)

// A TLSSpec says what a web server's certificate is for.
type TLSSpec struct {
	// Names are DNS names and IP addresses; localhost, 127.0.0.1 and ::1 if
	// empty. The first is the common name too.
	Names []string
	// NotBefore and NotAfter replace the default validity: an expired or a
	// future certificate is one with dates that say so.
	NotBefore, NotAfter time.Time
	// Kind is the kind of key to make, P256 if empty.
	Kind KeyKind
}

// IssueTLS makes a web server's certificate.
func (p *PKI) IssueTLS(spec TLSSpec) (*Leaf, error) {
	if len(spec.Names) == 0 {
		spec.Names = []string{"localhost", "127.0.0.1", "::1"}
	}
	t := &x509.Certificate{
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, n := range spec.Names {
		if n == "" {
			return nil, fmt.Errorf("invalid leaf: empty name")
		}
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	t.Subject = pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{
		{Type: oidCommonName, Value: spec.Names[0]}, {Type: oidCountry, Value: "KZ"},
	}}
	return p.issue(t, 5, spec.NotBefore, spec.NotAfter, spec.Kind, nil)
}
