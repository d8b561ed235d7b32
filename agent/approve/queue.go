package approve

import (
	"context"
	"sync"

	"tanba/agent/job"
	"tanba/agent/pages"
)

// queue lets one prompt per origin and a few over all origins be open; others
// wait, in order, up to a bound.
type queue struct {
	max, open int
	changed   func(int)
	telling   sync.Mutex

	mu    sync.Mutex
	shown map[string]*ticket // by origin
	line  []*ticket
	order []*ticket // those shown, the oldest first
}

// A ticket is one prompt's place.
type ticket struct {
	origin   string
	stranger bool          // the site is not allowed yet
	turn     chan struct{} // closed when it may be shown
	page     *pages.Shown
}

// enter waits for its turn. The caller must leave.
func (q *queue) enter(ctx context.Context, origin string, stranger bool) (*ticket, error) {
	t := &ticket{origin: origin, stranger: stranger, turn: make(chan struct{})}
	q.mu.Lock()
	if !q.free(t) && len(q.line) >= q.max {
		q.mu.Unlock()
		return nil, job.Fail(job.CodeBusy, "", nil)
	}
	q.line = append(q.line, t)
	q.advance()
	q.mu.Unlock()
	q.tell()
	select {
	case <-t.turn:
		return t, nil
	case <-ctx.Done():
		q.leave(t)
		return nil, job.Fail(job.CodeCancelled, "", ctx.Err())
	}
}

// free says whether t may be shown now. Sites that are not allowed have half
// of the places together, so that they cannot keep the others out.
func (q *queue) free(t *ticket) bool {
	strangers := 0
	for _, x := range q.order {
		if x.stranger {
			strangers++
		}
	}
	return len(q.shown) < q.open && q.shown[t.origin] == nil && (!t.stranger || strangers < max(1, q.open/2))
}

// advance gives their turn to those who can have it. q.mu is held.
func (q *queue) advance() {
	var rest []*ticket
	for _, t := range q.line {
		if !q.free(t) {
			rest = append(rest, t)
			continue
		}
		q.shown[t.origin] = t
		q.order = append(q.order, t)
		close(t.turn)
	}
	q.line = rest
}

// leave gives t's place to the next.
func (q *queue) leave(t *ticket) {
	q.mu.Lock()
	if q.shown[t.origin] == t {
		delete(q.shown, t.origin)
	}
	q.order = without(q.order, t)
	q.line = without(q.line, t)
	q.advance()
	q.mu.Unlock()
	q.tell()
}

func without(list []*ticket, t *ticket) []*ticket {
	var out []*ticket
	for _, x := range list {
		if x != t {
			out = append(out, x)
		}
	}
	return out
}

// show notes t's page, for oldest.
func (q *queue) show(t *ticket, sh *pages.Shown) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.page = sh
}

func (q *queue) oldest() *pages.Shown {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.order {
		if t.page != nil {
			return t.page
		}
	}
	return nil
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order) + len(q.line)
}

// tell tells how many wait. One at a time, so that the last number told is the
// latest.
func (q *queue) tell() {
	if q.changed == nil {
		return
	}
	q.telling.Lock()
	defer q.telling.Unlock()
	q.changed(q.waiting())
}
