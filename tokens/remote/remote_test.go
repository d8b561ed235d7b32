package remote_test

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"tanba/tokens/remote"
	"tanba/tokens/tokentest"
)

func softHSM(t testing.TB, b *tokentest.Bed) *remote.Driver {
	t.Helper()
	d, err := remote.New(remote.Config{Host: tokentest.BuildHost(t), Library: b.Module, Env: b.Env})
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestSuiteSoftHSM(t *testing.T) {
	b := tokentest.SoftHSM(t)
	var certs []*x509.Certificate
	for _, p := range b.PKI.Pairs {
		certs = append(certs, p.Certificate)
	}
	tokentest.Run(t, func(t *testing.T) tokentest.Env {
		return tokentest.Env{Driver: softHSM(t, b), PIN: b.PIN, WrongPIN: "9999", Certificates: certs}
	})
}
