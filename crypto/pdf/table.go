package pdf

// A cursor reads forward through a window of the file.
type cursor struct {
	f    *File
	pos  int64
	buf  []byte
	from int64
}

// peek returns n bytes at the cursor, fewer at the end of the file.
func (c *cursor) peek(n int) ([]byte, error) {
	i := c.pos - c.from
	if c.buf == nil || i < 0 || i+int64(n) > int64(len(c.buf)) {
		b, err := c.f.read(c.pos, max(n, 1024))
		if err != nil {
			return nil, err
		}
		c.buf, c.from, i = b, c.pos, 0
	}
	return c.buf[i:min(i+int64(n), int64(len(c.buf)))], nil
}

func (c *cursor) space() error {
	for {
		b, err := c.peek(1)
		if err != nil || len(b) == 0 || !isSpace(b[0]) {
			return err
		}
		c.pos++
	}
}

// word moves over white space and a word of at most 20 bytes.
func (c *cursor) word() ([]byte, error) {
	if err := c.space(); err != nil {
		return nil, err
	}
	b, err := c.peek(21)
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(b) && isRegular(b[n]) {
		n++
	}
	c.pos += int64(n)
	return b[:n], nil
}

func (c *cursor) uint() (int64, error) {
	w, err := c.word()
	if err != nil {
		return 0, err
	}
	n, ok := parseUint(w)
	if !ok {
		return 0, malformed("cross-reference table: %q is not a number", w)
	}
	return n, nil
}

// readTable reads a table after its word "xref" (clause 7.5.4). Lines of 20
// bytes stay in the file.
func (f *File) readTable(c *cursor) (*section, error) {
	s := &section{}
	for {
		w, err := c.word()
		if err != nil {
			return nil, err
		}
		if string(w) == "trailer" {
			break
		}
		first, ok := parseUint(w)
		if !ok {
			return nil, malformed("cross-reference table: %q", w)
		}
		count, err := c.uint()
		if err != nil {
			return nil, err
		}
		if first > MaxObjectNumber || count > MaxObjectNumber || first+count > MaxObjectNumber+1 {
			return nil, malformed("an object number above %d", MaxObjectNumber)
		}
		if count == 0 {
			continue
		}
		if err := c.space(); err != nil {
			return nil, err
		}
		r := xrange{first: int(first), count: int(count), at: c.pos}
		fixed, err := f.fixedLines(c, count)
		if err != nil {
			return nil, err
		}
		if !fixed {
			if err := f.keepBytes(int64(r.count) * entryBytes); err != nil {
				return nil, err
			}
			if r.loose, err = looseLines(c, r.count); err != nil {
				return nil, err
			}
		}
		if err := f.keepBytes(rangeBytes); err != nil {
			return nil, err
		}
		s.ranges = append(s.ranges, r)
	}
	v, err := f.valueAt(c.pos)
	if err != nil {
		return nil, err
	}
	s.trailer, err = v.Dict()
	return s, err
}

// fixedLines moves over count lines of 20 bytes if that is what stands there.
func (f *File) fixedLines(c *cursor, count int64) (bool, error) {
	from := c.pos
	if from+20*count > f.size {
		return false, nil
	}
	for _, at := range []int64{from, from + 20*(count-1)} {
		c.pos = at
		b, err := c.peek(20)
		if err != nil {
			return false, err
		}
		if _, err := parseLine(b); err != nil {
			c.pos = from
			return false, nil
		}
	}
	c.pos = from + 20*count
	b, err := c.peek(1)
	if err != nil {
		return false, err
	}
	if len(b) == 0 || (!isDigit(b[0]) && b[0] != 't' && !isSpace(b[0])) {
		c.pos = from
		return false, nil
	}
	return true, nil
}

// parseLine reads "nnnnnnnnnn ggggg n" and two bytes of white space.
func parseLine(b []byte) (entry, error) {
	if len(b) < 20 || b[10] != ' ' || b[16] != ' ' || !isSpace(b[18]) || !isSpace(b[19]) {
		return entry{}, malformed("cross-reference table: a line is not an entry")
	}
	return newEntry(b[:10], b[11:16], b[17:18])
}

func newEntry(offset, generation, word []byte) (entry, error) {
	a, ok1 := parseUint(offset)
	g, ok2 := parseUint(generation)
	if !ok1 || !ok2 || g > 65535 || len(word) != 1 || (word[0] != 'n' && word[0] != 'f') {
		return entry{}, malformed("cross-reference table: a line is not an entry")
	}
	e := entry{kind: inUse, a: a, b: int(g)}
	if word[0] == 'f' {
		e.kind = free
	}
	return e, nil
}

func looseLines(c *cursor, count int) ([]entry, error) {
	out := make([]entry, 0, min(count, 4096))
	for range count {
		var w [3][]byte
		for i := range w {
			b, err := c.word()
			if err != nil {
				return nil, err
			}
			w[i] = append(make([]byte, 0, 10), b...)
		}
		e, err := newEntry(w[0], w[1], w[2])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
