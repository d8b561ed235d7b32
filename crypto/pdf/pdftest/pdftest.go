// Package pdftest writes PDF files for tests and measurements: small ones of
// every cross-reference kind, sound or broken on purpose, and one of any size
// that is nowhere in memory.
package pdftest

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Maker writes a file piece by piece. The zero Maker begins with a header.
type Maker struct {
	b       bytes.Buffer
	offsets map[int]int64
	packed  map[int][2]int // number → object stream, index
	most    int
	prev    int64 // where the newest section is
}

// Continue returns a Maker that adds to file, whose newest section is at prev.
func Continue(file []byte, prev int64) *Maker {
	m := &Maker{prev: prev}
	m.b.Write(file)
	return m
}

// Len returns the bytes written so far.
func (m *Maker) Len() int64 { return int64(m.b.Len()) }

// Bytes returns what is written so far.
func (m *Maker) Bytes() []byte { return bytes.Clone(m.b.Bytes()) }

// Raw writes text as it is.
func (m *Maker) Raw(text string) {
	m.begin()
	m.b.WriteString(text)
}

func (m *Maker) begin() {
	if m.b.Len() == 0 {
		m.b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	}
}

func (m *Maker) list(num int, off int64) {
	if m.offsets == nil {
		m.offsets, m.packed = map[int]int64{}, map[int][2]int{}
	}
	m.offsets[num] = off
	m.most = max(m.most, num)
}

// Object writes an object of generation 0.
func (m *Maker) Object(num int, body string) {
	m.begin()
	m.list(num, m.Len())
	fmt.Fprintf(&m.b, "%d 0 obj\n%s\nendobj\n", num, body)
}

// Stream writes a stream; dict holds the keys beside Length.
func (m *Maker) Stream(num int, dict string, data []byte) {
	m.Object(num, fmt.Sprintf("<< %s /Length %d >>\nstream\n%s\nendstream", dict, len(data), data))
}

// Pack writes an object stream num that holds the objects of bodies, numbered
// from first.
func (m *Maker) Pack(num, first int, bodies ...string) {
	var index, data strings.Builder
	for i, b := range bodies {
		fmt.Fprintf(&index, "%d %d ", first+i, data.Len())
		data.WriteString(b + "\n")
	}
	m.Stream(num, fmt.Sprintf("/Type /ObjStm /N %d /First %d /Filter /FlateDecode", len(bodies), index.Len()), Deflate([]byte(index.String()+data.String())))
	for i := range bodies {
		m.packed[first+i] = [2]int{num, i}
		m.most = max(m.most, first+i)
	}
}

// Table ends the section with a table and a trailer that holds Size, Prev and
// the given keys, and returns the file.
func (m *Maker) Table(trailer string) []byte {
	m.begin()
	at := m.Len()
	m.b.WriteString("xref\n")
	if m.prev == 0 {
		m.b.WriteString("0 1\n0000000000 65535 f \n")
	}
	for _, n := range m.numbers(false) {
		fmt.Fprintf(&m.b, "%d 1\n%010d 00000 n \n", n, m.offsets[n])
	}
	m.b.WriteString("trailer\n<< ")
	m.sizes(m.most+1, trailer)
	fmt.Fprintf(&m.b, " >>\nstartxref\n%d\n%%%%EOF\n", at)
	return m.end(at)
}

// XRef ends the section with a cross-reference stream, numbered above all
// others, compressed and predicted where flate is set, and returns the file.
func (m *Maker) XRef(trailer string, flate bool) []byte {
	at := m.hidden(trailer, flate)
	fmt.Fprintf(&m.b, "startxref\n%d\n%%%%EOF\n", at)
	return m.end(at)
}

// Hybrid ends the section with a table for the plain objects and a stream for
// the packed ones, and returns the file.
func (m *Maker) Hybrid(trailer string) []byte {
	at := m.hidden("", false)
	return m.Table(fmt.Sprintf("%s /XRefStm %d", trailer, at))
}

func (m *Maker) hidden(trailer string, flate bool) int64 {
	m.begin()
	own, at := m.most+1, m.Len()
	m.list(own, at)
	var index, rows bytes.Buffer
	for _, n := range m.numbers(true) {
		fmt.Fprintf(&index, "%d 1 ", n)
		if p, ok := m.packed[n]; ok {
			rows.Write([]byte{2, 0, byte(p[0] >> 16), byte(p[0] >> 8), byte(p[0]), byte(p[1])})
			continue
		}
		off := m.offsets[n]
		rows.Write([]byte{1, byte(off >> 24), byte(off >> 16), byte(off >> 8), byte(off), 0})
	}
	data, filter := rows.Bytes(), ""
	if flate {
		data, filter = Deflate(up(data, 6)), "/Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 6 >>"
	}
	fmt.Fprintf(&m.b, "%d 0 obj\n<< /Type /XRef /W [1 4 1] /Index [%s] /Length %d %s ", own, index.String(), len(data), filter)
	m.sizes(own+1, trailer)
	fmt.Fprintf(&m.b, " >>\nstream\n%s\nendstream\nendobj\n", data)
	return at
}

