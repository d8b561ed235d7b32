package pivcard

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
)

// authenticate is GENERAL AUTHENTICATE with a challenge and no more: a
// signature (SP 800-73-4 part 2, section 3.2.4 and appendix A.4).
func (c *Card) authenticate(q command, fresh bool) outcome {
	slot := Slot(q.p2)
	key := c.keys[slot]
	if key == nil {
		return status(noReference)
	}
	id, size, err := algorithm(key)
	if err != nil || q.p1 != id {
		return status(invalidParameter)
	}
	switch slot {
	case CardAuthentication:
	case Signature:
		if !c.verified || !fresh {
			return status(notSatisfied)
		}
	default:
		if !c.verified {
			return status(notSatisfied)
		}
	}
	challenge, valid := challengeOf(q.data)
	if !valid || len(challenge) == 0 || len(challenge) > size || id == 0x07 && len(challenge) != size {
		return status(invalidData)
	}
	c.made++
	if c.fault.PullAt > 0 && c.made >= c.fault.PullAt {
		c.fault.PullAt = 0
		return outcome{pull: true}
	}
	if c.fault.Status != 0 {
		return status(c.fault.Status)
	}
	sig, err := sign(key, challenge)
	if err != nil {
		return status(invalidData)
	}
	if c.fault.BadSignature {
		sig[len(sig)-1] ^= 1
	}
	return outcome{data: tlv(0x7C, tlv(0x82, sig)), status: ok}
}

// challengeOf reads the dynamic authentication template: an empty response,
// wanted, and the challenge.
func challengeOf(b []byte) (challenge []byte, valid bool) {
	tag, b, rest, valid := next(b)
	if !valid || tag != 0x7C || len(rest) > 0 {
		return nil, false
	}
	wanted := false
	for len(b) > 0 {
		var value []byte
		if tag, value, b, valid = next(b); !valid {
			return nil, false
		}
		switch {
		case tag == 0x82 && len(value) == 0:
			wanted = true
		case tag == 0x81 && challenge == nil:
			challenge = value
		default:
			return nil, false
		}
	}
	return challenge, wanted
}

// sign makes the bare RSA operation on a block as long as the modulus, or the
// DER ECDSA signature of a digest.
func sign(key crypto.Signer, challenge []byte) ([]byte, error) {
	if k, isRSA := key.(*rsa.PrivateKey); isRSA {
		m := new(big.Int).SetBytes(challenge)
		if m.Cmp(k.N) >= 0 {
			return nil, rsa.ErrMessageTooLong
		}
		// By the Chinese remainder theorem (RFC 8017, section 5.2.1).
		p, q := k.Primes[0], k.Primes[1]
		m1 := new(big.Int).Exp(m, k.Precomputed.Dp, p)
		m2 := new(big.Int).Exp(m, k.Precomputed.Dq, q)
		h := m1.Sub(m1, m2)
		h.Mul(h, k.Precomputed.Qinv).Mod(h, p)
		s := h.Mul(h, q)
		return s.Add(s, m2).FillBytes(make([]byte, len(challenge))), nil
	}
	return ecdsa.SignASN1(rand.Reader, key.(*ecdsa.PrivateKey), challenge)
}
