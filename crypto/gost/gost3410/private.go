package gost3410

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"filippo.io/bigmod"

	"tanba/crypto/gost/streebog"
)

// An Order is the byte order of a private key.
type Order uint8

// The byte orders; the package comment says who uses which.
const (
	LittleEndian Order = iota + 1
	BigEndian
)

// A PrivateKey is a number below q and its public key. It cannot be printed.
// It implements crypto.Signer with a Layout as options. Goroutines may share it.
type PrivateKey struct {
	public *PublicKey
	d      []byte // big-endian
	// tables are those of the public key's point: they make the check of each
	// signature cheap.
	tables func() any
}

const hidden = "[GOST private key]"

// Format prints no part of the key, whatever the verb.
func (PrivateKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue shows no part of the key.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText writes no part of the key.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// NewPrivateKey reads a private key of the curve's Size in bytes and computes
// its public key. It returns ErrLength, ErrPrivateKey, or ErrLayout for an
// unknown order.
func NewPrivateKey(c *Curve, d []byte, order Order) (*PrivateKey, error) {
	if len(d) != c.size {
		return nil, fmt.Errorf("private key of %d bytes: %w", len(d), ErrLength)
	}
	be := bytes.Clone(d)
	switch order {
	case BigEndian:
	case LittleEndian:
		be = reversed(d)
	default:
		return nil, fmt.Errorf("byte order %d: %w", order, ErrLayout)
	}
	n, err := bigmod.NewNat().SetBytes(be, c.qMod)
	if err != nil || n.IsZero() == 1 {
		return nil, ErrPrivateKey
	}
	x, y, ok := c.arith().mulBase(be)
	if !ok || !c.arith().onCurve(x, y) {
		return nil, ErrSelfCheck
	}
	return newPrivateKey(&PublicKey{c, x, y}, be), nil
}

func newPrivateKey(public *PublicKey, d []byte) *PrivateKey {
	return &PrivateKey{public, d, sync.OnceValue(func() any {
		return public.curve.arith().precompute(public.x, public.y)
	})}
}

// GenerateKey makes a private key from crypto/rand.
func GenerateKey(c *Curve) (*PrivateKey, error) {
	for {
		d := make([]byte, c.size)
		_, _ = rand.Read(d) // never fails
		trim(d, c)
		k, err := NewPrivateKey(c, d, BigEndian)
		if !errors.Is(err, ErrPrivateKey) {
			return k, err
		}
	}
}

// trim clears the bits of a big-endian number that q does not have.
func trim(k []byte, c *Curve) {
	excess := 8*c.size - c.q.BitLen()
	k[0] &= 0xff >> excess
}

// PublicKey returns the public key.
func (k *PrivateKey) PublicKey() *PublicKey { return k.public }

// Public returns PublicKey, as crypto.Signer wants it.
func (k *PrivateKey) Public() crypto.PublicKey { return k.public }

// Bytes returns the secret number with the curve's Size in bytes.
func (k *PrivateKey) Bytes(order Order) []byte {
	if order == LittleEndian {
		return reversed(k.d)
	}
	return bytes.Clone(k.d)
}

// Sign signs a digest. opts is the Layout of the signature. random may be nil
// for crypto/rand; even from a broken source no number is used for two digests,
// since key and digest go into it. It returns ErrLayout, ErrLength if digest
// does not fit the curve, ErrSelfCheck, or an error of random.
func (k *PrivateKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	l, ok := opts.(Layout)
	if !ok || !l.known() {
		return nil, ErrLayout
	}
	c := k.public.curve
	if len(digest) != c.size {
		return nil, fmt.Errorf("digest of %d bytes: %w", len(digest), ErrLength)
	}
	if random == nil {
		random = rand.Reader
	}
	next, err := k.nonces(random, digest)
	if err != nil {
		return nil, err
	}
	for {
		r, s, ok := k.sign(digest, next())
		if !ok {
			continue
		}
		sig := l.join(r, s)
		if err := k.public.verify(digest, sig, l, k.tables()); err != nil {
			return nil, ErrSelfCheck
		}
		return sig, nil
	}
}

// nonces returns a source of numbers of the curve's length in bytes and q's in
// bits: HMAC-Streebog-512, keyed with 64 random bytes, over curve, private
// key, digest and a counter.
func (k *PrivateKey) nonces(random io.Reader, digest []byte) (func() []byte, error) {
	c := k.public.curve
	entropy := make([]byte, streebog.Size512)
	if _, err := io.ReadFull(random, entropy); err != nil {
		return nil, fmt.Errorf("reading random bytes: %w", err)
	}
	mac := hmac.New(streebog.New512, entropy)
	counter := uint64(0)
	return func() []byte {
		mac.Reset()
		for _, part := range [][]byte{k.d, digest, binary.BigEndian.AppendUint64(nil, counter), []byte(c.name)} {
			mac.Write(part)
		}
		counter++
		n := mac.Sum(nil)[:c.size]
		trim(n, c)
		return n
	}, nil
}

// sign is RFC 7091 section 6.1 with the number k of step 3. ok is false if
// another number is needed: this one is zero or not below q, or r or s is zero.
func (k *PrivateKey) sign(digest, nonce []byte) (r, s []byte, ok bool) {
	c := k.public.curve
	m := c.qMod
	n, err := bigmod.NewNat().SetBytes(nonce, m)
	if err != nil || n.IsZero() == 1 {
		return nil, nil, false
	}
	x, _, ok := c.arith().mulBase(nonce)
	if !ok {
		return nil, nil, false
	}
	rn := remainder(x, c)
	d, err := bigmod.NewNat().SetBytes(k.d, m)
	if err != nil {
		return nil, nil, false
	}
	e, err := bigmod.NewNat().SetBytes(c.number(digest), m)
	if err != nil {
		return nil, nil, false
	}
	// s = rd + ke
	sn := d.Mul(rn, m).Add(n.Mul(e, m), m)
	if rn.IsZero() == 1 || sn.IsZero() == 1 {
		return nil, nil, false
	}
	return rn.Bytes(m), sn.Bytes(m), true
}

// remainder returns x modulo q.
func remainder(x []byte, c *Curve) *bigmod.Nat {
	wide, err := bigmod.NewNat().SetBytes(x, c.pMod)
	if err != nil {
		panic("gost3410: coordinate out of range")
	}
	return bigmod.NewNat().Mod(wide, c.qMod)
}
