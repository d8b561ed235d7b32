package gost3410

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/gost/streebog"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// digestOf is Streebog of the curve's length.
func digestOf(c *Curve, m string) []byte {
	if c.size == 32 {
		s := streebog.Sum256([]byte(m))
		return s[:]
	}
	s := streebog.Sum512([]byte(m))
	return s[:]
}

var layouts = []Layout{Russian, Kazakh, RSBigEndian, SRLittleEndian}

// rounds is how many signatures a curve gets: a thousand where the field is
// fast, fewer over bigmod.
func rounds(c *Curve) int {
	n := 1000
	if _, generic := c.arith().(*group[natElement]); generic {
		n = 50
	}
	if testing.Short() {
		n /= 25
	}
	return n
}

// What we sign verifies, in its own layout only, for its digest and key only,
// and not with any bit flipped.
func TestSignVerify(t *testing.T) {
	for _, c := range Curves() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, 12))
			key, err := GenerateKey(c)
			require.NoError(t, err)
			other, err := GenerateKey(c)
			require.NoError(t, err)
			seen := map[string]bool{}
			for i := range rounds(c) {
				digest := digestOf(c, fmt.Sprint(i/2)) // each digest twice
				l := layouts[i%len(layouts)]
				sig, err := key.Sign(nil, digest, l)
				require.NoError(t, err)
				require.NoError(t, key.public.Verify(digest, sig, l))
				r, _ := l.split(sig)
				require.False(t, seen[string(r)], "the same r twice")
				seen[string(r)] = true

				bit := rng.IntN(8 * len(sig))
				bad := bytes.Clone(sig)
				bad[bit/8] ^= 1 << (bit % 8)
				require.ErrorIs(t, key.public.Verify(digest, bad, l), ErrSignature)
				if i%16 != 0 {
					continue
				}
				bit = rng.IntN(8 * len(digest))
				badDigest := bytes.Clone(digest)
				badDigest[bit/8] ^= 1 << (bit % 8)
				require.ErrorIs(t, key.public.Verify(badDigest, sig, l), ErrSignature)
				require.ErrorIs(t, other.public.Verify(digest, sig, l), ErrSignature)
				for _, wrong := range layouts {
					if wrong != l {
						require.ErrorIs(t, key.public.Verify(digest, sig, wrong), ErrSignature)
					}
				}
			}
		})
	}
}

