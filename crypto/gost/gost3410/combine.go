package gost3410

import "math/big"

// Widths of the windows of the verifier: the base point's odd multiples are
// made once, the public key's for each signature.
const (
	baseWindow = 8
	keyWindow  = 5
)

// A jacobian is the verifier's running point and memory. Its formulas treat
// their exceptions one by one, and take a time that tells of their inputs: all
// of those are public.
type jacobian[E any] struct {
	point[E]
	identity           bool
	t0, t1, t2, t3, t4 E
}

// combine reports whether the x of u1 times the base point plus u2 times q
// leaves the remainder r modulo order. u1 and u2 are below 2^(8*size), x and y
// are q's coordinates. It takes a time that depends on its operands.
func (g *group[E]) combine(u1, u2 *big.Int, x, y []byte, r, order, p *big.Int) bool {
	var q point[E]
	if !g.affine(&q, x, y) {
		return false
	}
	base, odd := g.odd(), g.keyMultiples(&q)
	d1, d2 := naf(u1, baseWindow), naf(u2, keyWindow)
	acc := &jacobian[E]{identity: true}
	for i := max(len(d1), len(d2)) - 1; i >= 0; i-- {
		g.double(acc)
		if i < len(d1) && d1[i] != 0 {
			g.addMultiple(acc, base, d1[i], true)
		}
		if i < len(d2) && d2[i] != 0 {
			g.addMultiple(acc, odd, d2[i], false)
		}
	}
	if acc.identity {
		return false
	}
	// x = X/Z^2 is one of r, r+order, … below p.
	var want, zz E
	g.f.sqr(&zz, &acc.z)
	for c := new(big.Int).Set(r); c.Cmp(p) < 0; c.Add(c, order) {
		g.f.setBytes(&want, c.FillBytes(make([]byte, g.size)))
		g.f.mul(&want, &want, &zz)
		if g.f.equal(&want, &acc.x) {
			return true
		}
	}
	return false
}

// naf returns the digits of k, the least significant first: each is zero or
// odd and below 2^(w-1) in size, and of w that follow one another at most one
// is not zero.
func naf(k *big.Int, w uint) []int {
	n := k.BitLen()
	digits := make([]int, n+1)
	last := 0
	carry := 0
	for i := 0; i <= n; {
		if int(k.Bit(i)) == carry { // k's bit plus the carry is even
			i++
			continue
		}
		v := carry
		for j := range w {
			v += int(k.Bit(i+int(j))) << j
		}
		carry = v >> (w - 1) & 1
		v -= carry << w
		digits[i] = v
		last = i
		i += int(w)
	}
	return digits[:last+1]
}

// oddMultiples returns P, 3P, … of the base point as affine points.
func (g *group[E]) oddMultiples() []point[E] {
	t := g.jacobianMultiples(&g.base, 1<<(baseWindow-2))
	for i := range t {
		var v, vv E
		g.f.invert(&v, &t[i].z)
		g.f.sqr(&vv, &v)
		g.f.mul(&t[i].x, &t[i].x, &vv)
		g.f.mul(&vv, &vv, &v)
		g.f.mul(&t[i].y, &t[i].y, &vv)
		g.f.set(&t[i].z, &g.one)
	}
	return t
}

// inSubgroup reports whether order times the point is the identity.
func (g *group[E]) inSubgroup(x, y []byte, order *big.Int) bool {
	var q [1]point[E]
	if !g.affine(&q[0], x, y) {
		return false
	}
	digits := naf(order, 2)
	acc := &jacobian[E]{identity: true}
	for i := len(digits) - 1; i >= 0; i-- {
		g.double(acc)
		if digits[i] != 0 {
			g.addMultiple(acc, q[:], digits[i], true)
		}
	}
	return acc.identity
}

func (g *group[E]) keyMultiples(q *point[E]) []point[E] {
	return g.jacobianMultiples(q, 1<<(keyWindow-2))
}

// jacobianMultiples returns n odd multiples of the affine point p. Those of a
// point of small order would pass the identity: newPublicKey has kept these out.
func (g *group[E]) jacobianMultiples(p *point[E], n int) []point[E] {
	t := make([]point[E], n)
	g.setPoint(&t[0], p)
	twice := &jacobian[E]{}
	g.setPoint(&twice.point, p)
	g.double(twice)
	j := &jacobian[E]{}
	g.setPoint(&j.point, p)
	for i := 1; i < n; i++ {
		g.addJacobian(j, &twice.point)
		g.setPoint(&t[i], &j.point)
	}
	return t
}

