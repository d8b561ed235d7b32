package pkcs11_test

import (
	"crypto"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/tokens"
	"tanba/tokens/pkcs11"
	"tanba/tokens/tokentest"
)

func open(t testing.TB, path string) *pkcs11.Driver {
	t.Helper()
	d, err := pkcs11.Open(path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// One library can be initialised once in a process, so the suite runs with
// one driver after the other.
func TestSuiteInProcess(t *testing.T) {
	b := tokentest.SoftHSM(t)
	b.Setenv(t)
	var certs []*x509.Certificate
	for _, p := range b.PKI.Pairs {
		certs = append(certs, p.Certificate)
	}
	tokentest.Run(t, func(t *testing.T) tokentest.Env {
		return tokentest.Env{Driver: open(t, b.Module), PIN: b.PIN, WrongPIN: "9999", Certificates: certs}
	})
}

func TestTokenAsListed(t *testing.T) {
	b := tokentest.SoftHSM(t)
	b.AddToken(t, "ВТОРОЙ")
	b.Setenv(t)
	d := open(t, b.Module)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2, "the slot with an uninitialised token is left out")
	first, second := list[0], list[1]
	if first.Label != b.Label {
		first, second = second, first
	}
	assert.Equal(t, b.Label, first.Label)
	assert.Equal(t, "ВТОРОЙ", second.Label)
	assert.Len(t, first.Serial, 16)
	assert.Equal(t, "SoftHSM project", first.Manufacturer)
	assert.Equal(t, b.Module, first.Library)
	assert.Equal(t, tokens.PINOK, first.PIN)
	assert.Equal(t, 4, first.MinPIN)
	assert.Equal(t, 255, first.MaxPIN)
	assert.False(t, first.ProtectedPath)
	require.Len(t, first.Identities, 3, "the authority's certificate is no identity")
	for _, i := range first.Identities {
		require.Len(t, i.Chain, 1)
		assert.Equal(t, b.PKI.CA.Raw, i.Chain[0].Raw)
		assert.Contains(t, []string{"rsa", "p256", "p384"}, i.Label)
	}
	assert.Empty(t, second.Identities)
}

func TestPINStateAfterWrongPIN(t *testing.T) {
	b := tokentest.SoftHSM(t)
	b.Setenv(t)
	d := open(t, b.Module)
	id := tokentest.Identities(t, d)[0]
	s, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	err = s.Login(t.Context(), tokens.NewPIN([]byte("9999")))
	var pinError *tokens.PINError
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINCountLow}, *pinError)
	var call *tokens.CallError
	require.ErrorAs(t, err, &call)
	assert.Equal(t, tokens.CallError{Call: "C_Login", Code: 0xA0, Name: "CKR_PIN_INCORRECT"}, *call)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tokens.PINCountLow, list[0].PIN)
	for name, c := range map[string]struct {
		pin    string
		reason tokens.PINReason
	}{"short": {"123", tokens.PINLength}, "long": {string(make([]byte, 256)), tokens.PINLength}, "tab": {"12\t4", tokens.PINChars}} {
		t.Run(name, func(t *testing.T) {
			require.ErrorAs(t, s.Login(t.Context(), tokens.NewPIN([]byte(c.pin))), &pinError)
			assert.Equal(t, c.reason, pinError.Reason)
			assert.NotErrorAs(t, s.Login(t.Context(), tokens.NewPIN([]byte(c.pin))), &call, "the token was not asked")
		})
	}
}

// sign unlocks the identity of a certificate and makes five signatures.
func sign(t *testing.T, d *pkcs11.Driver, b *tokentest.Bed, c *x509.Certificate) {
	t.Helper()
	for _, id := range tokentest.Identities(t, d) {
		if !id.Certificate.X509.Equal(c) {
			continue
		}
		s := tokentest.Unlock(t, d, id.ID, b.PIN)
		for _, alg := range id.Algorithms {
			digests := tokentest.Digests(alg, 5)
			n := 0
			for sig, err := range s.Sign(t.Context(), alg, digests) {
				require.NoError(t, err)
				tokentest.Verify(t, alg, c.PublicKey, digests[n], sig)
				n++
			}
			assert.Equal(t, 5, n)
		}
		require.NoError(t, s.Close())
		return
	}
	require.Fail(t, "the certificate is no identity")
}

