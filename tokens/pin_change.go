package tokens

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"unicode"
	"unicode/utf8"
)

// A PINChanger is a Driver that can give the tokens it reaches a new PIN. Each
// method offers each secret to the token once, for one human entry. A call
// that has begun is not broken off when ctx ends: nobody would know which PIN
// holds.
//
// The error is a *PINError when a secret is not accepted, its Secret says
// which; ErrNotPresent or ErrRemoved; ErrBusy while a job is logged in to the
// token, which is then left alone; ErrNoPINChange.
type PINChanger interface {
	// ChangePIN replaces the user PIN old by fresh (C_Login, C_SetPIN).
	ChangePIN(ctx context.Context, tokenID string, old, fresh PIN) error
	// UnblockPIN sets the user PIN with the security officer's PIN, the PUK
	// (C_Login, C_InitPIN). It works whether or not the PIN is locked.
	UnblockPIN(ctx context.Context, tokenID string, puk, fresh PIN) error
}

// ErrNoPINChange: the token, its library or its rules do not let the PIN be
// set this way. The maker's own program may.
var ErrNoPINChange = errors.New("token does not let its PIN be set here")

// A Secret is which of the secrets of one call a PINError is about.
type Secret string

// The secrets.
const (
	// SecretPIN is the user PIN that the token has.
	SecretPIN Secret = ""
	// SecretNew is the user PIN that it was to get.
	SecretNew Secret = "new"
	// SecretPUK is the security officer's PIN.
	SecretPUK Secret = "puk"
)

// CheckPIN says why no token takes pin, before one is asked: PINLength for
// less than least or more than most bytes (0: not known) or none at all,
// PINChars for what is not UTF-8 or holds a control character. It is empty for
// a PIN that can be offered.
func CheckPIN(pin PIN, least, most int) PINReason {
	b := pin.Bytes()
	if most <= 0 || most > MaxPIN {
		most = MaxPIN
	}
	switch {
	case len(b) == 0, len(b) < least, len(b) > most:
		return PINLength
	case !utf8.Valid(b) || bytes.ContainsFunc(b, unicode.IsControl):
		return PINChars
	}
	return ""
}

// factory holds the PINs and PUKs that makers are known to deliver tokens
// with: Rutoken, ESMART, JaCarta.
var factory = [][]byte{
	[]byte("12345678"), []byte("87654321"), []byte("1234567890"), []byte("0987654321"), []byte("11111111"), []byte("00000000"),
}

// FactoryPIN reports whether pin is one that tokens are delivered with, which
// everybody knows.
func FactoryPIN(pin PIN) bool {
	return slices.ContainsFunc(factory, func(f []byte) bool { return bytes.Equal(f, pin.Bytes()) })
}
