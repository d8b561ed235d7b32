// Package tokens holds the types and errors by which the agent speaks of
// keys, wherever they live: in a hardware token behind a vendor's PKCS#11
// library, in a PKCS#12 file, in a soft token. The drivers are in the
// folders below; this package has no behaviour of its own.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
)

// A Token is one card, stick or key file that is present.
type Token struct {
	// ID names the token while it is present: library and serial number, or a
	// file's path. It is opaque, never shown and never stored.
	ID string `json:"id"`
	// Label, Serial, Manufacturer and Model are what the token says of
	// itself, as UTF-8 without padding and control characters.
	Label        string `json:"label"`
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	// Library is the absolute path of the PKCS#11 library or of the key file.
	Library string `json:"library"`
	// PIN is the state of the user PIN as last read.
	PIN PINState `json:"pin"`
	// PUK is the state of the security officer's PIN, with which a locked user
	// PIN is set anew: PINOK, PINCountLow, PINFinalTry or PINLocked.
	PUK PINState `json:"puk"`
	// FactoryPIN is true when a login has shown that the PIN is still one that
	// tokens are delivered with. A keyring finds it out; nobody tries.
	FactoryPIN bool `json:"factoryPin"`
	// ProtectedPath is true when the PIN is typed on the reader
	// (CKF_PROTECTED_AUTHENTICATION_PATH).
	ProtectedPath bool `json:"protectedPath"`
	// MinPIN and MaxPIN bound the PIN's length in bytes; 0 if unknown.
	MinPIN int `json:"minPin"`
	MaxPIN int `json:"maxPin"`
	// Identities are the certificates with a key, readable without the PIN.
	Identities []Identity `json:"identities"`
}

// A PINState is the state of a user PIN as the token's flags tell it.
type PINState string

// The states of a PIN. The flags are those of CK_TOKEN_INFO.
const (
	PINOK       PINState = "ok"
	PINCountLow PINState = "count_low" // CKF_USER_PIN_COUNT_LOW
	PINFinalTry PINState = "final_try" // CKF_USER_PIN_FINAL_TRY
	PINLocked   PINState = "locked"    // CKF_USER_PIN_LOCKED
	PINToChange PINState = "to_be_changed"
	PINNotSet   PINState = "not_set"
)

// An Identity is a certificate and the private key that belongs to it, on one
// token.
type Identity struct {
	// ID names the identity among all tokens present. It is opaque: the SHA-256
	// of the certificate and the token's ID go into it, so that it stays the
	// same when the token is pulled and put back.
	ID string
	// TokenID is the ID of the Token that holds the key.
	TokenID string
	// Certificate is the signer's.
	Certificate *cert.Certificate
	// Chain holds the issuers' certificates that the token or file carries,
	// the signer's own not among them, in no particular order.
	Chain []*cert.Certificate
	// Algorithms are those that key, token and our table share, the one to
	// prefer first. Empty means the key cannot be used: see Problem.
	Algorithms []sigalg.Algorithm
	// Label is the key's label on the token.
	Label string
	// AlwaysAuthenticate is CKA_ALWAYS_AUTHENTICATE: the token wants the PIN
	// for each signature.
	AlwaysAuthenticate bool
	// Problem says why the key cannot be used although the certificate could
	// ("key does not match the certificate"), empty if it can. For the log.
	Problem string
}

// A Driver reaches the tokens of one library or one file. Its methods may be
// called from several goroutines.
type Driver interface {
	// Name is the library's or file's base name, for logs and doctor.
	Name() string
	// List returns the tokens present with their identities. An empty list is
	// no error.
	List(ctx context.Context) ([]Token, error)
	// Open returns a session on the token that holds the identity with this
	// ID, logged out. It returns ErrNotPresent when the token has gone.
	Open(ctx context.Context, identityID string) (Session, error)
	// Watch sends an Event for each change until ctx ends, then returns.
	Watch(ctx context.Context, events chan<- Event)
	io.Closer
}

// A Session is one identity, opened to be signed with. It is used by one
// goroutine at a time.
type Session interface {
	// Login offers pin to the token once, exactly: one C_Login for one human
	// entry. A session that the token considers logged in already is logged
	// out first, so that the PIN proves the signer. It returns a *PINError
	// when the token refuses the PIN. An empty PIN means the token's own pad.
	// For a key that wants the PIN for each signature (AlwaysAuthenticate) it is
	// kept where the token is reached, offered again for each, and overwritten
	// at Close, or when the token refuses it: Sign then yields a *PINError.
	Login(ctx context.Context, pin PIN) error
	// Sign signs each digest with alg and yields the signatures in order, each
	// as soon as it is made and in the layout of package sigalg. After an
	// error nothing more is yielded: what was yielded before it stays good.
	// Every signature was checked against the certificate's public key.
	Sign(ctx context.Context, alg sigalg.Algorithm, digests [][]byte) iter.Seq2[[]byte, error]
	// Close logs out and gives the session back.
	io.Closer
}

