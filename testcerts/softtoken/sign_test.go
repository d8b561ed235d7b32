package softtoken_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/testcerts"
	"tanba/testcerts/softtoken"
)

// What stands before a SHA-256 digest in a DigestInfo (RFC 8017 section 9.2, note 1).
const sha256Prefix = "3031300d060960864801650304020105000420"

// sign makes one signature through the probe.
func (p *probe) sign(session, key, mech, pss, data string) []byte {
	p.t.Helper()
	require.Equal(p.t, "0", p.call("signinit %s %s %s %s", session, mech, key, pss), "C_SignInit")
	f := strings.Fields(p.call("sign %s %s 1024", session, data))
	require.Len(p.t, f, 3)
	require.Equal(p.t, "0", f[0], "C_Sign")
	sig, err := hex.DecodeString(f[2])
	require.NoError(p.t, err)
	return sig
}

const noPSS = "0 0 0"

func TestSignaturesVerify(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P256, testcerts.P384)
	p := b.probe(t)
	s := p.open(true)
	d256, d384, d512 := sha256.Sum256([]byte("contract")), sha512.Sum384([]byte("contract")), sha512.Sum512([]byte("contract"))
	for range 10 {
		key := b.leaves["0a01"].Key.Public().(*rsa.PublicKey)
		sig := p.sign(s, p.key(s, "0a01"), "1", noPSS, sha256Prefix+hex.EncodeToString(d256[:]))
		assert.NoError(t, rsa.VerifyPKCS1v15(key, crypto.SHA256, d256[:], sig))
		for _, c := range []struct {
			params string
			hash   crypto.Hash
			digest []byte
			salt   int
		}{
			{"250 2 32", crypto.SHA256, d256[:], 32}, {"260 3 48", crypto.SHA384, d384[:], 48}, {"270 4 64", crypto.SHA512, d512[:], 64},
			{"250 2 0", crypto.SHA256, d256[:], 0}, {"250 2 222", crypto.SHA256, d256[:], 222},
		} {
			sig := p.sign(s, p.key(s, "0a01"), "d", c.params, hex.EncodeToString(c.digest))
			opts := &rsa.PSSOptions{SaltLength: c.salt, Hash: c.hash}
			if c.salt == 0 { // Go's 0 is "find out"; a salt of none is only met by finding out
				opts.SaltLength = rsa.PSSSaltLengthAuto
			}
			assert.NoError(t, rsa.VerifyPSS(key, c.hash, c.digest, sig, opts), c.params)
		}
		for id, digest := range map[string][]byte{"0a02": d256[:], "0a03": d384[:]} {
			key := b.leaves[id].Key.Public().(*ecdsa.PublicKey)
			for _, dg := range [][]byte{digest, d512[:], d256[:20]} { // as long as the order, longer, shorter
				sig := p.sign(s, p.key(s, id), "1041", noPSS, hex.EncodeToString(dg))
				n := len(sig) / 2
				require.Equal(t, key.Params().BitSize/8, n)
				assert.True(t, ecdsa.Verify(key, dg, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])), id)
			}
		}
	}
	assert.Equal(t, "0", p.call("final"))
	p.end()
}

func TestOtherKeySizes(t *testing.T) {
	for _, bits := range []int{2112, 3072, 4096} {
		b := newBed(t)
		k, err := rsa.GenerateKey(nil, bits)
		require.NoError(t, err)
		require.NoError(t, b.r.Add(softtoken.Object{Label: "k", ID: []byte{1}, Key: k}))
		p := b.probe(t)
		s := p.open(true)
		d := sha256.Sum256([]byte("x"))
		sig := p.sign(s, p.key(s, "01"), "1", noPSS, sha256Prefix+hex.EncodeToString(d[:]))
		assert.NoError(t, rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, d[:], sig), bits)
		sig = p.sign(s, p.key(s, "01"), "d", "250 2 32", hex.EncodeToString(d[:]))
		assert.NoError(t, rsa.VerifyPSS(&k.PublicKey, crypto.SHA256, d[:], sig, nil), bits)
		p.end()
	}
}

