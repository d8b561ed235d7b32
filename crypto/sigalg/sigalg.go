// Package sigalg is the one table of signature and digest algorithms.
//
// Every other package names an algorithm by a value of [Algorithm] or
// [Digest]; object identifiers, AlgorithmIdentifier parameters, signature
// layouts and the arithmetic behind them are known here only. The signature
// octets that this package makes, checks and expects are those that CMS and
// X.509 carry: RSA as a big-endian integer of the modulus' length (RFC 8017
// section 8), ECDSA as the DER SEQUENCE Ecdsa-Sig-Value (RFC 3279 section
// 2.2.3).
package sigalg

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // SHA-256 for crypto.Hash
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"slices"
)

// ErrUnsupported reports an algorithm, key or parameter set that this table
// does not know.
var ErrUnsupported = errors.New("unsupported algorithm")

// ErrSignature reports a signature that does not verify.
var ErrSignature = errors.New("invalid signature")

// A Digest names a digest algorithm. The zero value is none.
type Digest string

// The digests of the table.
const (
	SHA256 Digest = "sha-256"
	SHA384 Digest = "sha-384"
	SHA512 Digest = "sha-512"
)

// An Algorithm names a signature algorithm together with its digest, such as
// "ecdsa-p256-sha256". The name is stable: it is used on the wire between
// the agent and its token process. The zero value is none.
type Algorithm string

// The signature algorithms of the table.
const (
	RSASHA256       Algorithm = "rsa-pkcs1-sha256" // RSASSA-PKCS1-v1_5, RFC 8017 section 8.2
	RSASHA384       Algorithm = "rsa-pkcs1-sha384"
	RSASHA512       Algorithm = "rsa-pkcs1-sha512"
	RSAPSSSHA256    Algorithm = "rsa-pss-sha256" // RSASSA-PSS, MGF1 with the same digest, salt as long as it
	ECDSAP256SHA256 Algorithm = "ecdsa-p256-sha256"
	ECDSAP384SHA384 Algorithm = "ecdsa-p384-sha384"
)

// An Identifier is an AlgorithmIdentifier (RFC 5280 section 4.1.1.2).
type Identifier struct {
	OID asn1.ObjectIdentifier
	// Params is the DER of the parameters, nil where they are absent.
	Params []byte
}

type digestRow struct {
	hash crypto.Hash
	id   Identifier
}

var null = []byte{0x05, 0x00}

var digests = map[Digest]digestRow{
	// Parameters are absent when written, absent or NULL when read: RFC 5754 section 2.
	SHA256: {crypto.SHA256, Identifier{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}},
	SHA384: {crypto.SHA384, Identifier{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}}},
	SHA512: {crypto.SHA512, Identifier{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}}},
}

// New returns the digest's state, or panics if d is not in the table.
func (d Digest) New() hash.Hash { return digests[d].hash.New() }

// Size returns the digest's length in bytes, 0 if d is not in the table.
func (d Digest) Size() int {
	r, ok := digests[d]
	if !ok {
		return 0
	}
	return r.hash.Size()
}

// Identifier returns the AlgorithmIdentifier that we write for d.
func (d Digest) Identifier() Identifier { return digests[d].id }

// CryptoHash returns d as a crypto.Hash, for libraries that want one; 0 for a
// digest that Go does not number (the GOST ones).
func (d Digest) CryptoHash() crypto.Hash { return digests[d].hash }

// DigestByID finds the digest that id names. It returns ErrUnsupported for an
// unknown identifier or for parameters that are neither absent nor NULL.
func DigestByID(id Identifier) (Digest, error) {
	for d, r := range digests {
		if r.id.OID.Equal(id.OID) && paramsAbsentOrNull(id.Params) {
			return d, nil
		}
	}
	return "", fmt.Errorf("digest %v: %w", id.OID, ErrUnsupported)
}

func paramsAbsentOrNull(p []byte) bool { return len(p) == 0 || bytes.Equal(p, null) }

type kind uint8

const (
	rsaPKCS1 kind = iota + 1
	rsaPSS
	ecdsaKind
)

type row struct {
	kind   kind
	digest Digest
	curve  elliptic.Curve
	id     Identifier
}

var (
	oidRSAEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidRSAPSS        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
)

// The RSA rows name digest and key in one identifier with NULL parameters, as
// NCA RK's own client does (observed) and RFC 5754 section 3.2 allows;
// rsaEncryption with a separate digest is accepted when read.
var algorithms = map[Algorithm]row{
	RSASHA256:       {rsaPKCS1, SHA256, nil, Identifier{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, null}},
	RSASHA384:       {rsaPKCS1, SHA384, nil, Identifier{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, null}},
	RSASHA512:       {rsaPKCS1, SHA512, nil, Identifier{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, null}},
	RSAPSSSHA256:    {rsaPSS, SHA256, nil, Identifier{oidRSAPSS, pssParams(SHA256)}},
	ECDSAP256SHA256: {ecdsaKind, SHA256, elliptic.P256(), Identifier{OID: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}},
	ECDSAP384SHA384: {ecdsaKind, SHA384, elliptic.P384(), Identifier{OID: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}}},
}

// Known reports whether a is in the table.
func (a Algorithm) Known() bool { _, ok := algorithms[a]; return ok }

