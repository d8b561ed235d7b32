package delivery

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"tanba/agent/job"
)

// The buckets of outbox.db. Items are named by a sequence number, 8 bytes
// big-endian, that is never used again.
var (
	bucketJobs  = []byte("jobs")  // origin "\n" job → jobRecord
	bucketItems = []byte("items") // seq → record
	bucketMeta  = []byte("meta")  // seq → the JSON that the CRM gets; gone when done
	bucketLive  = []byte("live")  // seq → state, while not done
	bucketDone  = []byte("done")  // seq → state, of delivered and dropped items
	bucketAbout = []byte("about") // keyFormat → the number of this layout, in decimal
)

var keyFormat = []byte("format")

// format is the number of the layout above. It grows when an older agent would
// misread, or lose, what a newer one wrote.
const format = "1"

// createBuckets makes what a new database lacks. It returns ErrFormat for the
// database of a newer agent.
func createBuckets(tx *bbolt.Tx) error {
	for _, b := range [][]byte{bucketJobs, bucketItems, bucketMeta, bucketLive, bucketDone, bucketAbout} {
		if _, err := tx.CreateBucketIfNotExists(b); err != nil {
			return err
		}
	}
	about := tx.Bucket(bucketAbout)
	switch f := about.Get(keyFormat); {
	case f == nil:
		return about.Put(keyFormat, []byte(format))
	case string(f) != format:
		return fmt.Errorf("%w: %q", ErrFormat, f)
	}
	return nil
}

// A Kind is what an item tells the CRM.
type Kind string

// The kinds.
const (
	KindOpened   Kind = "opened"
	KindSigned   Kind = "signed"
	KindRejected Kind = "rejected"
)

// A jobRecord is one job in the database.
type jobRecord struct {
	Origin string   `json:"origin"`
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Bearer string   `json:"bearer"`
	Items  []uint64 `json:"items"`
}

// A record is what never changes of an item.
type record struct {
	Job  string `json:"job"` // key in bucketJobs
	Kind Kind   `json:"kind"`
	// Key is the idempotency key.
	Key       string    `json:"key"`
	Documents []string  `json:"documents"`
	Created   time.Time `json:"created"`

	// Of signed items.
	Spool       string `json:"spool,omitempty"` // file name without folder
	Offset      int64  `json:"offset,omitempty"`
	Size        int64  `json:"size,omitempty"`
	Boundary    string `json:"boundary,omitempty"`
	Name        string `json:"name,omitempty"`
	MediaType   string `json:"mediaType,omitempty"`
	SHA256      []byte `json:"sha256,omitempty"` // of the signed file
	Fingerprint string `json:"fingerprint,omitempty"`

	// Originals are the digests of Documents, in their order.
	Originals [][]byte `json:"originals,omitempty"`

	// Of rejected items.
	Reason job.Reason `json:"reason,omitempty"`
	Text   string     `json:"text,omitempty"`
}

// A state is what changes of an item.
type state struct {
	State   job.State `json:"state"` // Delivering, Parked, Dead or Delivered
	Code    job.Code  `json:"code,omitempty"`
	Trouble Trouble   `json:"trouble,omitempty"`
	Status  int       `json:"status,omitempty"` // of the CRM's last answer
	// Attempts is the number of failed attempts that count, Early of those that
	// Retry-After allowed before their time.
	Attempts int       `json:"attempts,omitempty"`
	Early    int       `json:"early,omitempty"`
	Next     time.Time `json:"next,omitzero"`
	Dropped  bool      `json:"dropped,omitempty"`
	At       time.Time `json:"at"` // of the last change
}

func (s state) done() bool { return s.State == job.Delivered || s.Dropped }

func jobKey(origin, id string) string { return origin + "\n" + id }

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func getJSON(tx *bbolt.Tx, bucket, key []byte, v any) (bool, error) {
	data := tx.Bucket(bucket).Get(key)
	if data == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("malformed record in %s: %w", bucket, err)
	}
	return true, nil
}

