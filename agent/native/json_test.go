package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                 ``,
		"space":                   ` `,
		"two values":              `{} {}`,
		"text after the end":      `{}x`,
		"byte order mark":         "\ufeff{}",
		"NUL after the end":       "{}\x00",
		"doubled key":             `{"a":1,"a":1}`,
		"doubled key in disguise": `{"a":1,"\u0061":1}`,
		"doubled key deep down":   `[{"b":{"a":1,"a":2}}]`,
		"too deep":                strings.Repeat("[", 33) + strings.Repeat("]", 33),
		"never closed":            strings.Repeat("[", 1000),
		"too many values":         "[" + strings.Repeat("1,", 1000) + "1]",
		"not UTF-8":               "\"\xff\"",
		"overlong UTF-8":          "\"\xc0\xaf\"",
		"surrogate in UTF-8":      "\"\xed\xa0\x80\"",
		"lone high surrogate":     `"\ud800"`,
		"lone low surrogate":      `"\udc00"`,
		"two high surrogates":     `"\ud800\ud800"`,
		"half an escape":          `"\ud800\u12"`,
		"unknown escape":          `"\x"`,
		"escape at the end":       `"\`,
		"bad hex":                 `"\u00g0"`,
		"signed hex":              `"\u+001"`,
		"line break in a string":  "\"a\nb\"",
		"string without an end":   `"abc`,
		"single quotes":           `{'a':1}`,
		"bare key":                `{a:1}`,
		"comma at the end":        `{"a":1,}`,
		"comma at the start":      `[,1]`,
		"no comma":                `[1 2]`,
		"no colon":                `{"a" 1}`,
		"no value":                `{"a":}`,
		"comment":                 `{/**/}`,
		"leading zero":            `01`,
		"plus":                    `+1`,
		"bare point":              `.5`,
		"point without digits":    `1.`,
		"exponent without digits": `1e`,
		"bare minus":              `-`,
		"hex":                     `0x10`,
		"NaN":                     `NaN`,
		"Infinity":                `-Infinity`,
		"word cut short":          `tru`,
		"word in capitals":        `True`,
		"wrong bracket":           `[1}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(text), 32, 1000)
			assert.ErrorIs(t, err, errMalformed)
		})
	}
}

func TestParseTakes(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `null`, ` { "a" : [ 1 , -0.5e+3 , true , false , null , "x" ] } `, `""`,
		`"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00\u0000"`, `{"A":1,"a":2}`, `0`, `-0`, `1E5`, strings.Repeat("[", 32) + strings.Repeat("]", 32),
		`"` + "\u007f\u2028" + `"`, `"\uFFFD"`,
	} {
		v, err := parse([]byte(text), 32, 1000)
		require.NoError(t, err, text)
		assertSame(t, text, v)
	}
}

// assertSame compares a value with what encoding/json reads.
func assertSame(t *testing.T, text string, v *value) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var want any
	require.NoError(t, d.Decode(&want), text)
	assert.Equal(t, want, plain(v), text)
}

// plain turns a value into what encoding/json would make of it.
func plain(v *value) any {
	switch v.kind {
	case kindBool:
		return v.bool
	case kindNumber:
		return json.Number(v.text)
	case kindString:
		return string(v.text)
	case kindArray:
		out := make([]any, len(v.items))
		for i := range v.items {
			out[i] = plain(&v.items[i])
		}
		return out
	case kindObject:
		out := map[string]any{}
		for i, k := range v.keys {
			out[k] = plain(&v.items[i])
		}
		return out
	}
	return nil
}

// write is the value as text again.
func write(b *bytes.Buffer, v *value) {
	switch v.kind {
	case kindNull:
		b.WriteString("null")
	case kindBool:
		b.WriteString(strconv.FormatBool(v.bool))
	case kindNumber:
		b.Write(v.text)
	case kindString:
		s, _ := json.Marshal(string(v.text))
		b.Write(s)
	case kindArray:
		for i := range v.items {
			b.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
			write(b, &v.items[i])
		}
		b.WriteString(map[bool]string{true: "[]", false: "]"}[len(v.items) == 0])
	case kindObject:
		for i, k := range v.keys {
			b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
			s, _ := json.Marshal(k)
			b.Write(s)
			b.WriteByte(':')
			write(b, &v.items[i])
		}
		b.WriteString(map[bool]string{true: "{}", false: "}"}[len(v.items) == 0])
	}
}

// FuzzParse: what we take, encoding/json takes too and reads the same; written
// again it is the same value; the number of values stays within its bound.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"jsonrpc":"2.0","id":1,"method":"hello","params":{"nonce":"x"}}`, `{"a":1,"a":2}`, `"\ud83d\ude00"`, `[[[]]]`, `-1.5e-7`, `{"":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b, 32, 200)
		if err != nil {
			return
		}
		if !utf8.Valid(b) || !json.Valid(b) {
			t.Fatalf("taken, but encoding/json does not: %q", b)
		}
		assertSame(t, string(b), v)
		var again bytes.Buffer
		write(&again, v)
		w, err := parse(again.Bytes(), 32, 200)
		if err != nil {
			t.Fatalf("%q written as %q: %v", b, again.Bytes(), err)
		}
		if fmt.Sprint(plain(w)) != fmt.Sprint(plain(v)) {
			t.Fatalf("%q is not %q", again.Bytes(), b)
		}
	})
}

// FuzzDecode: no message makes the decoder of requests or of sign panic, and
// an answer to it can be written.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":"x","method":"sign","params":` + signOne("j") + `}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"sign","params":{"documents":[{}],"filter":{},"delivery":{}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, p := decode(b, 32, 1000)
		if !json.Valid(req.id) {
			t.Fatalf("id %q", req.id)
		}
		if p == nil {
			_, p = decodeSign(req.params, crm, limits{document: 1000, job: 2000, documents: 10})
		}
		if p != nil && (Texts[p.Code] == "" || !json.Valid(encodeError(req.id, p))) {
			t.Fatalf("problem %+v", p)
		}
	})
}
