package gost3410

import (
	"math/big"
	"sync"
)

// A point is (X:Y:Z), homogeneous (x = X/Z, y = Y/Z) in the constant-time
// code, Jacobian (x = X/Z^2, y = Y/Z^3) in the verifier's.
type point[E any] struct{ x, y, z E }

// A group is the points of a short Weierstrass curve y^2 = x^3+ax+b over one
// field.
type group[E any] struct {
	f          field[E]
	a, b, b3   E    // b3 is 3b
	minusThree bool // a is p-3
	base       point[E]
	one        E
	size       int // bytes of a coordinate
	// fixed has, for each five bits of a scalar, the multiples 1 to 16 of the
	// base point's multiple by 2^(5i), as affine points; with only the first
	// row where the field is slow.
	fixed func() [][16]affine[E]
	// odd has the base point's tables for the verifier.
	odd func() parts[E]
}

// An affine is the point (x, y).
type affine[E any] struct{ x, y E }

// fullTable says for which fields fixed has all rows: making them takes as
// long as some ten signatures.
func newGroup[E any](f field[E], size int, fullTable bool, a, b, x, y, p *big.Int) *group[E] {
	g := &group[E]{f: f, size: size}
	read := func(z *E, v *big.Int) {
		if !f.setBytes(z, v.FillBytes(make([]byte, size))) {
			panic("gost3410: curve parameter out of range")
		}
	}
	read(&g.a, a)
	read(&g.b, b)
	read(&g.b3, new(big.Int).Mod(new(big.Int).Mul(b, big.NewInt(3)), p))
	read(&g.one, big.NewInt(1))
	read(&g.base.x, x)
	read(&g.base.y, y)
	read(&g.base.z, big.NewInt(1))
	g.minusThree = new(big.Int).Sub(p, a).Cmp(big.NewInt(3)) == 0
	g.fixed = sync.OnceValue(func() [][16]affine[E] { return g.multiples(fullTable) })
	g.odd = sync.OnceValue(func() parts[E] { return g.split(&g.base, baseWindow) })
	return g
}

// read reads an affine point from big-endian coordinates and reports whether
// it is on the curve.
func (g *group[E]) read(p *point[E], x, y []byte) bool {
	if !g.f.setBytes(&p.x, x) || !g.f.setBytes(&p.y, y) {
		return false
	}
	g.f.set(&p.z, &g.one)
	var l, r E
	g.f.sqr(&l, &p.y)
	g.f.sqr(&r, &p.x)
	g.f.add(&r, &r, &g.a)
	g.f.mul(&r, &r, &p.x)
	g.f.add(&r, &r, &g.b)
	return g.f.equal(&l, &r)
}

// onCurve reports whether the affine point is on the curve.
func (g *group[E]) onCurve(x, y []byte) bool {
	var p point[E]
	return g.read(&p, x, y)
}

func (g *group[E]) setPoint(z, p *point[E]) {
	g.f.set(&z.x, &p.x)
	g.f.set(&z.y, &p.y)
	g.f.set(&z.z, &p.z)
}

// setIdentity sets z to the homogeneous (0:1:0).
func (g *group[E]) setIdentity(z *point[E]) {
	var zero E
	g.f.set(&z.x, &zero)
	g.f.set(&z.y, &g.one)
	g.f.set(&z.z, &zero)
}

// multiples makes the rows of fixed.
func (g *group[E]) multiples(full bool) [][16]affine[E] {
	rows := 1
	if full {
		rows = (8*g.size)/5 + 1
	}
	all := make([]point[E], 16*rows)
	a := new(adder[E])
	var b point[E]
	g.setPoint(&b, &g.base)
	for i := range rows {
		row := all[16*i : 16*i+16]
		g.setPoint(&row[0], &b)
		for j := 1; j < 16; j++ {
			g.add(a, &row[j], &row[j-1], &b)
		}
		g.add(a, &b, &row[15], &row[15])
	}
	t := make([][16]affine[E], rows)
	for i, inverse := range g.inverses(all) {
		p := &t[i/16][i%16]
		g.f.mul(&p.x, &all[i].x, &inverse)
		g.f.mul(&p.y, &all[i].y, &inverse)
	}
	return t
}

