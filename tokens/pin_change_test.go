package tokens

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheckPIN(t *testing.T) {
	for name, c := range map[string]struct {
		pin         string
		least, most int
		want        PINReason
	}{
		"fine":               {"1234", 4, 8, ""},
		"bytes, not letters": {"жаңа", 4, 8, ""},
		"no bounds":          {"1", 0, 0, ""},
		"empty":              {"", 0, 0, PINLength},
		"short":              {"123", 4, 8, PINLength},
		"long":               {"123456789", 4, 8, PINLength},
		"too long for us":    {strings.Repeat("1", MaxPIN+1), 0, 0, PINLength},
		"mad bound":          {strings.Repeat("1", MaxPIN+1), 0, 1 << 20, PINLength},
		"control character":  {"12\n34", 4, 8, PINChars},
		"not UTF-8":          {"12\xff34", 4, 8, PINChars},
	} {
		assert.Equal(t, c.want, CheckPIN(NewPIN([]byte(c.pin)), c.least, c.most), name)
	}
}

func TestFactoryPIN(t *testing.T) {
	assert.True(t, FactoryPIN(NewPIN([]byte("12345678"))))
	assert.False(t, FactoryPIN(NewPIN([]byte("12345679"))))
	assert.False(t, FactoryPIN(PIN{}))
}
