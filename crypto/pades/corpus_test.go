package pades_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/crypto/sigalg"
)

func TestCorpus(t *testing.T) {
	names, files := corpus(t)
	s := signerFor(t, sigalg.ECDSAP256SHA256)
	db, err := nss()
	require.NoError(t, err)
	for _, name := range names {
		base := files[name]
		out, err := s.attempt(base, nil)
		if err != nil {
			t.Logf("%-60s refused: %v", name, err)
			continue
		}
		assert.True(t, bytes.HasPrefix(out, base))
		file := write(t, name, out)
		before, _ := run(t, "qpdf", "--check", write(t, "base.pdf", base))
		after, _ := run(t, "qpdf", "--check", file)
		sig, _ := run(t, "pdfsig", "-nssdir", "sql:"+db, file)
		i := strings.LastIndex(sig, "Signature #")
		t.Logf("%-60s signed +%d qpdf %d -> %d  %s", name, len(out)-len(base), strings.Count(before, "WARNING"), strings.Count(after, "WARNING"),
			fmt.Sprint(strings.Contains(sig[max(i, 0):], "Signature is Valid"), strings.Contains(sig[max(i, 0):], "Certificate is Trusted"), strings.Contains(sig[max(i, 0):], "Total document signed")))
	}
}
