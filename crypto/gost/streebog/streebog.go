// Package streebog is the hash function of GOST R 34.11-2012, the same as
// GOST 34.11-2015 of Kazakhstan, with 256 and with 512 bits (RFC 6986).
//
// Messages and digests are byte streams in the order in which certificates,
// CMS and XML carry them. RFC 6986 prints both as numbers, most significant
// byte first, that is reversed: the digest of the empty message begins with
// 8e 94 5d a2 here and ends with … a2 5d 94 8e there.
package streebog

import (
	"encoding/binary"
	"hash"
	"math/bits"
	"sync"
)

// Lengths in bytes.
const (
	Size256   = 32 // the digest of New256
	Size512   = 64 // the digest of New512
	BlockSize = 64 // of both
)

// A vector is a number of 512 bits, the least significant word first: the
// order of the byte stream.
type vector [8]uint64

// lookup holds S and L for each byte of a 64-bit vector: the byte with
// number j and value x adds lookup[j][x].
type lookup [8][256]uint64

// tables fills 16 KB on first use: that takes some microseconds and is not
// worth the start of a program which may never need it.
var tables = sync.OnceValue(func() *lookup {
	var t lookup
	for j := range t {
		for x := range t[j] {
			for k := range 8 {
				if substitution[x]>>k&1 == 1 {
					t[j][x] ^= matrix[63-8*j-k]
				}
			}
		}
	}
	return &t
})

// A digest is the state between two writes.
type digest struct {
	t        *lookup
	h        vector
	n, sigma vector // bits hashed so far; sum of the blocks
	buf      [BlockSize]byte
	used     int // bytes of buf
	size     int // of the digest, bytes
}

// New256 returns the state of Streebog with a digest of 256 bits. It
// implements hash.Cloner.
func New256() hash.Hash { return newDigest(Size256) }

// New512 returns the state of Streebog with a digest of 512 bits. It
// implements hash.Cloner.
func New512() hash.Hash { return newDigest(Size512) }

// Sum256 returns the digest of 256 bits of data.
func Sum256(data []byte) (sum [Size256]byte) {
	d := newDigest(Size256)
	d.write(data)
	s := d.finish()
	copy(sum[:], s[Size512-Size256:])
	return sum
}

// Sum512 returns the digest of 512 bits of data.
func Sum512(data []byte) [Size512]byte {
	d := newDigest(Size512)
	d.write(data)
	return d.finish()
}

func newDigest(size int) *digest {
	d := &digest{t: tables(), size: size}
	d.Reset()
	return d
}

// Reset forgets what was written.
func (d *digest) Reset() {
	*d = digest{t: d.t, size: d.size}
	if d.size == Size256 {
		for i := range d.h {
			d.h[i] = 0x0101010101010101
		}
	}
}

// Size returns the digest's length in bytes.
func (d *digest) Size() int { return d.size }

// BlockSize returns 64.
func (d *digest) BlockSize() int { return BlockSize }

// Clone returns a state that goes on from this one. It never fails.
func (d *digest) Clone() (hash.Cloner, error) {
	c := *d
	return &c, nil
}

// Write never fails.
func (d *digest) Write(p []byte) (int, error) {
	d.write(p)
	return len(p), nil
}

func (d *digest) write(p []byte) {
	if d.used > 0 {
		n := copy(d.buf[d.used:], p)
		d.used += n
		p = p[n:]
		if d.used < BlockSize {
			return
		}
		d.block(d.buf[:], 8*BlockSize)
		d.used = 0
	}
	for ; len(p) >= BlockSize; p = p[BlockSize:] {
		d.block(p[:BlockSize], 8*BlockSize)
	}
	d.used = copy(d.buf[:], p)
}

// Sum appends the digest to in and leaves the state as it was.
func (d *digest) Sum(in []byte) []byte {
	c := *d
	sum := c.finish()
	return append(in, sum[Size512-d.size:]...)
}

// finish is stage 3 of RFC 6986 section 8.3; the digest of 256 bits is the
// second half of the result.
func (d *digest) finish() (sum [Size512]byte) {
	clear(d.buf[d.used:])
	d.buf[d.used] = 1
	d.block(d.buf[:], uint64(d.used)*8) //nolint:gosec // below 64
	zero := vector{}
	d.compress(&zero, &d.n)
	d.compress(&zero, &d.sigma)
	for i, w := range d.h {
		binary.LittleEndian.PutUint64(sum[8*i:], w)
	}
	return sum
}

// block is one turn of stage 2: it hashes 64 bytes of which size bits are
// the message.
func (d *digest) block(p []byte, size uint64) {
	_ = p[BlockSize-1]
	var m vector
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	d.compress(&d.n, &m)
	d.n.add(&vector{size})
	d.sigma.add(&m)
}

// add is addition modulo 2^512.
func (v *vector) add(x *vector) {
	var carry uint64
	for i := range v {
		v[i], carry = bits.Add64(v[i], x[i], carry)
	}
}

// compress is the function g of RFC 6986 section 8.2: h becomes
// E(LPS(h^n), m) ^ h ^ m.
func (d *digest) compress(n, m *vector) {
	var k vector
	lps(d.t, &k, &d.h, n)
	s := *m
	rounds(d.t, &constants, &s, &k)
	for i := range d.h {
		d.h[i] ^= s[i] ^ k[i] ^ m[i]
	}
}
