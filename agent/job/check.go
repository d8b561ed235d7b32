package job

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"tanba/agent/policy"
)

// The bounds of a request's texts, in characters (Unicode code points).
const (
	MaxID     = 64
	MaxText   = 200
	MaxReason = 500
	MaxBearer = 4096
	MaxURL    = 2048
	// MaxFilter bounds each list of a Filter.
	MaxFilter = 100
)

// check refuses a request that is outside the bounds or contradicts itself,
// and cleans the texts that will be shown.
func check(req *Request, lim policy.Limits) error {
	if !validID(req.ID) {
		return Fail(CodeInvalid, "", errors.New("job must be 1 to 64 of A-Z a-z 0-9 _ -"))
	}
	if req.Origin == "" {
		return Fail(CodeInternal, "", errors.New("no origin"))
	}
	for _, s := range []*string{&req.Title, &req.Reference, &req.Counterparty} {
		if utf8.RuneCountInString(*s) > MaxText {
			return Fail(CodeInvalid, "", fmt.Errorf("title, reference and counterparty are at most %d characters", MaxText))
		}
		*s = CleanText(*s, MaxText)
	}
	switch {
	case len(req.Documents) == 0:
		return Fail(CodeInvalid, "", errors.New("no documents"))
	case len(req.Documents) > lim.Documents:
		return Fail(CodeTooMany, "", fmt.Errorf("%d documents, the bound is %d", len(req.Documents), lim.Documents))
	}
	ids := map[string]bool{}
	for i := range req.Documents {
		d := &req.Documents[i]
		if !validID(d.ID) || ids[d.ID] {
			return Fail(CodeInvalid, "", errors.New("document id must be 1 to 64 of A-Z a-z 0-9 _ - and unique in the job"))
		}
		if d.ID == "opened" || d.ID == "rejected" {
			return Fail(CodeInvalid, d.ID, errors.New("opened and rejected name events and cannot name a document"))
		}
		ids[d.ID] = true
		if err := checkDocument(d); err != nil {
			return Fail(CodeInvalid, d.ID, err)
		}
	}
	if err := req.Filter.check(); err != nil {
		return Fail(CodeUnknownFilter, "", err)
	}
	if err := req.Delivery.check(); err != nil {
		return Fail(CodeInvalid, "", err)
	}
	return nil
}

func checkDocument(d *Document) error {
	set := 0
	for _, given := range []bool{d.Content.Inline != nil, d.Content.Blob != nil, d.Content.URL != ""} {
		if given {
			set++
		}
	}
	switch {
	case d.Format != PAdES && d.Format != CAdES:
		return errors.New("format must be pades or cades")
	case d.Format == PAdES && d.Attached:
		return errors.New("attached is for cades alone")
	case set != 1:
		return errors.New("content must be exactly one of inline, stream and url")
	case d.SHA256 != nil && len(d.SHA256) != 32:
		return errors.New("sha256 must be 32 bytes")
	case len(d.Content.URL) > MaxURL:
		return fmt.Errorf("url is at most %d bytes", MaxURL)
	case len(d.Content.Bearer.Reveal()) > MaxBearer:
		return fmt.Errorf("bearer is at most %d bytes", MaxBearer)
	case utf8.RuneCountInString(d.Name) > 10*MaxText:
		return errors.New("name is too long")
	}
	return nil
}

func (f Filter) check() error {
	for _, n := range []string{f.IIN, f.BIN} {
		if n != "" && (len(n) != 12 || strings.Trim(n, "0123456789") != "") {
			return errors.New("iin and bin are 12 digits")
		}
	}
	if len(f.Fingerprints) > MaxFilter || len(f.Roles) > MaxFilter {
		return fmt.Errorf("a filter list has at most %d entries", MaxFilter)
	}
	for _, fp := range f.Fingerprints {
		if len(fp) != 64 || strings.Trim(fp, "0123456789abcdef") != "" {
			return errors.New("fingerprints are 64 lower-case hex digits")
		}
	}
	for _, role := range f.Roles {
		if !knownRoles[role] {
			return errors.New("unknown role")
		}
	}
	return nil
}

// knownRoles are the words that cert.Profile.Role can have.
var knownRoles = map[string]bool{"individual": true, "head": true, "authorised": true, "financial": true, "hr": true, "employee": true}

func (d Delivery) check() error {
	switch {
	case d.URL == "":
		return errors.New("delivery.url is missing")
	case len(d.URL) > MaxURL:
		return fmt.Errorf("delivery.url is at most %d bytes", MaxURL)
	case len(d.Bearer.Reveal()) > MaxBearer:
		return fmt.Errorf("delivery.bearer is at most %d bytes", MaxBearer)
	}
	for _, c := range []byte(d.Bearer.Reveal()) {
		if c <= ' ' || c > '~' {
			return errors.New("delivery.bearer must be visible ASCII")
		}
	}
	return nil
}

func validID(s string) bool {
	if s == "" || len(s) > MaxID {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// CleanText makes s safe to show on one line: invalid UTF-8, control and
// format characters (bidirectional overrides, zero-width marks) are dropped,
// runs of space become one, and at most max characters are kept.
func CleanText(s string, max int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case r == utf8.RuneError || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs) || (unicode.IsControl(r) && !unicode.IsSpace(r)):
			continue
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		}
		if n >= max {
			break
		}
		if space {
			b.WriteByte(' ')
			n++
			space = false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// CleanName makes a page's file name safe to show: CleanText of what follows
// the last slash or backslash, "document" if nothing is left.
func CleanName(s string) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Trim(CleanText(s, MaxText), ". ")
	if s == "" {
		return "document"
	}
	return s
}
