package native

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"sync"

	"github.com/gorilla/websocket"

	"tanba/agent/job"
)

// streamHeader is the length of the stream number before a chunk, in bytes.
const streamHeader = 4

// spoolsTotal is how many jobs' worth of uploads may lie on the disk.
const spoolsTotal = 2

// A spoolRef is a spool that lives while anyone holds it.
type spoolRef struct {
	spool  *job.Spool
	remove func() error
	s      *Server
	size   int64 // announced

	mu   sync.Mutex
	held int
}

func (r *spoolRef) hold() *spoolRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held++
	return r
}

func (r *spoolRef) release() {
	r.mu.Lock()
	r.held--
	last := r.held == 0
	r.mu.Unlock()
	if !last {
		return
	}
	if err := r.remove(); err != nil {
		r.s.cfg.Log.Warn("removing a spool", "err", err)
	}
	r.s.stored.Add(-r.size)
}

// A stream is one document on its way in chunks, or complete.
type stream struct {
	ref    *spoolRef
	start  int64 // offset in the spool, -1 before the first chunk
	size   int64 // announced
	have   int64
	sum    hash.Hash
	failed bool // the disk did not take it
}

func (st *stream) complete() bool { return st.have == st.size }

// uploads are the streams of one socket. Only its reader uses them. One stream
// is filled at a time, so that each lies in one piece in the spool.
type uploads struct {
	s       *Server
	current *spoolRef // new streams go here; held by uploads
	streams map[uint32]*stream
	last    uint32
}

// announce makes a stream.
func (u *uploads) announce(size int64) (uint32, *problem) {
	l := u.s.cfg.Limits
	if size > l.Document {
		return 0, fail(job.CodeTooLarge)
	}
	if st := u.streams[u.last]; (st != nil && !st.complete()) || len(u.streams) >= l.Documents {
		return 0, fail(job.CodeBusy)
	}
	ref, p := u.spool(size)
	if p != nil {
		return 0, p
	}
	if u.streams == nil {
		u.streams = map[uint32]*stream{}
	}
	u.last++
	u.streams[u.last] = &stream{ref: ref.hold(), start: -1, size: size, sum: sha256.New()}
	return u.last, nil
}

// spool returns the current spool, with room for size more bytes.
func (u *uploads) spool(size int64) (*spoolRef, *problem) {
	l := u.s.cfg.Limits
	if u.current != nil && u.current.size+size > l.Job {
		return nil, fail(job.CodeTooLarge)
	}
	if u.s.stored.Add(size) > spoolsTotal*l.Job {
		u.s.stored.Add(-size)
		return nil, fail(job.CodeBusy)
	}
	if u.current == nil {
		spool, remove, err := u.s.cfg.Spools()
		if err != nil {
			u.s.stored.Add(-size)
			u.s.cfg.Log.Warn("making a spool", "err", err)
			return nil, fail(job.CodeDisk)
		}
		u.current = (&spoolRef{spool: spool, remove: remove, s: u.s}).hold()
	}
	u.current.size += size
	return u.current, nil
}

// chunk stores one binary frame; it returns the code to close with, or 0.
func (u *uploads) chunk(b []byte) (closeCode int) {
	if len(b) <= streamHeader {
		return websocket.ClosePolicyViolation
	}
	st := u.streams[binary.BigEndian.Uint32(b)]
	b = b[streamHeader:]
	if st == nil || int64(len(b)) > st.size-st.have {
		return websocket.ClosePolicyViolation
	}
	st.have += int64(len(b))
	if st.failed {
		return 0
	}
	blob, err := st.ref.spool.Append(0, func(w io.Writer) error { _, err := w.Write(b); return err })
	if err != nil {
		u.s.cfg.Log.Warn("storing a chunk", "err", err)
		st.failed = true
		return 0
	}
	if st.start < 0 {
		st.start = blob.Offset
	}
	st.sum.Write(b)
	return 0
}

// inlineKept is how much inline content of a job stays in memory while the
// signer reads; more goes to the disk.
const inlineKept = 1 << 20

// take hands the streams of p to its documents. The spools are held for the
// job until release. sums has the SHA-256 of what lies in a spool, by index of
// the document. A fault leaves every stream as it was.
func (u *uploads) take(p *signParams, lim limits) (release func(), sums map[int][]byte, fault *problem) {
	used, inline, total := map[uint32]bool{}, int64(0), int64(0)
	for i := range p.req.Documents {
		n, ok := p.streams[i]
		if !ok {
			inline += int64(len(p.req.Documents[i].Content.Inline))
			continue
		}
		id := p.req.Documents[i].ID
		st := u.streams[uint32(min(n, 1<<32-1))]
		switch {
		case st == nil || used[uint32(n)] || !st.complete():
			return nil, nil, &problem{Code: codeStream, Document: id}
		case st.failed:
			return nil, nil, &problem{Code: job.CodeDisk, Document: id}
		}
		used[uint32(n)] = true
		total += st.size
	}
	if total+inline > lim.job {
		return nil, nil, fail(job.CodeTooLarge)
	}
	var refs []*spoolRef
	sums = map[int][]byte{}
	if inline > inlineKept {
		ref, fault := u.keep(p, inline, sums)
		if fault != nil {
			return nil, nil, fault
		}
		refs = append(refs, ref)
	}
	for i, n := range p.streams {
		st := u.streams[uint32(n)]
		delete(u.streams, uint32(n))
		p.req.Documents[i].Content.Blob = st.ref.spool.Blob(max(st.start, 0), st.size)
		sums[i] = st.sum.Sum(nil)
		refs = append(refs, st.ref) // the stream's hold becomes the job's
	}
	if st := u.streams[u.last]; len(refs) > 0 && u.current != nil && (st == nil || st.complete()) {
		u.current.release() // the next upload begins a new file
		u.current = nil
	}
	return func() {
		for _, r := range refs {
			r.release()
		}
	}, sums, nil
}

// keep moves the inline content of p to a spool. An upload that is not
// complete must stay in one piece, so that none may be under way.
func (u *uploads) keep(p *signParams, size int64, sums map[int][]byte) (*spoolRef, *problem) {
	if st := u.streams[u.last]; st != nil && !st.complete() {
		return nil, fail(job.CodeBusy)
	}
	ref, fault := u.spool(size)
	if fault != nil {
		return nil, fault
	}
	for i := range p.req.Documents {
		c := &p.req.Documents[i].Content
		if c.Inline == nil {
			continue
		}
		blob, err := ref.spool.Append(0, func(w io.Writer) error { _, err := w.Write(c.Inline); return err })
		if err != nil {
			u.s.cfg.Log.Warn("storing inline content", "err", err)
			return nil, &problem{Code: job.CodeDisk, Document: p.req.Documents[i].ID}
		}
		sum := sha256.Sum256(c.Inline)
		sums[i], c.Blob, c.Inline = sum[:], blob, nil
	}
	return ref.hold(), nil
}

// close gives up what no job has taken.
func (u *uploads) close() {
	for _, st := range u.streams {
		st.ref.release()
	}
	u.streams = nil
	if u.current != nil {
		u.current.release()
		u.current = nil
	}
}
