package gost3410

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// samples are numbers of n words. They include those around p and 2^(64n), where the folding
// has its corners. They need not be below p: such are values between steps.
func samples(n int, c uint64, rng *rand.Rand) [][]uint64 {
	top := func(low uint64) []uint64 {
		w := make([]uint64, n)
		for i := range w {
			w[i] = ^uint64(0)
		}
		w[0] = low
		return w
	}
	small := func(v uint64) []uint64 {
		w := make([]uint64, n)
		w[0] = v
		return w
	}
	s := [][]uint64{
		small(0), small(1), small(c - 1), small(c), small(c + 1), small(^uint64(0)),
		top(^uint64(0)), top(-c), top(-c - 1), top(-c + 1), top(0), top(c),
	}
	for range 20 {
		w := make([]uint64, n)
		for i := range w {
			w[i] = rng.Uint64()
			if rng.IntN(8) == 0 {
				w[i] = ^uint64(0)
			}
		}
		s = append(s, w)
	}
	return s
}

func value(w []uint64) *big.Int {
	v := new(big.Int)
	for i := len(w) - 1; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(w[i]))
	}
	return v
}

// testField compares a field with math/big on all pairs of samples, with the
// result apart from and in the place of each operand.
func testField[E any](t *testing.T, f field[E], p *big.Int, elements []E, values []*big.Int) {
	size := (p.BitLen() + 7) / 8
	want := func(v *big.Int) []byte { return v.Mod(v, p).FillBytes(make([]byte, size)) }
	ops := []struct {
		name string
		run  func(z, x, y *E)
		big  func(z, x, y *big.Int) *big.Int
	}{
		{"add", f.add, (*big.Int).Add},
		{"sub", f.sub, (*big.Int).Sub},
		{"mul", f.mul, (*big.Int).Mul},
	}
	for i := range elements {
		for j := range elements {
			for _, op := range ops {
				w := want(op.big(new(big.Int), values[i], values[j]))
				var x, y, z E
				f.set(&x, &elements[i])
				f.set(&y, &elements[j])
				op.run(&z, &x, &y)
				require.Equal(t, w, f.bytes(&z), "%s %d %d", op.name, i, j)
				op.run(&x, &x, &y)
				require.Equal(t, w, f.bytes(&x), "%s %d %d in place of x", op.name, i, j)
				f.set(&x, &elements[i])
				op.run(&y, &x, &y)
				require.Equal(t, w, f.bytes(&y), "%s %d %d in place of y", op.name, i, j)
				if i == j {
					op.run(&x, &x, &x)
					require.Equal(t, w, f.bytes(&x), "%s %d with itself in place", op.name, i)
				}
			}
			reducedEqual := new(big.Int).Mod(values[i], p).Cmp(new(big.Int).Mod(values[j], p)) == 0
			require.Equal(t, reducedEqual, f.equal(&elements[i], &elements[j]))
		}
		var z, one E
		f.sqr(&z, &elements[i])
		require.Equal(t, want(new(big.Int).Mul(values[i], values[i])), f.bytes(&z))
		zero := new(big.Int).Mod(values[i], p).Sign() == 0
		require.Equal(t, zero, f.isZero(&elements[i]))
		f.invert(&z, &elements[i])
		f.mul(&one, &z, &elements[i])
		if zero {
			require.True(t, f.isZero(&z))
		} else {
			require.Equal(t, want(big.NewInt(1)), f.bytes(&one))
		}
		f.set(&z, &elements[0])
		f.pick(&z, &elements[i], 0)
		require.True(t, f.equal(&z, &elements[0]))
		f.pick(&z, &elements[i], ^uint64(0))
		require.True(t, f.equal(&z, &elements[i]))
	}
	var z E
	assert.False(t, f.setBytes(&z, p.FillBytes(make([]byte, size))), "p itself")
	assert.False(t, f.setBytes(&z, make([]byte, size-1)))
	assert.False(t, f.setBytes(&z, make([]byte, size+1)))
	assert.True(t, f.setBytes(&z, new(big.Int).Sub(p, big.NewInt(1)).FillBytes(make([]byte, size))))
}

func TestFields(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	two := big.NewInt(2)
	p4 := new(big.Int).Sub(new(big.Int).Exp(two, big.NewInt(256), nil), big.NewInt(617))
	p8 := new(big.Int).Sub(new(big.Int).Exp(two, big.NewInt(512), nil), big.NewInt(569))
	t.Run("field4", func(t *testing.T) {
		var e []fe4
		var v []*big.Int
		for _, w := range samples(4, 617, rng) {
			e, v = append(e, fe4(w)), append(v, value(w))
		}
		testField(t, field[fe4](field4{}), p4, e, v)
	})
	t.Run("field8", func(t *testing.T) {
		var e []fe8
		var v []*big.Int
		for _, w := range samples(8, 569, rng) {
			e, v = append(e, fe8(w)), append(v, value(w))
		}
		testField(t, field[fe8](field8{}), p8, e, v)
	})
	for i := range sets {
		t.Run("natField/"+sets[i].name, func(t *testing.T) {
			p := number(sets[i].p)
			f := newNatField(p)
			var e []natElement
			var v []*big.Int
			for _, w := range samples(p.BitLen()/64, 569, rng) {
				n := value(w)
				n.Mod(n, p)
				var x natElement
				require.True(t, f.setBytes(&x, n.FillBytes(make([]byte, len(sets[i].p)/2))))
				e, v = append(e, x), append(v, n)
			}
			testField(t, f, p, e, v)
		})
	}
}

