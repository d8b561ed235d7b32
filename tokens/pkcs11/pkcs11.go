// Package pkcs11 reaches the tokens behind one PKCS#11 library (Cryptoki
// v2.40). It is run by the token process alone, because a vendor's library
// can crash or hang the process that loads it.
//
// Login state in PKCS#11 belongs to process and token, not to a session. So
// that a PIN proves the signer and one job cannot use another's login, at
// most one [tokens.Session] of a token is logged in at a time: Login of a
// second waits up to [LoginWait] and then returns tokens.ErrBusy. Close, or a
// failed Login, lets the next one in.
package pkcs11

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"

	"tanba/crypto/cert"
	"tanba/tokens"
)

// LoginWait is how long a Login waits for another session of the token.
const LoginWait = 30 * time.Second

// maxSlots bounds the slots of a library that are looked at.
const maxSlots = 64

// A Driver reaches the tokens of one library. It implements tokens.Driver.
type Driver struct {
	path string
	p    *p11.Ctx
	lib  *library
	log  *slog.Logger
	// exclusive: the library cannot be called from several threads.
	exclusive bool
	// scales: two sessions sign faster than one.
	scales bool

	// life is held for reading by calls into the library and for writing to
	// end it, or for each call when the library is exclusive.
	life   sync.RWMutex
	closed bool

	open atomic.Int32 // sessions

	mu     sync.Mutex
	listed map[string]bool // IDs of the tokens in the newest list; nil once Watch has compared it
	known  map[string]*known
	users  map[string]chan struct{} // by token ID; a value in it is the right to be logged in
}

// known is what the driver remembers of an identity between calls.
type known struct {
	tokenID string
	cert    *cert.Certificate
	ckaID   []byte
	problem string // found at Login
	always  bool   // CKA_ALWAYS_AUTHENTICATE, found at Login
}

// Open loads the library at path, which is absolute, and initialises it. The
// error wraps tokens.ErrLibrary and says why a library cannot be used.
func Open(path string, log *slog.Logger) (*Driver, error) {
	d, err := open(path, log)
	if err != nil {
		return nil, &loadError{path, err}
	}
	return d, nil
}

type loadError struct {
	path string
	err  error
}

func (e *loadError) Error() string   { return fmt.Sprintf("library %s: %v", e.path, e.err) }
func (e *loadError) Unwrap() []error { return []error{tokens.ErrLibrary, e.err} }

func open(path string, log *slog.Logger) (*Driver, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("not an absolute path")
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	lib, err := load(path)
	if err != nil {
		return nil, err
	}
	p := p11.New(path)
	if p == nil {
		return nil, errors.New("cannot be loaded")
	}
	d := &Driver{path: path, p: p, lib: lib, log: log, known: map[string]*known{}, users: map[string]chan struct{}{}}
	err = p.Initialize()
	if rv(err) == p11.CKR_CANT_LOCK || rv(err) == p11.CKR_NEED_TO_CREATE_THREADS {
		d.exclusive = true
		err = p.Initialize(p11.InitializeWithFlags(0))
	}
	if err != nil {
		p.Destroy()
		return nil, callError("C_Initialize", err)
	}
	info, err := p.GetInfo()
	if err != nil {
		log.Warn("library tells nothing of itself", "err", callError("C_GetInfo", err))
	}
	d.scales = !d.exclusive && knownToScale(info)
	return d, nil
}

// knownToScale tells libraries for which a second session was measured to add
// speed. A card does one thing at a time: there it only adds trouble.
func knownToScale(i p11.Info) bool {
	m := strings.ToLower(i.ManufacturerID)
	return strings.HasPrefix(m, "softhsm") || strings.HasPrefix(m, "tanba")
}

// Name returns the library's base name.
func (d *Driver) Name() string { return filepath.Base(d.path) }

// enter begins a call into the library; the function it returns ends it.
func (d *Driver) enter() (leave func(), err error) {
	lock, unlock := d.life.RLock, d.life.RUnlock
	if d.exclusive {
		lock, unlock = d.life.Lock, d.life.Unlock
	}
	lock()
	if d.closed {
		unlock()
		return nil, fmt.Errorf("closed: %w", tokens.ErrLibrary)
	}
	return unlock, nil
}

// List implements tokens.Driver. A token that cannot be read is logged and
// left out; it is an error only when none can be.
func (d *Driver) List(ctx context.Context) ([]tokens.Token, error) {
	leave, err := d.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	present, err := d.present()
	if err != nil {
		return nil, err
	}
	d.forgetAbsent(present)
	out, listed := []tokens.Token{}, map[string]bool{}
	var failed error
	for _, s := range present {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := d.read(s)
		if err != nil {
			d.log.Warn("token cannot be read", "slot", s.slot, "err", err)
			listed[s.id] = !errors.Is(err, tokens.ErrRemoved)
			failed = err
			continue
		}
		listed[s.id] = true
		out = append(out, t)
	}
	d.mu.Lock()
	d.listed = listed
	d.mu.Unlock()
	if len(out) == 0 && failed != nil && !errors.Is(failed, tokens.ErrRemoved) {
		return nil, failed
	}
	return out, nil
}

