package gate

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

// pcb writes one connection as macOS lists it: xinpcb_n, xsocket_n and one
// record that we do not read.
func pcb(local, foreign netip.AddrPort, uid uint32) []byte {
	in := make([]byte, 104)
	binary.LittleEndian.PutUint32(in[0:], 100) // padded to 104
	binary.LittleEndian.PutUint32(in[4:], 0x10)
	binary.BigEndian.PutUint16(in[16:], foreign.Port())
	binary.BigEndian.PutUint16(in[18:], local.Port())
	if local.Addr().Is4() {
		in[44] = 1
		copy(in[60:], foreign.Addr().AsSlice())
		copy(in[76:], local.Addr().AsSlice())
	} else {
		in[44] = 2
		copy(in[48:], foreign.Addr().AsSlice())
		copy(in[64:], local.Addr().AsSlice())
	}
	so := make([]byte, 80)
	binary.LittleEndian.PutUint32(so[0:], 80)
	binary.LittleEndian.PutUint32(so[4:], 1)
	binary.LittleEndian.PutUint32(so[64:], uid)
	other := make([]byte, 32)
	binary.LittleEndian.PutUint32(other[0:], 32)
	binary.LittleEndian.PutUint32(other[4:], 2)
	return append(append(in, so...), other...)
}

func TestPCBList(t *testing.T) {
	a, b, us := netip.MustParseAddrPort("127.0.0.1:50001"), netip.MustParseAddrPort("[::1]:50002"), netip.MustParseAddrPort("127.0.0.1:17650")
	us6 := netip.MustParseAddrPort("[::1]:17650")
	list := make([]byte, 24)
	binary.LittleEndian.PutUint32(list, 24)
	list = append(list, pcb(us, a, 501)...)
	list = append(list, pcb(a, us, 502)...)
	list = append(list, pcb(b, us6, 503)...)

	uid, ok := findPCB(list, a, us)
	assert.True(t, ok)
	assert.EqualValues(t, 502, uid, "the client's end, not ours")
	uid, ok = findPCB(list, b, us6)
	assert.True(t, ok)
	assert.EqualValues(t, 503, uid)
	_, ok = findPCB(list, netip.MustParseAddrPort("127.0.0.1:50002"), us)
	assert.False(t, ok)
	for n := range len(list) {
		findPCB(list[:n], b, us6) // any cut is survived
	}
	binary.LittleEndian.PutUint32(list[24:], 0) // a record of no length ends the list
	_, ok = findPCB(list, a, us)
	assert.False(t, ok)
}
