package pdf

import (
	"errors"
	"slices"
)

// A section is one cross-reference section: a table or a stream.
type section struct {
	stream  bool
	object  int // a stream's own object number
	ranges  []xrange
	rows    []byte // a stream's decoded entries
	width   [3]int
	trailer *Dict
	// hidden is the stream that a hybrid table names, whose entries count
	// where the table has none or a free one (clause 7.5.8.4).
	hidden *section
}

// An xrange is one run of object numbers.
type xrange struct {
	first, count int
	// at is the file offset of the first line of a table, the index of the
	// first row of a stream.
	at int64
	// loose holds the entries of a table whose lines are not 20 bytes long.
	loose []entry
}

// What an xrange and an entry take in memory, about.
const (
	rangeBytes = 64
	entryBytes = 24
)

type kind byte

const (
	free kind = iota
	inUse
	compressed
)

// An entry says where an object is: at offset a with generation b, or in
// object stream a at index b.
type entry struct {
	kind kind
	a    int64
	b    int
}

// sectionAt reports whether a section seems to begin at off.
func (f *File) sectionAt(off int64) bool {
	b, err := f.read(off, 32)
	if err != nil {
		return false
	}
	l := lexer{b: b, final: true}
	if ok, _ := l.keyword("xref"); ok {
		return true
	}
	for range 2 {
		if _, err := l.uint(); err != nil {
			return false
		}
	}
	ok, _ := l.keyword("obj")
	return ok
}

// readSections follows the chain from startxref, the newest section first.
func (f *File) readSections() error {
	seen := map[int64]bool{}
	for at := f.start; ; {
		if seen[at] || len(seen) >= MaxSections {
			return malformed("cross-reference sections in a loop, or more than %d", MaxSections)
		}
		seen[at] = true
		s, err := f.readSection(at + f.shift)
		if err != nil {
			return err
		}
		f.sections = append(f.sections, s)
		if v := s.trailer.Get("XRefStm"); !s.stream && !v.Missing() {
			off, ok := v.Int()
			if !ok || seen[off] {
				return malformed("XRefStm")
			}
			seen[off] = true
			if s.hidden, err = f.readSection(off + f.shift); err != nil {
				return err
			}
			if !s.hidden.stream {
				return malformed("XRefStm is not a cross-reference stream")
			}
		}
		if f.trailer == nil {
			f.trailer = s.trailer
		}
		f.count(s)
		if s.hidden != nil {
			f.count(s.hidden)
		}
		prev := s.trailer.Get("Prev")
		if prev.Missing() {
			return nil
		}
		n, ok := prev.Int()
		if !ok {
			return malformed("Prev is not a number")
		}
		at = n
	}
}

// count raises f.next above every number that s lists, its own and Size.
func (f *File) count(s *section) {
	n := s.object + 1
	if size, ok := s.trailer.Get("Size").Int(); ok && size <= MaxObjectNumber {
		n = max(n, int(size))
	}
	for _, r := range s.ranges {
		n = max(n, r.first+r.count)
	}
	f.next = max(f.next, n)
}

