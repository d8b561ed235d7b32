// Package native speaks Tanba's own protocol with CRM pages: version 1, a
// WebSocket with JSON-RPC 2.0, as agent/PROTOCOL.md has it.
//
// It is a front door and only translates: messages in, job.Request out;
// job.Receipt or a code back. Its server stands behind the gate, which has
// decided who may connect. What the page sends is read strictly and within
// bounds; what the page learns is in PROTOCOL.md.
package native

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"tanba/agent/job"
	"tanba/agent/policy"
	"tanba/agent/sites"
)

// The protocol's name and number.
const (
	Path        = "/v1"
	Subprotocol = "tanba.v1"
	Version     = 1
)

// Jobs runs jobs. Errors are *job.Error.
type Jobs interface {
	// Run takes req from the page to the CRM. ctx ends it until the signer has
	// approved. How far it is comes to Server.Progress.
	Run(ctx context.Context, req job.Request) (job.Receipt, error)
	// State tells how the documents of a job that is not running stand; an
	// unknown one has the code CodeUnknownJob.
	State(ctx context.Context, origin, job string) (job.Receipt, error)
	// Redeliver gives a job's parked results a fresh bearer and tries them.
	Redeliver(ctx context.Context, origin, job string, d job.Delivery) (job.Receipt, error)
}

// Access asks the signer about a site.
type Access interface {
	// Ask reports whether the signer allows origin. It opens a page of the
	// agent. An *job.Error with CodeClosed counts as a refusal, any other error
	// does not. The caller records the answer.
	Ask(ctx context.Context, origin string) (bool, error)
}

// Sites is what of *sites.Store is used here.
type Sites interface {
	Status(origin string) sites.Status
	MayAsk(origin string, now time.Time) error
	Allow(origin string, at time.Time) error
	Refuse(origin string, at time.Time) error
	Key(origin string) ed25519.PrivateKey
}

// A Config is what a Server needs. Every field is set.
type Config struct {
	Jobs   Jobs
	Access Access
	Sites  Sites
	// Tokens is the number of tokens present. It must not block.
	Tokens func() int
	// Spools makes a file for what pages send in chunks; remove closes and
	// deletes it.
	Spools func() (s *job.Spool, remove func() error, err error)
	Limits policy.Limits
	// Version is the agent's, "0.1.0".
	Version string
	// Port is the listener's.
	Port int
	// Origin returns the origin that the gate accepted, empty for a request
	// that did not come through the gate (gate.Origin).
	Origin func(*http.Request) string
	// Refuse answers as the gate does (gate.Refuse).
	Refuse func(http.ResponseWriter)
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// limits are the bounds that decoding needs.
type limits struct {
	document, job int64
	documents     int
}

// bigFrames is how many frames of more than smallFrame are held in memory at
// once, over all sockets.
const bigFrames = 2

// A Server answers the sockets of one listener.
type Server struct {
	cfg      Config
	upgrader websocket.Upgrader
	big      chan struct{}
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	open     sync.WaitGroup

	mu      sync.Mutex
	sockets map[*socket]struct{}
	tasks   map[string]*task
	// stored is the announced size of all uploads whose file still exists.
	stored atomic.Int64
}

// New returns a server. It is to be served behind gate.Guard, with Path and
// Subprotocol.
func New(cfg Config) *Server {
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, big: make(chan struct{}, bigFrames), ctx: ctx, stop: stop,
		sockets: map[*socket]struct{}{}, tasks: map[string]*task{},
	}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: time.Duration(cfg.Limits.Header),
		ReadBufferSize:   4 << 10,
		WriteBufferSize:  4 << 10,
		Subprotocols:     []string{Subprotocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // the gate has decided
		Error:            func(w http.ResponseWriter, _ *http.Request, _ int, _ error) { cfg.Refuse(w) },
	}
	return s
}

// ServeHTTP serves one socket and returns when it has ended.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	origin := s.cfg.Origin(r)
	if origin == "" {
		s.cfg.Refuse(w)
		return
	}
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // answered by Error
	}
	k := newSocket(s, conn, origin)
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.sockets[k] = struct{}{}
	s.open.Add(1)
	s.mu.Unlock()
	defer s.open.Done()
	k.serve()
	s.mu.Lock()
	delete(s.sockets, k)
	for _, t := range s.tasks {
		t.detach(k)
	}
	s.mu.Unlock()
}

// Close ends every socket and every job that the signer has not approved, and
// waits until the sockets are gone or ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.open.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Progress tells the sockets of origin how far a job is. It does not block.
func (s *Server) Progress(origin string, p job.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[jobKey(origin, p.Job)]; t != nil && p.Step != job.StepPreparing && p.Step != job.StepOpened {
		t.approved = true
	}
	m := encodeNotification("progress", progressParams{p.Job, p.Step, p.Done, p.Total})
	for k := range s.sockets {
		if k.origin == origin && k.allowed() {
			k.notify(p.Job+" "+string(p.Step), m)
		}
	}
}

// TokensChanged tells every allowed site how many tokens are present now. It
// does not block.
func (s *Server) TokensChanged(present int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := encodeNotification("tokens", tokensParams{present})
	for k := range s.sockets {
		if k.allowed() {
			k.notify("tokens", m)
		}
	}
}

func (s *Server) limits() limits {
	l := s.cfg.Limits
	return limits{document: l.Document, job: l.Job, documents: l.Documents}
}

// asCode reports whether err is an *job.Error with this code.
func asCode(err error, c job.Code) bool {
	e, ok := errors.AsType[*job.Error](err)
	return ok && e.Code == c
}
