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

// BenchmarkSmall is everything around the token for one small document of a
// batch; the key's own time is measured apart and taken away. "alone" does not
// use what a batch knows: the room for the CMS and the document's digest.
func BenchmarkSmall(b *testing.B) {
	for _, c := range []struct {
		name  string
		alg   sigalg.Algorithm
		batch bool
	}{
		{"rsa", sigalg.RSASHA256, true},
		{"rsa alone", sigalg.RSASHA256, false},
		{"p256", sigalg.ECDSAP256SHA256, true},
		{"p256 alone", sigalg.ECDSAP256SHA256, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := signerFor(b, c.alg)
			o := s.options()
			base := pdftest.Plain(10_000)
			h := sha256.New()
			h.Write(base)
			sum := [32]byte(h.Sum(nil))
			if c.batch {
				room, err := pades.ContentsSize(o)
				require.NoError(b, err)
				o.ContentsSize = room
			}
			var token time.Duration
			b.ReportAllocs()
			for b.Loop() {
				d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
				require.NoError(b, err)
				if c.batch {
					d.HashedSHA256(h)
				}
				p, err := d.Prepare(o)
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
				_, err = verify.OwnPDF(context.Background(), bytes.NewReader(out.Bytes()), int64(out.Len()), verify.Base{Size: int64(len(base)), SHA256: sum}, s.Certificate)
				require.NoError(b, err)
			}
			b.ReportMetric(float64((b.Elapsed()-token).Nanoseconds())/float64(b.N), "own-ns/op")
		})
	}
}
