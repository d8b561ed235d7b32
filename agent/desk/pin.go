package desk

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"tanba/agent/pages"
	"tanba/tokens"
)

const (
	// armAfter is how long the page must have been visible and focused before it
	// may set a PIN.
	armAfter = time.Second
	// pinWithin is how long after the question its secrets must come.
	pinWithin = 10 * time.Second
	// maxSecrets bounds the two secrets and the length of the first, in bytes.
	maxSecrets = 2 + 2*tokens.MaxPIN
)

// A PINSetter gives tokens a new PIN.
type PINSetter interface {
	tokens.PINChanger
	// CanSetPIN reports whether a token's driver can.
	CanSetPIN(tokenID string) bool
}

// The words with which the page is refused before a secret is asked for.
const (
	refusedInvalid   = pages.Refusal("invalid")
	refusedNotArmed  = pages.Refusal("not_armed") // too early, or not before the signer
	refusedGone      = pages.Refusal("removed")
	refusedElsewhere = pages.Refusal("elsewhere") // IT wants PINs typed elsewhere, or the reader has a pad
	refusedLocked    = pages.Refusal("locked")
	refusedFinalTry  = pages.Refusal("final_try") // needs the signer's tick
	refusedNoAsk     = pages.Refusal("not_asked")
	refusedBusy      = pages.Refusal("busy")
)

// pinForm is what the page has said of the PIN that it wants to set. Desk.mu
// guards it.
type pinForm struct {
	focused time.Time // since when the page has been before the signer; zero: it is not
	pending *pinAsk
	busy    bool // a token is at it
}

// pinAsk is a question that waits for its secrets.
type pinAsk struct {
	token   string
	unblock bool
	until   time.Time
}

// opened notes that a tab got in, and forgets what an earlier one said.
func (d *Desk) opened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.there = true
	d.pin.focused, d.pin.pending = time.Time{}, nil
}

// focus notes that the page came before the signer, or went.
func (d *Desk) focus(body json.RawMessage) error {
	var in struct {
		On bool `json:"on"`
	}
	if pages.Decode(body, &in) != nil {
		return refusedInvalid
	}
	d.opened()
	if in.On {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pin.focused = d.cfg.Now()
	}
	return nil
}

// mayType reports whether the PIN of a token may be typed in the page.
func (d *Desk) mayType(t *tokens.Token) bool {
	return !t.ProtectedPath && (d.cfg.PINEntry == "" || d.cfg.PINEntry == "page") && d.cfg.PINs != nil && d.cfg.PINs.CanSetPIN(t.ID)
}

// askPIN notes for which token the signer sets a PIN; the secrets must follow.
func (d *Desk) askPIN(ctx context.Context, body json.RawMessage) error {
	var in struct {
		Token    string `json:"token"`
		Unblock  bool   `json:"unblock"`
		FinalTry bool   `json:"finalTry"`
	}
	if pages.Decode(body, &in) != nil || in.Token == "" {
		return refusedInvalid
	}
	list, err := d.cfg.Tokens.List(ctx)
	if err != nil {
		return err
	}
	var token *tokens.Token
	for i := range list {
		if list[i].ID == in.Token {
			token = &list[i]
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	d.pin.pending = nil
	if d.pin.focused.IsZero() || now.Sub(d.pin.focused) < armAfter {
		return refusedNotArmed
	}
	if token == nil {
		return refusedGone
	}
	if !d.mayType(token) {
		return refusedElsewhere
	}
	state := token.PIN
	if in.Unblock {
		state = token.PUK
	}
	switch {
	case state == tokens.PINLocked:
		return refusedLocked
	case state == tokens.PINFinalTry && !in.FinalTry:
		return refusedFinalTry
	}
	d.pin.pending = &pinAsk{token: token.ID, unblock: in.Unblock, until: now.Add(pinWithin)}
	return nil
}

// pinSet is what came of it.
type pinSet struct {
	Done    bool   `json:"done"`
	Problem string `json:"problem"`
	Tries   int    `json:"tries"` // left, -1: not known
}

// raw takes the secrets of a question: two bytes with the length of the first
// one (the PIN or the PUK), big-endian, that, and the new PIN. They are wiped.
func (d *Desk) raw(ctx context.Context, method string, body []byte) (any, error) {
	defer clear(body)
	d.mu.Lock()
	ask := d.pin.pending
	d.pin.pending = nil
	busy := d.pin.busy
	ready := method == "pin" && ask != nil && !d.cfg.Now().After(ask.until)
	if ready && !busy {
		d.pin.busy = true
	}
	d.mu.Unlock()
	if !ready {
		return nil, refusedNoAsk
	}
	if busy {
		return nil, refusedBusy
	}
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.pin.busy = false
	}()
	if len(body) < 2 || int(binary.BigEndian.Uint16(body)) > len(body)-2 {
		return nil, refusedInvalid
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	given, fresh := tokens.NewPIN(body[2:n:n]), tokens.NewPIN(body[n:])
	if tokens.FactoryPIN(fresh) {
		return pinSet{Problem: "new_factory", Tries: -1}, nil
	}
	// What has begun is brought to its end, also when the page goes.
	ctx = context.WithoutCancel(ctx)
	how, set := "change", d.cfg.PINs.ChangePIN
	if ask.unblock {
		how, set = "unblock", d.cfg.PINs.UnblockPIN
	}
	err := set(ctx, ask.token, given, fresh)
	if err == nil {
		d.cfg.Log.Info("PIN set", "how", how)
		return pinSet{Done: true, Tries: -1}, nil
	}
	out := pinProblem(err)
	d.cfg.Log.Warn("PIN not set", "how", how, "problem", out.Problem, "err", err)
	return out, nil
}

// pinProblem makes the page's word of an error.
func pinProblem(err error) pinSet {
	if e, ok := errors.AsType[*tokens.PINError](err); ok {
		of := map[tokens.Secret]string{tokens.SecretPIN: "pin_", tokens.SecretNew: "new_", tokens.SecretPUK: "puk_"}
		return pinSet{Problem: of[e.Secret] + string(e.Reason), Tries: e.TriesLeft}
	}
	out := pinSet{Problem: "failed", Tries: -1}
	switch {
	case errors.Is(err, tokens.ErrNotPresent), errors.Is(err, tokens.ErrRemoved):
		out.Problem = "removed"
	case errors.Is(err, tokens.ErrBusy):
		out.Problem = "busy"
	case errors.Is(err, tokens.ErrNoPINChange):
		out.Problem = "unsupported"
	}
	return out
}