func TestSignRefusals(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P256)
	p := b.probe(t)
	s := p.open(false)
	assert.Equal(t, "101", p.call("signinit %s 1 1 0 0 0", s), "not logged in")
	require.Equal(t, "0", p.call("login %s 1 %s", s, pin))
	rk, ek := p.key(s, "0a01"), p.key(s, "0a02")
	assert.Equal(t, "60", p.call("signinit %s 1 99999 0 0 0", s), "no such key")
	assert.Equal(t, "70", p.call("signinit %s 40 %s 0 0 0", s, rk), "CKM_SHA256_RSA_PKCS is not offered")
	assert.Equal(t, "63", p.call("signinit %s 1041 %s 0 0 0", s, rk))
	assert.Equal(t, "63", p.call("signinit %s 1 %s 0 0 0", s, ek))
	assert.Equal(t, "63", p.call("signinit %s 1 %s 0 0 0", s, p.find(s, 2, "0a01")[0]), "public key")
	assert.Equal(t, "71", p.call("signinit %s d %s 220 1 20", s, rk), "SHA-1 in PSS")
	assert.Equal(t, "71", p.call("signinit %s 1 %s 250 2 32", s, rk), "parameters where there are none")
	assert.Equal(t, "91 1024", p.call("sign %s 00 1024", s))
	require.Equal(t, "0", p.call("signinit %s 1 %s 0 0 0", s, rk))
	assert.Equal(t, "90", p.call("signinit %s 1 %s 0 0 0", s, rk), "one is going on")
	assert.Equal(t, "0 256", p.call("sign %s 00 0", s), "the length")
	assert.Equal(t, "150 256", p.call("sign %s 00 255", s), "too little room")
	f := strings.Fields(p.call("sign %s 00 256", s))
	assert.Equal(t, "0", f[0], "the operation was still there")
	require.Equal(t, "0", p.call("signinit %s 1 %s 0 0 0", s, rk))
	assert.Equal(t, "21", strings.Fields(p.call("sign %s %s 256", s, strings.Repeat("aa", 246)))[0], "more than 256-11 bytes")
	require.Equal(t, "0", p.call("signinit %s d %s 250 2 32", s, rk))
	assert.Equal(t, "21", strings.Fields(p.call("sign %s aabb 256", s))[0], "not a SHA-256 digest")
	require.Equal(t, "0", p.call("signinit %s d %s 250 2 223", s, rk))
	assert.Equal(t, "71", strings.Fields(p.call("sign %s %s 256", s, strings.Repeat("aa", 32)))[0], "salt too long for the key")
	assert.Equal(t, "b3", p.call("signinit 4711 1 %s 0 0 0", rk))
	assert.Equal(t, "54 54 54 54", p.call("unsupported"))
	p.end()
}

func TestAlwaysAuthenticate(t *testing.T) {
	b := newBed(t)
	k, err := testcerts.NewKey(testcerts.P256)
	require.NoError(t, err)
	require.NoError(t, b.r.Add(softtoken.Object{Label: "k", ID: []byte{1}, Key: k, AlwaysAuthenticate: true}))
	p := b.probe(t)
	s := p.open(true)
	key := p.key(s, "01")
	assert.Equal(t, "0 1 01", p.call("attr %s %s 202 9", s, key))
	for range 2 {
		require.Equal(t, "0", p.call("signinit %s 1041 %s 0 0 0", s, key))
		require.Equal(t, "0", p.call("login %s 2 %s", s, pin))
		assert.Equal(t, "0", strings.Fields(p.call("sign %s aa 512", s))[0])
		require.Equal(t, "0", p.call("signinit %s 1041 %s 0 0 0", s, key))
		assert.Equal(t, "101", strings.Fields(p.call("sign %s aa 512", s))[0], "the PIN was for one signature")
	}
	assert.Equal(t, "91", p.call("login %s 2 %s", s, pin), "nothing to authenticate")
	p.end()
}

// run runs a tool in dir and returns what it printed.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, out)
	return string(out)
}

