package streebog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/gost/streebog"
)

// message1 and message2 are M1 and M2 of RFC 6986 section 10, as byte
// streams (the RFC prints them reversed).
var (
	message1 = "012345678901234567890123456789012345678901234567890123456789012"
	message2 = "d1e520e2e5f2f0e82c20d1f2f0e8e1eee6e820e2edf3f6e82c20e2e5fef2fa20f120eceef0ff20f1f2f0e5ebe0ece820ede020f5f0e0e1f0fbff20efebfaeafb20c8e3eef0e5e2fb"
)

// vectors: RFC 6986 section 10; the empty message and "abc" as the OpenSSL
// gost engine has them.
var vectors = []struct {
	name, message, sum256, sum512 string
}{
	{
		"empty", "",
		"3f539a213e97c802cc229d474c6aa32a825a360b2a933a949fd925208d9ce1bb",
		"8e945da209aa869f0455928529bcae4679e9873ab707b55315f56ceb98bef0a7362f715528356ee83cda5f2aac4c6ad2ba3a715c1bcd81cb8e9f90bf4c1c1a8a",
	},
	{
		"abc", "abc",
		"4e2919cf137ed41ec4fb6270c61826cc4fffb660341e0af3688cd0626d23b481",
		"28156e28317da7c98f4fe2bed6b542d0dab85bb224445fcedaf75d46e26d7eb8d5997f3e0915dd6b7f0aab08d9c8beb0d8c64bae2ab8b3c8c6bc53b3bf0db728",
	},
	{
		"M1", message1,
		"9d151eefd8590b89daa6ba6cb74af9275dd051026bb149a452fd84e5e57b5500",
		"1b54d01a4af5b9d5cc3d86d68d285462b19abc2475222f35c085122be4ba1ffa00ad30f8767b3a82384c6574f024c311e2a481332b08ef7f41797891c1646f48",
	},
	{
		"M2", unhex(message2),
		"9dd2fe4e90409e5da87f53976d7405b0c0cac628fc669a741d50063c557e8f50",
		"1e88e62226bfca6f9994f1f2d51569e0daf8475a3b0fe61a5300eee46d961376035fe83549ada2b8620fcd7c496ce5b33f0cb9dddc2b6460143b03dabac9fb28",
	},
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func sum(h hash.Hash, m string) string {
	h.Write([]byte(m))
	return hex.EncodeToString(h.Sum(nil))
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			assert.Equal(t, v.sum256, sum(streebog.New256(), v.message))
			assert.Equal(t, v.sum512, sum(streebog.New512(), v.message))
			s256, s512 := streebog.Sum256([]byte(v.message)), streebog.Sum512([]byte(v.message))
			assert.Equal(t, v.sum256, hex.EncodeToString(s256[:]))
			assert.Equal(t, v.sum512, hex.EncodeToString(s512[:]))
		})
	}
}

// Long sums of bytes carry through every word of the checksum: blocks of 0xff
// and of a growing pattern, whole against in pieces of every length.
func TestPieces(t *testing.T) {
	data := []byte(strings.Repeat("\xff", 300) + strings.Repeat("таңба ", 40))
	for _, fresh := range []func() hash.Hash{streebog.New256, streebog.New512} {
		whole := fresh()
		whole.Write(data)
		want := whole.Sum(nil)
		require.Len(t, want, whole.Size())
		for piece := 1; piece <= 130; piece++ {
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
	h := streebog.New256()
	assert.Equal(t, 64, h.BlockSize())
	assert.Equal(t, 32, h.Size())
	assert.Equal(t, 64, streebog.New512().Size())
	h.Write([]byte("ab"))
	c, err := h.(hash.Cloner).Clone()
	require.NoError(t, err)
	h.Write([]byte("x"))
	assert.Equal(t, vectors[1].sum256, sum(c, "c"))
	assert.Equal(t, []byte("in"), h.Sum([]byte("in"))[:2])
	h.Reset()
	assert.Equal(t, vectors[1].sum256, sum(h, "abc"))
}

func TestNoAllocation(t *testing.T) {
	h := streebog.New512()
	block := make([]byte, 4096)
	out := make([]byte, 0, 64)
	assert.Zero(t, testing.AllocsPerRun(10, func() {
		h.Write(block)
		h.Sum(out)
	}))
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte("таңба"), uint16(3))
	f.Add([]byte(message1+message1), uint16(64))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		i := int(at) % (len(data) + 1)
		h := streebog.New512()
		h.Write(data[:i])
		h.Write(data[i:])
		want := streebog.Sum512(data)
		assert.Equal(t, want[:], h.Sum(nil))
	})
}

func benchmark(b *testing.B, h hash.Hash) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		h.Write(data)
	}
}

func Benchmark256(b *testing.B) { benchmark(b, streebog.New256()) }
func Benchmark512(b *testing.B) { benchmark(b, streebog.New512()) }

// BenchmarkSmall is one digest of a short message: 4 compressions.
func BenchmarkSmall(b *testing.B) {
	for b.Loop() {
		streebog.Sum512(nil)
	}
}

// BenchmarkSHA256 is the yardstick for how loaded the machine is.
func BenchmarkSHA256(b *testing.B) { benchmark(b, sha256.New()) }
