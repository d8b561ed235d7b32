package wire

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// maxText bounds every text of a frame that is not a certificate, in bytes.
const maxText = 1 << 10

// An Error is an error on its way to the agent. What errors.Is and errors.As
// find in it before the way, they find after it.
type Error struct {
	// Text is for the log. It holds no personal data.
	Text string `json:"text"`
	// Decisions are the names of the errors of package tokens in it.
	Decisions []string   `json:"decisions,omitempty"`
	PIN       *PINError  `json:"pin,omitempty"`
	Call      *CallError `json:"call,omitempty"`
}

// A PINError is a tokens.PINError in a frame.
type PINError struct {
	Reason    tokens.PINReason `json:"reason"`
	TriesLeft int              `json:"triesLeft"`
	State     tokens.PINState  `json:"state"`
	Secret    tokens.Secret    `json:"secret,omitempty"`
}

// A CallError is a tokens.CallError in a frame.
type CallError struct {
	Call string `json:"call"`
	Code uint   `json:"code"`
	Name string `json:"name,omitempty"`
	Is   string `json:"is,omitempty"`
}

// decisions are the errors that have a name in a frame.
var decisions = map[string]error{
	"not_present":   tokens.ErrNotPresent,
	"removed":       tokens.ErrRemoved,
	"library":       tokens.ErrLibrary,
	"not_logged_in": tokens.ErrNotLoggedIn,
	"bad_signature": tokens.ErrBadSignature,
	"cancelled":     tokens.ErrCancelled,
	"busy":          tokens.ErrBusy,
	"no_pin_change": tokens.ErrNoPINChange,
	"unsupported":   sigalg.ErrUnsupported,
	"ended":         context.Canceled,
	"late":          context.DeadlineExceeded,
}

// EncodeError returns err for a frame, nil for nil.
func EncodeError(err error) *Error {
	if err == nil {
		return nil
	}
	e := &Error{Text: cut(err.Error())}
	for name, is := range decisions {
		if errors.Is(err, is) {
			e.Decisions = append(e.Decisions, name)
		}
	}
	if p, ok := errors.AsType[*tokens.PINError](err); ok {
		e.PIN = &PINError{p.Reason, p.TriesLeft, p.State, p.Secret}
	}
	if c, ok := errors.AsType[*tokens.CallError](err); ok {
		e.Call = &CallError{Call: cut(c.Call), Code: c.Code, Name: cut(c.Name)}
		for name, is := range decisions {
			if c.Is == is {
				e.Call.Is = name
			}
		}
	}
	return e
}

// Err returns the error that was encoded, nil for nil. A name that is not
// known is ErrMalformed.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	out := &carried{text: clean(cut(e.Text))}
	if p := e.PIN; p != nil {
		if !pinReasons[p.Reason] || !pinStates[p.State] || !secrets[p.Secret] || p.TriesLeft < -1 {
			return ErrMalformed
		}
		out.parts = append(out.parts, &tokens.PINError{Reason: p.Reason, TriesLeft: p.TriesLeft, State: p.State, Secret: p.Secret})
	}
	if c := e.Call; c != nil {
		is, ok := decisions[c.Is]
		if !ok && c.Is != "" {
			return ErrMalformed
		}
		out.parts = append(out.parts, &tokens.CallError{Call: clean(cut(c.Call)), Code: c.Code, Name: clean(cut(c.Name)), Is: is})
	}
	for _, name := range e.Decisions {
		is, ok := decisions[name]
		if !ok {
			return ErrMalformed
		}
		out.parts = append(out.parts, is)
	}
	return out
}

// carried is an error that came through a frame.
type carried struct {
	text  string
	parts []error
}

func (c *carried) Error() string   { return c.text }
func (c *carried) Unwrap() []error { return c.parts }

var pinReasons = map[tokens.PINReason]bool{
	tokens.PINWrong: true, tokens.PINLength: true, tokens.PINChars: true, tokens.PINIsGone: true, tokens.PINOld: true,
}

var secrets = map[tokens.Secret]bool{tokens.SecretPIN: true, tokens.SecretNew: true, tokens.SecretPUK: true}

var pinStates = map[tokens.PINState]bool{
	tokens.PINOK: true, tokens.PINCountLow: true, tokens.PINFinalTry: true, tokens.PINLocked: true,
	tokens.PINToChange: true, tokens.PINNotSet: true,
}

// cut shortens s to maxText bytes.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// clean drops what could break a line of the log.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
