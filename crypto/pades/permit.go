package pades

import (
	"fmt"
	"slices"
	"strings"

	"tanba/crypto/pdf"
)

// maxReferences bounds the transforms of one signature.
const maxReferences = 64

// permitted returns ErrForbidden when the certification of the document or the
// lock of an earlier signature allows no change (clauses 12.8.2.2, 12.7.5.5).
func (d *Document) permitted() error {
	dicts := make([]*pdf.Dict, 0, len(d.earlier)+1)
	for _, s := range d.earlier {
		dicts = append(dicts, s.dict)
		if p, ok, err := d.lockLevel(s.field); err != nil {
			return err
		} else if ok && p == 1 {
			return ErrForbidden
		}
	}
	perms, err := d.dict(d.catalog.Get("Perms"))
	if err != nil {
		return err
	}
	if perms != nil {
		certification, err := d.dict(perms.Get("DocMDP"))
		if err != nil {
			return err
		}
		if certification != nil {
			dicts = append(dicts, certification)
		}
	}
	for _, s := range dicts {
		p, err := d.transforms(s)
		if err != nil {
			return err
		}
		if p == 1 {
			return ErrForbidden
		}
	}
	if d.locked(d.form.freeName()) && !slices.ContainsFunc(d.EmptyFields(), func(name string) bool { return !d.locked(name) }) {
		return ErrForbidden
	}
	return nil
}

// A fieldLock is what an earlier signature says about which fields may still
// change (FieldMDP, clause 12.8.2.4).
type fieldLock struct {
	action string // All, Include, Exclude
	fields []string
}

// locks reports whether the lock covers the field name, itself or by one of
// its ancestors.
func (l fieldLock) locks(name string) bool {
	named := slices.ContainsFunc(l.fields, func(f string) bool { return name == f || strings.HasPrefix(name, f+".") })
	switch l.action {
	case "Include":
		return named
	case "Exclude":
		return !named
	}
	return true
}

// locked reports whether an earlier signature would break if the field changed.
func (d *Document) locked(name string) bool {
	return slices.ContainsFunc(d.locks, func(l fieldLock) bool { return l.locks(name) })
}

// transforms reads the references of signature s. It returns the level that it
// gives to the document, 0 if it gives none, and keeps its locks.
func (d *Document) transforms(s *pdf.Dict) (level int64, err error) {
	v, _, err := d.file.Resolve(s.Get("Reference"))
	if err != nil || !v.IsArray() {
		return 0, err
	}
	list, err := v.Array()
	if err != nil {
		return 0, err
	}
	if len(list) > maxReferences {
		return 0, broken("a signature with %d references", len(list))
	}
	for _, v := range list {
		ref, err := d.dict(v)
		if err != nil {
			return 0, err
		}
		params, err := d.dict(value(ref, "TransformParams"))
		if err != nil {
			return 0, err
		}
		switch m, _ := value(ref, "TransformMethod").Name(); m {
		case "DocMDP":
			level = 2 // the default: table 257
			p, _, err := d.file.Resolve(value(params, "P"))
			if err != nil {
				return 0, err
			}
			if n, ok := p.Int(); ok {
				level = n
			}
		case "FieldMDP":
			l := fieldLock{}
			l.action, _ = value(params, "Action").Name()
			if f := value(params, "Fields"); !f.Missing() {
				if l.fields, err = d.words(f); err != nil {
					return 0, err
				}
			}
			d.locks = append(d.locks, l)
		}
	}
	return level, nil
}

// lockLevel returns P of the field's lock, if it has one.
func (d *Document) lockLevel(f *field) (int64, bool, error) {
	lock, err := d.dict(f.dict.Get("Lock"))
	if err != nil || lock == nil {
		return 0, false, err
	}
	p, _, err := d.file.Resolve(lock.Get("P"))
	if err != nil {
		return 0, false, err
	}
	n, ok := p.Int()
	return n, ok, nil
}

// dict resolves v to a dictionary, nil if v is missing or null.
func (d *Document) dict(v pdf.Value) (*pdf.Dict, error) {
	v, _, err := d.file.Resolve(v)
	if err != nil || v.Missing() || v.Null() {
		return nil, err
	}
	return v.Dict()
}

// The bits of Ff in a seed value dictionary: constraints that must be met
// (table 237).
const (
	seedFilter = 1 << iota
	seedSubFilter
	seedV
	seedReasons
	seedLegal
	seedRevocation
	seedDigest
	seedLock
	seedAppearance
)

// meets checks the required seed values of an empty field.
func (d *Document) meets(f *field, o Options) error {
	seed, err := d.dict(f.dict.Get("SV"))
	if err != nil || seed == nil {
		return err
	}
	if certificate, err := d.dict(seed.Get("Cert")); err != nil {
		return err
	} else if certificate != nil {
		if n, ok := certificate.Get("Ff").Int(); ok && n != 0 {
			return fmt.Errorf("%w %q: it demands certain certificates", ErrField, f.name)
		}
	}
	flags, _ := seed.Get("Ff").Int()
	if flags&seedFilter != 0 {
		if n, ok := seed.Get("Filter").Name(); ok && n != filterName {
			return fmt.Errorf("%w %q: it demands the handler %s", ErrField, f.name, n)
		}
	}
	if flags&(seedLegal|seedRevocation|seedAppearance) != 0 {
		return fmt.Errorf("%w %q: it demands attestation, revocation data or an appearance", ErrField, f.name)
	}
	for _, c := range []struct {
		flag int64
		key  string
		ours string
	}{
		{seedSubFilter, "SubFilter", subFilter},
		{seedDigest, "DigestMethod", digestNames[o.Algorithm.Digest()]},
		{seedReasons, "Reasons", o.Reason},
	} {
		if flags&c.flag == 0 || seed.Get(c.key).Missing() {
			continue
		}
		allowed, err := d.words(seed.Get(c.key))
		if err != nil {
			return err
		}
		if !slices.Contains(allowed, c.ours) {
			return fmt.Errorf("%w %q: its %s leaves ours out", ErrField, f.name, c.key)
		}
	}
	return nil
}

// words reads an array of names and strings.
func (d *Document) words(v pdf.Value) ([]string, error) {
	v, _, err := d.file.Resolve(v)
	if err != nil {
		return nil, err
	}
	list, err := v.Array()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, v := range list {
		if s, ok := v.Name(); ok {
			out = append(out, s)
		} else if s, ok := v.Text(); ok {
			out = append(out, s)
		}
	}
	return out, nil
}
