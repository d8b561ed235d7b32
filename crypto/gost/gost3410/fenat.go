package gost3410

import (
	"math/big"

	"filippo.io/bigmod"
)

// natElement is an element modulo any prime, always below it.
type natElement struct{ n bigmod.Nat }

// natField is the field of the curves whose prime has no form of its own. It
// is some ten times slower than field4 and field8.
type natField struct {
	p     *bigmod.Modulus
	minus []byte // p-2, big-endian
}

func newNatField(p *big.Int) field[natElement] {
	return natField{modulus(p), new(big.Int).Sub(p, big.NewInt(2)).Bytes()}
}

// words returns the element's words; z gets them on its first use only, so
// that goroutines may share what they only read.
func (f natField) words(z *natElement) []uint {
	if len(z.n.Bits()) == 0 {
		z.n.ExpandFor(f.p)
	}
	return z.n.Bits()
}

func (f natField) set(z, x *natElement) {
	copy(f.words(z), f.words(x))
}

func (f natField) pick(z, x *natElement, mask uint64) {
	zw, xw := f.words(z), f.words(x)
	for i := range zw {
		zw[i] ^= (zw[i] ^ xw[i]) & uint(mask)
	}
}

func (f natField) choose(z *affine[natElement], row *[16]affine[natElement], d uint32) {
	f.words(&z.x)
	f.words(&z.y)
	for i := range row {
		mask := nought(uint32(i+1) ^ d)
		f.pick(&z.x, &row[i].x, mask)
		f.pick(&z.y, &row[i].y, mask)
	}
}

func (f natField) add(z, x, y *natElement) {
	if z == y {
		x, y = y, x
	}
	f.words(y)
	f.set(z, x)
	z.n.Add(&y.n, f.p)
}

func (f natField) sub(z, x, y *natElement) {
	f.words(y)
	if z == y && z != x {
		var t natElement
		f.set(&t, y)
		y = &t
	}
	f.set(z, x)
	z.n.Sub(&y.n, f.p)
}

func (f natField) mul(z, x, y *natElement) {
	if z == y {
		x, y = y, x
	}
	f.words(y)
	f.set(z, x)
	z.n.Mul(&y.n, f.p)
}

func (f natField) sqr(z, x *natElement) { f.mul(z, x, x) }

func (f natField) invert(z, x *natElement) {
	f.words(x)
	var r natElement
	f.words(&r)
	r.n.Exp(&x.n, f.minus, f.p)
	f.set(z, &r)
}

func (f natField) setBytes(z *natElement, b []byte) bool {
	if len(b) != f.p.Size() {
		return false
	}
	_, err := z.n.SetBytes(b, f.p)
	return err == nil
}

func (f natField) bytes(x *natElement) []byte {
	f.words(x)
	return x.n.Bytes(f.p)
}

func (f natField) isZero(x *natElement) bool {
	f.words(x)
	return x.n.IsZero() == 1
}

func (f natField) equal(x, y *natElement) bool {
	f.words(x)
	f.words(y)
	return x.n.Equal(&y.n) == 1
}
