package approve

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tanba/agent/job"
	"tanba/agent/pages"
	"tanba/tokens"
)

const (
	// armAfter is how long the page must have been visible and focused.
	armAfter = time.Second
	// pinWithin is how long after the approval its PIN must come.
	pinWithin = 10 * time.Second
)

// A prompt is one question on one page. Its loop owns everything but the
// page's state, which Progress and Ended change later.
type prompt struct {
	a       *Approver
	q       question
	shown   *pages.Shown
	first   chan struct{} // gets a value when a tab got in
	closed  chan struct{} // closed when the signer closed the page
	calls   chan call
	over    chan struct{} // closed when the loop has ended
	helpers sync.WaitGroup
	idle    *time.Timer
	tabs    atomic.Int64 // how many have got in; the last one has the page
	// rejecting: the answer was no. Set before the page is kept.
	rejecting bool

	// Only the loop uses these.
	list    []tokens.Token
	pins    map[string]tokens.PINState // what a refused PIN told, by Token.ID
	tried   int                        // PINs offered
	focused time.Time                  // since when the page has been before the signer; zero: it is not
	tab     int64                      // the tab that said so
	pending *pending
	until   time.Time // when the prompt times out
	timer   *time.Timer
	there   bool // the page got in

	mu    sync.Mutex
	state stateView
}

// pending is an approval that waits for its PIN.
type pending struct {
	identity string
	token    string
	pad      bool
	seen     []job.Seen
	until    time.Time
	tab      int64
}

// A call is one call of the page on its way into the loop.
type call struct {
	method string
	body   []byte
	reply  chan<- result
}

type result struct {
	value any
	err   error
}

func (a *Approver) approve(ctx context.Context, q question) (job.Answer, error) {
	t, err := a.queue.enter(ctx, q.Prepared().Request.Origin, false)
	if err != nil {
		return job.Answer{}, err
	}
	defer a.queue.leave(t)
	p := &prompt{
		a: a, q: q, first: make(chan struct{}, 1), closed: make(chan struct{}), calls: make(chan call), over: make(chan struct{}),
		pins: map[string]tokens.PINState{}, state: stateView{Phase: "ask", Tries: -1, Tokens: []tokenView{}},
	}
	p.shown, err = a.cfg.Pages.Add(ctx, pages.Page{
		Name: "prompt", Assets: folder("prompt"), Handle: p.handle, Raw: p.raw, MaxRaw: tokens.MaxPIN,
		Opened: func() {
			p.tabs.Add(1)
			select {
			case p.first <- struct{}{}:
			default:
			}
		},
		Closed: func() { close(p.closed) },
	})
	if err != nil {
		return job.Answer{}, err
	}
	a.queue.show(t, p.shown)
	return p.run(ctx)
}

func (p *prompt) key() jobKey {
	r := p.q.Prepared().Request
	return jobKey{r.Origin, r.ID}
}

// run asks until the signer has answered or the prompt ends otherwise. When it
// returns nothing of ours uses the question any more.
func (p *prompt) run(ctx context.Context) (job.Answer, error) {
	inner, cancel := context.WithCancel(ctx)
	answer, err := p.loop(inner)
	cancel()
	close(p.over)
	p.helpers.Wait()
	switch code := codeOf(err); {
	case err != nil:
		p.end(string(code))
	case answer.Later:
		p.end("later")
	case len(answer.Approved) > 0:
		p.change(func(s *stateView) { s.Phase, s.Total = "working", len(answer.Approved) })
		p.a.keep(p)
	default:
		// "Rejected" is said when the rejection is kept: see Progress.
		p.rejecting = true
		p.a.keep(p)
	}
	return answer, err
}

func codeOf(err error) job.Code {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return e.Code
	}
	return job.CodeInternal
}

func (p *prompt) loop(ctx context.Context) (job.Answer, error) {
	changes, stop := p.q.Changes()
	defer stop()
	opened := make(chan error, 1)
	p.help(func() { opened <- p.shown.Open(ctx) })
	p.until = p.a.cfg.Now().Add(p.limit())
	p.timer = time.NewTimer(p.limit())
	defer p.timer.Stop()
	listed := make(chan listing, 1)
	listing, again := true, false
	list := func() {
		tried := p.tried
		p.help(func() { listed <- p.read(ctx, tried) })
	}
	list()
	for {
		select {
		case <-ctx.Done():
			return job.Answer{}, job.Fail(job.CodeCancelled, "", ctx.Err())
		case <-p.closed:
			return job.Answer{}, job.Fail(job.CodeClosed, "", nil)
		case <-p.timer.C:
			return job.Answer{}, job.Fail(job.CodeTimeout, "", nil)
		case err := <-opened:
			if err != nil && !p.there {
				return job.Answer{}, err
			}
		case <-p.first:
			if !p.there {
				p.there = true
				p.help(func() { p.q.Opened(ctx) })
			}
			p.refresh()
		case <-changes:
			if again = listing; !listing {
				listing = true
				list()
			}
		case l := <-listed:
			p.use(l)
			if listing = again; again {
				again = false
				list()
			}
		case c := <-p.calls:
			v, answer, err := p.do(ctx, c)
			c.reply <- result{v, err}
			if answer != nil {
				return *answer, nil
			}
		}
	}
}

