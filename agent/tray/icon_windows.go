package tray

import (
	"bytes"
	"encoding/binary"
)

const supported = true

// iconFile returns the icon of a state as a file of the kind the system
// wants: an ICO with one PNG image of 32 pixels.
func iconFile(s State) []byte {
	const size = 32
	png := PNG(s, size)
	var b bytes.Buffer
	// ICONDIR and one ICONDIRENTRY, little-endian.
	for _, v := range []any{
		[3]uint16{0, 1, 1}, [4]byte{size, size, 0, 0}, [2]uint16{1, 32}, uint32(len(png)), uint32(6 + 16),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a bytes.Buffer does not fail
	}
	b.Write(png)
	return b.Bytes()
}
