package job

import "fmt"

// A Code is the stable word for why a request or document failed. Pages get
// it; agent/PROTOCOL.md has the meaning and remedy of each, agent/text the
// words for a person.
type Code string

// The codes.
const (
	CodeInvalid         Code = "invalid_request"
	CodeTooLarge        Code = "too_large"
	CodeTooMany         Code = "too_many_documents"
	CodeDigestMismatch  Code = "digest_mismatch"
	CodeNotPDF          Code = "not_pdf"
	CodeBrokenPDF       Code = "broken_pdf"
	CodeEncryptedPDF    Code = "encrypted_pdf"
	CodePDFForbids      Code = "pdf_forbids_signing" // DocMDP P=1
	CodeFetch           Code = "document_unreachable"
	CodeTarget          Code = "target_not_allowed"
	CodeUnknownFilter   Code = "unknown_filter"
	CodeNoToken         Code = "no_token"
	CodeNoCertificate   Code = "no_certificate"
	CodePINLocked       Code = "pin_locked"
	CodeTokenRemoved    Code = "token_removed"
	CodeTokenFailed     Code = "token_failed"
	CodeVerify          Code = "own_signature_invalid"
	CodeRejected        Code = "rejected"
	CodeLater           Code = "later"
	CodeCancelled       Code = "cancelled"
	CodeClosed          Code = "prompt_closed"
	CodeTimeout         Code = "timed_out"
	CodeNoBrowser       Code = "cannot_open_prompt"
	CodeBusy            Code = "busy"
	CodeRunning         Code = "job_running"
	CodeReused          Code = "job_reused" // same job id, other documents
	CodeUnknownJob      Code = "unknown_job"
	CodeDisk            Code = "disk_full"
	CodeUnauthorized    Code = "delivery_unauthorized" // 401 or 403 from the CRM
	CodeRefusedByCRM    Code = "delivery_refused"
	CodeUnreachableCRM  Code = "delivery_unreachable"
	CodeSiteNotAllowed  Code = "site_not_allowed"
	CodeAccessRefused   Code = "access_refused"
	CodeTooManyRequests Code = "too_many_requests"
	CodeInternal        Code = "internal"
)

// An Error is a failure with the code that a page gets.
type Error struct {
	Code Code
	// Document is the ID of the document that failed, empty for the job.
	Document string
	// Err is the cause, for the log. It holds no personal data.
	Err error
}

// Fail returns an *Error.
func Fail(code Code, document string, err error) *Error {
	return &Error{Code: code, Document: document, Err: err}
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Document != "" {
		s += " (document " + e.Document + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Secret is a credential of the page, such as a bearer. It cannot print
// itself.
type Secret struct{ s *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the credential, empty for the zero Secret.
func (s Secret) Reveal() string {
	if s.s == nil {
		return ""
	}
	return *s.s
}

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }
