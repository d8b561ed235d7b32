package pdf

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"io"
)

// An objectStream is a decoded object stream (clause 7.5.7).
type objectStream struct {
	data []byte
	at   []numbered
}

// numbered is where object num begins in the data.
type numbered struct {
	num, from int
}

// compressed returns the object num, which is the one at index of stream.
func (f *File) compressed(num, stream, index int) (Value, error) {
	s, err := f.objectStream(stream)
	if err != nil {
		return Value{}, err
	}
	if index >= len(s.at) || s.at[index].num != num {
		return Value{}, malformed("object %d is not in object stream %d", num, stream)
	}
	l := lexer{b: s.data, i: s.at[index].from, final: true}
	from, err := l.value(0)
	if err != nil {
		return Value{}, err
	}
	return Value{bytes.Clone(s.data[from:l.i]), -1}, nil
}

func (f *File) objectStream(num int) (*objectStream, error) {
	if s, ok := f.streams[num]; ok {
		return s, nil
	}
	if f.Encrypted() {
		return nil, ErrEncrypted
	}
	if f.loading[num] { // its own length inside itself
		return nil, malformed("object stream %d needs itself", num)
	}
	if f.loading == nil {
		f.loading = map[int]bool{}
	}
	f.loading[num] = true
	defer delete(f.loading, num)
	e, err := f.find(num)
	if err != nil {
		return nil, err
	}
	if e.kind != inUse {
		return nil, malformed("object stream %d is not in the file", num)
	}
	o, err := f.objectAt(e.a + f.shift)
	if err != nil {
		return nil, err
	}
	if o.Ref.Num != num || !o.Stream() {
		return nil, malformed("object stream %d is something else", num)
	}
	d, err := o.Dict()
	if err != nil {
		return nil, err
	}
	if t, _ := d.Get("Type").Name(); t != "ObjStm" {
		return nil, malformed("object stream %d is something else", num)
	}
	n, ok1 := d.Get("N").Int()
	first, ok2 := d.Get("First").Int()
	data, err := f.decode(o.stream, d)
	if err != nil {
		return nil, err
	}
	// A pair of numbers takes at least 4 bytes, the last one 3.
	if !ok1 || !ok2 || n < 0 || first < 0 || first > int64(len(data)) || n > (first+1)/4+1 {
		return nil, malformed("object stream %d: N or First", num)
	}
	s := &objectStream{data: data, at: make([]numbered, n)}
	l := lexer{b: data[:first], final: true}
	for i := range s.at {
		a, err := l.uint()
		if err != nil {
			return nil, err
		}
		b, err := l.uint()
		if err != nil {
			return nil, err
		}
		if a > MaxObjectNumber || first+b > int64(len(data)) {
			return nil, malformed("object stream %d: an offset", num)
		}
		s.at[i] = numbered{int(a), int(first + b)}
	}
	f.keep(num, s)
	return s, nil
}

// Forget gives up what is kept of object streams, for a File that waits.
func (f *File) Forget() { f.streams, f.cached = nil, 0 }

// keep remembers a decoded stream; all of them together stay under
// MaxInflated.
func (f *File) keep(num int, s *objectStream) {
	if f.cached += int64(len(s.data)); f.streams == nil || f.cached > MaxInflated {
		f.streams, f.cached = map[int]*objectStream{}, int64(len(s.data))
	}
	f.streams[num] = s
}

// decode returns the decoded bytes of a stream that begins at off. Filters
// other than FlateDecode with PNG prediction are ErrUnsupported.
func (f *File) decode(off int64, d *Dict) ([]byte, error) {
	length, ok := d.Get("Length").Int()
	if !ok {
		// An indirect length needs the cross-reference, which is not there yet
		// while that is read.
		v, ref, err := f.Resolve(d.Get("Length"))
		if err != nil {
			return nil, err
		}
		if length, ok = v.Int(); !ok || ref == (Ref{}) {
			return nil, malformed("a stream without a length")
		}
	}
	if length < 0 || off+length > f.size {
		return nil, malformed("a stream of %d bytes", length)
	}
	after, err := f.read(off+length, 20)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(after, "\r\n \t"), []byte("endstream")) {
		return nil, malformed("a stream does not end at its length")
	}
	filter, params, err := f.filter(d)
	if err != nil {
		return nil, err
	}
	src := io.NewSectionReader(f.r, off, length)
	if err := f.spend(length); err != nil {
		return nil, err
	}
	switch filter {
	case "":
		if length > MaxInflated {
			return nil, malformed("a stream of %d bytes", length)
		}
		b := make([]byte, length)
		_, err := io.ReadFull(src, b)
		return b, err
	case "FlateDecode":
		b, err := f.inflate(src)
		if err != nil {
			return nil, err
		}
		return f.unpredict(b, params)
	}
	return nil, unsupported("filter %s", filter)
}

