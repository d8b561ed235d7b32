// Package pdf reads the structure of a PDF file and appends an incremental
// update to it; it never rewrites what is there (ISO 32000-2, clause 7.5).
//
// The file is read through an [io.ReaderAt] in windows: only the objects that
// are asked for are held in memory, and a classic cross-reference table is
// looked up in place. A [Value] keeps the bytes of the file as they are, so
// that a dictionary of which one key is changed is written back with all other
// bytes the same. The package knows nothing of signatures.
//
// What another reader would repair, this one refuses: a signature over a file
// whose meaning depends on the reader is worth little.
package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The bounds on a file. Passing one is reported as ErrMalformed.
const (
	// MaxNesting is the depth of arrays and dictionaries in each other.
	MaxNesting = 200
	// MaxObject is the length in bytes of one object without its stream.
	MaxObject = 32 << 20
	// MaxInflated is the decoded length in bytes of one object stream or
	// cross-reference stream.
	MaxInflated = 64 << 20
	// MaxObjectNumber is the largest object number (ISO 32000-1, annex C.2).
	MaxObjectNumber = 8_388_607
	// MaxSections is the number of cross-reference sections.
	MaxSections = 4096
	// MaxElements is the number of elements of one array that is taken apart,
	// MaxKeys that of the keys of a dictionary.
	MaxElements = 1 << 20
	MaxKeys     = 1 << 16
	// maxKept bounds what all cross-reference sections of one file keep in
	// memory, in bytes. Tables of lines of 20 bytes stay in the file.
	maxKept = 64 << 20
	// maxWork bounds the bytes read and inflated for the structure of one file.
	maxWork = 256 << 20
	// tail is how far from the end "startxref" is looked for.
	tail = 2048
)

// The errors of this package; match them with errors.Is. Errors of the
// underlying reader are passed on.
var (
	// ErrNotPDF reports bytes without a PDF header in the first 1024.
	ErrNotPDF = errors.New("malformed PDF: no header")
	// ErrMalformed reports a file whose structure cannot be followed.
	ErrMalformed = errors.New("malformed PDF")
	// ErrUnsupported reports a legal feature that is not implemented, such as
	// an unusual stream filter.
	ErrUnsupported = errors.New("unsupported PDF feature")
	// ErrEncrypted reports that a part of an encrypted file was asked for that
	// cannot be read without its key.
	ErrEncrypted = errors.New("unsupported PDF feature: encryption")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// keepBytes counts n bytes that a cross-reference section keeps.
func (f *File) keepBytes(n int64) error {
	if f.kept += n; f.kept > maxKept {
		return malformed("cross-reference sections of more than %d bytes", maxKept)
	}
	return nil
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// A Ref names an indirect object.
type Ref struct {
	Num, Gen int
}

// String returns the reference as it stands in a file, "12 0 R".
func (r Ref) String() string { return strconv.Itoa(r.Num) + " " + strconv.Itoa(r.Gen) + " R" }

// A File is an open PDF. It is not safe for concurrent use.
type File struct {
	r        io.ReaderAt
	size     int64
	header   int64 // offset of "%PDF-"
	shift    int64 // what is added to offsets in the file, 0 or header
	start    int64 // the number after startxref, as it stands
	sections []*section
	trailer  *Dict
	root     Ref
	next     int // first object number that is surely free
	work     int64
	kept     int64 // by sections
	streams  map[int]*objectStream
	cached   int64 // bytes in streams
	loading  map[int]bool
}

// Open reads the header and all cross-reference sections of a file of size
// bytes. It returns ErrNotPDF, ErrMalformed, ErrUnsupported or the reader's
// error. An encrypted file is opened: see Encrypted.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	head, err := f.read(0, 1024)
	if err != nil {
		return nil, err
	}
	i := bytes.Index(head, []byte("%PDF-"))
	if i < 0 {
		return nil, ErrNotPDF
	}
	f.header = int64(i)
	from := max(size-tail, 0)
	end, err := f.read(from, tail)
	if err != nil {
		return nil, err
	}
	i = bytes.LastIndex(end, []byte("startxref"))
	if i < 0 {
		return nil, malformed("no startxref in the last %d bytes", tail)
	}
	l := lexer{b: end[i+len("startxref"):], final: true}
	if f.start, err = l.uint(); err != nil {
		return nil, malformed("startxref is not a number")
	}
	// A producer that counts from the header and one that counts from the
	// first byte are both seen.
	f.shift = f.header
	if f.header != 0 && !f.sectionAt(f.start+f.shift) {
		f.shift = 0
	}
	if err := f.readSections(); err != nil {
		return nil, err
	}
	root, ok := f.trailer.Get("Root").Ref()
	if !ok {
		return nil, malformed("the trailer's Root is not a reference")
	}
	f.root = root
	return f, nil
}

// HeaderOffset returns the number of bytes before "%PDF-".
func (f *File) HeaderOffset() int64 { return f.header }

// Trailer returns the newest trailer dictionary; the caller must not change it.
func (f *File) Trailer() *Dict { return f.trailer }

// Root returns the reference of the document catalog.
func (f *File) Root() Ref { return f.root }

// Encrypted reports whether strings and streams of the file are encrypted.
func (f *File) Encrypted() bool {
	if f.trailer == nil {
		return false
	}
	v := f.trailer.Get("Encrypt")
	return !v.Missing() && !v.Null()
}

// read returns the n bytes at off, fewer where the file ends.
func (f *File) read(off int64, n int) ([]byte, error) {
	if off < 0 || off > f.size {
		return nil, malformed("offset %d outside the file", off)
	}
	n = int(min(int64(n), f.size-off))
	if err := f.spend(int64(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	m, err := f.r.ReadAt(b, off)
	if m == n {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("reading PDF at %d: %w", off, err)
}

func (f *File) spend(n int64) error {
	if f.work += n; f.work > maxWork {
		return malformed("its structure takes more than %d bytes to read", maxWork)
	}
	return nil
}
