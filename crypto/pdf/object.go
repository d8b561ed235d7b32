package pdf

import (
	"errors"
)

// An Object is an indirect object.
type Object struct {
	Ref Ref
	Value
	// stream is the offset of the stream's first byte, -1 for no stream.
	stream int64
}

// Stream reports whether the object has a stream.
func (o Object) Stream() bool { return o.stream >= 0 }

// Object reads the object that ref names: the null object where the file has
// none (clause 7.3.10).
func (f *File) Object(ref Ref) (Object, error) {
	null := Object{Ref: ref, Value: Value{[]byte("null"), -1}, stream: -1}
	if ref.Num <= 0 {
		return null, nil
	}
	e, err := f.find(ref.Num)
	if err != nil {
		return Object{}, err
	}
	switch e.kind {
	case inUse:
		if e.b != ref.Gen {
			return null, nil
		}
		o, err := f.objectAt(e.a + f.shift)
		if err != nil {
			return Object{}, err
		}
		if o.Ref != ref {
			return Object{}, malformed("object %v is not where the cross-reference says, but %v", ref, o.Ref)
		}
		return o, nil
	case compressed:
		if ref.Gen != 0 {
			return null, nil
		}
		v, err := f.compressed(ref.Num, int(e.a), e.b)
		if err != nil {
			return Object{}, err
		}
		return Object{Ref: ref, Value: v, stream: -1}, nil
	}
	return null, nil
}

// Resolve follows v as long as it is a reference. ref is the last one
// followed, the zero Ref for a direct object. A stream is ErrMalformed: it is
// read by Object.
func (f *File) Resolve(v Value) (value Value, ref Ref, err error) {
	for range 16 {
		r, ok := v.Ref()
		if !ok {
			return v, ref, nil
		}
		o, err := f.Object(r)
		if err != nil {
			return Value{}, Ref{}, err
		}
		if o.Stream() {
			return Value{}, Ref{}, malformed("object %v is a stream", r)
		}
		v, ref = o.Value, r
	}
	return Value{}, Ref{}, malformed("a chain of references")
}

// window is the length in bytes of the first look at an object.
const window = 1024

// objectAt reads "n g obj" and the object after it.
func (f *File) objectAt(off int64) (Object, error) {
	o := Object{stream: -1}
	err := f.grow(off, func(l *lexer) error {
		num, err := l.uint()
		if err != nil {
			return err
		}
		gen, err := l.uint()
		if err != nil {
			return err
		}
		if num > MaxObjectNumber || gen > 65535 {
			return malformed("object number %d %d", num, gen)
		}
		if ok, err := l.keyword("obj"); err != nil || !ok {
			return orMalformed(err, "no object at %d", off)
		}
		from, err := l.value(0)
		if err != nil {
			return err
		}
		o.Ref = Ref{int(num), int(gen)}
		o.Value = Value{l.b[from:l.i:l.i], off + int64(from)}
		ok, err := l.keyword("stream")
		if err != nil || !ok {
			return err
		}
		if len(l.b)-l.i < 2 {
			return l.short()
		}
		switch {
		case l.b[l.i] == '\r' && l.b[l.i+1] == '\n':
			l.i += 2
		case l.b[l.i] == '\n' || l.b[l.i] == '\r':
			l.i++
		}
		o.stream = off + int64(l.i)
		return nil
	})
	return o, err
}

// valueAt reads a direct object, such as a trailer.
func (f *File) valueAt(off int64) (Value, error) {
	var v Value
	err := f.grow(off, func(l *lexer) error {
		from, err := l.value(0)
		v = Value{l.b[from:l.i:l.i], off + int64(from)}
		return err
	})
	return v, err
}

// grow calls parse with larger and larger windows at off until one is long
// enough.
func (f *File) grow(off int64, parse func(*lexer) error) error {
	for n := window; ; n *= 8 {
		n = min(n, MaxObject)
		b, err := f.read(off, n)
		if err != nil {
			return err
		}
		err = parse(&lexer{b: b, final: off+int64(len(b)) == f.size})
		if !errors.Is(err, errShort) {
			return err
		}
		if n == MaxObject {
			return malformed("an object of more than %d bytes", MaxObject)
		}
	}
}

func orMalformed(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return malformed(format, args...)
}
