package delivery

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// headroom is what must stay free on disk besides the signed files, in bytes:
// the database grows by 16 MiB at a time.
const headroom = 48 << 20

var (
	errFull    = errors.New("no room on disk")
	errDamaged = errors.New("signed file on disk is not what was committed")
	errTwice   = errors.New("document is in the outbox already")
)

func newDigest() hash.Hash { return sha256.New() }

// diskError gives err the code that fits.
func diskError(err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) {
		return job.Fail(job.CodeDisk, "", err)
	}
	return job.Fail(job.CodeInternal, "", err)
}

type batch struct {
	o    *Outbox
	req  job.Request // only ID, Origin and Delivery are used
	work *job.Spool
	out  *job.Spool
	name string // of the out spool
	end  int64  // of what is committed in it
	shut bool
}

// Begin implements job.Outbox. Its errors are *job.Error: CodeTarget when
// results may not go to req.Delivery.URL, CodeInvalid for a malformed ID or
// bearer, CodeDisk when there is no room for a file.
func (o *Outbox) Begin(_ context.Context, req job.Request) (job.Batch, error) {
	if err := checkIDs(req); err != nil {
		return nil, err
	}
	if err := o.checkDelivery(req.Origin, req.Delivery); err != nil {
		return nil, err
	}
	b := &batch{o: o, name: newSpoolName(".out"), req: job.Request{ID: req.ID, Origin: req.Origin, Delivery: req.Delivery}}
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil, errClosed
	}
	o.spool(b.name).open = true
	o.mu.Unlock()
	var err error
	if b.out, err = job.CreateSpool(filepath.Join(o.cfg.Dir, b.name)); err == nil {
		b.work, err = job.CreateSpool(filepath.Join(o.cfg.Dir, newSpoolName(".work")))
	}
	if err != nil {
		return nil, errors.Join(diskError(err), b.Close())
	}
	return b, nil
}

// Reserve implements job.Batch. The reservation is the file system's own where
// it has one (Linux, macOS), else a look at what is free; what is not used of
// it goes back at Close.
func (b *batch) Reserve(_ context.Context, need int64) error {
	return diskError(b.o.reserve(b.out.Path(), max(need, 0)))
}

func (b *batch) Work() *job.Spool { return b.work }
func (b *batch) Out() *job.Spool  { return b.out }

// Commit makes the signed documents durable, all or none, and hands them to
// delivery. Every File must lie in Out.
func (b *batch) Commit(_ context.Context, signed []*job.Signed) error {
	if len(signed) == 0 {
		return nil
	}
	st, err := os.Stat(b.out.Path())
	if err != nil {
		return diskError(err)
	}
	now, end := b.o.cfg.Now().UTC(), b.end
	var drafts []draft
	certs := map[string]eventCertificate{}
	for _, s := range signed {
		if err := checkID(s.Document.ID); err != nil {
			return err
		}
		if s.File.Offset < 0 || s.File.Offset+s.File.Size > st.Size() {
			return job.Fail(job.CodeInternal, s.Document.ID, errors.New("signed file is not in the batch's spool"))
		}
		fp := s.Certificate.Fingerprint()
		if _, ok := certs[fp]; !ok {
			certs[fp] = certificateOf(s.Certificate)
		}
		meta, err := b.o.signedMeta(b.req, s, certs[fp])
		if err != nil {
			return job.Fail(job.CodeInternal, s.Document.ID, err)
		}
		drafts = append(drafts, draft{meta: meta, rec: record{
			Kind: KindSigned, Key: b.req.ID + ":" + s.Document.ID, Documents: []string{s.Document.ID}, Created: now,
			Originals: [][]byte{s.Document.SHA256[:]},
			Spool:     b.name, Offset: s.File.Offset, Size: s.File.Size, Boundary: "tanba" + rand.Text(),
			Name: s.Name, MediaType: s.MediaType, SHA256: s.SHA256[:], Fingerprint: fp,
		}})
		end = max(end, s.File.Offset+s.File.Size)
	}
	if err := b.out.Sync(); err != nil {
		return diskError(err)
	}
	if err := syncDir(b.o.cfg.Dir); err != nil {
		return diskError(err)
	}
	if err := b.o.commit(b.req, drafts); err != nil {
		return err
	}
	b.end = end
	return nil
}

// Opened tells the CRM, once for a job, that the prompt is before the signer.
func (b *batch) Opened(_ context.Context, p *job.Prepared) error {
	now := b.o.cfg.Now().UTC()
	ids := make([]string, 0, len(p.Documents))
	for _, d := range p.Documents {
		ids = append(ids, d.ID)
	}
	meta, err := marshal(openedEvent{
		Type: KindOpened, Origin: b.req.Origin, Job: b.req.ID, Documents: ids, At: now.Truncate(time.Second), Device: b.o.cfg.Device,
	})
	if err != nil {
		return job.Fail(job.CodeInternal, "", err)
	}
	err = b.o.commit(b.req, []draft{{meta: meta, rec: record{
		Kind: KindOpened, Key: b.req.ID + ":opened", Documents: ids, Created: now,
	}}})
	if errors.Is(err, errTwice) {
		return nil
	}
	return err
}

