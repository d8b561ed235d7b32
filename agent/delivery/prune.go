package delivery

import (
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// A finishedJob is a job of which every item is done.
type finishedJob struct {
	key   string
	items int
	at    time.Time // of the last change
}

// prune forgets jobs that are done and older than keepFor, and the oldest ones
// beyond keepItems items: such a job could be signed again.
func (o *Outbox) prune(now time.Time) error {
	var list []finishedJob
	err := o.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketJobs).ForEach(func(k, _ []byte) error {
			f, done, err := finished(tx, k)
			if err == nil && done {
				list = append(list, f)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	list = tooOld(list, now)
	if len(list) == 0 {
		return nil
	}
	return o.db.Update(func(tx *bbolt.Tx) error {
		for _, f := range list {
			if err := forget(tx, f.key); err != nil {
				return err
			}
		}
		return nil
	})
}

// tooOld returns those of list that are to be forgotten.
func tooOld(list []finishedJob, now time.Time) []finishedJob {
	slices.SortFunc(list, func(a, b finishedJob) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	n := 0
	for i, f := range list { // youngest first
		if n += f.items; n > keepItems || now.Sub(f.at) > keepFor {
			return list[i:]
		}
	}
	return nil
}

// finished looks whether every item of the job with this key is done.
func finished(tx *bbolt.Tx, key []byte) (f finishedJob, done bool, err error) {
	var jr jobRecord
	if _, err := getJSON(tx, bucketJobs, key, &jr); err != nil {
		return f, false, err
	}
	f = finishedJob{key: string(key), items: len(jr.Items)}
	for _, seq := range jr.Items {
		var st state
		ok, err := getJSON(tx, bucketDone, seqKey(seq), &st)
		if err != nil || !ok {
			return f, false, err
		}
		if st.At.After(f.at) {
			f.at = st.At
		}
	}
	return f, true, nil
}

func forget(tx *bbolt.Tx, key string) error {
	if _, done, err := finished(tx, []byte(key)); err != nil || !done {
		return err // it woke up meanwhile
	}
	var jr jobRecord
	if _, err := getJSON(tx, bucketJobs, []byte(key), &jr); err != nil {
		return err
	}
	for _, seq := range jr.Items {
		for _, b := range [][]byte{bucketItems, bucketDone, bucketMeta} {
			if err := tx.Bucket(b).Delete(seqKey(seq)); err != nil {
				return err
			}
		}
	}
	return tx.Bucket(bucketJobs).Delete([]byte(key))
}
