package text

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"strings"
)

func TestEveryTextInEveryLanguage(t *testing.T) {
	require.NotEmpty(t, all)
	for k, w := range all {
		for l, s := range map[Lang]string{Kazakh: w.kk, Russian: w.ru, English: w.en} {
			assert.NotEmpty(t, s, "%s in %s", k, l)
			assert.Equal(t, placeholders(w.en), placeholders(s), "placeholders of %s in %s", k, l)
		}
		if strings.Contains(w.en, "|") {
			assert.Equal(t, 2, len(strings.Split(w.en, "|")), k)
			assert.Equal(t, 3, len(strings.Split(w.ru, "|")), k)
			assert.NotContains(t, w.kk, "|", k)
		}
	}
}

// placeholders returns the set of {names} in s.
func placeholders(s string) map[string]bool {
	m := map[string]bool{}
	for _, part := range strings.Split(s, "{")[1:] {
		name, _, ok := strings.Cut(part, "}")
		if ok {
			m[name] = true
		}
	}
	return m
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]int{0: 2, 1: 0, 2: 1, 5: 2, 11: 2, 12: 2, 21: 0, 22: 1, 111: 2, 1000: 2} {
		assert.Equal(t, want, plural(Russian, n), n)
	}
}

func TestParse(t *testing.T) {
	for tag, want := range map[string]Lang{"ru-RU": Russian, "kk_KZ.UTF-8": Kazakh, "en": English, "de-DE": English, "rub": English, "": English} {
		l, _ := Parse(tag)
		assert.Equal(t, want, l, tag)
	}
}
