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
	f.Fuzz(func(t *testing.T, b []byte) {
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
	})
}
