package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"tanba/agent/job"
	"tanba/agent/sites"
)

// The bounds of one socket that no limit of policy names.
const (
	// pingEvery and silence: a peer that answers no ping is gone.
	pingEvery = 20 * time.Second
	silence   = 60 * time.Second
	// frameTime is how long a large frame may take to arrive.
	frameTime = 60 * time.Second
	// partingTime and partingBytes bound what is read after the close frame.
	partingTime  = 300 * time.Millisecond
	partingBytes = 1 << 20
	// outgoing is how many answers may wait for a slow reader, notices how many
	// notifications.
	outgoing, notices = 64, 256
	// pending is how many requests of a socket may be unanswered.
	pending = 16
	// smallFrame is read without waiting for room in memory.
	smallFrame = 64 << 10
	// valuesPerDocument and valuesPlus bound the JSON values of a message.
	valuesPerDocument, valuesPlus = 32, 2048
)

// testOnlyWriteTime is how long one message may take to be written; tests
// shorten it.
var testOnlyWriteTime = 10 * time.Second

// Rates of messages, control frames among them. A site that is allowed is made
// to wait beyond its rate: a batch may announce a thousand uploads. Another
// one is dropped.
const (
	messageBurst, messageEvery   = 400, 2 * time.Millisecond
	strangerBurst, strangerEvery = 20, 500 * time.Millisecond
)

// A socket is one connection of a page.
type socket struct {
	s      *Server
	conn   *websocket.Conn
	origin string
	ctx    context.Context
	cancel context.CancelFunc

	out    chan []byte
	signal chan struct{}

	mu      sync.Mutex
	notices []notice
	waiting map[string]bool // ids of unanswered requests
	code    int             // of the close frame

	// The rest is the reader's alone.

	uploads  uploads
	slow     bool // a large frame is being read, under its own deadline
	ended    bool // we closed, not the page
	rate     int  // what is left of the burst
	rateFrom time.Time
}

type notice struct {
	key  string
	text []byte
}

func newSocket(s *Server, conn *websocket.Conn, origin string) *socket {
	ctx, cancel := context.WithCancel(s.ctx)
	return &socket{
		s: s, conn: conn, origin: origin, ctx: ctx, cancel: cancel,
		out: make(chan []byte, outgoing), signal: make(chan struct{}, 1), waiting: map[string]bool{},
		code: websocket.CloseGoingAway, uploads: uploads{s: s},
	}
}

// allowed asks each time: the signer may allow or revoke the site while the
// socket is open.
func (k *socket) allowed() bool { return k.s.cfg.Sites.Status(k.origin) == sites.Allowed }

// serve runs the socket until it ends.
func (k *socket) serve() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.write()
		_ = k.conn.SetReadDeadline(time.Now().Add(partingTime)) // ends the reader
	}()
	k.read()
	k.cancel()
	<-done
	if k.ended {
		// What the page has sent meanwhile is read and dropped: closing over
		// unread data would reset the connection, and the page would not learn
		// the reason.
		_ = k.conn.SetReadDeadline(time.Now().Add(partingTime))
		_, _ = io.Copy(io.Discard, io.LimitReader(k.conn.UnderlyingConn(), partingBytes))
	}
	_ = k.conn.Close()
	k.uploads.close()
}

// end closes the socket with a code of RFC 6455, section 7.4.1. It is called by
// the reader alone.
func (k *socket) end(code int) {
	k.ended = true
	k.mu.Lock()
	if k.ctx.Err() == nil {
		k.code = code
	}
	k.mu.Unlock()
	k.cancel()
}

func (k *socket) write() {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-k.ctx.Done():
			k.mu.Lock()
			code := k.code
			k.mu.Unlock()
			_ = k.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
			return
		case m := <-k.out:
			if err = k.writeNotices(); err == nil {
				err = k.writeText(m)
			}
		case <-k.signal:
			err = k.writeNotices()
		case <-ping.C:
			err = k.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(testOnlyWriteTime))
		}
		if err != nil {
			k.cancel()
			return
		}
	}
}

func (k *socket) writeText(m []byte) error {
	if err := k.conn.SetWriteDeadline(time.Now().Add(testOnlyWriteTime)); err != nil {
		return err
	}
	return k.conn.WriteMessage(websocket.TextMessage, m)
}

func (k *socket) writeNotices() error {
	k.mu.Lock()
	list := k.notices
	k.notices = nil
	k.mu.Unlock()
	for _, n := range list {
		if err := k.writeText(n.text); err != nil {
			return err
		}
	}
	return nil
}

// notify queues a notification. One with the same key that still waits is
// replaced, so that a slow page sees the latest and costs no memory.
func (k *socket) notify(key string, text []byte) {
	k.mu.Lock()
	if i := slices.IndexFunc(k.notices, func(n notice) bool { return n.key == key }); i >= 0 {
		k.notices[i].text = text
	} else if len(k.notices) < notices {
		k.notices = append(k.notices, notice{key, text})
	}
	k.mu.Unlock()
	select {
	case k.signal <- struct{}{}:
	default:
	}
}

// answer queues the answer to a request that was begun.
func (k *socket) answer(id json.RawMessage, result any, p *problem) {
	k.mu.Lock()
	delete(k.waiting, string(id))
	k.mu.Unlock()
	k.send(id, result, p)
}

