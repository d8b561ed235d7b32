// Package remote reaches the tokens of one PKCS#11 library through a token
// process: it starts cmd/tokenhost, watches it, and speaks package wire to it.
//
// A library that crashes, hangs or talks nonsense costs the calls that are
// outstanding (tokens.ErrLibrary) and the open sessions, never the agent. The
// next call starts a fresh process.
package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tanba/tokens"
	"tanba/tokens/wire"
)

// A Config says which library to reach, and how.
type Config struct {
	// Host is the absolute path of the tokenhost program: see HostBeside.
	Host string
	// Library is the absolute path of the PKCS#11 library.
	Library string
	// Env holds further variables (NAME=value) for the token process, besides
	// the few that it gets of ours.
	Env      []string
	Timeouts Timeouts
	Log      *slog.Logger
}

// Timeouts bound how long a library may take. When one passes, the token
// process is killed. A zero is replaced: 20 s, 60 s, 60 s, 2 s, 2 s.
type Timeouts struct {
	// Call is for everything but the next two, and for starting.
	Call time.Duration
	// Login may wait for a person at a PIN pad.
	Login time.Duration
	// Sign is for each signature of a batch.
	Sign time.Duration
	// Grace is how long a call may go on when its context has ended. Calls of
	// others to the same library go on meanwhile.
	Grace time.Duration
	// Look is how long a call may take before it is looked from a second process
	// whether its token is still there.
	Look time.Duration
}

func (t Timeouts) filled() Timeouts {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{{&t.Call, 20 * time.Second}, {&t.Login, time.Minute}, {&t.Sign, time.Minute}, {&t.Grace, 2 * time.Second}, {&t.Look, 2 * time.Second}} {
		if *f.d <= 0 {
			*f.d = f.v
		}
	}
	return t
}

// HostBeside returns the path of the tokenhost program in the folder of the
// running program, the only place where it is looked for.
func HostBeside() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("own program's path: %w", err)
	}
	self, err = filepath.EvalSymlinks(self)
	if err != nil {
		return "", fmt.Errorf("own program's path: %w", err)
	}
	host := filepath.Join(filepath.Dir(self), hostName)
	st, err := os.Stat(host)
	if err != nil {
		return "", fmt.Errorf("token process: %w", err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("token process %s: not a file", host)
	}
	return host, nil
}

// A Driver reaches one library. It implements tokens.Driver.
type Driver struct {
	cfg Config

	mu     sync.Mutex
	child  *child
	closed bool
	starts chan struct{} // one goroutine starts a child
}

// New returns a Driver. Nothing is started before the first call. It refuses
// a path that is not absolute.
func New(cfg Config) (*Driver, error) {
	for _, p := range []string{cfg.Host, cfg.Library} {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("invalid path %q: not absolute", p)
		}
	}
	cfg.Timeouts = cfg.Timeouts.filled()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("library", filepath.Base(cfg.Library))
	return &Driver{cfg: cfg, starts: make(chan struct{}, 1)}, nil
}

// Name returns the library's base name.
func (d *Driver) Name() string { return filepath.Base(d.cfg.Library) }

// get returns the running child, or starts one.
func (d *Driver) get(ctx context.Context) (*child, error) {
	select {
	case d.starts <- struct{}{}:
		defer func() { <-d.starts }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	c, closed := d.child, d.closed
	d.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("closed: %w", tokens.ErrLibrary)
	}
	if c != nil && c.alive() {
		return c, nil
	}
	c, err := start(ctx, d.cfg)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.kill(errors.New("closed"))
		return nil, fmt.Errorf("closed: %w", tokens.ErrLibrary)
	}
	d.child = c
	return c, nil
}

// List implements tokens.Driver.
func (d *Driver) List(ctx context.Context) ([]tokens.Token, error) {
	c, err := d.get(ctx)
	if err != nil {
		return nil, err
	}
	l := d.lookout(ctx, c, "")
	list, err := d.list(ctx, c)
	err = l.stop(err)
	if instead, ok := l.instead(); err != nil && ok {
		return instead, nil
	}
	return list, err
}

// Open implements tokens.Driver.
func (d *Driver) Open(ctx context.Context, identityID string) (tokens.Session, error) {
	c, err := d.get(ctx)
	if err != nil {
		return nil, err
	}
	l := d.lookout(ctx, c, identityID)
	r, err := c.call(ctx, wire.Request{Op: wire.Open, Identity: identityID}, nil, d.cfg.Timeouts.Call)
	if err = l.stop(err); err != nil {
		return nil, err
	}
	if r.Session == 0 {
		return nil, c.kill(fmt.Errorf("%w: no session", wire.ErrMalformed))
	}
	return &session{d: d, c: c, id: r.Session, identity: identityID, timeouts: d.cfg.Timeouts}, nil
}

// Restarts of Watch after the library was lost.
const (
	restartFirst = time.Second
	restartMost  = time.Minute
)

// Watch implements tokens.Driver. It starts the token process again when it is
// lost, later and later if that does not help.
func (d *Driver) Watch(ctx context.Context, events chan<- tokens.Event) {
	send := func(e tokens.Event) {
		select {
		case events <- e:
		case <-ctx.Done():
		}
	}
	pause, lost := restartFirst, false
	for ctx.Err() == nil {
		c, err := d.get(ctx)
		if err == nil {
			if lost {
				// What happened meanwhile nobody saw.
				send(tokens.Event{Kind: tokens.Inserted})
			}
			lost = false
			began := time.NewTimer(restartMost)
			err = c.watch(ctx, send)
			if !began.Stop() {
				pause = restartFirst // it ran for long
			}
		}
		if ctx.Err() != nil || d.isClosed() {
			return
		}
		if !lost {
			send(tokens.Event{Kind: tokens.Lost, Err: err})
			lost = true
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, restartMost)
	}
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Close ends the token process.
func (d *Driver) Close() error {
	d.mu.Lock()
	c, was := d.child, d.closed
	d.closed = true
	d.mu.Unlock()
	if c != nil && !was {
		c.end(d.cfg.Timeouts.Grace)
	}
	return nil
}
