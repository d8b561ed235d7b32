package gate

import (
	"sync"
	"time"

	"tanba/agent/policy"
)

// Rates of new connections: a page that is loaded again and again by hand
// stays far below, a page that floods is slowed to one socket a second.
const (
	originBurst, originEvery = 20, time.Second
	allBurst, allEvery       = 60, time.Second / 4
	logBurst, logEvery       = 10, 10 * time.Second
	// maxOrigins bounds the origins whose rate is remembered.
	maxOrigins = 500
)

// A bucket lets burst events through at once and then one per every.
type bucket struct {
	burst int
	every time.Duration

	tokens float64
	last   time.Time
}

func newBucket(burst int, every time.Duration) *bucket {
	return &bucket{burst: burst, every: every, tokens: float64(burst)}
}

func (b *bucket) fill(now time.Time) {
	if !b.last.IsZero() && now.After(b.last) {
		b.tokens = min(float64(b.burst), b.tokens+float64(now.Sub(b.last))/float64(b.every))
	}
	b.last = now
}

func (b *bucket) take(now time.Time) bool {
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// A counter knows how many sockets are open and how fast new ones come.
type counter struct {
	limits policy.Limits
	now    func() time.Time

	mu        sync.Mutex
	open      int
	strangers int // of open, those of sites not allowed when they came
	origins   map[string]*originCount
	all, log  *bucket
}

type originCount struct {
	open int
	rate *bucket
}

func newCounter(l policy.Limits, now func() time.Time) *counter {
	return &counter{
		limits: l, now: now, origins: map[string]*originCount{},
		all: newBucket(allBurst, allEvery), log: newBucket(logBurst, logEvery),
	}
}

// enter counts a socket in; release counts it out. Sites that are not allowed
// have half of the sockets together and half of an origin's each, so that they
// cannot keep the others out.
func (c *counter) enter(origin string, allowed bool) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	o := c.origins[origin]
	if o == nil {
		c.forget(now)
		if len(c.origins) >= maxOrigins {
			return nil, ErrRate
		}
		o = &originCount{rate: newBucket(originBurst, originEvery)}
		c.origins[origin] = o
	}
	perOrigin := c.limits.SocketsPerOrigin
	if !allowed {
		perOrigin = max(1, perOrigin/2)
	}
	switch {
	case !o.rate.take(now), !allowed && !c.all.take(now):
		return nil, ErrRate
	case c.open >= c.limits.Sockets, o.open >= perOrigin, !allowed && c.strangers >= max(1, c.limits.Sockets/2):
		return nil, ErrRate
	}
	c.open++
	o.open++
	if !allowed {
		c.strangers++
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open--
		o.open--
		if !allowed {
			c.strangers--
		}
	}), nil
}

// forget drops the origins that have no socket and a full bucket. c.mu is held.
func (c *counter) forget(now time.Time) {
	if len(c.origins) < maxOrigins {
		return
	}
	for name, o := range c.origins {
		if o.rate.fill(now); o.open == 0 && o.rate.tokens >= originBurst {
			delete(c.origins, name)
		}
	}
}

func (c *counter) mayLog() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.take(c.now())
}
