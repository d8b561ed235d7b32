package crm

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// A signing is one job of the agent: some documents of a deal for one person.
type signing struct {
	ID      string    `json:"id"`
	Deal    string    `json:"deal"`
	Person  string    `json:"person"`
	Party   Party     `json:"party"`
	Created time.Time `json:"created"`
	// Key is the agent's key that was pinned when the job began.
	Key       []byte         `json:"key"`
	Documents []*signingItem `json:"documents"`
	// Bearer is the digest of the bearer for results; Expires its end.
	Bearer  []byte    `json:"bearer"`
	Expires time.Time `json:"expires"`
	// Closed: the page said that nothing more will come. What comes all the
	// same is still taken.
	Closed bool `json:"closed"`
}

// A signingItem is one document of a job.
type signingItem struct {
	ID   string `json:"id"`
	Base Blob   `json:"base"` // what is to be signed
	// Bearer is the digest of the one-time bearer for fetching the document,
	// empty when it is spent or the document goes another way.
	Bearer []byte `json:"bearer,omitempty"`
	// Done: signed or rejected.
	Done bool `json:"done"`
}

func (j *signing) item(id string) *signingItem {
	for _, d := range j.Documents {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// fits says whether j can go on for these documents: the agent refuses a job
// that comes again with other ones.
func (j *signing) fits(p Person, docs []*Document) bool {
	if j.Closed || j.Person != p.ID || string(j.Key) != string(p.Key) || len(j.Documents) != len(docs) {
		return false
	}
	for i, d := range docs {
		if j.Documents[i].ID != d.ID || j.Documents[i].Base != d.Current() || j.Documents[i].Done {
			return false
		}
	}
	return true
}

// What the page gets: the parameters of the client's sign, ready to pass on.
// Content is for the two ways that are the client's own business; for chunks
// the page fetches Address and hands the bytes to the client.
type signParams struct {
	Job          string       `json:"job"`
	Title        string       `json:"title"`
	Reference    string       `json:"reference"`
	Counterparty string       `json:"counterparty"`
	Documents    []signDoc    `json:"documents"`
	Filter       signFilter   `json:"filter"`
	Delivery     signDelivery `json:"delivery"`
}

type signDoc struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Format   string      `json:"format"`
	Attached *bool       `json:"attached,omitempty"`
	SHA256   string      `json:"sha256"`
	Content  signContent `json:"content"`
}

type signContent struct {
	Inline  string `json:"inline,omitempty"`
	URL     string `json:"url,omitempty"`
	Bearer  string `json:"bearer,omitempty"`
	Address string `json:"address,omitempty"`
}

type signFilter struct {
	IIN   string   `json:"iin,omitempty"`
	Roles []string `json:"roles,omitempty"`
}

type signDelivery struct {
	URL     string `json:"url"`
	Bearer  string `json:"bearer"`
	Expires string `json:"expires"`
}

var (
	errEnrol   = errors.New("enrol the agent first")
	errNothing = errors.New("there is nothing for you to sign in this deal")
)

// startJob begins a job for the person, or goes on with the one that is open:
// the agent signs one job once, so pressing the button twice is harmless.
func (s *Server) startJob(w http.ResponseWriter, r *http.Request, p Person) {
	id := r.PathValue("deal")
	var params signParams
	err := s.store.db.Update(func(tx *bbolt.Tx) error {
		deal, err := get[Deal](tx, bucketDeals, id)
		if err != nil {
			return err
		}
		if len(p.Key) == 0 {
			return errEnrol
		}
		docs := deal.waiting(p.Party)
		if len(docs) == 0 {
			return errNothing
		}
		job, err := s.openJob(tx, deal.ID, p, docs)
		if err != nil {
			return err
		}
		fresh := job.ID == ""
		if fresh {
			job = newSigning(deal.ID, p, docs, s.cfg.Now())
		}
		if params, err = s.params(&deal, job, p, docs); err != nil {
			return err
		}
		params.Delivery = s.renew(&job)
		for _, d := range docs {
			if fresh && d.Of(p.Party) == Rejected {
				d.set(p.Party, Unsent)
			}
			d.advance(p.Party, Sent)
		}
		if fresh {
			if err := note(tx, deal.ID, Entry{At: s.cfg.Now(), What: "sent", Who: p.Name, Document: names(docs)}); err != nil {
				return err
			}
		}
		if err := put(tx, bucketJobs, job.ID, job); err != nil {
			return err
		}
		return put(tx, bucketDeals, deal.ID, deal)
	})
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, "no such deal", http.StatusNotFound)
	case errors.Is(err, errEnrol), errors.Is(err, errNothing):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		s.broken(w, err)
	default:
		s.live.tell(id)
		answer(w, params)
	}
}

// openJob finds the person's open job for exactly these documents; its ID is
// empty if there is none.
func (s *Server) openJob(tx *bbolt.Tx, deal string, p Person, docs []*Document) (found signing, err error) {
	err = jobsOf(tx, deal, func(j signing) {
		if j.fits(p, docs) {
			found = j
		}
	})
	return found, err
}

// waitingJob is the ID of the person's newest job in a deal from which results
// may still come, empty if there is none.
func (s *Server) waitingJob(deal string, p Person) (string, error) {
	var newest signing
	err := s.store.db.View(func(tx *bbolt.Tx) error {
		return jobsOf(tx, deal, func(j signing) {
			undone := slices.ContainsFunc(j.Documents, func(d *signingItem) bool { return !d.Done })
			if j.Person == p.ID && !j.Closed && undone && j.Created.After(newest.Created) {
				newest = j
			}
		})
	})
	return newest.ID, err
}

