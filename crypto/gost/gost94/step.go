package gost94

import "math/bits"

// A set is the substitution: eight rows of sixteen nibbles, the first row for
// the least significant nibble.
type set [8][16]byte

// cryptoProSet is id-GostR3411-94-CryptoProParamSet, RFC 4357 section 11.2.
var cryptoProSet = set{
	{0xa, 0x4, 0x5, 0x6, 0x8, 0x1, 0x3, 0x7, 0xd, 0xc, 0xe, 0x0, 0x9, 0x2, 0xb, 0xf},
	{0x5, 0xf, 0x4, 0x0, 0x2, 0xd, 0xb, 0x9, 0x1, 0x7, 0x6, 0x3, 0xc, 0xe, 0xa, 0x8},
	{0x7, 0xf, 0xc, 0xe, 0x9, 0x4, 0x1, 0x0, 0x3, 0xb, 0x5, 0x2, 0x6, 0xa, 0x8, 0xd},
	{0x4, 0xa, 0x7, 0xc, 0x0, 0xf, 0x2, 0x8, 0xe, 0x1, 0x6, 0x5, 0xd, 0xb, 0x9, 0x3},
	{0x7, 0x6, 0x4, 0xb, 0x9, 0xc, 0x2, 0xa, 0x1, 0x8, 0x0, 0xe, 0xf, 0xd, 0x3, 0x5},
	{0x7, 0x6, 0x2, 0x4, 0xd, 0x9, 0xf, 0x0, 0xa, 0x1, 0x5, 0xb, 0x8, 0xe, 0xc, 0x3},
	{0xd, 0xe, 0x4, 0x1, 0x7, 0x0, 0x5, 0xa, 0x3, 0xc, 0x8, 0xf, 0x6, 0x2, 0x9, 0xb},
	{0x1, 0x3, 0xa, 0x9, 0x5, 0xb, 0x4, 0xf, 0x8, 0x6, 0x7, 0xe, 0xd, 0x0, 0x2, 0xc},
}

// testSet is id-GostR3411-94-TestParamSet, RFC 4357 section 11.2, the example
// of the standard itself.
var testSet = set{
	{0x4, 0xa, 0x9, 0x2, 0xd, 0x8, 0x0, 0xe, 0x6, 0xb, 0x1, 0xc, 0x7, 0xf, 0x5, 0x3},
	{0xe, 0xb, 0x4, 0xc, 0x6, 0xd, 0xf, 0xa, 0x2, 0x3, 0x8, 0x1, 0x0, 0x7, 0x5, 0x9},
	{0x5, 0x8, 0x1, 0xd, 0xa, 0x3, 0x4, 0x2, 0xe, 0xf, 0xc, 0x7, 0x6, 0x0, 0x9, 0xb},
	{0x7, 0xd, 0xa, 0x1, 0x0, 0x8, 0x9, 0xf, 0xe, 0x4, 0x6, 0xc, 0xb, 0x2, 0x5, 0x3},
	{0x6, 0xc, 0x7, 0x1, 0x5, 0xf, 0xd, 0x8, 0x4, 0xa, 0x9, 0xe, 0x0, 0x3, 0xb, 0x2},
	{0x4, 0xb, 0xa, 0x0, 0x7, 0x2, 0x1, 0xd, 0x3, 0x6, 0x8, 0x5, 0x9, 0xc, 0xf, 0xe},
	{0xd, 0xb, 0x4, 0x1, 0x3, 0xf, 0x5, 0x9, 0x0, 0xa, 0xe, 0x7, 0x6, 0x8, 0x2, 0xc},
	{0x1, 0xf, 0xd, 0x0, 0x5, 0x7, 0xa, 0x4, 0x9, 0x2, 0x3, 0xe, 0x6, 0xb, 0x8, 0xc},
}

// lookup holds the substitution of two nibbles at once, already rotated by 11
// bits: byte j with value x of a round's sum gives lookup[j][x].
type lookup [4][256]uint32

func expand(s *set) *lookup {
	var t lookup
	for j := range t {
		for x := range t[j] {
			v := uint32(s[2*j+1][x>>4])<<4 | uint32(s[2*j][x&15])
			t[j][x] = bits.RotateLeft32(v<<(8*j), 11)
		}
	}
	return &t
}

// third is the constant C_3 of RFC 5831 section 5.1; C_2 and C_4 are zero.
var third = block{0xff00ff00ff00ff00, 0x00ff00ff00ff00ff, 0xff0000ff00ffff00, 0xff00ffff000000ff}

// step is the step hash function of RFC 5831 section 5: h becomes the hash of
// h and m.
func (d *digest) step(m *block) {
	// Key generation, section 5.1.
	var k keys
	u, v := d.h, *m
	for i := range 4 {
		if i > 0 {
			u = block{u[1], u[2], u[3], u[0] ^ u[1]}
			if i == 2 {
				for j := range u {
					u[j] ^= third[j]
				}
			}
			v = block{v[2], v[3], v[0] ^ v[1], v[1] ^ v[2]}
		}
		k.set(i, &block{u[0] ^ v[0], u[1] ^ v[1], u[2] ^ v[2], u[3] ^ v[3]})
	}
	// Enciphering, section 5.2, then mixing, section 5.3.
	s := d.h
	encipher(d.t, &k, &s)
	s.mix(12)
	for i := range s {
		s[i] ^= m[i]
	}
	s.mix(1)
	for i := range s {
		s[i] ^= d.h[i]
	}
	s.mix(61)
	d.h = s
}

