package pkcs11

import (
	"context"
	"time"

	"tanba/tokens"
)

// pollEvery is the time between two looks at the slots. A look is two cheap
// calls a slot; C_WaitForSlotEvent is missing or blocks for ever in many
// libraries.
const pollEvery = time.Second

// Watch implements tokens.Driver. A library whose slots are frozen, such as
// SoftHSM, gives no events.
func (d *Driver) Watch(ctx context.Context, events chan<- tokens.Event) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	before, known := d.ids()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, ok := d.ids()
		if !ok && !known {
			continue
		}
		for _, e := range changes(before, now) {
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
		before, known = now, ok
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

// changes lists what came and went.
func changes(before, now map[string]bool) []tokens.Event {
	var out []tokens.Event
	for id := range before {
		if !now[id] {
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
