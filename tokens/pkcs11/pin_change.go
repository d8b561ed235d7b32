package pkcs11

import (
	"context"
	"fmt"
	"time"

	p11 "github.com/miekg/pkcs11"

	"tanba/tokens"
)

// changeWait is how long a change of the PIN waits for a job that is logged in
// to the token. The signer is told then, and tries again when it has signed.
const changeWait = 2 * time.Second

// Flags of CK_TOKEN_INFO and return values that miekg/pkcs11 does not name.
const (
	flagSOCountLow = 0x100000
	flagSOFinalTry = 0x200000
	flagSOLocked   = 0x400000

	rvPINTooWeak = 0x1B9 // CKR_PIN_TOO_WEAK, v3.0
)

// pukState reads the flags of the security officer's PIN.
func pukState(flags uint) tokens.PINState {
	switch {
	case flags&flagSOLocked != 0:
		return tokens.PINLocked
	case flags&flagSOFinalTry != 0:
		return tokens.PINFinalTry
	case flags&flagSOCountLow != 0:
		return tokens.PINCountLow
	}
	return tokens.PINOK
}

// ChangePIN implements tokens.PINChanger. The user is logged in first, with the
// same entry: a wrong one costs a single try and C_SetPIN is not called. Some
// libraries want that, and OpenSC can be set to take the old PIN of a session
// without a login for the PUK (user_pin_unblock_style).
func (d *Driver) ChangePIN(ctx context.Context, tokenID string, old, fresh tokens.PIN) error {
	return d.alone(ctx, tokenID, func() error {
		c, err := d.changeOn(tokenID, old, fresh, tokens.SecretPIN)
		if err != nil {
			return err
		}
		defer c.close()
		// A PIN that has expired opens the session for C_SetPIN alone.
		if code := d.lib.login(uint(c.sh), old.Bytes()); code != p11.CKR_OK && code != p11.CKR_PIN_EXPIRED {
			return c.refused("C_Login", code, tokens.SecretPIN)
		}
		return c.refused("C_SetPIN", d.lib.setPIN(uint(c.sh), old.Bytes(), fresh.Bytes()), tokens.SecretPIN)
	})
}

// UnblockPIN implements tokens.PINChanger.
func (d *Driver) UnblockPIN(ctx context.Context, tokenID string, puk, fresh tokens.PIN) error {
	return d.alone(ctx, tokenID, func() error {
		c, err := d.changeOn(tokenID, puk, fresh, tokens.SecretPUK)
		if err != nil {
			return err
		}
		defer c.close()
		if code := d.lib.loginSO(uint(c.sh), puk.Bytes()); code != p11.CKR_OK {
			return c.refused("C_Login", code, tokens.SecretPUK)
		}
		return c.refused("C_InitPIN", d.lib.initPIN(uint(c.sh), fresh.Bytes()), tokens.SecretNew)
	})
}

// alone calls f when nobody is logged in to the token and no other call is in
// the library: beside the security officer no session may be opened, and a
// C_Logout ends the searches of a List.
func (d *Driver) alone(ctx context.Context, tokenID string, f func() error) error {
	back, err := d.take(ctx, tokenID)
	if err != nil {
		return err
	}
	defer back()
	// No waiting Lock: it would hold up the calls of others that it waits for.
	for until := time.NewTimer(changeWait); !d.life.TryLock(); {
		select {
		case <-until.C:
			return fmt.Errorf("waited %s for the library: %w", changeWait, tokens.ErrBusy)
		case <-time.After(time.Millisecond):
		}
	}
	defer d.life.Unlock()
	if d.closed {
		return fmt.Errorf("closed: %w", tokens.ErrLibrary)
	}
	return f()
}