func TestPKCS11Tool(t *testing.T) {
	b := newBed(t, testcerts.RSA2048, testcerts.P256, testcerts.P384)
	dir := t.TempDir()
	lib, err := softtoken.Build(dir)
	require.NoError(t, err)
	tool := func(args ...string) string {
		return run(t, dir, []string{softtoken.EnvDir + "=" + b.dir}, "pkcs11-tool", append([]string{"--module", lib}, args...)...)
	}
	out := tool("-L")
	for _, want := range []string{"Reader 01", "token label        : Директор", "token manufacturer : Tanba", "token model        : soft", "serial num         : 0A1B2C3D", "login required", "PIN initialized", "pin min/max        : 6/32"} {
		assert.Contains(t, out, want)
	}
	assert.NotContains(t, out, "low")
	out = tool("-M")
	for _, want := range []string{"RSA-PKCS,", "RSA-PKCS-PSS,", "ECDSA,"} {
		assert.Contains(t, out, want)
	}
	out = tool("-O")
	assert.Equal(t, 3, strings.Count(out, "Certificate Object"))
	assert.Equal(t, 3, strings.Count(out, "Public Key Object"))
	assert.Zero(t, strings.Count(out, "Private Key Object"), "not before login")
	assert.Contains(t, out, "Ключ p-256")
	assert.Equal(t, 3, strings.Count(tool("-O", "--login", "--pin", pin), "Private Key Object"))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "msg"), []byte("contract"), 0o600))
	for id, l := range b.leaves {
		require.NoError(t, os.WriteFile(filepath.Join(dir, id+".crt"), []byte(l.Certificate.PEM()), 0o600))
		pub := run(t, dir, nil, "openssl", "x509", "-in", id+".crt", "-noout", "-pubkey")
		require.NoError(t, os.WriteFile(filepath.Join(dir, id+".pub"), []byte(pub), 0o600))
		if id != "0a03" { // pkcs11-tool 0.23 reads no public key on P-384, from SoftHSM neither
			tool("--read-object", "--type", "pubkey", "--id", id, "-o", "pub.der")
			der, err := os.ReadFile(filepath.Join(dir, "pub.der"))
			require.NoError(t, err)
			block, _ := pem.Decode([]byte(pub))
			assert.Equal(t, block.Bytes, der, id)
		}
		tool("--read-object", "--type", "cert", "--id", id, "-o", "cert.der")
		der, err := os.ReadFile(filepath.Join(dir, "cert.der"))
		require.NoError(t, err)
		assert.Equal(t, l.Certificate.Raw, der, id)
	}
	for _, digest := range []string{"sha256", "sha384", "sha512"} {
		run(t, dir, nil, "openssl", "dgst", "-"+digest, "-binary", "-out", digest, "msg")
	}
	sign := func(id string, in string, args ...string) {
		tool(append([]string{"--login", "--pin", pin, "--sign", "--id", id, "-i", in, "-o", "sig"}, args...)...)
	}
	prefix, err := hex.DecodeString(sha256Prefix)
	require.NoError(t, err)
	d, err := os.ReadFile(filepath.Join(dir, "sha256"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "info"), append(prefix, d...), 0o600))
	sign("0a01", "info", "-m", "RSA-PKCS")
	assert.Contains(t, run(t, dir, nil, "openssl", "dgst", "-sha256", "-verify", "0a01.pub", "-signature", "sig", "msg"), "Verified OK")
	for digest, mgf := range map[string]string{"sha256": "MGF1-SHA256", "sha384": "MGF1-SHA384", "sha512": "MGF1-SHA512"} {
		sign("0a01", digest, "-m", "RSA-PKCS-PSS", "--hash-algorithm", strings.ToUpper(digest), "--mgf", mgf, "--salt-len", "-1")
		assert.Contains(t, run(t, dir, nil, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "0a01.pub", "-sigfile", "sig", "-in", digest,
			"-pkeyopt", "digest:"+digest, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"), "Verified Successfully")
	}
	for id, digest := range map[string]string{"0a02": "sha256", "0a03": "sha384"} {
		sign(id, digest, "-m", "ECDSA", "--signature-format", "openssl")
		assert.Contains(t, run(t, dir, nil, "openssl", "pkeyutl", "-verify", "-pubin", "-inkey", id+".pub", "-sigfile", "sig", "-in", digest), "Verified Successfully")
	}
}
