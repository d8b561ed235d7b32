package gost3410

import (
	"testing"
)

// Signing includes the verification of what was signed.
func BenchmarkSign(b *testing.B) {
	each(b, func(b *testing.B, c *Curve, key *PrivateKey, digest, _ []byte) {
		for b.Loop() {
			_, _ = key.Sign(nil, digest, Russian)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	each(b, func(b *testing.B, c *Curve, key *PrivateKey, digest, sig []byte) {
		for b.Loop() {
			_ = key.public.Verify(digest, sig, Russian)
		}
	})
}

// BenchmarkScalar is the part of a signature that must not tell of the number.
func BenchmarkScalar(b *testing.B) {
	each(b, func(b *testing.B, c *Curve, key *PrivateKey, _, _ []byte) {
		for b.Loop() {
			c.arith().mulBase(key.d)
		}
	})
}

func each(b *testing.B, run func(*testing.B, *Curve, *PrivateKey, []byte, []byte)) {
	for _, c := range Curves() {
		b.Run(c.name, func(b *testing.B) {
			key, err := GenerateKey(c)
			if err != nil {
				b.Fatal(err)
			}
			digest := digestOf(c, "таңба")
			sig, err := key.Sign(nil, digest, Russian)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			run(b, c, key, digest, sig)
		})
	}
}

// BenchmarkTables is what the first signature on a curve pays.
func BenchmarkTables(b *testing.B) {
	for i := range sets {
		b.Run(sets[i].name, func(b *testing.B) {
			for b.Loop() {
				switch g := newCurve(&sets[i]).arith().(type) {
				case *group[fe4]:
					g.fixed()
				case *group[fe8]:
					g.fixed()
				case *group[natElement]:
					g.fixed()
				}
			}
		})
	}
}

func BenchmarkFields(b *testing.B) {
	var x, y fe4
	var u, v fe8
	x[3], y[3], u[7], v[7] = 1<<60, 3<<61, 1<<60, 3<<61
	b.Run("mul4", func(b *testing.B) {
		for b.Loop() {
			mul4(&x, &x, &y)
		}
	})
	b.Run("sqr4", func(b *testing.B) {
		for b.Loop() {
			sqr4(&x, &x)
		}
	})
	b.Run("add4", func(b *testing.B) {
		for b.Loop() {
			field4{}.add(&x, &x, &y)
		}
	})
	b.Run("mul8", func(b *testing.B) {
		for b.Loop() {
			mul8(&u, &u, &v)
		}
	})
	b.Run("sqr8", func(b *testing.B) {
		for b.Loop() {
			sqr8(&u, &u)
		}
	})
	b.Run("add8", func(b *testing.B) {
		for b.Loop() {
			field8{}.add(&u, &u, &v)
		}
	})
}
