// Package control is the running agent's own channel: the command line, the
// tanba: scheme, "open with", a second start and the installer speak to the
// agent through it.
//
// It is a Unix socket (0600, in a folder 0700; the peer's user is asked of the
// system) or, on Windows, a named pipe that carries the user's SID in its name
// and whose access list names that user alone. Other users' processes are
// refused, root's and the administrator's too, as far as the system lets us.
//
// One connection carries one request and one reply, each one line of JSON:
//
//	→ {"cmd":"outbox.retry","args":{"id":"17"}}
//	← {"result":null}
//	← {"error":{"code":"unknown_job","message":"unknown_job"}}
//
// A request has at most 64 KiB, exactly these keys, each once.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"tanba/agent/job"
)

// ErrNoAgent reports that no agent of this user answers.
var ErrNoAgent = errors.New("no agent is running")

// ErrRunning reports that an agent of this user listens already.
var ErrRunning = errors.New("an agent is running already")

// ErrForeign reports that the other end is another user's.
var ErrForeign = errors.New("control channel belongs to another user")

const (
	// maxRequest and maxReply bound one line, in bytes.
	maxRequest = 64 << 10
	maxReply   = 16 << 20
	// atOnce bounds connections that are served at one time.
	atOnce = 16
	// readTime is how long a request, and the taking of a reply, may last.
	readTime = 5 * time.Second
)

// A Handler answers one command. Its result becomes JSON; its error goes to
// the caller as a message, with the code of a *job.Error.
type Handler func(ctx context.Context, cmd string, args json.RawMessage) (any, error)

// An Error is what the agent answered instead of a result.
type Error struct {
	// Code is the stable word of a *job.Error, otherwise empty.
	Code    job.Code `json:"code,omitempty"`
	Message string   `json:"message"`
}

func (e *Error) Error() string { return e.Message }

type request struct {
	Cmd  string          `json:"cmd"`
	Args json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// A Listener is the agent's end. Make one with Listen.
type Listener struct {
	acceptor
	once sync.Once
	err  error
}

// An acceptor is the system's part of a Listener. Accept returns ErrForeign,
// and the listener lives on, when another user came; net.ErrClosed after
// Close.
type acceptor interface {
	Accept() (io.ReadWriteCloser, error)
	Close() error
}

// Listen makes the channel at path. It returns ErrRunning when an agent of
// this user has it. What a dead agent left behind is removed.
func Listen(path string) (*Listener, error) {
	a, err := listen(path)
	if err != nil {
		return nil, err
	}
	return &Listener{acceptor: a}, nil
}

// Close ends the channel. It may be called more than once.
func (l *Listener) Close() error {
	l.once.Do(func() { l.err = l.acceptor.Close() })
	return l.err
}

// Dial connects to the agent at path. It returns ErrNoAgent when nobody
// answers and ErrForeign when somebody else does.
func Dial(ctx context.Context, path string) (io.ReadWriteCloser, error) { return dial(ctx, path) }

// Serve answers requests until ctx ends, which closes l, or l is closed
// otherwise (net.ErrClosed). It returns when the requests under way are
// answered.
func Serve(ctx context.Context, l *Listener, h Handler) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	room := make(chan struct{}, atOnce)
	for {
		c, err := l.Accept()
		if errors.Is(err, ErrForeign) {
			continue
		}
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("control channel: %w", err)
		}
		room <- struct{}{}
		serving.Go(func() {
			defer func() { <-room }()
			serve(ctx, c, h)
		})
	}
}

// serve answers one request.
func serve(ctx context.Context, c io.ReadWriteCloser, h Handler) {
	defer c.Close()
	slow := time.AfterFunc(readTime, func() { _ = c.Close() })
	line, err := readLine(c, maxRequest)
	if !slow.Stop() {
		return
	}
	var r reply
	var req request
	if err == nil {
		req, err = parse(line)
	}
	if err == nil {
		var result any
		if result, err = h(ctx, req.Cmd, req.Args); err == nil {
			r.Result, err = json.Marshal(result)
		}
	}
	if err != nil {
		r = reply{Error: &Error{Message: err.Error()}}
		if e, ok := errors.AsType[*job.Error](err); ok {
			r.Error.Code = e.Code
		}
	}
	out, err := json.Marshal(r)
	if err != nil {
		return
	}
	slow = time.AfterFunc(readTime, func() { _ = c.Close() })
	defer slow.Stop()
	if _, err := c.Write(append(out, '\n')); err == nil {
		_, _ = io.CopyN(io.Discard, c, 1) // the caller closes when it has the reply
	}
}

// Call sends cmd with args (nil: none) to the agent at path and puts what it
// answers into result, which may be nil. It returns ErrNoAgent, ErrForeign or
// the agent's *Error.
func Call(ctx context.Context, path, cmd string, args, result any) error {
	req := request{Cmd: cmd}
	if args != nil {
		data, err := json.Marshal(args)
		if err != nil {
			return err
		}
		req.Args = data
	}
	line, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if len(line) > maxRequest {
		return fmt.Errorf("invalid control request: %d bytes", len(line))
	}
	c, err := dial(ctx, path)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	var data []byte
	if _, err = c.Write(append(line, '\n')); err == nil {
		data, err = readLine(c, maxReply)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("control channel: %w", err)
	}
	var r reply
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return fmt.Errorf("malformed control reply: %w", err)
	}
	if r.Error != nil {
		return r.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("malformed control reply: %w", err)
	}
	return nil
}

var errTooLong = errors.New("malformed control message: too long")

// readLine reads up to a line feed, which it leaves out, of at most limit bytes.
func readLine(r io.Reader, limit int) ([]byte, error) {
	line, err := bufio.NewReader(io.LimitReader(r, int64(limit)+1)).ReadBytes('\n')
	switch {
	case len(line) > limit:
		return nil, errTooLong
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return line[:len(line)-1], nil
}

var errMalformed = errors.New("malformed control request")

// parse reads a request strictly: one object, known keys, each at most once,
// args an object.
func parse(line []byte) (request, error) {
	var req request
	dec := json.NewDecoder(bytes.NewReader(line))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return req, errMalformed
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok || seen[key] {
			return req, errMalformed
		}
		seen[key] = true
		switch key {
		case "cmd":
			err = dec.Decode(&req.Cmd)
		case "args":
			err = dec.Decode(&req.Args)
		default:
			err = errMalformed
		}
		if err != nil {
			return req, errMalformed
		}
	}
	if _, err := dec.Token(); err != nil {
		return req, errMalformed
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return req, errMalformed
	}
	if req.Cmd == "" || (req.Args != nil && req.Args[0] != '{') {
		return req, errMalformed
	}
	return req, nil
}
