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
	// fixed has, for each four bits of a scalar, the multiples 0 to 15 of the
	// base point; with only the first row where the field is slow.
	fixed func() [][16]point[E]
	// odd has the odd multiples of the base point as affine points, for the
	// verifier.
	odd func() []point[E]
}

// fullTable says for which fields fixed has all rows: building them takes as
// long as twenty signatures in the first place.
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
	g.fixed = sync.OnceValue(func() [][16]point[E] { return g.multiples(fullTable) })
	g.odd = sync.OnceValue(g.oddMultiples)
	return g
}

// affine reads an affine point from big-endian coordinates and reports
// whether it is on the curve.
func (g *group[E]) affine(p *point[E], x, y []byte) bool {
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
	return g.affine(&p, x, y)
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
func (g *group[E]) multiples(full bool) [][16]point[E] {
	rows := 1
	if full {
		rows = 2 * g.size
	}
	t := make([][16]point[E], rows)
	a := new(adder[E])
	var b point[E]
	g.setPoint(&b, &g.base)
	for i := range t {
		g.setIdentity(&t[i][0])
		for j := 1; j < 16; j++ {
			g.add(a, &t[i][j], &t[i][j-1], &b)
		}
		g.add(a, &b, &t[i][15], &b)
	}
	return t
}

// mulBase returns the affine coordinates of k times the base point,
// big-endian. k is a big-endian number of the group's size, and secret: which
// instructions run and which memory is read does not depend on it. ok is
// false if the result is the identity.
func (g *group[E]) mulBase(k []byte) (x, y []byte, ok bool) {
	t := g.fixed()
	a := new(adder[E])
	var r, chosen point[E]
	g.setIdentity(&r)
	if len(t) > 1 {
		for i := range t {
			g.choose(&chosen, &t[i], digit(k, i))
			g.add(a, &r, &r, &chosen)
		}
	} else {
		for i := 2*len(k) - 1; i >= 0; i-- {
			for range 4 {
				g.add(a, &r, &r, &r)
			}
			g.choose(&chosen, &t[0], digit(k, i))
			g.add(a, &r, &r, &chosen)
		}
	}
	ok = !g.f.isZero(&r.z)
	g.f.invert(&r.z, &r.z)
	g.f.mul(&r.x, &r.x, &r.z)
	g.f.mul(&r.y, &r.y, &r.z)
	return g.f.bytes(&r.x), g.f.bytes(&r.y), ok
}

// digit returns bits 4i to 4i+3 of the big-endian number k.
func digit(k []byte, i int) byte {
	return k[len(k)-1-i/2] >> (4 * (i % 2)) & 15
}

// choose sets z to t[d], reading all of t.
func (g *group[E]) choose(z *point[E], t *[16]point[E], d byte) {
	for i := range t {
		// All ones if i is d: the difference is below 2^8.
		mask := uint64(int64(uint64(byte(i)^d)-1) >> 63)
		g.f.pick(&z.x, &t[i].x, mask)
		g.f.pick(&z.y, &t[i].y, mask)
		g.f.pick(&z.z, &t[i].z, mask)
	}
}

// An adder is the memory of add.
type adder[E any] struct{ t0, t1, t2, t3, t4, t5, x, y, z E }

// add sets r to p+q on homogeneous points by the complete formulas of Renes,
// Costello and Batina (eprint 2015/1060): no case of p and q is special, as
// long as p-q is not of order two, which no point of the subgroup of prime
// order is.
func (g *group[E]) add(w *adder[E], r, p, q *point[E]) {
	if g.minusThree {
		g.addMinusThree(w, p, q)
	} else {
		g.addAny(w, p, q)
	}
	g.f.set(&r.x, &w.x)
	g.f.set(&r.y, &w.y)
	g.f.set(&r.z, &w.z)
}

// products sets t0, t1, t2 to the products of the coordinates and returns in
// xy, yz, xz the sums X1Y2+X2Y1 and so on.
func (g *group[E]) products(w *adder[E], p, q *point[E], xy, yz, xz *E) {
	f := g.f
	f.mul(&w.t0, &p.x, &q.x)
	f.mul(&w.t1, &p.y, &q.y)
	f.mul(&w.t2, &p.z, &q.z)
	g.cross(w, xy, &p.x, &p.y, &q.x, &q.y, &w.t0, &w.t1)
	g.cross(w, yz, &p.y, &p.z, &q.y, &q.z, &w.t1, &w.t2)
	g.cross(w, xz, &p.x, &p.z, &q.x, &q.z, &w.t0, &w.t2)
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

// addMinusThree is algorithm 4 of the paper, for a = -3.
func (g *group[E]) addMinusThree(w *adder[E], p, q *point[E]) {
	f := g.f
	t0, t1, t2, t3, t4, x, y, z := &w.t0, &w.t1, &w.t2, &w.t3, &w.t4, &w.x, &w.y, &w.z
	g.products(w, p, q, t3, t4, &w.t5)
	f.set(y, &w.t5)
	f.mul(z, &g.b, t2)
	f.sub(x, y, z)
	f.add(z, x, x)
	f.add(x, x, z)
	f.sub(z, t1, x)
	f.add(x, t1, x)
	f.mul(y, &g.b, y)
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

// addAny is algorithm 1 of the paper, for any a.
func (g *group[E]) addAny(w *adder[E], p, q *point[E]) {
	f := g.f
	t0, t1, t2, t3, t4, t5, x, y, z := &w.t0, &w.t1, &w.t2, &w.t3, &w.t4, &w.t5, &w.x, &w.y, &w.z
	g.products(w, p, q, t3, t5, t4)
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
