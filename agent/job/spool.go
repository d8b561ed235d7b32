package job

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// A Spool is one file to which blobs are appended. It keeps a job's documents
// together, so that a batch of a thousand is one file and one fsync. One
// goroutine appends at a time; blobs may be read by many.
type Spool struct {
	mu   sync.Mutex
	f    *os.File
	size int64
	buf  *bufio.Writer
}

// ErrTooLarge reports a blob that outgrew its bound.
var ErrTooLarge = errors.New("too large")

// CreateSpool makes a new file for the current user alone. An existing file
// is an error.
func CreateSpool(path string) (*Spool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &Spool{f: f}, nil
}

// OpenSpool opens an existing file for reading its blobs.
func OpenSpool(path string) (*Spool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Spool{f: f, size: st.Size()}, nil
}

// Append adds what write writes, at most max bytes (0: no bound). When write
// fails or the bound is passed (ErrTooLarge), the spool is as before.
func (s *Spool) Append(max int64, write func(w io.Writer) error) (*Blob, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &spoolWriter{s: s, max: max}
	if s.buf == nil {
		s.buf = bufio.NewWriterSize(w, 64<<10)
	}
	s.buf.Reset(w)
	err := write(s.buf)
	if err == nil {
		err = s.buf.Flush()
	}
	if err != nil {
		return nil, errors.Join(err, s.f.Truncate(s.size))
	}
	b := &Blob{spool: s, Offset: s.size, Size: w.n}
	s.size += w.n
	return b, nil
}

type spoolWriter struct {
	s      *Spool
	n, max int64
}

func (w *spoolWriter) Write(p []byte) (int, error) {
	if w.max > 0 && w.n+int64(len(p)) > w.max {
		return 0, fmt.Errorf("more than %d bytes: %w", w.max, ErrTooLarge)
	}
	n, err := w.s.f.WriteAt(p, w.s.size+w.n)
	w.n += int64(n)
	return n, err
}

// Blob returns the blob at offset with size, both in bytes.
func (s *Spool) Blob(offset, size int64) *Blob { return &Blob{spool: s, Offset: offset, Size: size} }

// All returns the whole file as one blob.
func (s *Spool) All() *Blob { return s.Blob(0, s.size) }

// Sync makes what was appended durable.
func (s *Spool) Sync() error { return s.f.Sync() }

// Path returns the file's path.
func (s *Spool) Path() string { return s.f.Name() }

// Close closes the file; its blobs cannot be read any more.
func (s *Spool) Close() error { return s.f.Close() }

// A Blob is one run of bytes in a spool.
type Blob struct {
	spool *Spool
	// Offset and Size are in bytes.
	Offset, Size int64
}

// ReadAt implements io.ReaderAt over the blob's bytes.
func (b *Blob) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(b.spool.f, b.Offset, b.Size).ReadAt(p, off)
}

// Reader returns a new reader of the whole blob.
func (b *Blob) Reader() *io.SectionReader {
	return io.NewSectionReader(b.spool.f, b.Offset, b.Size)
}
