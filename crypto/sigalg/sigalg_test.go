package sigalg_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
)

var keys = sync.OnceValue(func() map[string]crypto.Signer {
	out := map[string]crypto.Signer{}
	var err error
	for name, bits := range map[string]int{"rsa": 2048, "rsa3072": 3072} {
		if out[name], err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			panic(err)
		}
	}
	for name, c := range map[string]elliptic.Curve{"p224": elliptic.P224(), "p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		if out[name], err = ecdsa.GenerateKey(c, rand.Reader); err != nil {
			panic(err)
		}
	}
	return out
})

var table = []struct {
	alg  sigalg.Algorithm
	key  string
	oid  string
	args []string // openssl pkeyutl
}{
	{sigalg.RSASHA256, "rsa", "1.2.840.113549.1.1.11", []string{"digest:sha256"}},
	{sigalg.RSASHA384, "rsa", "1.2.840.113549.1.1.12", []string{"digest:sha384"}},
	{sigalg.RSASHA512, "rsa3072", "1.2.840.113549.1.1.13", []string{"digest:sha512"}},
	{sigalg.RSAPSSSHA256, "rsa", "1.2.840.113549.1.1.10", []string{"digest:sha256", "rsa_padding_mode:pss", "rsa_pss_saltlen:32"}},
	{sigalg.ECDSAP256SHA256, "p256", "1.2.840.10045.4.3.2", []string{"digest:sha256"}},
	{sigalg.ECDSAP384SHA384, "p384", "1.2.840.10045.4.3.3", []string{"digest:sha384"}},
}

// Each algorithm's signatures verify here and with OpenSSL; a changed bit of
// signature or digest, another key and another algorithm do not.
func TestAlgorithms(t *testing.T) {
	for _, a := range table {
		t.Run(string(a.alg), func(t *testing.T) {
			key := keys()[a.key]
			assert.True(t, a.alg.Known())
			assert.Equal(t, a.oid, a.alg.Identifier().OID.String())
			usable, err := sigalg.ForKey(key.Public())
			require.NoError(t, err)
			assert.Contains(t, usable, a.alg)
			byID, err := sigalg.ByID(a.alg.Identifier(), a.alg.Digest(), key.Public())
			require.NoError(t, err)
			assert.Equal(t, a.alg, byID)
			byID, err = sigalg.ByID(a.alg.Identifier(), "", key.Public())
			require.NoError(t, err)
			assert.Equal(t, a.alg, byID)

			h := a.alg.Digest().New()
			h.Write([]byte("contract"))
			digest := h.Sum(nil)
			sig, err := key.Sign(rand.Reader, digest, sigalg.SignerOpts(a.alg))
			require.NoError(t, err)
			assert.LessOrEqual(t, len(sig), sigalg.MaxSignatureSize(key.Public()))
			require.NoError(t, sigalg.Verify(a.alg, key.Public(), digest, sig))
			name, err := sigalg.VerifyByID(a.alg.Identifier(), a.alg.Digest(), key.Public(), digest, sig)
			require.NoError(t, err)
			assert.Equal(t, a.alg, name)
			require.NoError(t, opensslVerify(t, key.Public(), digest, sig, a.args))

			for i := range sig {
				bad := bytes.Clone(sig)
				bad[i] ^= 1
				require.ErrorIs(t, sigalg.Verify(a.alg, key.Public(), digest, bad), sigalg.ErrSignature, "byte %d", i)
			}
			for _, bad := range [][]byte{nil, sig[:len(sig)-1], append(bytes.Clone(sig), 0)} {
				require.ErrorIs(t, sigalg.Verify(a.alg, key.Public(), digest, bad), sigalg.ErrSignature)
			}
			for _, bad := range [][]byte{nil, digest[1:], append(bytes.Clone(digest), 0), make([]byte, len(digest))} {
				require.ErrorIs(t, sigalg.Verify(a.alg, key.Public(), bad, sig), sigalg.ErrSignature)
				_, err := sigalg.VerifyByID(a.alg.Identifier(), a.alg.Digest(), key.Public(), bad, sig)
				require.ErrorIs(t, err, sigalg.ErrSignature)
			}
			for _, b := range table {
				if b.alg != a.alg {
					require.Error(t, sigalg.Verify(b.alg, key.Public(), digest, sig), b.alg)
					_, err := sigalg.VerifyByID(b.alg.Identifier(), b.alg.Digest(), key.Public(), digest, sig)
					require.Error(t, err, b.alg)
				}
			}
		})
	}
}

