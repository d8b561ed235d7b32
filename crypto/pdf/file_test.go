package pdf_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/pdf"
	"tanba/crypto/pdf/pdftest"
)

func open(b []byte) (*pdf.File, error) { return pdf.Open(bytes.NewReader(b), int64(len(b))) }

func must(t testing.TB, b []byte) *pdf.File {
	f, err := open(b)
	require.NoError(t, err)
	return f
}

// text returns an object's bytes.
func text(t testing.TB, f *pdf.File, num int) string {
	o, err := f.Object(pdf.Ref{Num: num})
	require.NoError(t, err)
	return string(o.Raw)
}

// kinds makes the same document with every kind of cross-reference.
func kinds() map[string][]byte {
	table := &pdftest.Maker{}
	table.Pages("", "")
	stream := &pdftest.Maker{}
	stream.Object(3, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << >>  >>")
	stream.Pack(4, 1, "<< /Type /Catalog /Pages 2 0 R  >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	flate := &pdftest.Maker{}
	flate.Pages("", "")
	hybrid := &pdftest.Maker{}
	hybrid.Pages("", "")
	hybrid.Pack(9, 5, "(hidden)", "[5 0 R]")
	return map[string][]byte{
		"table":  table.Table("/Root 1 0 R"),
		"stream": stream.XRef("/Root 1 0 R", false),
		"flate":  flate.XRef("/Root 1 0 R", true),
		"hybrid": hybrid.Hybrid("/Root 1 0 R"),
	}
}

func TestKinds(t *testing.T) {
	for name, b := range kinds() {
		t.Run(name, func(t *testing.T) {
			f := must(t, b)
			assert.Equal(t, pdf.Ref{Num: 1}, f.Root())
			assert.False(t, f.Encrypted())
			assert.Equal(t, "<< /Type /Catalog /Pages 2 0 R  >>", text(t, f, 1))
			assert.Equal(t, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", text(t, f, 2))
			assert.Contains(t, text(t, f, 3), "/MediaBox")
			assert.Equal(t, "null", text(t, f, 77), "a number that nobody lists")
			assert.Equal(t, "null", text(t, f, 0))
			o, err := f.Object(pdf.Ref{Num: 3, Gen: 1})
			require.NoError(t, err)
			assert.True(t, o.Null(), "another generation")
			if name == "hybrid" {
				assert.Equal(t, "(hidden)", text(t, f, 5))
				v, ref, err := f.Resolve(pdf.Value{Raw: []byte("6 0 R")})
				require.NoError(t, err)
				assert.Equal(t, pdf.Ref{Num: 6}, ref)
				assert.EqualValues(t, -1, v.Pos, "an object out of a stream has no place in the file")
			}
		})
	}
}

// The newest section counts, and a deleted object is gone.
func TestSections(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	m.Object(4, "(old)")
	m.Object(5, "(kept)")
	m.Table("/Root 1 0 R")
	m.Object(4, "(new)")
	b := m.Table("/Root 1 0 R")
	f := must(t, b)
	assert.Equal(t, "(new)", text(t, f, 4))
	assert.Equal(t, "(kept)", text(t, f, 5))
	at, prev := m.Len(), bytes.LastIndex(b, []byte("\nxref"))+1
	m.Raw(fmt.Sprintf("xref\n4 1\n0000000000 00001 f \ntrailer\n<< /Size 6 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n", prev, at))
	f = must(t, m.Bytes())
	assert.Equal(t, "null", text(t, f, 4))
	assert.Equal(t, "(kept)", text(t, f, 5))
}

// Lines of a table that are not 20 bytes long are read all the same.
func TestLooseTable(t *testing.T) {
	b := kinds()["table"]
	loose := bytes.ReplaceAll(b, []byte(" n \n"), []byte(" n\n"))
	loose = bytes.ReplaceAll(loose, []byte(" f \n"), []byte(" f\n"))
	require.NotEqual(t, len(b), len(loose))
	assert.Contains(t, text(t, must(t, loose), 3), "/MediaBox")
}

func TestHeaderOffset(t *testing.T) {
	b := kinds()["table"]
	f := must(t, append([]byte("junk\n"), b...)) // offsets count from the header
	assert.EqualValues(t, 5, f.HeaderOffset())
	assert.Contains(t, text(t, f, 3), "/MediaBox")
	_, err := f.NewUpdate().Bytes()
	assert.ErrorIs(t, err, pdf.ErrMalformed)

	const junk = "0123456789"
	sound := string(b) // offsets count from the first byte
	for n := 9; n >= 0; n-- {
		sound = strings.ReplaceAll(sound, fmt.Sprintf("%010d 00000 n", offsetOf(b, n)), fmt.Sprintf("%010d 00000 n", offsetOf(b, n)+len(junk)))
	}
	at := bytes.LastIndex(b, []byte("\nxref")) + 1
	sound = strings.Replace(sound, fmt.Sprintf("startxref\n%d", at), fmt.Sprintf("startxref\n%d", at+len(junk)), 1)
	f = must(t, []byte(junk+sound))
	assert.EqualValues(t, len(junk), f.HeaderOffset())
	assert.Contains(t, text(t, f, 3), "/MediaBox")
}

// offsetOf returns where object n begins, -1 if it is not there.
func offsetOf(b []byte, n int) int {
	i := bytes.Index(b, fmt.Appendf(nil, "\n%d 0 obj", n))
	if i < 0 {
		return -1
	}
	return i + 1
}

func TestRefused(t *testing.T) {
	sound := string(kinds()["table"])
	swap := func(old, new string) []byte {
		require.Contains(t, sound, old)
		return []byte(strings.Replace(sound, old, new, 1))
	}
	made := func(make func(m *pdftest.Maker) []byte) []byte { return make(&pdftest.Maker{}) }
	bomb := pdftest.Deflate(make([]byte, pdf.MaxInflated+1))
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"empty", nil, pdf.ErrNotPDF},
		{"text", []byte(strings.Repeat("hello ", 1000)), pdf.ErrNotPDF},
		{"late header", append(make([]byte, 1024), sound...), pdf.ErrNotPDF},
		{"header alone", []byte("%PDF-1.7\n"), pdf.ErrMalformed},
		{"no startxref", swap("startxref", "startXref"), pdf.ErrMalformed},
		{"startxref without number", swap("startxref\n", "startxref\nx"), pdf.ErrMalformed},
		{"startxref into the void", swap("startxref\n", "startxref\n99"), pdf.ErrMalformed},
		{"startxref of 30 digits", swap("startxref\n", "startxref\n111111111111111111111111111"), pdf.ErrMalformed},
		{"startxref on an object", []byte(sound[:strings.LastIndex(sound, "startxref")] + "startxref\n15\n%%EOF"), pdf.ErrMalformed},
		{"direct root", swap("/Root 1 0 R", "/Root << >>"), pdf.ErrMalformed},
		{"no root", swap("/Root", "/Toor"), pdf.ErrMalformed},
		{"no trailer", swap("trailer", "tr4iler"), pdf.ErrMalformed},
		{"trailer is no dictionary", swap("trailer\n<<", "trailer\n[<<"), pdf.ErrMalformed},
		{"prev is itself", made(func(m *pdftest.Maker) []byte {
			m.Pages("", "")
			return m.Table(fmt.Sprintf("/Root 1 0 R /Prev %d", m.Len()))
		}), pdf.ErrMalformed},
		{"prev is a name", made(func(m *pdftest.Maker) []byte { m.Pages("", ""); return m.Table("/Root 1 0 R /Prev /X") }), pdf.ErrMalformed},
		{"prev into the void", made(func(m *pdftest.Maker) []byte { m.Pages("", ""); return m.Table("/Root 1 0 R /Prev 999999") }), pdf.ErrMalformed},
		{"negative prev", made(func(m *pdftest.Maker) []byte { m.Pages("", ""); return m.Table("/Root 1 0 R /Prev -5") }), pdf.ErrMalformed},
		{"XRefStm is a table", made(func(m *pdftest.Maker) []byte {
			m.Pages("", "")
			at := m.Len()
			m.Table("/Root 1 0 R")
			return m.Table(fmt.Sprintf("/Root 1 0 R /XRefStm %d", at))
		}), pdf.ErrMalformed},
		{"a number twice", swap("xref\n0 1\n0000000000 65535 f \n", "xref\n0 1\n0000000000 65535 f \n1 1\n0000000015 00000 n \n"), pdf.ErrMalformed},
		{"a number beyond all", swap("xref\n0 1\n", "xref\n9999999 1\n"), pdf.ErrMalformed},
		{"a million lines that are not there", swap("xref\n0 1\n", "xref\n0 1000000\n"), pdf.ErrMalformed},
		{"more loose lines than allowed", swap("xref\n0 1\n", "xref\n0 8388607\n"), pdf.ErrMalformed},
		{"xref stream: no W", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 1 /Index [0 1]", make([]byte, 3)) }), pdf.ErrMalformed},
		{"xref stream: wide W", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 1 /W [1 9 1]", make([]byte, 11)) }), pdf.ErrMalformed},
		{"xref stream: W of zeros", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 1 /W [0 0 0]", make([]byte, 11)) }), pdf.ErrMalformed},
		{"xref stream: too short", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 5 /W [1 2 1]", make([]byte, 11)) }), pdf.ErrMalformed},
		{"xref stream: huge size", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 99999999999 /W [1 2 1]", make([]byte, 11)) }), pdf.ErrMalformed},
		{"xref stream: odd index", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 5 /W [1 2 1] /Index [0]", make([]byte, 40)) }), pdf.ErrMalformed},
		{"xref stream: negative index", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 5 /W [1 2 1] /Index [-1 2]", make([]byte, 40)) }), pdf.ErrMalformed},
		{"xref stream: many ranges", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 5 /W [1 2 1] /Index ["+strings.Repeat("0 1 ", 2<<20)+"]", make([]byte, 40))
		}), pdf.ErrMalformed},
		{"xref stream: many entries", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 5 /W [8 8 8] /Index ["+strings.Repeat("0 8388600 ", 1000)+"]", make([]byte, 40))
		}), pdf.ErrMalformed},
		{"xref stream: a bomb", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 9 /W [1 2 1] /Filter /FlateDecode", bomb) }), pdf.ErrMalformed},
		{"xref stream: no flate", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 1 /W [1 2 1] /Filter /FlateDecode", []byte("not zlib"))
		}), pdf.ErrMalformed},
		{"xref stream: another filter", made(func(m *pdftest.Maker) []byte { return raw(m, "/Size 1 /W [1 2 1] /Filter /LZWDecode", make([]byte, 9)) }), pdf.ErrUnsupported},
		{"xref stream: two filters", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 1 /W [1 2 1] /Filter [/FlateDecode /FlateDecode]", make([]byte, 9))
		}), pdf.ErrUnsupported},
		{"xref stream: TIFF predictor", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 1 /W [1 2 1] /Filter /FlateDecode /DecodeParms << /Predictor 2 /Columns 4 >>", pdftest.Deflate(make([]byte, 8)))
		}), pdf.ErrUnsupported},
		{"xref stream: huge columns", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 1 /W [1 2 1] /Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 999999999 >>", pdftest.Deflate(make([]byte, 8)))
		}), pdf.ErrMalformed},
		{"xref stream: PNG filter 9", made(func(m *pdftest.Maker) []byte {
			return raw(m, "/Size 1 /W [1 2 1] /Filter /FlateDecode /DecodeParms << /Predictor 12 /Columns 4 >>", pdftest.Deflate([]byte{9, 0, 0, 0, 0}))
		}), pdf.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := time.Now()
			_, err := open(c.file)
			assert.ErrorIs(t, err, c.want)
			assert.Less(t, time.Since(from), 5*time.Second)
		})
	}
}

