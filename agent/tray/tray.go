// Package tray is the agent's icon near the clock: what the agent is doing, by
// an icon that differs in shape and not only in colour, and a short menu.
//
// Where the desktop has no place for icons nothing is lost: the icon appears
// when a host does (Linux), and every item of the menu is a command of the
// command line too.
package tray

import (
	"context"
	"errors"

	"tanba/agent/text"
)

// ErrUnsupported reports a system on which this build shows no icon.
var ErrUnsupported = errors.New("unsupported: no tray icon on this system")

// A State is what the icon shows.
type State string

// The states, the one that matters most last: a later one hides an earlier.
const (
	Idle       State = "idle"
	Delivering State = "delivering"
	Signing    State = "signing"
	Waiting    State = "waiting"
	Attention  State = "attention"
)

// A Status is what the agent is doing.
type Status struct {
	// Waiting, Signing and Delivering count prompts, jobs and documents.
	Waiting, Signing, Delivering int
	// Attention counts what needs the signer: parked and dead deliveries.
	Attention int
	Lang      text.Lang
}

// State returns the one state that the icon shows.
func (s Status) State() State {
	switch {
	case s.Waiting > 0:
		return Waiting
	case s.Signing > 0:
		return Signing
	case s.Attention > 0:
		return Attention
	case s.Delivering > 0:
		return Delivering
	}
	return Idle
}

// Line is the status in one line, for the tooltip and the menu's first item.
func (s Status) Line() string {
	switch s.State() {
	case Waiting:
		return text.Count(s.Lang, "tray.waiting", s.Waiting)
	case Signing:
		return text.Get(s.Lang, "tray.signing")
	case Attention:
		return text.Count(s.Lang, "tray.attention", s.Attention)
	case Delivering:
		return text.Count(s.Lang, "tray.delivering", s.Delivering)
	}
	return text.Get(s.Lang, "tray.idle")
}

// An Action is an item of the menu.
type Action string

// The menu's items.
const (
	OpenPrompt Action = "open_prompt"
	ShowTokens Action = "tokens"
	ShowOutbox Action = "outbox"
	About      Action = "about"
	Quit       Action = "quit"
)

// Run shows the icon until ctx ends. It must be called on the main goroutine,
// from which Windows wants it. Updates come on status; do is called for each
// item chosen and must not block.
func Run(ctx context.Context, status <-chan Status, first Status, do func(Action)) error {
	return run(ctx, status, first, do)
}
