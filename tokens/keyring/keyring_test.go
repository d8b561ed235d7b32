package keyring_test

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
	"tanba/tokens/keyring"
	"tanba/tokens/tokentest"
)

// driver is a driver whose tokens the test sets.
type driver struct {
	name   string
	mu     sync.Mutex
	list   []tokens.Token
	err    error
	delay  time.Duration
	lists  atomic.Int32
	events chan tokens.Event
	closed atomic.Bool
}

func newDriver(name string, list ...tokens.Token) *driver {
	return &driver{name: name, list: list, events: make(chan tokens.Event)}
}

func (d *driver) set(err error, list ...tokens.Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.err = list, err
}

func (d *driver) Name() string { return d.name }

func (d *driver) List(ctx context.Context) ([]tokens.Token, error) {
	d.lists.Add(1)
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list, d.err
}

func (d *driver) Open(_ context.Context, id string) (tokens.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.list {
		for _, i := range t.Identities {
			if i.ID == id {
				return &session{d}, nil
			}
		}
	}
	return nil, tokens.ErrNotPresent
}

func (d *driver) Watch(ctx context.Context, events chan<- tokens.Event) {
	for {
		select {
		case e := <-d.events:
			events <- e
		case <-ctx.Done():
			return
		}
	}
}

func (d *driver) Close() error {
	d.closed.Store(true)
	return nil
}

type session struct{ driver *driver }

// asked is what a session answers to Login, so that a test sees whose it is.
type asked struct{ *driver }

func (asked) Error() string { return "asked" }

func (s *session) Login(context.Context, tokens.PIN) error { return asked{s.driver} }
func (s *session) Sign(context.Context, sigalg.Algorithm, [][]byte) iter.Seq2[[]byte, error] {
	return func(func([]byte, error) bool) {}
}
func (s *session) Close() error { return nil }

// token makes a token whose identities have these certificates.
func token(t *testing.T, id, serial string, certs ...tokentest.Pair) tokens.Token {
	t.Helper()
	k := tokens.Token{ID: id, Label: "L", Serial: serial, PIN: tokens.PINOK, Library: "/" + id}
	for _, p := range certs {
		c, err := cert.Parse(p.Certificate.Raw)
		require.NoError(t, err)
		k.Identities = append(k.Identities, tokens.Identity{
			ID: id + "-" + p.Name, TokenID: id, Certificate: c, Algorithms: []sigalg.Algorithm{sigalg.RSASHA256},
		})
	}
	return k
}

func ring(t *testing.T, ds ...tokens.Driver) *keyring.Keyring {
	k := keyring.New(ds, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { assert.NoError(t, k.Close()) })
	return k
}

func ids(t *testing.T, k *keyring.Keyring) []string {
	t.Helper()
	list, err := k.List(t.Context())
	require.NoError(t, err)
	out := []string{}
	for _, x := range list {
		for _, i := range x.Identities {
			out = append(out, i.ID)
		}
	}
	return out
}

// changed waits for word of a change, at most 10 seconds.
func changed(t *testing.T, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		require.Fail(t, "no word of a change came")
	}
}

func TestOneListOfAll(t *testing.T) {
	p := tokentest.NewPKI(t)
	a := newDriver("a", token(t, "a1", "1", p.Pairs[0]))
	b := newDriver("b", token(t, "b1", "2", p.Pairs[1]), token(t, "b2", "3", p.Pairs[2]))
	k := ring(t, a, b)
	assert.ElementsMatch(t, []string{"a1-rsa", "b1-p256", "b2-p384"}, ids(t, k))
	s, err := k.Open(t.Context(), "b2-p384")
	require.NoError(t, err)
	assert.Equal(t, asked{b}, s.Login(t.Context(), tokens.PIN{}), "the right driver")
	_, err = k.Open(t.Context(), "none")
	assert.ErrorIs(t, err, tokens.ErrNotPresent)
	assert.Equal(t, []string{"a", "b"}, k.Drivers())
}

func TestOpenWithoutList(t *testing.T) {
	p := tokentest.NewPKI(t)
	k := ring(t, newDriver("a", token(t, "a1", "1", p.Pairs[0])))
	_, err := k.Open(t.Context(), "a1-rsa")
	assert.NoError(t, err)
}

func TestFailingDriverHidesNothing(t *testing.T) {
	p := tokentest.NewPKI(t)
	bad := newDriver("bad")
	bad.set(tokens.ErrLibrary)
	k := ring(t, bad, newDriver("good", token(t, "g", "1", p.Pairs[0])))
	assert.Equal(t, []string{"g-rsa"}, ids(t, k))
	problems := k.Problems()
	require.Len(t, problems, 1)
	assert.ErrorIs(t, problems[0], tokens.ErrLibrary)
	var problem *keyring.Problem
	require.ErrorAs(t, problems[0], &problem)
	assert.Equal(t, "bad", problem.Driver)
}

