package delivery

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"tanba/agent/job"
)

// An Item is one event in the outbox that the CRM does not have yet.
type Item struct {
	// ID names it for Retry, Drop and Save; it is never used again.
	ID     string `json:"id"`
	Kind   Kind   `json:"kind"`
	Origin string `json:"origin"`
	Job    string `json:"job"`
	// Documents are the page's IDs: one for signed, all that it concerns else.
	Documents []string `json:"documents"`
	// Name and Size (bytes) are the signed file's.
	Name    string    `json:"name,omitempty"`
	Size    int64     `json:"size,omitempty"`
	State   job.State `json:"state"` // Delivering, Parked or Dead
	Code    job.Code  `json:"code,omitempty"`
	Trouble Trouble   `json:"trouble,omitempty"`
	// Status is the CRM's last HTTP status, zero if it gave none.
	Status int `json:"status,omitempty"`
	// Attempts counts the failed attempts of the schedule.
	Attempts int       `json:"attempts"`
	Created  time.Time `json:"created"`
	// Next is when it is tried again, zero for Parked and Dead.
	Next time.Time `json:"next,omitzero"`
}

// Counts are the results, without opened, that the CRM does not have yet.
type Counts struct {
	Delivering int `json:"delivering"`
	Parked     int `json:"parked"`
	Dead       int `json:"dead"`
}

// List returns everything that the CRM does not have yet, oldest first.
func (o *Outbox) List(context.Context) []Item {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Item, 0, len(o.items))
	for _, it := range o.order {
		if o.items[it.seq] == nil || it.st.done() {
			continue
		}
		i := Item{
			ID: strconv.FormatUint(it.seq, 10), Kind: it.rec.Kind, Origin: it.job.origin, Job: it.job.id, Documents: it.rec.Documents,
			Name: it.rec.Name, Size: it.rec.Size, State: it.st.State, Code: it.st.Code, Trouble: it.st.Trouble,
			Status: it.st.Status, Attempts: it.st.Attempts, Created: it.rec.Created,
		}
		if it.st.State == job.Delivering {
			i.Next = it.st.Next
		}
		list = append(list, i)
	}
	return list
}

// Counts returns how many results wait, for the tray.
func (o *Outbox) Counts() Counts {
	o.mu.Lock()
	defer o.mu.Unlock()
	var c Counts
	for _, it := range o.items {
		if it.rec.Kind == KindOpened || it.st.done() {
			continue
		}
		switch it.st.State {
		case job.Delivering:
			c.Delivering++
		case job.Parked:
			c.Parked++
		case job.Dead:
			c.Dead++
		}
	}
	return c
}

// Changes returns a channel that gets a value, without blocking the sender,
// after something changed, and a function that ends it.
func (o *Outbox) Changes() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	o.mu.Lock()
	o.watch[c] = struct{}{}
	o.mu.Unlock()
	return c, func() {
		o.mu.Lock()
		delete(o.watch, c)
		o.mu.Unlock()
	}
}

// find returns the item with an ID that is not done. o.mu is held.
func (o *Outbox) find(id string) (*item, error) {
	seq, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, ErrUnknownItem
	}
	it := o.items[seq]
	if it == nil || it.st.done() {
		return nil, ErrUnknownItem
	}
	return it, nil
}

// Retry starts an item's schedule anew, at once: the signer asked for it.
func (o *Outbox) Retry(ctx context.Context, id string) error {
	o.mu.Lock()
	it, err := o.find(id)
	if err != nil {
		o.mu.Unlock()
		return err
	}
	it.st, it.soon = firstState(o.cfg.Now().UTC()), false
	o.target(it.job.target).failing = false
	o.save(it)
	o.notify()
	poke(o.wake)
	o.mu.Unlock()
	return o.flush(ctx)
}

// Drop gives an item up and deletes its signed file. The job's receipt says
// Dead from then on, and the job is not signed again. A delivery that runs is
// not called back.
func (o *Outbox) Drop(ctx context.Context, id string) error {
	o.mu.Lock()
	it, err := o.find(id)
	if err != nil {
		o.mu.Unlock()
		return err
	}
	if it.st.State != job.Dead {
		it.st.State, it.st.Code = job.Dead, job.CodeCancelled
	}
	it.st.Dropped, it.st.At = true, o.cfg.Now().UTC()
	it.job.expectOpened()
	o.save(it)
	o.notify()
	poke(o.wake)
	o.mu.Unlock()
	return o.flush(ctx)
}

// Save writes an item's signed file to path and returns where it went. In a
// folder it gets its own name, made harmless. An existing file is never
// overwritten (fs.ErrExist). The item stays in the outbox.
func (o *Outbox) Save(_ context.Context, id, path string) (saved string, err error) {
	o.mu.Lock()
	it, err := o.find(id)
	o.mu.Unlock()
	if err != nil {
		return "", err
	}
	if it.rec.Kind != KindSigned {
		return "", ErrUnknownItem
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, safeName(it.rec.Name))
	}
	spool, err := os.Open(filepath.Join(o.cfg.Dir, it.rec.Spool))
	if err != nil {
		return "", err
	}
	defer spool.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(path)
			saved = ""
		}
	}()
	if err := copyChecked(io.Writer(f), spool, it.rec); err != nil {
		return "", err
	}
	return path, f.Sync()
}
