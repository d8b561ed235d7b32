package crm

import "time"

// A Person can log in.
type Person struct {
	// ID is the name in addresses: "director".
	ID string `json:"id"`
	// Name, Title and Company are shown.
	Name    string `json:"name"`
	Title   string `json:"title"`
	Company string `json:"company"`
	Party   Party  `json:"party"`
	// IIN is what the person's certificate must say; empty asks nothing.
	IIN string `json:"iin"`
	// Key is the agent's key that was pinned when this person enrolled.
	Key []byte `json:"key,omitempty"`
}

// A Party is one side of a deal.
type Party string

// The parties. Ours signs first.
const (
	Ours   Party = "ours"
	Theirs Party = "theirs"
)

// Way is how a document reaches the agent. A real CRM chooses one; the demo
// lives all three.
type Way string

// The ways.
const (
	ByURL    Way = "url"    // the agent fetches it with a one-time bearer
	Inline   Way = "inline" // in the page's request, base64
	ByChunks Way = "chunks" // the page sends it in binary frames
)

// The formats of signatures, as the agent's protocol has them.
const (
	formatPAdES = "pades"
	formatCAdES = "cades"
)

// A Status is where a document or deal stands.
type Status string

// The statuses in their order. A deal has the earliest of its documents,
// except that a rejection shows at once.
const (
	Unsent   Status = "new"
	Sent     Status = "sent"
	Opened   Status = "opened"
	Signed   Status = "signed"
	Both     Status = "both"
	Rejected Status = "rejected"
)

// A Deal is one deal with its documents.
type Deal struct {
	ID           string      `json:"id"`
	Number       string      `json:"number"`
	Title        string      `json:"title"`
	Counterparty string      `json:"counterparty"`
	Amount       string      `json:"amount"`
	About        string      `json:"about"`
	Way          Way         `json:"way"`
	Documents    []*Document `json:"documents"`
	// Roles are the certificate roles that may sign for our side.
	Roles []string `json:"roles,omitempty"`
}

// A Document is one document of a deal.
type Document struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	MediaType string `json:"mediaType"`
	Format    string `json:"format"`
	Original  Blob   `json:"original"`
	// Ours and Theirs tell how far each party is: Unsent to Signed, or Rejected.
	Ours   Status `json:"ours"`
	Theirs Status `json:"theirs"`
	// Signatures are those accepted, in the order in which they came.
	Signatures []Signature `json:"signatures,omitempty"`
}

// A Blob names a file of the store by its digest.
type Blob struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`
}

// A Signature is one that was accepted.
type Signature struct {
	Party  Party  `json:"party"`
	Person string `json:"person"`
	// File is the signed PDF, or the CMS beside the original; Name its name.
	File      Blob      `json:"file"`
	Name      string    `json:"name"`
	MediaType string    `json:"mediaType"`
	At        time.Time `json:"at"`
	Level     string    `json:"level"`
	Signer    Signer    `json:"signer"`
}

// A Signer is what the verified certificate says.
type Signer struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization,omitempty"`
	Title        string    `json:"title,omitempty"`
	Role         string    `json:"role,omitempty"`
	IIN          string    `json:"iin,omitempty"`
	BIN          string    `json:"bin,omitempty"`
	Serial       string    `json:"serial"`
	Issuer       string    `json:"issuer"`
	NotAfter     time.Time `json:"notAfter"`
	Fingerprint  string    `json:"fingerprint"`
	PEM          string    `json:"pem"`
}

// An Entry is one line of a deal's history.
type Entry struct {
	At       time.Time `json:"at"`
	What     string    `json:"what"` // sent, opened, signed, rejected, refused
	Who      string    `json:"who"`
	Document string    `json:"document,omitempty"`
	// Device is where it happened, as the agent told it.
	Device string `json:"device,omitempty"`
	// SHA256 is the signed file's.
	SHA256 string  `json:"sha256,omitempty"`
	Signer *Signer `json:"signer,omitempty"`
	// Note is the reason and the words of a rejection, or why a delivery was
	// refused.
	Note string `json:"note,omitempty"`
}

// Status is the document's as a whole.
func (d *Document) Status() Status {
	switch {
	case d.Ours == Rejected || d.Theirs == Rejected:
		return Rejected
	case d.Ours == Signed && d.Theirs == Signed:
		return Both
	}
	return d.Ours
}

// Of returns how far a party is.
func (d *Document) Of(p Party) Status {
	if p == Theirs {
		return d.Theirs
	}
	return d.Ours
}

func (d *Document) set(p Party, s Status) {
	if p == Theirs {
		d.Theirs = s
	} else {
		d.Ours = s
	}
}

// advance moves a party forward; signed and rejected are ends.
func (d *Document) advance(p Party, s Status) {
	if now := d.Of(p); now != Rejected && rank[now] < rank[s] {
		d.set(p, s)
	}
}

var rank = map[Status]int{Unsent: 0, Sent: 1, Opened: 2, Signed: 3, Both: 4}

// Current is what the next party signs: the PDF with the signatures it
// carries; for a CMS always the original.
func (d *Document) Current() Blob {
	if d.Format == formatPAdES && len(d.Signatures) > 0 {
		return d.Signatures[len(d.Signatures)-1].File
	}
	return d.Original
}

// By returns a party's signature, nil if there is none.
func (d *Document) By(p Party) *Signature {
	for i := range d.Signatures {
		if d.Signatures[i].Party == p {
			return &d.Signatures[i]
		}
	}
	return nil
}

// Status is the deal's as a whole.
func (d *Deal) Status() Status {
	least := Both
	for _, doc := range d.Documents {
		s := doc.Status()
		if s == Rejected {
			return Rejected
		}
		if rank[s] < rank[least] {
			least = s
		}
	}
	return least
}

// SignedBy counts the documents that a party has signed.
func (d *Deal) SignedBy(p Party) int {
	n := 0
	for _, doc := range d.Documents {
		if doc.Of(p) == Signed {
			n++
		}
	}
	return n
}

// Document finds a document, nil if there is none.
func (d *Deal) Document(id string) *Document {
	for _, doc := range d.Documents {
		if doc.ID == id {
			return doc
		}
	}
	return nil
}

// waiting lists the documents that a party can sign now: those it has not
// signed, and for the second party only those that the first has.
func (d *Deal) waiting(p Party) []*Document {
	var out []*Document
	for _, doc := range d.Documents {
		if doc.Of(p) != Signed && (p == Ours || doc.Ours == Signed) {
			out = append(out, doc)
		}
	}
	return out
}
