package cms

import (
	"errors"
	"fmt"
	"io"
)

// A scanner walks the outer elements of a SignedData where they are, without
// loading the content. levels holds the end of each element that is open, -1
// for the indefinite form.
type scanner struct {
	w      window
	pos    int64
	levels []int64
	der    bool
}

// limit returns where the nearest open element of definite length ends.
func (s *scanner) limit() int64 {
	for i := len(s.levels) - 1; i >= 0; i-- {
		if s.levels[i] >= 0 {
			return s.levels[i]
		}
	}
	return s.w.size
}

// enter opens the element at the position, which must have the tag.
func (s *scanner) enter(tag byte) (header, error) {
	h, err := s.w.header(s.pos)
	if err != nil {
		return h, err
	}
	if h.tag != tag {
		return h, fmt.Errorf("%w: tag 0x%02x where 0x%02x belongs", ErrMalformed, h.tag, tag)
	}
	s.pos += int64(h.size)
	s.der = s.der && h.short
	end := int64(-1)
	if h.length >= 0 {
		if end = s.pos + h.length; end > s.limit() {
			return h, fmt.Errorf("%w: element longer than what holds it", ErrMalformed)
		}
	}
	s.levels = append(s.levels, end)
	return h, nil
}

// atEnd reports whether the innermost open element has nothing more in it.
func (s *scanner) atEnd() (bool, error) {
	if end := s.levels[len(s.levels)-1]; end >= 0 {
		return s.pos >= end, nil
	}
	return s.w.eoc(s.pos)
}

// leave closes the innermost open element, which must be at its end.
func (s *scanner) leave() error {
	end, err := s.atEnd()
	if err != nil {
		return err
	}
	last := s.levels[len(s.levels)-1]
	if !end || last >= 0 && s.pos != last {
		return fmt.Errorf("%w: unexpected element", ErrMalformed)
	}
	if last < 0 {
		s.pos += 2
	}
	s.levels = s.levels[:len(s.levels)-1]
	return nil
}

// next reads the whole element at the position, at most maxHead bytes, which
// must have the tag.
func (s *scanner) next(tag byte) ([]byte, error) {
	b, err := s.read(min(s.limit(), s.pos+maxHead))
	if err != nil {
		return nil, err
	}
	el, _, err := element(b, len(s.levels))
	if err != nil {
		return nil, err
	}
	if el[0] != tag {
		return nil, fmt.Errorf("%w: tag 0x%02x where 0x%02x belongs", ErrMalformed, el[0], tag)
	}
	s.pos += int64(len(el))
	der, changed, err := toDER(el)
	s.der = s.der && !changed
	return der, err
}

// read returns the bytes from the position up to end.
func (s *scanner) read(end int64) ([]byte, error) {
	if s.pos >= end {
		return nil, fmt.Errorf("%w: ends too early", ErrMalformed)
	}
	b := make([]byte, end-s.pos)
	n, err := s.w.r.ReadAt(b, s.pos)
	if n == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("reading CMS: %w", err)
}

// content reads the OCTET STRING at the position and goes behind it.
func (s *scanner) content() (*Content, error) {
	h, err := s.w.header(s.pos)
	if err != nil {
		return nil, err
	}
	if h.tag != tagOctets && h.tag != tagOctetsBER {
		return nil, fmt.Errorf("%w: content of tag 0x%02x, no OCTET STRING", ErrUnsupported, h.tag)
	}
	if _, err := s.enter(h.tag); err != nil {
		return nil, err
	}
	c := &Content{r: s.w.r, off: s.pos}
	if h.tag == tagOctets {
		c.end = s.pos + h.length
		c.size = h.length
		s.pos = c.end
		return c, s.leave()
	}
	s.der, c.pieces = false, true
	walk := pieces{w: window{r: s.w.r, size: s.limit()}, pos: s.pos, stack: []int64{s.levels[len(s.levels)-1]}}
	s.levels = s.levels[:len(s.levels)-1]
	for {
		_, n, ok, err := walk.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		c.size += n
	}
	s.pos, c.end = walk.pos, walk.pos
	if h.length < 0 {
		c.end -= 2 // the end-of-contents octets
	}
	return c, nil
}

// pieces walks the primitive pieces of a constructed OCTET STRING.
type pieces struct {
	w     window
	pos   int64
	stack []int64
	// For Read: the rest of the piece at hand.
	off, left int64
}

// newPieces reads the pieces between off and end; the bytes in between were
// walked before.
func newPieces(r io.ReaderAt, off, end int64) *pieces {
	return &pieces{w: window{r: r, size: end}, pos: off, stack: []int64{end}}
}

// next returns where the next piece's bytes are and how many, ok false at the
// end; then pos is behind the whole string.
func (p *pieces) next() (off, n int64, ok bool, err error) {
	for len(p.stack) > 0 {
		top := p.stack[len(p.stack)-1]
		if top >= 0 {
			if p.pos > top {
				return 0, 0, false, fmt.Errorf("%w: piece longer than its string", ErrMalformed)
			}
			if p.pos == top {
				p.stack = p.stack[:len(p.stack)-1]
				continue
			}
		}
		if top < 0 {
			eoc, err := p.w.eoc(p.pos)
			if err != nil {
				return 0, 0, false, err
			}
			if eoc {
				p.pos += 2
				p.stack = p.stack[:len(p.stack)-1]
				continue
			}
		}
		h, err := p.w.header(p.pos)
		if err != nil {
			return 0, 0, false, err
		}
		if h.tag != tagOctets && h.tag != tagOctetsBER {
			return 0, 0, false, fmt.Errorf("%w: piece of tag 0x%02x in an OCTET STRING", ErrMalformed, h.tag)
		}
		p.pos += int64(h.size)
		end := int64(-1)
		if h.length >= 0 {
			end = p.pos + h.length
			if end > p.w.size || top >= 0 && end > top {
				return 0, 0, false, fmt.Errorf("%w: piece longer than its string", ErrMalformed)
			}
		}
		if h.tag == tagOctets {
			off, p.pos = p.pos, end
			return off, h.length, true, nil
		}
		if len(p.stack) >= MaxDepth {
			return 0, 0, false, fmt.Errorf("%w: nested deeper than %d", ErrMalformed, MaxDepth)
		}
		p.stack = append(p.stack, end)
	}
	return 0, 0, false, nil
}

// Read implements io.Reader over the content bytes.
func (p *pieces) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for p.left == 0 {
		off, n, ok, err := p.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, io.EOF
		}
		p.off, p.left = off, n
	}
	// Small pieces come out of the window, big ones straight from the source.
	want := min(int64(len(b)), p.left)
	var n int
	if want <= 4<<10 {
		in, err := p.w.at(p.off, int(want))
		if err != nil {
			return 0, err
		}
		n = copy(b, in)
	} else {
		var err error
		n, err = p.w.r.ReadAt(b[:want], p.off)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
	}
	p.off += int64(n)
	p.left -= int64(n)
	return n, nil
}
