package pivcard

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// dialEvery is how often a Reader whose card is in looks for vpcd.
const dialEvery = 50 * time.Millisecond

// A Reader is one slot of vpcd, with a card or without. While a card is in, it
// connects to vpcd whenever that is there; without one, vpcd finds nobody.
//
// vpcd can connect to the card instead (its reversed mode), but version 3.3 of
// it, in Debian 12, then dies with the first card that is pulled.
type Reader struct {
	addr string

	mu     sync.Mutex
	card   *Card
	pulled chan struct{} // closed when this insertion of the card ends
	stop   func()        // not nil while a card is in
}

// NewReader makes an empty reader for the slot of vpcd that listens at addr,
// HOST:PORT. The slots of one vpcd listen at ports that follow each other.
func NewReader(addr string) *Reader { return &Reader{addr: addr} }

// Insert puts a card in. A card that is in already is pulled first. It must
// not be in another reader.
func (r *Reader) Insert(c *Card) {
	r.Pull()
	pulled := make(chan struct{})
	var conn net.Conn // guarded by r.mu
	r.mu.Lock()
	defer r.mu.Unlock()
	r.card, r.pulled = c, pulled
	r.stop = func() {
		r.card, r.pulled, r.stop = nil, nil, nil
		close(pulled)
		if conn != nil {
			_ = conn.Close()
		}
	}
	go func() {
		for {
			d, err := net.Dial("tcp", r.addr)
			r.mu.Lock()
			gone := r.pulled != pulled
			if err == nil && gone {
				_ = d.Close()
			} else if err == nil {
				conn = d
			}
			r.mu.Unlock()
			if gone {
				return
			}
			if err == nil {
				c.serve(d, pulled, func() { r.pull(pulled) })
				_ = d.Close()
			}
			select {
			case <-pulled:
				return
			case <-time.After(dialEvery):
			}
		}
	}()
}

// Pull takes the card out, whatever it is doing.
func (r *Reader) Pull() { r.pull(nil) }

// pull takes the card out; with an insertion, only if it is still that one.
func (r *Reader) pull(pulled chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil && (pulled == nil || pulled == r.pulled) {
		r.stop()
	}
}

// Occupied reports whether a card is in.
func (r *Reader) Occupied() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.card != nil
}

// vpcd's control bytes.
const (
	powerOff = 0
	powerOn  = 1
	reset    = 2
	getATR   = 4
)

// atr offers T=1 alone and says nothing of what card this is, so that a
// driver must find out.
var atr = func() []byte {
	b := append([]byte{0x3B, 0x80 | 5, 0x01}, "TANBA"...)
	var check byte
	for _, x := range b[1:] {
		check ^= x
	}
	return append(b, check)
}()

// serve speaks vpcd's protocol: a length of two bytes, big-endian, and as many
// bytes: one byte of control, or a command APDU, which is answered alike.
func (c *Card) serve(conn net.Conn, pulled <-chan struct{}, pull func()) {
	c.reset()
	in := bufio.NewReader(&quick{conn.(*net.TCPConn)})
	for {
		var size [2]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		message := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		var out []byte
		switch {
		case len(message) == 1 && message[0] == getATR:
			out = atr
		case len(message) == 1 && (message[0] == powerOff || message[0] == powerOn || message[0] == reset):
			c.reset()
			continue
		default:
			var gone bool
			if out, gone = c.exchange(message, pulled); gone {
				pull()
				return
			}
		}
		frame := binary.BigEndian.AppendUint16(nil, uint16(len(out)))
		if _, err := conn.Write(append(frame, out...)); err != nil {
			return
		}
	}
}

func (c *Card) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.power()
}

// exchange answers a command APDU, late when a fault says so.
func (c *Card) exchange(apdu []byte, pulled <-chan struct{}) (response []byte, pull bool) {
	c.mu.Lock()
	wait := c.fault.Delay
	c.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-pulled:
			return nil, true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer(apdu)
}

// quick reads from vpcd, which sends a length and what follows in two writes:
// without an acknowledgement at once the second waits 40 ms for it.
type quick struct{ conn *net.TCPConn }

func (q *quick) Read(p []byte) (int, error) {
	acknowledge(q.conn)
	return q.conn.Read(p)
}