func (p *prompt) limit() time.Duration { return time.Duration(p.a.cfg.Limits.Prompt) }

// help runs f beside the loop; run waits for it.
func (p *prompt) help(f func()) {
	p.helpers.Add(1)
	go func() {
		defer p.helpers.Done()
		f()
	}()
}

type listing struct {
	list  []tokens.Token
	err   error
	tried int // PINs offered before it began
}

func (p *prompt) read(ctx context.Context, tried int) listing {
	list, err := p.q.Tokens(ctx)
	if err != nil && ctx.Err() == nil {
		p.a.cfg.Log.Warn("listing tokens for the prompt", "err", err)
	}
	return listing{list, err, tried}
}

// use shows the tokens that were listed.
func (p *prompt) use(l listing) {
	if l.err == nil {
		p.list = l.list
	}
	if l.err == nil && l.tried == p.tried {
		clear(p.pins) // the tokens themselves tell
	}
	p.pending = nil
	p.change(func(s *stateView) { s.Listed, s.Failed = true, l.err != nil })
	p.refresh()
}

// refresh sends what depends on the tokens and the clock.
func (p *prompt) refresh() {
	now := p.a.cfg.Now()
	view := viewTokens(p.list, p.pins, p.fit, now)
	p.change(func(s *stateView) {
		s.Tokens = view
		s.Left = int(max(0, p.until.Sub(now)) / time.Second)
	})
}

// change changes the state and sends it.
func (p *prompt) change(f func(s *stateView)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.state)
	p.shown.Push("state", p.state)
}

// end shows the last words.
func (p *prompt) end(how string) {
	p.change(func(s *stateView) { s.Phase, s.End, s.Tokens = "ended", how, []tokenView{} })
	p.shown.End()
}

// progress shows how far the approved job is.
func (p *prompt) progress(j job.Progress) {
	p.change(func(s *stateView) { s.Step, s.Done, s.Total = j.Step, j.Done, j.Total })
}

// finish shows how the approved job ended.
func (p *prompt) finish(r job.Receipt, err error) {
	p.change(func(s *stateView) {
		s.Phase, s.End, s.Counts = "ended", "done", map[job.State]int{}
		if err != nil {
			s.End = string(codeOf(err))
		}
		for _, d := range r.Documents {
			s.Counts[d.State]++
			if d.Code != "" && d.State == job.Failed {
				s.Codes = addCode(s.Codes, d.Code)
			}
		}
	})
	p.shown.End()
}

func addCode(list []job.Code, c job.Code) []job.Code {
	for _, x := range list {
		if x == c {
			return list
		}
	}
	return append(list, c)
}

// handle takes a JSON call of the page to the loop.
func (p *prompt) handle(ctx context.Context, method string, body json.RawMessage) (any, error) {
	if method == "load" {
		return p.load(), nil
	}
	return p.pass(ctx, call{method: method, body: body})
}

// raw takes a PIN to the loop.
func (p *prompt) raw(ctx context.Context, method string, body []byte) (any, error) {
	defer clear(body) // whatever became of it
	if method != "pin" {
		return nil, pages.Refusal("invalid")
	}
	return p.pass(ctx, call{method: "pin", body: body})
}

func (p *prompt) pass(ctx context.Context, c call) (any, error) {
	reply := make(chan result, 1)
	c.reply = reply
	select {
	case p.calls <- c:
	case <-p.over:
		return nil, pages.Refusal("over")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r := <-reply // the loop always replies to what it took
	return r.value, r.err
}

func (p *prompt) load() loadView {
	r := p.q.Prepared().Request
	return loadView{
		Words: wordTables(), Lang: p.a.cfg.Lang(), Origin: viewOrigin(r.Origin),
		Title: clean(r.Title), Reference: clean(r.Reference), Counterparty: clean(r.Counterparty),
		Target: targetHost(r.Delivery.URL), Documents: viewDocuments(p.q.Prepared()), Reasons: job.Reasons,
	}
}
