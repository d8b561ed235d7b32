package pdf

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A Value is one object as its bytes stand in the file. The zero Value is a
// missing one.
type Value struct {
	// Raw is the object without surrounding white space.
	Raw []byte
	// Pos is the offset of Raw[0] in the file, -1 for an object out of an
	// object stream.
	Pos int64
}

// Missing reports whether there is no value.
func (v Value) Missing() bool { return len(v.Raw) == 0 }

// Null reports whether v is the null object.
func (v Value) Null() bool { return string(v.Raw) == "null" }

// IsDict reports whether v is a dictionary.
func (v Value) IsDict() bool { return bytes.HasPrefix(v.Raw, []byte("<<")) }

// IsArray reports whether v is an array.
func (v Value) IsArray() bool { return len(v.Raw) > 0 && v.Raw[0] == '[' }

// IsHex reports whether v is a hexadecimal string.
func (v Value) IsHex() bool { return len(v.Raw) > 1 && v.Raw[0] == '<' && v.Raw[1] != '<' }

// End returns the offset after the value's last byte.
func (v Value) End() int64 { return v.Pos + int64(len(v.Raw)) }

// sub is the value at raw[from:to].
func (v Value) sub(from, to int) Value {
	pos := int64(-1)
	if v.Pos >= 0 {
		pos = v.Pos + int64(from)
	}
	return Value{Raw: v.Raw[from:to:to], Pos: pos}
}

// Ref returns the reference that v is.
func (v Value) Ref() (Ref, bool) {
	if len(v.Raw) == 0 || v.Raw[len(v.Raw)-1] != 'R' || !isDigit(v.Raw[0]) {
		return Ref{}, false
	}
	l := lexer{b: v.Raw, final: true}
	num, err := l.uint()
	if err != nil || num > MaxObjectNumber {
		return Ref{}, false
	}
	gen, err := l.uint()
	if err != nil || gen > 65535 {
		return Ref{}, false
	}
	if ok, _ := l.keyword("R"); !ok || l.i != len(l.b) {
		return Ref{}, false
	}
	return Ref{int(num), int(gen)}, true
}

// Int returns the integer that v is.
func (v Value) Int() (int64, bool) {
	n, err := strconv.ParseInt(string(v.Raw), 10, 64)
	return n, err == nil
}

// Name returns the name that v is, without the solidus and with #xx decoded.
func (v Value) Name() (string, bool) {
	if len(v.Raw) == 0 || v.Raw[0] != '/' {
		return "", false
	}
	return decodeName(v.Raw[1:]), true
}

func decodeName(raw []byte) string {
	if bytes.IndexByte(raw, '#') < 0 {
		return string(raw)
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '#' && i+2 < len(raw) {
			h, ok1 := unhex(raw[i+1])
			l, ok2 := unhex(raw[i+2])
			if ok1 && ok2 {
				out = append(out, h<<4|l)
				i += 2
				continue
			}
		}
		out = append(out, raw[i])
	}
	return string(out)
}

// Array returns the elements of the array that v is, at most MaxElements.
func (v Value) Array() ([]Value, error) {
	if !v.IsArray() {
		return nil, malformed("an array is something else")
	}
	l := lexer{b: v.Raw, i: 1, final: true}
	var out []Value
	for {
		l.space()
		if l.i < len(l.b) && l.b[l.i] == ']' {
			return out, nil
		}
		from, err := l.value(0)
		if err != nil {
			return nil, err
		}
		if len(out) == MaxElements {
			return nil, malformed("an array of more than %d elements", MaxElements)
		}
		out = append(out, v.sub(from, l.i))
	}
}

// Dict returns the dictionary that v is, of at most MaxKeys.
func (v Value) Dict() (*Dict, error) {
	if !v.IsDict() {
		return nil, malformed("a dictionary is something else")
	}
	d := &Dict{entries: make([]dictEntry, 0, 12)}
	l := lexer{b: v.Raw, i: 2, final: true}
	for {
		l.space()
		if l.i < len(l.b) && l.b[l.i] == '>' {
			return d, nil
		}
		from, err := l.value(0)
		if err != nil {
			return nil, err
		}
		key := v.Raw[from:l.i]
		if key[0] != '/' {
			return nil, malformed("a dictionary key is not a name")
		}
		if from, err = l.value(0); err != nil {
			return nil, err
		}
		if len(d.entries) == MaxKeys {
			return nil, malformed("a dictionary of more than %d keys", MaxKeys)
		}
		d.entries = append(d.entries, dictEntry{key, v.sub(from, l.i)})
	}
}

// Bytes returns the octets of the string that v is, in parentheses or
// hexadecimal.
func (v Value) Bytes() ([]byte, bool) {
	switch {
	case v.IsHex():
		return unhexString(v.Raw[1 : len(v.Raw)-1]), true
	case len(v.Raw) > 1 && v.Raw[0] == '(':
		return unescape(v.Raw[1 : len(v.Raw)-1]), true
	}
	return nil, false
}

func unhexString(raw []byte) []byte {
	out := make([]byte, 0, (len(raw)+1)/2)
	half, first := false, byte(0)
	for _, c := range raw {
		d, ok := unhex(c)
		switch {
		case !ok:
		case half:
			out, half = append(out, first<<4|d), false
		default:
			first, half = d, true
		}
	}
	if half { // a missing last digit is 0: clause 7.3.4.3
		out = append(out, first<<4)
	}
	return out
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f'}

// unescape decodes a literal string, clause 7.3.4.2.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '\r' { // an end of line is one line feed
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
			out = append(out, '\n')
			continue
		}
		if c != '\\' || i+1 == len(raw) {
			out = append(out, c)
			continue
		}
		i++
		switch c = raw[i]; {
		case escapes[c] != 0:
			out = append(out, escapes[c])
		case c >= '0' && c <= '7':
			n := 0
			j := i
			for ; j < len(raw) && j < i+3 && raw[j] >= '0' && raw[j] <= '7'; j++ {
				n = n*8 + int(raw[j]-'0')
			}
			i = j - 1
			out = append(out, byte(n))
		case c == '\r':
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
		case c == '\n':
		default:
			out = append(out, c)
		}
	}
	return out
}

// Text returns the text string that v is: UTF-16BE or UTF-8 with a byte order
// mark, otherwise PDFDocEncoding, of which the part above 127 is read as
// Latin-1.
func (v Value) Text() (string, bool) {
	b, ok := v.Bytes()
	if !ok {
		return "", false
	}
	switch {
	case bytes.HasPrefix(b, []byte{0xFE, 0xFF}):
		u := make([]uint16, 0, len(b)/2)
		for i := 2; i+1 < len(b); i += 2 {
			u = append(u, uint16(b[i])<<8|uint16(b[i+1]))
		}
		return string(utf16.Decode(u)), true
	case bytes.HasPrefix(b, []byte{0xEF, 0xBB, 0xBF}):
		return string(bytes.ToValidUTF8(b[3:], []byte(string(utf8.RuneError)))), true
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r), true
}

const hexDigits = "0123456789ABCDEF"

// AppendText appends s as a text string in UTF-16BE, written in hexadecimal so
// that no byte of it can be taken for a delimiter.
func AppendText(b []byte, s string) []byte {
	b = append(b, "<FEFF"...)
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
	}
	return append(b, '>')
}
