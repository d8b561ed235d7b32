package gost3410

import (
	"math/big"
	"slices"
)

// Widths of the windows of the verifier, for the base point and for a public key.
const (
	baseWindow = 8
	keyWindow  = 5
)

// partBits is the length of the parts into which a scalar is cut when its
// point has tables for all of them: as many doublings are enough then.
const partBits = 64

// parts are the odd multiples P, 3P, … of a point, then those of the point
// times 2^partBits, and so on.
type parts[E any] [][]affine[E]

// A jacobian is the verifier's running point and memory. Its formulas treat
// their exceptions one by one, and take a time that tells of their inputs: all
// of those are public.
type jacobian[E any] struct {
	point[E]
	identity           bool
	zero               E // always
	negative           point[E]
	t0, t1, t2, t3, t4 E
}

// combine reports whether the x of u1 times the base point plus u2 times q
// leaves the remainder r modulo order. u1 and u2 are below 2^(8*size), x and y
// are q's coordinates, tables is nil or what precompute made of them. It takes
// a time that depends on its operands.
func (g *group[E]) combine(u1, u2 *big.Int, x, y []byte, tables any, r, order, p *big.Int) bool {
	acc := &jacobian[E]{identity: true}
	d1, d2 := naf(u1, baseWindow), naf(u2, keyWindow)
	if t, ok := tables.(parts[E]); ok {
		for i := partBits; i >= 0; i-- {
			g.double(acc)
			g.addParts(acc, g.odd(), d1, i)
			g.addParts(acc, t, d2, i)
		}
	} else {
		var q point[E]
		if !g.read(&q, x, y) {
			return false
		}
		base, key := g.odd()[0], g.oddMultiples(&q, keyWindow)
		for i := max(len(d1), len(d2)) - 1; i >= 0; i-- {
			g.double(acc)
			if i < len(d1) && d1[i] != 0 {
				g.addOdd(acc, base, d1[i])
			}
			if i < len(d2) && d2[i] != 0 {
				g.addMultiple(acc, key, d2[i])
			}
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

// addParts adds what digit i of each part of a scalar calls for. The last part
// has one digit more than partBits.
func (g *group[E]) addParts(j *jacobian[E], t parts[E], digits []int8, i int) {
	for c := range t {
		if i == partBits && c < len(t)-1 {
			continue
		}
		if n := c*partBits + i; n < len(digits) && digits[n] != 0 {
			g.addOdd(j, t[c], digits[n])
		}
	}
}

// precompute returns tables for combine, which then takes a third of the time;
// making them takes about as long as one combine. The point is in the subgroup.
func (g *group[E]) precompute(x, y []byte) any {
	var q point[E]
	if !g.read(&q, x, y) {
		return nil
	}
	return g.split(&q, keyWindow)
}

// split makes the tables of an affine point.
func (g *group[E]) split(p *point[E], window uint) parts[E] {
	n := 8 * g.size / partBits
	var all []point[E]
	j := &jacobian[E]{}
	g.setPoint(&j.point, p)
	for range n {
		all = append(all, g.oddMultiples(&j.point, window)...)
		for range partBits {
			g.double(j)
		}
	}
	t := make(parts[E], n)
	for i, v := range g.inverses(all) {
		var a affine[E]
		var vv E
		g.f.sqr(&vv, &v)
		g.f.mul(&a.x, &all[i].x, &vv)
		g.f.mul(&vv, &vv, &v)
		g.f.mul(&a.y, &all[i].y, &vv)
		c := i / (len(all) / n)
		t[c] = append(t[c], a)
	}
	return t
}

// naf returns the digits of k, the least significant first: each is zero or
// odd and below 2^(w-1) in size, and of w that follow one another at most one
// is not zero.
func naf(k *big.Int, w uint) []int8 {
	n := k.BitLen()
	le := make([]byte, n/8+4) // room for the window above the last bit
	slices.Reverse(k.FillBytes(le))
	digits := make([]int8, n+1)
	last := 0
	carry := 0
	for i := 0; i <= n; {
		window := int(uint32(le[i/8])|uint32(le[i/8+1])<<8) >> (i % 8)
		if window&1 == carry { // k's bit plus the carry is even
			i++
			continue
		}
		v := carry + window&(1<<w-1)
		carry = v >> (w - 1) & 1
		digits[i] = int8(v - carry<<w) //nolint:gosec // below 2^(w-1) in size
		last = i
		i += int(w)
	}
	return digits[:last+1]
}

// inSubgroup reports whether order times the point is the identity.
func (g *group[E]) inSubgroup(x, y []byte, order *big.Int) bool {
	var q point[E]
	if !g.read(&q, x, y) {
		return false
	}
	var one affine[E]
	g.f.set(&one.x, &q.x)
	g.f.set(&one.y, &q.y)
	digits := naf(order, 2)
	acc := &jacobian[E]{identity: true}
	for i := len(digits) - 1; i >= 0; i-- {
		g.double(acc)
		if digits[i] != 0 {
			g.addOdd(acc, []affine[E]{one}, digits[i])
		}
	}
	return acc.identity
}

// oddMultiples returns p, 3p, … for digits of w bits. Those of a point of
// small order could pass the identity; NewPublicKey keeps such points out.
func (g *group[E]) oddMultiples(p *point[E], w uint) []point[E] {
	t := make([]point[E], 1<<(w-2))
	g.setPoint(&t[0], p)
	twice := &jacobian[E]{}
	g.setPoint(&twice.point, p)
	g.double(twice)
	j := &jacobian[E]{}
	g.setPoint(&j.point, p)
	for i := 1; i < len(t); i++ {
		g.addJacobian(j, &twice.point)
		g.setPoint(&t[i], &j.point)
	}
	return t
}

// addMultiple adds d times the point whose odd multiples t holds.
func (g *group[E]) addMultiple(j *jacobian[E], t []point[E], d int8) {
	p := &t[max(d, -d)/2]
	if d < 0 {
		p = &j.negative
		g.setPoint(p, &t[-d/2])
		g.f.sub(&p.y, &j.zero, &p.y)
	}
	g.addJacobian(j, p)
}

// addOdd is addMultiple with affine multiples.
func (g *group[E]) addOdd(j *jacobian[E], t []affine[E], d int8) {
	p := &t[max(d, -d)/2]
	x, y := &p.x, &p.y
	if d < 0 {
		y = &j.negative.y
		g.f.sub(y, &j.zero, &p.y)
	}
	g.addXY(j, x, y)
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

// addXY adds the affine point (x, y).
func (g *group[E]) addXY(j *jacobian[E], x, y *E) {
	f := g.f
	if j.identity {
		f.set(&j.x, x)
		f.set(&j.y, y)
		f.set(&j.z, &g.one)
		j.identity = false
		return
	}
	zz, h, r := &j.t0, &j.t1, &j.t2
	f.sqr(zz, &j.z)
	f.mul(h, x, zz)
	f.sub(h, h, &j.x)
	f.mul(r, y, zz)
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