func opensslVerify(t *testing.T, pub crypto.PublicKey, digest, sig []byte, opts []string) error {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"pub": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "digest": digest, "sig": sig,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	args := []string{"pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(dir, "pub"), "-in", filepath.Join(dir, "digest"), "-sigfile", filepath.Join(dir, "sig")}
	for _, o := range opts {
		args = append(args, "-pkeyopt", o)
	}
	return exec.Command("openssl", args...).Run()
}

func TestDigests(t *testing.T) {
	for _, d := range []struct {
		d   sigalg.Digest
		n   int
		oid string
		abc string // first octets of the digest of "abc", FIPS 180-4's examples
	}{
		{sigalg.SHA256, 32, "2.16.840.1.101.3.4.2.1", "ba7816bf8f01cfea"},
		{sigalg.SHA384, 48, "2.16.840.1.101.3.4.2.2", "cb00753f45a35e8b"},
		{sigalg.SHA512, 64, "2.16.840.1.101.3.4.2.3", "ddaf35a193617aba"},
	} {
		h := d.d.New()
		h.Write([]byte("abc"))
		assert.Equal(t, d.abc, hex.EncodeToString(h.Sum(nil)[:8]))
		assert.Equal(t, d.n, d.d.Size())
		assert.Equal(t, d.oid, d.d.Identifier().OID.String())
		for _, params := range [][]byte{nil, {5, 0}} {
			got, err := sigalg.DigestByID(sigalg.Identifier{OID: d.d.Identifier().OID, Params: params})
			require.NoError(t, err)
			assert.Equal(t, d.d, got)
		}
		_, err := sigalg.DigestByID(sigalg.Identifier{OID: d.d.Identifier().OID, Params: []byte{4, 0}})
		require.ErrorIs(t, err, sigalg.ErrUnsupported)
	}
	_, err := sigalg.DigestByID(sigalg.Identifier{OID: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}}) // SHA-1
	require.ErrorIs(t, err, sigalg.ErrUnsupported)
	assert.Zero(t, sigalg.Digest("md5").Size())
}

func TestUnsupportedKeys(t *testing.T) {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	short := *keys()["rsa"].Public().(*rsa.PublicKey)
	short.N = new(big.Int).Rsh(short.N, 1024)
	for name, k := range map[string]crypto.PublicKey{
		"ed25519": pub, "P-224": keys()["p224"].Public(), "P-521": keys()["p521"].Public(), "RSA-1024": &short, "nil": nil,
	} {
		_, err := sigalg.ForKey(k)
		assert.ErrorIs(t, err, sigalg.ErrUnsupported, name)
		assert.ErrorIs(t, sigalg.Verify(sigalg.RSASHA256, k, make([]byte, 32), make([]byte, 128)), sigalg.ErrUnsupported, name)
		_, err = sigalg.VerifyByID(sigalg.RSASHA256.Identifier(), sigalg.SHA256, k, make([]byte, 32), make([]byte, 128))
		assert.ErrorIs(t, err, sigalg.ErrUnsupported, name)
	}
	assert.False(t, sigalg.Algorithm("rsa-pkcs1-sha1").Known())
	assert.Error(t, sigalg.Verify("rsa-pkcs1-sha1", keys()["rsa"].Public(), make([]byte, 20), nil))
}

