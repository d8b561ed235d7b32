package verify_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/testcerts"
)

// Our signature beside OpenSSL's, and OpenSSL's beside ours: each verifies
// both.
func TestCosignWithOpenSSL(t *testing.T) {
	doc := bytes.Repeat([]byte("договор "), 5000)
	a, b := newLeaf(t, testcerts.P256), newLeaf(t, testcerts.RSA2048)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"detached", nil}, {"attached", []string{"-nodetach"}}, {"BER", []string{"-nodetach", "-stream"}},
		{"key identifier", []string{"-nodetach", "-keyid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			theirs := opensslSign(t, a, doc, append([]string{"-cades", "-md", "sha256"}, c.args...)...)
			sd, err := cms.Parse(theirs)
			require.NoError(t, err)
			p, err := cades.Prepare(cades.Options{
				Certificate: b.Certificate, Chain: b.Chain[:1], Algorithm: sigalg.RSASHA512, SigningTime: now,
				ContentDigest: sum(sigalg.SHA512, doc), Existing: sd,
			})
			require.NoError(t, err)
			sig, err := b.Key.Sign(rand.Reader, p.Digest(), sigalg.SignerOpts(sigalg.RSASHA512))
			require.NoError(t, err)
			both, err := p.Finish(sig)
			require.NoError(t, err)
			var streamed bytes.Buffer
			require.NoError(t, p.WriteAttached(&streamed, nil, 0, sig))
			assert.Equal(t, both, streamed.Bytes())
			assert.Contains(t, string(both), string(sd.SignerInfos[0].Raw))
			require.NoError(t, verify.Own(both, sum(sigalg.SHA512, doc), b.Certificate, cades.CAdES))
			checkBoth(t, both, doc, sd.Content != nil)

			// And the other way round.
			if sd.Content == nil {
				return // OpenSSL cannot add another digest to a detached one
			}
			p, err = cades.Prepare(cades.Options{
				Certificate: b.Certificate, Chain: b.Chain[:1], Algorithm: sigalg.RSASHA256, SigningTime: now, ContentDigest: sum(sigalg.SHA256, doc),
			})
			require.NoError(t, err)
			sig, err = b.Key.Sign(rand.Reader, p.Digest(), sigalg.SignerOpts(sigalg.RSASHA256))
			require.NoError(t, err)
			var buf bytes.Buffer
			require.NoError(t, p.WriteAttached(&buf, bytes.NewReader(doc), int64(len(doc)), sig))
			ours := buf.Bytes()
			key, err := a.KeyPEM()
			require.NoError(t, err)
			dir := t.TempDir()
			for name, data := range map[string][]byte{"in": ours, "key": []byte(key), "cert": []byte(a.ChainPEM())} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
			}
			out, err := exec.Command("openssl", "cms", "-resign", "-cades", "-binary", "-nodetach", "-md", "sha256", "-inform", "DER", "-outform", "DER",
				"-in", filepath.Join(dir, "in"), "-signer", filepath.Join(dir, "cert"), "-inkey", filepath.Join(dir, "key"),
				"-out", filepath.Join(dir, "out")).CombinedOutput()
			require.NoError(t, err, string(out))
			both, err = os.ReadFile(filepath.Join(dir, "out"))
			require.NoError(t, err)
			checkBoth(t, both, doc, true)
		})
	}
}

// checkBoth has OpenSSL and us verify a file with two signatures.
func checkBoth(t *testing.T, sig, doc []byte, attached bool) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"in": sig, "doc": doc, "root": []byte(pki().Root.Certificate.PEM()), "ca": []byte(pki().CA.Certificate.PEM()),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	args := []string{
		"cms", "-verify", "-cades", "-binary", "-inform", "DER", "-in", filepath.Join(dir, "in"), "-CAfile", filepath.Join(dir, "root"),
		"-certfile", filepath.Join(dir, "ca"), "-purpose", "any", "-attime", strconv.FormatInt(now.Unix(), 10), "-out", filepath.Join(dir, "out"),
	}
	var content io.Reader
	if !attached {
		args = append(args, "-content", filepath.Join(dir, "doc"))
		content = bytes.NewReader(doc)
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "CAdES Verification successful")
	r, err := verify.Bytes(t.Context(), sig, content, trusting())
	require.NoError(t, err)
	require.Len(t, r.Signatures, 2)
	assert.True(t, r.Passed())
	for _, s := range r.Signatures {
		assert.Equal(t, verify.TotalPassed, s.Indication, s.Reason)
		assert.Equal(t, "B-B", s.Level, s.Violations)
	}
}

// Signatures made with Kalkan (NCA RK) and CryptoPro: RSA ones are judged,
// GOST ones are said to be unsupported, none is an error.
func TestOtherPeoplesFiles(t *testing.T) {
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil && os.Getenv("TANBA_REQUIRE_DATA") != "1" {
		t.Skip("test data absent: set TANBA_TESTDATA")
	}
	const kalkan, cryptopro = "kz/ncanode-test/", "ru/cryptoarm-web/"
	for _, c := range []struct {
		file, content string
		intact        []bool
	}{
		{kalkan + "CmsIntegrationTest_signed_cms.cms", "", []bool{true}},
		{kalkan + "CmsServiceTest_signed_cms.cms", "", []bool{false, true}}, // GOST, RSA
		{kalkan + "CmsServiceTest_signed_cms_one_signer.cms", "test123", []bool{true}},
		{cryptopro + "KU-digitalSignature.txt.sig", "", []bool{false}},
		{cryptopro + "sign2012-512_att.txt.sig", "", []bool{false}},
		{cryptopro + "sign2012-512_det.txt.sig", "x", []bool{false}},
		{cryptopro + "signCadesAndCosign.txt.sig", "", []bool{false, false}},
		{cryptopro + "signCadesDetached.txt.sig", "x", []bool{false}},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, c.file))
			require.NoError(t, err)
			var content io.Reader
			if c.content != "" {
				content = bytes.NewReader([]byte(c.content))
			}
			r, err := verify.Bytes(t.Context(), b, content, trusting())
			require.NoError(t, err)
			require.Len(t, r.Signatures, len(c.intact))
			for i, s := range r.Signatures {
				assert.Equal(t, verify.Indeterminate, s.Indication)
				assert.Equal(t, c.intact[i], s.Intact)
				assert.NotEmpty(t, s.Reason)
				require.NotNil(t, s.Signer)
				assert.False(t, s.SigningTime.IsZero())
				if c.intact[i] {
					assert.Equal(t, verify.NoCertificateChainFound, s.SubIndication)
					assert.Equal(t, "CMS", s.Format)
				} else {
					assert.Equal(t, verify.CryptoConstraintsFailure, s.SubIndication)
				}
			}
		})
	}
}
