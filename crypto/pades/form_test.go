package pades_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/pades"
	"tanba/crypto/pdf"
	"tanba/crypto/pdf/pdftest"
	"tanba/crypto/sigalg"
)

// withForm makes a document with the given form and objects from 10 on.
func withForm(form, page string, objects ...string) []byte {
	m := &pdftest.Maker{}
	m.Pages("/AcroForm "+form, page)
	for i, o := range objects {
		m.Object(10+i, o)
	}
	return m.Table("/Root 1 0 R")
}

// dict reads object num of file.
func dict(t testing.TB, file []byte, num int) *pdf.Dict {
	f, err := pdf.Open(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	o, err := f.Object(pdf.Ref{Num: num})
	require.NoError(t, err)
	d, err := o.Dict()
	require.NoError(t, err)
	return d
}

// rewritten lists the numbers of the base's objects that the update holds.
func rewritten(base, out []byte) (list []int) {
	for n := range 30 {
		head := fmt.Appendf(nil, "\n%d 0 obj\n", n)
		if bytes.Contains(base, head) && bytes.Contains(out[len(base)-1:], head) {
			list = append(list, n)
		}
	}
	return list
}

// Of every chain of objects the smallest is written anew, and what stands in
// it stays.
func TestSmallestObject(t *testing.T) {
	const field = "<< /FT /Tx /T (Signature1) /V (kept) >>"
	for _, c := range []struct {
		name string
		file []byte
		want []int
	}{
		{"nothing there", pdftest.Plain(10), []int{1, 3}},
		{"form in the catalog", withForm("<< /Fields [10 0 R] /DA (/Helv 0 Tf) >>", "", field), []int{1, 3}},
		{"form apart", withForm("11 0 R", "", field, "<< /Fields [10 0 R] /DA (/Helv 0 Tf) /XFA [(a) 4 0 R] >>"), []int{3, 11}},
		{"fields apart", withForm("11 0 R", "", field, "<< /Fields 12 0 R /SigFlags 3 /DA (/Helv 0 Tf) >>", "[10 0 R]"), []int{3, 12}},
		{"fields apart, flags wanted", withForm("11 0 R", "", field, "<< /Fields 12 0 R /SigFlags 1 /DA (/Helv 0 Tf) >>", "[10 0 R]"), []int{3, 11, 12}},
		{"annotations apart", withForm("11 0 R", "/Annots 12 0 R", field, "<< /Fields [10 0 R] /DA (/Helv 0 Tf) >>", "[]"), []int{11, 12}},
		{"form without fields", withForm("<< /DA (/Helv 0 Tf) >>", ""), []int{1, 3}},
		{"form is null", withForm("null", "/Annots null"), []int{1, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := signerFor(t, sigalg.ECDSAP256SHA256)
			out := s.must(t, c.file, nil)
			assert.Equal(t, c.want, rewritten(c.file, out))
			assert.NoError(t, own(t.Context(), s, c.file, out))
			path := write(t, "a.pdf", out)
			if bytes.Contains(c.file, []byte("(kept)")) {
				form, list := formOf(t, out)
				require.Len(t, list, 2)
				assert.Equal(t, "10 0 R", string(list[0].Raw))
				assert.Equal(t, "(/Helv 0 Tf)", string(form.Get("DA").Raw))
				sigs, err := pades.Signatures(bytes.NewReader(out), int64(len(out)))
				require.NoError(t, err)
				assert.Equal(t, "Signature2", sigs[0].Field, "Signature1 is taken")
			}
			check, err := run(t, "qpdf", "--check", path)
			assert.NoError(t, err, check)
			assert.NotContains(t, check, "WARNING")
			assert.Equal(t, 1, count(pdfsig(t, path), "Signature is Valid"))
		})
	}
}

// formOf returns the form and its fields.
func formOf(t testing.TB, file []byte) (*pdf.Dict, []pdf.Value) {
	f, err := pdf.Open(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	v, _, err := f.Resolve(dict(t, file, 1).Get("AcroForm"))
	require.NoError(t, err)
	form, err := v.Dict()
	require.NoError(t, err)
	v, _, err = f.Resolve(form.Get("Fields"))
	require.NoError(t, err)
	list, err := v.Array()
	require.NoError(t, err)
	return form, list
}

// The new field is what rule P-09 asks for.
func TestNewField(t *testing.T) {
	base := pdftest.Plain(10)
	out := signerFor(t, sigalg.ECDSAP256SHA256).must(t, base, nil)
	form, list := formOf(t, out)
	assert.Equal(t, "3", string(form.Get("SigFlags").Raw))
	require.Len(t, list, 1)
	annots, err := dict(t, out, 3).Get("Annots").Array()
	require.NoError(t, err)
	require.Len(t, annots, 1)
	assert.Equal(t, list[0].Raw, annots[0].Raw, "field and widget are one object")
	ref, ok := list[0].Ref()
	require.True(t, ok)
	f := dict(t, out, ref.Num)
	for key, want := range map[string]string{"Type": "/Annot", "Subtype": "/Widget", "FT": "/Sig", "F": "132", "Rect": "[0 0 0 0]", "P": "3 0 R"} {
		assert.Equal(t, want, string(f.Get(key).Raw), key)
	}
	sigRef, ok := f.Get("V").Ref()
	require.True(t, ok)
	sig := dict(t, out, sigRef.Num)
	assert.Equal(t, "/ETSI.CAdES.detached", string(sig.Get("SubFilter").Raw))
	assert.True(t, sig.Get("Cert").Missing())
	assert.True(t, sig.Get("M").Raw[0] == '(')
}

func TestFieldNames(t *testing.T) {
	base := withForm("<< /Fields [10 0 R 11 0 R 12 0 R] >>", "",
		"<< /FT /Sig /T <FEFF005300690067006E0061007400750072006500310029> >>", // "Signature1)"
		"<< /FT /Sig /T (Signature\\061) >>",
		"<< /T (Signature2) /Kids [13 0 R] >>",
		"<< /FT /Tx /Parent 12 0 R /T (x) >>")
	out := signerFor(t, sigalg.ECDSAP256SHA256).must(t, base, nil)
	list, err := pades.Signatures(bytes.NewReader(out), int64(len(out)))
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "Signature3", list[0].Field)
}

func TestEmptyField(t *testing.T) {
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	base := withForm("<< /Fields [10 0 R 11 0 R 14 0 R] >>", "/Annots [10 0 R]",
		"<< /FT /Sig /T (here) /Subtype /Widget /Rect [1 2 3 4] /P 3 0 R /MK << /BG [1] >> >>",
		"<< /T (group) /FT /Sig /Kids [12 0 R 13 0 R] >>",
		"<< /T (one) /Parent 11 0 R >>",
		"<< /T (two) /Parent 11 0 R /Lock << /Type /SigFieldLock /Action /Include /Fields [(a)] >> >>",
		"<< /T (text) /FT /Tx >>")
	d, err := pades.Open(bytes.NewReader(base), int64(len(base)))
	require.NoError(t, err)
	assert.Equal(t, []string{"here", "group.one", "group.two"}, d.EmptyFields())
	use := func(name string) func(*pades.Options) { return func(o *pades.Options) { o.Field = name } }

	out := s.must(t, base, use("here"))
	assert.Equal(t, []int{1, 10}, rewritten(base, out), "the catalog for SigFlags, the field")
	f := dict(t, out, 10)
	assert.Equal(t, "[1 2 3 4]", string(f.Get("Rect").Raw))
	assert.Equal(t, "<< /BG [1] >>", string(f.Get("MK").Raw))
	assert.NoError(t, own(t.Context(), s, base, out))
	_, err = s.attempt(out, use("here"))
	assert.ErrorIs(t, err, pades.ErrField, "signed already")

	second := s.must(t, out, use("group.two"))
	assert.Equal(t, []int{13}, rewritten(out, second))
	assert.NoError(t, own(t.Context(), s, out, second))
	assert.Contains(t, string(second[len(out):]), "/TransformMethod /FieldMDP /TransformParams << /Type /TransformParams /V /1.2 /Action /Include /Fields [(a)] >> /Data 1 0 R")
	path := write(t, "a.pdf", second)
	assert.Equal(t, 2, count(pdfsig(t, path), "Signature is Valid"))
	check, err := run(t, "qpdf", "--check", path)
	assert.NoError(t, err, check)

	for _, name := range []string{"text", "group", "nobody", "one"} {
		_, err = s.attempt(base, use(name))
		assert.ErrorIs(t, err, pades.ErrField, name)
	}
}

func TestSeedValues(t *testing.T) {
	for _, c := range []struct {
		name, seed string
		fits       bool
	}{
		{"nothing required", "/Filter /X /SubFilter [/Y] /Ff 0", true},
		{"our handler", "/Filter /Adobe.PPKLite /SubFilter [/adbe.pkcs7.detached /ETSI.CAdES.detached] /DigestMethod [(SHA1) (SHA256)] /Ff 67", true},
		{"another handler", "/Filter /X /Ff 1", false},
		{"another encoding", "/SubFilter [/adbe.pkcs7.detached] /Ff 2", false},
		{"another digest", "/DigestMethod [(SHA512)] /Ff 64", false},
		{"a reason", "/Reasons [(yes)] /Ff 8", true},
		{"another reason", "/Reasons [(no)] /Ff 8", false},
		{"revocation data", "/AddRevInfo true /Ff 32", false},
		{"certain certificates", "/Cert << /Ff 1 >>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := withForm("<< /Fields [10 0 R] >>", "", "<< /FT /Sig /T (a) /SV << "+c.seed+" >> >>")
			_, err := signerFor(t, sigalg.ECDSAP256SHA256).attempt(base, func(o *pades.Options) { o.Field, o.Reason = "a", "yes" })
			if c.fits {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, pades.ErrField)
			}
		})
	}
}

