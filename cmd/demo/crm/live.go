package crm

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// maxWatchers bounds the pages that watch deals at once.
const maxWatchers = 64

// live tells open pages that their deal has changed.
type live struct {
	mu       sync.Mutex
	watchers map[chan struct{}]string // by deal
	closed   bool
	end      chan struct{}
}

func newLive() *live {
	return &live{watchers: map[chan struct{}]string{}, end: make(chan struct{})}
}

// watch returns a channel that gets a value after changes, nil when there are
// too many watchers, and a function that ends it.
func (l *live) watch(deal string) (<-chan struct{}, func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.watchers) >= maxWatchers {
		return nil, func() {}
	}
	c := make(chan struct{}, 1)
	l.watchers[c] = deal
	return c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, c)
	}
}

func (l *live) tell(deal string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, d := range l.watchers {
		if d == deal || deal == "" {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.end)
	}
}

// dealEvents is a stream of server-sent events: "changed" after each change.
func (s *Server) dealEvents(w http.ResponseWriter, r *http.Request, _ Person) {
	changes, stop := s.live.watch(r.PathValue("deal"))
	defer stop()
	if changes == nil {
		http.Error(w, "too many open pages", http.StatusServiceUnavailable)
		return
	}
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	beat := time.NewTicker(20 * time.Second)
	defer beat.Stop()
	for line := "retry: 1000\n\n"; ; {
		if _, err := fmt.Fprint(w, line); err != nil || ctl.Flush() != nil {
			return
		}
		select {
		case <-changes:
			line = "event: changed\ndata: {}\n\n"
		case <-beat.C:
			line = ": still here\n\n"
		case <-r.Context().Done():
			return
		case <-s.live.end:
			return
		}
	}
}
