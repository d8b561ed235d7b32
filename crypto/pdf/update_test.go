package pdf_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/pdf"
	"tanba/crypto/pdf/pdftest"
)

// grow appends one update: the catalog with one more key, and a new object.
func grow(t testing.TB, b []byte) (file []byte, added pdf.Ref) {
	f := must(t, b)
	o, err := f.Object(f.Root())
	require.NoError(t, err)
	catalog, err := o.Dict()
	require.NoError(t, err)
	u := f.NewUpdate()
	added = u.New()
	catalog.Set("Tanba", []byte(added.String()))
	u.Put(added, []byte("(added)"))
	u.Put(f.Root(), catalog.Append(nil))
	u.Put(added, []byte("(added)"))
	more, err := u.Bytes()
	require.NoError(t, err)
	out := append(bytes.Clone(b), more...)
	at, ok := u.Offset(added)
	assert.True(t, ok)
	assert.Equal(t, "(added)", string(out[at:at+7]))
	_, ok = u.Offset(pdf.Ref{Num: added.Num + 100})
	assert.False(t, ok)
	return out, added
}

func TestUpdate(t *testing.T) {
	for name, base := range kinds() {
		t.Run(name, func(t *testing.T) {
			b := base
			var numbers []int
			for range 3 {
				old := must(t, b)
				out, ref := grow(t, b)
				assert.True(t, bytes.HasPrefix(out, b))
				f := must(t, out)
				assert.Equal(t, f.Root(), old.Root())
				assert.Equal(t, "(added)", text(t, f, ref.Num))
				o, err := f.Object(f.Root())
				require.NoError(t, err)
				catalog, err := o.Dict()
				require.NoError(t, err)
				assert.Equal(t, ref.String(), string(catalog.Get("Tanba").Raw))
				assert.Equal(t, 1, catalog.Count("Tanba"))
				assert.NotContains(t, numbers, ref.Num)
				numbers = append(numbers, ref.Num)
				b = out
			}
			qpdfCheck(t, b)
		})
	}
}

// The newest section's kind is kept: a table after a table and after a hybrid
// one, a stream after a stream.
func TestUpdateKeepsKind(t *testing.T) {
	for name, base := range kinds() {
		out, _ := grow(t, base)
		more := out[len(base):]
		table := bytes.Contains(more, []byte("\nxref\n")) && bytes.Contains(more, []byte("\ntrailer\n"))
		stream := bytes.Contains(more, []byte("/Type /XRef"))
		assert.Equal(t, name == "table" || name == "hybrid", table, name)
		assert.Equal(t, name == "stream" || name == "flate", stream, name)
		assert.NotContains(t, string(more), "XRefStm")
	}
}

func TestUpdateTrailer(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	m.Object(4, "<< /Title (x) >>")
	base := m.Table("/Root 1 0 R /Info 4 0 R /ID [(first) <02>] /Own#20Key (\\001x)")
	out, _ := grow(t, base)
	d := must(t, out).Trailer()
	assert.Equal(t, "4 0 R", string(d.Get("Info").Raw))
	assert.Equal(t, "(\\001x)", string(d.Get("Own Key").Raw))
	id, err := d.Get("ID").Array()
	require.NoError(t, err)
	require.Len(t, id, 2)
	assert.Equal(t, "(first)", string(id[0].Raw), "the first identifier stays")
	assert.Len(t, id[1].Raw, 34)
	again, _ := grow(t, base)
	other, err := must(t, again).Trailer().Get("ID").Array()
	require.NoError(t, err)
	assert.NotEqual(t, id[1].Raw, other[1].Raw, "the second is fresh")
}

// A new number is above Size, above all that is listed, and above the numbers
// of the cross-reference streams themselves.
func TestNewNumbers(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	m.Object(40, "(listed)")
	m.XRef("/Root 1 0 R", false) // its own number is 41
	m.Object(5, "(x)")
	b := m.Table("/Root 1 0 R /Size 7")
	_, ref := grow(t, b)
	assert.Equal(t, 42, ref.Num)

	m = &pdftest.Maker{}
	m.Pages("", "")
	_, ref = grow(t, m.Table("/Root 1 0 R /Size 100"))
	assert.Equal(t, 100, ref.Num)
	_, err := must(t, m.Table("/Root 1 0 R /Size 8388608")).NewUpdate().Bytes()
	assert.NoError(t, err, "a Size above all numbers is not believed")
}

func TestPutTwice(t *testing.T) {
	u := must(t, kinds()["table"]).NewUpdate()
	ref := u.New()
	u.Put(ref, []byte("(x)"))
	u.Put(ref, []byte("(y)"))
	_, err := u.Bytes()
	assert.ErrorIs(t, err, pdf.ErrMalformed)
}

// The base is read, never held: an update of a document of 2 GB takes a few
// kilobytes.
func TestUpdateOfABigFile(t *testing.T) {
	big := pdftest.NewBig(2 << 30)
	f, err := pdf.Open(big, big.Size())
	require.NoError(t, err)
	u := f.NewUpdate()
	u.Put(u.New(), []byte("(x)"))
	more, err := u.Bytes()
	require.NoError(t, err)
	assert.Less(t, len(more), 1000)
	f, err = pdf.Open(big.Append(more), big.Size()+int64(len(more)))
	require.NoError(t, err)
	assert.Equal(t, "(x)", text(t, f, 5))
}

// qpdfCheck asks qpdf, of another author, whether it has nothing to say.
func qpdfCheck(t testing.TB, b []byte) {
	_, err := exec.LookPath("qpdf")
	require.NoError(t, err, "install qpdf")
	file := filepath.Join(t.TempDir(), "a.pdf")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "qpdf", "--check", file).CombinedOutput()
	assert.NoError(t, err, string(out))
	assert.NotContains(t, string(out), "WARNING")
}

// FuzzOpen: whatever the bytes, reading ends within its bounds, and a file
// that can be read can be updated and read again, with the old bytes in front.
func FuzzOpen(f *testing.F) {
	seeds := 0
	for _, b := range kinds() {
		f.Add(b)
		seeds++
	}
	for _, b := range collection(f) {
		if len(b) < 20_000 {
			f.Add(b)
			seeds++
		}
	}
	if seeds < 4 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := open(b)
		if err != nil {
			return
		}
		for n := range 64 {
			if o, err := file.Object(pdf.Ref{Num: n}); err == nil && o.IsDict() {
				if _, err := o.Dict(); err != nil {
					t.Fatalf("object %d: %v", n, err)
				}
			}
		}
		u := file.NewUpdate()
		ref := u.New()
		u.Put(ref, []byte("(x)"))
		more, err := u.Bytes()
		if err != nil {
			return
		}
		again, err := open(append(bytes.Clone(b), more...))
		if err != nil {
			t.Fatalf("after an update: %v", err)
		}
		if o, err := again.Object(ref); err != nil || string(o.Raw) != "(x)" {
			t.Fatalf("after an update: %v %q", err, o.Raw)
		}
	})
}
