package tokentest

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/testcerts/pivcard"
)

var opensc = []string{
	"/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
	"/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
	"/usr/lib64/opensc-pkcs11.so",
}

// A PIVBed is a card service of one test, with a reader of two slots and a PIV
// card of our own in the first, reached by OpenSC's PKCS#11 library.
type PIVBed struct {
	// Module is the library's absolute path.
	Module string
	// Env holds the variables (NAME=value) that the library needs.
	Env []string
	// PIN and PUK are the card's.
	PIN, PUK string
	// Reader is the slot with Card, Second the empty one.
	Reader, Second *pivcard.Reader
	Card           *pivcard.Card
	PKI            *PKI
	// Certificates are those of Card: RSA-2048 in 9A, P-256 in 9C (the PIN for
	// each signature) and P-384 in 9E.
	Certificates []*x509.Certificate

	service *pcscd
}

// PIV starts a card service with a card in it. Debian's pcscd, opensc-pkcs11
// and vsmartcard-vpcd must be installed.
func PIV(t testing.TB) *PIVBed {
	t.Helper()
	return PIVWith(t, NewPKI(t))
}

// PIVWith is PIV with keys that were made before.
func PIVWith(t testing.TB, pki *PKI) *PIVBed {
	t.Helper()
	b := &PIVBed{PIN: "123456", PUK: "12345678", PKI: pki}
	for _, m := range opensc {
		if _, err := os.Stat(m); err == nil {
			b.Module = m
			break
		}
	}
	require.NotEmpty(t, b.Module, "OpenSC's library is not installed: apt install opensc-pkcs11")
	b.Card = b.NewCard(t)
	for _, p := range pki.Pairs {
		b.Certificates = append(b.Certificates, p.Certificate)
	}
	// Short, because a socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("", "pcscd-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b.service, err = newPCSCD(dir)
	require.NoError(t, err)
	b.Reader, b.Second = pivcard.NewReader(b.service.addrs[0]), pivcard.NewReader(b.service.addrs[1])
	t.Cleanup(b.Reader.Pull)
	t.Cleanup(b.Second.Pull)
	b.Reader.Insert(b.Card)
	home := filepath.Join(dir, "home")
	require.NoError(t, os.Mkdir(home, 0o700))
	b.Env = []string{"PCSCLITE_CSOCK_NAME=" + b.service.socket, "HOME=" + home, "XDG_CACHE_HOME=" + home}
	t.Cleanup(b.KillService)
	b.StartService(t)
	return b
}

// NewCard makes another card with the keys and certificates of the PKI.
func (b *PIVBed) NewCard(t testing.TB) *pivcard.Card {
	t.Helper()
	slots := map[string]pivcard.Slot{"rsa": pivcard.Authentication, "p256": pivcard.Signature, "p384": pivcard.CardAuthentication}
	o := pivcard.Options{PIN: b.PIN, PUK: b.PUK}
	for _, p := range b.PKI.Pairs {
		o.Keys = append(o.Keys, pivcard.Key{Slot: slots[p.Name], Key: p.Key, Certificate: p.Certificate})
	}
	c, err := pivcard.New(o)
	require.NoError(t, err)
	return c
}

// StartService starts the card service, after KillService, and waits until it
// has seen a card that is in Reader.
func (b *PIVBed) StartService(t testing.TB) {
	t.Helper()
	require.NoError(t, b.service.start())
	if !b.Reader.Occupied() {
		return
	}
	deadline := time.Now().Add(15 * time.Second)
	for !strings.Contains(b.Tool(t, "pkcs11-tool", "--module", b.Module, "--list-slots"), "token label") {
		require.True(t, time.Now().Before(deadline), "the card service does not see the card: %s", b.service.log())
	}
}

// Tool runs a program with the bed's variables and returns what it prints.
func (b *PIVBed) Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), b.Env...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// KillService ends the card service as a crash does.
func (b *PIVBed) KillService() { b.service.kill() }