// Digest returns the digest that a signs.
func (a Algorithm) Digest() Digest { return algorithms[a].digest }

// Identifier returns the AlgorithmIdentifier that we write for a in
// SignerInfo.signatureAlgorithm.
func (a Algorithm) Identifier() Identifier { return algorithms[a].id }

// ForKey lists the algorithms that pub can be used with, the one to prefer
// first. pub is an *rsa.PublicKey or an *ecdsa.PublicKey. It returns
// ErrUnsupported for another kind, another curve, or an RSA modulus outside
// 2048 to 8192 bits.
func ForKey(pub crypto.PublicKey) ([]Algorithm, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 8192 {
			return nil, fmt.Errorf("RSA key of %d bits: %w", n, ErrUnsupported)
		}
		return []Algorithm{RSASHA256, RSASHA384, RSASHA512, RSAPSSSHA256}, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []Algorithm{ECDSAP256SHA256}, nil
		case elliptic.P384():
			return []Algorithm{ECDSAP384SHA384}, nil
		}
		return nil, fmt.Errorf("curve %s: %w", k.Params().Name, ErrUnsupported)
	}
	return nil, fmt.Errorf("key of type %T: %w", pub, ErrUnsupported)
}

// ByID finds the algorithm of a SignerInfo or certificate: id is its
// signatureAlgorithm and d the digest it is used with, "" where only id tells
// (a certificate). It returns ErrUnsupported for what the table lacks and for
// an identifier whose own digest is not d.
func ByID(id Identifier, d Digest, pub crypto.PublicKey) (Algorithm, error) {
	usable, err := ForKey(pub)
	if err != nil {
		return "", err
	}
	for _, a := range usable {
		r := algorithms[a]
		if d != "" && r.digest != d {
			continue
		}
		switch {
		case r.kind == rsaPKCS1 && d != "" && id.OID.Equal(oidRSAEncryption) && paramsAbsentOrNull(id.Params):
			return a, nil
		case !id.OID.Equal(r.id.OID):
		case r.kind == rsaPSS && bytes.Equal(id.Params, r.id.Params):
			return a, nil
		case r.kind != rsaPSS && paramsAbsentOrNull(id.Params):
			return a, nil
		}
	}
	return "", fmt.Errorf("signature algorithm %v with digest %q: %w", id.OID, d, ErrUnsupported)
}

// Verify checks sig, in the layout of the package comment, over digest with
// pub. It returns nil, ErrSignature, or ErrUnsupported when pub does not fit a.
func Verify(a Algorithm, pub crypto.PublicKey, digest, sig []byte) error {
	usable, err := ForKey(pub)
	if err != nil {
		return err
	}
	if !slices.Contains(usable, a) {
		return fmt.Errorf("%s with a key of type %T: %w", a, pub, ErrUnsupported)
	}
	r := algorithms[a]
	if len(digest) != r.digest.Size() {
		return fmt.Errorf("digest of %d bytes for %s: %w", len(digest), a, ErrSignature)
	}
	ok := false
	switch r.kind {
	case rsaPKCS1:
		ok = rsa.VerifyPKCS1v15(pub.(*rsa.PublicKey), r.digest.CryptoHash(), digest, sig) == nil
	case rsaPSS:
		opts := &rsa.PSSOptions{SaltLength: r.digest.Size(), Hash: r.digest.CryptoHash()}
		ok = rsa.VerifyPSS(pub.(*rsa.PublicKey), r.digest.CryptoHash(), digest, sig, opts) == nil
	case ecdsaKind:
		ok = ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), digest, sig)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// SignerOpts returns what crypto.Signer.Sign needs to make a with an RSA or
// ECDSA key held in memory.
func SignerOpts(a Algorithm) crypto.SignerOpts {
	r := algorithms[a]
	if r.kind == rsaPSS {
		return &rsa.PSSOptions{SaltLength: r.digest.Size(), Hash: r.digest.CryptoHash()}
	}
	return r.digest.CryptoHash()
}

// MaxSignatureSize returns the largest length in bytes of a signature with
// pub, 0 for an unknown kind of key.
func MaxSignatureSize(pub crypto.PublicKey) int {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return k.Size()
	case *ecdsa.PublicKey:
		// SEQUENCE of two INTEGERs, each with a possible leading zero.
		n := (k.Params().N.BitLen() + 7) / 8
		return 2*(n+1+3) + 4
	}
	return 0
}

// pssParams is the DER of RSASSA-PSS-params (RFC 4055 section 3.1) with MGF1
// over the same digest and a salt of its length; trailerField is the default
// and so absent.
func pssParams(d Digest) []byte {
	type algorithmIdentifier struct {
		OID    asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	h := algorithmIdentifier{digests[d].id.OID, asn1.NullRawValue}
	hDER, err := asn1.Marshal(h)
	if err != nil {
		panic(err)
	}
	der, err := asn1.Marshal(struct {
		Hash algorithmIdentifier `asn1:"explicit,tag:0"`
		MGF  algorithmIdentifier `asn1:"explicit,tag:1"`
		Salt int                 `asn1:"explicit,tag:2"`
	}{h, algorithmIdentifier{oidMGF1, asn1.RawValue{FullBytes: hDER}}, d.Size()})
	if err != nil {
		panic(err)
	}
	return der
}
