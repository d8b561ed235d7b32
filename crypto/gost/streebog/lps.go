package streebog

// roundsGeneric is E of RFC 6986 section 8.2 but for its last addition: twelve
// times s becomes LPS(s^k) and k becomes LPS(k^c). The assembly for amd64 does
// the same; the tests compare them.
func roundsGeneric(t *lookup, c *[12]vector, s, k *vector) {
	for i := range c {
		lps(t, s, s, k)
		lps(t, k, k, &c[i])
	}
}

// lps sets r to LPS(a^b). Word j of a^b gives its byte i to word i of the
// result: that is the transposition P.
//
//nolint:gosec // bytes of a word
func lps(t *lookup, r, a, b *vector) {
	var r0, r1, r2, r3, r4, r5, r6, r7 uint64
	for j := range t {
		x := a[j] ^ b[j]
		row := &t[j]
		r0 ^= row[byte(x)]
		r1 ^= row[byte(x>>8)]
		r2 ^= row[byte(x>>16)]
		r3 ^= row[byte(x>>24)]
		r4 ^= row[byte(x>>32)]
		r5 ^= row[byte(x>>40)]
		r6 ^= row[byte(x>>48)]
		r7 ^= row[byte(x>>56)]
	}
	*r = vector{r0, r1, r2, r3, r4, r5, r6, r7}
}
