package pkcs11

import (
	"bytes"

	p11 "github.com/miekg/pkcs11"

	"tanba/tokens"
)

// A key with CKA_ALWAYS_AUTHENTICATE wants a C_Login(CKU_CONTEXT_SPECIFIC)
// between C_SignInit and C_Sign, each time. So that the signer enters the PIN
// once for what was approved, the session keeps it from Login until Close, in
// the token process alone, and overwrites it then, or as soon as the token
// refuses it: a refused PIN is not offered again. On a reader with a pad there
// is nothing to keep, and the signer enters it there for each signature.

// keep keeps a copy of the PIN.
func (s *session) keep(pin tokens.PIN) {
	if !pin.Empty() {
		s.pin = tokens.NewPIN(bytes.Clone(pin.Bytes()))
	}
}

// forget overwrites the PIN that was kept.
func (s *session) forget() {
	s.pin.Wipe()
	s.pin = tokens.PIN{}
}

// again logs in for the signature that was begun. The caller is inside enter.
func (s *session) again() error {
	code := s.d.lib.loginContext(uint(s.sh), s.pin.Bytes())
	switch code {
	case p11.CKR_OK:
		return nil
	case p11.CKR_USER_ALREADY_LOGGED_IN, p11.CKR_USER_TYPE_INVALID:
		return nil // the library means no such login; C_Sign will tell
	}
	err := p11.Error(code)
	failed := s.failed("C_Login", err)
	if pinCodes[code] {
		failed = s.refused(err, p11.TokenInfo{Flags: p11.CKF_USER_PIN_INITIALIZED})
	}
	s.forget()
	s.loggedIn = false
	// The signature that was begun ends with its PKCS#11 session. To end it with
	// C_Sign might make the library offer a PIN that it kept itself.
	_ = s.d.p.CloseSession(s.sh)
	s.sh = 0
	if sh, e := s.d.p.OpenSession(s.slot, p11.CKF_SERIAL_SESSION); e == nil {
		s.sh = sh
	}
	return failed
}

// pinCodes are the answers to a C_Login that speak of the PIN.
var pinCodes = map[uint]bool{
	p11.CKR_PIN_INCORRECT: true, p11.CKR_PIN_LOCKED: true, p11.CKR_PIN_LEN_RANGE: true, p11.CKR_PIN_INVALID: true,
	p11.CKR_PIN_EXPIRED: true, p11.CKR_USER_PIN_NOT_INITIALIZED: true,
}
