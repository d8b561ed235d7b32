package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"tanba/tokens"
	"tanba/tokens/wire"
)

// child is one running token process.
type child struct {
	cmd    *exec.Cmd
	in     *os.File
	out    *os.File
	w      *wire.Writer
	grace  time.Duration
	log    *slog.Logger
	secret atomic.Int32 // calls with a PIN that are outstanding

	mu        sync.Mutex
	next      uint64
	calls     map[uint64]*call
	err       error // why it ended
	ended     chan struct{}
	ending    bool // by us
	readEnded chan struct{}
}

// call is a request whose last reply has not come. When replies is nil, nobody
// waits for them any more.
type call struct {
	replies chan reply
	lossy   bool
	done    chan struct{} // closed after the last reply
}

type reply struct {
	wire.Reply
	payload []byte
}

// start starts a token process and waits until it is ready.
func start(ctx context.Context, cfg Config) (*child, error) {
	c := &child{readEnded: make(chan struct{}), grace: cfg.Timeouts.Grace, calls: map[uint64]*call{}, ended: make(chan struct{}), log: cfg.Log}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		closeAll(inR, inW)
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		closeAll(inR, inW, outR, outW)
		return nil, err
	}
	c.in, c.out, c.w = inW, outR, wire.NewWriter(inW)
	c.cmd = exec.Command(cfg.Host, cfg.Library)
	c.cmd.Env = append(environment(os.Environ()), cfg.Env...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = inR, outW, errW
	detach(c.cmd)
	err = c.cmd.Start()
	closeAll(inR, outW, errW)
	if err != nil {
		closeAll(inW, outR, errR)
		return nil, fmt.Errorf("%w: starting its process: %w", tokens.ErrLibrary, err)
	}
	ready := &call{replies: make(chan reply, 1), done: make(chan struct{})}
	c.calls[0] = ready
	go c.drain(errR)
	go c.read()
	go c.wait()
	r, err := c.await(ctx, 0, ready, cfg.Timeouts.Call)
	if err == nil && (!r.Ready || r.More) {
		err = fmt.Errorf("%w: not ready", wire.ErrMalformed)
	}
	if err != nil {
		lost := c.kill(err)
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		return nil, lost
	}
	cfg.Log.Debug("token process started", "pid", c.cmd.Process.Pid)
	return c, nil
}

func closeAll(fs ...*os.File) {
	for _, f := range fs {
		_ = f.Close()
	}
}

func (c *child) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// wait waits for the process to end.
func (c *child) wait() {
	err := c.cmd.Wait()
	if err == nil {
		err = errors.New("its process ended")
	}
	// What it said before its end still counts; but a descendant may hold the
	// pipe open for ever.
	select {
	case <-c.readEnded:
	case <-time.After(200 * time.Millisecond):
	}
	c.kill(err)
	closeAll(c.out)
}

// kill ends the child, now. It returns the reason as a tokens.ErrLibrary: the
// first one that was given.
func (c *child) kill(reason error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = reason
		if !errors.Is(reason, tokens.ErrLibrary) {
			c.err = fmt.Errorf("%w: %w", tokens.ErrLibrary, reason)
		}
		_ = c.cmd.Process.Kill()
		_ = c.in.Close()
		close(c.ended)
		if c.ending {
			c.log.Debug("token process ended", "err", c.err)
		} else {
			c.log.Warn("token process lost", "err", c.err)
		}
	}
	return c.err
}

// end lets the child end by itself, and kills it after grace.
func (c *child) end(grace time.Duration) {
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	_ = c.in.Close()
	select {
	case <-c.ended:
	case <-time.After(grace):
		c.kill(errors.New("closed"))
	}
}

// read takes the replies to those who wait for them.
func (c *child) read() {
	in := wire.NewReader(bufio.NewReaderSize(c.out, 64<<10))
	for {
		var r wire.Reply
		payload, err := in.Read(&r)
		if err != nil {
			close(c.readEnded)
			if !errors.Is(err, wire.ErrMalformed) {
				c.waitEnded() // how the process ended tells more
			}
			c.kill(fmt.Errorf("its output ended: %w", err))
			return
		}
		if !c.deliver(reply{r, payload}) {
			close(c.readEnded)
			c.kill(fmt.Errorf("%w: reply %d that nobody asked for", wire.ErrMalformed, r.ID))
			return
		}
	}
}

func (c *child) deliver(r reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[r.ID]
	if k == nil {
		return false
	}
	ok := true
	if k.replies != nil {
		select {
		case k.replies <- r:
		default:
			ok = k.lossy
		}
	}
	if !r.More {
		delete(c.calls, r.ID)
		close(k.done)
	}
	return ok
}

