package testcerts_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"tanba/crypto/cert"
	"tanba/testcerts"
)

var now = time.Now().UTC().Truncate(time.Second)

func newPKI(t *testing.T, key testcerts.KeyKind) *testcerts.PKI {
	t.Helper()
	p, err := testcerts.New(testcerts.Options{
		Now: now, CAKey: key,
		CRLURL: "http://127.0.0.1:1/ca.crl", OCSPURL: "http://127.0.0.1:1/ocsp", IssuerURL: "http://127.0.0.1:1/ca.cer",
	})
	require.NoError(t, err)
	return p
}

func director() testcerts.LeafSpec {
	return testcerts.LeafSpec{
		Name: "СӘРСЕНОВА ӘЙГЕРІМ", Patronymic: "БОЛАТҚЫЗЫ", Organization: `ЖШС "ҮЛГІ"`, Title: "Директор",
		IIN: "850101400123", BIN: "120340001234", Role: "head", Email: "director@example.kz",
	}
}

// openssl runs the tool in a folder holding root.pem, ca.pem and leaf.pem.
func openssl(t *testing.T, p *testcerts.PKI, l *testcerts.Leaf, files map[string]string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"root.pem": p.Root.Certificate.PEM(), "ca.pem": p.CA.Certificate.PEM(), "leaf.pem": l.Certificate.PEM()}
	for n, s := range files {
		all[n] = s
	}
	for n, s := range all {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), []byte(s), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestChainsVerify(t *testing.T) {
	for _, ca := range []testcerts.KeyKind{testcerts.P256, testcerts.RSA2048} {
		p := newPKI(t, ca)
		for _, kind := range []testcerts.KeyKind{testcerts.RSA2048, testcerts.P256, testcerts.P384} {
			t.Run(string(ca)+"/"+string(kind), func(t *testing.T) {
				spec := director()
				spec.Kind = kind
				l, err := p.Issue(spec)
				require.NoError(t, err)

				out, err := openssl(t, p, l, nil, "verify", "-x509_strict", "-purpose", "smimesign", "-CAfile", "root.pem", "-untrusted", "ca.pem", "leaf.pem")
				assert.NoError(t, err, out)
				_, err = openssl(t, p, l, nil, "verify", "-CAfile", "ca.pem", "-untrusted", "ca.pem", "leaf.pem")
				assert.Error(t, err, "the issuing CA is no root")

				inter := x509.NewCertPool()
				inter.AddCert(p.CA.Certificate.X509)
				chains, err := l.Certificate.X509.Verify(x509.VerifyOptions{
					Roots: p.Pool(), Intermediates: inter, CurrentTime: now,
					KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection},
				})
				require.NoError(t, err)
				assert.Len(t, chains[0], 3)
				other := newPKI(t, testcerts.P256)
				_, err = l.Certificate.X509.Verify(x509.VerifyOptions{Roots: other.Pool(), Intermediates: inter, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				assert.Error(t, err)
			})
		}
	}
}

func TestProfile(t *testing.T) {
	p := newPKI(t, testcerts.P256)
	l, err := p.Issue(director())
	require.NoError(t, err)
	assert.Equal(t, cert.Profile{
		Name: "СӘРСЕНОВА ӘЙГЕРІМ", Organization: `ЖШС "ҮЛГІ"`, Title: "Директор", Role: "head",
		IIN: "850101400123", BIN: "120340001234", Country: "KZ", Email: "director@example.kz",
	}, l.Certificate.Profile)
	assert.Equal(t, cert.NoProblem, l.Certificate.ProblemAt(now))
	assert.GreaterOrEqual(t, l.Certificate.X509.SerialNumber.BitLen(), 150)
	assert.Equal(t, p.CA.Certificate.X509.SubjectKeyId, l.Certificate.X509.AuthorityKeyId)
	assert.Len(t, l.Certificate.X509.SubjectKeyId, 20)
	assert.Equal(t, []string{"http://127.0.0.1:1/ca.crl"}, l.Certificate.X509.CRLDistributionPoints)
	assert.Equal(t, []string{"http://127.0.0.1:1/ocsp"}, l.Certificate.X509.OCSPServer)
	for _, e := range l.Certificate.X509.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) {
			assert.True(t, e.Critical, "key usage")
		}
	}
	policies := func(l *testcerts.Leaf) string { return l.Certificate.X509.Policies[0].String() }
	assert.Equal(t, "1.2.398.3.3.2.1", policies(l), "signatures of a legal entity")
	// NCA RK's order of attributes.
	var order []string
	for _, a := range l.Certificate.X509.Subject.Names {
		order = append(order, a.Type.String())
	}
	assert.Equal(t, []string{"2.5.4.3", "2.5.4.4", "2.5.4.5", "2.5.4.6", "2.5.4.10", "2.5.4.11", "2.5.4.12", "2.5.4.42"}, order)

	for _, role := range []string{"head", "authorised", "financial", "hr", "employee", "individual"} {
		spec := director()
		spec.Role = role
		l, err := p.Issue(spec)
		require.NoError(t, err)
		assert.Equal(t, role, l.Certificate.Profile.Role)
	}
	l, err = p.Issue(testcerts.LeafSpec{Name: "ИВАНОВ ИВАН", IIN: "900101300123"})
	require.NoError(t, err)
	assert.Equal(t, "1.2.398.3.3.2.3", policies(l), "signatures of an individual")
	assert.Equal(t, "individual", l.Certificate.Profile.Role)
	assert.Empty(t, l.Certificate.Profile.BIN)
}

