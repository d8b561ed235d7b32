package delivery

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tanba/agent/job"
)

// idleCheck is the longest sleep while something waits: timers stand still
// while a computer sleeps, the wall clock does not.
const idleCheck = time.Minute

// Run delivers what waits and what comes, until ctx ends or the outbox is
// closed. It returns when no delivery runs any more; one that is cut off is
// tried again at the next start.
func (o *Outbox) Run(ctx context.Context) error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return errClosed
	}
	o.runs.Add(1)
	o.mu.Unlock()
	defer o.runs.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	o.runs.Go(func() {
		if err := o.prune(o.cfg.Now()); err != nil {
			o.log.Warn("forgetting old deliveries", "err", err)
		}
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		sleep, any := o.start(ctx)
		if any {
			timer.Reset(sleep)
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-timer.C:
		}
	}
	o.mu.Lock()
	for o.active > 0 {
		c := o.changed
		o.mu.Unlock()
		<-c
		o.mu.Lock()
	}
	o.mu.Unlock()
	return nil
}

// Wake tries everything that waits at once: the network came up, the computer
// woke. Attempts that fail now are not counted.
func (o *Outbox) Wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, it := range o.items {
		it.soon = it.st.State == job.Delivering
	}
	poke(o.wake)
}

// start starts every delivery that is due and has room, and returns how long
// to wait for the next one; any is false when nothing waits for a time.
func (o *Outbox) start(ctx context.Context) (sleep time.Duration, any bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.cfg.Now()
	sleep = idleCheck
	for _, it := range o.order {
		if it.st.State != job.Delivering || it.inflight || o.items[it.seq] == nil {
			continue
		}
		if !it.due(now) {
			any, sleep = true, min(sleep, max(it.st.Next.Sub(now), time.Millisecond))
			continue
		}
		if o.active >= atOnce {
			break
		}
		if it.job.openedFirst && it.rec.Kind != KindOpened {
			continue
		}
		t := o.target(it.job.target)
		if t.active >= perTarget || (t.failing && t.active > 0) {
			continue
		}
		if o.bodies > 0 && o.bodies+it.rec.Size > maxBodies {
			continue
		}
		it.inflight = true
		t.active++
		o.active++
		o.bodies += it.rec.Size
		go o.attempt(ctx, it, t, delivery{origin: it.job.origin, url: it.job.url, bearer: it.job.bearer, rec: it.rec, seq: it.seq})
	}
	return sleep, any
}

// due says whether it is time. A time further off than any schedule sets comes
// from a clock that was wrong and has been set back.
func (it *item) due(now time.Time) bool {
	return it.soon || !it.st.Next.After(now) || it.st.Next.Sub(now) > 2*maxRetryAfter
}

func (o *Outbox) target(origin string) *targetState {
	t := o.targets[origin]
	if t == nil {
		t = &targetState{}
		o.targets[origin] = t
	}
	return t
}

// attempt delivers one item and enters how it ended.
func (o *Outbox) attempt(ctx context.Context, it *item, t *targetState, d delivery) {
	out := o.deliver(ctx, d)
	if d.rec.Size > maxBodies/2 {
		debug.FreeOSMemory() // or an idle agent keeps the document's room for minutes
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.cfg.Now().UTC()
	it.inflight = false
	t.active--
	o.active--
	o.bodies -= d.rec.Size
	defer poke(o.wake)
	defer o.notify()
	if out.verdict == again && ctx.Err() != nil {
		return // cut off by us
	}
	log := o.log.With("item", it.seq, "kind", d.rec.Kind, "job", it.job.id, "origin", d.origin)
	if it.rec.Kind == KindOpened {
		it.job.openedFirst = false
	}
	if it.st.Dropped && out.verdict != delivered {
		return
	}
	soon := it.soon
	it.soon = false
	it.st.Status, it.st.Trouble, it.st.At = out.status, out.trouble, now
	switch out.verdict {
	case delivered:
		it.st.State, it.st.Code, it.st.Dropped = job.Delivered, "", false
		t.failing, t.lastOK = false, now
		log.Debug("delivered", "status", out.status)
	case park:
		it.st.State, it.st.Code = job.Parked, job.CodeUnauthorized
		t.failing, t.lastOK = false, now
		if it.job.bearer.Reveal() != d.bearer.Reveal() || it.job.url != d.url {
			it.st = firstState(now) // a fresh bearer came meanwhile
			break
		}
		log.Info("delivery parked", "status", out.status)
	case refuse:
		o.bury(it, out.code)
		t.failing = false
		log.Warn("delivery refused", "status", out.status, "trouble", out.trouble)
	case again:
		o.postpone(it, t, out, now, soon)
		log.Info("delivery postponed", "status", out.status, "trouble", out.trouble, "attempts", it.st.Attempts, "next", it.st.Next)
	}
	it.lastTry = now
	o.save(it)
}

// bury makes it a dead letter. An opened is nothing to keep for the signer: it
// is dropped.
func (o *Outbox) bury(it *item, code job.Code) {
	it.st.State, it.st.Code = job.Dead, code
	it.st.Dropped = it.rec.Kind == KindOpened
}

// postpone sets when it is tried again. o.mu is held.
func (o *Outbox) postpone(it *item, t *targetState, out outcome, now time.Time, soon bool) {
	it.st.Code = job.CodeUnreachableCRM
	switch {
	case soon && it.st.Next.After(now):
		// An extra attempt: the schedule stands as it is.
	case out.throttled && t.lastOK.After(it.lastTry) && !it.lastTry.IsZero():
		// The CRM works, we were too fast.
		it.st.Next = now.Add(max(out.retryAfter, jitter(o.schedule[0])))
	case out.retryAfter > 0 && out.retryAfter < o.step(it.st.Attempts) && it.st.Early < maxEarly:
		it.st.Early++
		it.st.Next = now.Add(out.retryAfter)
	default:
		o.failed(it, now, out.retryAfter)
	}
	if !out.target {
		return
	}
	// Nobody answers there, or too many ask: the others that are due for the
	// same target need not find out one by one.
	t.failing = true
	for _, other := range o.order {
		if other == it || other.inflight || other.st.State != job.Delivering || other.job.target != it.job.target || !other.due(now) {
			continue
		}
		if other.job.openedFirst && other.rec.Kind == KindOpened {
			other.job.openedFirst = false
		}
		wasSoon := other.soon
		other.soon = false
		switch {
		case wasSoon && other.st.Next.After(now):
		case out.throttled:
			other.st.Next = now.Add(max(out.retryAfter, jitter(o.schedule[0])))
		default:
			o.failed(other, now, out.retryAfter)
		}
		other.st.Code, other.st.Trouble, other.st.Status = job.CodeUnreachableCRM, out.trouble, out.status
		o.save(other)
	}
}

// failed counts one failed attempt.
func (o *Outbox) failed(it *item, now time.Time, atLeast time.Duration) {
	it.st.Attempts++
	if it.st.Attempts > len(o.schedule) {
		o.bury(it, job.CodeUnreachableCRM)
		return
	}
	it.st.Next = now.Add(max(atLeast, jitter(o.step(it.st.Attempts-1))))
}

func (o *Outbox) step(attempts int) time.Duration {
	return o.schedule[min(attempts, len(o.schedule)-1)]
}

// jitter spreads d by a tenth to either side.
func jitter(d time.Duration) time.Duration {
	b := backoff.ExponentialBackOff{InitialInterval: d, RandomizationFactor: 0.1, Multiplier: 1, MaxInterval: d}
	return b.NextBackOff()
}
