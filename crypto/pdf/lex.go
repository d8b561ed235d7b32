package pdf

import (
	"bytes"
	"errors"
)

// errShort says that the window ends inside what is read.
var errShort = errors.New("window too short")

// A lexer walks over the bytes of one window.
type lexer struct {
	b []byte
	i int
	// final tells that nothing follows b, so that its end ends a token.
	final bool
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

func isRegular(c byte) bool { return !isSpace(c) && !isDelimiter(c) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// short is the error for running out of bytes.
func (l *lexer) short() error {
	if l.final {
		return malformed("it ends inside an object")
	}
	return errShort
}

// space moves over white space and comments.
func (l *lexer) space() {
	for l.i < len(l.b) {
		c := l.b[l.i]
		switch {
		case isSpace(c):
			l.i++
		case c == '%':
			for l.i < len(l.b) && l.b[l.i] != '\n' && l.b[l.i] != '\r' {
				l.i++
			}
		default:
			return
		}
	}
}

// word moves over white space and the run of regular characters after it,
// which it returns; it is empty before a delimiter.
func (l *lexer) word() ([]byte, error) {
	l.space()
	from := l.i
	for l.i < len(l.b) && isRegular(l.b[l.i]) {
		l.i++
	}
	if l.i == len(l.b) && !l.final {
		return nil, errShort
	}
	return l.b[from:l.i], nil
}

// keyword moves over the word want. ok is false, and nothing moved, before
// anything else.
func (l *lexer) keyword(want string) (ok bool, err error) {
	from := l.i
	w, err := l.word()
	if err != nil || string(w) != want {
		l.i = from
		return false, err
	}
	return true, nil
}

// uint moves over an unsigned integer of at most 18 digits.
func (l *lexer) uint() (int64, error) {
	from := l.i
	w, err := l.word()
	if err != nil {
		return 0, err
	}
	n, ok := parseUint(w)
	if !ok {
		l.i = from
		return 0, malformed("a number is missing")
	}
	return n, nil
}

func parseUint(w []byte) (int64, bool) {
	if len(w) == 0 || len(w) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range w {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// value moves over white space and one object, "12 0 R" included, and returns
// where in b it begins; it ends at l.i.
func (l *lexer) value(depth int) (from int, err error) {
	l.space()
	if l.i >= len(l.b) {
		return 0, l.short()
	}
	if depth > MaxNesting {
		return 0, malformed("nesting deeper than %d", MaxNesting)
	}
	from = l.i
	switch c := l.b[l.i]; c {
	case '/':
		l.i++
		_, err = l.regular()
		return from, err
	case '(':
		return from, l.literal()
	case '[':
		l.i++
		return from, l.until(']', depth, false)
	case '<':
		if l.i+1 >= len(l.b) {
			return 0, l.short()
		}
		if l.b[l.i+1] == '<' {
			l.i += 2
			return from, l.until('>', depth, true)
		}
		return from, l.hex()
	default:
		w, err := l.regular()
		if err != nil {
			return 0, err
		}
		if isDigit(c) {
			return from, l.reference(w)
		}
		if c == '+' || c == '-' || c == '.' || string(w) == "true" || string(w) == "false" || string(w) == "null" {
			return from, nil
		}
		return 0, malformed("an object begins with %q", c)
	}
}

// regular moves over a run of regular characters.
func (l *lexer) regular() ([]byte, error) {
	from := l.i
	for l.i < len(l.b) && isRegular(l.b[l.i]) {
		l.i++
	}
	if l.i == len(l.b) && !l.final {
		return nil, errShort
	}
	return l.b[from:l.i], nil
}

// until moves over objects up to and over the closing bracket.
func (l *lexer) until(closing byte, depth int, dict bool) error {
	for {
		l.space()
		if l.i >= len(l.b) {
			return l.short()
		}
		if l.b[l.i] == closing {
			if !dict {
				l.i++
				return nil
			}
			if l.i+1 >= len(l.b) {
				return l.short()
			}
			if l.b[l.i+1] != '>' {
				return malformed("a dictionary ends with one >")
			}
			l.i += 2
			return nil
		}
		if dict {
			if l.b[l.i] != '/' {
				return malformed("a dictionary key is not a name")
			}
			if _, err := l.value(depth + 1); err != nil {
				return err
			}
		}
		if _, err := l.value(depth + 1); err != nil {
			return err
		}
	}
}

// literal moves over a string in parentheses.
func (l *lexer) literal() error {
	open := 0
	for ; l.i < len(l.b); l.i++ {
		switch l.b[l.i] {
		case '\\':
			l.i++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				l.i++
				return nil
			}
		}
	}
	l.i = len(l.b)
	return l.short()
}

// hex moves over a string in angle brackets.
func (l *lexer) hex() error {
	n := bytes.IndexByte(l.b[l.i:], '>')
	if n < 0 {
		l.i = len(l.b)
		return l.short()
	}
	for _, c := range l.b[l.i+1 : l.i+n] {
		if hexValues[c] == 0 && !isSpace(c) {
			return malformed("a hexadecimal string holds %q", c)
		}
	}
	l.i += n + 1
	return nil
}

// reference moves on from the word first if it and what follows are "n g R".
func (l *lexer) reference(first []byte) error {
	if _, ok := parseUint(first); !ok {
		return nil // another number
	}
	from := l.i
	gen, err := l.word()
	if err != nil {
		return err
	}
	if _, ok := parseUint(gen); ok {
		r, err := l.word()
		if err != nil {
			return err
		}
		if string(r) == "R" {
			return nil
		}
	}
	l.i = from
	return nil
}

// hexValues holds the value of each hexadecimal digit plus one.
var hexValues = func() (t [256]byte) {
	for i, c := range []byte("0123456789ABCDEF") {
		t[c] = byte(i + 1)
	}
	for i, c := range []byte("abcdef") {
		t[c] = byte(i + 11)
	}
	return t
}()

func unhex(c byte) (byte, bool) {
	v := hexValues[c]
	return v - 1, v != 0
}
