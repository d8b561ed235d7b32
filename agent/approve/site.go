package approve

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/agent/text"
)

// An access is one question whether a site may ask for signatures.
type access struct {
	a      *Approver
	origin string
	answer chan bool     // gets the signer's answer
	closed chan struct{} // closed when the signer closed the page
	there  chan struct{} // gets a value when the page is there

	mu       sync.Mutex
	focused  time.Time
	answered bool
	until    time.Time
	timer    *time.Timer
}

// accessView is what the page's script gets.
type accessView struct {
	Words  map[text.Lang]map[text.Key]string `json:"words"`
	Lang   text.Lang                         `json:"lang"`
	Origin originView                        `json:"origin"`
	Left   int                               `json:"left"` // seconds
}

// accessState is what the page is sent.
type accessState struct {
	// End is empty while the question is open, then "allowed", "refused" or a
	// job.Code.
	End  string `json:"end"`
	Left int    `json:"left"` // seconds
}

// AskSite asks the signer whether the site may ask for signatures, and
// returns the answer. An error is a *job.Error as Approve returns them.
func (a *Approver) AskSite(ctx context.Context, origin string) (bool, error) {
	t, err := a.queue.enter(ctx, origin, true)
	if err != nil {
		return false, err
	}
	defer a.queue.leave(t)
	limit := time.Duration(a.cfg.Limits.Prompt)
	s := &access{
		a: a, origin: origin, answer: make(chan bool, 1), closed: make(chan struct{}), there: make(chan struct{}, 1),
		until: a.cfg.Now().Add(limit), timer: time.NewTimer(limit),
	}
	defer s.timer.Stop()
	sh, err := a.cfg.Pages.Add(ctx, pages.Page{
		Name: "access", Assets: folder("access"), Handle: s.handle,
		Opened: func() {
			s.mu.Lock()
			s.focused = time.Time{} // that was another tab
			s.mu.Unlock()
			select {
			case s.there <- struct{}{}:
			default:
			}
		},
		Closed: func() { close(s.closed) },
	})
	if err != nil {
		return false, err
	}
	a.queue.show(t, sh)
	allowed, err := s.wait(ctx, sh)
	end := accessState{End: "refused"}
	if allowed {
		end.End = "allowed"
	}
	if e, ok := errors.AsType[*job.Error](err); ok {
		end.End = string(e.Code)
	}
	sh.Push("state", end)
	sh.End()
	return allowed, err
}

func (s *access) wait(ctx context.Context, sh *pages.Shown) (bool, error) {
	opening, cancel := context.WithCancel(ctx)
	defer cancel()
	opened := make(chan error, 1)
	go func() { opened <- sh.Open(opening) }()
	there := false
	for {
		select {
		case allowed := <-s.answer:
			return allowed, nil
		case <-ctx.Done():
			return false, job.Fail(job.CodeCancelled, "", ctx.Err())
		case <-s.closed:
			return false, job.Fail(job.CodeClosed, "", nil)
		case <-s.timer.C:
			return false, job.Fail(job.CodeTimeout, "", nil)
		case <-s.there:
			there = true
		case err := <-opened:
			if err != nil && !there {
				return false, err
			}
		}
	}
}

func (s *access) handle(_ context.Context, method string, body json.RawMessage) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.a.cfg.Now()
	done := map[string]bool{"ok": true}
	switch method {
	case "load":
		return accessView{wordTables(), s.a.cfg.Lang(), viewOrigin(s.origin), s.left(now)}, nil
	case "focus":
		var in struct {
			On bool `json:"on"`
		}
		if pages.Decode(body, &in) != nil {
			return nil, refusedInvalid
		}
		s.focused = time.Time{}
		if in.On {
			s.focused = now
		}
		return done, nil
	case "extend":
		limit := time.Duration(s.a.cfg.Limits.Prompt)
		s.until = now.Add(limit)
		s.timer.Reset(limit)
		return map[string]int{"left": s.left(now)}, nil
	case "allow":
		if s.focused.IsZero() || now.Sub(s.focused) < armAfter {
			return nil, refusedNotArmed
		}
		return done, s.say(true)
	case "refuse":
		return done, s.say(false)
	}
	return nil, refusedInvalid
}

// say gives the answer, once. s.mu is held.
func (s *access) say(allowed bool) error {
	if s.answered {
		return refusedInvalid
	}
	s.answered = true
	s.answer <- allowed
	return nil
}

func (s *access) left(now time.Time) int { return int(max(0, s.until.Sub(now)) / time.Second) }