func TestProblems(t *testing.T) {
	p := newPKI(t, testcerts.P256)
	for want, change := range map[cert.Problem]func(*testcerts.LeafSpec){
		cert.Expired: func(s *testcerts.LeafSpec) {
			s.NotBefore, s.NotAfter = now.AddDate(-2, 0, 0), now.AddDate(-1, 0, 0)
		},
		cert.NotYetValid: func(s *testcerts.LeafSpec) {
			s.NotBefore, s.NotAfter = now.AddDate(0, 1, 0), now.AddDate(1, 0, 0)
		},
		cert.NotForSigning: func(s *testcerts.LeafSpec) { s.Usage = testcerts.Encryption },
	} {
		spec := director()
		change(&spec)
		l, err := p.Issue(spec)
		require.NoError(t, err)
		assert.Equal(t, want, l.Certificate.ProblemAt(now))
	}
	spec := director()
	spec.Usage = testcerts.Authentication
	l, err := p.Issue(spec)
	require.NoError(t, err)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, l.Certificate.X509.ExtKeyUsage)
	assert.Zero(t, l.Certificate.X509.KeyUsage&x509.KeyUsageContentCommitment)
}

func TestRefusals(t *testing.T) {
	_, err := testcerts.New(testcerts.Options{})
	assert.Error(t, err)
	p := newPKI(t, testcerts.P256)
	for _, spec := range []testcerts.LeafSpec{
		{}, {Name: "A", IIN: "12"}, {Name: "A", BIN: "12345678901x"}, {Name: "A", Role: "king"},
		{Name: "A", Kind: "p-1"}, {Name: "A", Usage: "fun"}, {Name: "A", NotAfter: now.AddDate(-1, 0, 0)},
	} {
		_, err := p.Issue(spec)
		assert.Error(t, err, "%+v", spec)
	}
}

