package paper

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sheet(rows int) *Sheet {
	t := &Table{Head: []string{"Item", "Tonnes", "Price, KZT"}, Total: "1 000"}
	for range rows {
		t.Rows = append(t.Rows, []string{"Rebar (A500C) \\ 12 mm", "4.0", "250"})
	}
	return &Sheet{
		Company: "TOO Altyn Metall", Address: "Almaty, Abay ave. 10", Title: "Supply contract", Number: "No. D-41", Place: "Almaty",
		Date: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		Blocks: []Block{
			{Heading: "1. Subject"},
			{Text: strings.Repeat("The Supplier shall deliver and the Buyer shall accept steel – “as agreed”. ", 20)},
			{Table: t},
			{Picture: &Picture{Width: 40, Height: 20, Gray: make([]byte, 800)}},
		},
		Sides: []Side{{"The Supplier", []string{"TOO Altyn Metall", "Director"}}, {"The Buyer", []string{"TOO Baiterek"}}},
	}
}

func TestStrangersReadIt(t *testing.T) {
	for _, rows := range []int{1, 5, 80} {
		file := filepath.Join(t.TempDir(), "a.pdf")
		require.NoError(t, os.WriteFile(file, sheet(rows).PDF(), 0o600))
		out, err := exec.Command("qpdf", "--check", file).CombinedOutput()
		assert.NoError(t, err, "qpdf: %s", out)
		text, err := exec.Command("pdftotext", "-layout", file, "-").Output()
		require.NoError(t, err)
		assert.Contains(t, string(text), "Supply contract")
		assert.Contains(t, string(text), "– “as agreed”.")
		assert.Equal(t, rows, strings.Count(string(text), `Rebar (A500C) \ 12 mm`))
		assert.Contains(t, string(text), "Page 1 of")
	}
}

func TestSameSheetSameBytes(t *testing.T) {
	assert.Equal(t, sheet(3).PDF(), sheet(3).PDF())
}

func TestWrapFits(t *testing.T) {
	for _, line := range wrap(regular, 10, 200, strings.Repeat("word and another ", 30)) {
		assert.LessOrEqual(t, width(regular, 10, line), 200.0)
		assert.NotEmpty(t, line)
	}
}

func TestEncode(t *testing.T) {
	assert.Equal(t, "\x80 \x96 \xe9 ?", encode("€ – é ж"))
	assert.Equal(t, `\(a\\b\)`, escape(`(a\b)`))
}