// filter returns the one filter of d, "" for none, and its parameters.
func (f *File) filter(d *Dict) (string, Value, error) {
	v, _, err := f.Resolve(d.Get("Filter"))
	if err != nil {
		return "", Value{}, err
	}
	p, _, err := f.Resolve(d.Get("DecodeParms"))
	if err != nil {
		return "", Value{}, err
	}
	if v.IsArray() {
		list, err := v.Array()
		if err != nil {
			return "", Value{}, err
		}
		if len(list) > 1 {
			return "", Value{}, unsupported("several filters")
		}
		if len(list) == 0 {
			return "", Value{}, nil
		}
		v = list[0]
		if p.IsArray() {
			params, err := p.Array()
			if err != nil || len(params) > 1 {
				return "", Value{}, malformed("DecodeParms")
			}
			p = Value{}
			if len(params) == 1 {
				p = params[0]
			}
		}
	}
	if v.Missing() || v.Null() {
		return "", Value{}, nil
	}
	name, ok := v.Name()
	if !ok {
		return "", Value{}, malformed("Filter")
	}
	return name, p, nil
}

// inflate reads a zlib stream of at most MaxInflated bytes.
func (f *File) inflate(src io.Reader) ([]byte, error) {
	z, err := zlib.NewReader(bufio.NewReader(src))
	if err != nil {
		return nil, malformed("a compressed stream: %v", err)
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(z, min(MaxInflated, maxWork-f.work)+1))
	if err != nil {
		return nil, malformed("a compressed stream: %v", err)
	}
	if n > MaxInflated {
		return nil, malformed("a stream of more than %d bytes", MaxInflated)
	}
	return b.Bytes(), f.spend(n)
}

// unpredict undoes PNG prediction (clause 7.4.4.4), in place.
func (f *File) unpredict(b []byte, params Value) ([]byte, error) {
	if params.Missing() || params.Null() {
		return b, nil
	}
	v, _, err := f.Resolve(params)
	if err != nil {
		return nil, err
	}
	d, err := v.Dict()
	if err != nil {
		return nil, err
	}
	number := func(key string, or int64) int64 {
		if n, ok := d.Get(key).Int(); ok {
			return n
		}
		return or
	}
	predictor := number("Predictor", 1)
	if predictor == 1 {
		return b, nil
	}
	if predictor < 10 || predictor > 15 {
		return nil, unsupported("predictor %d", predictor)
	}
	colors, bits, columns := number("Colors", 1), number("BitsPerComponent", 8), number("Columns", 1)
	if colors < 1 || colors > 32 || bits < 1 || bits > 16 || columns < 1 || columns > 1<<20 {
		return nil, malformed("DecodeParms")
	}
	pixel := int(max(colors*bits/8, 1))
	row := int((colors*bits*columns + 7) / 8)
	if len(b)%(row+1) != 0 {
		return nil, malformed("a predicted stream of %d bytes in rows of %d", len(b), row)
	}
	out := b[:0]
	above := make([]byte, row)
	for len(b) > 0 {
		method, line := b[0], b[1:row+1]
		if err := unfilter(method, line, above, pixel); err != nil {
			return nil, err
		}
		copy(above, line)
		out = append(out, line...) // behind what is still to be read
		b = b[row+1:]
	}
	return out, nil
}

// unfilter undoes one PNG filter (ISO/IEC 15948, clause 9).
func unfilter(method byte, line, above []byte, pixel int) error {
	for i := range line {
		var left, corner byte
		if i >= pixel {
			left, corner = line[i-pixel], above[i-pixel]
		}
		switch method {
		case 0:
		case 1:
			line[i] += left
		case 2:
			line[i] += above[i]
		case 3:
			line[i] += byte((int(left) + int(above[i])) / 2)
		case 4:
			line[i] += paeth(left, above[i], corner)
		default:
			return malformed("PNG filter %d", method)
		}
	}
	return nil
}

func paeth(a, b, c byte) byte {
	pa := abs(int(b) - int(c))
	pb := abs(int(a) - int(c))
	pc := abs(int(a) + int(b) - 2*int(c))
	switch {
	case pa <= pb && pa <= pc:
		return a
	case pb <= pc:
		return b
	}
	return c
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