func TestFiles(t *testing.T) {
	p := newPKI(t, testcerts.P256)
	for _, kind := range []testcerts.KeyKind{testcerts.RSA2048, testcerts.P384} {
		spec := director()
		spec.Kind = kind
		l, err := p.Issue(spec)
		require.NoError(t, err)

		p12, err := l.PKCS12("Қ-secret")
		require.NoError(t, err)
		key, c, issuers, err := pkcs12.DecodeChain(p12, "Қ-secret")
		require.NoError(t, err)
		same, ok := l.Key.(interface{ Equal(crypto.PrivateKey) bool })
		require.True(t, ok)
		assert.True(t, same.Equal(key))
		assert.Equal(t, l.Certificate.Raw, c.Raw)
		assert.Len(t, issuers, 2)
		_, _, _, err = pkcs12.DecodeChain(p12, "wrong")
		assert.ErrorIs(t, err, pkcs12.ErrIncorrectPassword)

		keyPEM, err := l.KeyPEM()
		require.NoError(t, err)
		pub, err := openssl(t, p, l, map[string]string{"k.pem": keyPEM}, "pkey", "-in", "k.pem", "-pubout")
		require.NoError(t, err, pub)
		fromCert, err := openssl(t, p, l, nil, "x509", "-in", "leaf.pem", "-noout", "-pubkey")
		require.NoError(t, err)
		assert.Equal(t, fromCert, pub)
		out, err := openssl(t, p, l, map[string]string{"f.p12": string(p12)}, "pkcs12", "-in", "f.p12", "-passin", "pass:Қ-secret", "-nokeys")
		require.NoError(t, err, out)
		assert.Equal(t, 3, bytes.Count([]byte(out), []byte("BEGIN CERTIFICATE")))
		all, err := cert.ParsePEM([]byte(l.ChainPEM()))
		require.NoError(t, err)
		assert.Len(t, all, 3)
	}
}

func TestCRL(t *testing.T) {
	p := newPKI(t, testcerts.RSA2048)
	good, err := p.Issue(director())
	require.NoError(t, err)
	bad, err := p.Issue(director())
	require.NoError(t, err)
	p.CA.Revoke(bad.Certificate, now, 1)
	for n := int64(1); n <= 2; n++ {
		der, err := p.CA.CRL(now.Add(-time.Hour), now.Add(time.Hour))
		require.NoError(t, err)
		l, err := x509.ParseRevocationList(der)
		require.NoError(t, err)
		require.NoError(t, l.CheckSignatureFrom(p.CA.Certificate.X509))
		assert.Equal(t, n, l.Number.Int64())
		require.Len(t, l.RevokedCertificateEntries, 1)
		assert.Equal(t, 1, l.RevokedCertificateEntries[0].ReasonCode)

		files := map[string]string{"ca.crl": string(der)}
		args := []string{"verify", "-crl_check", "-CRLfile", "ca.crl", "-CAfile", "root.pem", "-untrusted", "ca.pem", "leaf.pem"}
		out, err := openssl(t, p, good, files, args...)
		assert.NoError(t, err, out)
		out, err = openssl(t, p, bad, files, args...)
		assert.Error(t, err)
		assert.Contains(t, out, "certificate revoked")
	}
}

func TestTLS(t *testing.T) {
	p, stranger := newPKI(t, testcerts.P256), newPKI(t, testcerts.P256)
	get := func(l *testcerts.Leaf, host string) error {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{l.TLS()}}
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are the point
		s.StartTLS()
		defer s.Close()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.Pool(), ServerName: host, Time: func() time.Time { return now }}}}
		defer c.CloseIdleConnections()
		r, err := c.Get(s.URL)
		if err == nil {
			_ = r.Body.Close()
		}
		return err
	}
	local, err := p.IssueTLS(testcerts.TLSSpec{})
	require.NoError(t, err)
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		assert.NoError(t, get(local, host), host)
	}
	crm, err := p.IssueTLS(testcerts.TLSSpec{Names: []string{"crm.test"}})
	require.NoError(t, err)
	assert.NoError(t, get(crm, "crm.test"))
	var wrongName x509.HostnameError
	assert.ErrorAs(t, get(crm, "127.0.0.1"), &wrongName)

	expired, err := p.IssueTLS(testcerts.TLSSpec{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(0, 0, -1)})
	require.NoError(t, err)
	var invalid x509.CertificateInvalidError
	if assert.ErrorAs(t, get(expired, "localhost"), &invalid) {
		assert.Equal(t, x509.Expired, invalid.Reason)
	}
	untrusted, err := stranger.IssueTLS(testcerts.TLSSpec{})
	require.NoError(t, err)
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, get(untrusted, "localhost"), &unknown)

	_, err = p.IssueTLS(testcerts.TLSSpec{Names: []string{""}})
	assert.Error(t, err)
}
