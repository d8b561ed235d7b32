package native

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tanba/agent/job"
)

// maxRequestID bounds the id of a request, in bytes as it is written.
const maxRequestID = 64

// A request is one JSON-RPC message of the page.
type request struct {
	// id is a string or an integer, as it will be written back.
	id     json.RawMessage
	method string
	params *value
}

// null is the id of an answer to a message whose id could not be read.
var null = json.RawMessage("null")

// decode reads a message. On an error the request holds the id if there was a
// good one.
func decode(b []byte, depth, values int) (request, *problem) {
	req := request{id: null}
	v, err := parse(b, depth, values)
	if err != nil {
		return req, fail(codeParse)
	}
	if v.kind != kindObject {
		return req, fail(job.CodeInvalid)
	}
	if id, ok := v.get("id"); ok {
		if req.id, ok = requestID(id); !ok {
			return request{id: null}, fail(job.CodeInvalid)
		}
	} else {
		return req, fail(job.CodeInvalid) // a page has nothing to notify us of
	}
	version, ok := v.get("jsonrpc")
	if !ok || version.kind != kindString || string(version.text) != "2.0" {
		return req, fail(job.CodeInvalid)
	}
	method, ok := v.get("method")
	if !ok || method.kind != kindString {
		return req, fail(job.CodeInvalid)
	}
	req.method = string(method.text)
	for _, k := range v.keys {
		if !slices.Contains([]string{"jsonrpc", "id", "method", "params"}, k) {
			return req, fail(job.CodeInvalid)
		}
	}
	req.params = &value{kind: kindObject}
	if p, ok := v.get("params"); ok {
		if p.kind != kindObject {
			return req, wrong("params")
		}
		req.params = p
	}
	return req, nil
}

func requestID(v *value) (json.RawMessage, bool) {
	if len(v.text) > maxRequestID {
		return null, false
	}
	switch v.kind {
	case kindString:
		b, err := json.Marshal(string(v.text))
		return b, err == nil
	case kindNumber:
		if _, err := strconv.ParseInt(string(v.text), 10, 64); err != nil {
			return null, false
		}
		return json.RawMessage(bytes.Clone(v.text)), true
	}
	return null, false
}

// fields reads the members of an object; the first fault is kept.
type fields struct {
	at   string // where the object is, "" for params
	v    *value
	used []string
	err  *problem
}

func (f *fields) path(key string) string {
	if f.at == "" {
		return key
	}
	return f.at + "." + key
}

func (f *fields) fault(key string) {
	if f.err == nil {
		f.err = wrong(f.path(key))
	}
}

// member returns the member with this key if there is one of this kind.
func (f *fields) member(key string, k kind, required bool) *value {
	f.used = append(f.used, key)
	m, ok := f.v.get(key)
	if !ok {
		if required {
			f.fault(key)
		}
		return nil
	}
	if m.kind != k {
		f.fault(key)
		return nil
	}
	return m
}

func (f *fields) string(key string, required bool) string {
	if m := f.member(key, kindString, required); m != nil {
		return string(m.text)
	}
	return ""
}

func (f *fields) bool(key string) bool {
	m := f.member(key, kindBool, false)
	return m != nil && m.bool
}

// int reads a whole number from 0 to 2^53-1.
func (f *fields) int(key string) int64 {
	m := f.member(key, kindNumber, true)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseInt(string(m.text), 10, 64)
	if err != nil || n < 0 || n > 1<<53-1 {
		f.fault(key)
	}
	return n
}

func (f *fields) strings(key string) []string {
	m := f.member(key, kindArray, false)
	if m == nil {
		return nil
	}
	out := make([]string, len(m.items))
	for i, v := range m.items {
		if v.kind != kindString {
			f.fault(key)
			return nil
		}
		out[i] = string(v.text)
	}
	return out
}

// end refuses the keys that nobody asked for. Where a key is unknown, its name
// is the page's text and is not repeated.
func (f *fields) end() *problem {
	if f.err == nil {
		for _, k := range f.v.keys {
			if !slices.Contains(f.used, k) {
				return wrong(cmp.Or(f.at, "params"))
			}
		}
	}
	return f.err
}

// A signParams is a decoded sign, its streams not yet looked up.
type signParams struct {
	req job.Request
	// streams is the stream number by index of the document.
	streams map[int]int64
}

