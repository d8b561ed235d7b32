// Package delivery keeps signed documents until the CRM has them, and is the
// only part of the agent that speaks to a CRM's server.
//
// One folder (0700) holds outbox.db (bbolt, 0600) with the records, one spool
// file per batch (<random>.out, signed documents one after the other) and,
// while a batch runs, its private copies (<random>.work). A batch is committed
// by fsync of its spool and then one database transaction; a delivery starts
// only after that. What lies in a spool beyond the last record was never
// committed and is cut off when the outbox is opened.
//
// Each event is one POST as agent/PROTOCOL.md, section 2, says. Delivery is
// at least once with one idempotency key and one body per event, so that the
// CRM can make it exactly once. Answers decide: 2xx ends it, 401 and 403 park
// it until a fresh bearer comes, 408, 409, 425, 429, 5xx and silence mean
// later, everything else is a dead letter. Retries follow the schedule of
// Standard Webhooks (about three days), counted in failed attempts, not in
// time, so that a closed laptop loses nothing.
//
// Bearers are kept in outbox.db as they are, protected by the file's mode
// alone: they are one-time and short-lived, and whoever can read the file can
// read the signed documents beside it. They are blanked when the job's last
// item is done; bbolt may keep old pages in its file until it reuses them.
// Bearers and documents are in no log.
//
// Connections use TLS 1.2 or newer with the system's roots and the files of
// Config.Roots; there is no switch to ignore certificate errors. A proxy is
// taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY only, with the credentials
// that stand there, if any; none of the system's credentials are used, and
// there are no cookies.
package delivery

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"tanba/agent/job"
	"tanba/agent/policy"
)

// ErrInUse reports an outbox that another process has open.
var ErrInUse = errors.New("outbox is in use by another process")

// ErrFormat reports an outbox that a newer agent wrote; nothing in it was
// touched.
var ErrFormat = errors.New("unsupported outbox: made by a newer version")

// ErrUnknownItem reports an item ID that is not in the outbox.
var ErrUnknownItem = errors.New("unknown outbox item")

// errClosed reports the use of an outbox after Close.
var errClosed = errors.New("outbox is closed")

const (
	// attemptTimeout is how long a CRM may leave us without progress:
	// connecting, taking the body, answering.
	attemptTimeout = 30 * time.Second
	// maxRetryAfter caps a CRM's Retry-After.
	maxRetryAfter = 24 * time.Hour
	// maxEarly is how often a Retry-After shorter than the schedule is obeyed.
	maxEarly = 20
	// perTarget and atOnce bound running deliveries.
	perTarget, atOnce = 8, 24
	// maxBodies bounds the sum of the bodies of running deliveries, in bytes; a
	// larger document goes alone. Ed25519 signs a whole message, so a body is in
	// memory once.
	maxBodies = 64 << 20
	// keepFor and keepItems bound what is remembered of delivered documents.
	keepFor, keepItems = 90 * 24 * time.Hour, 50_000
)

// retrySchedule is the time after each failed attempt; the first attempt is
// immediate. Standard Webhooks, "Retry schedule".
var retrySchedule = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// A DeviceInfo is what the CRM learns of this computer.
type DeviceInfo struct {
	Name  string `json:"name"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Agent string `json:"agent"` // our version
}

// A Config is what an Outbox needs. All fields but Targets, HTTPAllowed and
// Roots are required.
type Config struct {
	// Dir is the outbox's folder; it is made if absent.
	Dir string
	// Key returns this computer's key for a site; it signs deliveries.
	Key func(origin string) (ed25519.PrivateKey, error)
	// Targets returns the origins, besides its own, that policy lists for a
	// site.
	Targets func(origin string) []string
	// HTTPAllowed says whether policy lets an http origin in.
	HTTPAllowed func(origin string) bool
	// Roots are PEM files with certificates trusted besides the system's.
	Roots  []string
	Device DeviceInfo
	Limits policy.Limits
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

var (
	_ job.Outbox  = (*Outbox)(nil)
	_ job.Fetcher = (*Outbox)(nil)
)

// An Outbox implements job.Outbox and job.Fetcher. It may be used by many
// goroutines.
type Outbox struct {
	cfg    Config
	log    *slog.Logger
	db     *bbolt.DB
	client *http.Client

	// Tests inside the package set these before Run.
	schedule []time.Duration
	timeout  time.Duration
	reserve  func(path string, need int64) error

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	runs   sync.WaitGroup
	wake   chan struct{} // the queue has something to look at
	writes chan struct{} // the writer has something to write
	wrote  chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	closed  bool
	jobs    map[string]*jobState
	items   map[uint64]*item
	order   []*item // by seq
	targets map[string]*targetState
	spools  map[string]*spoolState
	active  int   // running deliveries
	bodies  int64 // their bytes
	queued  writeSet
	changed chan struct{} // closed and replaced at each change
	watch   map[chan struct{}]struct{}
}

// A jobState is a job with items that are not done.
type jobState struct {
	key, origin, id string
	url, target     string // target is url's origin
	bearer          job.Secret
	items           []*item
	// openedFirst holds results back until opened was tried once more.
	openedFirst bool
}

// An item is one event that is not done: an opened, signed or rejected.
type item struct {
	seq      uint64
	job      *jobState
	rec      record
	st       state
	inflight bool
	// soon is set to try before st.Next: at start-up and on Wake.
	soon    bool
	lastTry time.Time
}

// A targetState is what is known of one target origin.
type targetState struct {
	active  int
	failing bool // the last attempt got no answer: one attempt at a time
	lastOK  time.Time
}

// A spoolState counts the items that need a spool file.
type spoolState struct {
	items int
	open  bool // its batch still runs
}

// Open opens or makes the outbox in cfg.Dir, removes what no record names, and
// makes everything that waits due at once. It returns ErrInUse when another
// process has it, ErrFormat when a newer agent made it. Nothing is delivered
// before Run.
func Open(cfg Config) (*Outbox, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	client, err := newClient(cfg.Roots)
	if err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(cfg.Dir, "outbox.db"), 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("opening outbox.db: %w", err)
	}
	o := &Outbox{
		cfg: cfg, log: cfg.Log, db: db, client: client,
		schedule: retrySchedule, timeout: attemptTimeout, reserve: reserve,
		wake: make(chan struct{}, 1), writes: make(chan struct{}, 1), wrote: make(chan struct{}),
		jobs: map[string]*jobState{}, items: map[uint64]*item{}, targets: map[string]*targetState{},
		spools: map[string]*spoolState{}, queued: newWriteSet(),
		changed: make(chan struct{}), watch: map[chan struct{}]struct{}{},
	}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	unread := 0
	err = db.Update(createBuckets)
	if err == nil {
		err = db.View(func(tx *bbolt.Tx) (err error) { unread, err = o.load(tx); return err })
	}
	if err == nil {
		err = o.sweep(unread > 0)
	}
	if err == nil {
		err = syncDir(cfg.Dir)
	}
	if err != nil {
		o.cancel()
		return nil, errors.Join(fmt.Errorf("opening the outbox: %w", err), db.Close())
	}
	go o.write()
	return o, nil
}

// Close ends Run, writes what is still to be written and closes the outbox.
func (o *Outbox) Close() error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil
	}
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.runs.Wait()
	poke(o.writes)
	<-o.wrote
	o.client.CloseIdleConnections()
	return o.db.Close()
}

// poke fills a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// notify tells everyone who waits that something changed. o.mu is held.
func (o *Outbox) notify() {
	close(o.changed)
	o.changed = make(chan struct{})
	for c := range o.watch {
		poke(c)
	}
}
