package file

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"software.sslmate.com/src/go-pkcs12"

	"tanba/crypto/cert"
	"tanba/tokens"
)

// key is a decrypted key with its certificates.
type key struct {
	signer crypto.Signer
	cert   *cert.Certificate
	chain  []*cert.Certificate
}

// decode decrypts a PKCS#12 file. When ctx ends it returns at once; the work
// goes on until its end, which checkIterations bounds.
func decode(ctx context.Context, data []byte, pin tokens.PIN) (*key, error) {
	if err := checkPassword(pin.Bytes()); err != nil {
		return nil, err
	}
	if err := checkIterations(data, 0); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		k   *key
		err error
	}
	done := make(chan result, 1)
	own := bytes.Clone(pin.Bytes()) // the caller may wipe its own when ctx ends
	go func() {
		k, err := decrypt(data, own)
		clear(own)
		done <- result{k, err}
	}()
	select {
	case r := <-done:
		return r.k, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// checkPassword catches what no file can have: the format writes a password
// in UCS-2.
func checkPassword(b []byte) error {
	fail := func(r tokens.PINReason) error {
		return &tokens.PINError{Reason: r, TriesLeft: -1, State: tokens.PINOK}
	}
	switch {
	case len(b) == 0 || len(b) > tokens.MaxPIN:
		return fail(tokens.PINLength)
	case !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return unicode.IsControl(r) || r > 0xFFFF }):
		return fail(tokens.PINChars)
	}
	return nil
}

func decrypt(data, password []byte) (*key, error) {
	// The string shares the bytes of password: no further copy of them here.
	private, first, others, err := pkcs12.DecodeChain(data, unsafe.String(unsafe.SliceData(password), len(password)))
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, &tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINOK}
	case err != nil:
		if _, ok := errors.AsType[pkcs12.NotImplementedError](err); ok {
			return nil, fmt.Errorf("unsupported PKCS#12 file: %w", err)
		}
		return nil, fmt.Errorf("malformed PKCS#12 file: %w", err)
	}
	k := &key{}
	switch p := private.(type) {
	case *rsa.PrivateKey:
		k.signer = p
	case *ecdsa.PrivateKey:
		k.signer = p
	default:
		return nil, fmt.Errorf("unsupported PKCS#12 file: key of type %T", private)
	}
	if len(others) > maxChain {
		k.wipe()
		return nil, fmt.Errorf("invalid PKCS#12 file: %d certificates", len(others)+1)
	}
	// The first certificate need not be the key's.
	for _, x := range append([]*x509.Certificate{first}, others...) {
		c, err := cert.Parse(x.Raw)
		if err != nil {
			k.wipe()
			return nil, fmt.Errorf("malformed PKCS#12 file: %w", err)
		}
		if pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && k.cert == nil && pub.Equal(k.signer.Public()) {
			k.cert = c
			continue
		}
		k.chain = append(k.chain, c)
	}
	if k.cert == nil {
		k.wipe()
		return nil, errors.New("invalid PKCS#12 file: no certificate belongs to the key")
	}
	return k, nil
}

// wipe forgets the key, and overwrites what the standard library still lets us
// reach of it: the numbers of an RSA key, but not its own copy of them.
func (k *key) wipe() {
	if p, ok := k.signer.(*rsa.PrivateKey); ok {
		clear(p.D.Bits())
		for _, q := range p.Primes {
			clear(q.Bits())
		}
	}
	k.signer = nil
}

// Bounds of what a file may make us compute and of how deep it nests.
const (
	maxIterations = 5_000_000
	maxDepth      = 24
)

// checkIterations refuses a file that asks for more key derivation than any
// honest one. It looks at every INTEGER that follows an OCTET STRING: salt and
// iterations stand so in MacData (RFC 7292 appendix A), pkcs-12PbeParams
// (appendix C) and PBKDF2-params (RFC 8018 appendix A.2).
func checkIterations(der []byte, depth int) error {
	if depth > maxDepth {
		return errors.New("malformed PKCS#12 file: nested too deep")
	}
	in, salted := cryptobyte.String(der), false
	for !in.Empty() {
		var content cryptobyte.String
		var tag asn1.Tag
		whole := in
		if !in.ReadAnyASN1(&content, &tag) {
			if depth == 0 {
				return errors.New("malformed PKCS#12 file: not DER, or cut short")
			}
			return nil // octets that only looked like DER
		}
		switch {
		case tag == asn1.INTEGER && salted:
			var n int64
			if !whole.ReadASN1Integer(&n) || n > maxIterations {
				return fmt.Errorf("invalid PKCS#12 file: more than %d iterations", maxIterations)
			}
		case tag == asn1.OCTET_STRING, tag&0x20 != 0:
			if err := checkIterations(content, depth+1); err != nil {
				return err
			}
		}
		salted = tag == asn1.OCTET_STRING
	}
	return nil
}
