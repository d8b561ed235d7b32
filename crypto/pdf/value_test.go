package pdf

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parse reads one object that is all of text.
func parse(t *testing.T, text string) Value {
	l := lexer{b: []byte(text), final: true}
	from, err := l.value(0)
	require.NoError(t, err)
	return Value{Raw: l.b[from:l.i], Pos: int64(from)}
}

func TestValueEndsWhereItEnds(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"name", "/Name/Next", "/Name"},
		{"empty name", "/ 1", "/"},
		{"integer", "12 ", "12"},
		{"two integers", "12 13", "12"},
		{"reference", "12 0 R ", "12 0 R"},
		{"reference with comments", "12%x\n0 %y\nR/", "12%x\n0 %y\nR"},
		{"no reference", "12 0 Rx", "12"},
		{"real", "-.5]", "-.5"},
		{"nested parentheses", `(a(b)c\)d)e`, `(a(b)c\)d)`},
		{"backslash at the end", `(a\\)b`, `(a\\)`},
		{"hex", "<00 fF>x", "<00 fF>"},
		{"dictionary", "<</A<</B 1>>/C[1 2(]>>)]>>>>", "<</A<</B 1>>/C[1 2(]>>)]>>"},
		{"compact", "<</A/B/C(x)/D<00>/E[/F]/G 1 0 R/H null>>x", "<</A/B/C(x)/D<00>/E[/F]/G 1 0 R/H null>>"},
		{"comment before", "% hi\r\n true ", "true"},
		{"null byte is space", "\x00\x0c[\x001]", "[\x001]"},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, string(parse(t, c.text).Raw)) })
	}
}

