package pades

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"tanba/crypto/cades"
	"tanba/crypto/pdf"
)

// MaxSignatures bounds the signatures of one file.
const MaxSignatures = 500

// ErrByteRange reports a signature whose ByteRange is not the file up to some
// byte with exactly the hexadecimal string of Contents left out. What such a
// signature covers depends on the reader, so it must not pass.
var ErrByteRange = errors.New("invalid ByteRange")

// A Signature is one signature or document time-stamp as the file states it.
// Nothing of it is verified but its place in the file.
type Signature struct {
	// Field is the full name of its field.
	Field string
	// Type is "Sig" or "DocTimeStamp"; empty where the file leaves it out.
	Type string
	// Filter and SubFilter name the handler and the encoding.
	Filter, SubFilter string
	// ByteRange is two pairs of offset and length, in bytes.
	ByteRange [4]int64
	// Contents is the CMS, cut to its DER length.
	Contents []byte
	// SigningTime is M in UTC, zero where it is absent or malformed.
	SigningTime time.Time
	// Name, Reason and Location are what the signer wrote.
	Name, Reason, Location string
	// CoversWholeFile is true if nothing stands behind what is signed.
	CoversWholeFile bool
	// Err is nil if the signature can be checked, otherwise ErrByteRange or
	// ErrBroken.
	Err error
	// Violations are the rules of EN 319 142-1 that the dictionary breaks, P-01
	// to P-07; the CMS is for package cades to judge.
	Violations []cades.Violation
}

// Signatures reads the signatures of a PDF of size bytes in the order of the
// form's fields. It returns ErrNotPDF, ErrBroken, ErrUnsupported, ErrEncrypted
// or r's error.
func Signatures(r io.ReaderAt, size int64) ([]Signature, error) {
	d := &Document{r: r, size: size}
	var err error
	if d.file, err = pdf.Open(r, size); err != nil {
		return nil, err
	}
	if d.file.Encrypted() {
		return nil, ErrEncrypted
	}
	if err := d.readCatalog(); err != nil {
		return nil, err
	}
	return d.Earlier()
}