// send sends a request and registers who waits for at most replies replies.
func (c *child) send(q wire.Request, payload []byte, replies int, lossy bool) (uint64, *call, error) {
	k := &call{replies: make(chan reply, replies), lossy: lossy, done: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, nil, c.err
	}
	c.next++
	q.ID = c.next
	c.calls[q.ID] = k
	c.mu.Unlock()
	// A process that does not read blocks a Write above the pipe's size.
	guard := time.AfterFunc(writeWait, func() { c.kill(errors.New("does not read")) })
	defer guard.Stop()
	if err := c.w.Write(q, payload); err != nil {
		if errors.Is(err, wire.ErrMalformed) { // too large: nothing was sent
			c.mu.Lock()
			delete(c.calls, q.ID)
			c.mu.Unlock()
			return 0, nil, err
		}
		c.waitEnded()
		return 0, nil, c.kill(err)
	}
	return q.ID, k, nil
}

// writeWait bounds how long the process may take to read a request.
const writeWait = 10 * time.Second

// waitEnded gives the reason of the end, which wait learns, a little time to
// come before "broken pipe".
func (c *child) waitEnded() {
	select {
	case <-c.ended:
	case <-time.After(300 * time.Millisecond):
	}
}

// call sends a request and waits for its one reply.
func (c *child) call(ctx context.Context, q wire.Request, payload []byte, timeout time.Duration) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	id, k, err := c.send(q, payload, 1, false)
	if err != nil {
		return reply{}, err
	}
	return c.await(ctx, id, k, timeout)
}

// await waits for the next reply. Its error may be the one that the reply
// carries. Without a reply in time the process is killed; when ctx ends, after
// the grace.
func (c *child) await(ctx context.Context, id uint64, k *call, timeout time.Duration) (reply, error) {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case r := <-k.replies:
		return c.opened(ctx, r)
	default:
	}
	select {
	case r := <-k.replies:
		return c.opened(ctx, r)
	case <-c.ended:
		select {
		case r := <-k.replies: // it came just before the end
			return c.opened(ctx, r)
		default:
		}
		return reply{}, c.kill(nil)
	case <-t.C:
		return c.tooLate(ctx, id, k, timeout)
	case <-ctx.Done():
		c.abandon(id, k)
		return reply{}, ctx.Err()
	}
}

// tooLate tells the process to stop a call that had its time. One that waits
// for its turn does, and costs the others nothing; a library that hangs does
// not, and is killed.
func (c *child) tooLate(ctx context.Context, id uint64, k *call, timeout time.Duration) (reply, error) {
	t := time.NewTimer(c.grace)
	defer t.Stop()
	go func() { _ = c.w.Write(wire.Request{Op: wire.Cancel, Target: id}, nil) }()
	select {
	case r := <-k.replies:
		if !errors.Is(r.Error.Err(), context.Canceled) {
			return c.opened(ctx, r)
		}
		return reply{}, fmt.Errorf("no answer in %s: %w", timeout, tokens.ErrBusy)
	case <-c.ended:
		return reply{}, c.kill(nil)
	case <-t.C:
		return reply{}, c.kill(fmt.Errorf("no answer in %s", timeout))
	}
}

// opened returns the error that a reply carries. That a call was stopped is
// news to its caller only if it was not the caller's own context.
func (c *child) opened(ctx context.Context, r reply) (reply, error) {
	err := r.Error.Err()
	switch {
	case errors.Is(err, wire.ErrMalformed):
		return r, c.kill(err)
	case errors.Is(err, context.Canceled) && ctx.Err() == nil:
		return r, fmt.Errorf("%w: stopped: %s", tokens.ErrLibrary, err.Error())
	}
	return r, err
}

// abandon tells the process that nobody waits for a call any more, and kills
// it when it does not end the call within the grace: a call into a library
// cannot be stopped otherwise.
func (c *child) abandon(id uint64, k *call) {
	c.mu.Lock()
	k.replies = nil
	c.mu.Unlock()
	go func() {
		if err := c.w.Write(wire.Request{Op: wire.Cancel, Target: id}, nil); err != nil {
			return // it has ended
		}
		select {
		case <-k.done:
		case <-c.ended:
		case <-time.After(c.grace):
			c.kill(errors.New("did not stop when told"))
		}
	}()
}

// watch passes the library's events on until ctx or the child ends.
func (c *child) watch(ctx context.Context, send func(tokens.Event)) error {
	id, k, err := c.send(wire.Request{Op: wire.Watch}, nil, 64, true)
	if err != nil {
		return err
	}
	for {
		select {
		case r := <-k.replies:
			if _, err := c.opened(ctx, r); err != nil {
				return err
			}
			if !r.More {
				return c.kill(fmt.Errorf("%w: end of events", wire.ErrMalformed))
			}
			e := r.Event
			if e == nil || len(e.TokenID) > 256 || (e.Kind != tokens.Inserted && e.Kind != tokens.Removed) {
				return c.kill(fmt.Errorf("%w: event", wire.ErrMalformed))
			}
			send(tokens.Event{Kind: e.Kind, TokenID: e.TokenID})
		case <-c.ended:
			return c.kill(nil)
		case <-ctx.Done():
			c.abandon(id, k)
			return ctx.Err()
		}
	}
}