func TestMalformedValue(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"nothing", " % only a comment"},
		{"open string", "(a(b)"},
		{"escaped end", `(a\`},
		{"open hex", "<00"},
		{"hex with a letter", "<0g>"},
		{"open array", "[1 2"},
		{"open dictionary", "<</A 1"},
		{"one bracket", "<</A 1>x"},
		{"value without key", "<<1 2>>"},
		{"key without value", "<</A>>"},
		{"word", "hello"},
		{"close", "]"},
		{"brace", "{"},
		{"too deep", strings.Repeat("[", MaxNesting+2) + strings.Repeat("]", MaxNesting+2)},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := lexer{b: []byte(c.text), final: true}
			_, err := l.value(0)
			assert.ErrorIs(t, err, ErrMalformed)
		})
	}
}

// A window that ends anywhere inside an object is told from a broken object.
func TestShortWindow(t *testing.T) {
	const text = "<</A 12 0 R/B(x\\)y)/C[<00ff>/N#20 -1.5 null]>> "
	for n := range len(text) - 1 {
		l := lexer{b: []byte(text[:n])}
		_, err := l.value(0)
		assert.ErrorIs(t, err, errShort, "%q", text[:n])
	}
}

func TestScalars(t *testing.T) {
	ref, ok := parse(t, "12 %c\n 3 R").Ref()
	assert.True(t, ok)
	assert.Equal(t, Ref{12, 3}, ref)
	for _, text := range []string{"12", "[1 0 R]", "8388608 0 R", "1 65536 R", "(R)"} {
		_, ok = parse(t, text).Ref()
		assert.False(t, ok, text)
	}
	n, ok := parse(t, "-17").Int()
	assert.True(t, ok)
	assert.EqualValues(t, -17, n)
	_, ok = parse(t, "1.0").Int()
	assert.False(t, ok)
	name, ok := parse(t, "/A#20B#zz#4").Name()
	assert.True(t, ok)
	assert.Equal(t, "A B#zz#4", name)
	_, ok = parse(t, "(x)").Name()
	assert.False(t, ok)
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "(abc)", "abc"},
		{"escapes", `(\n\r\t\b\f\(\)\\\x)`, "\n\r\t\b\f()\\x"},
		{"octal", `(\101\60\0019)`, "A0\x019"},
		{"octal overflow", `(\777)`, "\xff"},
		{"line ends", "(a\r\nb\rc\nd)", "a\nb\nc\nd"},
		{"broken line", "(a\\\r\nb\\\nc\\\rd)", "abcd"},
		{"hex", "<41 4\n2>", "AB"},
		{"odd hex", "<415>", "AP"},
		{"empty", "<>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, ok := parse(t, c.text).Bytes()
			assert.True(t, ok)
			assert.Equal(t, c.want, string(b))
		})
	}
}

func TestText(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"UTF-16", "<FEFF0429 D83DDE00>", "Щ😀"},
		{"UTF-8", "(\xef\xbb\xbfҚ)", "Қ"},
		{"broken UTF-8", "(\xef\xbb\xbf\xff)", "\uFFFD"},
		{"other", "(\xe9)", "é"},
		{"half a unit", "<FEFF04>", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := parse(t, c.text).Text()
			assert.True(t, ok)
			assert.Equal(t, c.want, s)
		})
	}
	for _, s := range []string{"", "Щукин (Шамиль) ӘҒҚҢӨҰҮҺІ", "😀\\)<>\x00"} {
		v := parse(t, string(AppendText(nil, s)))
		got, ok := v.Text()
		assert.True(t, ok)
		assert.Equal(t, s, got)
	}
}

func TestDictKeepsBytes(t *testing.T) {
	const text = "<</A#42 (\x01\\\r\n)%c\n/Re 1.50/Arr [ 1  2\r\n3 ] /D<</X  /Y>>/Null null>>"
	v := parse(t, text)
	d, err := v.Dict()
	require.NoError(t, err)
	d.Set("New", []byte("1 0 R"))
	d.Set("Re", []byte("2"))
	out := string(d.Append(nil))
	for _, kept := range []string{"/A#42 (\x01\\\r\n)", "/Arr [ 1  2\r\n3 ]", "/D <</X  /Y>>", "/Null null", "/Re 2", "/New 1 0 R"} {
		assert.Contains(t, out, kept)
	}
	assert.NotContains(t, out, "1.50")
	again, err := parse(t, out).Dict()
	require.NoError(t, err)
	s, _ := again.Get("AB").Bytes()
	assert.Equal(t, "\x01", string(s), "a key with an escape is found")
	again.Delete("AB")
	assert.True(t, again.Get("AB").Missing())
}

func TestDictWithAKeyTwice(t *testing.T) {
	d, err := parse(t, "<</A 1/B 2/A 3>>").Dict()
	require.NoError(t, err)
	assert.Equal(t, "3", string(d.Get("A").Raw))
	assert.Equal(t, 2, d.Count("A"))
	c := d.Clone()
	c.Set("A", []byte("4"))
	assert.Equal(t, 1, c.Count("A"))
	assert.Equal(t, 2, d.Count("A"), "the clone is a clone")
	assert.Equal(t, "3", string(d.Get("A").Raw))
}

// Positions are offsets in the file, down to nested values.
func TestPositions(t *testing.T) {
	const text = "   <</A [ 1 <</B (x)>> ]>>"
	d, err := parse(t, text).Dict()
	require.NoError(t, err)
	list, err := d.Get("A").Array()
	require.NoError(t, err)
	inner, err := list[1].Dict()
	require.NoError(t, err)
	v := inner.Get("B")
	assert.Equal(t, "(x)", text[v.Pos:v.End()])
}

// FuzzValue: what is read as one object reads the same when it is alone, and a
// dictionary that is written out holds the same keys and values.
func FuzzValue(f *testing.F) {
	for _, s := range []string{"<</A[1 0 R(x\\))<00>]/B null>>", "[[[]]]", "(((", "<<<<>>", "1 0 R", "/#41#4"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := lexer{b: b, final: true}
		from, err := l.value(0)
		if err != nil {
			return
		}
		v := Value{Raw: b[from:l.i]}
		alone := lexer{b: v.Raw, final: true}
		if i, err := alone.value(0); err != nil || i != 0 || alone.i != len(v.Raw) {
			t.Fatalf("%q alone: %d %d %v", v.Raw, i, alone.i, err)
		}
		_, _ = v.Text()
		_, _ = v.Name()
		_, _ = v.Ref()
		if v.IsArray() {
			if _, err := v.Array(); err != nil {
				t.Fatalf("%q: %v", v.Raw, err)
			}
		}
		if !v.IsDict() {
			return
		}
		d, err := v.Dict()
		if err != nil {
			t.Fatalf("%q: %v", v.Raw, err)
		}
		again, err := Value{Raw: d.Append(nil)}.Dict()
		if err != nil || len(again.entries) != len(d.entries) {
			t.Fatalf("%q written: %v", v.Raw, err)
		}
		for i, e := range d.entries {
			if !bytes.Equal(e.key, again.entries[i].key) || !bytes.Equal(e.value.Raw, again.entries[i].value.Raw) {
				t.Fatalf("%q: entry %d changed", v.Raw, i)
			}
		}
	})
}
