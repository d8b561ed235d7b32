package pivcard

import "crypto/subtle"

// The key references of PIN and PUK.
const (
	refPIN = 0x80
	refPUK = 0x81
)

// offer compares value with s and counts.
func (s *secret) offer(value []byte) uint16 {
	if s.left == 0 {
		return blocked
	}
	if subtle.ConstantTimeCompare(value, s.value) != 1 {
		s.left--
		return wrongPIN | uint16(s.left)
	}
	s.left = s.tries
	return ok
}

// verify is VERIFY: the PIN, the question how many tries are left, or, with
// P1 = FF, its end (SP 800-73-4 part 2, section 3.2.1).
func (c *Card) verify(q command) outcome {
	if q.p2 != refPIN {
		return status(noReference)
	}
	switch {
	case q.p1 == 0xFF && len(q.data) == 0:
		c.verified = false
		return status(ok)
	case q.p1 != 0:
		return status(invalidParameter)
	case len(q.data) == 0 && c.verified:
		return status(ok)
	case len(q.data) == 0 && c.pin.left == 0:
		return status(blocked)
	case len(q.data) == 0:
		return status(wrongPIN | uint16(c.pin.left))
	case !validPIN(q.data):
		return status(invalidData)
	}
	s := c.pin.offer(q.data)
	c.verified = s == ok
	c.fresh = c.verified
	return status(s)
}

// change is CHANGE REFERENCE DATA: the old value and the new (section 3.2.2).
func (c *Card) change(q command) outcome {
	s := &c.pin
	switch q.p2 {
	case refPIN:
	case refPUK:
		s = &c.puk
	default:
		return status(noReference)
	}
	if q.p1 != 0 {
		return status(invalidParameter)
	}
	if len(q.data) != 2*pinSize {
		return status(invalidData)
	}
	before, after := q.data[:pinSize], q.data[pinSize:]
	if q.p2 == refPIN && (!validPIN(before) || !validPIN(after)) {
		return status(invalidData)
	}
	r := s.offer(before)
	if r == ok {
		s.value = append([]byte(nil), after...)
	}
	if q.p2 == refPIN {
		c.verified = r == ok
	}
	return status(r)
}

// resetCounter is RESET RETRY COUNTER: the PUK and a new PIN (section 3.2.3).
func (c *Card) resetCounter(q command) outcome {
	if q.p1 != 0 {
		return status(invalidParameter)
	}
	if q.p2 != refPIN {
		return status(noReference)
	}
	if len(q.data) != 2*pinSize || !validPIN(q.data[pinSize:]) {
		return status(invalidData)
	}
	r := c.puk.offer(q.data[:pinSize])
	if r == ok {
		c.pin.value = append([]byte(nil), q.data[pinSize:]...)
		c.pin.left = c.pin.tries
	}
	return status(r)
}
