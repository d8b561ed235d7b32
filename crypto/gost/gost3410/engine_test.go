package gost3410

import (
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"tanba/crypto/gost/gost94"
	"tanba/crypto/gost/streebog"
)

// engine runs OpenSSL with its gost engine in a folder of the test's own.
type engine struct {
	t   *testing.T
	dir string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("judged on Linux alone, where OpenSSL has a gost engine")
	}
	dirs, err := exec.Command("openssl", "version", "-e").Output()
	require.NoError(t, err, "install openssl and libengine-gost-openssl")
	m := regexp.MustCompile(`"(.+)"`).FindSubmatch(dirs)
	require.NotNil(t, m)
	e := &engine{t, t.TempDir()}
	e.write("openssl.cnf", fmt.Appendf(nil, "openssl_conf = d\n[d]\nengines = e\n[e]\ngost = g\n[g]\nengine_id = gost\ndynamic_path = %s/gost.so\ndefault_algorithms = ALL\n", m[1]))
	return e
}

func (e *engine) path(name string) string { return filepath.Join(e.dir, name) }

func (e *engine) write(name string, b []byte) {
	e.t.Helper()
	require.NoError(e.t, os.WriteFile(e.path(name), b, 0o600))
}

func (e *engine) try(args ...string) ([]byte, error) {
	cmd := exec.Command("openssl", args...)
	cmd.Dir = e.dir
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+e.path("openssl.cnf"))
	return cmd.Output()
}

func (e *engine) run(args ...string) []byte {
	e.t.Helper()
	out, err := e.try(args...)
	require.NoError(e.t, err, "openssl %v", args)
	return out
}

// verifies reports whether the engine accepts a signature (s‖r).
func (e *engine) verifies(spki, digest, sig []byte) bool {
	e.t.Helper()
	e.write("pub.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	e.write("digest", digest)
	e.write("sig", sig)
	_, err := e.try("pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-in", "digest", "-sigfile", "sig")
	return err == nil
}

// readPKCS8 reads the engine's private key: a little-endian OCTET STRING, or
// the same as a big-endian INTEGER.
func readPKCS8(t *testing.T, der []byte, c *Curve) *PrivateKey {
	t.Helper()
	in := cryptobyte.String(der)
	var p8, octets cryptobyte.String
	var version int
	require.True(t, in.ReadASN1(&p8, cbasn1.SEQUENCE) && p8.ReadASN1Integer(&version) &&
		p8.SkipASN1(cbasn1.SEQUENCE) && p8.ReadASN1(&octets, cbasn1.OCTET_STRING))
	d := []byte(octets)
	var inner cryptobyte.String
	if len(d) != c.size {
		require.True(t, octets.ReadASN1(&inner, cbasn1.OCTET_STRING))
		d = inner
	}
	key, err := NewPrivateKey(c, d, LittleEndian)
	require.NoError(t, err)
	return key
}

// For every key that the engine can make: we verify its signatures, it ours,
// and neither what was altered.
func TestEngine(t *testing.T) {
	e := newEngine(t)
	kinds := map[string][]string{
		"gost2001":     {"A", "B", "C", "XA", "XB"},
		"gost2012_256": {"A", "B", "C", "XA", "XB", "TCA", "TCB", "TCC", "TCD"},
		"gost2012_512": {"A", "B", "C"},
	}
	curves := map[*Curve]bool{}
	for algorithm, paramSets := range kinds {
		for _, ps := range paramSets {
			name := algorithm + " " + ps
			e.run("genpkey", "-algorithm", algorithm, "-pkeyopt", "paramset:"+ps, "-out", "key.pem")
			spki := e.run("pkey", "-in", "key.pem", "-pubout", "-outform", "DER")
			pub := parseSPKI(t, spki)
			c := pub.Curve()
			curves[c] = true
			key := readPKCS8(t, e.run("pkey", "-in", "key.pem", "-outform", "DER"), c)
			require.True(t, pub.Equal(key.PublicKey()), name)

			digest := digestOf(c, name)
			e.write("digest", digest)
			sig := e.run("pkeyutl", "-sign", "-inkey", "key.pem", "-in", "digest")
			assert.NoError(t, pub.Verify(digest, sig, Russian), name)
			assert.ErrorIs(t, pub.Verify(digest, flip(sig, 77), Russian), ErrSignature, name)

			sig, err := key.Sign(nil, digest, Russian)
			require.NoError(t, err)
			assert.True(t, e.verifies(spki, digest, sig), name)
			assert.False(t, e.verifies(spki, digest, flip(sig, 77)), name)
			assert.False(t, e.verifies(spki, flip(digest, 9), sig), name)
			kazakh, err := Convert(sig, Russian, Kazakh)
			require.NoError(t, err)
			assert.False(t, e.verifies(spki, digest, kazakh), name)
		}
	}
	// It knows the two test sets, but makes no keys on them.
	for _, name := range []string{"id-GostR3410-2001-TestParamSet", "id-tc26-gost-3410-2012-512-paramSetTest"} {
		c, err := ByName(name)
		require.NoError(t, err)
		curves[c] = true
		key, err := GenerateKey(c)
		require.NoError(t, err)
		digest := digestOf(c, name)
		sig, err := key.Sign(nil, digest, Russian)
		require.NoError(t, err)
		spki := spkiOf(t, key.PublicKey())
		assert.True(t, e.verifies(spki, digest, sig), name)
		assert.False(t, e.verifies(spki, digest, flip(sig, 77)), name)
	}
	assert.Len(t, curves, len(Curves()))
}

// spkiOf writes a Russian SubjectPublicKeyInfo (RFC 9215 section 4).
func spkiOf(t *testing.T, k *PublicKey) []byte {
	t.Helper()
	oid := asn1.ObjectIdentifier{1, 2, 643, 7, 1, 1, 1, 1}
	digest := asn1.ObjectIdentifier{1, 2, 643, 7, 1, 1, 2, 2}
	set := asn1.ObjectIdentifier{1, 2, 643, 2, 2, 35, 0}
	if k.curve.size == 64 {
		oid[7], digest[7] = 2, 3
		set = asn1.ObjectIdentifier{1, 2, 643, 7, 1, 2, 1, 2, 0}
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(set)
				b.AddASN1ObjectIdentifier(digest)
			})
		})
		b.AddASN1(cbasn1.BIT_STRING, func(b *cryptobyte.Builder) {
			b.AddUint8(0)
			b.AddASN1OctetString(k.Bytes())
		})
	})
	der, err := b.Bytes()
	require.NoError(t, err)
	return der
}

// The digests of files whose lengths lie around the blocks.
func TestEngineDigests(t *testing.T) {
	e := newEngine(t)
	for _, n := range []int{0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 100_000} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(255 - i*i/7)
		}
		e.write("data", data)
		s256, s512, s94 := streebog.Sum256(data), streebog.Sum512(data), gost94.NewCryptoPro()
		s94.Write(data)
		for name, ours := range map[string][]byte{"md_gost12_256": s256[:], "md_gost12_512": s512[:], "md_gost94": s94.Sum(nil)} {
			if n == 0 && name == "md_gost94" {
				continue // the engine gives 3f25…, not the 981e… of the standard
			}
			assert.Equal(t, e.run("dgst", "-"+name, "-binary", "data"), ours, "%s of %d bytes", name, n)
		}
	}
}
