package verify_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cades"
	"tanba/crypto/cms"
	"tanba/crypto/sigalg"
	"tanba/crypto/verify"
	"tanba/testcerts"
)

// pattern is an endless content without a byte in memory.
type pattern struct{}

var period = func() (b [4096]byte) {
	for i := range b {
		b[i] = byte(i >> 4)
	}
	return b
}()

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		n += copy(p[n:], period[(off+int64(n))%int64(len(period)):])
	}
	return len(p), nil
}

// joined is a file put together from parts.
type joined []part

type part struct {
	r    io.ReaderAt
	from int64 // in r
	size int64
}

func (j joined) size() (n int64) {
	for _, p := range j {
		n += p.size
	}
	return n
}

func (j joined) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	for _, p := range j {
		if len(b) == n {
			break
		}
		if off >= p.size {
			off -= p.size
			continue
		}
		m := min(int64(len(b)-n), p.size-off)
		if _, err := p.r.ReadAt(b[n:n+int(m)], p.from+off); err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		n, off = n+int(m), 0
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func bytesPart(b []byte) part { return part{bytes.NewReader(b), 0, int64(len(b))} }

// ends keeps the first and the last bytes written to it.
type ends struct {
	head, tail []byte
	n          int64
}

const keep = 8 << 10

func (e *ends) Write(p []byte) (int, error) {
	if room := keep - len(e.head); room > 0 {
		e.head = append(e.head, p[:min(room, len(p))]...)
	}
	e.n += int64(len(p))
	e.tail = append(e.tail, p[max(0, len(p)-keep):]...)
	if len(e.tail) > keep {
		e.tail = slices.Delete(e.tail, 0, len(e.tail)-keep)
	}
	return len(p), nil
}

// flat runs f and fails if it allocates more than bound bytes in all.
func flat(t *testing.T, what string, bound uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, bound, what)
}

const flatBound = 4 << 20

// A huge is a signature over size bytes of pattern.
type huge struct {
	size   int64
	leaf   *testcerts.Leaf
	digest []byte
	sig    []byte
	p      *cades.Pending
}

func newHuge(t *testing.T, size int64) huge {
	t.Helper()
	b := huge{size: size, leaf: newLeaf(t, testcerts.P256)}
	sums, err := cms.Sum(t.Context(), b.content(), []sigalg.Digest{sigalg.SHA256})
	require.NoError(t, err)
	b.digest = sums[sigalg.SHA256]
	b.p = b.prepare(t, nil)
	b.sig, err = b.leaf.Key.Sign(rand.Reader, b.p.Digest(), sigalg.SignerOpts(sigalg.ECDSAP256SHA256))
	require.NoError(t, err)
	return b
}

func (b huge) content() io.Reader { return io.NewSectionReader(pattern{}, 0, b.size) }

func (b huge) prepare(t *testing.T, existing *cms.SignedData) *cades.Pending {
	t.Helper()
	p, err := cades.Prepare(cades.Options{
		Certificate: b.leaf.Certificate, Algorithm: sigalg.ECDSAP256SHA256, SigningTime: now, ContentDigest: b.digest, Existing: existing,
	})
	require.NoError(t, err)
	return p
}

// A content of 320 MB is signed and verified, detached and attached, with less
// than 4 MB allocated in all.
func TestBigContentInFlatMemory(t *testing.T) {
	size := int64(320 << 20)
	if testing.Short() {
		size = 32 << 20
	}
	b := newHuge(t, size)
	der, err := b.p.Finish(b.sig)
	require.NoError(t, err)
	flat(t, "detached", flatBound, func() {
		assert.Equal(t, verify.TotalPassed, one(t, der, b.content(), trusting()).Indication)
	})

	out := &ends{}
	flat(t, "writing attached", flatBound, func() { require.NoError(t, b.p.WriteAttached(out, b.content(), size, b.sig)) })

	// The file again, without having kept it: head, pattern, tail.
	first := make([]byte, 256)
	_, _ = pattern{}.ReadAt(first, 0)
	begin := bytes.Index(out.head, first)
	require.Positive(t, begin)
	tail := out.tail[int64(len(out.tail))-(out.n-int64(begin)-size):]
	file := joined{bytesPart(out.head[:begin]), {pattern{}, 0, size}, bytesPart(tail)}
	require.Equal(t, out.n, file.size())
	flat(t, "attached", flatBound, func() {
		require.NoError(t, verify.OwnAttached(t.Context(), file, file.size(), b.digest, b.leaf.Certificate))
	})
}