// Reject hands the rejection of documents to delivery, durably. A second
// rejection within one job, of other documents, has the idempotency key
// "<job>:rejected:2", and so on.
func (b *batch) Reject(_ context.Context, p *job.Prepared, documents []string, reason job.Reason, text string, at time.Time) error {
	var originals [][]byte
	for _, id := range documents {
		i := slices.IndexFunc(p.Documents, func(d *job.PreparedDocument) bool { return d.ID == id })
		if i < 0 {
			return job.Fail(job.CodeInternal, id, errors.New("rejected document is not in the job"))
		}
		originals = append(originals, p.Documents[i].SHA256[:])
	}
	meta, err := marshal(rejectedEvent{
		Type: KindRejected, Origin: b.req.Origin, Job: b.req.ID, Documents: documents, Reason: reason, Text: text,
		At: at.UTC().Truncate(time.Second), Device: b.o.cfg.Device,
	})
	if err != nil {
		return job.Fail(job.CodeInternal, "", err)
	}
	return b.o.commit(b.req, []draft{{meta: meta, rec: record{
		Kind: KindRejected, Key: b.req.ID + ":rejected", Documents: documents, Created: b.o.cfg.Now().UTC(),
		Originals: originals, Reason: reason, Text: text,
	}}})
}

// Close removes the private copies and what was not committed.
func (b *batch) Close() error {
	if b.shut {
		return nil
	}
	b.shut = true
	var errs []error
	if b.work != nil {
		errs = append(errs, b.work.Close(), os.Remove(b.work.Path()))
	}
	if b.out != nil {
		errs = append(errs, b.out.Close())
		if b.end > 0 {
			// Gives the unused part of the reservation back, too.
			if err := os.Truncate(b.out.Path(), b.end); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	b.o.mu.Lock()
	b.o.spool(b.name).open = false
	gone := b.o.unneeded(b.name)
	b.o.mu.Unlock()
	if b.out != nil {
		b.o.remove(gone)
	}
	return errors.Join(errs...)
}

// A draft is an item before it has a number.
type draft struct {
	rec  record
	meta []byte
}

// commit writes the drafts in one transaction and hands them to the queue.
// errTwice (with job.CodeReused) means that a document, or opened, is there
// already; then nothing is written but the fresh way of delivery.
func (o *Outbox) commit(req job.Request, drafts []draft) error {
	o.mu.Lock()
	closed := o.closed
	o.mu.Unlock()
	if closed {
		return errClosed
	}
	key, now := jobKey(req.Origin, req.ID), o.cfg.Now().UTC()
	seqs := make([]uint64, len(drafts))
	twice := false
	err := o.db.Update(func(tx *bbolt.Tx) error {
		jr := jobRecord{Origin: req.Origin, ID: req.ID}
		if _, err := getJSON(tx, bucketJobs, []byte(key), &jr); err != nil {
			return err
		}
		jr.URL, jr.Bearer = req.Delivery.URL, req.Delivery.Bearer.Reveal()
		var err error
		if twice, err = overlaps(tx, jr, drafts); err != nil {
			return err
		}
		if !twice {
			for i := range drafts {
				if seqs[i], err = putDraft(tx, key, &drafts[i], now); err != nil {
					return err
				}
				jr.Items = append(jr.Items, seqs[i])
			}
		}
		if err := putJSON(tx, bucketJobs, []byte(key), jr); err != nil {
			return err
		}
		return blankBearer(tx, key)
	})
	if err != nil {
		return diskError(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if j := o.jobs[key]; j != nil {
		j.direct(req.Delivery)
		o.unpark(j)
	}
	if twice {
		return job.Fail(job.CodeReused, "", errTwice)
	}
	for i, d := range drafts {
		o.adopt(&item{seq: seqs[i], rec: d.rec, st: firstState(now)}, req.Origin, req.ID, req.Delivery)
	}
	o.notify()
	poke(o.wake)
	return nil
}

func firstState(now time.Time) state { return state{State: job.Delivering, Next: now, At: now} }

func putDraft(tx *bbolt.Tx, key string, d *draft, now time.Time) (uint64, error) {
	seq, err := tx.Bucket(bucketItems).NextSequence()
	if err != nil {
		return 0, err
	}
	d.rec.Job = key
	k := seqKey(seq)
	if err := putJSON(tx, bucketItems, k, d.rec); err != nil {
		return 0, err
	}
	if err := tx.Bucket(bucketMeta).Put(k, d.meta); err != nil {
		return 0, err
	}
	return seq, putJSON(tx, bucketLive, k, firstState(now))
}

// overlaps says whether the job has a draft's document, or opened, already. It
// gives a further rejection a key of its own.
func overlaps(tx *bbolt.Tx, jr jobRecord, drafts []draft) (bool, error) {
	have := map[string]bool{}
	opened, rejections := false, 0
	for _, seq := range jr.Items {
		var rec record
		if _, err := getJSON(tx, bucketItems, seqKey(seq), &rec); err != nil {
			return false, err
		}
		switch rec.Kind {
		case KindOpened:
			opened = true
			continue
		case KindRejected:
			rejections++
		}
		for _, id := range rec.Documents {
			have[id] = true
		}
	}
	for i := range drafts {
		rec := &drafts[i].rec
		switch rec.Kind {
		case KindOpened:
			if opened {
				return true, nil
			}
			continue
		case KindRejected:
			if rejections++; rejections > 1 && !strings.HasSuffix(rec.Key, fmt.Sprintf(":%d", rejections)) {
				rec.Key = fmt.Sprintf("%s:%d", rec.Key, rejections)
			}
		}
		for _, id := range rec.Documents {
			if have[id] {
				return true, nil
			}
			have[id] = true
		}
	}
	return false, nil
}