// take waits for the right to be logged in to the token, and returns what
// gives it back.
func (d *Driver) take(ctx context.Context, tokenID string) (back func(), err error) {
	d.mu.Lock()
	_, known := d.users[tokenID]
	d.mu.Unlock()
	if !known {
		// Only a token that is there gets an entry.
		leave, err := d.enter()
		if err != nil {
			return nil, err
		}
		_, err = d.byID(tokenID)
		leave()
		if err != nil {
			return nil, err
		}
	}
	right := d.right(tokenID)
	t := time.NewTimer(changeWait)
	defer t.Stop()
	select {
	case <-right:
		return func() { right <- struct{}{} }, nil
	case <-t.C:
		return nil, fmt.Errorf("waited %s: %w", changeWait, tokens.ErrBusy)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// byID returns the token with this ID. The caller is inside enter.
func (d *Driver) byID(tokenID string) (slotToken, error) {
	present, err := d.present()
	if err != nil {
		return slotToken{}, err
	}
	for _, t := range present {
		if t.id == tokenID {
			return t, nil
		}
	}
	return slotToken{}, tokens.ErrNotPresent
}

// change is a session on which a PIN is set.
type change struct {
	d     *Driver
	token slotToken
	sh    p11.SessionHandle
}

// changeOn opens a session on the token, after checks that save the token's
// tries. The caller is alone.
func (d *Driver) changeOn(tokenID string, given, fresh tokens.PIN, secret tokens.Secret) (*change, error) {
	t, err := d.byID(tokenID)
	if err != nil {
		return nil, err
	}
	if err := checkChange(t.info, given, fresh, secret); err != nil {
		return nil, err
	}
	sh, err := d.p.OpenSession(t.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	if err != nil {
		return nil, d.failed("C_OpenSession", err, t.slot, t.id)
	}
	// A login left behind by another would let any PIN pass. That nobody is
	// logged in is no fault.
	_ = d.p.Logout(sh)
	return &change{d, t, sh}, nil
}

// checkChange catches what the token would refuse. The bounds are those of the
// user PIN; a PUK's are not told.
func checkChange(i p11.TokenInfo, given, fresh tokens.PIN, secret tokens.Secret) error {
	state := secretState(secret, i.Flags)
	fail := func(s tokens.Secret, r tokens.PINReason) error {
		return &tokens.PINError{Reason: r, TriesLeft: triesLeft(state), State: state, Secret: s}
	}
	least, most := pinBounds(i)
	if r := tokens.CheckPIN(fresh, least, most); r != "" {
		return fail(tokens.SecretNew, r)
	}
	if i.Flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH != 0 && given.Empty() {
		return fmt.Errorf("the reader's pad: %w", tokens.ErrNoPINChange)
	}
	if state == tokens.PINLocked {
		return fail(secret, tokens.PINIsGone)
	}
	if secret == tokens.SecretPUK {
		least, most = 0, 0
	}
	if r := tokens.CheckPIN(given, least, most); r != "" {
		return fail(secret, r)
	}
	return nil
}

func secretState(s tokens.Secret, flags uint) tokens.PINState {
	if s == tokens.SecretPUK {
		return pukState(flags)
	}
	return pinState(flags)
}

// refused makes the error of a call that offered secret; nil for CKR_OK. The
// flags are read anew: they tell what the call has cost.
func (c *change) refused(call string, code uint, secret tokens.Secret) error {
	if code == p11.CKR_OK {
		return nil
	}
	err := p11.Error(code)
	e := &tokens.PINError{TriesLeft: -1, State: tokens.PINOK, Secret: secret}
	switch code {
	case p11.CKR_PIN_INCORRECT:
		e.Reason = tokens.PINWrong
	case p11.CKR_PIN_LOCKED:
		e.Reason = tokens.PINIsGone
	case p11.CKR_PIN_EXPIRED:
		e.Reason = tokens.PINOld
	case p11.CKR_PIN_LEN_RANGE:
		e.Reason = tokens.PINLength
	case p11.CKR_PIN_INVALID, rvPINTooWeak:
		e.Reason = tokens.PINChars
	case p11.CKR_FUNCTION_NOT_SUPPORTED, p11.CKR_USER_TYPE_INVALID, p11.CKR_USER_PIN_NOT_INITIALIZED,
		p11.CKR_TOKEN_WRITE_PROTECTED, p11.CKR_ACTION_PROHIBITED:
		return fmt.Errorf("%w: %w", tokens.ErrNoPINChange, callError(call, err))
	case p11.CKR_SESSION_READ_ONLY_EXISTS, p11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN, p11.CKR_USER_ALREADY_LOGGED_IN:
		return fmt.Errorf("%w: %w", tokens.ErrBusy, callError(call, err))
	case p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED:
		// OpenSC's answer for a card on which nobody logs in with the PUK.
		if call == "C_Login" && secret == tokens.SecretPUK && c.d.still(c.token.slot, c.token.id) {
			return fmt.Errorf("%w: %w", tokens.ErrNoPINChange, callError(call, err))
		}
		return c.d.failed(call, err, c.token.slot, c.token.id)
	default:
		return c.d.failed(call, err, c.token.slot, c.token.id)
	}
	// C_SetPIN has both PINs; the old one's form was checked already.
	if call == "C_SetPIN" && (e.Reason == tokens.PINLength || e.Reason == tokens.PINChars) {
		e.Secret = tokens.SecretNew
	}
	// A library that only keeps the PUK until now (OpenSC) finds it wrong here.
	if call == "C_InitPIN" && (e.Reason == tokens.PINWrong || e.Reason == tokens.PINIsGone) {
		e.Secret = tokens.SecretPUK
	}
	flags := c.token.info.Flags
	if now, err := c.d.p.GetTokenInfo(c.token.slot); err == nil {
		flags = now.Flags
	}
	if e.Secret != tokens.SecretNew {
		e.State = secretState(e.Secret, flags)
		if e.Reason == tokens.PINIsGone {
			e.State = tokens.PINLocked
		}
		e.TriesLeft = triesLeft(e.State)
	}
	return &refusal{callError(call, err), e}
}

// close logs out and gives the session back.
func (c *change) close() {
	_ = c.d.p.Logout(c.sh)
	_ = c.d.p.CloseSession(c.sh)
}
