// Package paper makes the demo's contracts: plain PDF files of text, tables
// and signature lines, in the fonts that every PDF viewer carries.
//
// What is written is PDF 1.7 (ISO 32000-1) with a classic cross-reference
// table. The fonts are Helvetica and Helvetica-Bold with WinAnsiEncoding, so a
// text may hold the characters of Windows-1252; others become "?". The same
// sheet always gives the same bytes.
package paper

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"
)

// A Sheet is one document.
type Sheet struct {
	// Company stands in the letterhead, Address beneath it.
	Company, Address string
	// Title is the document's, Number and Place stand under it.
	Title, Number, Place string
	// Date is the document's date, UTC.
	Date time.Time
	// Blocks are its content in order.
	Blocks []Block
	// Sides are those who sign, shown side by side at the end.
	Sides []Side
}

// A Block is a heading, a paragraph, a table or a picture: whichever is set.
type Block struct {
	Heading string
	Text    string
	Table   *Table
	Picture *Picture
}

// A Picture is drawn over the whole width of the text.
type Picture struct {
	// Width and Height are in pixels.
	Width, Height int
	// Gray holds one byte a pixel, 0 black to 255 white, row by row from the
	// top. It is written as it is, not compressed.
	Gray []byte
}

// A Table has a head and rows of as many cells; the first column is the
// widest and stands left, the others stand right.
type Table struct {
	Head  []string
	Rows  [][]string
	Total string // the last cell of a closing row, empty for none
}

// A Side is one party's lines under the contract.
type Side struct {
	Caption string // "The Supplier"
	Lines   []string
}

// The page is A4, in points.
const (
	pageWidth  = 595.28
	pageHeight = 841.89
	left       = 64.0
	right      = pageWidth - 64
	top        = pageHeight - 56
	bottom     = 72.0
	bodySize   = 10.5
	leading    = 15.0
)

// PDF returns the sheet as a PDF file.
func (s *Sheet) PDF() []byte {
	l := &layout{sheet: s}
	l.newPage()
	l.title()
	for _, b := range s.Blocks {
		switch {
		case b.Table != nil:
			l.table(b.Table)
		case b.Picture != nil:
			l.picture(b.Picture)
		case b.Heading != "":
			l.heading(b.Heading)
		default:
			l.paragraph(b.Text)
		}
	}
	l.sides()
	return l.file()
}

// A layout fills pages from the top.
type layout struct {
	sheet *Sheet
	pages []*bytes.Buffer
	y     float64 // the next base line
	// pictures are drawn under the names Im0, Im1, …
	pictures []*Picture
}

func (l *layout) page() *bytes.Buffer { return l.pages[len(l.pages)-1] }

func (l *layout) newPage() {
	l.pages = append(l.pages, &bytes.Buffer{})
	l.color(0.11, 0.33, 0.42)
	l.text(bold, 11, left, top, l.sheet.Company)
	l.color(0.45, 0.48, 0.5)
	l.text(regular, 8, right-width(regular, 8, l.sheet.Address), top, l.sheet.Address)
	l.line(left, top-9, right, top-9, 0.8)
	l.color(0, 0, 0)
	l.y = top - 44
}

// need starts a new page when less than h points are left.
func (l *layout) need(h float64) {
	if l.y-h < bottom {
		l.newPage()
	}
}

func (l *layout) title() {
	l.text(bold, 17, left, l.y, l.sheet.Title)
	l.y -= 22
	l.color(0.35, 0.38, 0.4)
	l.text(regular, bodySize, left, l.y, l.sheet.Number)
	when := l.sheet.Place + ", " + l.sheet.Date.Format("2 January 2006")
	l.text(regular, bodySize, right-width(regular, bodySize, when), l.y, when)
	l.color(0, 0, 0)
	l.y -= 28
}

func (l *layout) heading(t string) {
	l.need(3.5 * leading)
	l.y -= 6
	l.text(bold, 11.5, left, l.y, t)
	l.y -= leading + 2
}

func (l *layout) paragraph(t string) {
	for _, line := range wrap(regular, bodySize, right-left, t) {
		l.need(leading)
		l.text(regular, bodySize, left, l.y, line)
		l.y -= leading
	}
	l.y -= 5
}

// column gives a column's right edge: the first takes what the others leave.
func column(n, i int) float64 {
	const each = 78.0
	return right - float64(n-1-i)*each
}

func (l *layout) table(t *Table) {
	row := func(f font, cells []string) {
		for i, c := range cells {
			if i == 0 {
				l.text(f, 9.5, left+4, l.y, c)
				continue
			}
			l.text(f, 9.5, column(len(cells), i)-4-width(f, 9.5, c), l.y, c)
		}
		l.line(left, l.y-5.5, right, l.y-5.5, 0.4)
		l.y -= 18
	}
	head := func() {
		l.box(left, l.y-5.5, right-left, 18, 0.93)
		row(bold, t.Head)
	}
	l.need(54)
	head()
	for _, cells := range t.Rows {
		if l.y-18 < bottom {
			l.newPage()
			head()
		}
		row(regular, cells)
	}
	if t.Total != "" {
		cells := make([]string, len(t.Head))
		cells[0], cells[len(cells)-1] = "Total", t.Total
		l.need(18)
		row(bold, cells)
	}
	l.y -= 8
}

