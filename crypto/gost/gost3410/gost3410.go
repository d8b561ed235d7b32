// Package gost3410 signs and verifies by GOST R 34.10-2012 (RFC 7091), the
// same as GOST 34.10-2015 of Kazakhstan, and by its predecessors on the same
// curves, GOST R 34.10-2001 and GOST 34.310-2004.
//
// Layouts, each pinned by a vector of its side:
//
//   - A public key is X‖Y, each coordinate little-endian, in Russia (RFC 9215
//     section 4) and in Kazakhstan (observed in the certificates of NCA RK).
//   - The number signed is the digest's bytes read as a little-endian number,
//     modulo q; 0 counts as 1. Digests come in the byte order in which the
//     packages streebog and gost94 give them.
//   - A signature is s‖r, both big-endian, in Russia (RFC 9215 section 2), and
//     r‖s, both little-endian, in Kazakhstan (observed): one is the other
//     reversed. See [Layout].
//   - A private key is a little-endian number in Russian PKCS #8 and in that of
//     GOST 34.10-2015 of NCA RK, a big-endian one in its GOST 34.310-2004
//     (both observed).
//
// Secret numbers are used in constant time: complete addition formulas over
// fields without branches, tables read whole. Verification is not, and need
// not be.
package gost3410

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Errors of this package.
var (
	// ErrParamSet: the object identifier or name is no known parameter set.
	ErrParamSet = errors.New("unsupported GOST parameter set")
	// ErrLength: a key, digest or signature has not the length of its curve.
	ErrLength = errors.New("malformed GOST value: wrong length")
	// ErrPoint: a public key is not a point of the curve's prime-order group.
	ErrPoint = errors.New("invalid GOST public key: not a point of the curve")
	// ErrPrivateKey: a private key is zero or not below q.
	ErrPrivateKey = errors.New("invalid GOST private key: zero or not below q")
	// ErrRange: r or s of a signature is zero or not below q. errors.Is finds
	// ErrSignature in it too.
	ErrRange = fmt.Errorf("%w: r or s is zero or not below q", ErrSignature)
	// ErrSignature: the signature does not verify.
	ErrSignature = errors.New("invalid GOST signature")
	// ErrLayout: the layout or byte order is none of those below.
	ErrLayout = errors.New("unsupported GOST byte order")
	// ErrSelfCheck: a signature just made does not verify with the public
	// key. The key pair or the computer is damaged.
	ErrSelfCheck = errors.New("GOST signature just made does not verify")
)

// A Layout is the order in which a signature's two numbers are written, each
// with the curve's Size in bytes. It is also the crypto.SignerOpts of
// PrivateKey.Sign.
type Layout uint8

// The layouts. Certificates, CRLs, OCSP and CMS use the first two; tokens may
// answer in any.
const (
	Russian        Layout = iota + 1 // s‖r, big-endian
	Kazakh                           // r‖s, little-endian
	RSBigEndian                      // r‖s, big-endian
	SRLittleEndian                   // s‖r, little-endian
)

// HashFunc returns 0: no GOST digest has a crypto.Hash.
func (Layout) HashFunc() crypto.Hash { return 0 }

func (l Layout) known() bool { return l >= Russian && l <= SRLittleEndian }

// Convert returns sig, which is laid out as from, laid out as to. It returns
// ErrLength if sig's length is not 64 or 128 bytes, or ErrLayout; the numbers
// are not looked at.
func Convert(sig []byte, from, to Layout) ([]byte, error) {
	if !from.known() || !to.known() {
		return nil, ErrLayout
	}
	if len(sig) != 64 && len(sig) != 128 {
		return nil, fmt.Errorf("signature of %d bytes: %w", len(sig), ErrLength)
	}
	r, s := from.split(sig)
	return to.join(r, s), nil
}

// split returns r and s of sig, big-endian.
func (l Layout) split(sig []byte) (r, s []byte) {
	r, s = bytes.Clone(sig[:len(sig)/2]), bytes.Clone(sig[len(sig)/2:])
	if l == Russian || l == SRLittleEndian {
		r, s = s, r
	}
	if l == Kazakh || l == SRLittleEndian {
		slices.Reverse(r)
		slices.Reverse(s)
	}
	return r, s
}