// forgetAbsent forgets what logins found out about tokens that are not there:
// they may come back with other keys.
func (d *Driver) forgetAbsent(present []slotToken) {
	here := map[string]bool{}
	for _, s := range present {
		here[s.id] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.known {
		if !here[k.tokenID] {
			k.problem, k.always = "", false
		}
	}
}

// slotToken is an initialised token in a slot.
type slotToken struct {
	slot uint
	id   string
	info p11.TokenInfo
}

// present lists the initialised tokens. The caller is inside enter.
func (d *Driver) present() ([]slotToken, error) {
	slots, err := d.p.GetSlotList(true)
	if err != nil {
		return nil, callError("C_GetSlotList", err)
	}
	if len(slots) > maxSlots {
		d.log.Warn("too many slots, the rest is left out", "slots", len(slots))
		slots = slots[:maxSlots]
	}
	var out []slotToken
	times := map[string]int{}
	for _, slot := range slots {
		info, err := d.p.GetTokenInfo(slot)
		if err != nil {
			// Pulled since the list was made, or not a card we can talk to.
			d.log.Debug("slot skipped", "slot", slot, "err", callError("C_GetTokenInfo", err))
			continue
		}
		if info.Flags&p11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		id := d.tokenID(info)
		times[id]++
		if n := times[id]; n > 1 {
			id = fmt.Sprintf("%s-%d", id, n)
		}
		out = append(out, slotToken{slot, id, info})
	}
	return out, nil
}

// tokenID names a token by library, serial number and label. The slot does
// not go into it: a slot changes when a token is put back.
func (d *Driver) tokenID(i p11.TokenInfo) string {
	h := sha256.New()
	for _, s := range []string{d.path, i.SerialNumber, i.Label, i.ManufacturerID, i.Model} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func identityID(tokenID string, c *cert.Certificate) string {
	h := sha256.New()
	_, _ = io.WriteString(h, tokenID)
	_, _ = h.Write(c.Raw)
	return hex.EncodeToString(h.Sum(nil))
}

// pinState reads the flags of CK_TOKEN_INFO, the gravest first.
func pinState(flags uint) tokens.PINState {
	switch {
	case flags&p11.CKF_USER_PIN_LOCKED != 0:
		return tokens.PINLocked
	case flags&p11.CKF_USER_PIN_INITIALIZED == 0:
		return tokens.PINNotSet
	case flags&p11.CKF_USER_PIN_FINAL_TRY != 0:
		return tokens.PINFinalTry
	case flags&p11.CKF_USER_PIN_COUNT_LOW != 0:
		return tokens.PINCountLow
	case flags&p11.CKF_USER_PIN_TO_BE_CHANGED != 0:
		return tokens.PINToChange
	}
	return tokens.PINOK
}

// pinBounds returns the PIN's bounds in bytes, 0 where the token gives none
// that make sense.
func pinBounds(i p11.TokenInfo) (least, most int) {
	least, most = int(i.MinPinLen), int(i.MaxPinLen)
	if most < 1 || most > tokens.MaxPIN {
		most = 0
	}
	if least < 1 || least > tokens.MaxPIN || (most > 0 && least > most) {
		least = 0
	}
	return least, most
}

// Open implements tokens.Driver.
func (d *Driver) Open(ctx context.Context, identity string) (tokens.Session, error) {
	d.mu.Lock()
	k := d.known[identity]
	d.mu.Unlock()
	if k == nil {
		if _, err := d.List(ctx); err != nil {
			return nil, err
		}
		d.mu.Lock()
		k = d.known[identity]
		d.mu.Unlock()
		if k == nil {
			return nil, tokens.ErrNotPresent
		}
	}
	leave, err := d.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	present, err := d.present()
	if err != nil {
		return nil, err
	}
	for _, t := range present {
		if t.id != k.tokenID {
			continue
		}
		sh, err := d.p.OpenSession(t.slot, p11.CKF_SERIAL_SESSION)
		if err != nil {
			return nil, d.failed("C_OpenSession", err, t.slot, t.id)
		}
		d.open.Add(1)
		return &session{d: d, slot: t.slot, tokenID: t.id, identity: identity, known: k, sh: sh}, nil
	}
	return nil, tokens.ErrNotPresent
}

// Close ends the library. It waits for the calls in it to return.
func (d *Driver) Close() error {
	d.life.Lock()
	defer d.life.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	err := d.p.Finalize()
	d.p.Destroy()
	if err != nil {
		return callError("C_Finalize", err)
	}
	return nil
}

// right returns the channel whose value is the right to be logged in.
func (d *Driver) right(tokenID string) chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.users[tokenID]
	if c == nil {
		c = make(chan struct{}, 1)
		c <- struct{}{}
		d.users[tokenID] = c
	}
	return c
}