func (l *layout) picture(p *Picture) {
	w := right - left
	h := w * float64(p.Height) / float64(p.Width)
	l.need(h + 8)
	fmt.Fprintf(l.page(), "q %.2f 0 0 %.2f %.2f %.2f cm /Im%d Do Q\n", w, h, left, l.y-h+leading/2, len(l.pictures))
	l.pictures = append(l.pictures, p)
	l.y -= h + 8
}

func (l *layout) sides() {
	if len(l.sheet.Sides) == 0 {
		return
	}
	const each = 14.0
	longest := 0
	for _, s := range l.sheet.Sides {
		longest = max(longest, len(s.Lines))
	}
	l.need(float64(longest)*each + 70)
	l.y -= 16
	start := l.y
	wide := (right - left - 24) / float64(len(l.sheet.Sides))
	for i, s := range l.sheet.Sides {
		x := left + float64(i)*(wide+24)
		y := start
		l.text(bold, 10, x, y, s.Caption)
		y -= each + 2
		for _, line := range s.Lines {
			l.text(regular, 9.5, x, y, line)
			y -= each
		}
		y -= 22
		l.line(x, y, x+wide-10, y, 0.6)
		l.color(0.45, 0.48, 0.5)
		l.text(regular, 7.5, x, y-10, "signed electronically")
		l.color(0, 0, 0)
		l.y = min(l.y, y-20)
	}
}

func (l *layout) text(f font, size, x, y float64, t string) {
	fmt.Fprintf(l.page(), "BT /%s %.2f Tf %.2f %.2f Td (%s) Tj ET\n", f.name, size, x, y, escape(encode(t)))
}

func (l *layout) line(x1, y1, x2, y2, w float64) {
	fmt.Fprintf(l.page(), "q 0.6 0.64 0.66 RG %.2f w %.2f %.2f m %.2f %.2f l S Q\n", w, x1, y1, x2, y2)
}

func (l *layout) box(x, y, w, h, grey float64) {
	fmt.Fprintf(l.page(), "q %.2f g %.2f %.2f %.2f %.2f re f Q\n", grey, x, y, w, h)
}

func (l *layout) color(r, g, b float64) { fmt.Fprintf(l.page(), "%.2f %.2f %.2f rg\n", r, g, b) }

// footers are written last: only then the number of pages is known.
func (l *layout) footers() {
	for i, p := range l.pages {
		note := fmt.Sprintf("%s %s", l.sheet.Title, l.sheet.Number)
		count := fmt.Sprintf("Page %d of %d", i+1, len(l.pages))
		fmt.Fprint(p, "0.45 0.48 0.5 rg\n")
		fmt.Fprintf(p, "BT /F1 8 Tf %.2f 40 Td (%s) Tj ET\n", left, escape(encode(note)))
		fmt.Fprintf(p, "BT /F1 8 Tf %.2f 40 Td (%s) Tj ET\n", right-width(regular, 8, count), escape(count))
	}
}

// file puts the objects and their table together. Objects 1 to 5 are the
// catalogue, the page tree, two fonts and the information; then page and
// content alternate; the pictures come last.
func (l *layout) file() []byte {
	l.footers()
	var out bytes.Buffer
	var offsets []int
	object := func(body string) {
		offsets = append(offsets, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(offsets), body)
	}
	out.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	object("<< /Type /Catalog /Pages 2 0 R /Lang (en) >>")
	kids := make([]string, len(l.pages))
	for i := range l.pages {
		kids[i] = fmt.Sprintf("%d 0 R", 6+2*i)
	}
	object(fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", strings.Join(kids, " "), len(kids)))
	object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
	object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>")
	object(fmt.Sprintf("<< /Title (%s) /Author (%s) /CreationDate (D:%sZ) >>",
		escape(encode(l.sheet.Title+" "+l.sheet.Number)), escape(encode(l.sheet.Company)), l.sheet.Date.UTC().Format("20060102150405")))
	var images strings.Builder
	for i := range l.pictures {
		fmt.Fprintf(&images, "/Im%d %d 0 R ", i, 6+2*len(l.pages)+i)
	}
	for i, p := range l.pages {
		object(fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %.2f %.2f] /Contents %d 0 R\n   /Resources << /Font << /F1 3 0 R /F2 4 0 R >> /XObject << %s>> >> >>",
			pageWidth, pageHeight, 7+2*i, images.String()))
		object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", p.Len(), p.Bytes()))
	}
	for _, p := range l.pictures {
		object(fmt.Sprintf("<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 /Length %d >>\nstream\n%s\nendstream",
			p.Width, p.Height, len(p.Gray), p.Gray))
	}
	id := sha256.Sum256(out.Bytes())
	table := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&out, "trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%x> <%x>] >>\nstartxref\n%d\n%%%%EOF\n",
		len(offsets)+1, id[:16], id[:16], table)
	return out.Bytes()
}
