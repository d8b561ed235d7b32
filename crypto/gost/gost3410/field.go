package gost3410

// A field is the integers modulo the prime p of a curve. Elements are of type
// E; a zero E is zero. An element is copied with set only, and results may be
// the same element as operands. All methods but isZero and equal take a time
// that does not depend on the values.
type field[E any] interface {
	set(z, x *E)
	// pick sets z to x if mask is all ones and leaves it if mask is zero.
	pick(z, x *E, mask uint64)
	add(z, x, y *E)
	sub(z, x, y *E)
	mul(z, x, y *E)
	sqr(z, x *E)
	// choose sets z to row[d-1], to anything for d = 0, reading the whole row.
	choose(z *affine[E], row *[16]affine[E], d uint32)
	// invert sets z to 1/x, to 0 for 0.
	invert(z, x *E)
	// setBytes reads a big-endian number of the field's length; it reports
	// false if that is not below p or the length is not the field's.
	setBytes(z *E, b []byte) bool
	// bytes writes x in the same form.
	bytes(x *E) []byte
	isZero(x *E) bool
	equal(x, y *E) bool
}

//go:generate go run gen.go