// addMultiple adds d times the point whose odd multiples t holds.
func (g *group[E]) addMultiple(j *jacobian[E], t []point[E], d int, affine bool) {
	p := &t[max(d, -d)/2]
	if d < 0 {
		var n point[E]
		var zero E
		g.f.set(&n.x, &p.x)
		g.f.sub(&n.y, &zero, &p.y)
		g.f.set(&n.z, &p.z)
		p = &n
	}
	if affine {
		g.addAffine(j, p)
	} else {
		g.addJacobian(j, p)
	}
}

// double doubles j.
func (g *group[E]) double(j *jacobian[E]) {
	if j.identity {
		return
	}
	f := g.f
	yy, xyy, slope, t, u := &j.t0, &j.t1, &j.t2, &j.t3, &j.t4
	f.sqr(t, &j.z)
	if g.minusThree { // 3X^2+aZ^4 = 3(X-Z^2)(X+Z^2)
		f.sub(u, &j.x, t)
		f.add(slope, &j.x, t)
		f.mul(slope, slope, u)
		f.add(u, slope, slope)
		f.add(slope, slope, u)
	} else {
		f.sqr(slope, &j.x)
		f.add(u, slope, slope)
		f.add(slope, slope, u)
		f.sqr(u, t)
		f.mul(u, u, &g.a)
		f.add(slope, slope, u)
	}
	f.sqr(yy, &j.y)
	f.mul(xyy, &j.x, yy)
	// Z' = 2YZ
	f.mul(&j.z, &j.y, &j.z)
	f.add(&j.z, &j.z, &j.z)
	// X' = slope^2 - 8XY^2
	f.add(xyy, xyy, xyy)
	f.add(xyy, xyy, xyy)
	f.sqr(&j.x, slope)
	f.sub(&j.x, &j.x, xyy)
	f.sub(&j.x, &j.x, xyy)
	// Y' = slope(4XY^2 - X') - 8Y^4
	f.sub(t, xyy, &j.x)
	f.mul(t, t, slope)
	f.add(yy, yy, yy)
	f.sqr(yy, yy)
	f.add(yy, yy, yy)
	f.sub(&j.y, t, yy)
	if f.isZero(&j.z) {
		j.identity = true
	}
}

// addAffine adds p, whose Z is one.
func (g *group[E]) addAffine(j *jacobian[E], p *point[E]) {
	if j.identity {
		g.setPoint(&j.point, p)
		j.identity = false
		return
	}
	f := g.f
	zz, h, r := &j.t0, &j.t1, &j.t2
	f.sqr(zz, &j.z)
	f.mul(h, &p.x, zz)
	f.sub(h, h, &j.x)
	f.mul(r, &p.y, zz)
	f.mul(r, r, &j.z)
	f.sub(r, r, &j.y)
	g.chord(j)
}

// addJacobian adds p.
func (g *group[E]) addJacobian(j *jacobian[E], p *point[E]) {
	if j.identity {
		g.setPoint(&j.point, p)
		j.identity = false
		return
	}
	f := g.f
	zz, h, r, pp := &j.t0, &j.t1, &j.t2, &j.t3
	f.sqr(zz, &j.z)
	f.sqr(pp, &p.z)
	f.mul(h, &p.x, zz)
	f.mul(r, &p.y, zz)
	f.mul(r, r, &j.z)
	f.mul(&j.x, &j.x, pp)
	f.mul(&j.y, &j.y, pp)
	f.mul(&j.y, &j.y, &p.z)
	f.mul(&j.z, &j.z, &p.z)
	f.sub(h, h, &j.x)
	f.sub(r, r, &j.y)
	g.chord(j)
}

// chord ends an addition: t1 = X2-X1, t2 = Y2-Y1, where X1 and Y1 in j and X2
// and Y2 are brought to the same Z, which j has.
func (g *group[E]) chord(j *jacobian[E]) {
	f := g.f
	v, h, r, hh := &j.t0, &j.t1, &j.t2, &j.t3
	if f.isZero(h) {
		if f.isZero(r) {
			g.double(j)
		} else {
			j.identity = true
		}
		return
	}
	f.sqr(hh, h)
	f.mul(v, &j.x, hh)
	f.mul(hh, hh, h)
	f.sqr(&j.x, r)
	f.sub(&j.x, &j.x, hh)
	f.sub(&j.x, &j.x, v)
	f.sub(&j.x, &j.x, v)
	f.sub(v, v, &j.x)
	f.mul(v, v, r)
	f.mul(hh, hh, &j.y)
	f.sub(&j.y, v, hh)
	f.mul(&j.z, &j.z, h)
}
