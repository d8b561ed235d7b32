package pades

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"tanba/crypto/cades"
	"tanba/crypto/cert"
	"tanba/crypto/pdf"
	"tanba/crypto/sigalg"
)

const (
	filterName = "Adobe.PPKLite"
	subFilter  = "ETSI.CAdES.detached"
	// maxContents bounds the room for the CMS, in bytes.
	maxContents = 4 << 20
	// maxText bounds Name, Reason, Location and Contact, in characters.
	maxText = 1000
)

var digestNames = map[sigalg.Digest]string{sigalg.SHA256: "SHA256", sigalg.SHA384: "SHA384", sigalg.SHA512: "SHA512"}

// Options says how to sign.
type Options struct {
	// Certificate is the signer's, Chain its issuers', as far as they are to be
	// put into the signature.
	Certificate *cert.Certificate
	Chain       []*cert.Certificate
	Algorithm   sigalg.Algorithm
	// SigningTime is what the signature dictionary states (M), to the second in
	// UTC. The CMS of a PDF signature holds no time: EN 319 142-1, table 1.
	SigningTime time.Time
	// Field is the full name of the empty signature field to use; empty: a new
	// invisible one.
	Field string
	// Name, Reason, Location and Contact go into the signature dictionary when
	// they are not empty. Each at most 1,000 characters.
	Name, Reason, Location, Contact string
	// ContentsSize is the room for the CMS in bytes; 0 is just what this
	// signature can need: see ContentsSize.
	ContentsSize int
}

// A Pending is a prepared signature: all bytes of the signed file are fixed
// but those of the CMS.
type Pending struct {
	d      *Document
	cades  *cades.Pending
	update []byte
	// The hole: update[from:to] is the hexadecimal string without its brackets.
	from, to int
}

// Prepare lays the signature out and hashes the document. It returns ErrField,
// ErrForbidden, ErrUnsupported, sigalg.ErrUnsupported, or the reader's error.
func (d *Document) Prepare(o Options) (*Pending, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Field == "" && d.locked(d.form.freeName()) || o.Field != "" && d.locked(o.Field) {
		return nil, ErrForbidden
	}
	room := o.ContentsSize
	if room == 0 {
		var err error
		if room, err = ContentsSize(o); err != nil {
			return nil, err
		}
	}
	p := &Pending{d: d}
	if err := d.layOut(p, o, room); err != nil {
		return nil, err
	}
	h, err := d.hashed(o)
	if err != nil {
		return nil, err
	}
	h.Write(p.update[:p.from-1])
	h.Write(p.update[p.to+1:])
	p.cades, err = prepareCMS(o, h.Sum(nil))
	return p, err
}

// HashedSHA256 tells d that h is a SHA-256 state that has taken in the whole
// document, so that Prepare with such an algorithm need not read it again. d
// clones h, and does without it if it cannot. A wrong one makes a signature
// that does not verify.
func (d *Document) HashedSHA256(h hash.Hash) {
	d.sha256 = nil
	if c, ok := h.(hash.Cloner); ok && h.Size() == sigalg.SHA256.Size() {
		d.sha256, _ = c.Clone()
	}
}

// hashed returns the digest's state after the document.
func (d *Document) hashed(o Options) (hash.Hash, error) {
	if d.sha256 != nil && o.Algorithm.Digest() == sigalg.SHA256 {
		return d.sha256.Clone()
	}
	h := o.Algorithm.Digest().New()
	return h, d.copyBase(h)
}

// ContentsSize returns the room in bytes that a CMS of o can need. It depends
// on the certificates and the algorithm alone, so that one call serves a batch.
func ContentsSize(o Options) (int, error) {
	// The length does not depend on the digest's value.
	p, err := prepareCMS(o, make([]byte, o.Algorithm.Digest().Size()))
	if err != nil {
		return 0, err
	}
	return p.Size(), nil
}

func prepareCMS(o Options, digest []byte) (*cades.Pending, error) {
	return cades.Prepare(cades.Options{Certificate: o.Certificate, Chain: o.Chain, Algorithm: o.Algorithm, ContentDigest: digest})
}