// raw writes a cross-reference stream as told.
func raw(m *pdftest.Maker, dict string, data []byte) []byte {
	m.Pages("", "")
	at := m.Len()
	m.Raw(fmt.Sprintf("9 0 obj\n<< /Type /XRef /Root 1 0 R %s /Length %d >>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n", dict, len(data), data, at))
	return m.Bytes()
}

// Objects that cannot be read: each is an error at once.
func TestBrokenObjects(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(m *pdftest.Maker)
		want error
	}{
		{"a chain of references without end", func(m *pdftest.Maker) { m.Object(5, "6 0 R"); m.Object(6, "5 0 R") }, pdf.ErrMalformed},
		{"deep nesting", func(m *pdftest.Maker) { m.Object(5, strings.Repeat("[", 100_000)) }, pdf.ErrMalformed},
		{"too long", func(m *pdftest.Maker) { m.Object(5, "("+strings.Repeat("x", pdf.MaxObject)+")") }, pdf.ErrMalformed},
		{"nothing there", func(m *pdftest.Maker) { m.Object(5, "}") }, pdf.ErrMalformed},
		{"sound", func(m *pdftest.Maker) { m.Object(5, "6 0 R"); m.Object(6, "1") }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &pdftest.Maker{}
			m.Pages("", "")
			c.make(m)
			f := must(t, m.Table("/Root 1 0 R"))
			from := time.Now()
			_, _, err := f.Resolve(pdf.Value{Raw: []byte("5 0 R")})
			assert.ErrorIs(t, err, c.want)
			assert.Less(t, time.Since(from), 5*time.Second)
		})
	}
}