func TestOddPairs(t *testing.T) {
	p := tokentest.NewPKI(t)
	// Two keys of each kind are enough, and RSA keys take long to make.
	keys, turn := map[string][]crypto.Signer{}, 0
	for _, kind := range []string{"rsa", "p256", "p384"} {
		keys[kind] = []crypto.Signer{tokentest.Key(t, kind), tokentest.Key(t, kind)}
	}
	pair := func(kind string, id byte) tokentest.Pair {
		turn++
		k := keys[kind][turn%2]
		return tokentest.Pair{Name: kind, Key: k, Certificate: p.Issue(t, kind, k.Public(), false), ID: []byte{id}}
	}
	for _, kind := range []string{"rsa", "p256"} {
		t.Run(kind+", two keys with one CKA_ID", func(t *testing.T) {
			b := tokentest.EmptySoftHSM(t)
			one, two := pair(kind, 7), pair(kind, 7)
			b.ImportKey(t, one)
			b.ImportPrivateKey(t, two)
			b.ImportCertificate(t, one.Certificate, one.ID, "one")
			b.ImportCertificate(t, two.Certificate, two.ID, "two")
			b.Setenv(t)
			d := open(t, b.Module)
			sign(t, d, b, one.Certificate)
		})
		t.Run(kind+", private keys alone with one CKA_ID", func(t *testing.T) {
			b := tokentest.EmptySoftHSM(t)
			one, two := pair(kind, 7), pair(kind, 7)
			b.ImportPrivateKey(t, one)
			b.ImportPrivateKey(t, two)
			b.ImportCertificate(t, one.Certificate, one.ID, "one")
			b.ImportCertificate(t, two.Certificate, two.ID, "two")
			b.Setenv(t)
			d := open(t, b.Module)
			sign(t, d, b, one.Certificate)
			sign(t, d, b, two.Certificate)
		})
		t.Run(kind+", certificate with another CKA_ID", func(t *testing.T) {
			b := tokentest.EmptySoftHSM(t)
			one, two := pair(kind, 7), pair(kind, 8)
			b.ImportPrivateKey(t, one)
			b.ImportPrivateKey(t, two)
			b.ImportCertificate(t, one.Certificate, []byte{9}, "one")
			b.Setenv(t)
			d := open(t, b.Module)
			sign(t, d, b, one.Certificate)
		})
		t.Run(kind+", key of another certificate", func(t *testing.T) {
			b := tokentest.EmptySoftHSM(t)
			one, two := pair(kind, 7), pair(kind, 7)
			b.ImportKey(t, one)
			b.ImportCertificate(t, two.Certificate, two.ID, "two")
			b.Setenv(t)
			d := open(t, b.Module)
			list, err := d.List(t.Context())
			require.NoError(t, err)
			require.Len(t, list[0].Identities, 1)
			assert.Empty(t, list[0].Identities[0].Algorithms)
			assert.NotEmpty(t, list[0].Identities[0].Problem)
		})
	}
	t.Run("no key at all", func(t *testing.T) {
		b := tokentest.EmptySoftHSM(t)
		one := pair("rsa", 7)
		b.ImportCertificate(t, one.Certificate, one.ID, "one")
		b.Setenv(t)
		d := open(t, b.Module)
		id := tokentest.Identities(t, d)[0]
		s, err := d.Open(t.Context(), id.ID)
		require.NoError(t, err)
		assert.ErrorIs(t, s.Login(t.Context(), tokens.NewPIN([]byte(b.PIN))), tokens.ErrNotPresent)
		require.NoError(t, s.Close())
		list, err := d.List(t.Context())
		require.NoError(t, err)
		assert.NotEmpty(t, list[0].Identities[0].Problem, "after the login we know")
	})
	t.Run("EC key of another curve", func(t *testing.T) {
		b := tokentest.EmptySoftHSM(t)
		one, two := pair("p384", 7), pair("p256", 7)
		b.ImportPrivateKey(t, one)
		b.ImportPrivateKey(t, two)
		b.ImportCertificate(t, two.Certificate, two.ID, "two")
		b.Setenv(t)
		d := open(t, b.Module)
		sign(t, d, b, two.Certificate)
	})
}

// The token's folder goes while a session is logged in: what SoftHSM has for
// pulling a token.
func TestRemovedWhileUsed(t *testing.T) {
	b := tokentest.SoftHSM(t)
	b.Setenv(t)
	d := open(t, b.Module)
	id := tokentest.Identities(t, d)[0]
	s := tokentest.Unlock(t, d, id.ID, b.PIN)
	require.NoError(t, os.Rename(b.Dir, b.Dir+".away"))
	var failed error
	for _, err := range s.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 3)) {
		failed = err
	}
	assert.ErrorIs(t, failed, tokens.ErrRemoved)
	var call *tokens.CallError
	assert.ErrorAs(t, failed, &call)
	_ = s.Close()
	_, err := d.Open(t.Context(), id.ID)
	assert.ErrorIs(t, err, tokens.ErrNotPresent)
}

func TestLoginsTakeTurns(t *testing.T) {
	b := tokentest.SoftHSM(t)
	b.Setenv(t)
	d := open(t, b.Module)
	id := tokentest.Identities(t, d)[0]
	first := tokentest.Unlock(t, d, id.ID, b.PIN)
	second, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- second.Login(t.Context(), tokens.NewPIN([]byte("9999"))) }()
	select {
	case <-done:
		require.Fail(t, "the second login did not wait")
	case <-time.After(200 * time.Millisecond):
	}
	for _, err := range first.Sign(t.Context(), id.Algorithms[0], tokentest.Digests(id.Algorithms[0], 5)) {
		require.NoError(t, err, "a running job is not disturbed")
	}
	require.NoError(t, first.Close())
	var pinError *tokens.PINError
	assert.ErrorAs(t, <-done, &pinError, "its PIN is checked by the token")
	// A refused login lets the next one in.
	third := tokentest.Unlock(t, d, id.ID, b.PIN)
	require.NoError(t, third.Close())
	require.NoError(t, second.Close())
}

func TestRefusedLibraries(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	self, err := os.Executable()
	require.NoError(t, err)
	for name, path := range map[string]string{
		"relative": "libsofthsm2.so", "up": "../x.so", "empty": "", "missing": filepath.Join(dir, "none.so"), "folder": dir,
		"text": write("text.so", "hello, this is text"), "empty file": write("empty.so", ""), "short": write("short.so", "\x7fE"),
		"broken": write("broken.so", "\x7fELF\x02\x01\x01"), "DLL": write("x.dll", "MZ"), "a program": self,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pkcs11.Open(path, slog.New(slog.DiscardHandler))
			assert.ErrorIs(t, err, tokens.ErrLibrary)
		})
	}
}
