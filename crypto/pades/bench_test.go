package pades_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tanba/crypto/pades"
	"tanba/crypto/pdf/pdftest"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
)

// BenchmarkSmall is everything around the token for one small document; the
// key's own time is measured apart and taken away.
func BenchmarkSmall(b *testing.B) {
	for _, alg := range []sigalg.Algorithm{sigalg.RSASHA256, sigalg.ECDSAP256SHA256} {
		b.Run(string(alg), func(b *testing.B) {
			s := signerFor(b, alg)
			base := pdftest.Plain(10_000)
			sum := sha256.Sum256(base)
			var token time.Duration
			b.ReportAllocs()
			for b.Loop() {
				d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
				require.NoError(b, err)
				p, err := d.Prepare(s.options())
				require.NoError(b, err)
				digest := p.Digest()
				at := time.Now()
				sig, err := s.sign(digest)
				token += time.Since(at)
				require.NoError(b, err)
				var out bytes.Buffer
				out.Grow(int(p.Size()))
				_, err = p.Finish(context.Background(), sig, &out)
				require.NoError(b, err)
				err = verify.OwnPDF(context.Background(), bytes.NewReader(out.Bytes()), int64(out.Len()), verify.Base{Size: int64(len(base)), SHA256: sum}, s.Certificate)
				require.NoError(b, err)
			}
			b.ReportMetric(float64((b.Elapsed()-token).Nanoseconds())/float64(b.N), "own-ns/op")
		})
	}
}