// inverses returns 1/Z of each point; no Z is zero.
func (g *group[E]) inverses(points []point[E]) []E {
	before := make([]E, len(points)) // the product of all Z before this one
	var product, inverse E
	g.f.set(&product, &g.one)
	for i := range points {
		g.f.set(&before[i], &product)
		g.f.mul(&product, &product, &points[i].z)
	}
	g.f.invert(&inverse, &product)
	for i := len(points) - 1; i >= 0; i-- {
		g.f.mul(&before[i], &before[i], &inverse)
		g.f.mul(&inverse, &inverse, &points[i].z)
	}
	return before
}

// mulBase returns the affine coordinates of k times the base point,
// big-endian. k is a big-endian number of the group's size, and secret: which
// instructions run and which memory is read does not depend on it. ok is
// false if the result is the identity.
func (g *group[E]) mulBase(k []byte) (x, y []byte, ok bool) {
	t := g.fixed()
	a := new(adder[E])
	var r point[E]
	g.setIdentity(&r)
	for i := 8 * len(k) / 5; i >= 0; i-- {
		if len(t) > 1 {
			g.addDigit(a, &r, &t[i], window(k, i))
			continue
		}
		for range 5 {
			g.add(a, &r, &r, &r)
		}
		g.addDigit(a, &r, &t[0], window(k, i))
	}
	ok = !g.f.isZero(&r.z)
	g.f.invert(&r.z, &r.z)
	g.f.mul(&r.x, &r.x, &r.z)
	g.f.mul(&r.y, &r.y, &r.z)
	return g.f.bytes(&r.x), g.f.bytes(&r.y), ok
}

// window returns bits 5i-1 to 5i+4 of the big-endian number k; the bits
// outside of it are zero.
func window(k []byte, i int) uint32 {
	at := func(n int) uint32 {
		if n < 0 || n >= len(k) {
			return 0
		}
		return uint32(k[len(k)-1-n])
	}
	first := 5*i - 1
	if first < 0 {
		return at(0) << 1 & 63
	}
	return (at(first/8) | at(first/8+1)<<8) >> (first % 8) & 63
}

// addDigit adds to r the multiple of a row that the six bits of window call
// for. The lowest of them is the highest of the window below: where it is set,
// that window stood for 32 less than its bits. So the multiple is -16 to 16
// (Booth's recoding).
func (g *group[E]) addDigit(w *adder[E], r *point[E], row *[16]affine[E], bits uint32) {
	negative := -(bits >> 5) // all ones or zero
	d := (bits ^ negative) & 63
	d = d>>1 + d&1
	p := &w.chosen
	g.f.choose(p, row, d)
	g.f.sub(&w.negative, &w.zero, &p.y)
	g.f.pick(&p.y, &w.negative, uint64(int64(int32(negative)))) //nolint:gosec // the sign is spread
	g.addAffine(w, r, p, ^nought(d))
}

// nought returns all ones if d is zero, else zero; d is below 2^31.
func nought(d uint32) uint64 { return uint64((int64(d) - 1) >> 63) } //nolint:gosec // the sign is spread

// An adder is the memory of add.
type adder[E any] struct {
	t0, t1, t2, t3, t4, t5, x, y, z E
	zero, negative                  E // zero always is
	chosen                          affine[E]
}

// add sets r to p+q on homogeneous points by the complete formulas of Renes,
// Costello and Batina (eprint 2015/1060): no case of p and q is special, as
// long as p-q is not of order two, which no point of the subgroup of prime
// order is.
func (g *group[E]) add(w *adder[E], r, p, q *point[E]) {
	f := g.f
	f.mul(&w.t0, &p.x, &q.x)
	f.mul(&w.t1, &p.y, &q.y)
	f.mul(&w.t2, &p.z, &q.z)
	g.cross(w, &w.t3, &p.x, &p.y, &q.x, &q.y, &w.t0, &w.t1)
	g.cross(w, &w.t4, &p.y, &p.z, &q.y, &q.z, &w.t1, &w.t2)
	g.cross(w, &w.t5, &p.x, &p.z, &q.x, &q.z, &w.t0, &w.t2)
	g.finish(w)
	f.set(&r.x, &w.x)
	f.set(&r.y, &w.y)
	f.set(&r.z, &w.z)
}