// decodeSign reads the params of sign. Sizes of inline content and the number
// of documents are checked here, what Run checks is left to it.
func decodeSign(v *value, origin string, lim limits) (*signParams, *problem) {
	f := &fields{v: v}
	p := &signParams{streams: map[int]int64{}}
	p.req = job.Request{
		Origin: origin, ID: f.string("job", true),
		Title: f.string("title", false), Reference: f.string("reference", false), Counterparty: f.string("counterparty", false),
	}
	documents := f.member("documents", kindArray, true)
	filter := f.member("filter", kindObject, false)
	delivery := f.member("delivery", kindObject, true)
	if err := f.end(); err != nil {
		return nil, err
	}
	if !validID(p.req.ID) {
		return nil, wrong("job")
	}
	if len(documents.items) > lim.documents {
		return nil, fail(job.CodeTooMany)
	}
	var err *problem
	if p.req.Filter, err = decodeFilter(filter); err != nil {
		return nil, err
	}
	if p.req.Delivery, err = decodeDelivery(delivery); err != nil {
		return nil, err
	}
	p.req.Documents = make([]job.Document, len(documents.items))
	var sum int64
	for i := range documents.items {
		if err := p.document(i, &documents.items[i], lim); err != nil {
			return nil, err
		}
		sum += int64(len(p.req.Documents[i].Content.Inline))
	}
	if sum > lim.job {
		return nil, fail(job.CodeTooLarge)
	}
	return p, nil
}

func (p *signParams) document(i int, v *value, lim limits) *problem {
	at := fmt.Sprintf("documents[%d]", i)
	if v.kind != kindObject {
		return wrong(at)
	}
	f := &fields{at: at, v: v}
	d := &p.req.Documents[i]
	d.ID, d.Name, d.Format = f.string("id", true), f.string("name", true), job.Format(f.string("format", true))
	d.Attached = f.bool("attached")
	if sum := f.member("sha256", kindString, false); sum != nil {
		b, err := hex.DecodeString(string(sum.text))
		if err != nil || len(b) != 32 || bytes.ContainsAny(sum.text, "ABCDEF") {
			f.fault("sha256")
		}
		d.SHA256 = b
	}
	content := f.member("content", kindObject, true)
	if err := f.end(); err != nil {
		return err
	}
	if !validID(d.ID) {
		return wrong(at + ".id")
	}
	if d.Format != job.PAdES && d.Format != job.CAdES {
		return wrong(at + ".format")
	}
	if _, given := v.get("attached"); given && d.Format != job.CAdES {
		return wrong(at + ".attached")
	}
	return p.content(i, content, lim)
}

// content reads one of the three kinds of content.
func (p *signParams) content(i int, v *value, lim limits) *problem {
	d := &p.req.Documents[i]
	at := fmt.Sprintf("documents[%d].content", i)
	f := &fields{at: at, v: v}
	var keys []string
	for _, k := range []string{"inline", "stream", "url"} {
		if _, ok := v.get(k); ok {
			keys = append(keys, k)
		}
	}
	if len(keys) != 1 {
		return wrong(at)
	}
	switch keys[0] {
	case "inline":
		if m := f.member("inline", kindString, true); m != nil {
			b, err := decodeBase64(m.text)
			if err != nil {
				return &problem{Code: codeBase64, Document: d.ID, At: at}
			}
			if int64(len(b)) > lim.document {
				return &problem{Code: job.CodeTooLarge, Document: d.ID, At: at}
			}
			d.Content.Inline = b
		}
	case "stream":
		p.streams[i] = f.int("stream")
	case "url":
		d.Content.URL = f.string("url", true)
		if d.Content.URL == "" {
			f.fault("url")
		}
		if b := f.string("bearer", false); b != "" {
			d.Content.Bearer = job.NewSecret(b)
		}
	}
	return f.end()
}

// decodeBase64 reads the standard alphabet with padding, and nothing else: no
// line breaks, no bits set in the padding.
func decodeBase64(text []byte) ([]byte, error) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(b, text)
	return b[:n], err
}

func decodeFilter(v *value) (job.Filter, *problem) {
	if v == nil {
		return job.Filter{}, nil
	}
	f := &fields{at: "filter", v: v}
	out := job.Filter{IIN: f.string("iin", false), BIN: f.string("bin", false), Fingerprints: f.strings("fingerprints"), Roles: f.strings("roles")}
	if err := f.end(); err != nil {
		return out, &problem{Code: job.CodeUnknownFilter, At: err.At}
	}
	return out, nil
}

func decodeDelivery(v *value) (job.Delivery, *problem) {
	f := &fields{at: "delivery", v: v}
	d := job.Delivery{URL: f.string("url", true)}
	if b := f.string("bearer", false); b != "" {
		d.Bearer = job.NewSecret(b)
	}
	if e := f.string("expires", false); e != "" {
		t, err := time.Parse(time.RFC3339, e)
		if err != nil {
			f.fault("expires")
		}
		d.Expires = t
	}
	return d, f.end()
}

// validID reports whether s may name a job or a document.
func validID(s string) bool {
	if s == "" || len(s) > job.MaxID {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
