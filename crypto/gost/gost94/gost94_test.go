package gost94_test

import (
	"encoding/hex"
	"hash"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/gost/gost94"
)

// vectors: RFC 5831 section 7.3 (the two with "message" in the name, as byte
// streams) and what the OpenSSL gost engine and Kalkan (observed) make.
var vectors = []struct {
	name, message, cryptoPro, test string
}{
	{
		"empty", "",
		"981e5f3ca30c841487830f84fb433e13ac1101569b9c13584ac483234cd656c0",
		"ce85b99cc46752fffee35cab9a7b0278abb4c2d2055cff685af4912c49490f8d",
	},
	{
		"abc", "abc",
		"b285056dbf18d7392d7677369524dd14747459ed8143997e163b2986f92fd42c",
		"f3134348c44fb1b2a277729e2285ebb5cb5e0f29c975bc753b70497c06a4d51d",
	},
	{
		"20 bytes", "KZ GOST test message",
		"38ae03894035ce6d65bff0641c6b1174684adb3ec1f0c1900ec3b08792de305b",
		"b2b22694766468c25517c78885e358614999fdd5d0e71e5aed50f2f1af34ae68",
	},
	{
		"32 bytes", "This is message, length=32 bytes",
		"2cefc2f7b7bdc514e18ea57fa74ff357e7fa17d652c75f69cb1be7893ede48eb",
		"b1c466d37519b82e8319819ff32595e047a28cb6f83eff1c6916a815a637fffa",
	},
	{
		"50 bytes", "Suppose the original message has length = 50 bytes",
		"c3730c5cbccacf915ac292676f21e8bd4ef75331d9405e5f1a61dc3130a65011",
		"471aba57a60a770d3a76130635c1fbea4ef14de51f78b4ae57dd893b62f55208",
	},
}

func sum(h hash.Hash, m string) string {
	h.Write([]byte(m))
	return hex.EncodeToString(h.Sum(nil))
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			assert.Equal(t, v.cryptoPro, sum(gost94.NewCryptoPro(), v.message))
			assert.Equal(t, v.test, sum(gost94.NewTest(), v.message))
		})
	}
}

func TestPieces(t *testing.T) {
	data := []byte(strings.Repeat("\xff", 200) + strings.Repeat("таңба ", 40))
	for _, fresh := range []func() hash.Hash{gost94.NewCryptoPro, gost94.NewTest} {
		whole := fresh()
		whole.Write(data)
		want := whole.Sum(nil)
		require.Len(t, want, gost94.Size)
		for piece := 1; piece <= 70; piece++ {
			h := fresh()
			for rest := data; len(rest) > 0; {
				n := min(piece, len(rest))
				h.Write(rest[:n])
				rest = rest[n:]
				_ = h.Sum(nil) // does not disturb
			}
			assert.Equal(t, want, h.Sum(nil), "pieces of %d", piece)
		}
	}
}

func TestHashInterface(t *testing.T) {
	h := gost94.NewTest()
	assert.Equal(t, 32, h.BlockSize())
	assert.Equal(t, 32, h.Size())
	h.Write([]byte("ab"))
	c, err := h.(hash.Cloner).Clone()
	require.NoError(t, err)
	h.Write([]byte("x"))
	assert.Equal(t, vectors[1].test, sum(c, "c"))
	assert.Equal(t, []byte("in"), h.Sum([]byte("in"))[:2])
	h.Reset()
	assert.Equal(t, vectors[1].test, sum(h, "abc"))
}

func TestNoAllocation(t *testing.T) {
	h := gost94.NewCryptoPro()
	data := make([]byte, 4096)
	out := make([]byte, 0, 32)
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		h.Write(data)
		h.Sum(out)
	}))
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("таңба"), uint16(3))
	f.Add(make([]byte, 100), uint16(32))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		i := int(at) % (len(data) + 1)
		whole, pieces := gost94.NewTest(), gost94.NewTest()
		whole.Write(data)
		pieces.Write(data[:i])
		pieces.Write(data[i:])
		assert.Equal(t, whole.Sum(nil), pieces.Sum(nil))
	})
}

func Benchmark(b *testing.B) {
	h := gost94.NewTest()
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		h.Write(data)
	}
}