func (f *File) readSection(off int64) (*section, error) {
	c := &cursor{f: f, pos: off}
	if err := c.space(); err != nil {
		return nil, err
	}
	b, err := c.peek(5)
	if err != nil {
		return nil, err
	}
	var s *section
	if len(b) == 5 && string(b[:4]) == "xref" && !isRegular(b[4]) {
		c.pos += 4
		s, err = f.readTable(c)
	} else {
		s, err = f.readXRefStream(c.pos)
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(s.ranges, func(a, b xrange) int { return a.first - b.first })
	for i := 1; i < len(s.ranges); i++ {
		if p := s.ranges[i-1]; p.first+p.count > s.ranges[i].first {
			return nil, malformed("object %d stands twice in one cross-reference section", s.ranges[i].first)
		}
	}
	return s, nil
}

// readXRefStream reads a cross-reference stream (clause 7.5.8).
func (f *File) readXRefStream(off int64) (*section, error) {
	o, err := f.objectAt(off)
	if err != nil {
		return nil, err
	}
	d, err := o.Dict()
	if err != nil {
		return nil, malformed("neither a cross-reference table nor a stream at %d", off)
	}
	if t, _ := d.Get("Type").Name(); t != "XRef" || o.stream < 0 {
		return nil, malformed("neither a cross-reference table nor a stream at %d", off)
	}
	s := &section{stream: true, object: o.Ref.Num, trailer: d}
	w, err := d.Get("W").Array()
	if err != nil || len(w) != 3 {
		return nil, malformed("cross-reference stream: W")
	}
	row := int64(0)
	for i, v := range w {
		n, ok := v.Int()
		if !ok || n < 0 || n > 8 {
			return nil, malformed("cross-reference stream: W")
		}
		s.width[i] = int(n)
		row += n
	}
	if row == 0 {
		return nil, malformed("cross-reference stream: W")
	}
	total, err := s.index(d)
	if err != nil {
		return nil, err
	}
	if err := f.keepBytes(int64(len(s.ranges)) * rangeBytes); err != nil {
		return nil, err
	}
	if err := f.keepBytes(total * row); err != nil {
		return nil, err
	}
	if s.rows, err = f.decode(o.stream, d); err != nil {
		return nil, err
	}
	if int64(len(s.rows)) < total*row {
		return nil, malformed("cross-reference stream: %d bytes for %d entries", len(s.rows), total)
	}
	return s, nil
}

// index reads Index and returns the number of entries.
func (s *section) index(d *Dict) (int64, error) {
	size, ok := d.Get("Size").Int()
	if !ok || size < 0 || size > MaxObjectNumber+1 {
		return 0, malformed("cross-reference stream: Size")
	}
	v := d.Get("Index")
	if v.Missing() {
		s.ranges = []xrange{{first: 0, count: int(size)}}
		return size, nil
	}
	list, err := v.Array()
	if err != nil || len(list)%2 != 0 {
		return 0, malformed("cross-reference stream: Index")
	}
	total := int64(0)
	for i := 0; i < len(list); i += 2 {
		first, ok1 := list[i].Int()
		count, ok2 := list[i+1].Int()
		if !ok1 || !ok2 || first < 0 || count < 0 || first > MaxObjectNumber || first+count > MaxObjectNumber+1 {
			return 0, malformed("cross-reference stream: Index")
		}
		if count == 0 {
			continue
		}
		s.ranges = append(s.ranges, xrange{first: int(first), count: int(count), at: total})
		total += count
	}
	return total, nil
}

// errNoEntry says that a section does not list an object.
var errNoEntry = errors.New("no entry")

// lookup finds num in one section.
func (f *File) lookup(s *section, num int) (entry, error) {
	if err := f.spend(8); err != nil { // so that many sections are work too
		return entry{}, err
	}
	i, found := slices.BinarySearchFunc(s.ranges, num, func(r xrange, n int) int {
		switch {
		case n < r.first:
			return 1
		case n >= r.first+r.count:
			return -1
		}
		return 0
	})
	if !found {
		return entry{}, errNoEntry
	}
	r := s.ranges[i]
	n := int64(num - r.first)
	switch {
	case r.loose != nil:
		return r.loose[n], nil
	case s.stream:
		return s.row(r.at + n)
	}
	b, err := f.read(r.at+20*n, 20)
	if err != nil {
		return entry{}, err
	}
	return parseLine(b)
}

// row decodes one entry of a cross-reference stream (table 18).
func (s *section) row(n int64) (entry, error) {
	w := s.width
	b := s.rows[n*int64(w[0]+w[1]+w[2]):]
	t := int64(inUse)
	if w[0] > 0 {
		t = field(b[:w[0]])
	}
	e := entry{a: field(b[w[0] : w[0]+w[1]])}
	g := field(b[w[0]+w[1] : w[0]+w[1]+w[2]])
	if g > MaxObjectNumber || g < 0 || e.a < 0 {
		return entry{}, malformed("cross-reference stream: an entry")
	}
	e.b = int(g)
	switch t {
	case 0, 1, 2:
		e.kind = kind(t)
	default: // reserved types are null objects: clause 7.5.8.3
		e.kind = free
	}
	return e, nil
}

func field(b []byte) int64 {
	n := int64(0)
	for _, c := range b {
		n = n<<8 | int64(c)
	}
	return n
}

// find looks num up in all sections, the newest first.
func (f *File) find(num int) (entry, error) {
	for _, s := range f.sections {
		e, err := f.lookup(s, num)
		if err != nil && !errors.Is(err, errNoEntry) {
			return entry{}, err
		}
		if err == nil && (e.kind != free || s.hidden == nil) {
			return e, nil
		}
		if s.hidden == nil {
			continue
		}
		h, herr := f.lookup(s.hidden, num)
		switch {
		case herr == nil:
			return h, nil
		case !errors.Is(herr, errNoEntry):
			return entry{}, herr
		case err == nil:
			return e, nil
		}
	}
	return entry{kind: free}, nil
}