// jobsOf calls f with every job of a deal.
func jobsOf(tx *bbolt.Tx, deal string, f func(signing)) error {
	c := tx.Bucket([]byte(bucketJobs)).Cursor()
	prefix := "d" + deal + "-"
	for k, raw := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, raw = c.Next() {
		var j signing
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		f(j)
	}
	return nil
}

func newSigning(deal string, p Person, docs []*Document, now time.Time) signing {
	j := signing{ID: "d" + deal + "-" + strings.ToLower(rand.Text()[:10]), Deal: deal, Person: p.ID, Party: p.Party, Created: now, Key: p.Key}
	for _, d := range docs {
		j.Documents = append(j.Documents, &signingItem{ID: d.ID, Base: d.Current()})
	}
	return j
}

// params makes fresh bearers, keeps their digests in job, and returns what the
// page passes to the agent.
func (s *Server) params(deal *Deal, job signing, p Person, docs []*Document) (signParams, error) {
	out := signParams{
		Job: job.ID, Title: deal.Number + ": " + deal.Title, Reference: deal.Number, Counterparty: deal.Counterparty,
		Filter: signFilter{IIN: p.IIN},
	}
	if p.Party == Ours {
		out.Filter.Roles = deal.Roles
	}
	for i, d := range docs {
		base := job.Documents[i].Base
		sd := signDoc{ID: d.ID, Name: d.Name, Format: d.Format, SHA256: base.SHA256}
		if d.Format == formatCAdES {
			sd.Attached = new(bool) // a CMS beside the file
		}
		switch deal.Way {
		case Inline:
			data, err := s.files.Get(base)
			if err != nil {
				return signParams{}, err
			}
			sd.Content.Inline = base64.StdEncoding.EncodeToString(data)
		case ByChunks:
			sd.Content.Address = fmt.Sprintf("/deals/%s/documents/%s/current", deal.ID, d.ID)
		default:
			sd.Content.URL = fmt.Sprintf("%s/tanba/documents/%s/%s", s.cfg.Origin, job.ID, d.ID)
			sd.Content.Bearer, job.Documents[i].Bearer = newSecret()
		}
		out.Documents = append(out.Documents, sd)
	}
	return out, nil
}

// renew gives job a fresh bearer for results; the one before is void.
func (s *Server) renew(job *signing) signDelivery {
	secret, digest := newSecret()
	job.Bearer, job.Expires = digest, s.cfg.Now().Add(s.cfg.Bearers)
	return signDelivery{URL: s.cfg.Origin + "/tanba/results", Bearer: secret, Expires: job.Expires.UTC().Format(time.RFC3339)}
}

// ownJob changes a job of the person's own, answering 404 for another's.
func (s *Server) ownJob(w http.ResponseWriter, r *http.Request, p Person, change func(*signing)) bool {
	err := s.store.db.Update(func(tx *bbolt.Tx) error {
		job, err := get[signing](tx, bucketJobs, r.PathValue("job"))
		if err != nil {
			return err
		}
		if job.Person != p.ID {
			return errNotFound
		}
		change(&job)
		return put(tx, bucketJobs, job.ID, job)
	})
	switch {
	case errors.Is(err, errNotFound):
		http.Error(w, "no such job", http.StatusNotFound)
	case err != nil:
		s.broken(w, err)
	}
	return err == nil
}

// freshBearer is for results that the agent has parked: "send again". The
// person may have enrolled another computer since; results of this job stay
// with the key that it began with.
func (s *Server) freshBearer(w http.ResponseWriter, r *http.Request, p Person) {
	var d signDelivery
	if s.ownJob(w, r, p, func(j *signing) { d = s.renew(j) }) {
		answer(w, struct {
			Delivery signDelivery `json:"delivery"`
		}{d})
	}
}

// closeJob notes that the agent has nothing more to send for this job, so that
// the next press begins a new one for what is left.
func (s *Server) closeJob(w http.ResponseWriter, r *http.Request, p Person) {
	if s.ownJob(w, r, p, func(j *signing) { j.Closed = true }) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// agentDownload gives the agent a document, once per bearer. The bearer is
// spent when the last byte is written, so that a broken line does not lock the
// agent out.
func (s *Server) agentDownload(w http.ResponseWriter, r *http.Request) {
	jobID, docID := r.PathValue("job"), r.PathValue("doc")
	job, err := read[signing](s.store, bucketJobs, jobID)
	item := job.item(docID)
	if err != nil || item == nil || !sameSecret(item.Bearer, bearer(r)) || s.cfg.Now().After(job.Expires) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "not authorised", http.StatusUnauthorized)
		return
	}
	f, err := os.Open(s.files.Path(item.Base))
	if err != nil {
		s.broken(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(item.Base.Size, 10))
	if n, err := io.Copy(w, f); err != nil || n != item.Base.Size {
		s.cfg.Log.Warn("document not sent whole", "job", jobID, "err", err)
		return
	}
	spent := item.Bearer
	err = s.store.db.Update(func(tx *bbolt.Tx) error {
		job, err := get[signing](tx, bucketJobs, jobID)
		if err != nil {
			return err
		}
		if i := job.item(docID); i != nil && string(i.Bearer) == string(spent) {
			i.Bearer = nil
		}
		return put(tx, bucketJobs, jobID, job)
	})
	if err != nil {
		s.cfg.Log.Error("bearer not spent", "job", jobID, "err", err)
	}
}

func names(docs []*Document) string {
	if len(docs) > 3 {
		return fmt.Sprintf("%s and %d more", docs[0].Name, len(docs)-1)
	}
	var n []string
	for _, d := range docs {
		n = append(n, d.Name)
	}
	return strings.Join(n, ", ")
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
