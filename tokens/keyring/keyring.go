// Package keyring makes one of all token drivers of this computer: every
// token, every identity, in one list.
package keyring

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tanba/tokens"
)

// fresh is how long a list is good without a look at the tokens: a prompt asks
// often, and a card is slow. Events end it at once.
const fresh = 2 * time.Second

// freshTrouble is fresh for a list with a PIN that is not in order: the signer
// is about to mend that, perhaps with the maker's own program.
const freshTrouble = 200 * time.Millisecond

// patience is how long List waits for a slow library. It stands in a later
// list; Changes tells when.
const patience = 4 * time.Second

// A Keyring is every token of this computer. It may be used by several
// goroutines.
type Keyring struct {
	log  *slog.Logger
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	slots   []*slot
	ears    map[*ear]bool
	closed  bool
	ownerOf map[string]*slot // by identity ID
	factory map[string]bool  // by token ID: it opened with a factory PIN
}

// slot is one driver and what it last said.
type slot struct {
	driver tokens.Driver

	// The rest is guarded by Keyring.mu.
	list    []tokens.Token
	err     error
	current bool          // list and err are as of now
	age     uint64        // counts what made list old, so that a read that began before does not count as new
	reading chan struct{} // closed when the read that runs has ended; nil: none runs
}

type ear struct{ c chan struct{} }

// A Problem is why a driver's tokens cannot be listed.
type Problem struct {
	// Driver is the driver's name.
	Driver string
	Err    error
}

func (p *Problem) Error() string { return p.Driver + ": " + p.Err.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }

// New makes a Keyring of drivers, and watches them until Close. It owns them.
func New(drivers []tokens.Driver, log *slog.Logger) *Keyring {
	ctx, stop := context.WithCancel(context.Background())
	k := &Keyring{log: log, ctx: ctx, stop: stop, ears: map[*ear]bool{}, ownerOf: map[string]*slot{}, factory: map[string]bool{}}
	for _, d := range drivers {
		k.Add(d)
	}
	return k
}

// Add takes one more driver in. After Close it closes it.
func (k *Keyring) Add(d tokens.Driver) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		_ = d.Close()
		return
	}
	s := &slot{driver: d}
	k.slots = append(k.slots, s)
	k.wg.Go(func() { k.watch(s) })
	k.mu.Unlock()
	k.tell()
}

// watch passes a driver's events on.
func (k *Keyring) watch(s *slot) {
	events := make(chan tokens.Event)
	done := make(chan struct{})
	go func() {
		s.driver.Watch(k.ctx, events)
		close(done)
	}()
	for {
		select {
		case e := <-events:
			if e.Kind == tokens.Lost {
				k.log.Warn("token library lost", "driver", s.driver.Name(), "err", e.Err)
			} else {
				k.log.Info("tokens changed", "driver", s.driver.Name(), "event", string(e.Kind))
			}
			k.spoil(s, true)
			k.tell()
		case <-done:
			return
		}
	}
}

// spoil makes the next List look again. With forget, what the driver last
// said is not shown even while it is slow.
func (k *Keyring) spoil(s *slot, forget bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.current = false
	s.age++
	if forget {
		s.list = nil
	}
}

// List returns every token present. A driver that fails is logged and kept
// for Problems; it does not hide the others. A token that two libraries reach
// is listed once: the same serial number, label and certificate.
func (k *Keyring) List(ctx context.Context) ([]tokens.Token, error) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil, errors.New("keyring closed")
	}
	slots := slices.Clone(k.slots)
	k.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	impatient := false
	for _, s := range slots {
		for reading := k.refresh(s); reading != nil && !impatient; reading = k.refresh(s) {
			select {
			case <-reading:
			case <-timer.C:
				impatient = true
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.merge(slots), nil
}

// refresh starts to read a driver if what it said is old. It returns a channel
// that is closed when the read has ended, nil if what it said is good. Every
// driver is started at the first call of a List, so they are read in parallel.
func (k *Keyring) refresh(s *slot) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || s.current {
		return nil
	}
	for _, o := range k.slots {
		k.read(o)
	}
	return s.reading
}

// read starts to read a driver unless that is not needed. k.mu is held.
func (k *Keyring) read(s *slot) {
	if s.current || s.reading != nil {
		return
	}
	done, age := make(chan struct{}), s.age
	s.reading = done
	late := time.AfterFunc(patience, func() {
		k.log.Warn("token library is slow", "driver", s.driver.Name())
	})
	k.wg.Go(func() {
		list, err := s.driver.List(k.ctx)
		inTime := late.Stop()
		if err != nil && k.ctx.Err() == nil {
			k.log.Warn("tokens not listed", "driver", s.driver.Name(), "err", err)
		}
		k.mu.Lock()
		s.list, s.err, s.reading = list, err, nil
		if age == s.age {
			s.current = true
			time.AfterFunc(freshness(list), func() { k.expire(s, age) })
		}
		k.mu.Unlock()
		close(done)
		if !inTime {
			k.tell()
		}
	})
}

// freshness is how long a list is good.
func freshness(list []tokens.Token) time.Duration {
	for _, t := range list {
		if t.PIN != tokens.PINOK && t.PIN != "" {
			return freshTrouble
		}
	}
	return fresh
}

func (k *Keyring) expire(s *slot, age uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.age == age {
		s.current = false
		s.age++
	}
}

// merge makes one list of what the drivers last said. k.mu is held.
func (k *Keyring) merge(slots []*slot) []tokens.Token {
	type card struct{ serial, label, fingerprint string }
	// The best identity of each card and certificate: the first that can sign,
	// otherwise the first.
	best := map[card]*tokens.Identity{}
	key := func(t *tokens.Token, i *tokens.Identity) card {
		return card{t.Serial, t.Label, i.Certificate.Fingerprint()}
	}
	for _, s := range slots {
		for ti := range s.list {
			t := &s.list[ti]
			for ii := range t.Identities {
				i := &t.Identities[ii]
				if b := best[key(t, i)]; b == nil || (len(b.Algorithms) == 0 && len(i.Algorithms) > 0) {
					best[key(t, i)] = i
				}
			}
		}
	}
	out := []tokens.Token{}
	for _, s := range slots {
		for ti := range s.list {
			t := s.list[ti]
			t.FactoryPIN = k.factory[t.ID]
			mine := make([]tokens.Identity, 0, len(t.Identities))
			for ii := range t.Identities {
				i := &s.list[ti].Identities[ii]
				if best[key(&t, i)] == i {
					mine = append(mine, *i)
					k.ownerOf[i.ID] = s
				}
			}
			if len(mine) == 0 && k.twin(out, slots, s, &t) {
				continue
			}
			t.Identities = mine
			out = append(out, t)
		}
	}
	slices.SortStableFunc(out, func(a, b tokens.Token) int {
		return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.Serial, b.Serial))
	})
	return out
}