// addAffine adds q to r if mask is all ones and leaves r if mask is zero, in
// the same time.
func (g *group[E]) addAffine(w *adder[E], r *point[E], q *affine[E], mask uint64) {
	f := g.f
	f.mul(&w.t0, &r.x, &q.x)
	f.mul(&w.t1, &r.y, &q.y)
	f.set(&w.t2, &r.z)
	g.cross(w, &w.t3, &r.x, &r.y, &q.x, &q.y, &w.t0, &w.t1)
	f.mul(&w.t4, &q.y, &r.z)
	f.add(&w.t4, &w.t4, &r.y)
	f.mul(&w.t5, &q.x, &r.z)
	f.add(&w.t5, &w.t5, &r.x)
	g.finish(w)
	f.pick(&r.x, &w.x, mask)
	f.pick(&r.y, &w.y, mask)
	f.pick(&r.z, &w.z, mask)
}

// finish makes the sum in x, y, z from t0 = X1X2, t1 = Y1Y2, t2 = Z1Z2,
// t3 = X1Y2+X2Y1, t4 = Y1Z2+Y2Z1 and t5 = X1Z2+X2Z1.
func (g *group[E]) finish(w *adder[E]) {
	if g.minusThree {
		g.finishMinusThree(w)
	} else {
		g.finishAny(w)
	}
}

// cross sets z to a1*b2+a2*b1 = (a1+b1)(a2+b2) - a1a2 - b1b2.
func (g *group[E]) cross(w *adder[E], z, a1, b1, a2, b2, a1a2, b1b2 *E) {
	f := g.f
	f.add(&w.x, a1, b1)
	f.add(&w.y, a2, b2)
	f.mul(z, &w.x, &w.y)
	f.sub(z, z, a1a2)
	f.sub(z, z, b1b2)
}

// finishMinusThree is the rest of algorithms 4 and 5 of the paper, for a = -3.
func (g *group[E]) finishMinusThree(w *adder[E]) {
	f := g.f
	t0, t1, t2, t3, t4, t5, x, y, z := &w.t0, &w.t1, &w.t2, &w.t3, &w.t4, &w.t5, &w.x, &w.y, &w.z
	f.mul(z, &g.b, t2)
	f.sub(x, t5, z)
	f.add(z, x, x)
	f.add(x, x, z)
	f.sub(z, t1, x)
	f.add(x, t1, x)
	f.mul(y, &g.b, t5)
	f.add(t1, t2, t2)
	f.add(t2, t1, t2)
	f.sub(y, y, t2)
	f.sub(y, y, t0)
	f.add(t1, y, y)
	f.add(y, t1, y)
	f.add(t1, t0, t0)
	f.add(t0, t1, t0)
	f.sub(t0, t0, t2)
	f.mul(t1, t4, y)
	f.mul(t2, t0, y)
	f.mul(y, x, z)
	f.add(y, y, t2)
	f.mul(x, t3, x)
	f.sub(x, x, t1)
	f.mul(z, t4, z)
	f.mul(t1, t3, t0)
	f.add(z, z, t1)
}

// finishAny is the rest of algorithms 1 and 2 of the paper, for any a; its t4
// and t5 are the other way round.
func (g *group[E]) finishAny(w *adder[E]) {
	f := g.f
	t0, t1, t2, t3, t5, t4, x, y, z := &w.t0, &w.t1, &w.t2, &w.t3, &w.t4, &w.t5, &w.x, &w.y, &w.z
	f.mul(z, &g.a, t4)
	f.mul(x, &g.b3, t2)
	f.add(z, x, z)
	f.sub(x, t1, z)
	f.add(z, t1, z)
	f.mul(y, x, z)
	f.add(t1, t0, t0)
	f.add(t1, t1, t0)
	f.mul(t2, &g.a, t2)
	f.mul(t4, &g.b3, t4)
	f.add(t1, t1, t2)
	f.sub(t2, t0, t2)
	f.mul(t2, &g.a, t2)
	f.add(t4, t4, t2)
	f.mul(t0, t1, t4)
	f.add(y, y, t0)
	f.mul(t0, t5, t4)
	f.mul(x, t3, x)
	f.sub(x, x, t0)
	f.mul(t0, t3, t1)
	f.mul(z, t5, z)
	f.add(z, z, t0)
}