// Every bit of one signature and of its digest.
func TestEveryBit(t *testing.T) {
	for _, oid := range [][]int{{1, 2, 643, 7, 1, 2, 1, 1, 2}, {1, 2, 398, 3, 10, 1, 1, 2, 2, 1}} {
		c, err := ByOID(oid)
		require.NoError(t, err)
		key, err := GenerateKey(c)
		require.NoError(t, err)
		digest := digestOf(c, "таңба")
		sig, err := key.Sign(nil, digest, Kazakh)
		require.NoError(t, err)
		for _, b := range [][]byte{digest, sig} {
			for bit := range 8 * len(b) {
				b[bit/8] ^= 1 << (bit % 8)
				require.ErrorIs(t, key.public.Verify(digest, sig, Kazakh), ErrSignature, bit)
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
		require.NoError(t, key.public.Verify(digest, sig, Kazakh))
	}
}

func TestConvert(t *testing.T) {
	r, s := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	r[0], s[0] = 9, 8
	want := map[Layout]string{
		Russian:        hexOf(s) + hexOf(r),
		Kazakh:         hexOf(reversed(r)) + hexOf(reversed(s)),
		RSBigEndian:    hexOf(r) + hexOf(s),
		SRLittleEndian: hexOf(reversed(s)) + hexOf(reversed(r)),
	}
	for from, sig := range want {
		for to, w := range want {
			got, err := Convert(unhex(t, sig), from, to)
			require.NoError(t, err)
			assert.Equal(t, w, hexOf(got))
		}
	}
	for _, n := range []int{0, 63, 65, 127, 129} {
		_, err := Convert(make([]byte, n), Russian, Kazakh)
		assert.ErrorIs(t, err, ErrLength)
	}
	_, err := Convert(make([]byte, 64), 0, Kazakh)
	assert.ErrorIs(t, err, ErrLayout)
	_, err = Convert(make([]byte, 64), Kazakh, 5)
	assert.ErrorIs(t, err, ErrLayout)
}

func TestUnknownParameterSet(t *testing.T) {
	for _, oid := range [][]int{{1, 2, 840, 10045, 3, 1, 7}, {1, 2, 643, 7, 1, 2, 1, 2}, nil} {
		_, err := ByOID(oid)
		assert.ErrorIs(t, err, ErrParamSet)
	}
	_, err := ByName("P-256")
	assert.ErrorIs(t, err, ErrParamSet)
	named := map[string]bool{}
	for _, c := range Curves() {
		for _, oid := range c.OIDs() {
			assert.False(t, named[oid], oid)
			named[oid] = true
		}
	}
	assert.Len(t, named, 17)
}

func TestBadPublicKey(t *testing.T) {
	for _, c := range Curves() {
		key, err := GenerateKey(c)
		require.NoError(t, err)
		good := key.public.Bytes()
		again, err := NewPublicKey(c, good)
		require.NoError(t, err)
		assert.True(t, again.Equal(key.public))
		assert.False(t, again.Equal(crypto.PublicKey("x")))
		assert.Equal(t, good, again.Bytes())

		for _, n := range []int{0, len(good) - 1, len(good) + 1, 96} {
			_, err = NewPublicKey(c, make([]byte, n))
			assert.ErrorIs(t, err, ErrLength)
		}
		bad := map[string][]byte{
			"a bit of x":    flip(good, 3),
			"a bit of y":    flip(good, 8*c.size+3),
			"zero":          make([]byte, 2*c.size),
			"all ones":      bytes.Repeat([]byte{0xff}, 2*c.size),
			"big-endian":    append(bytes.Clone(key.public.x), key.public.y...),
			"y before x":    append(reversed(key.public.y), reversed(key.public.x)...),
			"x not below p": notBelow(c, good),
		}
		for name, b := range bad {
			if b == nil {
				continue
			}
			_, err = NewPublicKey(c, b)
			assert.ErrorIs(t, err, ErrPoint, "%s: %s", c.name, name)
		}
	}
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}

// notBelow is the key with x+p in the place of x, nil if that is too long.
func notBelow(c *Curve, xy []byte) []byte {
	x := new(big.Int).SetBytes(reversed(xy[:c.size]))
	if x.Add(x, c.p).BitLen() > 8*c.size {
		return nil
	}
	return append(reversed(x.FillBytes(make([]byte, c.size))), xy[c.size:]...)
}

// On the curves with cofactor 4 there are points outside the subgroup: one of
// order two has y = 0, and adding it to a good key gives a bad one.
func TestSmallSubgroup(t *testing.T) {
	tested := 0
	for _, c := range Curves() {
		if c.cofactor == 1 {
			continue
		}
		tested++
		s := setOf(t, c)
		a, b := number(s.a), number(s.b)
		// A root of x^3+ax+b: gcd with x^p-x would find it; the Edwards form
		// (RFC 7836 section 5.2) gives it without: x = (e+d)/6.
		var curves map[string]struct{ E, D string }
		readJSON(t, &curves, "ru", "gost-curves.json")
		n, ok := new(big.Int).SetString(strings.TrimPrefix(curves[c.name].D, "0x"), 16)
		require.True(t, ok)
		e, ok := new(big.Int).SetString(strings.TrimPrefix(curves[c.name].E, "0x"), 16)
		require.True(t, ok)
		n.Add(n, e).Mul(n, new(big.Int).ModInverse(big.NewInt(6), c.p)).Mod(n, c.p)
		v := new(big.Int).Exp(n, big.NewInt(3), c.p)
		v.Add(v, new(big.Int).Mul(a, n)).Add(v, b).Mod(v, c.p)
		require.Zero(t, v.Sign(), "not a root")
		two := append(reversed(n.FillBytes(make([]byte, c.size))), make([]byte, c.size)...)
		_, err := NewPublicKey(c, two)
		assert.ErrorIs(t, err, ErrPoint)

		// The sum of it and the base point.
		gx, gy := number(s.x), number(s.y)
		l := new(big.Int).Sub(n, gx)
		l.ModInverse(l.Mod(l, c.p), c.p)
		l.Mul(l, new(big.Int).Neg(gy)).Mod(l, c.p)
		x := new(big.Int).Mul(l, l)
		x.Sub(x, n).Sub(x, gx).Mod(x, c.p)
		y := new(big.Int).Sub(gx, x)
		y.Mul(y, l).Sub(y, gy).Mod(y, c.p)
		require.True(t, c.arith().onCurve(x.FillBytes(make([]byte, c.size)), y.FillBytes(make([]byte, c.size))))
		_, err = NewPublicKey(c, append(reversed(x.FillBytes(make([]byte, c.size))), reversed(y.FillBytes(make([]byte, c.size)))...))
		assert.ErrorIs(t, err, ErrPoint)
	}
	require.Equal(t, 2, tested)
}

func TestBadPrivateKey(t *testing.T) {
	for _, c := range Curves() {
		q := c.q.FillBytes(make([]byte, c.size))
		last := new(big.Int).Sub(c.q, big.NewInt(1)).FillBytes(make([]byte, c.size))
		for _, order := range []Order{BigEndian, LittleEndian} {
			in := func(be []byte) []byte {
				if order == LittleEndian {
					return reversed(be)
				}
				return be
			}
			for _, bad := range [][]byte{make([]byte, c.size), q, bytes.Repeat([]byte{0xff}, c.size)} {
				_, err := NewPrivateKey(c, in(bad), order)
				assert.ErrorIs(t, err, ErrPrivateKey)
			}
			for _, n := range []int{0, c.size - 1, c.size + 1} {
				_, err := NewPrivateKey(c, make([]byte, n), order)
				assert.ErrorIs(t, err, ErrLength)
			}
			_, err := NewPrivateKey(c, in(last), 0)
			assert.ErrorIs(t, err, ErrLayout)
			key, err := NewPrivateKey(c, in(last), order)
			require.NoError(t, err)
			assert.Equal(t, in(last), key.Bytes(order))
			assert.Equal(t, last, key.Bytes(BigEndian))
			// (q-1)G is the base point's opposite.
			assert.Equal(t, be(t, setOf(t, c).x, c.size), key.public.x)
		}
	}
}

func TestBadSignature(t *testing.T) {
	for _, c := range Curves() {
		key, err := GenerateKey(c)
		require.NoError(t, err)
		digest := digestOf(c, "")
		sig, err := key.Sign(nil, digest, RSBigEndian)
		require.NoError(t, err)
		r, s := RSBigEndian.split(sig)
		zero := make([]byte, c.size)
		q := c.q.FillBytes(make([]byte, c.size))
		for name, b := range map[string][]byte{
			"r zero": append(bytes.Clone(zero), s...), "s zero": append(bytes.Clone(r), zero...),
			"r = q": append(bytes.Clone(q), s...), "s = q": append(bytes.Clone(r), q...),
		} {
			err := key.public.Verify(digest, b, RSBigEndian)
			assert.ErrorIs(t, err, ErrRange, name)
			assert.ErrorIs(t, err, ErrSignature, name)
		}
		for _, n := range []int{0, len(sig) - 1, len(sig) + 1, 96} {
			assert.ErrorIs(t, key.public.Verify(digest, make([]byte, n), Russian), ErrLength)
		}
		for _, n := range []int{0, 20, 96 - c.size} { // 96-size is the other curves' length
			assert.ErrorIs(t, key.public.Verify(make([]byte, n), sig, Russian), ErrLength)
			_, err = key.Sign(nil, make([]byte, n), Russian)
			assert.ErrorIs(t, err, ErrLength)
		}
		assert.ErrorIs(t, key.public.Verify(digest, sig, 0), ErrLayout)
		_, err = key.Sign(nil, digest, crypto.SHA256)
		assert.ErrorIs(t, err, ErrLayout)
		_, err = key.Sign(nil, digest, Layout(9))
		assert.ErrorIs(t, err, ErrLayout)
	}
}

// A key whose two halves do not belong together signs nothing.
func TestSelfCheck(t *testing.T) {
	c := Curves()[1]
	a, err := GenerateKey(c)
	require.NoError(t, err)
	b, err := GenerateKey(c)
	require.NoError(t, err)
	_, err = newPrivateKey(a.public, b.d).Sign(nil, digestOf(c, ""), Russian)
	assert.ErrorIs(t, err, ErrSelfCheck)
}

// A digest that is zero modulo q counts as one.
func TestZeroDigest(t *testing.T) {
	for _, c := range Curves() {
		key, err := GenerateKey(c)
		require.NoError(t, err)
		one := make([]byte, c.size)
		one[0] = 1
		zero := make([]byte, c.size)
		q := reversed(c.q.FillBytes(make([]byte, c.size)))
		sig, err := key.Sign(nil, zero, Russian)
		require.NoError(t, err)
		for _, d := range [][]byte{zero, one, q} {
			assert.NoError(t, key.public.Verify(d, sig, Russian))
		}
	}
}

// broken is a source of random bytes that always gives the same, or an error.
type broken struct{ err error }

func (b broken) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return len(p), nil
}

func TestNonce(t *testing.T) {
	c, err := ByOID([]int{1, 2, 643, 2, 2, 35, 2}) // q is just above 2^255: half of the numbers do not fit
	require.NoError(t, err)
	key, err := GenerateKey(c)
	require.NoError(t, err)
	other, err := GenerateKey(c)
	require.NoError(t, err)
	rOf := func(k *PrivateKey, m string) string {
		sig, err := k.Sign(broken{}, digestOf(c, m), RSBigEndian)
		require.NoError(t, err)
		return hexOf(sig[:32])
	}
	assert.Equal(t, rOf(key, "a"), rOf(key, "a"))
	seen := map[string]bool{}
	for _, m := range []string{"a", "b", "c", "d", "e", "f"} {
		seen[rOf(key, m)] = true
		seen[rOf(other, m)] = true
	}
	assert.Len(t, seen, 12)

	fault := errors.New("no entropy")
	_, err = key.Sign(broken{fault}, digestOf(c, "a"), Russian)
	assert.ErrorIs(t, err, fault)
	_, err = key.Sign(bytes.NewReader(make([]byte, 63)), digestOf(c, "a"), Russian)
	assert.Error(t, err)

	// Numbers that step 3 to 5 of RFC 7091 section 6.1 throws away.
	for _, bad := range [][]byte{make([]byte, 32), c.q.FillBytes(make([]byte, 32)), bytes.Repeat([]byte{0xff}, 32)} {
		_, _, ok := key.sign(digestOf(c, "a"), bad)
		assert.False(t, ok)
	}
	// s = rd+ke is zero for e = -rd/k.
	k := big.NewInt(7)
	x, _, _ := c.arith().mulBase(k.FillBytes(make([]byte, 32)))
	e := new(big.Int).SetBytes(x)
	e.Mul(e, new(big.Int).SetBytes(key.d)).Mul(e, new(big.Int).ModInverse(k, c.q)).Neg(e).Mod(e, c.q)
	_, _, ok := key.sign(reversed(e.FillBytes(make([]byte, 32))), k.FillBytes(make([]byte, 32)))
	assert.False(t, ok)
}

// The curve whose base point has x = 0: the number 1 gives r = 0.
func TestZeroR(t *testing.T) {
	c, err := ByOID([]int{1, 2, 643, 2, 2, 35, 3})
	require.NoError(t, err)
	key, err := GenerateKey(c)
	require.NoError(t, err)
	_, _, ok := key.sign(digestOf(c, "a"), big.NewInt(1).FillBytes(make([]byte, 32)))
	assert.False(t, ok)
}

func TestPrivateKeyIsNotPrinted(t *testing.T) {
	key, err := GenerateKey(Curves()[1])
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%X", "%q", "%o", "%b", "%c", "%U", "%t", "%e"} {
		assert.Equal(t, hidden, fmt.Sprintf(verb, key), verb)
		assert.Equal(t, hidden, fmt.Sprintf(verb, *key), verb)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "key", key)
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", *key)
	assert.Equal(t, 2, strings.Count(log.String(), hidden))
	assert.NotContains(t, log.String(), hexOf(key.d))
}

