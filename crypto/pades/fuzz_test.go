package pades_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tanba/crypto/pades"
	"tanba/crypto/pdf/pdftest"
	"tanba/crypto/sigalg"
)

// FuzzSign: whatever the document, either it is refused or what comes out has
// it as a prefix, passes our own check, and holds one signature more.
func FuzzSign(f *testing.F) {
	seeds := 0
	add := func(b []byte) {
		if len(b) < 20_000 {
			f.Add(b)
			seeds++
		}
	}
	add(pdftest.Plain(10))
	add(withForm("<< /Fields [10 0 R] >>", "/Annots 11 0 R", "<< /FT /Sig /T (a) >>", "[10 0 R]"))
	add(certified("/Perms << /DocMDP 11 0 R >>", "/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 2 >> >>]", "/Lock << /P 2 >>"))
	s := signerFor(f, sigalg.ECDSAP256SHA256)
	add(s.must(f, pdftest.Plain(10), nil))
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	list, err := filepath.Glob(filepath.Join(dir, "pdf", "*.pdf"))
	require.NoError(f, err)
	for _, name := range list {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		add(b)
	}
	if seeds < 4 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) { signs(t, s, b) })
}

// FuzzObjects is FuzzSign over a sound file in which the fuzzer writes the
// objects that matter: with a table and with object streams.
func FuzzObjects(f *testing.F) {
	s := signerFor(f, sigalg.ECDSAP256SHA256)
	for _, seed := range [][4]string{
		{"/AcroForm << /Fields [10 0 R] >>", "/Annots 11 0 R", "<< /FT /Sig /T (a) >>", "[10 0 R]"},
		{"/AcroForm 10 0 R", "/Annots [11 0 R]", "<< /Fields 11 0 R /SigFlags 3 >>", "[3 0 R]"},
		{
			"/AcroForm << /Fields [10 0 R] >> /Perms << /DocMDP 11 0 R >>", "", "<< /FT /Sig /T (c) /V 11 0 R /Lock << /P 2 >> >>",
			"<< /Type /Sig /ByteRange [0 1 2 3] /Contents <00> /M (D:2026) /Reference [<< /TransformMethod /FieldMDP /TransformParams << /Action /Exclude /Fields [(x)] >> >>] >>",
		},
		{"/AcroForm << /Fields [10 0 R] >>", "", "<< /T (a) /Kids [11 0 R] /FT /Sig >>", "<< /T (b) /Parent 10 0 R /V null >>"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, catalog, page, a, b string) {
		m := &pdftest.Maker{}
		m.Pages(catalog, page)
		m.Object(10, a)
		m.Object(11, b)
		signs(t, s, m.Table("/Root 1 0 R"))
		m = &pdftest.Maker{}
		m.Pages(catalog, page)
		m.Pack(12, 10, a, b)
		signs(t, s, m.XRef("/Root 1 0 R", true))
	})
}

// signs checks the property of FuzzSign on the document b.
func signs(t *testing.T, s signer, b []byte) {
	old, readErr := pades.Signatures(bytes.NewReader(b), int64(len(b)))
	out, err := s.attempt(b, nil)
	if err != nil {
		return
	}
	if readErr != nil {
		t.Fatalf("signed, but cannot be read: %v", readErr)
	}
	if !bytes.HasPrefix(out, b) {
		t.Fatal("the document was changed")
	}
	now, err := pades.Signatures(bytes.NewReader(out), int64(len(out)))
	if err != nil || len(now) != len(old)+1 {
		t.Fatalf("%d signatures, then %d: %v", len(old), len(now), err)
	}
	if err := own(t.Context(), s, b, out); err != nil {
		t.Fatal(err)
	}
}
