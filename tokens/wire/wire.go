// Package wire is the conversation between the agent and its token process
// over two pipes.
//
// A frame is a length, a header and a payload: four bytes with the length of
// the rest, four bytes with the length of the header (both unsigned,
// big-endian), the header in JSON, the payload in plain octets. The payload
// carries what should not pass through a JSON encoder: a PIN, digests, a
// signature. An unknown key in a header ends the conversation, and so does a
// length above [MaxFrame].
//
// The agent sends [Request], the token process answers with one or more
// [Reply] of the same id, the last of them without More. Several requests may
// be outstanding. Before anything else the token process sends one Reply with
// id 0: Ready, or the Error for which its library cannot be used.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"tanba/crypto/sigalg"
)

// MaxFrame bounds a frame after its length field, in bytes.
const MaxFrame = 4 << 20

// MaxDigests bounds the digests of one Sign request.
const MaxDigests = 10_000

// ErrMalformed reports a frame that cannot be decoded. The conversation
// cannot go on after it.
var ErrMalformed = errors.New("malformed frame")

// An Op is what a request asks for.
type Op string

// The operations.
const (
	List  Op = "list"  // Reply.Tokens
	Open  Op = "open"  // Identity; Reply.Session
	Login Op = "login" // Session; the payload is the PIN
	Sign  Op = "sign"  // Session, Algorithm, Count; the payload is the digests; one Reply with More for each signature
	Close Op = "close" // Session
	Watch Op = "watch" // one Reply with More for each event, until cancelled
	// Token; the payload is two secrets, see PackSecrets.
	ChangePIN  Op = "change_pin"  // the old and the new PIN
	UnblockPIN Op = "unblock_pin" // the PUK and the new PIN

	Cancel Op = "cancel" // Target; it has no reply, its target still has a last one
)

// A Request is what the agent asks.
type Request struct {
	ID        uint64           `json:"id"`
	Op        Op               `json:"op"`
	Identity  string           `json:"identity,omitempty"`
	Session   uint64           `json:"session,omitempty"`
	Algorithm sigalg.Algorithm `json:"algorithm,omitempty"`
	Count     int              `json:"count,omitempty"`
	Target    uint64           `json:"target,omitempty"`
	Token     string           `json:"token,omitempty"`
}

// A Reply is what the token process answers.
type Reply struct {
	ID      uint64  `json:"id"`
	Ready   bool    `json:"ready,omitempty"`
	More    bool    `json:"more,omitempty"`
	Error   *Error  `json:"error,omitempty"`
	Tokens  []Token `json:"tokens,omitempty"`
	Session uint64  `json:"session,omitempty"`
	Event   *Event  `json:"event,omitempty"`
}

// A Writer writes frames. It may be used by several goroutines.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf bytes.Buffer
}

// NewWriter returns a Writer to w. Each frame is one Write.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one frame. The octets of payload are wiped from the Writer's
// own memory when they are sent; the caller wipes payload itself where it is
// secret.
func (w *Writer) Write(header any, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Reset()
	w.buf.Write(make([]byte, 8))
	if err := json.NewEncoder(&w.buf).Encode(header); err != nil {
		return err
	}
	n := w.buf.Len() - 8
	if 4+n+len(payload) > MaxFrame {
		return fmt.Errorf("frame of %d bytes, the bound is %d: %w", 4+n+len(payload), MaxFrame, ErrMalformed)
	}
	// Grown before the payload comes, so that no copy of it is left behind.
	w.buf.Grow(len(payload))
	w.buf.Write(payload)
	b := w.buf.Bytes()
	binary.BigEndian.PutUint32(b, uint32(4+n+len(payload)))
	binary.BigEndian.PutUint32(b[4:], uint32(n))
	_, err := w.w.Write(b)
	clear(b[8+n:])
	if w.buf.Cap() > 1<<16 {
		w.buf = bytes.Buffer{}
	}
	return err
}

// A Reader reads frames. It is used by one goroutine.
type Reader struct{ r io.Reader }

// NewReader returns a Reader from r. It keeps no octet of a frame in memory
// of its own: where a payload is secret, r must not either.
func NewReader(r io.Reader) *Reader { return &Reader{r} }

// Read reads one frame into header and returns its payload, which the caller
// owns. It returns io.EOF at the end between frames, ErrMalformed for a frame
// that cannot be decoded, or the error of the underlying reader.
func (r *Reader) Read(header any) (payload []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r.r, size[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: cut short", ErrMalformed)
		}
		return nil, err
	}
	total := binary.BigEndian.Uint32(size[:])
	if total < 4 || total > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, total)
	}
	body := make([]byte, total)
	if _, err := io.ReadFull(r.r, body); err != nil {
		return nil, fmt.Errorf("%w: cut short", ErrMalformed)
	}
	n := binary.BigEndian.Uint32(body)
	body = body[4:]
	if uint64(n) > uint64(len(body)) {
		return nil, fmt.Errorf("%w: header of %d bytes in a frame of %d", ErrMalformed, n, total)
	}
	dec := json.NewDecoder(bytes.NewReader(body[:n]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(header); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something after the header", ErrMalformed)
	}
	return body[n:], nil
}

// PackDigests returns digests as the payload of a Sign request with alg. A
// digest of another length than the algorithm's, none or more than MaxDigests
// are errors.
func PackDigests(alg sigalg.Algorithm, digests [][]byte) ([]byte, error) {
	if err := CheckDigests(alg, digests); err != nil {
		return nil, err
	}
	return bytes.Join(digests, nil), nil
}

// CheckDigests reports digests that cannot be signed with alg.
func CheckDigests(alg sigalg.Algorithm, digests [][]byte) error {
	if !alg.Known() {
		return fmt.Errorf("%q: %w", alg, sigalg.ErrUnsupported)
	}
	if len(digests) == 0 || len(digests) > MaxDigests {
		return fmt.Errorf("invalid batch: %d digests, the bound is %d", len(digests), MaxDigests)
	}
	for i, d := range digests {
		if len(d) != alg.Digest().Size() {
			return fmt.Errorf("invalid digest %d: %d bytes for %s", i, len(d), alg)
		}
	}
	return nil
}

// unpackDigests is the reverse of PackDigests.
func unpackDigests(alg sigalg.Algorithm, count int, payload []byte) ([][]byte, error) {
	size := alg.Digest().Size()
	if size == 0 || count < 1 || count > MaxDigests || len(payload) != count*size {
		return nil, fmt.Errorf("%w: %d bytes for %d digests of %q", ErrMalformed, len(payload), count, alg)
	}
	out := make([][]byte, count)
	for i := range out {
		out[i] = payload[i*size : (i+1)*size : (i+1)*size]
	}
	return out, nil
}
