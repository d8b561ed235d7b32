package gost3410

import (
	"encoding/binary"
	"math/bits"
)

// fe8 is an element modulo 2^512-569, in words, the least significant first. It
// is any number below 2^512; only bytes, isZero and equal take the remainder.
type fe8 [8]uint64

// field8 is the field of the TC26 512-A and 512-C curves.
type field8 struct{}

func (field8) set(z, x *fe8)    { *z = *x }
func (field8) mul(z, x, y *fe8) { mul8(z, x, y) }
func (field8) sqr(z, x *fe8)    { sqr8(z, x) }

func (field8) pick(z, x *fe8, mask uint64) {
	for i := range z {
		z[i] ^= (z[i] ^ x[i]) & mask
	}
}

func (field8) choose(z *affine[fe8], row *[16]affine[fe8], d uint32) {
	choose8(z, row, d)
}

func (field8) add(z, x, y *fe8) {
	t0, c := bits.Add64(x[0], y[0], 0)
	t1, c := bits.Add64(x[1], y[1], c)
	t2, c := bits.Add64(x[2], y[2], c)
	t3, c := bits.Add64(x[3], y[3], c)
	t4, c := bits.Add64(x[4], y[4], c)
	t5, c := bits.Add64(x[5], y[5], c)
	t6, c := bits.Add64(x[6], y[6], c)
	t7, c := bits.Add64(x[7], y[7], c)
	// A carry is worth 569; if adding that carries again, less than 569 is left.
	t0, c = bits.Add64(t0, c*569, 0)
	t1, c = bits.Add64(t1, 0, c)
	t2, c = bits.Add64(t2, 0, c)
	t3, c = bits.Add64(t3, 0, c)
	t4, c = bits.Add64(t4, 0, c)
	t5, c = bits.Add64(t5, 0, c)
	t6, c = bits.Add64(t6, 0, c)
	t7, c = bits.Add64(t7, 0, c)
	t0 += c * 569
	*z = fe8{t0, t1, t2, t3, t4, t5, t6, t7}
}

func (field8) sub(z, x, y *fe8) {
	t0, c := bits.Sub64(x[0], y[0], 0)
	t1, c := bits.Sub64(x[1], y[1], c)
	t2, c := bits.Sub64(x[2], y[2], c)
	t3, c := bits.Sub64(x[3], y[3], c)
	t4, c := bits.Sub64(x[4], y[4], c)
	t5, c := bits.Sub64(x[5], y[5], c)
	t6, c := bits.Sub64(x[6], y[6], c)
	t7, c := bits.Sub64(x[7], y[7], c)
	// As in add; if taking 569 borrows again, t0 is above 2^64-569.
	t0, c = bits.Sub64(t0, c*569, 0)
	t1, c = bits.Sub64(t1, 0, c)
	t2, c = bits.Sub64(t2, 0, c)
	t3, c = bits.Sub64(t3, 0, c)
	t4, c = bits.Sub64(t4, 0, c)
	t5, c = bits.Sub64(t5, 0, c)
	t6, c = bits.Sub64(t6, 0, c)
	t7, c = bits.Sub64(t7, 0, c)
	t0 -= c * 569
	*z = fe8{t0, t1, t2, t3, t4, t5, t6, t7}
}

// reduced returns x below p.
func (x *fe8) reduced() fe8 {
	var t fe8
	var c uint64
	t[0], c = bits.Add64(x[0], 569, 0)
	for i := 1; i < len(t); i++ {
		t[i], c = bits.Add64(x[i], 0, c)
	}
	// x is p or more exactly if x+569 does not fit; then t is x-p.
	for i := range t {
		t[i] ^= (t[i] ^ x[i]) & (c - 1)
	}
	return t
}

// invert raises x to p-2 = 2^512-571, four bits at a time.
func (f field8) invert(z, x *fe8) {
	var powers [16]fe8
	powers[0][0] = 1
	for i := 1; i < len(powers); i++ {
		mul8(&powers[i], &powers[i-1], x)
	}
	r := powers[15] // the top four bits
	for shift := 512 - 8; shift >= 0; shift -= 4 {
		for range 4 {
			sqr8(&r, &r)
		}
		// The exponent is known: all its bits but the last ten are ones.
		digit := 15
		if shift < 12 {
			digit = (1<<12 - 571) >> shift & 15
		}
		mul8(&r, &r, &powers[digit])
	}
	*z = r
}

func (field8) setBytes(z *fe8, b []byte) bool {
	if len(b) != 64 {
		return false
	}
	for i := range z {
		z[i] = binary.BigEndian.Uint64(b[56-8*i:])
	}
	return z.reduced() == *z
}

func (field8) bytes(x *fe8) []byte {
	r := x.reduced()
	b := make([]byte, 64)
	for i, w := range r {
		binary.BigEndian.PutUint64(b[56-8*i:], w)
	}
	return b
}

func (field8) isZero(x *fe8) bool   { return x.reduced() == fe8{} }
func (field8) equal(x, y *fe8) bool { return x.reduced() == y.reduced() }
