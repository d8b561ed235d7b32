package pkcs11_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens/tokentest"
)

// BenchmarkBatch200 signs batches of 200 in this process, each signature
// checked.
func BenchmarkBatch200(b *testing.B) {
	bed := tokentest.SoftHSM(b)
	for _, e := range bed.Env {
		b.Setenv("SOFTHSM2_CONF", e[len("SOFTHSM2_CONF="):])
	}
	for _, alg := range []sigalg.Algorithm{sigalg.RSASHA256, sigalg.ECDSAP256SHA256} {
		b.Run(string(alg), func(b *testing.B) {
			d := open(b, bed.Module)
			defer func() { _ = d.Close() }()
			for _, id := range tokentest.Identities(b, d) {
				if id.Algorithms[0] != alg {
					continue
				}
				s := tokentest.Unlock(b, d, id.ID, bed.PIN)
				digests := tokentest.Digests(alg, 200)
				n := 0
				for b.Loop() {
					for _, err := range s.Sign(b.Context(), alg, digests) {
						if err != nil {
							b.Fatal(err)
						}
						n++
					}
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "signatures/s")
				require.NoError(b, s.Close())
			}
		})
	}
}