// Arrays and dictionaries that would take much more memory than bytes.
func TestManyElements(t *testing.T) {
	v := pdf.Value{Raw: []byte("[" + strings.Repeat("0 ", pdf.MaxElements) + "]")}
	list, err := v.Array()
	assert.NoError(t, err)
	assert.Len(t, list, pdf.MaxElements)
	v.Raw = []byte("[" + strings.Repeat("0 ", pdf.MaxElements+1) + "]")
	_, err = v.Array()
	assert.ErrorIs(t, err, pdf.ErrMalformed)
	v.Raw = []byte("<<" + strings.Repeat("/A 0", pdf.MaxKeys+1) + ">>")
	_, err = v.Dict()
	assert.ErrorIs(t, err, pdf.ErrMalformed)
}

// Bombs in several sections do not add up.
func TestSectionsTogetherAreBounded(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	rows := pdftest.Deflate(make([]byte, 30<<20))
	prev, b := int64(0), []byte(nil)
	for i := range 4 {
		at := m.Len()
		back := ""
		if i > 0 {
			back = fmt.Sprintf("/Prev %d", prev)
		}
		m.Raw(fmt.Sprintf("9 0 obj\n<< /Type /XRef /Root 1 0 R /W [1 2 1] /Size %d /Filter /FlateDecode %s /Length %d >>\nstream\n%s\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n",
			30<<20/4, back, len(rows), rows, at))
		prev, b = at, m.Bytes()
		_, err := open(b)
		if i < 2 {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, pdf.ErrMalformed)
		}
	}
}

