package pades_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// A maker writes small PDF files for tests, in one section of one kind.
type maker struct {
	b       bytes.Buffer
	offsets map[int]int
	most    int
}

func newMaker() *maker {
	m := &maker{offsets: map[int]int{}}
	m.b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	return m
}

func (m *maker) object(num int, body string) {
	m.offsets[num] = m.b.Len()
	m.most = max(m.most, num)
	fmt.Fprintf(&m.b, "%d 0 obj\n%s\nendobj\n", num, body)
}

func (m *maker) table(trailer string) []byte {
	at := m.b.Len()
	fmt.Fprintf(&m.b, "xref\n0 %d\n0000000000 65535 f \n", m.most+1)
	for i := 1; i <= m.most; i++ {
		if off, ok := m.offsets[i]; ok {
			fmt.Fprintf(&m.b, "%010d 00000 n \n", off)
		} else {
			m.b.WriteString("0000000000 65535 f \n")
		}
	}
	fmt.Fprintf(&m.b, "trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n", m.most+1, trailer, at)
	return m.b.Bytes()
}

// plainPDF is one page with a content stream of about n bytes.
func plainPDF(n int) []byte {
	m := newMaker()
	m.object(1, "<< /Type /Catalog /Pages 2 0 R >>")
	m.object(2, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	m.object(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << >> >>")
	text := strings.Repeat("q 1 0 0 1 0 0 cm Q\n", n/19)
	m.object(4, fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(text), text))
	return m.table("/Root 1 0 R")
}

// A bigPDF is a valid PDF of any size that is nowhere in memory: one page with
// a content stream of spaces.
type bigPDF struct {
	head, tail []byte
	gap        int64
}

func newBigPDF(size int64) *bigPDF {
	m := newMaker()
	m.object(1, "<< /Type /Catalog /Pages 2 0 R >>")
	m.object(2, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	m.object(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << >> >>")
	gap := size - 1000
	m.offsets[4], m.most = m.b.Len(), 4
	fmt.Fprintf(&m.b, "4 0 obj\n<< /Length %d >>\nstream\n", gap)
	head := bytes.Clone(m.b.Bytes())
	at := int64(len(head)) + gap + int64(len("\nendstream\nendobj\n"))
	tail := fmt.Sprintf("\nendstream\nendobj\nxref\n0 5\n0000000000 65535 f \n")
	for i := 1; i <= 4; i++ {
		tail += fmt.Sprintf("%010d 00000 n \n", m.offsets[i])
	}
	tail += fmt.Sprintf("trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", at)
	return &bigPDF{head, []byte(tail), gap}
}

func (p *bigPDF) size() int64 { return int64(len(p.head)) + p.gap + int64(len(p.tail)) }

// ReadAt implements io.ReaderAt.
func (p *bigPDF) ReadAt(b []byte, off int64) (int, error) {
	if off >= p.size() {
		return 0, io.EOF
	}
	want := len(b)
	b = b[:min(int64(len(b)), p.size()-off)]
	for i := range b {
		b[i] = ' '
	}
	place := func(part []byte, at int64) {
		if at+int64(len(part)) <= off || off+int64(len(b)) <= at {
			return
		}
		if at >= off {
			copy(b[at-off:], part)
		} else {
			copy(b, part[off-at:])
		}
	}
	place(p.head, 0)
	place(p.tail, int64(len(p.head))+p.gap)
	if len(b) < want {
		return len(b), io.EOF
	}
	return len(b), nil
}
