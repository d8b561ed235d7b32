package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tanba/tokens"
	"tanba/tokens/wire"
)

// A lookout stands by while a call into the library is outstanding. A library
// may hang for good when its token is pulled in the middle of a call (OpenSC
// 0.23 does when the card service learns of it last), and the signer should not
// wait for a timeout that is meant for slow tokens. So when a call takes longer
// than Timeouts.Look, a second token process lists the tokens. When the
// identity is not among them, the first process is ended and the second takes
// its place.
type lookout struct {
	d        *Driver
	c        *child
	identity string // empty: the call is List
	ctx      context.Context
	cancel   context.CancelFunc
	timer    *time.Timer

	mu      sync.Mutex
	stopped bool
	found   bool           // what the call should have told
	list    []tokens.Token // then
}

func (d *Driver) lookout(ctx context.Context, c *child, identity string) *lookout {
	l := &lookout{d: d, c: c, identity: identity}
	l.ctx, l.cancel = context.WithTimeout(ctx, d.cfg.Timeouts.Call)
	l.timer = time.AfterFunc(d.cfg.Timeouts.Look, l.look)
	return l
}

// again is told that the call has gone on.
func (l *lookout) again() { l.timer.Reset(l.d.cfg.Timeouts.Look) }

// stop ends the lookout. It returns the call's error err, or
// tokens.ErrRemoved when the lookout ended the call.
func (l *lookout) stop(err error) error {
	l.timer.Stop()
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if err != nil && l.found && l.identity != "" {
		return fmt.Errorf("%w: the library hung: %s", tokens.ErrRemoved, err.Error())
	}
	return err
}

// look lists the tokens from a process of its own.
func (l *lookout) look() {
	fresh, err := start(l.ctx, l.d.cfg)
	if err != nil {
		return
	}
	list, err := l.d.list(l.ctx, fresh)
	if err != nil || !l.take(list) || !l.d.replace(l.c, fresh) {
		fresh.end(l.d.cfg.Timeouts.Grace)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found {
		l.c.kill(errors.New("hangs"))
	}
}

// take decides whether the call is to be ended.
func (l *lookout) take(list []tokens.Token) bool {
	present := slices.ContainsFunc(list, func(t tokens.Token) bool {
		return slices.ContainsFunc(t.Identities, func(i tokens.Identity) bool { return i.ID == l.identity })
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	// A List may wait for its turn behind a slow signature.
	if l.stopped || present || l.identity == "" && l.c.others() {
		return false
	}
	l.found, l.list = true, list
	return true
}

// instead returns what List should have returned, if the lookout ended it.
func (l *lookout) instead() ([]tokens.Token, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list, l.found
}

// others reports whether more than one call is outstanding, not counting the
// watch.
func (c *child) others() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.calls {
		if !k.lossy {
			n++
		}
	}
	return n > 1
}

// replace puts fresh in the place of old, unless that was done already.
func (d *Driver) replace(old, fresh *child) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.child != old {
		return false
	}
	d.child = fresh
	return true
}

// list asks a process for its tokens.
func (d *Driver) list(ctx context.Context, c *child) ([]tokens.Token, error) {
	r, err := c.call(ctx, wire.Request{Op: wire.List}, nil, d.cfg.Timeouts.Call)
	if call, ok := errors.AsType[*tokens.CallError](err); ok && call.Call == "C_GetSlotList" {
		// A library that cannot even tell its slots does not recover by itself
		// when the card service was started again.
		return nil, c.kill(err)
	}
	if err != nil {
		return nil, err
	}
	list, err := wire.DecodeTokens(r.Tokens)
	if err != nil {
		return nil, c.kill(err)
	}
	for i := range list {
		list[i].Library = d.cfg.Library // we know better than it
	}
	return list, nil
}