// join is the reverse of split.
func (l Layout) join(r, s []byte) []byte {
	r, s = bytes.Clone(r), bytes.Clone(s)
	if l == Kazakh || l == SRLittleEndian {
		slices.Reverse(r)
		slices.Reverse(s)
	}
	if l == Russian || l == SRLittleEndian {
		r, s = s, r
	}
	return append(r, s...)
}

// A PublicKey is a point of a curve. It is never changed, so goroutines may
// share it.
type PublicKey struct {
	curve *Curve
	x, y  []byte // big-endian
}

// NewPublicKey reads X‖Y, both little-endian: what stands in the OCTET STRING
// inside the BIT STRING of a SubjectPublicKeyInfo. It returns ErrLength, or
// ErrPoint for what is not a point of the group that the base point makes.
func NewPublicKey(c *Curve, xy []byte) (*PublicKey, error) {
	if len(xy) != 2*c.size {
		return nil, fmt.Errorf("public key of %d bytes: %w", len(xy), ErrLength)
	}
	k := &PublicKey{c, reversed(xy[:c.size]), reversed(xy[c.size:])}
	if !c.arith().onCurve(k.x, k.y) {
		return nil, ErrPoint
	}
	if c.cofactor > 1 && !c.arith().inSubgroup(k.x, k.y, c.q) {
		return nil, ErrPoint
	}
	return k, nil
}

// Curve returns the key's curve.
func (k *PublicKey) Curve() *Curve { return k.curve }

// Bytes returns X‖Y, both little-endian.
func (k *PublicKey) Bytes() []byte { return append(reversed(k.x), reversed(k.y)...) }

// Equal reports whether x is a *PublicKey with the same curve and point.
func (k *PublicKey) Equal(x crypto.PublicKey) bool {
	o, ok := x.(*PublicKey)
	return ok && o.curve == k.curve && bytes.Equal(o.x, k.x) && bytes.Equal(o.y, k.y)
}

// Verify checks the signature of a digest. It returns nil, ErrLayout,
// ErrLength if digest or sig does not fit the curve, ErrRange or ErrSignature.
func (k *PublicKey) Verify(digest, sig []byte, l Layout) error {
	if !l.known() {
		return ErrLayout
	}
	if len(digest) != k.curve.size {
		return fmt.Errorf("digest of %d bytes: %w", len(digest), ErrLength)
	}
	if len(sig) != 2*k.curve.size {
		return fmt.Errorf("signature of %d bytes: %w", len(sig), ErrLength)
	}
	return k.verify(digest, sig, l, nil)
}

// verify is RFC 7091 section 6.2. tables is nil or those of the key's point.
func (k *PublicKey) verify(digest, sig []byte, l Layout, tables any) error {
	q := k.curve.q
	rb, sb := l.split(sig)
	r, s := new(big.Int).SetBytes(rb), new(big.Int).SetBytes(sb)
	if r.Sign() == 0 || s.Sign() == 0 || r.Cmp(q) >= 0 || s.Cmp(q) >= 0 {
		return ErrRange
	}
	v := new(big.Int).ModInverse(new(big.Int).SetBytes(k.curve.number(digest)), q)
	u1 := s.Mul(s, v)
	u1.Mod(u1, q)
	u2 := v.Mul(v, r)
	u2.Mod(u2, q)
	u2.Sub(q, u2)
	if !k.curve.arith().combine(u1, u2, k.x, k.y, tables, r, q, k.curve.p) {
		return ErrSignature
	}
	return nil
}

// number returns e of RFC 7091 section 6.1 step 2, big-endian.
func (c *Curve) number(digest []byte) []byte {
	e := new(big.Int).SetBytes(reversed(digest))
	if e.Mod(e, c.q).Sign() == 0 {
		e.SetInt64(1)
	}
	return e.FillBytes(make([]byte, c.size))
}

// reversed returns a reversed copy.
func reversed(b []byte) []byte {
	r := bytes.Clone(b)
	slices.Reverse(r)
	return r
}