func FuzzVerify(f *testing.F) {
	c, err := ByName("id-GostR3410-2001-CryptoPro-A-ParamSet")
	require.NoError(f, err)
	key, err := GenerateKey(c)
	require.NoError(f, err)
	digest := digestOf(c, "таңба")
	sig, err := key.Sign(nil, digest, Russian)
	require.NoError(f, err)
	f.Add(sig, uint8(1))
	f.Add(make([]byte, 64), uint8(2))
	f.Add(sig[1:], uint8(0))
	f.Fuzz(func(t *testing.T, s []byte, l uint8) {
		if key.public.Verify(digest, s, Layout(l)) == nil {
			// The only signature that there is, in one of its layouts.
			russian, err := Convert(s, Layout(l), Russian)
			require.NoError(t, err)
			require.Equal(t, sig, russian)
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	for _, c := range Curves() {
		key, err := GenerateKey(c)
		require.NoError(f, err)
		f.Add(key.public.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range Curves() {
			key, err := NewPublicKey(c, b)
			if err == nil {
				require.Equal(t, b, key.Bytes())
			}
		}
	})
}

func FuzzSign(f *testing.F) {
	f.Add([]byte("key"), []byte("message"), uint8(6))
	f.Fuzz(func(t *testing.T, secret, message []byte, which uint8) {
		c := Curves()[int(which)%len(Curves())]
		d := digestOf(c, string(secret))
		trim(d, c)
		key, err := NewPrivateKey(c, d, BigEndian)
		if err != nil {
			require.ErrorIs(t, err, ErrPrivateKey)
			return
		}
		digest := digestOf(c, string(message))
		for _, l := range layouts {
			sig, err := key.Sign(nil, digest, l)
			require.NoError(t, err)
			require.NoError(t, key.public.Verify(digest, sig, l))
		}
	})
}