func TestBrokenObjectStreams(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(m *pdftest.Maker)
		want error
	}{
		{"not a stream", func(m *pdftest.Maker) { m.Object(9, "<< /Type /ObjStm >>") }, pdf.ErrMalformed},
		{"another type", func(m *pdftest.Maker) { m.Stream(9, "/N 1 /First 4", []byte("5 0 (x)")) }, pdf.ErrMalformed},
		{"without N", func(m *pdftest.Maker) { m.Stream(9, "/Type /ObjStm /First 4", []byte("5 0 (x)")) }, pdf.ErrMalformed},
		{"huge N", func(m *pdftest.Maker) {
			m.Stream(9, "/Type /ObjStm /N 999999999999 /First 4", []byte("5 0 (x)"))
		}, pdf.ErrMalformed},
		{"First beyond the end", func(m *pdftest.Maker) { m.Stream(9, "/Type /ObjStm /N 1 /First 400", []byte("5 0 (x)")) }, pdf.ErrMalformed},
		{"an offset beyond the end", func(m *pdftest.Maker) { m.Stream(9, "/Type /ObjStm /N 1 /First 6", []byte("5 999 (x)")) }, pdf.ErrMalformed},
		{"another number inside", func(m *pdftest.Maker) { m.Stream(9, "/Type /ObjStm /N 1 /First 4", []byte("7 0 (x)")) }, pdf.ErrMalformed},
		{"its length inside itself", func(m *pdftest.Maker) {
			m.Object(9, "<< /Type /ObjStm /N 1 /First 4 /Length 5 0 R >>\nstream\n5 0 7\nendstream")
		}, pdf.ErrMalformed},
		{"a wrong length", func(m *pdftest.Maker) {
			m.Object(9, "<< /Type /ObjStm /N 1 /First 4 /Length 3 >>\nstream\n5 0 (abcdefghijkl)\nendstream")
		}, pdf.ErrMalformed},
		{"a bomb", func(m *pdftest.Maker) {
			m.Stream(9, "/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", pdftest.Deflate(make([]byte, pdf.MaxInflated+1)))
		}, pdf.ErrMalformed},
		{"sound", func(m *pdftest.Maker) { m.Stream(9, "/Type /ObjStm /N 1 /First 4", []byte("5 0 (x)")) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &pdftest.Maker{}
			m.Pages("", "")
			m.Pack(8, 5, "(replaced)") // lists 5 as the first object of 8 …
			b := m.XRef("/Root 1 0 R", false)
			b = bytes.Replace(b, []byte{2, 0, 0, 0, 8, 0}, []byte{2, 0, 0, 0, 9, 0}, 1) // … or rather of 9
			m = pdftest.Continue(b, int64(bytes.LastIndex(b, []byte("\n9 0 obj"))+1))
			c.make(m)
			f := must(t, m.XRef("/Root 1 0 R", false))
			from := time.Now()
			_, err := f.Object(pdf.Ref{Num: 5})
			assert.ErrorIs(t, err, c.want)
			assert.Less(t, time.Since(from), 5*time.Second)
		})
	}
}

