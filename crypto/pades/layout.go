package pades

import (
	"fmt"

	"tanba/crypto/pdf"
)

// addField puts a new invisible field, merged with its widget, into the form
// and onto the first page. Of every chain of objects the smallest is written
// anew.
func (d *Document) addField(u *pdf.Update, ref, sig pdf.Ref) {
	b := []byte("<<\n/Type /Annot\n/Subtype /Widget\n/FT /Sig\n/T ")
	b = pdf.AppendText(b, d.form.freeName())
	b = append(b, "\n/F 132\n/Rect [0 0 0 0]\n/P "+d.pageRef.String()+"\n/V "+sig.String()+"\n>>"...)
	u.Put(ref, b)
	d.putForm(u, &ref)
	d.putAnnotation(u, ref)
}

// putForm adds the field, if there is one, to Fields, and says in SigFlags
// that the file is signed and may only be appended to.
func (d *Document) putForm(u *pdf.Update, field *pdf.Ref) {
	fm := d.form
	flags, _ := value(fm.dict, "SigFlags").Int()
	done := flags&3 == 3
	var fields []byte
	if field != nil {
		fields = appendRef(fm.list, *field)
		if fm.listRef != (pdf.Ref{}) {
			u.Put(fm.listRef, fields)
			fields = nil
		}
	}
	if done && fields == nil {
		return
	}
	form := &pdf.Dict{}
	if fm.dict != nil {
		form = fm.dict.Clone()
	}
	if fields != nil {
		form.Set("Fields", fields)
	}
	if !done {
		form.Set("SigFlags", fmt.Append(nil, flags|3))
	}
	ref := fm.ref
	if ref == (pdf.Ref{}) {
		catalog := d.catalog.Clone()
		if fm.dict == nil {
			ref = u.New()
			catalog.Set("AcroForm", []byte(ref.String()))
		} else {
			catalog.Set("AcroForm", form.Append(nil))
		}
		u.Put(d.root, catalog.Append(nil))
	}
	if ref != (pdf.Ref{}) {
		u.Put(ref, form.Append(nil))
	}
}

// value is d's value of key, missing where d is nil.
func value(d *pdf.Dict, key string) pdf.Value {
	if d == nil {
		return pdf.Value{}
	}
	return d.Get(key)
}

// putAnnotation adds the widget to the first page.
func (d *Document) putAnnotation(u *pdf.Update, widget pdf.Ref) {
	if d.annotsRef != (pdf.Ref{}) {
		u.Put(d.annotsRef, appendRef(d.annots, widget))
		return
	}
	page := d.page.Clone()
	page.Set("Annots", appendRef(d.annots, widget))
	u.Put(d.pageRef, page.Append(nil))
}

// appendRef writes an array of list and ref.
func appendRef(list []pdf.Value, ref pdf.Ref) []byte {
	n := 16
	for _, v := range list {
		n += len(v.Raw) + 1
	}
	b := append(make([]byte, 0, n), '[')
	for _, v := range list {
		b = append(b, v.Raw...)
		b = append(b, ' ')
	}
	b = append(b, ref.String()...)
	return append(b, ']')
}

// emptyField finds the field that o names.
func (d *Document) emptyField(o Options) (*field, error) {
	for _, f := range d.form.fields {
		if f.name != o.Field {
			continue
		}
		switch {
		case f.kind != "Sig":
			return nil, fmt.Errorf("%w %q: not for a signature", ErrField, o.Field)
		case f.signed:
			return nil, fmt.Errorf("%w %q: signed already", ErrField, o.Field)
		}
		return f, d.meets(f, o)
	}
	return nil, fmt.Errorf("%w %q: not in the document", ErrField, o.Field)
}

// fillField makes sig the value of an empty field and returns the field's
// lock, nil if it has none.
func (d *Document) fillField(u *pdf.Update, f *field, sig pdf.Ref) (*pdf.Dict, error) {
	dict := f.dict.Clone()
	dict.Set("V", []byte(sig.String()))
	u.Put(f.ref, dict.Append(nil))
	d.putForm(u, nil)
	return d.dict(f.dict.Get("Lock"))
}
