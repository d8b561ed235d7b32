package crm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"tanba/crypto/cert"
)

// What the agent says of a result, as far as this CRM reads it.
type metadata struct {
	Type         string    `json:"type"`
	Origin       string    `json:"origin"`
	Job          string    `json:"job"`
	Document     string    `json:"document"`
	Documents    []string  `json:"documents"`
	Name         string    `json:"name"`
	Format       string    `json:"format"`
	Level        string    `json:"level"`
	Attached     bool      `json:"attached"`
	SHA256       string    `json:"sha256"`
	SignedSHA256 string    `json:"signedSha256"`
	SignedName   string    `json:"signedName"`
	MediaType    string    `json:"mediaType"`
	SigningTime  time.Time `json:"signingTime"`
	Device       device    `json:"device"`
	Certificate  struct {
		SHA256 string `json:"sha256"`
		PEM    string `json:"pem"`
	} `json:"certificate"`
	Reason string    `json:"reason"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

type device struct {
	Name  string `json:"name"`
	OS    string `json:"os"`
	Arch  string `json:"arch"`
	Agent string `json:"agent"`
}

func (d device) String() string {
	return clip(d.Name, 80) + " (" + clip(d.OS, 20) + "/" + clip(d.Arch, 20) + ", Tanba " + clip(d.Agent, 40) + ")"
}

// clip bounds what comes from outside and is kept for show.
func clip(t string, n int) string {
	r := []rune(strings.ToValidUTF8(t, "?"))
	return string(r[:min(len(r), n)])
}

// reasons words the agent's reason codes.
var reasons = map[string]string{
	"wrong_document": "wrong document", "wrong_terms": "does not agree with the terms",
	"not_authorised": "not authorised to sign", "other": "another reason",
}

func (s *Server) readMetadata(p *posted, raw []byte) (*metadata, error) {
	var m metadata
	if len(raw) > maxMetadata {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the metadata is larger than %d bytes", maxMetadata)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "malformed metadata")
	}
	if m.Job != p.job.ID || m.Origin != s.cfg.Origin {
		return nil, refuse(http.StatusUnprocessableEntity, "the metadata speaks of another job or site")
	}
	return &m, nil
}

// parts reads the two parts of a signed result.
func parts(body []byte, boundary string) (meta, file []byte, err error) {
	mr := multipart.NewReader(bytes.NewReader(body), boundary)
	found := map[string][]byte{}
	for range 3 {
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, refuse(http.StatusBadRequest, "malformed multipart body")
		}
		data, err := io.ReadAll(part) // at most body
		if err != nil {
			return nil, nil, refuse(http.StatusBadRequest, "malformed multipart body")
		}
		if _, twice := found[part.FormName()]; twice {
			return nil, nil, refuse(http.StatusBadRequest, "a part comes twice")
		}
		found[part.FormName()] = data
	}
	if len(found) != 2 || found["metadata"] == nil || found["file"] == nil {
		return nil, nil, refuse(http.StatusBadRequest, "want the two parts metadata and file")
	}
	return found["metadata"], found["file"], nil
}

// takeSigned takes one signed document. Its status changes only after the file
// has been verified against what was sent.
func (s *Server) takeSigned(ctx context.Context, p *posted, boundary string) error {
	rawMeta, file, err := parts(p.body, boundary)
	if err != nil {
		return err
	}
	payload := hexDigest(file)
	done := false
	err = s.store.db.View(func(tx *bbolt.Tx) error {
		done, err = before(tx, p.key, payload)
		return err
	})
	if err != nil || done {
		return err
	}
	m, err := s.readMetadata(p, rawMeta)
	if err != nil {
		return err
	}
	sig, err := s.verified(ctx, p, m, file)
	if err != nil {
		var no *refusal
		if errors.As(err, &no) {
			s.noteRefused(p, m, no.reason)
		}
		return err
	}
	return s.commit(p, m, sig, payload)
}

// verified checks the file, keeps it, and returns the signature to record.
func (s *Server) verified(ctx context.Context, p *posted, m *metadata, file []byte) (*Signature, error) {
	item := p.job.item(m.Document)
	switch {
	case m.Type != "signed" || m.Document != p.tail || item == nil:
		return nil, refuse(http.StatusUnprocessableEntity, "no such document in this job")
	case m.SHA256 != item.Base.SHA256:
		return nil, refuse(http.StatusUnprocessableEntity, "another document than the one sent was signed")
	case m.SignedSHA256 != hexDigest(file):
		return nil, refuse(http.StatusUnprocessableEntity, "the file is not the one that the metadata speaks of")
	}
	deal, err := read[Deal](s.store, bucketDeals, p.job.Deal)
	if err != nil {
		return nil, err
	}
	doc := deal.Document(m.Document)
	if doc == nil || m.Format != doc.Format || m.Attached {
		return nil, refuse(http.StatusUnprocessableEntity, "signed in another format than asked")
	}
	original, err := s.files.Get(item.Base)
	if err != nil {
		return nil, err
	}
	signer, at, err := s.verify(ctx, original, file, doc.Format)
	if err != nil {
		return nil, err
	}
	person, err := read[Person](s.store, bucketPeople, p.job.Person)
	if err != nil {
		return nil, err
	}
	stated, err := cert.ParsePEM([]byte(m.Certificate.PEM))
	switch {
	case err != nil || len(stated) != 1 || stated[0].Fingerprint() != signer.Fingerprint() || m.Certificate.SHA256 != signer.Fingerprint():
		return nil, refuse(http.StatusUnprocessableEntity, "the signer is not the certificate that the metadata names")
	case p.job.Party == Ours && len(deal.Roles) > 0 && !slices.Contains(deal.Roles, signer.Profile.Role):
		return nil, refuse(http.StatusUnprocessableEntity, "the signer's certificate does not have the role that this deal needs")
	case person.IIN != "" && signer.Profile.IIN != person.IIN:
		return nil, refuse(http.StatusUnprocessableEntity, "signed by another person than asked")
	}
	blob, err := s.files.Put(file)
	if err != nil {
		return nil, err
	}
	return &Signature{
		Party: p.job.Party, Person: p.job.Person, File: blob, Name: signedName(doc, p.job.Party), MediaType: signedType(doc),
		At: at, Level: clip(m.Level, 10), Signer: signerOf(signer),
	}, nil
}

func signedName(d *Document, p Party) string {
	switch {
	case d.Format == formatPAdES && p == Theirs:
		return strings.TrimSuffix(d.Name, ".pdf") + "-signed-by-both.pdf"
	case d.Format == formatPAdES:
		return strings.TrimSuffix(d.Name, ".pdf") + "-signed.pdf"
	}
	return d.Name + "." + string(p) + ".p7s"
}

func signedType(d *Document) string {
	if d.Format == formatPAdES {
		return "application/pdf"
	}
	return "application/pkcs7-signature"
}

func signerOf(c *cert.Certificate) Signer {
	return Signer{
		Name: c.Profile.Name, Organization: c.Profile.Organization, Title: c.Profile.Title, Role: c.Profile.Role,
		IIN: c.Profile.IIN, BIN: c.Profile.BIN, Serial: c.Serial(), Issuer: c.X509.Issuer.CommonName,
		NotAfter: c.X509.NotAfter, Fingerprint: c.Fingerprint(), PEM: c.PEM(),
	}
}

// commit records the signature, the history and the idempotency key in one
// transaction, so that a result that comes twice at once counts once.
func (s *Server) commit(p *posted, m *metadata, sig *Signature, payload string) error {
	err := s.store.db.Update(func(tx *bbolt.Tx) error {
		if done, err := before(tx, p.key, payload); err != nil || done {
			return err
		}
		job, deal, person, err := jobAndDeal(tx, p.job.ID)
		if err != nil {
			return err
		}
		item, doc := job.item(m.Document), deal.Document(m.Document)
		if doc.By(job.Party) != nil || doc.Current() != item.Base {
			return refuse(http.StatusUnprocessableEntity, "the document has been signed meanwhile")
		}
		item.Done = true
		doc.Signatures = append(doc.Signatures, *sig)
		doc.set(job.Party, Signed)
		err = note(tx, deal.ID, Entry{
			At: s.cfg.Now(), What: "signed", Who: person.Name, Document: doc.Name, Device: m.Device.String(),
			SHA256: sig.File.SHA256, Signer: &sig.Signer,
		})
		return errors.Join(err, put(tx, bucketJobs, job.ID, job), put(tx, bucketDeals, deal.ID, deal),
			put(tx, bucketTaken, p.key, taken{payload, s.cfg.Now()}))
	})
	if err == nil {
		s.live.tell(p.job.Deal)
	}
	return err
}

func jobAndDeal(tx *bbolt.Tx, id string) (signing, Deal, Person, error) {
	job, err := get[signing](tx, bucketJobs, id)
	if err != nil {
		return job, Deal{}, Person{}, err
	}
	deal, err := get[Deal](tx, bucketDeals, job.Deal)
	if err != nil {
		return job, deal, Person{}, err
	}
	person, err := get[Person](tx, bucketPeople, job.Person)
	return job, deal, person, err
}

// takeEvent takes "opened" and "rejected".
func (s *Server) takeEvent(p *posted) error {
	m, err := s.readMetadata(p, p.body)
	if err != nil {
		return err
	}
	if m.Type != p.event() || len(m.Documents) == 0 {
		return refuse(http.StatusUnprocessableEntity, "the event is not what its key says")
	}
	for _, id := range m.Documents {
		if p.job.item(id) == nil {
			return refuse(http.StatusUnprocessableEntity, "no such document in this job")
		}
	}
	payload := hexDigest(p.body)
	err = s.store.db.Update(func(tx *bbolt.Tx) error {
		if done, err := before(tx, p.key, payload); err != nil || done {
			return err
		}
		job, deal, person, err := jobAndDeal(tx, p.job.ID)
		if err != nil {
			return err
		}
		entry := Entry{At: s.cfg.Now(), What: m.Type, Who: person.Name, Device: m.Device.String()}
		var docs []*Document
		for _, id := range m.Documents {
			doc, item := deal.Document(id), job.item(id)
			docs = append(docs, doc)
			switch {
			case m.Type == "opened":
				doc.advance(job.Party, Opened)
			case doc.Of(job.Party) != Signed:
				doc.set(job.Party, Rejected)
				item.Done = true
			}
		}
		entry.Document = names(docs)
		if m.Type == "rejected" {
			entry.Note = reasons[m.Reason]
			if t := clip(m.Text, 500); t != "" {
				entry.Note = strings.TrimPrefix(entry.Note+": “"+t+"”", ": ")
			}
		}
		return errors.Join(note(tx, deal.ID, entry), put(tx, bucketJobs, job.ID, job), put(tx, bucketDeals, deal.ID, deal),
			put(tx, bucketTaken, p.key, taken{payload, s.cfg.Now()}))
	})
	if err == nil {
		s.live.tell(p.job.Deal)
	}
	return err
}

// noteRefused tells the people of the CRM that a file came which is not taken.
func (s *Server) noteRefused(p *posted, m *metadata, why string) {
	err := s.store.db.Update(func(tx *bbolt.Tx) error {
		_, deal, person, err := jobAndDeal(tx, p.job.ID)
		if err != nil {
			return err
		}
		e := Entry{At: s.cfg.Now(), What: "refused", Who: person.Name, Device: m.Device.String(), Note: why}
		if d := deal.Document(m.Document); d != nil {
			e.Document = d.Name
		}
		return note(tx, deal.ID, e)
	})
	if err != nil {
		s.cfg.Log.Error("refusal not noted", "job", p.job.ID, "err", err)
		return
	}
	s.live.tell(p.job.Deal)
}
