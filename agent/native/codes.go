package native

import (
	"errors"
	"fmt"

	"tanba/agent/job"
)

// The codes of the protocol itself; those of package job come on top.
const (
	codeParse     job.Code = "parse_error"
	codeMethod    job.Code = "unknown_method"
	codeParams    job.Code = "invalid_params"
	codeBase64    job.Code = "malformed_base64"
	codeStream    job.Code = "unknown_stream"
	codeDuplicate job.Code = "duplicate_id"
)

// Texts is the fixed English sentence that goes with each code. The table in
// agent/PROTOCOL.md has the same sentences: a test compares them.
var Texts = map[job.Code]string{
	codeParse:     "The message is not JSON as the protocol wants it.",
	codeMethod:    "There is no such method.",
	codeParams:    "A parameter is missing, unknown or of the wrong kind.",
	codeBase64:    "A document's inline content is not base64.",
	codeStream:    "A document's stream is unknown, used already or not complete.",
	codeDuplicate: "A request with this id is still being answered.",

	job.CodeInvalid:         "The request is not one that the protocol has.",
	job.CodeTooLarge:        "A document, or all of them together, is larger than this computer accepts.",
	job.CodeTooMany:         "The job has more documents than this computer accepts.",
	job.CodeDigestMismatch:  "The document's SHA-256 is not the one that the page announced.",
	job.CodeNotPDF:          "The document is not a PDF.",
	job.CodeBrokenPDF:       "The PDF is damaged.",
	job.CodeEncryptedPDF:    "The PDF is encrypted.",
	job.CodePDFForbids:      "The PDF is certified and forbids further signatures.",
	job.CodeFetch:           "The document's address did not give the document.",
	job.CodeTarget:          "The address is not one that this site may use.",
	job.CodeUnknownFilter:   "The certificate filter has a key or value that is not known.",
	job.CodeNoToken:         "No token or key file is present.",
	job.CodeNoCertificate:   "No token that is present holds a certificate with its key.",
	job.CodePINLocked:       "The token's PIN is locked.",
	job.CodeTokenRemoved:    "The token was removed while it was signing.",
	job.CodeTokenFailed:     "The token or its driver failed.",
	job.CodeVerify:          "The signature that was made did not verify and was discarded.",
	job.CodeRejected:        "The signer rejected the document.",
	job.CodeLater:           "The signer put the document off.",
	job.CodeCancelled:       "The page cancelled the job.",
	job.CodeClosed:          "The signer closed the prompt without an answer.",
	job.CodeTimeout:         "The signer did not answer in time.",
	job.CodeNoBrowser:       "The prompt could not be opened on this computer.",
	job.CodeBusy:            "Too much is waiting on this computer already.",
	job.CodeRunning:         "The job is still running.",
	job.CodeReused:          "The job's identifier was used before with other documents.",
	job.CodeUnknownJob:      "No such job is known for this site.",
	job.CodeDisk:            "There is not enough room on this computer's disk; nothing was signed.",
	job.CodeUnauthorized:    "The CRM did not accept the bearer.",
	job.CodeRefusedByCRM:    "The CRM refused the result for good.",
	job.CodeUnreachableCRM:  "The CRM could not be reached.",
	job.CodeSiteNotAllowed:  "The signer has not allowed this site.",
	job.CodeAccessRefused:   "The signer did not allow this site.",
	job.CodeTooManyRequests: "This site has asked too often.",
	job.CodeInternal:        "Something went wrong inside the agent.",
}

// number is JSON-RPC's number for a code.
func number(c job.Code) int {
	switch c {
	case codeParse:
		return -32700
	case job.CodeInvalid:
		return -32600
	case codeMethod:
		return -32601
	case codeParams:
		return -32602
	case job.CodeInternal:
		return -32603
	}
	return -32000
}

// A problem is an error as a page gets it.
type problem struct {
	Code     job.Code
	Document string
	// At is where in the params the fault is, made of the protocol's own keys
	// and numbers alone: "documents[3].content".
	At string
}

func (p *problem) Error() string { return fmt.Sprintf("%s %s %s", p.Code, p.Document, p.At) }

func fail(c job.Code) *problem { return &problem{Code: c} }

// wrong is a parameter that is not as it must be.
func wrong(at string) *problem { return &problem{Code: codeParams, At: at} }

// asProblem turns any error into what the page gets.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*job.Error](err); ok {
		if _, known := Texts[e.Code]; known {
			return &problem{Code: e.Code, Document: e.Document}
		}
	}
	return fail(job.CodeInternal)
}
