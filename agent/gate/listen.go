package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"tanba/agent/policy"
)

// ErrNoPort: no port of the range is free on both loopback addresses.
var ErrNoPort = errors.New("no free port")

// anyPortTries bounds the search for a port that is free on both addresses
// when the system chooses it.
const anyPortTries = 20

// Listeners is one port on the loopback addresses.
type Listeners struct {
	// Port is the port, the same on both addresses.
	Port int
	// NoIPv6 is why nothing listens on [::1]; nil: it does.
	NoIPv6 error

	all []net.Listener
}

// Listen takes the first port from first to last that is free on both
// 127.0.0.1 and [::1]; first and last zero: any port. On a computer without
// IPv6 it takes 127.0.0.1 alone and says so in NoIPv6. On Windows the address
// is taken for exclusive use, so that no other process can bind over it. It
// returns ErrNoPort when every port is taken.
func Listen(ctx context.Context, first, last int) (*Listeners, error) {
	cfg := net.ListenConfig{Control: control}
	noIPv6 := haveIPv6(ctx, &cfg)
	tries := last - first + 1
	if first == 0 && last == 0 {
		tries = anyPortTries
	}
	var errs []error
	for i := range tries {
		port := 0
		if first != 0 || last != 0 {
			port = first + i
		}
		l, err := listenOn(ctx, &cfg, port, noIPv6)
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w from %d to %d: %w", ErrNoPort, first, last, errors.Join(errs...))
}

// haveIPv6 returns why [::1] cannot be listened on at all, or nil.
func haveIPv6(ctx context.Context, cfg *net.ListenConfig) error {
	l, err := cfg.Listen(ctx, "tcp6", "[::1]:0")
	if err != nil {
		return err
	}
	return l.Close()
}

func listenOn(ctx context.Context, cfg *net.ListenConfig, port int, noIPv6 error) (*Listeners, error) {
	v4, err := cfg.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	l := &Listeners{Port: v4.Addr().(*net.TCPAddr).Port, NoIPv6: noIPv6, all: []net.Listener{v4}}
	if noIPv6 != nil {
		return l, nil
	}
	v6, err := cfg.Listen(ctx, "tcp6", net.JoinHostPort("::1", strconv.Itoa(l.Port)))
	if err != nil {
		return nil, errors.Join(err, v4.Close())
	}
	l.all = append(l.all, v6)
	return l, nil
}

// Serve serves srv on every address until the listeners or srv are closed,
// with at most conns connections open at once; one more is closed unanswered.
// It returns http.ErrServerClosed after srv was shut down.
func (l *Listeners) Serve(srv *http.Server, conns int) error {
	slots := make(chan struct{}, conns)
	done := make(chan error, len(l.all))
	for _, ln := range l.all {
		go func() { done <- srv.Serve(&limited{Listener: ln, slots: slots}) }()
	}
	err := <-done
	_ = l.Close()
	for range len(l.all) - 1 {
		<-done
	}
	return err
}

// All returns the listeners themselves, for a server that is not ours.
func (l *Listeners) All() []net.Listener { return slices.Clone(l.all) }

// Close stops listening. Open connections stay.
func (l *Listeners) Close() error {
	var errs []error
	for _, ln := range l.all {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// limited is a listener that closes connections beyond its slots at once.
type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			_ = c.Close()
		}
	}
}

type slotConn struct {
	net.Conn
	free func()
}

func (c *slotConn) Close() error {
	c.free()
	return c.Conn.Close()
}

// MaxHeader bounds a request's header, in bytes.
const MaxHeader = 16 << 10

// Connections is the number of connections that Listeners.Serve should hold
// open for a server behind a Guard: those that became sockets and as many
// again that are still on their way.
func Connections(l policy.Limits) int { return 2*l.Sockets + 16 }

// NewServer returns a server for h with the gate's time-outs and bounds.
func NewServer(h http.Handler, l policy.Limits, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            time.Duration(l.Header),
		ReadTimeout:                  2 * time.Duration(l.Header),
		WriteTimeout:                 2 * time.Duration(l.Header),
		IdleTimeout:                  time.Duration(l.Header),
		MaxHeaderBytes:               MaxHeader,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
