package file_test

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"tanba/tokens"
	"tanba/tokens/file"
	"tanba/tokens/tokentest"
)

const password = "Пароль 1"

var discard = slog.New(slog.DiscardHandler)

// write makes a key file and returns its path.
func write(t testing.TB, e *pkcs12.Encoder, p *tokentest.PKI, pair tokentest.Pair) string {
	t.Helper()
	data, err := e.Encode(pair.Key, pair.Certificate, []*x509.Certificate{p.CA}, password)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key.p12")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func unlocked(t testing.TB, path string) *file.Driver {
	t.Helper()
	d := file.New(path, discard)
	t.Cleanup(func() { _ = d.Close() })
	require.NoError(t, d.Unlock(context.Background(), tokens.NewPIN([]byte(password))))
	return d
}

func TestSuite(t *testing.T) {
	p := tokentest.NewPKI(t)
	for _, pair := range p.Pairs {
		t.Run(pair.Name, func(t *testing.T) {
			path := write(t, pkcs12.Modern2023, p, pair)
			tokentest.Run(t, func(t *testing.T) tokentest.Env {
				return tokentest.Env{
					Driver: unlocked(t, path), PIN: password, WrongPIN: "Пароль 2",
					Certificates: []*x509.Certificate{pair.Certificate},
				}
			})
		})
	}
}

func TestEncodings(t *testing.T) {
	p := tokentest.NewPKI(t)
	for name, e := range map[string]*pkcs12.Encoder{
		"legacy RC2": pkcs12.LegacyRC2, "legacy DES": pkcs12.LegacyDES, "modern 2023": pkcs12.Modern2023, "modern 2026": pkcs12.Modern2026,
	} {
		t.Run(name, func(t *testing.T) {
			pair := p.Pair(t, "p256")
			d := unlocked(t, write(t, e, p, pair))
			ids := tokentest.Identities(t, d)
			require.Len(t, ids, 1)
			assert.Equal(t, pair.Certificate.Raw, ids[0].Certificate.Raw)
			require.Len(t, ids[0].Chain, 1)
			assert.Equal(t, p.CA.Raw, ids[0].Chain[0].Raw)
		})
	}
}

func TestBeforeUnlock(t *testing.T) {
	p := tokentest.NewPKI(t)
	d := file.New(write(t, pkcs12.Modern2023, p, p.Pairs[0]), discard)
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "key.p12", list[0].Label)
	assert.Empty(t, list[0].Identities)
	err = d.Unlock(t.Context(), tokens.NewPIN([]byte("wrong")))
	var pinError *tokens.PINError
	require.ErrorAs(t, err, &pinError)
	assert.Equal(t, tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINOK}, *pinError)
}

func TestBadFiles(t *testing.T) {
	p := tokentest.NewPKI(t)
	good, err := os.ReadFile(write(t, pkcs12.Modern2023, p, p.Pairs[1]))
	require.NoError(t, err)
	many, err := pkcs12.Modern2023.WithIterations(2048).Encode(p.Pairs[1].Key, p.Pairs[1].Certificate, nil, password)
	require.NoError(t, err)
	for i := 0; i+4 < len(many); i++ {
		if string(many[i:i+4]) == "\x02\x02\x08\x00" {
			many[i+2], many[i+3] = 0x7F, 0xFF
		}
	}
	alien, err := pkcs12.Modern2023.Encode(p.Pairs[0].Key, p.Pairs[1].Certificate, nil, password)
	require.NoError(t, err)
	noKey, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{p.CA}, password)
	require.NoError(t, err)
	altered := append([]byte(nil), good...)
	altered[len(altered)/2] ^= 1
	for name, c := range map[string]struct {
		data []byte
		pin  bool
	}{
		"empty":                          {data: nil},
		"text":                           {data: []byte("not a key file")},
		"truncated":                      {data: good[:len(good)-100]},
		"half":                           {data: good[:len(good)/2]},
		"too large":                      {data: append(append([]byte(nil), good...), make([]byte, file.MaxSize)...)},
		"something after":                {data: append(append([]byte(nil), good...), 0x05, 0x00)},
		"certificate of another":         {data: alien},
		"no key":                         {data: noKey},
		"altered in what the MAC covers": {data: altered, pin: true},
		"other iterations":               {data: many, pin: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.p12")
			require.NoError(t, os.WriteFile(path, c.data, 0o600))
			err := file.New(path, discard).Unlock(t.Context(), tokens.NewPIN([]byte(password)))
			require.Error(t, err)
			var pinError *tokens.PINError
			assert.Equal(t, c.pin, errors.As(err, &pinError), "%v", err)
		})
	}
}

func TestMissingAndDirectory(t *testing.T) {
	dir := t.TempDir()
	missing := file.New(filepath.Join(dir, "none.p12"), discard)
	assert.ErrorIs(t, missing.Unlock(t.Context(), tokens.NewPIN([]byte("x"))), tokens.ErrNotPresent)
	list, err := missing.List(t.Context())
	assert.NoError(t, err)
	assert.Empty(t, list)
	assert.Error(t, file.New(dir, discard).Unlock(t.Context(), tokens.NewPIN([]byte("x"))))
}

func TestFileChanged(t *testing.T) {
	p := tokentest.NewPKI(t)
	path := write(t, pkcs12.Modern2023, p, p.Pairs[1])
	d := unlocked(t, path)
	id := tokentest.Identities(t, d)[0]
	s, err := d.Open(t.Context(), id.ID)
	require.NoError(t, err)
	other, err := os.ReadFile(write(t, pkcs12.Modern2023, p, p.Pairs[2]))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, other, 0o600))
	assert.ErrorIs(t, s.Login(t.Context(), tokens.NewPIN([]byte(password))), tokens.ErrNotPresent)
	require.NoError(t, os.Remove(path))
	assert.ErrorIs(t, s.Login(t.Context(), tokens.NewPIN([]byte(password))), tokens.ErrNotPresent)
	_, err = d.Open(t.Context(), id.ID)
	assert.ErrorIs(t, err, tokens.ErrNotPresent)
}

// next returns the kind of the next event, within 10 seconds.
func next(t *testing.T, events <-chan tokens.Event) tokens.EventKind {
	t.Helper()
	select {
	case e := <-events:
		return e.Kind
	case <-time.After(10 * time.Second):
		require.Fail(t, "no event came")
		return ""
	}
}

func TestWatch(t *testing.T) {
	p := tokentest.NewPKI(t)
	path := write(t, pkcs12.Modern2023, p, p.Pairs[1])
	d := file.New(path, discard)
	events := make(chan tokens.Event)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go d.Watch(ctx, events)
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, os.Rename(path, path+".away"))
	assert.Equal(t, tokens.Removed, next(t, events))
	require.NoError(t, os.Rename(path+".away", path))
	assert.Equal(t, tokens.Inserted, next(t, events))
}
