package pages

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestContrast holds the colours of both themes to WCAG 2.2, 1.4.3 (text
// 4.5:1) and 1.4.11 (edges of fields 3:1).
func TestContrast(t *testing.T) {
	css, err := client.ReadFile("client/pages.css")
	require.NoError(t, err)
	light, rest, ok := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	require.True(t, ok)
	dark, _, ok := strings.Cut(rest, "\n}\n")
	require.True(t, ok)
	for name, block := range map[string]string{"light": light, "dark": dark} {
		colour := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
			colour[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			on, under string
			least     float64
		}{
			{"ink", "paper", 7}, {"ink", "surface", 7}, {"ink", "sunk", 7}, {"faint", "paper", 4.5}, {"faint", "surface", 4.5}, {"faint", "sunk", 4.5},
			{"green", "surface", 4.5}, {"green", "green-soft", 4.5}, {"green-ink", "green", 4.5}, {"red", "surface", 4.5}, {"red", "red-soft", 4.5},
			{"red", "sunk", 4.5}, {"surface", "red", 4.5}, {"amber", "surface", 4.5}, {"amber", "amber-soft", 4.5}, {"edge", "surface", 3}, {"edge", "paper", 3}, {"green", "paper", 3},
		} {
			a, okA := colour[pair.on]
			b, okB := colour[pair.under]
			require.True(t, okA && okB, "%s: %s, %s", name, pair.on, pair.under)
			assert.GreaterOrEqual(t, (max(a, b)+.05)/(min(a, b)+.05), pair.least, "%s: %s on %s", name, pair.on, pair.under)
		}
	}
}

// luminance is the relative luminance of WCAG 2.2 of a colour in hex.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	require.NoError(t, err)
	part := func(shift uint) float64 {
		v := float64(n>>shift&0xff) / 255
		if v <= .04045 {
			return v / 12.92
		}
		return math.Pow((v+.055)/1.055, 2.4)
	}
	return .2126*part(16) + .7152*part(8) + .0722*part(0)
}
