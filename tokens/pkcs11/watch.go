package pkcs11

import (
	"context"
	"slices"
	"time"

	p11 "github.com/miekg/pkcs11"

	"tanba/tokens"
)

// Times of a watch. Asking for an event (C_WaitForSlotEvent, CKF_DONT_BLOCK)
// costs a library little, and a token nothing; a look at the slots may wake a
// card. A call that blocks is not used: in many libraries it holds up all
// others, for ever.
const (
	askEvery = 500 * time.Millisecond
	// asksToLook is how many asks go by between two looks while there are no
	// events: a few for a library that tells them, two for one that does not.
	asksToLook, asksToPoll = 4, 2
)

// hangsAfter is when a look counts as hanging, unless a session is open: the
// library may be waiting for a slow token or a person then.
const hangsAfter = 2 * time.Second

// Watch implements tokens.Driver. A library whose slots are frozen, such as
// SoftHSM, gives no events. It returns early when the library hangs for good,
// as OpenSC 0.23 does in a call to a card that was pulled a moment before; the
// process is of no use then.
func (d *Driver) Watch(ctx context.Context, events chan<- tokens.Event) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	before, known := d.ids()
	tells, told := true, 0
	for asks := 1; ; asks++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch news, works := d.ask(); {
		case !works:
			tells = false
		case news:
			told = 3 // now, and the next two times: a card takes a while to be read
		}
		look := asks >= asksToPoll && !tells || asks >= asksToLook || told > 0
		if !look {
			continue
		}
		now, ok, hangs := d.look()
		if hangs {
			return
		}
		if !ok && !known {
			asks = 0
			continue
		}
		found := changes(before, now)
		if len(found) > 0 && told == 0 {
			tells = false // it does not tell after all
		}
		for _, e := range d.unlisted(now) {
			if !slices.Contains(found, e) {
				found = append(found, e)
			}
		}
		for _, e := range found {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
		before, known = now, ok
		asks, told = 0, max(0, told-1)
	}
}

// Return values and flag of C_WaitForSlotEvent.
const (
	dontBlock = 1
	noEvent   = 8
)

// ask asks the library whether something came or went since it was asked last.
// works is false when it does not tell such things.
func (d *Driver) ask() (news, works bool) {
	leave, err := d.enter()
	if err != nil {
		return false, false
	}
	defer leave()
	for range maxSlots {
		switch d.lib.waitForSlotEvent(dontBlock) {
		case p11.CKR_OK:
			news = true
		case noEvent:
			return news, true
		case p11.CKR_FUNCTION_NOT_SUPPORTED:
			return news, false
		default:
			return true, true // look what is wrong
		}
	}
	return true, false // there is always another: it does not count
}

// look is ids, with a limit.
func (d *Driver) look() (ids map[string]bool, ok, hangs bool) {
	type seen struct {
		ids map[string]bool
		ok  bool
	}
	done := make(chan seen, 1)
	go func() {
		ids, ok := d.ids()
		done <- seen{ids, ok}
	}()
	for {
		select {
		case s := <-done:
			return s.ids, s.ok, false
		case <-time.After(hangsAfter):
			if d.open.Load() == 0 {
				return nil, false, true
			}
		}
	}
}

// ids returns the IDs of the tokens present, none and false when the library
// cannot tell.
func (d *Driver) ids() (ids map[string]bool, ok bool) {
	leave, err := d.enter()
	if err != nil {
		return nil, false
	}
	defer leave()
	present, err := d.present()
	if err != nil {
		return nil, false
	}
	ids = map[string]bool{}
	for _, t := range present {
		ids[t.id] = true
	}
	return ids, true
}

// unlisted is how the newest list differs from what is there now. A token that
// was pulled and put back between two looks is there at both, but a list made
// in between lacks it, and nobody would list again.
func (d *Driver) unlisted(now map[string]bool) []tokens.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listed == nil {
		return nil
	}
	found := changes(d.listed, now)
	d.listed = nil
	return found
}

// changes lists what came and went.
func changes(before, now map[string]bool) []tokens.Event {
	var out []tokens.Event
	for id := range before {
		if before[id] && !now[id] {
			out = append(out, tokens.Event{Kind: tokens.Removed, TokenID: id})
		}
	}
	for id := range now {
		if !before[id] {
			out = append(out, tokens.Event{Kind: tokens.Inserted, TokenID: id})
		}
	}
	return out
}
