package native

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"tanba/agent/job"
	"tanba/agent/sites"
)

// testOnlyLinger shortens the time for which a job waits for its page to come
// back, in tests.
var testOnlyLinger = 10 * time.Second

// runningPerQueue is how many jobs may be under way for each that may wait for
// a prompt: delivered ones are answered late.
const runningPerQueue = 4

// A task waits for the signer on behalf of the sockets of one origin: a job,
// or the question whether the site is allowed. Its fields are guarded by
// Server.mu, results by done.
type task struct {
	s        *Server
	cancel   context.CancelFunc
	attached map[*socket]struct{}
	leave    *time.Timer
	// documents is the digest of what is to be signed.
	documents [sha256.Size]byte
	// approved: the signer has decided, nothing can be cancelled any more.
	approved  bool
	cancelled bool
	// telling: the page that cancels is still to be told so; then comes the
	// answer to sign.
	telling sync.WaitGroup

	done    chan struct{}
	receipt job.Receipt
	allowed bool
	problem *problem
}

func jobKey(origin, id string) string { return "job " + origin + " " + id }
func accessKey(origin string) string  { return "access " + origin }

// attach makes k one of the sockets that the task works for.
func (t *task) attach(k *socket) {
	t.attached[k] = struct{}{}
	if t.leave != nil {
		t.leave.Stop()
		t.leave = nil
	}
}

// detach takes a socket away. When the last is gone and none comes back, as a
// page does that is loaded again, the prompt is closed.
func (t *task) detach(k *socket) {
	if _, ok := t.attached[k]; !ok {
		return
	}
	delete(t.attached, k)
	if len(t.attached) == 0 && t.leave == nil {
		t.leave = time.AfterFunc(testOnlyLinger, func() {
			t.s.mu.Lock()
			defer t.s.mu.Unlock()
			if len(t.attached) == 0 {
				t.cancelled = true
				t.cancel()
			}
		})
	}
}

// wait returns false when the socket ended before the task.
func (t *task) wait(k *socket) bool {
	select {
	case <-t.done:
		return true
	case <-k.ctx.Done():
		return false
	}
}

// task returns the task with this key, or makes it with begin and runs it in
// its own goroutine. s.mu is held.
func (s *Server) start(key string, k *socket, run func(ctx context.Context, t *task)) *task {
	ctx, cancel := context.WithCancel(s.ctx)
	t := &task{s: s, cancel: cancel, attached: map[*socket]struct{}{}, done: make(chan struct{})}
	t.attach(k)
	s.tasks[key] = t
	go func() {
		run(ctx, t)
		cancel()
		s.mu.Lock()
		delete(s.tasks, key)
		if t.leave != nil {
			t.leave.Stop()
		}
		s.mu.Unlock()
		t.telling.Wait()
		close(t.done)
	}()
	return t
}

// runJob starts the job of p for k, or attaches k to it if it runs already.
// release is called when the job has no more use for the content.
func (s *Server) runJob(k *socket, p *signParams, sums map[int][]byte, release func()) (*task, *problem) {
	documents := fingerprint(p, sums)
	key := jobKey(k.origin, p.req.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[key]; t != nil {
		defer release()
		if t.documents != documents {
			return nil, fail(job.CodeReused)
		}
		t.attach(k)
		return t, nil
	}
	all, own := 0, 0
	for other := range s.tasks {
		if strings.HasPrefix(other, "job ") {
			all++
		}
		if strings.HasPrefix(other, jobKey(k.origin, "")) {
			own++
		}
	}
	if all >= runningPerQueue*s.cfg.Limits.Queue || own >= s.cfg.Limits.Queue {
		defer release()
		return nil, fail(job.CodeBusy)
	}
	t := s.start(key, k, func(ctx context.Context, t *task) {
		defer release()
		receipt, err := s.cfg.Jobs.Run(ctx, p.req)
		s.mu.Lock()
		defer s.mu.Unlock()
		t.receipt = receipt
		if err != nil {
			t.problem = asProblem(err)
			if t.cancelled || errors.Is(err, context.Canceled) {
				t.problem = fail(job.CodeCancelled)
			}
			s.cfg.Log.Info("job not signed", "origin", k.origin, "job", p.req.ID, "code", string(t.problem.Code))
		}
	})
	t.documents = documents
	return t, nil
}

// fingerprint is a digest of what is to be signed: the documents' identifiers,
// forms and contents, in their order.
func fingerprint(p *signParams, sums map[int][]byte) [sha256.Size]byte {
	h := sha256.New()
	put := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(b)))
		h.Write(b)
	}
	for i := range p.req.Documents {
		d := &p.req.Documents[i]
		put([]byte(d.ID))
		put([]byte(d.Format))
		attached := byte(0)
		if d.Attached {
			attached = 1
		}
		put([]byte{attached})
		put(d.SHA256)
		switch {
		case d.Content.URL != "":
			put([]byte(d.Content.URL))
		case sums[i] != nil:
			put(sums[i])
		default:
			sum := sha256.Sum256(d.Content.Inline)
			put(sum[:])
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// cancelJob cancels a job that the signer has not approved. told lets its end
// be told.
func (s *Server) cancelJob(origin, id string) (told func(), fault *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[jobKey(origin, id)]
	switch {
	case t == nil:
		return nil, fail(job.CodeUnknownJob)
	case t.approved:
		return nil, fail(job.CodeRunning)
	}
	// At once, under the lock that an approval takes: what the page is told is
	// what happens.
	t.cancelled = true
	t.cancel()
	t.telling.Add(1)
	return t.telling.Done, nil
}

// running attaches k to the job if it runs.
func (s *Server) running(k *socket, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[jobKey(k.origin, id)]
	if t != nil {
		t.attach(k)
	}
	return t != nil
}

// askAccess asks the signer about k's site, or attaches k to the question that
// is open already.
func (s *Server) askAccess(k *socket) (*task, *problem) {
	key := accessKey(k.origin)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tasks[key]; t != nil {
		t.attach(k)
		return t, nil
	}
	switch err := s.cfg.Sites.MayAsk(k.origin, s.cfg.Now()); {
	case errors.Is(err, sites.ErrTooSoon), errors.Is(err, sites.ErrRefusedForGood), errors.Is(err, sites.ErrPolicy):
		return nil, fail(job.CodeTooManyRequests)
	case err != nil:
		s.cfg.Log.Error("sites not written", "err", err)
		return nil, fail(job.CodeAccessRefused)
	}
	return s.start(key, k, func(ctx context.Context, t *task) {
		ok, err := s.cfg.Access.Ask(ctx, k.origin)
		at := s.cfg.Now()
		switch {
		case err == nil && ok:
			err = s.cfg.Sites.Allow(k.origin, at)
		case err == nil || asCode(err, job.CodeClosed):
			ok, err = false, s.cfg.Sites.Refuse(k.origin, at)
		}
		if err != nil {
			s.cfg.Log.Warn("site not allowed", "origin", k.origin, "err", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		t.allowed = ok && err == nil
	}), nil
}
