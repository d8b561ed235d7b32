package cert_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cert"
	"tanba/testcerts"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func readData(t *testing.T, name string) *cert.Certificate {
	t.Helper()
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil && os.Getenv("TANBA_REQUIRE_DATA") != "1" {
		t.Skip("test data absent: set TANBA_TESTDATA")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	} else if b[0] != 0x30 {
		b, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(b)))
		require.NoError(t, err)
	}
	c, err := cert.Parse(b)
	require.NoError(t, err)
	require.Equal(t, b, c.Raw)
	return c
}

// Certificates of NCA RK (its test CAs) and of Russian CAs.
func TestProfiles(t *testing.T) {
	person := cert.Profile{Name: "ТЕСТОВ ТЕСТ", Role: "individual", IIN: "123456789011", Country: "KZ"}
	head := cert.Profile{Name: "ТЕСТОВ ТЕСТ", Role: "head", Organization: `АО "ТЕСТ"`, IIN: "123456789011", BIN: "123456789021", Country: "KZ"}
	for _, c := range []struct {
		file    string
		profile cert.Profile
		serial  string
		at      time.Time
		problem cert.Problem
	}{
		{"kz/nca-sdk-test/individual_valid.leaf.cer", person, "6C425659BD2FC6DC587B871AEDE1857727CF8451", now, cert.UnknownKey},
		{"kz/nca-sdk-test/legal_ceo_valid.leaf.cer", head, "303EEBDF17969F3EDEDE9BD9828FB1355AABBE4E", now, cert.UnknownKey},
		{"kz/ncanode-test/ceo_valid_sign_2004_gost.cer", head, "6CBD4560A33A58C0B07C3363C9AE0674A0838E58", now, cert.UnknownKey},
		{"kz/nca-sdk-test/legal_infosystem_valid.leaf.cer", cert.Profile{Name: `ИС "Тест"`, Organization: `АО "ТЕСТ"`, BIN: "123456789021", Country: "KZ"}, "689BD2C53A2E05AAF877569F47DFFF2E7C314FE0", now, cert.UnknownKey},
		{"kz/ncanode-test/individual_valid_sign_2004_rsa.cer", person, "41E45CC8A04C705963E5CD6769848A934D8EAEF5", now, cert.Expired},
		{"kz/ncanode-test/individual_valid_sign_2004_rsa.cer", person, "41E45CC8A04C705963E5CD6769848A934D8EAEF5", time.Time{}, cert.NotYetValid},
		{"kz/ncanode-test/individual_valid_sign_2004_rsa_auth.cer", person, "247C3FDA89FA641EA226987393CDAF3F5BAF24B3", now, cert.NotForSigning},
		{"kz/prod-ca/root_rsa_2020.cer", cert.Profile{Name: "НЕГІЗГІ КУӘЛАНДЫРУШЫ ОРТАЛЫҚ (RSA)", Country: "KZ"}, "54B3B740D45B91707BED4A2BE41B7B69F8F6BA50", now, cert.NotForSigning},
		{"ru/cryptoarm-web/TrustedCrypto2012-256.cer", cert.Profile{Name: "TrustedCrypro2012-256", Organization: "Org ' TrustedCrypro2012-256'", Email: "test256@test.ru"}, "7C0000E85EE2E4DB11130D458C00010000E85E", now, cert.UnknownKey},
		{"ru/rfc9215/D1-cert.pem", cert.Profile{Name: "Example"}, "0A", now, cert.UnknownKey},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			got := readData(t, c.file)
			assert.Equal(t, c.profile, got.Profile)
			assert.Equal(t, c.serial, got.Serial())
			at := c.at
			if c.problem == cert.NotForSigning { // while it was valid
				at = got.X509.NotBefore.Add(time.Hour)
			}
			assert.Equal(t, c.problem, got.ProblemAt(at))
		})
	}
}

// What a certificate says of its holder cannot reorder or break a page.
func TestShownTextIsClean(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(10), NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0),
		Subject: pkix.Name{
			CommonName: " Ivan\u202e navI\r\n\x00", Organization: []string{"OO\u2066O"},
			ExtraNames: []pkix.AttributeTypeAndValue{
				{Type: asn1.ObjectIdentifier{2, 5, 4, 12}, Value: "Head\u200b\t"},
				{Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: "IIN12345678901x"},
			},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	require.NoError(t, err)
	c, err := cert.Parse(der)
	require.NoError(t, err)
	assert.Equal(t, cert.Profile{Name: "Ivan navI", Organization: "OOO", Title: "Head"}, c.Profile)
	assert.Equal(t, "0A", c.Serial())
	assert.Equal(t, cert.UnknownKey, c.ProblemAt(now), "ed25519 is in no table")
}

func TestParseRefuses(t *testing.T) {
	pki, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	der := pki.Root.Certificate.Raw
	for name, in := range map[string][]byte{
		"empty": nil, "cut": der[:len(der)-1], "more": append(bytes.Clone(der), 0), "large": make([]byte, cert.MaxSize+1),
	} {
		_, err := cert.Parse(in)
		assert.Error(t, err, name)
	}
	for name, in := range map[string]string{
		"nothing": "", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"broken": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		_, err := cert.ParsePEM([]byte(in))
		assert.Error(t, err, name)
	}
}

func TestPEM(t *testing.T) {
	pki, err := testcerts.New(testcerts.Options{Now: now})
	require.NoError(t, err)
	l, err := pki.Issue(testcerts.LeafSpec{Name: "ИВАНОВ ИВАН", IIN: "900101300123", Email: "ivan@example.kz"})
	require.NoError(t, err)
	list, err := cert.ParsePEM([]byte("comment\n" + l.ChainPEM()))
	require.NoError(t, err)
	require.Len(t, list, 3)
	assert.Equal(t, l.Certificate.Raw, list[0].Raw)
	assert.Equal(t, "ivan@example.kz", list[0].Profile.Email)
	assert.Equal(t, cert.NoProblem, list[0].ProblemAt(now))
	assert.Equal(t, cert.NotForSigning, list[1].ProblemAt(now))
	assert.Len(t, list[0].Fingerprint(), 64)
	auth, err := pki.Issue(testcerts.LeafSpec{Name: "ИВАНОВ ИВАН", IIN: "900101300123", Usage: testcerts.Authentication})
	require.NoError(t, err)
	assert.Equal(t, cert.NotForSigning, auth.Certificate.ProblemAt(now))
}