func (m *Maker) sizes(size int, trailer string) {
	if !strings.Contains(trailer, "/Size") {
		fmt.Fprintf(&m.b, "/Size %d ", size)
	}
	if m.prev != 0 && !strings.Contains(trailer, "/Prev") {
		fmt.Fprintf(&m.b, "/Prev %d ", m.prev)
	}
	m.b.WriteString(trailer)
}

func (m *Maker) numbers(packed bool) []int {
	var out []int
	for n := range m.offsets {
		out = append(out, n)
	}
	if packed {
		for n := range m.packed {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// end makes the next section an update of this one.
func (m *Maker) end(at int64) []byte {
	m.prev, m.offsets, m.packed = at, nil, nil
	return bytes.Clone(m.b.Bytes())
}

// Deflate compresses data as FlateDecode has it.
func Deflate(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// up predicts rows with PNG's filter Up.
func up(data []byte, row int) []byte {
	var out []byte
	above := make([]byte, row)
	for ; len(data) >= row; data = data[row:] {
		out = append(out, 2)
		for i := range row {
			out = append(out, data[i]-above[i])
		}
		above = data[:row]
	}
	return out
}

// Pages writes the objects 1 (the catalog, with the given keys), 2 and 3 (one
// page, with the given keys) of a document.
func (m *Maker) Pages(catalog, page string) {
	m.Object(1, "<< /Type /Catalog /Pages 2 0 R "+catalog+" >>")
	m.Object(2, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	m.Object(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >> "+page+" >>")
}

// Plain returns a document of one page with a content stream of about n bytes.
func Plain(n int) []byte {
	m := &Maker{}
	m.Pages("", "/Contents 4 0 R")
	m.Stream(4, "", []byte(strings.Repeat("q 1 0 0 1 0 0 cm Q\n", n/19)))
	return m.Table("/Root 1 0 R")
}

// A Big is a sound document of any size that is nowhere in memory: one page
// with a content stream of spaces.
type Big struct {
	head, tail []byte
	gap        int64
}

// NewBig returns a document of about size bytes, at most 9 GB.
func NewBig(size int64) *Big {
	m := &Maker{}
	m.Pages("", "/Contents 4 0 R")
	gap := max(size-1000, 0)
	m.list(4, m.Len())
	m.Raw(fmt.Sprintf("4 0 obj\n<< /Length %d >>\nstream\n", gap))
	b := &Big{head: bytes.Clone(m.b.Bytes()), gap: gap}
	at := m.Len() + gap
	const end = "\nendstream\nendobj\n"
	var t strings.Builder
	t.WriteString(end + "xref\n0 5\n0000000000 65535 f \n")
	for n := 1; n <= 4; n++ {
		fmt.Fprintf(&t, "%010d 00000 n \n", m.offsets[n])
	}
	fmt.Fprintf(&t, "trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", at+int64(len(end)))
	b.tail = []byte(t.String())
	return b
}

// Size returns the length in bytes.
func (p *Big) Size() int64 { return int64(len(p.head)) + p.gap + int64(len(p.tail)) }

// Append returns the document with more behind it.
func (p *Big) Append(more []byte) *Big {
	return &Big{p.head, append(bytes.Clone(p.tail), more...), p.gap}
}

var spaces = bytes.Repeat([]byte{' '}, 64<<10)

// ReadAt implements io.ReaderAt.
func (p *Big) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 || off >= p.Size() {
		return 0, io.EOF
	}
	want := len(b)
	b = b[:min(int64(len(b)), p.Size()-off)]
	for rest := b; len(rest) > 0; {
		rest = rest[copy(rest, spaces):]
	}
	place(b, off, p.head, 0)
	place(b, off, p.tail, int64(len(p.head))+p.gap)
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}

// place copies of part, which stands at at, what falls into b, which is at off.
func place(b []byte, off int64, part []byte, at int64) {
	if at+int64(len(part)) <= off || off+int64(len(b)) <= at {
		return
	}
	if at >= off {
		copy(b[at-off:], part)
		return
	}
	copy(b, part[off-at:])
}
