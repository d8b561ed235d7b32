package cms

import (
	"errors"
	"fmt"
	"io"
)

// An element's header, X.690 section 8.1.
type header struct {
	tag  byte
	size int // of the header, in bytes
	// length of the body in bytes, -1 for the indefinite form.
	length int64
	// short is true if the length is definite in its shortest form.
	short bool
}

func (h header) constructed() bool { return h.tag&0x20 != 0 }

const (
	tagEOC       = 0x00
	tagInteger   = 0x02
	tagOctets    = 0x04
	tagOID       = 0x06
	tagSequence  = 0x30
	tagSet       = 0x31
	tagOctetsBER = 0x24 // OCTET STRING in pieces
	tag0         = 0xa0 // [0], constructed
	tag1         = 0xa1
	tag0Octets   = 0x80 // [0] IMPLICIT OCTET STRING
)

// readHeader reads the header at the start of b, which may hold less than the
// whole element.
func readHeader(b []byte) (header, error) {
	if len(b) < 2 {
		return header{}, fmt.Errorf("%w: ends within a header", ErrMalformed)
	}
	h := header{tag: b[0], size: 2, short: true}
	if h.tag&0x1f == 0x1f {
		return header{}, fmt.Errorf("%w: tag number above 30", ErrMalformed)
	}
	switch l := b[1]; {
	case l < 0x80:
		h.length = int64(l)
	case l == 0x80:
		if !h.constructed() {
			return header{}, fmt.Errorf("%w: primitive element of indefinite length", ErrMalformed)
		}
		h.length, h.short = -1, false
	default:
		n := int(l & 0x7f)
		if n > 8 || len(b) < 2+n {
			return header{}, fmt.Errorf("%w: length of %d bytes", ErrMalformed, n)
		}
		for _, c := range b[2 : 2+n] {
			if h.length>>47 != 0 {
				return header{}, fmt.Errorf("%w: length out of range", ErrMalformed)
			}
			h.length = h.length<<8 | int64(c)
		}
		h.size += n
		h.short = b[2] != 0 && h.length >= 0x80
	}
	return h, nil
}

// element returns the element at the start of b as received, and what follows
// it.
func element(b []byte, depth int) (el, rest []byte, err error) {
	h, err := readHeader(b)
	if err != nil {
		return nil, nil, err
	}
	if h.length >= 0 {
		if h.length > int64(len(b)-h.size) {
			return nil, nil, fmt.Errorf("%w: element longer than what holds it", ErrMalformed)
		}
		n := h.size + int(h.length)
		return b[:n:n], b[n:], nil
	}
	if depth >= MaxDepth {
		return nil, nil, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
	}
	rest = b[h.size:]
	for {
		if len(rest) >= 2 && rest[0] == tagEOC && rest[1] == 0 {
			n := len(b) - len(rest) + 2
			return b[:n:n], b[n:], nil
		}
		if _, rest, err = element(rest, depth+1); err != nil {
			return nil, nil, err
		}
	}
}

// body returns the body of a whole element as received, and its header.
func body(el []byte) (header, []byte, error) {
	h, err := readHeader(el)
	if err != nil {
		return h, nil, err
	}
	if h.length < 0 {
		return h, el[h.size : len(el)-2], nil
	}
	return h, el[h.size:], nil
}

