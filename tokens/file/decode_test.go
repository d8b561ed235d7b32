package file

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

func TestIterations(t *testing.T) {
	// params as in PBKDF2-params, inside an OCTET STRING as a safe's contents are.
	params := func(n int64) []byte {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1OctetString([]byte("saltsalt"))
					b.AddASN1Int64(n)
				})
			})
		})
		out, err := b.Bytes()
		require.NoError(t, err)
		return out
	}
	assert.NoError(t, checkIterations(params(maxIterations), 0))
	assert.Error(t, checkIterations(params(maxIterations+1), 0))
	assert.Error(t, checkIterations(params(1<<62), 0))
	deep := params(1)
	for range maxDepth + 1 {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(deep) })
		deep = b.BytesOrPanic()
	}
	assert.Error(t, checkIterations(deep, 0))
}
