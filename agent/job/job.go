// Package job takes one signing request from the page that asked to the CRM
// that receives the result.
//
// Five types mark the way, each made only from the one before: [Request],
// [Prepared], [Approved], [Signed], [Receipt]. The package owns the small
// interfaces that its neighbours satisfy and imports none of them. What it
// promises: nothing is signed that the signer has not seen and approved, one
// approval is for one list of digests, a signature is on disk before the
// first byte of it leaves, and a job that comes twice is signed once.
package job

import (
	"encoding/hex"
	"io"
	"time"

	"tanba/crypto/cert"
	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// A Format is the shape of the signature that a page asks for.
type Format string

// The formats.
const (
	PAdES Format = "pades" // in the PDF, ETSI EN 319 142-1
	CAdES Format = "cades" // a CMS file, ETSI EN 319 122-1
)

// A Request is what a page asked, decoded and with its origin attached. Its
// sizes and characters are checked by Run.
type Request struct {
	// ID is the page's name for the job: 1 to 64 of A–Z a–z 0–9 _ -. Together
	// with Origin it is the key under which a job is signed once.
	ID string
	// Origin is the page's exact origin, "https://crm.example.kz".
	Origin string
	// Title, Reference and Counterparty are what the site says of the job. They
	// are shown apart from what we know. Each at most 200 characters.
	Title, Reference, Counterparty string
	// Documents are 1 to Limits.Documents.
	Documents []Document
	// Filter narrows the certificates that may sign.
	Filter Filter
	// Delivery says where the results go.
	Delivery Delivery
}

// A Document is one document of a request.
type Document struct {
	// ID is the page's name for it, as Request.ID, unique in the job.
	ID string
	// Name is the file name as the page gave it. It is for display only.
	Name string
	// Format is the signature's; Attached puts the content into a CAdES file.
	Format   Format
	Attached bool
	// SHA256 is the digest that the page expects, nil if it gave none.
	SHA256 []byte
	// Content is where the bytes are.
	Content Content
}

// Content is where a document's bytes are: exactly one of Inline, Blob and
// URL is set.
type Content struct {
	Inline []byte
	// Blob is what the page sent in chunks.
	Blob *Blob
	// URL is fetched by the agent with Bearer, under the rules for targets.
	URL    string
	Bearer Secret
}

// A Filter narrows the certificates that may sign. Empty fields ask nothing.
type Filter struct {
	// IIN and BIN must be the certificate's.
	IIN, BIN string
	// Fingerprints holds lower-case hex SHA-256 fingerprints, one of which the
	// certificate must have.
	Fingerprints []string
	// Roles holds role words of cert.Profile, one of which the certificate must
	// have.
	Roles []string
}

// Delivery says where results go: one POST per document to URL.
type Delivery struct {
	URL    string
	Bearer Secret
	// Expires is when Bearer ends; zero if the page did not say.
	Expires time.Time
}

// Prepared is a request whose bytes are fixed: each document is a private
// copy, hashed once; what is shown and what is signed come from that copy. No
// token has been touched.
type Prepared struct {
	Request   Request
	Documents []*PreparedDocument
}

// A PreparedDocument is one document whose bytes are fixed.
type PreparedDocument struct {
	ID string
	// Name is the page's file name without path, control and bidirectional
	// characters, at most 200 characters.
	Name string
	// MediaType is what the bytes are, found from the bytes.
	MediaType string
	Format    Format
	Attached  bool
	// Size is in bytes.
	Size   int64
	SHA256 [32]byte
	// Content is the private copy.
	Content io.ReaderAt
	// Signatures is the number of signatures the document carries already.
	Signatures int
	// Parsed is the preparer's own, for the assembler.
	Parsed any
}

// Digest returns the SHA-256 in lower-case hex.
func (d *PreparedDocument) Digest() string { return hex.EncodeToString(d.SHA256[:]) }

// Approved is what the signer approved: these digests, with this identity,
// unlocked. Only an approval inside Run makes it, so that code outside the
// package cannot sign what the signer has not seen.
type Approved struct {
	prepared  *Prepared
	documents []*PreparedDocument
	identity  tokens.Identity
	algorithm sigalg.Algorithm
	session   tokens.Session
	at        time.Time
	expires   time.Time
}

// Signed is one document with its signature made, assembled and verified, in
// the outbox's file but not yet committed.
type Signed struct {
	Document *PreparedDocument
	// File is the signed file: the PDF, or the CMS.
	File *Blob
	// SHA256 is the signed file's.
	SHA256 [32]byte
	// Name is the signed file's name, MediaType its type.
	Name, MediaType string
	// At is the signing time that the signature states.
	At          time.Time
	Certificate *cert.Certificate
	Level       string // "B-B"
}

// A State is where one document of a job stands.
type State string

// The states of a document.
const (
	Delivered  State = "delivered"  // the CRM has it
	Delivering State = "delivering" // signed, in the outbox, we go on trying
	Parked     State = "parked"     // signed; the CRM wants a fresh bearer: deliver
	Dead       State = "dead"       // signed; the CRM refused it for good, the signer can save it
	Rejected   State = "rejected"   // the signer rejected it
	Left       State = "left"       // neither signed nor rejected
	Failed     State = "failed"     // could not be signed: see Code
)

// A Receipt tells how each document of a job ended.
type Receipt struct {
	Job       string
	Documents []DocumentReceipt
}

// A DocumentReceipt tells how one document ended.
type DocumentReceipt struct {
	ID    string
	State State
	// Code says why, for Failed, Parked and Dead.
	Code Code
	// SHA256 is the signed file's digest in lower-case hex, empty if unsigned.
	SHA256 string
	// Fingerprint is the signing certificate's, empty if unsigned.
	Fingerprint string
	// Reason and Text are the signer's, for Rejected.
	Reason Reason
	Text   string
}

// A Reason is why a signer rejects. The CRM gets the word; agent/text has its
// wording.
type Reason string

// The reasons a signer can choose from.
const (
	ReasonWrongDocument Reason = "wrong_document"
	ReasonWrongTerms    Reason = "wrong_terms"
	ReasonNotAuthorised Reason = "not_authorised"
	ReasonOther         Reason = "other"
)

// Reasons lists all reasons in the order in which they are shown.
var Reasons = []Reason{ReasonWrongDocument, ReasonWrongTerms, ReasonNotAuthorised, ReasonOther}

// A Step is what a job is doing.
type Step string

// The steps, in their order.
const (
	StepPreparing  Step = "preparing"
	StepOpened     Step = "opened" // the prompt is before the signer
	StepSigning    Step = "signing"
	StepDelivering Step = "delivering"
	StepDone       Step = "done"
)

// Progress tells how far a job is.
type Progress struct {
	Job  string
	Step Step
	// Done of Total documents are through this step.
	Done, Total int
}
