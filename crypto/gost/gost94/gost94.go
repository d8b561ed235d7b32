// Package gost94 is the hash function of GOST R 34.11-94 (RFC 5831), the
// same as GOST 34.311-95 of Kazakhstan, with 256 bits and a zero start.
//
// The standard leaves the substitution of its cipher open. Two sets are in
// use: Russia's certificates have id-GostR3411-94-CryptoProParamSet (RFC 4357
// section 11.2), those of NCA RK id-GostR3411-94-TestParamSet (observed in
// each of its GOST 34.310-2004 certificates).
//
// Messages and digests are byte streams in the order in which certificates
// and CMS carry them; RFC 5831 prints numbers, most significant byte first.
package gost94

import (
	"encoding/binary"
	"hash"
	"math/bits"
	"sync"
)

// Lengths in bytes.
const (
	Size      = 32
	BlockSize = 32
)

// block is a number of 256 bits, the least significant word first: the order
// of the byte stream.
type block [4]uint64

// A digest is the state between two writes.
type digest struct {
	t     *lookup
	h     block
	sigma block // sum of the blocks modulo 2^256
	n     block // bits hashed so far
	buf   [BlockSize]byte
	used  int // bytes of buf
}

var (
	cryptoPro = sync.OnceValue(func() *lookup { return expand(&cryptoProSet) })
	test      = sync.OnceValue(func() *lookup { return expand(&testSet) })
)

// NewCryptoPro returns the state of GOST R 34.11-94 with
// id-GostR3411-94-CryptoProParamSet (1.2.643.2.2.30.1). It implements
// hash.Cloner.
func NewCryptoPro() hash.Hash { return &digest{t: cryptoPro()} }

// NewTest returns the state of GOST 34.311-95 as NCA RK uses it, with
// id-GostR3411-94-TestParamSet (1.2.643.2.2.30.0, in Kazakhstan
// 1.2.398.3.10.1.3.1.1.0). It implements hash.Cloner.
func NewTest() hash.Hash { return &digest{t: test()} }

// Reset forgets what was written.
func (d *digest) Reset() { *d = digest{t: d.t} }

// Size returns 32.
func (d *digest) Size() int { return Size }

// BlockSize returns 32.
func (d *digest) BlockSize() int { return BlockSize }

// Clone returns a state that goes on from this one. It never fails.
func (d *digest) Clone() (hash.Cloner, error) {
	c := *d
	return &c, nil
}

// Write never fails.
func (d *digest) Write(p []byte) (int, error) {
	written := len(p)
	if d.used > 0 {
		n := copy(d.buf[d.used:], p)
		d.used += n
		p = p[n:]
		if d.used < BlockSize {
			return written, nil
		}
		d.absorb(&d.buf, 8*BlockSize)
		d.used = 0
	}
	for ; len(p) >= BlockSize; p = p[BlockSize:] {
		d.absorb((*[BlockSize]byte)(p), 8*BlockSize)
	}
	d.used = copy(d.buf[:], p)
	return written, nil
}

// Sum appends the digest to in and leaves the state as it was.
func (d *digest) Sum(in []byte) []byte {
	c := *d
	if c.used > 0 {
		clear(c.buf[c.used:])
		c.absorb(&c.buf, uint64(c.used)*8)
	}
	c.step(&c.n)
	c.step(&c.sigma)
	for _, w := range c.h {
		in = binary.LittleEndian.AppendUint64(in, w)
	}
	return in
}

// absorb hashes one block of which size bits are the message.
func (d *digest) absorb(p *[BlockSize]byte, size uint64) {
	var m block
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	d.step(&m)
	d.sigma.add(&m)
	d.n.add(&block{size})
}

// add is addition modulo 2^256.
func (b *block) add(x *block) {
	var carry uint64
	for i := range b {
		b[i], carry = bits.Add64(b[i], x[i], carry)
	}
}
