package gost3410

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"filippo.io/bigmod"
)

// A Curve is one parameter set. There is one value of each: == tells whether
// two are the same curve, by whatever identifier they were found.
type Curve struct {
	name       string
	oids       []string
	size       int
	cofactor   int
	p, q       *big.Int
	pMod, qMod *bigmod.Modulus
	// arith is made on first use, as are its tables.
	arith func() arithmetic
}

// arithmetic is what a group[E] does, whatever its field.
type arithmetic interface {
	onCurve(x, y []byte) bool
	inSubgroup(x, y []byte, order *big.Int) bool
	mulBase(k []byte) (x, y []byte, ok bool)
	precompute(x, y []byte) any
	combine(u1, u2 *big.Int, x, y []byte, tables any, r, order, p *big.Int) bool
}

// all is made on first use: a program that meets no GOST key does not pay.
var all = sync.OnceValue(func() []*Curve {
	curves := make([]*Curve, len(sets))
	for i := range sets {
		curves[i] = newCurve(&sets[i])
	}
	return curves
})

// Curves returns every curve that this package knows.
func Curves() []*Curve { return slices.Clone(all()) }

// ByOID finds the curve that an object identifier of Russia or Kazakhstan
// names. It returns ErrParamSet if there is none.
func ByOID(oid asn1.ObjectIdentifier) (*Curve, error) {
	name := oid.String()
	for _, c := range all() {
		if slices.Contains(c.oids, name) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("parameter set %s: %w", name, ErrParamSet)
}

// ByName finds a curve by the name that RFC 4357, 7836 or 9215 gives it, such
// as "id-tc26-gost-3410-12-512-paramSetA". It returns ErrParamSet if there is none.
func ByName(name string) (*Curve, error) {
	for _, c := range all() {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("parameter set %q: %w", name, ErrParamSet)
}

// Name returns the curve's name in the RFC that defines it.
func (c *Curve) Name() string { return c.name }

// OIDs returns the object identifiers that name the curve, in dotted decimal,
// the defining one first.
func (c *Curve) OIDs() []string { return slices.Clone(c.oids) }

// Size returns the length in bytes of a coordinate, a digest and half a
// signature: 32 or 64.
func (c *Curve) Size() int { return c.size }

func newCurve(s *set) *Curve {
	c := &Curve{name: s.name, oids: s.oids, size: len(s.p) / 2, cofactor: s.cofactor, p: number(s.p), q: number(s.q)}
	c.pMod, c.qMod = modulus(c.p), modulus(c.q)
	c.arith = sync.OnceValue(func() arithmetic { return newArithmetic(s, c.size) })
	return c
}

func modulus(n *big.Int) *bigmod.Modulus {
	m, err := bigmod.NewModulus(n.Bytes())
	if err != nil {
		panic("gost3410: " + err.Error())
	}
	return m
}

// newArithmetic chooses the field by the prime.
func newArithmetic(s *set, size int) arithmetic {
	p, a := number(s.p), new(big.Int)
	if s.a == "" {
		a.Sub(p, big.NewInt(3))
	} else {
		a = number(s.a)
	}
	b, x, y := number(s.b), number(s.x), number(s.y)
	missing := new(big.Int).Lsh(big.NewInt(1), uint(8*size))
	switch missing.Sub(missing, p); {
	case size == 32 && missing.Cmp(big.NewInt(617)) == 0:
		return newGroup[fe4](field4{}, size, true, a, b, x, y, p)
	case size == 64 && missing.Cmp(big.NewInt(569)) == 0:
		return newGroup[fe8](field8{}, size, true, a, b, x, y, p)
	}
	return newGroup(newNatField(p), size, false, a, b, x, y, p)
}

func number(hex string) *big.Int {
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		panic("gost3410: malformed parameter")
	}
	return n
}
