package verify_test

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

	"tanba/crypto/pades"
	"tanba/crypto/pdf/pdftest"
	"tanba/crypto/verify"
)

var pdfTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func judgePDF(t testing.TB, b []byte) (*verify.Report, error) {
	return verify.PDF(t.Context(), bytes.NewReader(b), int64(len(b)), verify.Options{At: pdfTime})
}

// TestForeignPDFs judges what others signed: which signatures are there, which
// are intact, which rules they break, what covers the whole file. Without
// trusted certificates an intact one is INDETERMINATE.
func TestForeignPDFs(t *testing.T) {
	dir := os.Getenv("TANBA_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	if _, err := os.Stat(filepath.Join(dir, "pdf")); err != nil && os.Getenv("TANBA_REQUIRE_DATA") != "1" {
		t.Skip("no collection of PDF files: set TANBA_TESTDATA")
	}
	const (
		intact = "intact NO_CERTIFICATE_CHAIN_FOUND"
		broken = "failed FORMAT_FAILURE"
	)
	for _, c := range []struct {
		file string
		want []string // field, verdict, level, rules, whole
	}{
		{"dss__doc-firmado-LT", []string{"Signature1 " + intact + " - P-05 false"}},
		{"dss__pdf-byterange-overlap", []string{"Signature1 " + intact + " B-B - false", "Signature2 " + broken + " - P-07 false"}},
		{"dss__pdf-eof", []string{"Signature1 " + broken + " - P-07 false"}}, // its last byte is missing
		{"pdf.js__poppler-395-0-fuzzed", []string{"undef86349 " + broken + " - P-01,P-07 false"}},
		{"pdf.js__signed_verified", []string{"Signature1 " + intact + " - C-04,C-10,P-01,P-07 true"}},
		{"pyHanko__certified-with-indirect-refs-in-dir", []string{"Sig1 " + intact + " - P-03,P-01 true"}},
		{"pyHanko__extensions-indirect", []string{"Sig1 " + intact + " - P-03,P-01 false", "Sig2 unknown CRYPTO_CONSTRAINTS_FAILURE - P-03,P-01 true"}},
		{"pyHanko__minimal-signed-twice-no-sig-type", []string{"Sig1 " + intact + " B-B - false", "Sig2 " + intact + " B-B - true"}},
		{"pyHanko__minimal-two-fields-signed-twice", []string{"Sig1 " + intact + " - C-04,P-01 true", "Sig2 " + intact + " - C-04,P-01 false"}},
		{"pyHanko__pades-lta-dss-indirect-arrs-test", []string{"Sig1 " + intact + " B-B - false", "Timestamp-977301ad-bec9-4cae-a0cd-f6a674c6e465 unknown SIG_CONSTRAINTS_FAILURE - - false"}},
		{"pyHanko__pades-with-old-style-signing-cert-attr-issser", []string{"Sig1 " + intact + " B-B - true"}},
		{"pyHanko__sig-no-signed-attrs", []string{"Sig1 " + intact + " - C-02,C-03,C-04,C-09,P-01 true"}},
		{"pyHanko__sig-with-ski-sid", []string{"Sig1 " + intact + " - C-08,P-03,P-01 true"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "pdf", c.file+".pdf"))
			require.NoError(t, err)
			r, err := judgePDF(t, b)
			require.NoError(t, err)
			var got []string
			for _, s := range r.Signatures {
				word := "failed"
				switch {
				case s.Intact:
					word = "intact"
				case s.Indication == verify.Indeterminate:
					word = "unknown"
				}
				var rules []string
				for _, v := range s.Violations {
					rules = append(rules, v.ID)
				}
				got = append(got, fmt.Sprint(s.FieldName, " ", word, " ", s.SubIndication, " ", dash(s.Level), " ", dash(strings.Join(rules, ",")), " ", s.CoversWholeFile))
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func TestPDFErrors(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("", "")
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"unsigned", pdftest.Plain(10), verify.ErrUnsigned},
		{"not a PDF", []byte("hello"), pades.ErrNotPDF},
		{"broken", pdftest.Plain(10)[:300], pades.ErrBroken},
		{"encrypted", m.Table("/Root 1 0 R /Encrypt << >>"), pades.ErrEncrypted},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := judgePDF(t, c.file)
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// TestPDFSignatureDictionaries: a dictionary that another reader might take
// for a signature is never passed, and says what is wrong.
func TestPDFSignatureDictionaries(t *testing.T) {
	const good = "/Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached /M (D:20260101) "
	for _, c := range []struct {
		name, dict string
		want       verify.SubIndication
	}{
		{"no contents", good + "/ByteRange [0 1 2 3]", verify.FormatFailure},
		{"no range", good + "/Contents <00>", verify.FormatFailure},
		{"three numbers", good + "/Contents <00> /ByteRange [0 1 2]", verify.FormatFailure},
		{"six numbers", good + "/Contents <00> /ByteRange [0 1 2 3 4 5]", verify.FormatFailure},
		{"not at the start", good + "/Contents <00> /ByteRange [1 1 2 3]", verify.FormatFailure},
		{"negative", good + "/Contents <00> /ByteRange [0 -1 2 3]", verify.FormatFailure},
		{"beyond the file", good + "/Contents <00> /ByteRange [0 1 2 99999999]", verify.FormatFailure},
		{"numbers that overflow", good + "/Contents <00> /ByteRange [0 1 9223372036854775807 9223372036854775807]", verify.FormatFailure},
		{"another hole", good + "/Contents <00> /ByteRange [0 5 9 20]", verify.FormatFailure},
		{"overlap", good + "/Contents <00> /ByteRange [0 50 20 20]", verify.FormatFailure},
		{"a literal string", good + "/Contents (0) /ByteRange [0 1 2 3]", verify.FormatFailure},
		{"contents twice", good + "/Contents <00> /Contents <00> /ByteRange [0 1 2 3]", verify.FormatFailure},
		{"range twice", good + "/Contents <00> /ByteRange [0 1 2 3] /ByteRange [0 1 2 3]", verify.FormatFailure},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &pdftest.Maker{}
			m.Pages("/AcroForm << /Fields [10 0 R] >>", "")
			m.Object(10, "<< /FT /Sig /T (a) /V 11 0 R >>")
			m.Object(11, "<< /Type /Sig "+c.dict+" >>")
			r, err := judgePDF(t, m.Table("/Root 1 0 R"))
			require.NoError(t, err)
			require.Len(t, r.Signatures, 1)
			s := r.Signatures[0]
			assert.Equal(t, verify.TotalFailed, s.Indication)
			assert.Equal(t, c.want, s.SubIndication)
			assert.False(t, s.Intact)
			assert.False(t, s.CoversWholeFile)
			assert.Empty(t, s.Level)
			assert.NotEmpty(t, s.Violations)
		})
	}
}

// The range of a signature dictionary in an object stream cannot be checked,
// nor one whose hole fits but whose contents are no CMS.
func TestPDFSignatureOutOfPlace(t *testing.T) {
	m := &pdftest.Maker{}
	m.Pages("/AcroForm << /Fields [10 0 R] >>", "")
	m.Object(10, "<< /FT /Sig /T (a) /V 11 0 R >>")
	m.Pack(12, 11, "<< /Type /Sig /Filter /X /SubFilter /ETSI.CAdES.detached /M (D:2026) /ByteRange [0 1 2 3] /Contents <00> >>")
	r, err := judgePDF(t, m.XRef("/Root 1 0 R", true))
	require.NoError(t, err)
	assert.Equal(t, verify.FormatFailure, r.Signatures[0].SubIndication)

	m = &pdftest.Maker{}
	m.Pages("/AcroForm << /Fields [10 0 R] >>", "")
	m.Object(10, "<< /FT /Sig /T (a) /V 11 0 R >>")
	const dict = "<< /Type /Sig /Filter /X /SubFilter /ETSI.CAdES.detached /M (D:2026) /Contents <3000> /ByteRange "
	at := m.Len() + int64(len("11 0 obj\n")+strings.Index(dict, "<30"))
	m.Object(11, fmt.Sprintf("%s[0 %d %d 10] >>", dict, at, at+6))
	r, err = judgePDF(t, m.Table("/Root 1 0 R"))
	require.NoError(t, err)
	s := r.Signatures[0]
	assert.Equal(t, verify.FormatFailure, s.SubIndication, s.Reason)
	assert.Equal(t, []int64{0, at, at + 6, 10}, s.ByteRange)
	assert.NotEmpty(t, s.Warning, "the range ends before the file does")
}