// Signatures that we do not make but read.
func TestForeignPairs(t *testing.T) {
	ecdsaOID := map[sigalg.Digest]asn1.ObjectIdentifier{
		sigalg.SHA256: {1, 2, 840, 10045, 4, 3, 2}, sigalg.SHA384: {1, 2, 840, 10045, 4, 3, 3}, sigalg.SHA512: {1, 2, 840, 10045, 4, 3, 4},
	}
	for _, d := range []sigalg.Digest{sigalg.SHA256, sigalg.SHA384, sigalg.SHA512} {
		digest := bytes.Repeat([]byte{7}, d.Size())
		for _, k := range []string{"p256", "p384", "p521"} {
			sig, err := keys()[k].Sign(rand.Reader, digest, d.CryptoHash())
			require.NoError(t, err)
			_, err = sigalg.VerifyByID(sigalg.Identifier{OID: ecdsaOID[d]}, d, keys()[k].Public(), digest, sig)
			assert.NoError(t, err, "%s %s", k, d)
			digest[0] ^= 1
			_, err = sigalg.VerifyByID(sigalg.Identifier{OID: ecdsaOID[d]}, d, keys()[k].Public(), digest, sig)
			assert.ErrorIs(t, err, sigalg.ErrSignature)
			digest[0] ^= 1
		}
		// rsaEncryption with a digest of its own (RFC 3370).
		sig, err := keys()["rsa"].Sign(rand.Reader, digest, d.CryptoHash())
		require.NoError(t, err)
		_, err = sigalg.VerifyByID(sigalg.Identifier{OID: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Params: []byte{5, 0}}, d, keys()["rsa"].Public(), digest, sig)
		assert.NoError(t, err)
	}
	_, err := sigalg.VerifyByID(sigalg.Identifier{OID: ecdsaOID[sigalg.SHA256]}, sigalg.SHA256, keys()["p224"].Public(), make([]byte, 32), []byte{1})
	assert.ErrorIs(t, err, sigalg.ErrUnsupported)
	// An identifier that names another digest than the one used.
	_, err = sigalg.VerifyByID(sigalg.Identifier{OID: ecdsaOID[sigalg.SHA256]}, sigalg.SHA384, keys()["p256"].Public(), make([]byte, 48), []byte{1})
	assert.ErrorIs(t, err, sigalg.ErrUnsupported)
}

// The salt's length is the one that the parameters state, and nothing else in
// them is taken on trust.
func TestPSSParameters(t *testing.T) {
	pss := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	sha := func(n byte, null bool) []byte {
		b := []byte{0x30, 11, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, n}
		if null {
			b[1] = 13
			b = append(b, 5, 0)
		}
		return b
	}
	wrap := func(tag byte, parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return append([]byte{tag, byte(len(b))}, b...)
	}
	mgf := func(oid byte, hash []byte) []byte {
		return wrap(0xa1, wrap(0x30, []byte{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, oid}, hash))
	}
	salt := func(n byte) []byte { return []byte{0xa2, 3, 2, 1, n} }
	digest := bytes.Repeat([]byte{9}, 32)
	sig, err := keys()["rsa"].Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256})
	require.NoError(t, err)
	for _, c := range []struct {
		name   string
		params []byte
		want   error
	}{
		{"salt 20", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(20)), nil},
		{"without NULL", wrap(0x30, wrap(0xa0, sha(1, false)), mgf(8, sha(1, false)), salt(20)), nil},
		{"salt 20 by default", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true))), nil},
		{"trailer said", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(20), []byte{0xa3, 3, 2, 1, 1}), nil},
		{"salt 32", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(32)), sigalg.ErrSignature},
		{"no salt", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(0)), sigalg.ErrUnsupported},
		{"trailer 2", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(20), []byte{0xa3, 3, 2, 1, 2}), sigalg.ErrUnsupported},
		{"another digest", wrap(0x30, wrap(0xa0, sha(3, true)), mgf(8, sha(1, true)), salt(20)), sigalg.ErrUnsupported},
		{"another digest in MGF1", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(3, true)), salt(20)), sigalg.ErrUnsupported},
		{"another MGF", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(9, sha(1, true)), salt(20)), sigalg.ErrUnsupported},
		{"all by default: SHA-1", []byte{0x30, 0}, sigalg.ErrUnsupported},
		{"absent", nil, sigalg.ErrUnsupported},
		{"more after", append(wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(20)), 0), sigalg.ErrUnsupported},
		{"more in it", wrap(0x30, wrap(0xa0, sha(1, true)), mgf(8, sha(1, true)), salt(20), []byte{5, 0}), sigalg.ErrUnsupported},
	} {
		_, err := sigalg.VerifyByID(sigalg.Identifier{OID: pss, Params: c.params}, sigalg.SHA256, keys()["rsa"].Public(), digest, sig)
		if c.want == nil {
			assert.NoError(t, err, c.name)
		} else {
			assert.ErrorIs(t, err, c.want, c.name)
		}
	}
}
