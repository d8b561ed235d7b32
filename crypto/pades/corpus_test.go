package pades_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	other "github.com/digitorus/pdfsign/verify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"tanba/crypto/pades"
	"tanba/crypto/sigalg"
)

// refused lists the files of the collection that must not be signed, and why.
// Every other file must be.
var refused = map[string]error{
	"dss__edition_protected_none.pdf":                       pades.ErrEncrypted,
	"dss__edition_protected_signing_allowed_with_field.pdf": pades.ErrEncrypted,
	"dss__pades_infinite_loop.pdf":                          pades.ErrBroken,
	"pdf-differences__UnknownFilter-Linearized.pdf":         pades.ErrUnsupported,
	"pdf-differences__UnknownFilter-xrefstm.pdf":            pades.ErrUnsupported,
	"pdf.js__poppler-395-0-fuzzed.pdf":                      pades.ErrBroken,
	"pdf20examples__PDF_2.0_with_offset_start.pdf":          pades.ErrBroken,
	"pyHanko__certified-with-indirect-refs-in-dir.pdf":      pades.ErrForbidden,
	"pyHanko__circular-page-tree.pdf":                       pades.ErrBroken,
	"pyHanko__minimal-aes256.pdf":                           pades.ErrEncrypted,
	"pyHanko__minimal-pubkey-aes256.pdf":                    pades.ErrEncrypted,
	"pyHanko__minimal-startxref-hopeless.pdf":               pades.ErrBroken,
	"pyHanko__minimal-with-field-aes256.pdf":                pades.ErrEncrypted,
	"pyHanko__signed-encrypted-pubkey-with-catalog-ref.pdf": pades.ErrEncrypted,
	"qpdf__V4-aes-clearmeta.pdf":                            pades.ErrEncrypted,
	"qpdf__bad-direct-root.pdf":                             pades.ErrNotPDF,
	"qpdf__enc-R3-V2-Uview-Oview.pdf":                       pades.ErrEncrypted,
	"qpdf__issue-119.pdf":                                   pades.ErrBroken,
	"qpdf__leading-junk.pdf":                                pades.ErrEncrypted,
	"qpdf__pages-loop.pdf":                                  pades.ErrBroken,
}

// TestCorpus signs every file of the collection, or is refused with the true
// reason, and asks strangers about each result.
func TestCorpus(t *testing.T) {
	names, files := corpus(t)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	var table strings.Builder
	signed := 0
	for _, name := range names {
		base := files[name]
		out, err := s.attempt(base, nil)
		if want, bad := refused[name]; bad {
			assert.ErrorIs(t, err, want, name)
			fmt.Fprintf(&table, "%-58s refused: %v\n", name, err)
			continue
		}
		if !assert.NoError(t, err, name) {
			continue
		}
		signed++
		t.Run(name, func(t *testing.T) {
			row := strangers(t, s, base, out)
			fmt.Fprintf(&table, "%-58s +%5d  %s\n", name, len(out)-len(base), row)
		})
	}
	t.Logf("signed %d of %d\n%s", signed, len(names), table.String())
	assert.Positive(t, signed)
	assert.GreaterOrEqual(t, strings.Count(table.String(), "pdfsign valid true"), signed*3/4, "a reader that has no opinion is no check")
}

// strangers asks our own check and four foreign readers about out, which is
// base with one signature more.
func strangers(t *testing.T, s signer, base, out []byte) string {
	assert.True(t, bytes.HasPrefix(out, base), "the original is a prefix")
	assert.NoError(t, own(t.Context(), s, base, out))

	before, after := write(t, "before.pdf", base), write(t, "after.pdf", out)
	old, now := pdfsig(t, before), pdfsig(t, after)
	if assert.Len(t, now, len(old)+1, "pdfsig sees one signature more") {
		ours := 0
		for _, sig := range now {
			if strings.Contains(sig, "Total document signed") {
				ours++
				assert.Contains(t, sig, "Signature is Valid")
				assert.Contains(t, sig, "Certificate is Trusted")
				assert.Contains(t, sig, "ETSI.CAdES.detached")
			}
		}
		assert.Equal(t, 1, ours, "one signature covers the file")
		assert.Equal(t, count(old, "Signature is Valid")+1, count(now, "Signature is Valid"), "the earlier ones are as they were")
	}

	oldCheck, oldErr := run(t, "qpdf", "--check", before)
	newCheck, newErr := run(t, "qpdf", "--check", after)
	if oldErr == nil {
		assert.NoError(t, newErr, "qpdf: %s", newCheck)
	}
	w0, w1 := strings.Count(oldCheck, "WARNING"), strings.Count(newCheck, "WARNING")
	assert.LessOrEqual(t, w1, w0, "qpdf: %s", newCheck)

	oldFields, newFields := fields(t, before), fields(t, after)
	assert.Len(t, newFields, len(oldFields)+1)
	for _, f := range oldFields {
		assert.Contains(t, newFields, f, "a field is as it was")
	}
	return fmt.Sprintf("pdfsig %d valid, qpdf warnings %d to %d, fields %d to %d, pdfsign %s",
		count(now, "Signature is Valid"), w0, w1, len(oldFields), len(newFields), digitorus(t, s, out))
}