// isDER reports whether el, one whole element, and everything in it has a
// definite length in the shortest form and no OCTET STRING in pieces.
func isDER(el []byte, depth int) (bool, error) {
	h, err := readHeader(el)
	if err != nil {
		return false, err
	}
	if !h.short || h.tag == tagOctetsBER {
		return false, nil
	}
	if !h.constructed() {
		return true, nil
	}
	if depth >= MaxDepth {
		return false, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
	}
	for rest := el[h.size:]; len(rest) > 0; {
		var child []byte
		if child, rest, err = element(rest, depth+1); err != nil {
			return false, err
		}
		if ok, err := isDER(child, depth+1); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// toDER returns el, one whole element, in definite shortest lengths with
// OCTET STRINGs in one piece; el itself where it is so already. The order in
// sets is kept. changed tells whether anything differs.
func toDER(el []byte) (der []byte, changed bool, err error) {
	ok, err := isDER(el, 0)
	if err != nil || ok {
		return el, false, err
	}
	der, _, err = normalise(el, 0)
	return der, true, err
}

// normalise reads the element at the start of b in one pass and returns it in
// DER, with what follows it.
func normalise(b []byte, depth int) (der, rest []byte, err error) {
	if depth >= MaxDepth {
		return nil, nil, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
	}
	h, err := readHeader(b)
	if err != nil {
		return nil, nil, err
	}
	in := b[h.size:]
	if h.length >= 0 {
		if h.length > int64(len(in)) {
			return nil, nil, fmt.Errorf("%w: element longer than what holds it", ErrMalformed)
		}
		in, rest = in[:h.length], in[h.length:]
	}
	if !h.constructed() {
		if h.short {
			return b[:len(b)-len(rest)], rest, nil
		}
		return tlv(h.tag, in), rest, nil
	}
	tag := h.tag
	if tag == tagOctetsBER {
		tag = tagOctets
	} else if tag&0xc0 == 0 && tag != tagSequence && tag != tagSet {
		return nil, nil, fmt.Errorf("%w: constructed element of universal tag %d", ErrUnsupported, tag&0x1f)
	}
	var out []byte
	for {
		if h.length >= 0 && len(in) == 0 {
			break
		}
		if h.length < 0 && len(in) >= 2 && in[0] == tagEOC && in[1] == 0 {
			rest = in[2:]
			break
		}
		var child []byte
		if child, in, err = normalise(in, depth+1); err != nil {
			return nil, nil, err
		}
		if tag == tagOctets {
			ch, piece, err := body(child)
			if err != nil || ch.tag != tagOctets {
				return nil, nil, fmt.Errorf("%w: piece of an OCTET STRING", ErrMalformed)
			}
			child = piece
		}
		out = append(out, child...)
	}
	return tlv(tag, out), rest, nil
}

// tlv encodes one element in DER.
func tlv(tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	out := appendHeader(make([]byte, 0, n+10), tag, int64(n))
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// appendHeader appends a header with the shortest definite length.
func appendHeader(b []byte, tag byte, length int64) []byte {
	b = append(b, tag)
	if length < 0x80 {
		return append(b, byte(length))
	}
	n := 1
	for l := length >> 8; l > 0; l >>= 8 {
		n++
	}
	b = append(b, 0x80|byte(n))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(length>>(8*i)))
	}
	return b
}

func headerSize(length int64) int64 { return int64(len(appendHeader(nil, 0, length))) }

// A window reads headers from anywhere in a big input without a read for
// each.
type window struct {
	r    io.ReaderAt
	size int64
	off  int64
	buf  []byte
}

// at returns at least one byte from off, up to want of them.
func (w *window) at(off int64, want int) ([]byte, error) {
	if off < 0 || off >= w.size {
		return nil, fmt.Errorf("%w: ends too early", ErrMalformed)
	}
	want = int(min(int64(want), w.size-off))
	if off < w.off || off+int64(want) > w.off+int64(len(w.buf)) {
		if cap(w.buf) == 0 {
			w.buf = make([]byte, 0, 32<<10)
		}
		n, err := w.r.ReadAt(w.buf[:min(int64(cap(w.buf)), w.size-off)], off)
		if n < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading CMS: %w", err)
		}
		w.buf, w.off = w.buf[:n], off
	}
	b := w.buf[off-w.off:]
	return b[:want], nil
}

func (w *window) header(off int64) (header, error) {
	b, err := w.at(off, 10)
	if err != nil {
		return header{}, err
	}
	return readHeader(b)
}

func (w *window) eoc(off int64) (bool, error) {
	b, err := w.at(off, 2)
	if err != nil {
		return false, err
	}
	return len(b) == 2 && b[0] == tagEOC && b[1] == 0, nil
}
