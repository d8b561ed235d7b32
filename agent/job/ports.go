package job

import (
	"context"
	"io"
	"time"

	"tanba/crypto/sigalg"
	"tanba/tokens"
)

// A Preparer fixes the bytes of every document: it copies them into work,
// checks digest, size and whether the document can be signed as asked. It
// returns an *Error naming the document for the first one that cannot.
type Preparer interface {
	Prepare(ctx context.Context, req Request, work *Spool) (*Prepared, error)
}

// A Fetcher reads a document's URL under the rules for targets: the origin's
// own or listed by policy, bounded by max bytes. Its errors are *Error.
type Fetcher interface {
	Fetch(ctx context.Context, origin, url string, bearer Secret, max int64) (io.ReadCloser, error)
}

// An Approver asks the signer. It returns when the signer has answered, or an
// *Error with CodeClosed, CodeTimeout, CodeCancelled or CodeNoBrowser.
type Approver interface {
	Approve(ctx context.Context, ask *Ask) (Answer, error)
}

// An Answer is what the signer decided. A document in neither list is left.
type Answer struct {
	// Approved lists what the signer saw and approved. Ask.Unlock must have
	// succeeded before.
	Approved []Seen
	// Rejected lists document IDs, with one reason for all.
	Rejected []string
	Reason   Reason
	// Text is the signer's own words, at most 500 characters.
	Text string
	// Later is true when the signer put the job off: nothing goes to the CRM.
	Later bool
}

// Seen is one document as it was shown.
type Seen struct {
	Document string
	SHA256   [32]byte
}

// An Assembler turns an approved document into a pending signature. It is used
// from several goroutines, each with a document of its own.
type Assembler interface {
	// Begin computes what the token must sign for d with id and alg at the
	// signing time at (UTC, whole seconds).
	Begin(ctx context.Context, d *PreparedDocument, id tokens.Identity, alg sigalg.Algorithm, at time.Time) (Pending, error)
}

// Pending is a signature that lacks only the token's octets.
type Pending interface {
	// Digest is what the token signs, of alg's digest length.
	Digest() []byte
	// Finish puts sig in, writes the signed file to out and verifies what it
	// wrote by reading it back. An invalid result is an *Error with CodeVerify.
	Finish(ctx context.Context, sig []byte, out *Spool) (*Signed, error)
}

// Tokens is every token of this computer.
type Tokens interface {
	List(ctx context.Context) ([]tokens.Token, error)
	Open(ctx context.Context, identityID string) (tokens.Session, error)
	// Changes returns a channel that gets a value, without blocking the
	// sender, after tokens came or went, and a function that ends it.
	Changes() (<-chan struct{}, func())
}

// An Outbox keeps results until the CRM has them. It is the only part that
// touches the network after signing.
type Outbox interface {
	// Find returns the receipt of the documents of a job that are already
	// signed or rejected, and the SHA-256 of each original by document ID;
	// ok is false when the job is unknown.
	Find(origin, job string) (r Receipt, originals map[string][32]byte, ok bool, err error)
	// Begin opens a batch. It returns an *Error with CodeTarget when results
	// may not go to req.Delivery.URL, so that the signer is not asked in vain.
	Begin(ctx context.Context, req Request) (Batch, error)
	// Redeliver gives a job a fresh bearer and tries its parked items at once.
	Redeliver(ctx context.Context, origin, job string, d Delivery) error
	// Await waits until every item of the job is delivered, parked or dead, or
	// until ctx ends, and returns where they stand.
	Await(ctx context.Context, origin, job string) (Receipt, error)
}

// A Batch is the outbox's part of one running job.
type Batch interface {
	// Reserve makes room for need bytes of signed files, before anything is
	// signed. It returns an *Error with CodeDisk when there is none.
	Reserve(ctx context.Context, need int64) error
	// Work is the file for private copies; it is gone after Close.
	Work() *Spool
	// Out is the file for signed documents.
	Out() *Spool
	// Commit makes the signed documents durable (fsync) and hands them to
	// delivery.
	Commit(ctx context.Context, signed []*Signed) error
	// Opened tells the CRM that the prompt for p is before the signer.
	Opened(ctx context.Context, p *Prepared) error
	// Reject hands the rejection of documents to delivery, durably.
	Reject(ctx context.Context, p *Prepared, documents []string, reason Reason, text string, at time.Time) error
	// Close ends the batch. What was committed stays until delivered.
	Close() error
}