// certified is a document whose signature has the given keys.
func certified(perms, keys, fieldKeys string) []byte {
	m := &pdftest.Maker{}
	m.Pages("/AcroForm << /Fields [10 0 R] /SigFlags 3 >> "+perms, "")
	m.Object(10, "<< /FT /Sig /T (c) /V 11 0 R "+fieldKeys+" >>")
	m.Object(11, "<< /Type /Sig /Filter /X "+keys+" >>")
	m.Object(12, "<< /Type /TransformParams /P 1 /V /1.2 >>")
	return m.Table("/Root 1 0 R")
}

func TestCertification(t *testing.T) {
	const one = "/Reference [<< /TransformMethod /DocMDP /TransformParams 12 0 R >>]"
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"P = 1", certified("/Perms << /DocMDP 11 0 R >>", one, ""), pades.ErrForbidden},
		{"P = 1 without Perms", certified("", one, ""), pades.ErrForbidden},
		{"P = 2", certified("/Perms << /DocMDP 11 0 R >>", "/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 2 >> >>]", ""), nil},
		{"P = 3", certified("/Perms << /DocMDP 11 0 R >>", "/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 3 >> >>]", ""), nil},
		{"no P is 2", certified("/Perms << /DocMDP 11 0 R >>", "/Reference [<< /TransformMethod /DocMDP >>]", ""), nil},
		{"another transform", certified("", "/Reference [<< /TransformMethod /FieldMDP /TransformParams << /Action /Include /Fields [(x)] /P 1 >> >>]", ""), nil},
		{"the field's lock", certified("", "", "/Lock << /Action /All /P 1 >>"), pades.ErrForbidden},
		{"the field's lock allows", certified("", "", "/Lock << /Action /All /P 2 >>"), nil},
		{"broken", certified("/Perms [1]", one, ""), pades.ErrBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := signerFor(t, sigalg.ECDSAP256SHA256).attempt(c.file, nil)
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// A field that an earlier signature locks is not changed, which would break
// that signature.
func TestLocks(t *testing.T) {
	for _, c := range []struct {
		lock       string
		other, new error
	}{
		{"/Action /All", pades.ErrForbidden, pades.ErrForbidden},
		{"/Action /Include /Fields [(other)]", pades.ErrForbidden, nil},
		{"/Action /Exclude /Fields [(other)]", nil, pades.ErrForbidden},
		{"/Action /Include /Fields [(oth) (Signature)]", nil, nil},
	} {
		t.Run(c.lock, func(t *testing.T) {
			base := withForm("<< /Fields [10 0 R 11 0 R] >>", "",
				"<< /FT /Sig /T (a) /Lock << /Type /SigFieldLock "+c.lock+" >> >>",
				"<< /T (other) /Kids [12 0 R] >>", "<< /FT /Sig /T (b) /Parent 11 0 R >>")
			s := signerFor(t, sigalg.ECDSAP256SHA256)
			out := s.must(t, base, func(o *pades.Options) { o.Field = "a" })
			_, err := s.attempt(out, func(o *pades.Options) { o.Field = "other.b" })
			assert.ErrorIs(t, err, c.other)
			_, err = s.attempt(out, nil)
			assert.ErrorIs(t, err, c.new)
		})
	}
}

func TestBrokenDocuments(t *testing.T) {
	pages := func(catalog string, objects ...string) []byte {
		m := &pdftest.Maker{}
		m.Object(1, "<< /Type /Catalog "+catalog+" >>")
		for i, o := range objects {
			m.Object(2+i, o)
		}
		return m.Table("/Root 1 0 R")
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"no pages", pages(""), pades.ErrBroken},
		{"pages are direct", pages("/Pages << /Kids [] >>"), pades.ErrBroken},
		{"no page", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [] >>"), pades.ErrBroken},
		{"kids are no array", pages("/Pages 2 0 R", "<< /Type /Pages /Kids 7 >>"), pades.ErrBroken},
		{"a loop", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [2 0 R] >>"), pades.ErrBroken},
		{"a page twice", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [3 0 R 3 0 R] >>", "<< /Type /Page >>"), nil},
		{"a longer loop", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [3 0 R 4 0 R] >>", "<< /Type /Page >>", "<< /Type /Pages /Kids [2 0 R] >>"), pades.ErrBroken},
		{"a page is direct", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [<< /Type /Page >>] >>"), pades.ErrBroken},
		{"annotations are no array", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [3 0 R] >>", "<< /Type /Page /Annots 5 >>"), pades.ErrBroken},
		{"the catalog is an array", bytes.Replace(pdftest.Plain(1), []byte("<< /Type /Catalog /Pages 2 0 R  >>"), []byte("[                                ]"), 1), pades.ErrBroken},
		{"the form is an array", withForm("[]", ""), pades.ErrBroken},
		{"fields are a name", withForm("<< /Fields /X >>", ""), pades.ErrBroken},
		{"a field twice", withForm("<< /Fields [10 0 R 10 0 R] >>", "", "<< /T (a) >>"), nil},
		{"a loop of fields", withForm("<< /Fields [10 0 R] >>", "", "<< /T (a) /Kids [10 0 R] >>"), pades.ErrBroken},
		{"a direct field", withForm("<< /Fields [<< /T (a) /FT /Tx >>] >>", ""), pades.ErrBroken},
		{"a deep tree of fields", withForm("<< /Fields [10 0 R] >>", "", deep(70)...), pades.ErrBroken},
		{"a page is a stream", pages("/Pages 2 0 R", "<< /Type /Pages /Kids [3 0 R] >>", "<< /Type /Page /Length 0 >>\nstream\n\nendstream"), pades.ErrBroken},
		{"a signature is a number", withForm("<< /Fields [10 0 R] >>", "", "<< /T (a) /FT /Sig /V 1 >>"), pades.ErrBroken},
		{"encrypted", bytes.Replace(pdftest.Plain(1), []byte("/Root 1 0 R"), []byte("/Root 1 0 R /Encrypt << >>"), 1), pades.ErrEncrypted},
		{"bytes in front", append([]byte("\n"), pdftest.Plain(1)...), pades.ErrBroken},
		{"no PDF", []byte("PK\x03\x04"), pades.ErrNotPDF},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := pades.Open(bytes.NewReader(c.file), int64(len(c.file)))
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// One object that is form and page at once cannot be changed as both.
func TestOneObjectForTwoThings(t *testing.T) {
	_, err := signerFor(t, sigalg.ECDSAP256SHA256).attempt(withForm("3 0 R", ""), nil)
	assert.ErrorIs(t, err, pades.ErrBroken)
}

// deep makes fields in each other, from object 10 on.
func deep(n int) (objects []string) {
	for i := range n {
		objects = append(objects, fmt.Sprintf("<< /T (a) /Kids [%d 0 R] >>", 11+i))
	}
	return objects
}

// A page tree of many pages is not walked to its end.
func TestManyPages(t *testing.T) {
	m := &pdftest.Maker{}
	const n = 30_000
	m.Object(1, "<< /Type /Catalog /Pages 2 0 R >>")
	var kids strings.Builder
	for i := range n {
		fmt.Fprintf(&kids, "%d 0 R ", 3+i)
	}
	m.Object(2, fmt.Sprintf("<< /Type /Pages /Count %d /Kids [%s] >>", n, kids.String()))
	for i := range n {
		m.Object(3+i, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>")
	}
	base := m.Table("/Root 1 0 R")
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	assert.NoError(t, own(t.Context(), s, base, s.must(t, base, nil)))
}
