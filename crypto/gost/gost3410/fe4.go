package gost3410

import (
	"encoding/binary"
	"math/bits"
)

// fe4 is an element modulo 2^256-617, in words, the least significant first. It
// is any number below 2^256; only bytes, isZero and equal take the remainder.
type fe4 [4]uint64

// field4 is the field of the CryptoPro-A and the TC26 256-A curves.
type field4 struct{}

func (field4) set(z, x *fe4)    { *z = *x }
func (field4) mul(z, x, y *fe4) { mul4(z, x, y) }
func (field4) sqr(z, x *fe4)    { sqr4(z, x) }

func (field4) pick(z, x *fe4, mask uint64) {
	for i := range z {
		z[i] ^= (z[i] ^ x[i]) & mask
	}
}

func (field4) choose(z *affine[fe4], row *[16]affine[fe4], d uint32) {
	choose4(z, row, d)
}

func (field4) add(z, x, y *fe4) {
	t0, c := bits.Add64(x[0], y[0], 0)
	t1, c := bits.Add64(x[1], y[1], c)
	t2, c := bits.Add64(x[2], y[2], c)
	t3, c := bits.Add64(x[3], y[3], c)
	// A carry is worth 617; if adding that carries again, less than 617 is left.
	t0, c = bits.Add64(t0, c*617, 0)
	t1, c = bits.Add64(t1, 0, c)
	t2, c = bits.Add64(t2, 0, c)
	t3, c = bits.Add64(t3, 0, c)
	t0 += c * 617
	*z = fe4{t0, t1, t2, t3}
}

func (field4) sub(z, x, y *fe4) {
	t0, c := bits.Sub64(x[0], y[0], 0)
	t1, c := bits.Sub64(x[1], y[1], c)
	t2, c := bits.Sub64(x[2], y[2], c)
	t3, c := bits.Sub64(x[3], y[3], c)
	// As in add; if taking 617 borrows again, t0 is above 2^64-617.
	t0, c = bits.Sub64(t0, c*617, 0)
	t1, c = bits.Sub64(t1, 0, c)
	t2, c = bits.Sub64(t2, 0, c)
	t3, c = bits.Sub64(t3, 0, c)
	t0 -= c * 617
	*z = fe4{t0, t1, t2, t3}
}

// reduced returns x below p.
func (x *fe4) reduced() fe4 {
	var t fe4
	var c uint64
	t[0], c = bits.Add64(x[0], 617, 0)
	for i := 1; i < len(t); i++ {
		t[i], c = bits.Add64(x[i], 0, c)
	}
	// x is p or more exactly if x+617 does not fit; then t is x-p.
	for i := range t {
		t[i] ^= (t[i] ^ x[i]) & (c - 1)
	}
	return t
}

// invert raises x to p-2 = 2^256-619, four bits at a time.
func (f field4) invert(z, x *fe4) {
	var powers [16]fe4
	powers[0][0] = 1
	for i := 1; i < len(powers); i++ {
		mul4(&powers[i], &powers[i-1], x)
	}
	r := powers[15] // the top four bits
	for shift := 256 - 8; shift >= 0; shift -= 4 {
		for range 4 {
			sqr4(&r, &r)
		}
		// The exponent is known: all its bits but the last ten are ones.
		digit := 15
		if shift < 12 {
			digit = (1<<12 - 619) >> shift & 15
		}
		mul4(&r, &r, &powers[digit])
	}
	*z = r
}

func (field4) setBytes(z *fe4, b []byte) bool {
	if len(b) != 32 {
		return false
	}
	for i := range z {
		z[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return z.reduced() == *z
}

func (field4) bytes(x *fe4) []byte {
	r := x.reduced()
	b := make([]byte, 32)
	for i, w := range r {
		binary.BigEndian.PutUint64(b[24-8*i:], w)
	}
	return b
}

func (field4) isZero(x *fe4) bool   { return x.reduced() == fe4{} }
func (field4) equal(x, y *fe4) bool { return x.reduced() == y.reduced() }
