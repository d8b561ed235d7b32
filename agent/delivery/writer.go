package delivery

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// A writeSet is what changed in memory and is not in the database yet. Many
// deliveries end in one transaction: losing the last ones in a crash costs a
// second POST with the same idempotency key, never a document.
type writeSet struct {
	states  map[uint64]state
	jobs    map[string]job.Delivery
	waiters []chan error
}

func newWriteSet() writeSet {
	return writeSet{states: map[uint64]state{}, jobs: map[string]job.Delivery{}}
}

func (w *writeSet) empty() bool {
	return len(w.states) == 0 && len(w.jobs) == 0 && len(w.waiters) == 0
}

// save queues an item's state for the database. o.mu is held.
func (o *Outbox) save(it *item) {
	o.queued.states[it.seq] = it.st
	poke(o.writes)
}

// flush waits until everything that was queued before is in the database.
func (o *Outbox) flush(ctx context.Context) error {
	done := make(chan error, 1)
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return errClosed
	}
	o.queued.waiters = append(o.queued.waiters, done)
	poke(o.writes)
	o.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write is the goroutine that writes what is queued, until Close.
func (o *Outbox) write() {
	defer close(o.wrote)
	for {
		select {
		case <-o.writes:
		case <-o.ctx.Done():
		}
		o.mu.Lock()
		set := o.queued
		o.queued = newWriteSet()
		o.mu.Unlock()
		if !set.empty() {
			err := o.db.Update(set.apply)
			o.written(set, err)
			for _, w := range set.waiters {
				w <- err
			}
			if err != nil {
				o.log.Error("writing the outbox", "err", err)
				select {
				case <-time.After(time.Second):
					poke(o.writes)
				case <-o.ctx.Done():
				}
			}
		}
		if o.ctx.Err() != nil {
			o.runsEnded()
			return
		}
	}
}

// runsEnded writes, once, what the last deliveries left behind.
func (o *Outbox) runsEnded() {
	o.runs.Wait()
	o.mu.Lock()
	set := o.queued
	o.queued = newWriteSet()
	o.mu.Unlock()
	if set.empty() {
		return
	}
	err := o.db.Update(set.apply)
	if err != nil {
		o.log.Error("writing the outbox", "err", err)
	}
	o.written(set, err)
	for _, w := range set.waiters {
		w <- err
	}
}

// apply writes the set in one transaction.
func (w *writeSet) apply(tx *bbolt.Tx) error {
	for key, d := range w.jobs {
		var jr jobRecord
		ok, err := getJSON(tx, bucketJobs, []byte(key), &jr)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		jr.URL, jr.Bearer = d.URL, d.Bearer.Reveal()
		if err := putJSON(tx, bucketJobs, []byte(key), jr); err != nil {
			return err
		}
	}
	finished := map[string]bool{}
	for seq, st := range w.states {
		k := seqKey(seq)
		if !st.done() {
			if err := putJSON(tx, bucketLive, k, st); err != nil {
				return err
			}
			continue
		}
		var rec record
		if _, err := getJSON(tx, bucketItems, k, &rec); err != nil {
			return err
		}
		finished[rec.Job] = true
		if err := putJSON(tx, bucketDone, k, st); err != nil {
			return err
		}
		for _, b := range [][]byte{bucketLive, bucketMeta} {
			if err := tx.Bucket(b).Delete(k); err != nil {
				return err
			}
		}
	}
	for key := range finished {
		if err := blankBearer(tx, key); err != nil {
			return err
		}
	}
	return nil
}

// blankBearer takes the bearer out of a job of which every item is done.
func blankBearer(tx *bbolt.Tx, key string) error {
	var jr jobRecord
	ok, err := getJSON(tx, bucketJobs, []byte(key), &jr)
	if err != nil || !ok || jr.Bearer == "" {
		return err
	}
	live := tx.Bucket(bucketLive)
	for _, seq := range slices.Backward(jr.Items) { // the last are done last
		if live.Get(seqKey(seq)) != nil {
			return nil
		}
	}
	jr.Bearer = ""
	return putJSON(tx, bucketJobs, []byte(key), jr)
}

// written takes the items that are done out of memory, or puts the set back
// after an error, and removes the spools that nobody needs.
func (o *Outbox) written(set writeSet, err error) {
	var gone []string
	o.mu.Lock()
	if err != nil {
		for seq, st := range set.states {
			if _, newer := o.queued.states[seq]; !newer {
				o.queued.states[seq] = st
			}
		}
		for key, d := range set.jobs {
			if _, newer := o.queued.jobs[key]; !newer {
				o.queued.jobs[key] = d
			}
		}
		o.mu.Unlock()
		return
	}
	for seq, st := range set.states {
		it := o.items[seq]
		if it == nil || !st.done() {
			continue
		}
		delete(o.items, seq)
		it.job.items = slices.DeleteFunc(it.job.items, func(x *item) bool { return x == it })
		if len(it.job.items) == 0 {
			delete(o.jobs, it.job.key)
		}
		if it.rec.Spool != "" {
			o.spool(it.rec.Spool).items--
			gone = append(gone, o.unneeded(it.rec.Spool)...)
		}
	}
	if len(o.order) > 2*len(o.items)+64 {
		o.order = slices.DeleteFunc(o.order, func(it *item) bool { return o.items[it.seq] == nil })
	}
	o.notify()
	o.mu.Unlock()
	o.remove(gone)
}

// unneeded returns the spool's name if nothing needs it any more. o.mu is
// held.
func (o *Outbox) unneeded(name string) []string {
	s := o.spool(name)
	if s.items > 0 || s.open {
		return nil
	}
	delete(o.spools, name)
	return []string{name}
}

func (o *Outbox) remove(spools []string) {
	for _, name := range spools {
		if err := os.Remove(filepath.Join(o.cfg.Dir, name)); err != nil {
			o.log.Warn("removing a spool", "err", err)
		}
	}
}