// An Event tells that the tokens present may have changed.
type Event struct {
	Kind EventKind
	// TokenID is the token's ID, empty when the driver cannot tell which.
	TokenID string
	// Err is why the driver was lost, for Lost only.
	Err error
}

// An EventKind is what happened.
type EventKind string

// The events.
const (
	Inserted EventKind = "inserted"
	Removed  EventKind = "removed"
	// Lost: the library crashed or hung; it is started again at the next use.
	Lost EventKind = "lost"
)

// Errors that decide what the signer is told.
var (
	// ErrNotPresent: the token or identity is not there (any more).
	ErrNotPresent = errors.New("token not present")
	// ErrRemoved: the token was pulled while it was used.
	ErrRemoved = errors.New("token removed")
	// ErrLibrary: the library crashed, hung, cannot be loaded or answers
	// nonsense.
	ErrLibrary = errors.New("token library failed")
	// ErrNotLoggedIn: Sign before Login, or the token forgot the login.
	ErrNotLoggedIn = errors.New("not logged in")
	// ErrBadSignature: the token's signature does not verify with the
	// certificate's public key.
	ErrBadSignature = errors.New("token made an invalid signature")
	// ErrBusy: another job has the token and did not give it back in time.
	ErrBusy = errors.New("token is in use")
	// ErrCancelled: the signer cancelled on the token or its PIN pad.
	ErrCancelled = errors.New("cancelled on the token")
)

// A PINError reports a PIN that was not accepted.
type PINError struct {
	// Reason is why.
	Reason PINReason
	// TriesLeft is the number of attempts the token still allows, or -1 if
	// the token does not say.
	TriesLeft int
	// State is the state after the attempt: the PUK's if Secret is SecretPUK, the user
	// PIN's otherwise.
	State PINState
	// Secret is which PIN it is about; of Login always SecretPIN.
	Secret Secret
}

// A PINReason is why a PIN was not accepted.
type PINReason string

// The reasons.
const (
	PINWrong  PINReason = "wrong"  // CKR_PIN_INCORRECT
	PINLength PINReason = "length" // CKR_PIN_LEN_RANGE, or caught before C_Login
	PINChars  PINReason = "chars"  // CKR_PIN_INVALID
	PINIsGone PINReason = "locked" // CKR_PIN_LOCKED
	PINOld    PINReason = "expired"
)

func (e *PINError) Error() string {
	name := map[Secret]string{SecretPIN: "PIN", SecretNew: "new PIN", SecretPUK: "PUK"}[e.Secret]
	return fmt.Sprintf("%s not accepted: %s, state %s, tries left %d", name, e.Reason, e.State, e.TriesLeft)
}

// A CallError is a failed PKCS#11 call, such as "C_Login: CKR_PIN_LOCKED
// (0xa4)". It may wrap one of the errors above.
type CallError struct {
	Call string // "C_Login"
	Code uint   // CK_RV
	Name string // "CKR_PIN_LOCKED", empty if unknown
	Is   error  // the decision, or nil
}

func (e *CallError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("%s: 0x%x", e.Call, e.Code)
	}
	return fmt.Sprintf("%s: %s (0x%x)", e.Call, e.Name, e.Code)
}

func (e *CallError) Unwrap() error { return e.Is }

// MaxPIN bounds a PIN or file password, in bytes.
const MaxPIN = 256

// A PIN is a signer's secret. Every way of printing it yields "[PIN]"; only
// Bytes reveals it. The bytes stand behind a pointer, because fmt prints the
// insides of a value, past every method, for %p and in unexported fields. The
// zero PIN is empty.
type PIN struct{ secret *[]byte }

// NewPIN takes over b, which the caller must not use again.
func NewPIN(b []byte) PIN { return PIN{&b} }

// Bytes returns the secret itself, UTF-8. The caller must not keep it.
func (p PIN) Bytes() []byte {
	if p.secret == nil {
		return nil
	}
	return *p.secret
}

// Empty reports whether there is nothing in it.
func (p PIN) Empty() bool { return len(p.Bytes()) == 0 }

// Wipe overwrites the secret with zeros.
func (p PIN) Wipe() { clear(p.Bytes()) }

// Format implements fmt.Formatter for every verb.
func (PIN) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[PIN]") }

// LogValue implements slog.LogValuer.
func (PIN) LogValue() slog.Value { return slog.StringValue("[PIN]") }

// MarshalText implements encoding.TextMarshaler, and with it JSON and TOML.
func (PIN) MarshalText() ([]byte, error) { return []byte("[PIN]"), nil }
