package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tanba/agent/approve"
	"tanba/agent/control"
	"tanba/agent/delivery"
	"tanba/agent/desk"
	"tanba/agent/gate"
	"tanba/agent/job"
	"tanba/agent/native"
	"tanba/agent/pages"
	"tanba/agent/policy"
	"tanba/agent/sign"
	"tanba/agent/sites"
	"tanba/agent/text"
	"tanba/agent/tray"
	"tanba/tokens/keyring"
)

type runCmd struct {
	Headless bool `help:"No icon in the tray."`
}

// Run runs the agent until it is told to quit. A second start shows the first
// one's page instead.
func (c *runCmd) Run(ctx context.Context, e *env) error {
	p, f, err := e.settings()
	if err != nil {
		return err
	}
	if err := f.make(); err != nil {
		return err
	}
	out, err := openLog(f.state)
	if err != nil {
		return err
	}
	defer out.Close()
	logger := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: logLevel(p.LogLevel)}))
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(logger.Handler(), slog.LevelDebug).Writer()) // libraries that know no other

	channel := control.DefaultPath()
	l, err := control.Listen(channel)
	if errors.Is(err, control.ErrRunning) {
		if err := control.Call(ctx, channel, "show", nil, nil); err != nil {
			return fmt.Errorf("tanba is running already; showing its page: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("control channel: %w", err)
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	a := &agent{policy: p, folders: f, log: logger, now: e.now, lang: language(p), quit: quit, changed: make(chan struct{}, 1)}
	if err := a.open(ctx); err != nil {
		return errors.Join(err, a.close(), l.Close())
	}
	fmt.Fprintf(e.out, "tanba %s: listening on 127.0.0.1:%d\n", Version, a.listeners.Port)
	logger.Info("started", "version", Version, "port", a.listeners.Port)

	var running sync.WaitGroup
	running.Go(func() { a.report("control channel", control.Serve(ctx, l, a.control)) })
	a.serve(ctx, &running)
	if c.Headless || !tray.Available() {
		<-ctx.Done()
	} else if err := a.showTray(ctx); err != nil {
		logger.Info("no tray icon", "err", err)
		<-ctx.Done()
	}
	quit()
	err = errors.Join(l.Close(), a.close())
	running.Wait()
	logger.Info("stopped")
	return err
}

// An agent is the running whole.
type agent struct {
	policy  policy.Policy
	folders folders
	log     *slog.Logger
	now     func() time.Time
	lang    text.Lang
	quit    func()

	sites     *sites.Store
	ring      *keyring.Keyring
	libraries []string
	outbox    *delivery.Outbox
	pages     *pages.Server
	approver  *approve.Approver
	desk      *desk.Desk
	runner    *job.Runner
	listeners *gate.Listeners
	native    *native.Server
	server    *http.Server

	present  atomic.Int64  // tokens
	signing  sync.Map      // jobs that are at the token, by origin and ID
	changed  chan struct{} // the tray has something new to show
	problems []error       // of the start, for doctor
}

// open makes the parts, the ones that others stand on first.
func (a *agent) open(ctx context.Context) (err error) {
	if a.sites, err = sites.Open(filepath.Join(a.folders.config, "sites.json"), a.policy, filepath.Join(a.folders.config, "sites.key")); err != nil {
		return fmt.Errorf("sites: %w", err)
	}
	a.libraries, a.problems = libraries(a.policy)
	for _, p := range a.problems {
		a.log.Warn("library not loaded", "err", p)
	}
	if a.ring, err = openTokens(a.policy, a.libraries, a.log); err != nil {
		return err
	}
	if a.outbox, err = delivery.Open(a.deliveryConfig()); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	a.pages = pages.New(pages.Config{Listen: listenPages, Check: gate.PeerAndHost, Now: a.now, Log: a.log})
	a.approver = approve.New(approve.Config{
		Pages: a.pages, Lang: func() text.Lang { return a.lang }, Limits: a.policy.Limits, PINEntry: a.policy.PINEntry,
		Changed: func(int) { a.touch() }, Now: a.now, Log: a.log,
	})
	a.desk = desk.New(desk.Config{
		Pages: a.pages, Lang: func() text.Lang { return a.lang }, Tokens: a.ring, Drivers: a.drivers, Outbox: deskOutbox{a.outbox},
		PINs: a.ring, PINEntry: a.policy.PINEntry, About: a.about, Now: a.now, Log: a.log,
	})
	a.runner = &job.Runner{
		Preparer: &sign.Preparer{Fetcher: a.outbox, Limits: a.policy.Limits}, Approver: a.approver, Assembler: &sign.Assembler{},
		Outbox: a.outbox, Tokens: a.ring, Limits: a.policy.Limits, Now: a.now, Observe: a.observe, Log: a.log,
	}
	return a.listen(ctx)
}

func (a *agent) deliveryConfig() delivery.Config {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return delivery.Config{
		Dir:         filepath.Join(a.folders.data, "outbox"),
		Key:         func(origin string) (ed25519.PrivateKey, error) { return a.sites.Key(origin), nil },
		Targets:     func(origin string) []string { return a.policy.Targets[origin] },
		HTTPAllowed: func(origin string) bool { return slices.Contains(a.policy.HTTPOrigins, origin) },
		Roots:       a.policy.ExtraRoots,
		Device:      delivery.DeviceInfo{Name: host, OS: runtime.GOOS, Arch: runtime.GOARCH, Agent: Version},
		Limits:      a.policy.Limits, Now: a.now, Log: a.log,
	}
}

// listenPages opens the listener of our own pages, on any port.
func listenPages(ctx context.Context) ([]net.Listener, int, error) {
	l, err := gate.Listen(ctx, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	return l.All(), l.Port, nil
}

// listen opens the socket for CRM pages behind its guard.
func (a *agent) listen(ctx context.Context) (err error) {
	if a.listeners, err = gate.Listen(ctx, a.policy.PortFirst, a.policy.PortLast); err != nil {
		return err
	}
	if a.listeners.NoIPv6 != nil {
		a.log.Info("not listening on IPv6", "err", a.listeners.NoIPv6)
	}
	peer := gate.SystemPeer()
	if err := peer.Supported(); err != nil {
		a.log.Warn("the process behind a connection cannot be checked", "err", err)
		a.problems = append(a.problems, err)
	}
	uploads := filepath.Join(a.folders.data, "uploads")
	if err := errors.Join(os.RemoveAll(uploads), os.MkdirAll(uploads, 0o700)); err != nil {
		return err
	}
	a.native = native.New(native.Config{
		Jobs: jobs{a}, Access: access{a.approver}, Sites: a.sites, Tokens: func() int { return int(a.present.Load()) },
		Spools: func() (*job.Spool, func() error, error) { return uploadSpool(uploads) },
		Limits: a.policy.Limits, Version: Version, Port: a.listeners.Port, Origin: gate.Origin, Refuse: gate.Refuse, Now: a.now, Log: a.log,
	})
	guard := &gate.Guard{
		Peer: peer, Port: a.listeners.Port, Path: native.Path, Subprotocol: native.Subprotocol,
		Status: a.sites.Status, Limits: a.policy.Limits, Now: a.now, Log: a.log,
	}
	a.server = gate.NewServer(guard.Wrap(a.native), a.policy.Limits, a.log)
	return nil
}

// uploadSpool makes a file for a document that a page sends in chunks.
func uploadSpool(dir string) (*job.Spool, func() error, error) {
	name := make([]byte, 16)
	_, _ = rand.Read(name) // never fails
	s, err := job.CreateSpool(filepath.Join(dir, hex.EncodeToString(name)))
	if err != nil {
		return nil, nil, err
	}
	return s, func() error { return errors.Join(s.Close(), os.Remove(s.Path())) }, nil
}

// serve starts what runs beside: sockets, deliveries, the watch on tokens.
func (a *agent) serve(ctx context.Context, running *sync.WaitGroup) {
	running.Go(func() {
		a.report("sockets", a.listeners.Serve(a.server, gate.Connections(a.policy.Limits)))
	})
	running.Go(func() { a.report("deliveries", a.outbox.Run(ctx)) })
	running.Go(func() { a.watchTokens(ctx) })
	running.Go(func() {
		changes, stop := a.outbox.Changes()
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes:
				a.touch()
			}
		}
	})
}

// report logs how a part that should run to the end has ended.
func (a *agent) report(part string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
		a.log.Error("part ended", "part", part, "err", err)
		a.quit()
	}
}

// watchTokens keeps the number of tokens for the pages that ask.
func (a *agent) watchTokens(ctx context.Context) {
	changes, stop := a.ring.Changes()
	defer stop()
	for {
		list, err := a.ring.List(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("tokens not listed", "err", err)
		}
		if n := int64(len(list)); a.present.Swap(n) != n {
			a.native.TokensChanged(int(n))
		}
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}

// close ends the parts, the front door first; what is open may be nil.
func (a *agent) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	if a.native != nil {
		errs = append(errs, a.native.Close(ctx))
	}
	if a.server != nil {
		errs = append(errs, a.server.Close())
	}
	if a.listeners != nil {
		errs = append(errs, ignoreClosed(a.listeners.Close()))
	}
	if a.pages != nil {
		errs = append(errs, a.pages.Close())
	}
	if a.outbox != nil {
		errs = append(errs, a.outbox.Close())
	}
	if a.ring != nil {
		errs = append(errs, a.ring.Close())
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