func putJSON(tx *bbolt.Tx, bucket, key []byte, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put(key, data)
}

// load reads what is not done into memory. A record that cannot be read is
// logged and left where it is; unread counts them.
func (o *Outbox) load(tx *bbolt.Tx) (unread int, err error) {
	err = tx.Bucket(bucketLive).ForEach(func(k, v []byte) error {
		it := &item{seq: binary.BigEndian.Uint64(k), soon: true}
		err := json.Unmarshal(v, &it.st)
		var jr jobRecord
		var ok bool
		if err == nil {
			ok, err = getJSON(tx, bucketItems, k, &it.rec)
		}
		if err == nil && ok {
			ok, err = getJSON(tx, bucketJobs, []byte(it.rec.Job), &jr)
		}
		if err != nil || !ok {
			o.log.Error("outbox record unreadable", "item", it.seq, "err", err)
			unread++
			return nil
		}
		o.adopt(it, jr.Origin, jr.ID, job.Delivery{URL: jr.URL, Bearer: job.NewSecret(jr.Bearer)})
		return nil
	})
	return unread, err
}

// adopt puts an item into memory and makes d its job's way of delivery. o.mu
// is held, or nobody else has o yet.
func (o *Outbox) adopt(it *item, origin, id string, d job.Delivery) {
	key := jobKey(origin, id)
	j := o.jobs[key]
	if j == nil {
		j = &jobState{key: key, origin: origin, id: id}
		o.jobs[key] = j
	}
	j.direct(d)
	it.job = j
	j.items = append(j.items, it)
	o.items[it.seq] = it
	o.order = append(o.order, it)
	if it.rec.Spool != "" {
		o.spool(it.rec.Spool).items++
	}
	j.expectOpened()
}

// direct sets where the job's items go.
func (j *jobState) direct(d job.Delivery) {
	j.url, j.bearer, j.target = d.URL, d.Bearer, ""
	if _, origin, err := parseTarget(d.URL); err == nil {
		j.target = origin
	}
}

// expectOpened makes an opened that waits go before the results.
func (j *jobState) expectOpened() {
	var opened *item
	results := false
	for _, it := range j.items {
		if it.st.State != job.Delivering {
			continue
		}
		if it.rec.Kind == KindOpened {
			opened = it
		} else {
			results = true
		}
	}
	j.openedFirst = opened != nil && results
	if j.openedFirst {
		opened.soon = true
	}
}

func (o *Outbox) spool(name string) *spoolState {
	s := o.spools[name]
	if s == nil {
		s = &spoolState{}
		o.spools[name] = s
	}
	return s
}

var spoolName = regexp.MustCompile(`^[A-Z2-7]{26,}\.(out|work)$`)

func newSpoolName(ext string) string { return rand.Text() + ext }

// sweep removes the files that no record names and cuts the uncommitted tail
// of the others. With keep it leaves every signed file as it is: a record that
// cannot be read may name it.
func (o *Outbox) sweep(keep bool) error {
	ends := map[string]int64{}
	for _, it := range o.items {
		if it.rec.Spool != "" {
			ends[it.rec.Spool] = max(ends[it.rec.Spool], it.rec.Offset+it.rec.Size)
		}
	}
	entries, err := os.ReadDir(o.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !spoolName.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(o.cfg.Dir, e.Name())
		end, needed := ends[e.Name()]
		work := strings.HasSuffix(e.Name(), ".work")
		if keep && !work {
			continue
		}
		if work || !needed {
			if err := os.Remove(path); err != nil {
				o.log.Warn("removing an old spool", "err", err)
			}
			continue
		}
		if st, err := e.Info(); err == nil && st.Size() > end {
			if err := os.Truncate(path, end); err != nil {
				o.log.Warn("cutting a spool", "err", err)
			}
		}
	}
	return nil
}
