package pkcs11

import (
	"errors"
	"time"

	p11 "github.com/miekg/pkcs11"

	"tanba/tokens"
)

// rv returns the CK_RV of an error of miekg/pkcs11, 0 for another error.
func rv(err error) uint {
	if e, ok := errors.AsType[p11.Error](err); ok {
		return uint(e)
	}
	return 0
}

// callError makes the error of a failed call.
func callError(call string, err error) error {
	code := rv(err)
	if code == 0 {
		return err
	}
	return &tokens.CallError{Call: call, Code: code, Name: names[code], Is: decide(code)}
}

// decide returns what a code means by itself, nil where it depends.
func decide(code uint) error {
	switch code {
	case p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT:
		return tokens.ErrRemoved
	case p11.CKR_FUNCTION_CANCELED, p11.CKR_CANCEL:
		return tokens.ErrCancelled
	case p11.CKR_USER_NOT_LOGGED_IN:
		return tokens.ErrNotLoggedIn
	}
	return nil
}

// mayBeRemoved are the codes that libraries were seen to return for a token
// that was pulled, or pulled and put back.
var mayBeRemoved = map[uint]bool{
	p11.CKR_GENERAL_ERROR: true, p11.CKR_DEVICE_ERROR: true, p11.CKR_DEVICE_REMOVED: true,
	p11.CKR_KEY_HANDLE_INVALID: true, p11.CKR_OBJECT_HANDLE_INVALID: true, p11.CKR_SESSION_HANDLE_INVALID: true,
	p11.CKR_TOKEN_NOT_PRESENT: true, p11.CKR_USER_NOT_LOGGED_IN: true,
}

// failed makes the error of a failed call on a token, having looked whether
// the token is still there. The caller is inside enter.
func (d *Driver) failed(call string, err error, slot uint, tokenID string) error {
	c, ok := errors.AsType[*tokens.CallError](callError(call, err))
	if !ok {
		return err
	}
	if !mayBeRemoved[c.Code] {
		return c
	}
	looks := 1
	if c.Code == p11.CKR_GENERAL_ERROR || c.Code == p11.CKR_DEVICE_ERROR {
		looks = 10
	}
	for i := range looks {
		if i > 0 {
			time.Sleep(noticed / 10)
		}
		if !d.still(slot, tokenID) {
			c.Is = tokens.ErrRemoved
			break
		}
	}
	return c
}

// noticed is how long it may take until a library knows that a token was
// pulled: the first call to fail may say no more than that it failed. pcscd
// looks every 0.4 s.
const noticed = time.Second

// still reports whether the token is in its slot.
func (d *Driver) still(slot uint, tokenID string) bool {
	present, err := d.present()
	if err != nil {
		return false
	}
	for _, t := range present {
		if t.slot == slot && t.id == tokenID {
			return true
		}
	}
	return false
}

// failed makes the error of a failed call while signing. A token that was
// pulled and put back is there, but its login is lost.
func (s *session) failed(call string, err error) error {
	err = s.d.failed(call, err, s.slot, s.tokenID)
	c, ok := errors.AsType[*tokens.CallError](err)
	if !ok || c.Is != nil || !mayBeRemoved[c.Code] {
		return err
	}
	info, e := s.d.p.GetSessionInfo(s.sh)
	if e != nil || (info.State != p11.CKS_RO_USER_FUNCTIONS && info.State != p11.CKS_RW_USER_FUNCTIONS) {
		c.Is = tokens.ErrNotLoggedIn
	}
	return c
}

// offer is the one C_Login of a human entry.
func (d *Driver) offer(sh p11.SessionHandle, pin tokens.PIN) error {
	if code := d.lib.login(uint(sh), pin.Bytes()); code != p11.CKR_OK {
		return p11.Error(code)
	}
	return nil
}
