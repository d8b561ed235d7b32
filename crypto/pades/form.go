package pades

import (
	"strconv"

	"tanba/crypto/pdf"
)

// The bounds of the field tree.
const (
	maxFieldDepth = 64
	maxFields     = 100_000
)

// A form is the interactive form of a file, as far as signatures need it.
type form struct {
	// ref is the form's object, zero if it stands in the catalog or is absent;
	// dict is nil where it is absent.
	ref  pdf.Ref
	dict *pdf.Dict
	// list is the array Fields with its own object, if it has one.
	list    []pdf.Value
	listRef pdf.Ref
	fields  []*field
	// top holds the partial names of the fields that have no parent.
	top map[string]bool
}

// A field is a terminal field.
type field struct {
	name   string // full, parts joined by full stops
	kind   string // FT: Btn, Tx, Ch, Sig
	ref    pdf.Ref
	dict   *pdf.Dict
	value  pdf.Value // V
	signed bool      // a Sig with a value
}

// inherited is what a field has from its ancestors.
type inherited struct {
	name, kind string
	value      pdf.Value
}

func readForm(file *pdf.File, catalog *pdf.Dict) (form, error) {
	fm := form{top: map[string]bool{}}
	v, ref, err := file.Resolve(catalog.Get("AcroForm"))
	if err != nil || v.Missing() || v.Null() {
		return fm, err
	}
	fm.ref = ref
	if fm.dict, err = v.Dict(); err != nil {
		return fm, err
	}
	v, ref, err = file.Resolve(fm.dict.Get("Fields"))
	if err != nil || v.Missing() || v.Null() {
		return fm, err
	}
	fm.listRef = ref
	if fm.list, err = v.Array(); err != nil {
		return fm, err
	}
	w := fieldWalk{file: file, form: &fm, seen: map[pdf.Ref]visit{}}
	for _, v := range fm.list {
		if err := w.field(v, inherited{}, 0); err != nil {
			return fm, err
		}
	}
	return fm, nil
}

type fieldWalk struct {
	file *pdf.File
	form *form
	seen map[pdf.Ref]visit
	n    int
}

// A visit says whether the walk over a tree is inside a node, or has passed it:
// a node that stands twice counts once, a node inside itself is a loop.
type visit byte

const (
	within visit = iota + 1
	passed
)

func (w *fieldWalk) field(v pdf.Value, from inherited, depth int) error {
	o, ref, err := w.file.Resolve(v)
	if err != nil {
		return err
	}
	if o.Missing() || o.Null() {
		return nil // a field that was deleted
	}
	if ref == (pdf.Ref{}) {
		return broken("a field is not an object of its own")
	}
	switch w.seen[ref] {
	case within:
		return broken("field %v is inside itself", ref)
	case passed:
		return nil
	}
	w.seen[ref] = within
	defer func() { w.seen[ref] = passed }()
	if w.n++; w.n > maxFields || depth > maxFieldDepth {
		return broken("a form with more than %d fields, or deeper than %d", maxFields, maxFieldDepth)
	}
	d, err := o.Dict()
	if err != nil {
		return err
	}
	if err := w.inherit(d, &from, depth); err != nil {
		return err
	}
	kids, _, err := w.file.Resolve(d.Get("Kids"))
	if err != nil {
		return err
	}
	if kids.IsArray() {
		list, err := kids.Array()
		if err != nil {
			return err
		}
		named, err := w.namedKid(list)
		if err != nil {
			return err
		}
		if named {
			for _, k := range list {
				if err := w.field(k, from, depth+1); err != nil {
					return err
				}
			}
			return nil
		}
	}
	f := &field{name: from.name, kind: from.kind, ref: ref, dict: d, value: from.value}
	f.signed = f.kind == "Sig" && !f.value.Missing() && !f.value.Null()
	w.form.fields = append(w.form.fields, f)
	return nil
}

// inherit puts what d says in place of what its ancestors said.
func (w *fieldWalk) inherit(d *pdf.Dict, from *inherited, depth int) error {
	part, _, err := w.file.Resolve(d.Get("T"))
	if err != nil {
		return err
	}
	if text, ok := part.Text(); ok {
		if depth == 0 {
			w.form.top[text] = true
		}
		if from.name != "" {
			text = from.name + "." + text
		}
		from.name = text
	}
	kind, _, err := w.file.Resolve(d.Get("FT"))
	if err != nil {
		return err
	}
	if name, ok := kind.Name(); ok {
		from.kind = name
	}
	if v := d.Get("V"); !v.Missing() {
		from.value = v
	}
	return nil
}

// namedKid tells whether one of the kids is a field; kids without a name are
// only the widgets of their parent (clause 12.7.4.1).
func (w *fieldWalk) namedKid(kids []pdf.Value) (bool, error) {
	for _, k := range kids {
		o, _, err := w.file.Resolve(k)
		if err != nil {
			return false, err
		}
		if !o.IsDict() {
			continue
		}
		d, err := o.Dict()
		if err != nil {
			return false, err
		}
		if !d.Get("T").Missing() {
			return true, nil
		}
	}
	return false, nil
}

// signatures returns the dictionaries of the signed fields. One dictionary in
// two fields counts once.
func (fm *form) signatures(file *pdf.File) ([]signature, error) {
	var out []signature
	seen := map[pdf.Ref]bool{}
	for _, f := range fm.fields {
		if !f.signed {
			continue
		}
		v, ref, err := file.Resolve(f.value)
		if err != nil {
			return nil, err
		}
		if v.Missing() || v.Null() || (ref != (pdf.Ref{}) && seen[ref]) {
			f.signed = !v.Null() && !v.Missing()
			continue
		}
		seen[ref] = true
		d, err := v.Dict()
		if err != nil {
			return nil, err
		}
		out = append(out, signature{f, d, v})
	}
	return out, nil
}

// freeName returns "Signature1" or the next that no field has.
func (fm *form) freeName() string {
	for i := 1; ; i++ {
		name := "Signature" + strconv.Itoa(i)
		if !fm.top[name] {
			return name
		}
	}
}
