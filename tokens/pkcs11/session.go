package pkcs11

import (
	"bytes"
	"context"
	"fmt"
	"time"

	p11 "github.com/miekg/pkcs11"

	"tanba/tokens"
)

// session is one identity, opened. It uses one PKCS#11 session, and a second
// one for a batch where that is faster; each by one goroutine at a time: the
// libraries do not guard a session (SoftHSM crashes).
type session struct {
	d        *Driver
	slot     uint
	tokenID  string
	identity string
	known    *known
	sh       p11.SessionHandle
	second   p11.SessionHandle // 0 until a batch wants it
	right    chan struct{}     // not nil while this session has the right to be logged in
	keys     []keyObject
	pin      tokens.PIN // for keys that want it for each signature: see always.go
	loggedIn bool
	closed   bool
}

// Login implements tokens.Session.
func (s *session) Login(ctx context.Context, pin tokens.PIN) error {
	if s.closed {
		return tokens.ErrNotPresent
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	err := s.login(pin)
	if err != nil {
		s.release()
	}
	return err
}

// acquire waits for the right to be logged in to the token.
func (s *session) acquire(ctx context.Context) error {
	if s.right != nil {
		return nil
	}
	right := s.d.right(s.tokenID)
	t := time.NewTimer(LoginWait)
	defer t.Stop()
	select {
	case <-right:
		s.right = right
		return nil
	case <-t.C:
		return fmt.Errorf("waited %s: %w", LoginWait, tokens.ErrBusy)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) release() {
	s.loggedIn, s.keys = false, nil
	s.forget()
	if s.right != nil {
		s.right <- struct{}{}
		s.right = nil
	}
}

func (s *session) login(pin tokens.PIN) error {
	leave, err := s.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	p := s.d.p
	s.loggedIn, s.keys = false, nil
	s.forget()
	before, err := p.GetTokenInfo(s.slot)
	if err != nil {
		return s.d.failed("C_GetTokenInfo", err, s.slot, s.tokenID)
	}
	if err := checkPIN(pin, before); err != nil {
		return err
	}
	// The login of an earlier session would let any PIN pass as "already
	// logged in". A token that is not logged in says so; that is no fault.
	_ = p.Logout(s.sh)
	err = s.d.offer(s.sh, pin)
	if err != nil {
		return s.refused(err, before)
	}
	keys, always := s.privateKeys()
	s.d.mu.Lock()
	s.known.problem, s.known.always = "", always
	if len(keys) == 0 {
		s.known.problem = "no key on the token matches the certificate"
	}
	s.d.mu.Unlock()
	if len(keys) == 0 {
		_ = p.Logout(s.sh)
		return fmt.Errorf("private key of the certificate: %w", tokens.ErrNotPresent)
	}
	s.keys, s.loggedIn = keys, true
	if always {
		s.keep(pin)
	}
	return nil
}

// checkPIN catches before C_Login what the token would refuse, so that no try
// is lost by it.
func checkPIN(pin tokens.PIN, i p11.TokenInfo) error {
	state := pinState(i.Flags)
	fail := func(r tokens.PINReason) error {
		return &tokens.PINError{Reason: r, TriesLeft: triesLeft(state), State: state}
	}
	least, most := pinBounds(i)
	switch {
	case state == tokens.PINLocked:
		return fail(tokens.PINIsGone)
	case pin.Empty() && i.Flags&p11.CKF_PROTECTED_AUTHENTICATION_PATH != 0:
		return nil
	}
	if r := tokens.CheckPIN(pin, least, most); r != "" {
		return fail(r)
	}
	return nil
}

// triesLeft is what the flags tell: -1 unless it is one or none.
func triesLeft(s tokens.PINState) int {
	switch s {
	case tokens.PINLocked:
		return 0
	case tokens.PINFinalTry:
		return 1
	}
	return -1
}

// refused makes the error for a C_Login that failed.
func (s *session) refused(err error, before p11.TokenInfo) error {
	state := pinState(before.Flags)
	if after, e := s.d.p.GetTokenInfo(s.slot); e == nil {
		state = pinState(after.Flags)
	}
	pinError := &tokens.PINError{TriesLeft: triesLeft(state), State: state}
	switch rv(err) {
	case p11.CKR_PIN_INCORRECT:
		pinError.Reason = tokens.PINWrong
	case p11.CKR_PIN_LOCKED:
		*pinError = tokens.PINError{Reason: tokens.PINIsGone, TriesLeft: 0, State: tokens.PINLocked}
	case p11.CKR_PIN_LEN_RANGE:
		pinError.Reason = tokens.PINLength
	case p11.CKR_PIN_INVALID:
		pinError.Reason = tokens.PINChars
	case p11.CKR_PIN_EXPIRED:
		pinError.Reason = tokens.PINOld
	case p11.CKR_USER_PIN_NOT_INITIALIZED:
		*pinError = tokens.PINError{Reason: tokens.PINWrong, TriesLeft: -1, State: tokens.PINNotSet}
	default:
		return s.d.failed("C_Login", err, s.slot, s.tokenID)
	}
	return &refusal{callError("C_Login", err), pinError}
}

// refusal is a PINError with the call that it came from.
type refusal struct {
	call error
	pin  *tokens.PINError
}

func (r *refusal) Error() string   { return fmt.Sprintf("%v: %v", r.call, r.pin) }
func (r *refusal) Unwrap() []error { return []error{r.pin, r.call} }

// maxCandidates bounds the keys that a first signature may try.
const maxCandidates = 8

// privateKeys finds the keys that can be the certificate's, the likeliest
// first. The token shows an RSA key's modulus; for an EC key it often shows
// nothing, then the first signature tells which key it is.
func (s *session) privateKeys() (found []keyObject, always bool) {
	pub := s.known.cert.PublicKey
	s.d.mu.Lock()
	ids := [][]byte{s.known.ckaID}
	s.d.mu.Unlock()
	for _, k := range s.d.keys(s.sh, p11.CKO_PUBLIC_KEY) {
		if k.fits(pub) == same {
			ids = append(ids, k.id)
		}
	}
	private := s.d.keys(s.sh, p11.CKO_PRIVATE_KEY)
	add := func(k keyObject) {
		for _, f := range found {
			if f.handle == k.handle {
				return
			}
		}
		if len(found) < maxCandidates {
			found = append(found, k)
			always = always || k.always
		}
	}
	for _, k := range private {
		if k.fits(pub) == same {
			add(k)
		}
	}
	if len(found) > 0 {
		return found, always
	}
	for _, id := range ids {
		for _, k := range private {
			if len(id) > 0 && bytes.Equal(k.id, id) && k.fits(pub) == unknown {
				add(k)
			}
		}
	}
	if len(found) > 0 {
		return found, always
	}
	// A key whose CKA_ID has nothing to do with the certificate's: some tools
	// leave such pairs behind.
	for _, k := range private {
		if k.fits(pub) == unknown {
			add(k)
		}
	}
	return found, always
}

// Close implements tokens.Session.
func (s *session) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	defer s.d.open.Add(-1)
	defer s.release()
	leave, err := s.d.enter()
	if err != nil {
		return nil // the library has ended, and the login with it
	}
	defer leave()
	p := s.d.p
	if s.right != nil {
		err = p.Logout(s.sh)
	}
	if s.second != 0 {
		_ = p.CloseSession(s.second)
	}
	if e := p.CloseSession(s.sh); e != nil {
		return nil // the token has gone, and the login with it
	}
	if err != nil && s.loggedIn && rv(err) != p11.CKR_USER_NOT_LOGGED_IN {
		return callError("C_Logout", err)
	}
	return nil
}