// The same in BER: indefinite lengths, the content in pieces. Co-signing it
// streams too, and turns it into DER.
func TestBigBERInFlatMemory(t *testing.T) {
	const size, piece = 96 << 20, 1 << 20 // more than fits in memory by cms.MaxStructure
	b := newHuge(t, size)
	der, err := b.p.Finish(b.sig)
	require.NoError(t, err)
	sd, err := cms.Parse(der)
	require.NoError(t, err)
	digests := sd.DigestAlgorithms[0]
	tail := der[bytes.Index(der, []byte{1, 7, 1, 0xa0})+3:] // certificates and signerInfos
	ber := joined{bytesPart(slices.Concat(
		[]byte{0x30, 0x80, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2, 0xa0, 0x80, 0x30, 0x80, 2, 1, 1},
		[]byte{0x31, byte(len(digests))}, digests,
		[]byte{0x30, 0x80, 0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1, 0xa0, 0x80, 0x24, 0x80},
	))}
	for off := int64(0); off < size; off += piece {
		ber = append(ber, bytesPart([]byte{0x04, 0x83, 0x10, 0, 0}), part{pattern{}, off, piece})
	}
	ber = append(ber, bytesPart(slices.Concat(make([]byte, 6), tail, make([]byte, 6))))
	flat(t, "attached BER", flatBound, func() {
		r, err := verify.CMS(t.Context(), ber, ber.size(), nil, trusting())
		require.NoError(t, err)
		assert.Equal(t, verify.TotalPassed, r.Signatures[0].Indication, r.Signatures[0].Reason)
	})

	sd, err = cms.Open(ber, ber.size())
	require.NoError(t, err)
	assert.False(t, sd.DER)
	q := b.prepare(t, sd)
	_, err = q.Finish(b.sig)
	require.Error(t, err, "too big for memory")
	out := &ends{}
	flat(t, "co-signing", flatBound, func() { require.NoError(t, q.WriteAttached(out, nil, 0, b.sig)) })
	assert.True(t, bytes.HasSuffix(out.tail, sd.SignerInfos[0].Raw))
	assert.Greater(t, out.n, int64(size))
}

// No single flipped bit of a signature file passes for ours.
func TestFlippedBitNeverPasses(t *testing.T) {
	doc := []byte("contract")
	digest := sum(sigalg.SHA256, doc)
	l := newLeaf(t, testcerts.P256)
	der := sign(t, l, sigalg.ECDSAP256SHA256, doc)
	require.NoError(t, verify.Own(der, digest, l.Certificate, cades.CAdES))
	for i := range der {
		for bit := range 8 {
			bad := bytes.Clone(der)
			bad[i] ^= 1 << bit
			if verify.Own(bad, digest, l.Certificate, cades.CAdES) == nil {
				t.Errorf("byte %d bit %d flipped, and Own accepts it", i, bit)
			}
		}
	}
	for i := range digest {
		bad := bytes.Clone(digest)
		bad[i] ^= 1
		require.ErrorIs(t, verify.Own(der, bad, l.Certificate, cades.CAdES), verify.ErrOwn)
	}
	other := newLeaf(t, testcerts.P256)
	require.ErrorIs(t, verify.Own(der, digest, other.Certificate, cades.CAdES), verify.ErrOwn)
	require.ErrorIs(t, verify.Own(der, digest, l.Certificate, cades.PAdES), verify.ErrOwn)
}

// FuzzFlip changes any one byte of a signature and any one of its content.
func FuzzFlip(f *testing.F) {
	doc := []byte("contract")
	digest := sum(sigalg.SHA256, doc)
	type made struct {
		l   *testcerts.Leaf
		der []byte
	}
	var all []made
	for kind, alg := range map[testcerts.KeyKind]sigalg.Algorithm{
		testcerts.P256: sigalg.ECDSAP256SHA256, testcerts.RSA2048: sigalg.RSAPSSSHA256,
	} {
		l := newLeaf(f, kind)
		all = append(all, made{l, sign(f, l, alg, doc)})
	}
	for which, m := range all {
		require.NoError(f, verify.Own(m.der, digest, m.l.Certificate, cades.CAdES))
		for at := 0; at < len(m.der); at += 7 {
			f.Add(which, at, byte(1<<(at%8)))
		}
	}
	f.Fuzz(func(t *testing.T, which, at int, flip byte) {
		if flip == 0 || which < 0 || at < 0 {
			return
		}
		m := all[which%len(all)]
		bad := bytes.Clone(m.der)
		bad[at%len(bad)] ^= flip
		if err := verify.Own(bad, digest, m.l.Certificate, cades.CAdES); err == nil {
			t.Fatalf("byte %d changed by %02x, and Own accepts it", at%len(bad), flip)
		}
	})
}