// Many small streams cannot take more than the bound on all work together.
func TestWorkIsBounded(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	big := "<" + strings.Repeat("0", 16<<20) + ">"
	m.Object(5, big)
	f := must(t, m.Table("/Root 1 0 R"))
	var err error
	for range 1000 {
		if _, err = f.Object(pdf.Ref{Num: 5}); err != nil {
			break
		}
	}
	assert.ErrorIs(t, err, pdf.ErrMalformed)
}

func TestEncrypted(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	m.Pack(6, 5, "(secret)")
	f := must(t, m.XRef("/Root 1 0 R /Encrypt << /Filter /Standard >>", false))
	assert.True(t, f.Encrypted())
	_, err := f.Object(pdf.Ref{Num: 5})
	assert.ErrorIs(t, err, pdf.ErrEncrypted)
}

// collection returns the files of the PDF collection.
func collection(t testing.TB) map[string][]byte {
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	list, err := filepath.Glob(filepath.Join(dir, "pdf", "*.pdf"))
	require.NoError(t, err)
	if len(list) == 0 && os.Getenv("TANBA_REQUIRE_DATA") == "1" {
		require.FailNow(t, "no PDF files; set TANBA_TESTDATA")
	}
	out := map[string][]byte{}
	for _, f := range list {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		out[filepath.Base(f)] = b
	}
	return out
}
