package sigalg

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var ecdsaWith = map[Digest]asn1.ObjectIdentifier{
	SHA256: {1, 2, 840, 10045, 4, 3, 2},
	SHA384: {1, 2, 840, 10045, 4, 3, 3},
	SHA512: {1, 2, 840, 10045, 4, 3, 4},
}

var rsaWith = map[Digest]asn1.ObjectIdentifier{
	SHA256: {1, 2, 840, 113549, 1, 1, 11},
	SHA384: {1, 2, 840, 113549, 1, 1, 12},
	SHA512: {1, 2, 840, 113549, 1, 1, 13},
}

// VerifyByID checks a signature that anyone made: id is its
// signatureAlgorithm, d the digest it is used with, digest of d's length. It
// knows more than the algorithms that we sign with: RSASSA-PSS with every
// digest of the table and any salt, ECDSA with every pair of a NIST curve of
// at least 256 bits and a digest of the table. The salt's length is the one
// that id states. It returns the algorithm's name, which Algorithm.Known may
// not know, and nil, ErrSignature or ErrUnsupported.
func VerifyByID(id Identifier, d Digest, pub crypto.PublicKey, digest, sig []byte) (Algorithm, error) {
	unsupported := fmt.Errorf("signature algorithm %v with digest %q and a key of type %T: %w", id.OID, d, pub, ErrUnsupported)
	if d.Size() == 0 {
		return "", unsupported
	}
	if len(digest) != d.Size() {
		return "", fmt.Errorf("digest of %d bytes where %s has %d: %w", len(digest), d, d.Size(), ErrSignature)
	}
	short := strings.ReplaceAll(string(d), "-", "")
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if _, err := ForKey(k); err != nil {
			return "", err
		}
		switch {
		case id.OID.Equal(oidRSAPSS):
			salt, ok := readPSS(id.Params, d)
			if !ok {
				return "", unsupported
			}
			name := Algorithm("rsa-pss-" + short)
			if rsa.VerifyPSS(k, d.CryptoHash(), digest, sig, &rsa.PSSOptions{SaltLength: salt, Hash: d.CryptoHash()}) != nil {
				return name, ErrSignature
			}
			return name, nil
		case !paramsAbsentOrNull(id.Params):
		case id.OID.Equal(oidRSAEncryption), id.OID.Equal(rsaWith[d]):
			name := Algorithm("rsa-pkcs1-" + short)
			if rsa.VerifyPKCS1v15(k, d.CryptoHash(), digest, sig) != nil {
				return name, ErrSignature
			}
			return name, nil
		}
	case *ecdsa.PublicKey:
		bits := k.Params().BitSize
		if bits < 256 || !id.OID.Equal(ecdsaWith[d]) || !paramsAbsentOrNull(id.Params) {
			return "", unsupported
		}
		name := Algorithm(fmt.Sprintf("ecdsa-p%d-%s", bits, short))
		if !ecdsa.VerifyASN1(k, digest, sig) {
			return name, ErrSignature
		}
		return name, nil
	}
	return "", unsupported
}

// readPSS reads RSASSA-PSS-params (RFC 4055 section 3.1) whose digest, for the
// message and for MGF1, must be d, and returns the salt's length in bytes.
// SHA-1, the default of both, is in no table.
func readPSS(params []byte, d Digest) (salt int, ok bool) {
	explicit := func(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }
	in := cryptobyte.String(params)
	var seq, hash, mgf, alg, mgfParams cryptobyte.String
	var mgfOID asn1.ObjectIdentifier
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1(&hash, explicit(0)) || !isDigest(hash, d) ||
		!seq.ReadASN1(&mgf, explicit(1)) || !mgf.ReadASN1(&alg, cbasn1.SEQUENCE) || !mgf.Empty() ||
		!alg.ReadASN1ObjectIdentifier(&mgfOID) || !mgfOID.Equal(oidMGF1) {
		return 0, false
	}
	if mgfParams = alg; !isDigest(mgfParams, d) {
		return 0, false
	}
	salt = 20
	var present bool
	var field cryptobyte.String
	if !seq.ReadOptionalASN1(&field, &present, explicit(2)) ||
		present && (!field.ReadASN1Integer(&salt) || !field.Empty() || salt < 0 || salt > 1024) {
		return 0, false
	}
	trailer := 1
	if !seq.ReadOptionalASN1(&field, &present, explicit(3)) ||
		present && (!field.ReadASN1Integer(&trailer) || !field.Empty()) {
		return 0, false
	}
	// rsa.PSSSaltLengthAuto is 0, so an empty salt cannot be asked for.
	return salt, trailer == 1 && salt > 0 && seq.Empty()
}

// isDigest reports whether in is one AlgorithmIdentifier that names d.
func isDigest(in cryptobyte.String, d Digest) bool {
	var seq cryptobyte.String
	var id Identifier
	if !in.ReadASN1(&seq, cbasn1.SEQUENCE) || !in.Empty() || !seq.ReadASN1ObjectIdentifier(&id.OID) {
		return false
	}
	id.Params = seq
	got, err := DigestByID(id)
	return err == nil && got == d
}