func TestSlowDriverHidesNothing(t *testing.T) {
	p := tokentest.NewPKI(t)
	slow := newDriver("slow", token(t, "s", "2", p.Pairs[1]))
	slow.delay = 5 * time.Second
	k := ring(t, slow, newDriver("good", token(t, "g", "1", p.Pairs[0])))
	changes, end := k.Changes()
	defer end()
	assert.Equal(t, []string{"g-rsa"}, ids(t, k))
	changed(t, changes)
	assert.Equal(t, []string{"g-rsa", "s-p256"}, ids(t, k))
}

func TestSameTokenInTwoLibraries(t *testing.T) {
	p := tokentest.NewPKI(t)
	rsa, ec := p.Pairs[0], p.Pairs[1]
	t.Run("once", func(t *testing.T) {
		k := ring(t, newDriver("a", token(t, "a", "1", rsa)), newDriver("b", token(t, "b", "1", rsa)))
		list, err := k.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "a", list[0].ID)
	})
	t.Run("the one that can sign", func(t *testing.T) {
		blunt := token(t, "a", "1", rsa)
		blunt.Identities[0].Algorithms = nil
		k := ring(t, newDriver("a", blunt), newDriver("b", token(t, "b", "1", rsa)))
		assert.Equal(t, []string{"b-rsa"}, ids(t, k))
		list, err := k.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, list, 1)
	})
	t.Run("more in the second", func(t *testing.T) {
		k := ring(t, newDriver("a", token(t, "a", "1", rsa)), newDriver("b", token(t, "b", "1", rsa, ec)))
		assert.ElementsMatch(t, []string{"a-rsa", "b-p256"}, ids(t, k))
	})
	t.Run("same certificate on another card", func(t *testing.T) {
		k := ring(t, newDriver("a", token(t, "a", "1", rsa)), newDriver("b", token(t, "b", "2", rsa)))
		assert.ElementsMatch(t, []string{"a-rsa", "b-rsa"}, ids(t, k))
	})
	t.Run("nothing readable in the first", func(t *testing.T) {
		k := ring(t, newDriver("a", token(t, "a", "1")), newDriver("b", token(t, "b", "1", rsa)))
		list, err := k.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "b", list[0].ID)
	})
	t.Run("empty tokens are tokens", func(t *testing.T) {
		k := ring(t, newDriver("a", token(t, "a", "1")), newDriver("b", token(t, "b", "2")))
		list, err := k.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, list, 2)
	})
}

func TestEventsAndCache(t *testing.T) {
	p := tokentest.NewPKI(t)
	d := newDriver("d", token(t, "d", "1", p.Pairs[0]))
	k := ring(t, d)
	changes, end := k.Changes()
	for range 20 {
		ids(t, k)
	}
	assert.EqualValues(t, 1, d.lists.Load(), "repeated lists spare the card")

	d.set(nil)
	d.events <- tokens.Event{Kind: tokens.Removed, TokenID: "d"}
	changed(t, changes)
	assert.Empty(t, ids(t, k))

	d.set(tokens.ErrLibrary)
	d.events <- tokens.Event{Kind: tokens.Lost, Err: tokens.ErrLibrary}
	changed(t, changes)
	assert.Empty(t, ids(t, k))
	assert.Len(t, k.Problems(), 1)

	// Nobody takes the values: senders do not mind.
	d.set(nil, token(t, "d", "1", p.Pairs[0]))
	for range 5 {
		d.events <- tokens.Event{Kind: tokens.Inserted}
	}
	assert.Equal(t, []string{"d-rsa"}, ids(t, k))
	assert.Empty(t, k.Problems())
	end()

	before := d.lists.Load()
	s, err := k.Open(t.Context(), "d-rsa")
	require.NoError(t, err)
	_ = s.Login(t.Context(), tokens.PIN{})
	ids(t, k)
	assert.Greater(t, d.lists.Load(), before, "a login may have changed the PIN's state")

	before = d.lists.Load()
	time.Sleep(2500 * time.Millisecond)
	ids(t, k)
	assert.Greater(t, d.lists.Load(), before, "a list is not good for long")
}

func TestAddAndClose(t *testing.T) {
	p := tokentest.NewPKI(t)
	a := newDriver("a", token(t, "a", "1", p.Pairs[0]))
	k := keyring.New([]tokens.Driver{a}, slog.New(slog.DiscardHandler))
	changes, end := k.Changes()
	defer end()
	b := newDriver("b", token(t, "b", "2", p.Pairs[1]))
	k.Add(b)
	changed(t, changes)
	assert.ElementsMatch(t, []string{"a-rsa", "b-p256"}, ids(t, k))
	require.NoError(t, k.Close())
	require.NoError(t, k.Close())
	assert.True(t, a.closed.Load() && b.closed.Load())
	_, err := k.List(context.Background())
	assert.Error(t, err)
	late := newDriver("late")
	k.Add(late)
	assert.True(t, late.closed.Load())
}

func TestEndedContext(t *testing.T) {
	d := newDriver("d")
	d.delay = 3 * time.Second
	k := ring(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := k.List(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