// send queues an answer. It waits for a page that reads slowly; one that does
// not read at all is dropped by write.
func (k *socket) send(id json.RawMessage, result any, p *problem) {
	m := encodeResult(id, result)
	if p != nil {
		m = encodeError(id, p)
	}
	select {
	case k.out <- m:
	case <-k.ctx.Done():
	}
}

// begin takes note of a request that will be answered later.
func (k *socket) begin(id json.RawMessage) *problem {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.waiting[string(id)]:
		return fail(codeDuplicate)
	case len(k.waiting) >= pending:
		return fail(job.CodeBusy)
	}
	k.waiting[string(id)] = true
	return nil
}

func (k *socket) read() {
	l := k.s.cfg.Limits
	k.conn.SetReadLimit(max(l.Frame, l.Chunk+streamHeader) + 1)
	alive := func() {
		if !k.slow && k.ctx.Err() == nil {
			_ = k.conn.SetReadDeadline(time.Now().Add(silence))
		}
	}
	k.conn.SetPongHandler(func(string) error {
		if !k.mayCome() {
			return errFlood
		}
		alive()
		return nil
	})
	k.conn.SetPingHandler(func(data string) error {
		if !k.mayCome() {
			return errFlood
		}
		alive()
		return k.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(testOnlyWriteTime))
	})
	alive()
	for k.ctx.Err() == nil {
		kind, r, err := k.conn.NextReader()
		if err != nil {
			if errors.Is(err, errFlood) {
				k.end(websocket.ClosePolicyViolation)
			}
			return
		}
		if code := k.frame(kind, r); code != 0 {
			k.s.cfg.Log.Info("socket ended", "origin", k.origin, "close", code)
			k.end(code)
			return
		}
		alive()
	}
}

var errFlood = errors.New("too many frames")

// mayCome counts one text or control frame. It is called by the reader alone.
func (k *socket) mayCome() bool {
	if k.allowed() {
		for !k.take(messageBurst, messageEvery) {
			select {
			case <-time.After(messageEvery):
			case <-k.ctx.Done():
				return false
			}
		}
		return true
	}
	return k.take(strangerBurst, strangerEvery)
}

func (k *socket) take(burst int, every time.Duration) bool {
	now := k.s.cfg.Now()
	if k.rateFrom.IsZero() || now.Before(k.rateFrom) {
		k.rate, k.rateFrom = burst, now
	}
	n := int(min(now.Sub(k.rateFrom)/every, time.Duration(burst)))
	k.rateFrom = k.rateFrom.Add(time.Duration(n) * every)
	if n == burst {
		k.rateFrom = now
	}
	k.rate = min(k.rate+n, burst)
	if k.rate == 0 {
		return false
	}
	k.rate--
	return true
}

// frame reads and handles one message; it returns the code to close with, or
// 0 to go on.
func (k *socket) frame(kind int, r io.Reader) (closeCode int) {
	l := k.s.cfg.Limits
	allowed := k.allowed()
	limit := l.FrameStranger
	switch {
	case kind == websocket.BinaryMessage && !allowed:
		return websocket.ClosePolicyViolation
	case kind == websocket.BinaryMessage:
		limit = l.Chunk + streamHeader
	case !k.mayCome():
		return websocket.ClosePolicyViolation
	case allowed:
		limit = l.Frame
	}
	b, release, err := k.readAll(r, limit)
	defer release()
	switch {
	case errors.Is(err, job.ErrTooLarge), errors.Is(err, websocket.ErrReadLimit):
		return websocket.CloseMessageTooBig
	case err != nil:
		return websocket.CloseProtocolError
	case kind == websocket.BinaryMessage:
		return k.uploads.chunk(b)
	}
	req, p := decode(b, l.JSONDepth, valuesPerDocument*l.Documents+valuesPlus)
	if p == nil {
		p = k.begin(req.id)
	}
	if p != nil {
		k.send(req.id, nil, told(p, allowed))
	} else if p = k.dispatch(req, allowed); p != nil {
		k.answer(req.id, nil, told(p, allowed))
	}
	return 0
}

// told is what of a problem the page learns. A site that is not allowed learns
// that and no more, whatever it sent.
func told(p *problem, allowed bool) *problem {
	switch {
	case allowed:
	case p.Code == job.CodeAccessRefused, p.Code == job.CodeTooManyRequests:
	case p.Code == codeParse, p.Code == job.CodeInvalid, p.Code == codeParams, p.Code == codeDuplicate:
	default:
		return fail(job.CodeSiteNotAllowed)
	}
	return p
}

// readAll reads a frame of at most limit bytes. One beyond smallFrame waits
// for room in memory, which release gives back.
func (k *socket) readAll(r io.Reader, limit int64) (b []byte, release func(), err error) {
	release = func() {}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, min(limit, smallFrame)+1))
	if err != nil || n <= smallFrame || n > limit {
		if n > limit {
			err = job.ErrTooLarge
		}
		return buf.Bytes(), release, err
	}
	select {
	case k.s.big <- struct{}{}:
		release = func() { <-k.s.big }
	case <-k.ctx.Done():
		return nil, release, k.ctx.Err()
	}
	k.slow = true
	defer func() { k.slow = false }()
	if err := k.conn.SetReadDeadline(time.Now().Add(frameTime)); err != nil {
		return nil, release, err
	}
	_, err = io.Copy(&buf, io.LimitReader(r, limit+1-n))
	if int64(buf.Len()) > limit {
		err = job.ErrTooLarge
	}
	return buf.Bytes(), release, err
}
