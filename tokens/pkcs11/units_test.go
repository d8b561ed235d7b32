package pkcs11

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"testing"

	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
	"tanba/tokens"
)

func TestPINStates(t *testing.T) {
	const set = p11.CKF_USER_PIN_INITIALIZED
	for flags, want := range map[uint]tokens.PINState{
		0:                                    tokens.PINNotSet,
		set:                                  tokens.PINOK,
		set | p11.CKF_USER_PIN_COUNT_LOW:     tokens.PINCountLow,
		set | p11.CKF_USER_PIN_FINAL_TRY:     tokens.PINFinalTry,
		set | p11.CKF_USER_PIN_LOCKED:        tokens.PINLocked,
		p11.CKF_USER_PIN_LOCKED:              tokens.PINLocked,
		set | p11.CKF_USER_PIN_TO_BE_CHANGED: tokens.PINToChange,
		set | p11.CKF_USER_PIN_COUNT_LOW | p11.CKF_USER_PIN_FINAL_TRY: tokens.PINFinalTry,
	} {
		assert.Equal(t, want, pinState(flags), "%x", flags)
	}
	for in, want := range map[[2]uint][2]int{
		{4, 16}: {4, 16}, {0, 0}: {0, 0}, {0, ^uint(0)}: {0, 0}, {^uint(0), 8}: {0, 8}, {8, 4}: {0, 4}, {6, 1 << 20}: {6, 0},
	} {
		least, most := pinBounds(p11.TokenInfo{MinPinLen: in[0], MaxPinLen: in[1]})
		assert.Equal(t, want, [2]int{least, most}, "%v", in)
	}
}

func TestCheckPIN(t *testing.T) {
	const set = p11.CKF_USER_PIN_INITIALIZED
	info := p11.TokenInfo{MinPinLen: 4, MaxPinLen: 8, Flags: set}
	pad := info
	pad.Flags |= p11.CKF_PROTECTED_AUTHENTICATION_PATH
	locked := pad
	locked.Flags |= p11.CKF_USER_PIN_LOCKED
	last := info
	last.Flags |= p11.CKF_USER_PIN_FINAL_TRY
	for name, c := range map[string]struct {
		pin  string
		info p11.TokenInfo
		want *tokens.PINError
	}{
		"good":                    {"1234", info, nil},
		"letters":                 {"пин1", info, nil},
		"short":                   {"123", info, &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK}},
		"long":                    {"123456789", info, &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK}},
		"empty":                   {"", info, &tokens.PINError{Reason: tokens.PINLength, TriesLeft: -1, State: tokens.PINOK}},
		"empty, pad":              {"", pad, nil},
		"typed in spite of a pad": {"1234", pad, nil},
		"empty, pad, locked":      {"", locked, &tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}},
		"NUL":                     {"12\x0034", info, &tokens.PINError{Reason: tokens.PINChars, TriesLeft: -1, State: tokens.PINOK}},
		"short on last try":       {"1", last, &tokens.PINError{Reason: tokens.PINLength, TriesLeft: 1, State: tokens.PINFinalTry}},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkPIN(tokens.NewPIN([]byte(c.pin)), c.info)
			if c.want == nil {
				assert.NoError(t, err)
				return
			}
			var got *tokens.PINError
			require.ErrorAs(t, err, &got)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestECDSAOutput(t *testing.T) {
	task := &task{alg: sigalg.ECDSAP256SHA256, ecdsa: true}
	half := func(b ...byte) []byte { return append(make([]byte, 32-len(b)), b...) }
	der := func(r, s int64) []byte {
		b, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(r), big.NewInt(s)})
		require.NoError(t, err)
		return b
	}
	for name, c := range map[string]struct{ raw, want []byte }{
		"leading zeros": {append(half(5), half(0x80)...), der(5, 0x80)},
		"not padded":    {[]byte{1, 2}, der(1, 2)},
		"odd":           {make([]byte, 63), nil},
		"empty":         {nil, nil},
		"r is zero":     {append(half(0), half(1)...), nil},
		"s is zero":     {append(half(1), half(0)...), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := task.output(c.raw)
			assert.Equal(t, c.want, got)
			if c.want == nil {
				assert.ErrorIs(t, err, tokens.ErrBadSignature)
			}
		})
	}
}

func TestFits(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := k.PublicKey.Bytes()
	require.NoError(t, err)
	wrapped, err := asn1.Marshal(point)
	require.NoError(t, err)
	assert.Equal(t, same, (&keyObject{point: wrapped}).fits(k.Public()))
	assert.Equal(t, same, (&keyObject{point: point}).fits(k.Public()), "a library that does not wrap the point")
	assert.Equal(t, unknown, (&keyObject{}).fits(k.Public()))
	assert.Equal(t, other, (&keyObject{rsa: true}).fits(k.Public()))
	wrapped[len(wrapped)-1] ^= 1
	assert.Equal(t, other, (&keyObject{point: wrapped}).fits(k.Public()))
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"KEY            ": "KEY", "\x00\x00": "", "Таңба   ": "Таңба", "a\nb\x1b[1m": "ab[1m", "x\u202Egpj.exe": "xgpj.exe",
		"\xff\xfe": "\uFFFD", "  two words ": "two words",
	} {
		assert.Equal(t, want, clean(in), "%q", in)
	}
	assert.EqualValues(t, 0x0102, number([]byte{2, 1, 0, 0, 0, 0, 0, 0}))
}

func TestReturnValues(t *testing.T) {
	for code, want := range map[uint]error{
		p11.CKR_DEVICE_REMOVED: tokens.ErrRemoved, p11.CKR_TOKEN_NOT_PRESENT: tokens.ErrRemoved, p11.CKR_FUNCTION_CANCELED: tokens.ErrCancelled,
		p11.CKR_USER_NOT_LOGGED_IN: tokens.ErrNotLoggedIn, p11.CKR_GENERAL_ERROR: nil, 0x80001234: nil,
	} {
		var c *tokens.CallError
		require.ErrorAs(t, callError("C_Sign", p11.Error(code)), &c)
		assert.Equal(t, code, c.Code)
		assert.Equal(t, want, c.Is)
		assert.Equal(t, code < 0x80000000, c.Name != "", "a vendor's own code has no name")
	}
	for code := range mayBeRemoved {
		assert.NotEmpty(t, names[code])
	}
}
