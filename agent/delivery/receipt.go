package delivery

import (
	"context"
	"encoding/hex"
	"slices"

	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// Find implements job.Outbox.
func (o *Outbox) Find(origin, id string) (r job.Receipt, originals map[string][32]byte, ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.Job, originals = id, map[string][32]byte{}
	err = o.db.View(func(tx *bbolt.Tx) error {
		var jr jobRecord
		if known, err := getJSON(tx, bucketJobs, []byte(jobKey(origin, id)), &jr); err != nil || !known {
			return err
		}
		for _, seq := range jr.Items {
			var rec record
			if _, err := getJSON(tx, bucketItems, seqKey(seq), &rec); err != nil {
				return err
			}
			if rec.Kind == KindOpened {
				continue
			}
			st, err := o.stateOf(tx, seq)
			if err != nil {
				return err
			}
			for i, doc := range rec.Documents {
				r.Documents = append(r.Documents, documentReceipt(rec, st, doc))
				if i < len(rec.Originals) {
					originals[doc] = [32]byte(rec.Originals[i])
				}
			}
		}
		return nil
	})
	if err != nil {
		return job.Receipt{}, nil, false, job.Fail(job.CodeInternal, "", err)
	}
	return r, originals, len(r.Documents) > 0, nil
}

// stateOf returns the item's state: memory's, which is newer, or the
// database's. o.mu is held.
func (o *Outbox) stateOf(tx *bbolt.Tx, seq uint64) (state, error) {
	if it := o.items[seq]; it != nil {
		return it.st, nil
	}
	var st state
	ok, err := getJSON(tx, bucketDone, seqKey(seq), &st)
	if err == nil && !ok {
		_, err = getJSON(tx, bucketLive, seqKey(seq), &st)
	}
	return st, err
}

func documentReceipt(rec record, st state, doc string) job.DocumentReceipt {
	d := job.DocumentReceipt{ID: doc, State: st.State, Code: st.Code}
	if rec.Kind == KindRejected {
		d.State, d.Code, d.Reason, d.Text = job.Rejected, "", rec.Reason, rec.Text
		return d
	}
	d.SHA256, d.Fingerprint = hex.EncodeToString(rec.SHA256), rec.Fingerprint
	return d
}

// Await implements job.Outbox. The end of ctx is no error. An unknown job is
// an *job.Error with CodeUnknownJob.
func (o *Outbox) Await(ctx context.Context, origin, id string) (job.Receipt, error) {
	for {
		o.mu.Lock()
		changed, waiting := o.changed, o.waiting(jobKey(origin, id))
		o.mu.Unlock()
		if waiting {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			case <-o.ctx.Done():
			}
		}
		r, _, ok, err := o.Find(origin, id)
		if err == nil && !ok {
			err = job.Fail(job.CodeUnknownJob, "", nil)
		}
		return r, err
	}
}

// waiting says whether a result of the job is still to be delivered. o.mu is
// held.
func (o *Outbox) waiting(key string) bool {
	j := o.jobs[key]
	return j != nil && slices.ContainsFunc(j.items, func(it *item) bool {
		return it.rec.Kind != KindOpened && it.st.State == job.Delivering
	})
}

// Redeliver implements job.Outbox. d.URL may differ from the earlier one only
// within the rules for targets (CodeTarget). An unknown job is CodeUnknownJob.
func (o *Outbox) Redeliver(ctx context.Context, origin, id string, d job.Delivery) error {
	if err := o.checkDelivery(origin, d); err != nil {
		return err
	}
	if _, _, ok, err := o.Find(origin, id); err != nil {
		return err
	} else if !ok {
		return job.Fail(job.CodeUnknownJob, "", nil)
	}
	o.mu.Lock()
	j := o.jobs[jobKey(origin, id)]
	if j == nil { // all is delivered
		o.mu.Unlock()
		return nil
	}
	j.direct(d)
	o.queued.jobs[j.key] = d
	o.unpark(j)
	o.mu.Unlock()
	return diskError(o.flush(ctx))
}

// unpark makes the parked items of a job with a fresh bearer due, and those
// that wait for a later attempt too. o.mu is held.
func (o *Outbox) unpark(j *jobState) {
	now := o.cfg.Now().UTC()
	for _, it := range j.items {
		switch it.st.State {
		case job.Parked:
			it.st = firstState(now)
			o.save(it)
		case job.Delivering:
			it.soon = true
		}
	}
	j.expectOpened()
	o.notify()
	poke(o.wake)
}