// pdfsig returns poppler's lines on each signature.
func pdfsig(t testing.TB, file string) []string {
	db, err := nss()
	require.NoError(t, err)
	out, _ := run(t, "pdfsig", "-nssdir", "sql:"+db, file)
	parts := strings.Split(out, "Signature #")
	var sigs []string
	for _, p := range parts[1:] {
		if !strings.Contains(p, "not signed") {
			sigs = append(sigs, p)
		}
	}
	return sigs
}

func count(list []string, what string) int {
	n := 0
	for _, s := range list {
		if strings.Contains(s, what) {
			n++
		}
	}
	return n
}

// fields returns the form fields that qpdf sees, by object, name and value.
func fields(t testing.TB, file string) []string {
	out, err := exec.CommandContext(t.Context(), "qpdf", "--json=2", "--json-key=acroform", file).Output()
	if len(out) == 0 {
		require.NoError(t, err)
	}
	var j struct {
		Acroform struct {
			Fields []struct {
				Object, Fullname, Fieldtype string
				Value                       any
			}
		}
	}
	require.NoError(t, json.Unmarshal(out, &j))
	var list []string
	for _, f := range j.Acroform.Fields {
		list = append(list, fmt.Sprint(f.Object, f.Fieldtype, f.Fullname, f.Value))
	}
	return list
}

// digitorus asks digitorus/pdfsign, which panics or hangs on some files and
// refuses others: it is one more opinion where it has one.
func digitorus(t testing.TB, s signer, file []byte) string {
	log.SetOutput(io.Discard)
	answer := make(chan string, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				answer <- "panics"
			}
		}()
		r, err := other.VerifyWithOptions(bytes.NewReader(file), int64(len(file)), &other.VerifyOptions{})
		if err != nil {
			answer <- "cannot read it"
			return
		}
		for _, found := range r.Signers {
			for _, c := range found.Certificates {
				if bytes.Equal(c.Certificate.Raw, s.Certificate.Raw) {
					answer <- fmt.Sprint("valid ", found.ValidSignature)
					return
				}
			}
		}
		answer <- "does not find it"
	}()
	select {
	case a := <-answer:
		assert.NotEqual(t, "valid false", a, "digitorus/pdfsign")
		return a
	case <-time.After(5 * time.Second):
		return "hangs"
	}
}

// TestRewritten signs what qpdf makes of some files: linearized, with and
// without object streams, laid out for reading.
func TestRewritten(t *testing.T) {
	_, files := corpus(t)
	s := signerFor(t, sigalg.RSASHA256)
	for _, name := range []string{"sample-files__with-attachment.pdf", "qpdf__form-filled-by-acrobat.pdf", "dss__pdf-with-annotations.pdf", "pyHanko__minimal-two-fields.pdf"} {
		for _, how := range [][]string{
			{"--object-streams=generate"},
			{"--object-streams=generate", "--linearize"},
			{"--object-streams=disable", "--linearize"},
			{"--qdf", "--object-streams=disable"},
		} {
			t.Run(name+strings.Join(how, ""), func(t *testing.T) {
				to := write(t, "to.pdf", nil)
				said, err := run(t, "qpdf", append(how, "--warning-exit-0", write(t, "from.pdf", files[name]), to)...)
				require.NoError(t, err, said)
				base, err := os.ReadFile(to)
				require.NoError(t, err)
				strangers(t, s, base, s.must(t, base, nil))
			})
		}
	}
}
