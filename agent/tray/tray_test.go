package tray

import (
	"bytes"
	"image/png"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"tanba/agent/text"
)

func TestEveryStateHasItsOwnShape(t *testing.T) {
	seen := map[string]State{}
	for _, s := range []State{Idle, Delivering, Signing, Waiting, Attention} {
		img, err := png.Decode(bytes.NewReader(PNG(s, 32)))
		require.NoError(t, err)
		// Only the outline between light and dark is compared, not the colours.
		var shape []byte
		for y := range 32 {
			for x := range 32 {
				r, g, b, a := img.At(x, y).RGBA()
				shape = append(shape, '0'+byte((r+g+b)/3>>15)+2*byte(a>>15))
			}
		}
		other, dup := seen[string(shape)]
		assert.False(t, dup, "%s looks like %s", s, other)
		seen[string(shape)] = s
	}
}

func TestStatusLine(t *testing.T) {
	for want, s := range map[string]Status{
		"Ready":                        {Lang: text.English},
		"2 requests wait for you":      {Lang: text.English, Waiting: 2, Attention: 1},
		"Signing":                      {Lang: text.English, Signing: 1, Attention: 1},
		"1 document was not delivered": {Lang: text.English, Attention: 1, Delivering: 5},
		"Отправляются 3 документа":     {Lang: text.Russian, Delivering: 3},
		"Қолыңызды күткен сұраулар: 4": {Lang: text.Kazakh, Waiting: 4},
	} {
		assert.Equal(t, want, s.Line())
	}
}