// Earlier returns the signatures that the file holds.
func (d *Document) Earlier() ([]Signature, error) {
	if len(d.earlier) > MaxSignatures {
		return nil, broken("more than %d signatures", MaxSignatures)
	}
	out := make([]Signature, len(d.earlier))
	for i, s := range d.earlier {
		r := reader{d: d, dict: s.dict, out: &out[i]}
		r.out.Field = s.field.name
		if err := r.read(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A reader reads one signature dictionary.
type reader struct {
	d    *Document
	dict *pdf.Dict
	out  *Signature
}

func (r *reader) violation(id, format string, args ...any) {
	r.out.Violations = append(r.out.Violations, cades.Violation{ID: id, Reason: fmt.Sprintf(format, args...)})
}

// get resolves the value of key.
func (r *reader) get(key string) (pdf.Value, error) {
	v, _, err := r.d.file.Resolve(r.dict.Get(key))
	return v, err
}

func (r *reader) read() error {
	for _, t := range []struct {
		key string
		to  *string
	}{
		{"Type", &r.out.Type},
		{"Filter", &r.out.Filter},
		{"SubFilter", &r.out.SubFilter},
		{"Name", &r.out.Name},
		{"Reason", &r.out.Reason},
		{"Location", &r.out.Location},
	} {
		v, err := r.get(t.key)
		if err != nil {
			return err
		}
		if s, ok := v.Name(); ok {
			*t.to = s
		} else if s, ok := v.Text(); ok {
			*t.to = s
		}
	}
	m, err := r.get("M")
	if err != nil {
		return err
	}
	if s, ok := m.Text(); ok {
		r.out.SigningTime = parseDate(s)
	}
	r.rules()
	r.contents()
	return r.byteRange()
}

// rules checks what does not depend on places.
func (r *reader) rules() {
	timestamp := r.out.Type == "DocTimeStamp"
	if r.out.SubFilter != subFilter && !timestamp {
		r.violation("P-01", "SubFilter is %q, must be %s", r.out.SubFilter, subFilter)
	}
	for _, key := range []string{"Filter", "ByteRange", "Contents"} {
		if n := r.dict.Count(key); n != 1 {
			r.violation("P-02", "%s stands %d times, must be once", key, n)
		}
	}
	if n := r.dict.Count("M"); !timestamp && (n != 1 || r.out.SigningTime.IsZero()) {
		r.violation("P-03", "M must be one date")
	}
	if r.dict.Count("Cert") != 0 {
		r.violation("P-04", "Cert is forbidden")
	}
}

// contents cuts the CMS out of its string.
func (r *reader) contents() {
	v := r.dict.Get("Contents")
	b, ok := v.Bytes()
	if !ok {
		r.out.Err = broken("Contents is not a string")
		return
	}
	n, ok := derLength(b)
	if !ok { // for the CMS reader to judge
		r.out.Contents = b
		return
	}
	if len(bytes.TrimRight(b[n:], "\x00")) != 0 {
		r.violation("P-05", "bytes other than zeros after the CMS")
	}
	r.out.Contents = b[:n]
}

// derLength returns the whole length of the definite-length SEQUENCE that b
// begins with.
func derLength(b []byte) (int, bool) {
	if len(b) < 2 || b[0] != 0x30 {
		return 0, false
	}
	if b[1] < 0x80 {
		return 2 + int(b[1]), 2+int(b[1]) <= len(b)
	}
	k := int(b[1] & 0x7f)
	if k == 0 || k > 4 || 2+k > len(b) {
		return 0, false
	}
	n := 0
	for _, c := range b[2 : 2+k] {
		n = n<<8 | int(c)
	}
	return 2 + k + n, n >= 0 && 2+k+n <= len(b)
}

// byteRange checks rule P-07: [0 a b c] where a is the offset of the "<" of
// Contents, b the one after its ">", and b+c the end of the file when it was
// signed.
func (r *reader) byteRange() error {
	v, err := r.get("ByteRange")
	if err != nil {
		return err
	}
	wrong := func(format string, args ...any) {
		reason := fmt.Sprintf(format, args...)
		r.violation("P-07", "%s", reason)
		if r.out.Err == nil {
			r.out.Err = fmt.Errorf("%w: %s", ErrByteRange, reason)
		}
	}
	if !v.IsArray() {
		wrong("no ByteRange")
		return nil
	}
	list, err := v.Array()
	if err != nil {
		return err
	}
	if len(list) != 4 {
		wrong("%d numbers, must be four", len(list))
		return nil
	}
	for i := range list {
		n, ok := list[i].Int()
		if !ok || n < 0 || n > r.d.size {
			wrong("%q is not a number within the file", list[i].Raw)
			return nil
		}
		r.out.ByteRange[i] = n
	}
	br := r.out.ByteRange
	hole := r.dict.Get("Contents")
	switch {
	case r.dict.Count("ByteRange") != 1 || r.dict.Count("Contents") != 1:
		wrong("ByteRange or Contents stands twice")
	case hole.Pos < 0 || !hole.IsHex():
		wrong("Contents is not a hexadecimal string in the signature dictionary")
	case br[0] != 0:
		wrong("it begins at %d", br[0])
	case br[2]+br[3] > r.d.size:
		wrong("it ends at %d of %d", br[2]+br[3], r.d.size)
	case br[1] == hole.Pos+1 && br[2] == hole.End()-1:
		// Some writers sign the brackets too: nothing more is left out.
		r.violation("P-07", "the brackets of Contents are signed too")
		r.out.CoversWholeFile = br[2]+br[3] == r.d.size
	case br[1] != hole.Pos || br[2] != hole.End():
		wrong("it leaves out %d to %d, Contents is %d to %d", br[1], br[2], hole.Pos, hole.End())
	default:
		r.out.CoversWholeFile = br[2]+br[3] == r.d.size
	}
	return nil
}

// parseDate reads a date of clause 7.9.4, "D:20261122120000+05'00'", of which
// everything after the year may be missing. It returns zero for anything else.
func parseDate(s string) time.Time {
	if len(s) < 6 || s[:2] != "D:" {
		return time.Time{}
	}
	s = s[2:]
	fields := [6]int{0, 1, 1, 0, 0, 0}
	for i := range fields {
		n := 2
		if i == 0 {
			n = 4
		}
		if len(s) < n || s[0] < '0' || s[0] > '9' {
			break
		}
		v, err := strconv.ParseUint(s[:n], 10, 16)
		if err != nil {
			return time.Time{}
		}
		fields[i], s = int(v), s[n:]
	}
	offset, ok := parseZone(s)
	t := time.Date(fields[0], time.Month(fields[1]), fields[2], fields[3], fields[4], fields[5], 0, time.UTC)
	if !ok || t.Year() != fields[0] || int(t.Month()) != fields[1] || t.Day() != fields[2] || t.Hour() != fields[3] || t.Minute() != fields[4] {
		return time.Time{} // such as a thirteenth month
	}
	return t.Add(-offset)
}

// parseZone reads "", "Z", "+05'00'" and their shorter forms.
func parseZone(s string) (time.Duration, bool) {
	if s == "" || s[0] == 'Z' {
		return 0, true
	}
	sign := time.Duration(1)
	switch s[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	var n [2]uint64
	s = s[1:]
	for i := range n {
		if len(s) < 2 {
			break
		}
		v, err := strconv.ParseUint(s[:2], 10, 8)
		if err != nil {
			return 0, false
		}
		n[i], s = v, s[2:]
		if s != "" && s[0] == '\'' {
			s = s[1:]
		}
	}
	if n[0] > 23 || n[1] > 59 {
		return 0, false
	}
	return sign * (time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute), true
}

// Signed returns the bytes of file that the signature covers. Err must be nil.
func (s *Signature) Signed(file io.ReaderAt) io.Reader {
	return io.MultiReader(
		io.NewSectionReader(file, s.ByteRange[0], s.ByteRange[1]),
		io.NewSectionReader(file, s.ByteRange[2], s.ByteRange[3]))
}