// twin reports whether a token without an identity of its own is another
// library's view of one that is listed.
func (k *Keyring) twin(listed []tokens.Token, slots []*slot, s *slot, t *tokens.Token) bool {
	if len(t.Identities) > 0 {
		return true // all of them stand under another library
	}
	for _, l := range listed {
		if t.Serial != "" && l.Serial == t.Serial && l.Label == t.Label {
			return true
		}
	}
	for _, o := range slots {
		if o == s {
			continue
		}
		for _, l := range o.list {
			if t.Serial != "" && l.Serial == t.Serial && l.Label == t.Label && len(l.Identities) > 0 {
				return true
			}
		}
	}
	return false
}

// Open opens the identity with this ID on whichever driver has it. It returns
// tokens.ErrNotPresent when none has.
func (k *Keyring) Open(ctx context.Context, identityID string) (tokens.Session, error) {
	k.mu.Lock()
	s := k.ownerOf[identityID]
	k.mu.Unlock()
	if s == nil {
		if _, err := k.List(ctx); err != nil {
			return nil, err
		}
		k.mu.Lock()
		s = k.ownerOf[identityID]
		k.mu.Unlock()
		if s == nil {
			return nil, tokens.ErrNotPresent
		}
	}
	got, err := s.driver.Open(ctx, identityID)
	if err != nil {
		k.spoil(s, false)
		return nil, err
	}
	return &session{Session: got, k: k, slot: s, identity: identityID}, nil
}

// session is a driver's session that makes List look again after what may
// have changed the PIN's state, and tells so when the token is free.
type session struct {
	tokens.Session
	k        *Keyring
	slot     *slot
	identity string
	used     bool // a login succeeded
}

func (s *session) Login(ctx context.Context, pin tokens.PIN) error {
	factory := tokens.FactoryPIN(pin)
	err := s.Session.Login(ctx, pin)
	if err == nil && !pin.Empty() {
		s.k.opened(s.slot, s.identity, factory)
	}
	s.k.spoil(s.slot, false)
	if _, refused := errors.AsType[*tokens.PINError](err); refused {
		s.k.tell()
	}
	s.used = s.used || err == nil
	return err
}

func (s *session) Close() error {
	err := s.Session.Close()
	if s.used {
		s.used = false
		s.k.spoil(s.slot, false)
		s.k.tell()
	}
	return err
}

// Changes returns a channel that gets a value, without blocking the sender,
// after tokens came or went or the state of a PIN may be another one, and a
// function that ends it.
func (k *Keyring) Changes() (<-chan struct{}, func()) {
	e := &ear{make(chan struct{}, 1)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ears[e] = true
	return e.c, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.ears, e)
	}
}

func (k *Keyring) tell() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for e := range k.ears {
		select {
		case e.c <- struct{}{}:
		default:
		}
	}
}

// Problems returns a *Problem for each driver whose tokens could not be listed
// when last asked.
func (k *Keyring) Problems() []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []error
	for _, s := range k.slots {
		if s.err != nil {
			out = append(out, &Problem{Driver: s.driver.Name(), Err: s.err})
		}
	}
	return out
}

// Drivers returns the names of the drivers, in their order.
func (k *Keyring) Drivers() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, s := range k.slots {
		out = append(out, s.driver.Name())
	}
	return out
}

// Close ends every driver.
func (k *Keyring) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	slots := k.slots
	k.mu.Unlock()
	k.stop()
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, s := range slots {
		wg.Go(func() {
			if err := s.driver.Close(); err != nil {
				mu.Lock()
				errs = append(errs, &Problem{Driver: s.driver.Name(), Err: err})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	k.wg.Wait()
	return errors.Join(errs...)
}