// keys are the four keys: word j of key i is keys[j][i].
type keys [8][4]uint32

// set makes key i by the byte permutation P: byte n of word j of the key is
// byte j of word n of w. Bytes are zipped two and two, then the pairs.
func (k *keys) set(i int, w *block) {
	const (
		m8  = 0x00ff00ff00ff00ff
		m16 = 0x0000ffff0000ffff
	)
	i &= 3
	// 16-bit pairs of words 0 and 1, of words 2 and 3, for even and odd j.
	even, even2 := w[0]&m8|w[1]&m8<<8, w[2]&m8|w[3]&m8<<8
	odd, odd2 := w[0]>>8&m8|w[1]&^m8, w[2]>>8&m8|w[3]&^m8
	x := even&m16 | even2&m16<<16
	k[0][i], k[4][i] = uint32(x), uint32(x>>32) //nolint:gosec // halves
	x = odd&m16 | odd2&m16<<16
	k[1][i], k[5][i] = uint32(x), uint32(x>>32) //nolint:gosec // halves
	x = even>>16&m16 | even2&^m16
	k[2][i], k[6][i] = uint32(x), uint32(x>>32) //nolint:gosec // halves
	x = odd>>16&m16 | odd2&^m16
	k[3][i], k[7][i] = uint32(x), uint32(x>>32) //nolint:gosec // halves
}

// encipher puts each word of s through GOST 28147-89 in the simple
// substitution mode with the key of its own: the words of the key three times
// forth and once back (RFC 5830 section 5). All four at a time keep the
// processor busy while each round waits for the one before.
func encipher(t *lookup, keys *keys, s *block) {
	a0, a1, a2, a3 := uint32(s[0]), uint32(s[1]), uint32(s[2]), uint32(s[3]) //nolint:gosec // halves
	b0, b1, b2, b3 := uint32(s[0]>>32), uint32(s[1]>>32), uint32(s[2]>>32), uint32(s[3]>>32)
	for _, j := range order {
		k := &keys[j&7]
		b0 ^= t.round(a0 + k[0])
		b1 ^= t.round(a1 + k[1])
		b2 ^= t.round(a2 + k[2])
		b3 ^= t.round(a3 + k[3])
		k = &keys[j>>4&7]
		a0 ^= t.round(b0 + k[0])
		a1 ^= t.round(b1 + k[1])
		a2 ^= t.round(b2 + k[2])
		a3 ^= t.round(b3 + k[3])
	}
	s[0], s[1] = uint64(a0)<<32|uint64(b0), uint64(a1)<<32|uint64(b1)
	s[2], s[3] = uint64(a2)<<32|uint64(b2), uint64(a3)<<32|uint64(b3)
}

// order has two rounds in a byte: the low and the high half are the words of
// the key that they use.
var order = [16]uint8{
	0x10, 0x32, 0x54, 0x76, 0x10, 0x32, 0x54, 0x76,
	0x10, 0x32, 0x54, 0x76, 0x67, 0x45, 0x23, 0x01,
}

func (t *lookup) round(x uint32) uint32 {
	return t[0][byte(x)] ^ t[1][byte(x>>8)] ^ t[2][byte(x>>16)] ^ t[3][byte(x>>24)] //nolint:gosec // bytes
}

// mix applies psi of RFC 5831 section 5.3 n times. psi is a shift register of
// sixteen 16-bit cells whose next value is the sum of cells 0, 1, 2, 3, 12
// and 15. The cells of four steps fill one word: the sum without cell 15,
// which is the value just made, is taken for all four at once, then each
// value is added to those after it.
func (b *block) mix(n int) {
	w0, w1, w2, w3 := b[0], b[1], b[2], b[3]
	for ; n >= 4; n -= 4 {
		w0, w1, w2, w3 = w1, w2, w3, next(w0, w1, w3)
	}
	if n > 0 { // one step: the rest is always 0 or 1 here
		x := next(w0, w1, w3) & 0xffff
		w0, w1, w2, w3 = w0>>16|w1<<48, w1>>16|w2<<48, w2>>16|w3<<48, w3>>16|x<<48
	}
	b[0], b[1], b[2], b[3] = w0, w1, w2, w3
}

// next returns the four cells after w3; w0 and w1 are the eight oldest.
func next(w0, w1, w3 uint64) uint64 {
	x := w0 ^ (w0>>16 | w1<<48) ^ (w0>>32 | w1<<32) ^ (w0>>48 | w1<<16) ^ w3
	x ^= x << 16
	x ^= x << 32
	return x ^ w3>>48*0x0001000100010001
}