func (o *Options) check() error {
	if o.Certificate == nil || o.SigningTime.IsZero() {
		return errors.New("invalid options: a certificate and a signing time are needed")
	}
	if !o.Algorithm.Known() {
		return fmt.Errorf("%q: %w", o.Algorithm, sigalg.ErrUnsupported)
	}
	if o.ContentsSize < 0 || o.ContentsSize > maxContents {
		return fmt.Errorf("invalid options: room for %d bytes of CMS", o.ContentsSize)
	}
	for _, s := range []string{o.Name, o.Reason, o.Location, o.Contact} {
		if utf8.RuneCountInString(s) > maxText {
			return errors.New("invalid options: a text of more than 1,000 characters")
		}
	}
	return nil
}

// layOut builds the update with an empty hole of room bytes and the final
// ByteRange.
func (d *Document) layOut(p *Pending, o Options, room int) error {
	u := d.file.NewUpdate()
	sig, fieldRef := u.New(), pdf.Ref{}
	var lock *pdf.Dict
	if o.Field == "" {
		fieldRef = u.New()
		d.addField(u, fieldRef, sig)
	} else {
		f, err := d.emptyField(o)
		if err != nil {
			return err
		}
		if lock, err = d.fillField(u, f, sig); err != nil {
			return err
		}
	}
	body, rangeAt, hole := d.signatureDict(o, room, lock)
	u.Put(sig, body)
	b, err := u.Bytes()
	if err != nil {
		return err
	}
	off, _ := u.Offset(sig)
	i := int(off - d.size)
	p.update, p.from, p.to = b, i+hole, i+hole+2*room
	before := d.size + int64(p.from) - 1
	after := d.size + int64(p.to) + 1
	end := d.size + int64(len(b))
	r := fmt.Appendf(nil, "[0 %d %d %d]", before, after, end-after)
	field := b[i+rangeAt : i+rangeAt+rangeRoom(d.size)]
	if len(r) > len(field) {
		return fmt.Errorf("%w: a ByteRange of %d bytes", ErrUnsupported, len(r))
	}
	copy(field, r)
	return nil
}

// rangeRoom is the length of the room for "[0 a b c]": the largest numbers are
// some megabytes above the size of the file.
func rangeRoom(size int64) int {
	return len("[0   ]") + 3*len(strconv.FormatInt(size+4*maxContents, 10))
}

// signatureDict returns the signature dictionary, and where in it the room for
// ByteRange and the first digit of Contents are.
func (d *Document) signatureDict(o Options, room int, lock *pdf.Dict) (body []byte, rangeAt, hole int) {
	b := make([]byte, 0, 2*room+1024)
	b = append(b, "<<\n/Type /Sig\n/Filter /"+filterName+"\n/SubFilter /"+subFilter+"\n/ByteRange "...)
	rangeAt = len(b)
	b = append(b, bytes.Repeat([]byte{' '}, rangeRoom(d.size))...)
	b = append(b, "\n/Contents <"...)
	hole = len(b)
	b = b[:hole+2*room]
	for i := hole; i < len(b); i++ {
		b[i] = '0'
	}
	b = append(b, ">\n/M ("...)
	b = o.SigningTime.UTC().AppendFormat(b, "D:20060102150405Z")
	b = append(b, ")\n"...)
	for _, t := range []struct{ key, text string }{
		{"Name", o.Name}, {"Reason", o.Reason}, {"Location", o.Location}, {"ContactInfo", o.Contact},
	} {
		if t.text != "" {
			b = append(b, '/')
			b = append(b, t.key...)
			b = append(b, ' ')
			b = append(pdf.AppendText(b, t.text), '\n')
		}
	}
	if lock != nil {
		b = d.appendLock(b, lock)
	}
	return append(b, ">>"...), rangeAt, hole
}

// appendLock writes what the field's lock wants as a FieldMDP transform: a
// signature in the field must state it (clause 12.8.2.4).
func (d *Document) appendLock(b []byte, lock *pdf.Dict) []byte {
	b = append(b, "/Reference [<< /Type /SigRef /TransformMethod /FieldMDP /TransformParams << /Type /TransformParams /V /1.2"...)
	for _, key := range []string{"Action", "Fields"} {
		if v := lock.Get(key); !v.Missing() {
			b = append(b, " /"+key+" "...)
			b = append(b, v.Raw...)
		}
	}
	b = append(b, " >> /Data "...)
	b = append(b, d.root.String()...)
	return append(b, " >>]\n"...)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// copyBase streams the document to w.
func (d *Document) copyBase(w io.Writer) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for off := int64(0); off < d.size; {
		b := (*buf)[:min(int64(len(*buf)), d.size-off)]
		n, err := d.r.ReadAt(b, off)
		if n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading PDF: %w", err)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
