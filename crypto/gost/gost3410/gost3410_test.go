package gost3410

import (
	"encoding/hex"

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
