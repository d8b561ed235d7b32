// Package crm is a small CRM that has its contracts signed by Tanba: the part
// of the demo that a CRM's maker can copy from.
//
// What matters for signing stands in four files. jobs.go starts a signing job
// for the page and makes its bearers; results.go takes what the agent posts
// and decides whether it comes from the agent that was enrolled; accept.go
// decides whether the file is what was asked for, and only then changes a
// status; web/app.js is the page's side. The rest is an ordinary web program:
// deals in a bbolt file, documents in a folder, pages from templates.
//
// Only logging in is a toy: a person is chosen from a list.
package crm

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tanba/crypto/cert"
)

//go:embed web
var web embed.FS

// Config is what the CRM needs. Dir, Origin, Roots, People, Client, Now and
// Log must be set.
type Config struct {
	// Dir is the folder for the database and the documents.
	Dir string
	// Origin is the CRM's own, "http://127.0.0.1:8700".
	Origin string
	// Roots are the authorities whose certificates the CRM accepts, Issuers the
	// CAs below them: a token often holds its own certificate only, and then so
	// does the signature.
	Roots, Issuers []*cert.Certificate
	// People can log in.
	People []Person
	// Client is the page's client for the agent, tanba.js as it is shipped.
	Client []byte
	// FirstPort and LastPort are the agent's ports that the page may try;
	// 17650 and 17659 if zero.
	FirstPort, LastPort int
	// FrameAncestors are the origins that may show the CRM in a frame: none if
	// empty.
	FrameAncestors []string
	// Bearers is how long the bearer for a delivery is good, BearerTime if zero.
	Bearers time.Duration
	// Tools are the demo's helpers for its soft token, nil for none.
	Tools Tools
	// Wrap, if set, stands before everything: trials let it hold deliveries up.
	Wrap func(http.Handler) http.Handler
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// BearerTime is how long bearers are good unless Config says otherwise: the
// signer's time to read, and some minutes for the network.
const BearerTime = 20 * time.Minute

// Tools moves the demo's soft tokens in and out.
type Tools interface {
	// Tokens lists them, by the person whose certificate they hold.
	Tokens() []SoftToken
	// Insert and Pull move the token with this ID.
	Insert(id string) error
	Pull(id string) error
}

// A SoftToken is one of the demo's soft tokens.
type SoftToken struct {
	ID, Name string
	In       bool
}

// A Server is the CRM. Close it after the last request.
type Server struct {
	cfg     Config
	host    string // of Origin: the only Host we answer
	store   *store
	files   *files
	pages   *pages
	live    *live
	handler http.Handler
}

// New opens the CRM in cfg.Dir, filling it with deals when it is empty.
func New(cfg Config) (*Server, error) {
	u, err := url.Parse(cfg.Origin)
	if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != cfg.Origin {
		return nil, fmt.Errorf("malformed origin %q", cfg.Origin)
	}
	if cfg.FirstPort == 0 {
		cfg.FirstPort, cfg.LastPort = 17650, 17659
	}
	if cfg.Bearers == 0 {
		cfg.Bearers = BearerTime
	}
	s := &Server{cfg: cfg, host: u.Host, live: newLive()}
	if s.files, err = openFiles(cfg.Dir); err != nil {
		return nil, err
	}
	if s.pages, err = parsePages(); err != nil {
		return nil, err
	}
	if s.store, err = openStore(cfg.Dir); err != nil {
		return nil, err
	}
	if err := s.seed(); err != nil {
		return nil, errors.Join(fmt.Errorf("making the deals: %w", err), s.store.Close())
	}
	s.handler = s.routes()
	if cfg.Wrap != nil {
		s.handler = cfg.Wrap(s.handler)
	}
	return s, nil
}

// Close closes the database.
func (s *Server) Close() error {
	s.live.close()
	return s.store.Close()
}

// Handler serves the CRM.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /static/{name}", s.static)
	m.HandleFunc("GET /{$}", s.loginPage)
	m.HandleFunc("POST /login", s.login)
	m.HandleFunc("POST /logout", s.logout)

	m.HandleFunc("GET /deals", s.person(s.dealsPage))
	m.HandleFunc("GET /deals/{deal}", s.person(s.dealPage))
	m.HandleFunc("GET /deals/{deal}/live", s.person(s.dealLive))
	m.HandleFunc("GET /deals/{deal}/events", s.person(s.dealEvents))
	m.HandleFunc("GET /deals/{deal}/documents/{doc}/{what}", s.person(s.download))
	m.HandleFunc("GET /deals/{deal}/documents/{doc}/{what}/{party}", s.person(s.download))

	m.HandleFunc("POST /api/agent", s.person(s.enrol))
	m.HandleFunc("POST /api/deals/{deal}/sign", s.person(s.startJob))
	m.HandleFunc("POST /api/jobs/{job}/bearer", s.person(s.freshBearer))
	m.HandleFunc("POST /api/jobs/{job}/close", s.person(s.closeJob))

	m.HandleFunc("GET /tanba/documents/{job}/{doc}", s.agentDownload)
	m.HandleFunc("POST /tanba/results", s.results)
	if s.cfg.Tools != nil {
		m.HandleFunc("POST /demo/token", s.person(s.moveToken))
	}
	return s.guard(http.NewCrossOriginProtection().Handler(m))
}

// guard answers only to the CRM's own name, so that no other name can be made
// to point at it, and sets the headers of every page.
func (s *Server) guard(next http.Handler) http.Handler {
	ancestors := "'none'"
	if len(s.cfg.FrameAncestors) > 0 {
		ancestors = strings.Join(s.cfg.FrameAncestors, " ")
	}
	// Every port that the client may try stands here by name.
	connect := "'self'"
	for p := s.cfg.FirstPort; p <= s.cfg.LastPort; p++ {
		connect += fmt.Sprintf(" ws://127.0.0.1:%d", p)
	}
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + connect +
		"; form-action 'self'; base-uri 'none'; frame-ancestors " + ancestors
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != s.host {
			http.Error(w, "another host", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Permissions-Policy", "loopback-network=(self)")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Serve serves the CRM on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       2 * time.Minute, // a large signed file on a slow line
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		s.live.close()
		short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(short) != nil {
			_ = srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