// The curves with a field of their own, computed again over the generic one.
func TestGroupsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	compared := 0
	for _, c := range Curves() {
		if _, generic := c.arith().(*group[natElement]); generic {
			continue
		}
		compared++
		s := setOf(t, c)
		a := new(big.Int).Sub(c.p, big.NewInt(3))
		if s.a != "" {
			a = number(s.a)
		}
		slow := newGroup(newNatField(c.p), c.size, false, a, number(s.b), number(s.x), number(s.y), c.p)
		for range 5 {
			k := make([]byte, c.size)
			for i := range k {
				k[i] = byte(rng.Uint32())
			}
			trim(k, c)
			x, y, ok := c.arith().mulBase(k)
			x2, y2, ok2 := slow.mulBase(k)
			require.Equal(t, ok2, ok)
			require.Equal(t, x2, x, c.name)
			require.Equal(t, y2, y, c.name)
		}
	}
	require.Equal(t, 4, compared)
}

// Multiples with many zero, full and extreme digits against double-and-add in
// affine coordinates with math/big.
func TestScalars(t *testing.T) {
	for _, c := range Curves() {
		n := func(v int64) *big.Int { return big.NewInt(v) }
		ks := []*big.Int{
			n(1), n(2), n(3), n(15), n(16), n(17), n(31), n(32), n(33), n(0x10000), new(big.Int).Lsh(n(1), uint(c.q.BitLen()-2)),
			new(big.Int).Sub(c.q, n(1)), new(big.Int).Sub(c.q, n(2)), new(big.Int).Rsh(c.q, 1), new(big.Int).Div(c.q, n(3)),
			new(big.Int).Sub(new(big.Int).Lsh(n(1), uint(c.q.BitLen()-1)), n(1)),
		}
		for _, k := range ks {
			x, y, ok := c.arith().mulBase(k.FillBytes(make([]byte, c.size)))
			require.True(t, ok)
			wx, wy := slowMultiple(t, c, k)
			require.Equal(t, wx.FillBytes(make([]byte, c.size)), x, "%s %x", c.name, k)
			require.Equal(t, wy.FillBytes(make([]byte, c.size)), y, "%s %x", c.name, k)
		}
		for _, k := range []*big.Int{n(0), c.q} {
			_, _, ok := c.arith().mulBase(k.FillBytes(make([]byte, c.size)))
			require.False(t, ok, "%s %x", c.name, k)
		}
	}
}

func setOf(t *testing.T, c *Curve) *set {
	for i := range sets {
		if sets[i].name == c.name {
			return &sets[i]
		}
	}
	t.Fatal("no set")
	return nil
}

// slowMultiple is k times the base point by the school's formulas.
func slowMultiple(t *testing.T, c *Curve, k *big.Int) (x, y *big.Int) {
	s := setOf(t, c)
	a := new(big.Int).Sub(c.p, big.NewInt(3))
	if s.a != "" {
		a = number(s.a)
	}
	gx, gy := number(s.x), number(s.y)
	add := func(x1, y1, x2, y2 *big.Int) (*big.Int, *big.Int) {
		num, den := new(big.Int), new(big.Int)
		if x1.Cmp(x2) == 0 {
			require.Zero(t, y1.Cmp(y2), "a point met its opposite")
			num.Mul(x1, x1).Mul(num, big.NewInt(3)).Add(num, a)
			den.Lsh(y1, 1)
		} else {
			num.Sub(y2, y1)
			den.Sub(x2, x1)
		}
		den.ModInverse(den.Mod(den, c.p), c.p)
		l := num.Mul(num, den)
		x3 := new(big.Int).Mul(l, l)
		x3.Sub(x3, x1).Sub(x3, x2).Mod(x3, c.p)
		y3 := new(big.Int).Sub(x1, x3)
		y3.Mul(y3, l).Sub(y3, y1).Mod(y3, c.p)
		return x3, y3
	}
	x, y = gx, gy
	for i := k.BitLen() - 2; i >= 0; i-- {
		x, y = add(x, y, x, y)
		if k.Bit(i) == 1 {
			x, y = add(x, y, gx, gy)
		}
	}
	return x, y
}

func TestNAF(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		w := uint(2 + rng.IntN(7))
		k := new(big.Int).SetUint64(rng.Uint64() >> rng.IntN(64))
		k.Mul(k, new(big.Int).SetUint64(rng.Uint64()))
		sum, last := new(big.Int), -100
		for i, digit := range naf(k, w) {
			d := int(digit)
			sum.Add(sum, new(big.Int).Lsh(big.NewInt(int64(d)), uint(i)))
			if d != 0 {
				require.True(t, d%2 != 0 && d < 1<<(w-1) && -d < 1<<(w-1))
				require.GreaterOrEqual(t, i-last, int(w))
				last = i
			}
		}
		require.Zero(t, sum.Cmp(k))
	}
}
