// Package pages shows every page of ours in the signer's own browser.
//
// All pages share one listener on the loopback interface, which lives only
// while a page is open. A page's address, http://127.0.0.1:PORT/NAME/#SECRET,
// carries 256 random bits in its fragment, which browsers do not send. The
// page's script takes them out of the address bar and redeems them, once and
// within [SecretLife], by POST for a bearer that it keeps in memory and sends
// in a header with every call. There are no cookies and no storage, so that a
// reload, a copied address or another tab cannot get in. A bearer opens the
// calls of its own page and nothing else.
//
// Over HTTP a page has four ways, all POST: /api/redeem, /api/call/METHOD
// (JSON), /api/raw/METHOD (bytes that must not pass through JSON, such as a
// PIN) and /api/stream (server to page, one JSON object a line; it begins with
// a proof that the agent is still the one that gave the bearer). /pages.js
// speaks them for the page, /pages.css has the look that all pages share.
//
// The address stands on the command line of the system's opener, where other
// users of the computer may read it: the secret is good for one use, and
// Config.Check refuses other users' processes.
package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"tanba/agent/job"
)

const (
	// SecretLife is how long an address can be redeemed.
	SecretLife = 2 * time.Minute
	// LostAfter is how long a page may be without its stream before it counts
	// as closed; LostReload the same when the signer reloaded it, who then needs
	// time to find the tray.
	LostAfter  = 8 * time.Second
	LostReload = time.Minute
	// MaxCall bounds the JSON body of a call, in bytes.
	MaxCall = 512 << 10

	linger       = 15 * time.Second // how long the listener outlives the last page
	beat         = 3 * time.Second  // between two signs of life on a stream
	endedLife    = 10 * time.Second // how long an ended page can still fetch its last words
	maxRedeem    = 256              // bytes
	maxHeader    = 16 << 10         // bytes
	maxConns     = 64
	maxFiles     = 64 // one-time addresses of one page
	fileLife     = time.Minute
	writeTimeout = 10 * time.Second
)

// Config is what a Server needs.
type Config struct {
	// Listen opens the listeners, 127.0.0.1 and, if there is one, [::1], on one
	// port, which it returns.
	Listen func(ctx context.Context) ([]net.Listener, int, error)
	// Check refuses a request whose peer is not the same user in the same
	// session. It comes from agent/gate.
	Check func(r *http.Request, port int) error
	// Open opens an address in the browser; nil: the system's way.
	Open func(ctx context.Context, url string) error
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// A Server shows pages. Its methods may be called from several goroutines.
type Server struct {
	cfg Config

	mu     sync.Mutex
	live   *listening
	pages  map[*Shown]struct{}
	assets map[string]fs.FS
}

// listening is the listener while it lives.
type listening struct {
	port int
	http *http.Server
	stop *time.Timer
}

// New returns a server without a listener.
func New(cfg Config) *Server {
	if cfg.Open == nil {
		cfg.Open = openSystem
	}
	return &Server{cfg: cfg, pages: map[*Shown]struct{}{}, assets: map[string]fs.FS{}}
}

// A Page is one page to show.
type Page struct {
	// Name is its part of the address: a to z. Pages with one name have the same
	// Assets.
	Name string
	// Assets holds index.html and what it loads from "/NAME/". They are served
	// to anyone whom Check lets in, so that they hold nothing personal.
	Assets fs.FS
	// Handle answers a call with what is sent to the page as JSON. A Refusal
	// reaches the page, any other error is logged and reaches it as "internal".
	Handle func(ctx context.Context, method string, body json.RawMessage) (any, error)
	// Raw answers a call whose body of 1 to MaxRaw bytes is not JSON. It takes
	// the body over. Its result and error are those of Handle. It may be nil.
	Raw    func(ctx context.Context, method string, body []byte) (any, error)
	MaxRaw int64
	// Opened is called, if set, each time an address was redeemed.
	Opened func()
	// Closed is called, if set, once, when the signer closed the page.
	Closed func()
}

// A Refusal is an error that a page is told, as a stable word.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Show is Add and Open.
func (s *Server) Show(ctx context.Context, p Page) (*Shown, error) {
	sh, err := s.Add(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := sh.Open(ctx); err != nil {
		sh.remove()
		return nil, err
	}
	return sh, nil
}

// Add makes p ready to be opened, with a listener to serve it. Without one the
// error is a *job.Error with CodeNoBrowser. ctx is for this step only.
func (s *Server) Add(ctx context.Context, p Page) (*Shown, error) {
	sh := newShown(s, p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.start(ctx); err != nil {
		return nil, job.Fail(job.CodeNoBrowser, "", err)
	}
	s.pages[sh] = struct{}{}
	s.assets[p.Name] = p.Assets
	return sh, nil
}

// Close ends every page and the listener at once.
func (s *Server) Close() error {
	s.mu.Lock()
	l := s.live
	s.live = nil
	all := make([]*Shown, 0, len(s.pages))
	for sh := range s.pages {
		all = append(all, sh)
	}
	s.mu.Unlock()
	for _, sh := range all {
		sh.closed()
	}
	if l == nil {
		return nil
	}
	if l.stop != nil {
		l.stop.Stop()
	}
	return l.http.Close()
}

// start makes sure that the listener lives. s.mu is held.
func (s *Server) start(ctx context.Context) error {
	if s.live != nil {
		if s.live.stop != nil {
			s.live.stop.Stop()
			s.live.stop = nil
		}
		return nil
	}
	ls, port, err := s.cfg.Listen(ctx)
	if err != nil {
		return fmt.Errorf("listen for pages: %w", err)
	}
	l := &listening{port: port}
	l.http = &http.Server{
		Handler:           s.handler(port),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	slots := make(chan struct{}, maxConns)
	for _, ln := range ls {
		go func() {
			if err := l.http.Serve(&limited{Listener: ln, slots: slots}); !errors.Is(err, http.ErrServerClosed) {
				s.cfg.Log.Error("pages listener ended", "err", err)
			}
		}()
	}
	s.live = l
	s.cfg.Log.Info("pages listener started", "port", port)
	return nil
}

// forget takes sh off the list; the listener ends a little after the last.
func (s *Server) forget(sh *Shown) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pages, sh)
	l := s.live
	if len(s.pages) > 0 || l == nil || l.stop != nil {
		return
	}
	l.stop = time.AfterFunc(linger, func() {
		s.mu.Lock()
		if s.live != l || len(s.pages) > 0 {
			s.mu.Unlock()
			return
		}
		s.live = nil
		clear(s.assets)
		s.mu.Unlock()
		if err := l.http.Close(); err != nil {
			s.cfg.Log.Warn("closing the pages listener", "err", err)
		}
		s.cfg.Log.Info("pages listener closed", "port", l.port)
	})
}

// all returns the pages that are open.
func (s *Server) all() []*Shown {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Shown, 0, len(s.pages))
	for sh := range s.pages {
		list = append(list, sh)
	}
	return list
}

// origin returns the origin of our pages, empty when the listener is closed.
func (s *Server) origin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return ""
	}
	return originOf(s.live.port)
}

func originOf(port int) string { return "http://127.0.0.1:" + strconv.Itoa(port) }

// limited bounds the connections that are open at once.
type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

type limitedConn struct {
	net.Conn
	once  sync.Once
	slots chan struct{}
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { <-c.slots })
	return c.Conn.Close()
}
