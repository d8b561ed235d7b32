package native

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// errMalformed reports text that is not one JSON value as RFC 8259 and RFC
// 7493 (I-JSON) have it, or is beyond a bound.
var errMalformed = errors.New("malformed JSON")

func malformed(what string, at int) error {
	return fmt.Errorf("%w: %s at byte %d", errMalformed, what, at)
}

// A kind is the type of a JSON value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// A value is one JSON value. Text without escapes is a part of the message,
// not a copy: a document of 24 MB in base64 is not held twice.
type value struct {
	kind kind
	bool bool
	// text is a string's content, or a number as it is written.
	text []byte
	// keys are an object's, in order; items its values or an array's.
	keys  []string
	items []value
}

// get returns the member of an object with exactly this key.
func (v *value) get(key string) (*value, bool) {
	for i, k := range v.keys {
		if k == key {
			return &v.items[i], true
		}
	}
	return nil, false
}

// parse reads one value that is all of b. It refuses what JSON parsers read
// differently: doubled keys, invalid UTF-8, lone surrogates, data after the
// end. depth bounds the nesting, values their number, so that a message cannot
// take much more memory than it is long.
func parse(b []byte, depth, values int) (*value, error) {
	if !utf8.Valid(b) {
		return nil, malformed("not UTF-8", 0)
	}
	p := &parser{b: b, values: values}
	var v value
	if err := p.value(&v, depth); err != nil {
		return nil, err
	}
	p.space()
	if p.i != len(b) {
		return nil, malformed("data after the end", p.i)
	}
	return &v, nil
}

type parser struct {
	b      []byte
	i      int
	values int
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\n' || p.b[p.i] == '\r') {
		p.i++
	}
}

// next skips space and returns the next byte without taking it, 0 at the end.
func (p *parser) next() byte {
	p.space()
	if p.i == len(p.b) {
		return 0
	}
	return p.b[p.i]
}

func (p *parser) value(v *value, depth int) error {
	if p.values--; p.values < 0 {
		return malformed("too many values", p.i)
	}
	switch c := p.next(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return malformed("nested too deep", p.i)
		}
		if c == '{' {
			return p.object(v, depth-1)
		}
		return p.array(v, depth-1)
	case c == '"':
		v.kind = kindString
		var err error
		v.text, err = p.string()
		return err
	case c == '-' || (c >= '0' && c <= '9'):
		v.kind = kindNumber
		return p.number(v)
	case c == 't':
		v.kind, v.bool = kindBool, true
		return p.word("true")
	case c == 'f':
		v.kind = kindBool
		return p.word("false")
	case c == 'n':
		v.kind = kindNull
		return p.word("null")
	}
	return malformed("no value", p.i)
}

func (p *parser) word(w string) error {
	if len(p.b)-p.i < len(w) || string(p.b[p.i:p.i+len(w)]) != w {
		return malformed("no value", p.i)
	}
	p.i += len(w)
	return nil
}

func (p *parser) object(v *value, depth int) error {
	v.kind = kindObject
	p.i++
	if p.next() == '}' {
		p.i++
		return nil
	}
	seen := map[string]bool{}
	for {
		if p.next() != '"' {
			return malformed("no key", p.i)
		}
		at := p.i
		text, err := p.string()
		if err != nil {
			return err
		}
		key := string(text)
		if seen[key] {
			return malformed("doubled key", at)
		}
		seen[key] = true
		if p.next() != ':' {
			return malformed("no colon", p.i)
		}
		p.i++
		v.keys = append(v.keys, key)
		v.items = append(v.items, value{})
		if err := p.value(&v.items[len(v.items)-1], depth); err != nil {
			return err
		}
		more, err := p.more('}')
		if !more {
			return err
		}
	}
}

func (p *parser) array(v *value, depth int) error {
	v.kind = kindArray
	p.i++
	if p.next() == ']' {
		p.i++
		return nil
	}
	for {
		v.items = append(v.items, value{})
		if err := p.value(&v.items[len(v.items)-1], depth); err != nil {
			return err
		}
		more, err := p.more(']')
		if !more {
			return err
		}
	}
}

// more takes a comma (true) or the end.
func (p *parser) more(end byte) (bool, error) {
	switch p.next() {
	case ',':
		p.i++
		return true, nil
	case end:
		p.i++
		return false, nil
	}
	return false, malformed("no comma", p.i)
}

func (p *parser) number(v *value) error {
	start := p.i
	digits := func() int {
		n := p.i
		for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
			p.i++
		}
		return p.i - n
	}
	if p.b[p.i] == '-' {
		p.i++
	}
	first := p.i
	if n := digits(); n == 0 || (n > 1 && p.b[first] == '0') {
		return malformed("number", start)
	}
	if p.i < len(p.b) && p.b[p.i] == '.' {
		p.i++
		if digits() == 0 {
			return malformed("number", start)
		}
	}
	if p.i < len(p.b) && (p.b[p.i] == 'e' || p.b[p.i] == 'E') {
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if digits() == 0 {
			return malformed("number", start)
		}
	}
	v.text = p.b[start:p.i]
	return nil
}

// string takes a string and returns its content: a part of the message when
// there are no escapes.
func (p *parser) string() ([]byte, error) {
	p.i++
	start := p.i
	var out []byte
	escaped := false
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			s := p.b[start:p.i]
			p.i++
			if escaped {
				return append(out, s...), nil
			}
			return s, nil
		case c < ' ':
			return nil, malformed("control character in a string", p.i)
		case c == '\\':
			out = append(out, p.b[start:p.i]...)
			escaped = true
			var err error
			if out, err = p.escape(out); err != nil {
				return nil, err
			}
			start = p.i
		default:
			p.i++
		}
	}
	return nil, malformed("string without an end", start)
}

// escapes are the two-character escapes of RFC 8259.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) escape(out []byte) ([]byte, error) {
	at := p.i
	if p.i+1 >= len(p.b) {
		return nil, malformed("escape", at)
	}
	c := p.b[p.i+1]
	p.i += 2
	if r, ok := escapes[c]; ok {
		return append(out, r), nil
	}
	if c != 'u' {
		return nil, malformed("escape", at)
	}
	r, ok := p.hex4()
	if !ok {
		return nil, malformed("escape", at)
	}
	if utf16.IsSurrogate(r) {
		if p.i+1 >= len(p.b) || p.b[p.i] != '\\' || p.b[p.i+1] != 'u' {
			return nil, malformed("lone surrogate", at)
		}
		p.i += 2
		low, ok := p.hex4()
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return nil, malformed("lone surrogate", at)
		}
	}
	return utf8.AppendRune(out, r), nil
}

func (p *parser) hex4() (rune, bool) {
	if len(p.b)-p.i < 4 {
		return 0, false
	}
	for _, c := range p.b[p.i : p.i+4] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 16)
	p.i += 4
	return rune(n), err == nil
}
