package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"tanba/tokens"
)

// maxOutstanding bounds the requests that run at once, maxSessions the open
// sessions.
const (
	maxOutstanding = 64
	maxSessions    = 64
)

// Serve answers the requests of r with d on w, until r ends or ctx does. It
// returns nil at the end of r. It says Ready first. The sessions that are
// open at the end are closed by closing d.
func Serve(ctx context.Context, r io.Reader, w io.Writer, d tokens.Driver) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{driver: d, w: NewWriter(w), sessions: map[uint64]*served{}, running: map[uint64]context.CancelFunc{}}
	if err := s.w.Write(Reply{Ready: true}, nil); err != nil {
		return err
	}
	in := NewReader(r)
	for {
		var q Request
		payload, err := in.Read(&q)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.start(ctx, q, payload); err != nil {
			return err
		}
	}
}

// Refuse tells the agent that the library cannot be used.
func Refuse(w io.Writer, err error) error {
	return NewWriter(w).Write(Reply{Error: EncodeError(err)}, nil)
}

type server struct {
	driver tokens.Driver
	w      *Writer

	mu       sync.Mutex
	next     uint64
	sessions map[uint64]*served
	running  map[uint64]context.CancelFunc
}

// served is a session; mu keeps its requests one at a time.
type served struct {
	mu sync.Mutex
	s  tokens.Session
}

// start runs a request in a goroutine of its own. Its error ends the
// conversation.
func (s *server) start(ctx context.Context, q Request, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.Op == Cancel {
		if stop := s.running[q.Target]; stop != nil {
			stop()
		}
		return nil
	}
	if q.ID == 0 || s.running[q.ID] != nil {
		return fmt.Errorf("%w: request id %d", ErrMalformed, q.ID)
	}
	if len(s.running) >= maxOutstanding {
		return s.w.Write(Reply{ID: q.ID, Error: EncodeError(tokens.ErrBusy)}, nil)
	}
	ctx, stop := context.WithCancel(ctx)
	s.running[q.ID] = stop
	go func() {
		last := s.run(ctx, q, payload)
		clear(payload)
		stop()
		s.mu.Lock()
		delete(s.running, q.ID)
		s.mu.Unlock()
		last.ID = q.ID
		if err := s.w.Write(last, nil); errors.Is(err, ErrMalformed) {
			_ = s.w.Write(Reply{ID: q.ID, Error: EncodeError(fmt.Errorf("%w: more certificates than a frame holds", tokens.ErrLibrary))}, nil)
		}
	}()
	return nil
}

func (s *server) run(ctx context.Context, q Request, payload []byte) Reply {
	var out Reply
	var err error
	switch q.Op {
	case List:
		var list []tokens.Token
		list, err = s.driver.List(ctx)
		out.Tokens = EncodeTokens(list)
	case Open:
		out.Session, err = s.open(ctx, q.Identity)
	case Login:
		err = s.with(q.Session, func(t tokens.Session) error { return t.Login(ctx, tokens.NewPIN(payload)) })
	case Sign:
		err = s.with(q.Session, func(t tokens.Session) error { return s.sign(ctx, t, q, payload) })
	case Close:
		err = s.close(q.Session)
	case ChangePIN, UnblockPIN:
		err = s.setPIN(ctx, q, payload)
	case Watch:
		err = s.watch(ctx, q.ID)
	default:
		err = fmt.Errorf("unsupported operation %q", q.Op)
	}
	out.Error = EncodeError(err)
	return out
}

func (s *server) open(ctx context.Context, identity string) (uint64, error) {
	s.mu.Lock()
	full := len(s.sessions) >= maxSessions
	s.mu.Unlock()
	if full {
		return 0, tokens.ErrBusy
	}
	t, err := s.driver.Open(ctx, identity)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	s.sessions[s.next] = &served{s: t}
	return s.next, nil
}

// with calls f with a session, which no other request uses meanwhile.
func (s *server) with(id uint64, f func(tokens.Session) error) error {
	s.mu.Lock()
	t := s.sessions[id]
	s.mu.Unlock()
	if t == nil {
		return fmt.Errorf("session %d: %w", id, tokens.ErrNotPresent)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s == nil {
		return fmt.Errorf("session %d: %w", id, tokens.ErrNotPresent)
	}
	return f(t.s)
}

func (s *server) close(id uint64) error {
	s.mu.Lock()
	t := s.sessions[id]
	delete(s.sessions, id)
	s.mu.Unlock()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.s.Close()
	t.s = nil
	return err
}

func (s *server) sign(ctx context.Context, t tokens.Session, q Request, payload []byte) error {
	digests, err := unpackDigests(q.Algorithm, q.Count, payload)
	if err != nil {
		return err
	}
	for sig, err := range t.Sign(ctx, q.Algorithm, digests) {
		if err != nil {
			return err
		}
		if err := s.w.Write(Reply{ID: q.ID, More: true}, sig); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) watch(ctx context.Context, id uint64) error {
	events := make(chan tokens.Event)
	done := make(chan struct{})
	go func() {
		s.driver.Watch(ctx, events)
		close(done)
	}()
	var failed error
	for {
		select {
		case e := <-events:
			if failed == nil {
				failed = s.w.Write(Reply{ID: id, More: true, Event: &Event{Kind: e.Kind, TokenID: e.TokenID}}, nil)
			}
		case <-done:
			return errors.Join(ctx.Err(), failed)
		}
	}
}
