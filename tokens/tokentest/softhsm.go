package tokentest

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modules are the places of SoftHSM2's library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
}

// A Bed is a SoftHSM of one test: its own settings, folder and tokens.
type Bed struct {
	// Module is the library's absolute path.
	Module string
	// Env holds the variables (NAME=value) that the library needs.
	Env []string
	// Label and PIN are those of the first token.
	Label, PIN string
	// Dir is the folder of the tokens.
	Dir string
	PKI *PKI
}

// SoftHSM makes a Bed with one token that holds the pairs of a new PKI and the
// authority's certificate. Debian's softhsm2 and opensc must be installed.
func SoftHSM(t testing.TB) *Bed {
	t.Helper()
	b := EmptySoftHSM(t)
	b.PKI = NewPKI(t)
	for _, p := range b.PKI.Pairs {
		b.ImportKey(t, p)
		b.ImportCertificate(t, p.Certificate, p.ID, p.Name)
	}
	b.ImportCertificate(t, b.PKI.CA, []byte{0xCA}, "ca")
	return b
}

// EmptySoftHSM makes a Bed with one token that holds nothing.
func EmptySoftHSM(t testing.TB) *Bed {
	t.Helper()
	b := &Bed{Label: "TEST", PIN: "1234", Dir: filepath.Join(t.TempDir(), "tokens")}
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			b.Module = m
			break
		}
	}
	require.NotEmpty(t, b.Module, "SoftHSM2 is not installed: apt install softhsm2 opensc")
	require.NoError(t, os.MkdirAll(b.Dir, 0o700))
	conf := filepath.Join(filepath.Dir(b.Dir), "softhsm2.conf")
	text := "directories.tokendir = " + b.Dir + "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = true\n"
	require.NoError(t, os.WriteFile(conf, []byte(text), 0o600))
	b.Env = []string{"SOFTHSM2_CONF=" + conf}
	b.AddToken(t, b.Label)
	return b
}

// AddToken initialises one more token, with the Bed's PIN. A library that is
// running does not see it.
func (b *Bed) AddToken(t testing.TB, label string) {
	t.Helper()
	b.Tool(t, "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", b.PIN)
}

// ImportKey puts the private and the public key of p on the token.
func (b *Bed) ImportKey(t testing.TB, p Pair) {
	t.Helper()
	b.ImportPrivateKey(t, p)
	spki, err := x509.MarshalPKIXPublicKey(p.Key.Public())
	require.NoError(t, err)
	b.write(t, spki, "pubkey", p.ID, p.Name)
}

// ImportPrivateKey puts the private key of p alone on the token.
func (b *Bed) ImportPrivateKey(t testing.TB, p Pair) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	b.Tool(t, "softhsm2-util", "--import", path, "--token", b.Label, "--label", p.Name, "--id", hex.EncodeToString(p.ID),
		"--pin", b.PIN, "--force")
}

// ImportCertificate puts c on the token.
func (b *Bed) ImportCertificate(t testing.TB, c *x509.Certificate, id []byte, label string) {
	t.Helper()
	b.write(t, c.Raw, "cert", id, label)
}

func (b *Bed) write(t testing.TB, der []byte, kind string, id []byte, label string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), kind)
	require.NoError(t, os.WriteFile(path, der, 0o600))
	b.Tool(t, "pkcs11-tool", "--module", b.Module, "--token-label", b.Label, "--login", "--pin", b.PIN,
		"--write-object", path, "--type", kind, "--id", hex.EncodeToString(id), "--label", label)
}

// Tool runs a program with the Bed's variables and returns what it prints.
func (b *Bed) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), b.Env...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// Setenv gives the Bed's variables to the test's own process, for a library
// that is loaded into it.
func (b *Bed) Setenv(t *testing.T) {
	t.Helper()
	for _, e := range b.Env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}
