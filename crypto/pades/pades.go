// Package pades signs PDF files at the level B-B (ETSI EN 319 142-1) and reads
// the signatures that a file holds.
//
// A signature is an incremental update of a few kilobytes: the original stays
// byte for byte, and is hashed and copied as a stream, never held in memory.
// Signing has two phases, so that the signer and the token can sit between:
// [Document.Prepare] fixes every byte but the CMS, [Pending.Finish] puts it in.
package pades

import (
	"errors"
	"fmt"
	"hash"
	"io"

	"tanba/crypto/pdf"
)

// Why a file cannot be signed; match with errors.Is. Other errors are the
// reader's own.
var (
	// ErrNotPDF reports bytes that are no PDF file.
	ErrNotPDF = pdf.ErrNotPDF
	// ErrBroken reports a PDF whose structure cannot be followed safely.
	ErrBroken = pdf.ErrMalformed
	// ErrUnsupported reports a legal structure that is not implemented.
	ErrUnsupported = pdf.ErrUnsupported
	// ErrEncrypted reports an encrypted PDF.
	ErrEncrypted = pdf.ErrEncrypted
	// ErrForbidden reports a PDF whose certification or an earlier signature
	// forbids another one: DocMDP with P = 1, or FieldMDP that locks the field.
	ErrForbidden = errors.New("invalid request: the PDF is certified against changes")
	// ErrField reports a field that is not there, not for a signature, signed
	// already, or whose conditions (its seed values) we cannot meet.
	ErrField = errors.New("invalid signature field")
)

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
}

// A Document is a PDF that can be signed. It keeps no more of the file than
// the objects that a signature touches. It is not safe for concurrent use.
type Document struct {
	r    io.ReaderAt
	size int64
	file *pdf.File
	// sha256 is a state after the whole document, nil if nobody has it.
	sha256 hash.Cloner

	root    pdf.Ref
	catalog *pdf.Dict
	pageRef pdf.Ref
	page    *pdf.Dict
	form    form
	earlier []signature
	locks   []fieldLock
	// annots is the first page's, with its own object if it has one.
	annots    []pdf.Value
	annotsRef pdf.Ref
}

// A signature is the dictionary of one that is in the file.
type signature struct {
	field *field
	dict  *pdf.Dict
	value pdf.Value
}

// Open reads what a signature needs of a PDF of size bytes and checks that it
// can be signed. r is read again by Prepare and Finish and must not change
// until then. Open returns ErrNotPDF, ErrBroken, ErrUnsupported, ErrEncrypted,
// ErrForbidden or r's error.
func Open(r io.ReaderAt, size int64) (*Document, error) {
	d := &Document{r: r, size: size}
	var err error
	if d.file, err = pdf.Open(r, size); err != nil {
		return nil, err
	}
	if d.file.Encrypted() {
		return nil, ErrEncrypted
	}
	if n := d.file.HeaderOffset(); n != 0 {
		return nil, broken("%d bytes before the header, from which readers count differently", n)
	}
	if err := d.readCatalog(); err != nil {
		return nil, err
	}
	if err := d.readPages(); err != nil {
		return nil, err
	}
	if err := d.permitted(); err != nil {
		return nil, err
	}
	d.file.Forget() // many documents may wait for one approval
	return d, nil
}

// Signatures returns the number of signatures and document time-stamps that
// the file holds.
func (d *Document) Signatures() int { return len(d.earlier) }

// EmptyFields returns the full names of the signature fields that wait for a
// signature.
func (d *Document) EmptyFields() []string {
	var out []string
	for _, f := range d.form.fields {
		if f.kind == "Sig" && !f.signed {
			out = append(out, f.name)
		}
	}
	return out
}

// readCatalog reads the catalog, the form and the signatures.
func (d *Document) readCatalog() error {
	d.root = d.file.Root()
	o, err := d.file.Object(d.root)
	if err != nil {
		return err
	}
	if !o.IsDict() || o.Stream() {
		return broken("the catalog is not a dictionary")
	}
	if d.catalog, err = o.Dict(); err != nil {
		return err
	}
	if d.form, err = readForm(d.file, d.catalog); err != nil {
		return err
	}
	d.earlier, err = d.form.signatures(d.file)
	return err
}

// The bounds of the page tree. Behind maxPageNodes no loop is looked for.
const (
	maxPageDepth = 100
	maxPageNodes = 10_000
)

// readPages finds the leftmost leaf of the page tree and its annotations. A
// loop is ErrBroken: readers disagree on what such a document shows.
func (d *Document) readPages() error {
	w := pageWalk{d: d, seen: map[pdf.Ref]visit{}}
	if err := w.node(d.catalog.Get("Pages"), 0); err != nil {
		return err
	}
	if d.page == nil {
		return broken("no page")
	}
	v, ref, err := d.file.Resolve(d.page.Get("Annots"))
	if err != nil || v.Missing() || v.Null() {
		return err
	}
	d.annotsRef = ref
	d.annots, err = v.Array()
	return err
}

type pageWalk struct {
	d    *Document
	seen map[pdf.Ref]visit
}

func (w *pageWalk) node(v pdf.Value, depth int) error {
	if len(w.seen) >= maxPageNodes && w.d.page != nil {
		return nil
	}
	o, ref, err := w.d.file.Resolve(v)
	if err != nil || o.Null() || o.Missing() {
		return err
	}
	if !o.IsDict() || ref == (pdf.Ref{}) {
		return broken("a node of the page tree is not an object of its own")
	}
	if depth > maxPageDepth || len(w.seen) > maxPageNodes || w.seen[ref] == within {
		return broken("the page tree has a loop or is too deep")
	}
	if w.seen[ref] == passed {
		return nil
	}
	w.seen[ref] = within
	defer func() { w.seen[ref] = passed }()
	node, err := o.Dict()
	if err != nil {
		return err
	}
	kids := node.Get("Kids")
	if kids.Missing() {
		if t, _ := node.Get("Type").Name(); t != "Pages" && w.d.page == nil {
			w.d.pageRef, w.d.page = ref, node
		}
		return nil
	}
	if kids, _, err = w.d.file.Resolve(kids); err != nil {
		return err
	}
	list, err := kids.Array()
	if err != nil {
		return err
	}
	for _, k := range list {
		if err := w.node(k, depth+1); err != nil {
			return err
		}
	}
	return nil
}
