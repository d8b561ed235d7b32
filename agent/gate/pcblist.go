package gate

import (
	"encoding/binary"
	"net/netip"
)

// findPCB looks through macOS' net.inet.tcp.pcblist_n for the socket with
// these two addresses and returns its user.
//
// The list is a header (xinpgen, whose first 32 bits are its length) and
// records, each aligned to 8 bytes and beginning with its length and kind, 32
// bits each: bsd/netinet/in_pcb.h and bsd/sys/socketvar.h of the published
// XNU sources, packed to 4 bytes. Of xinpcb_n (kind 0x10) we read foreign
// port at 16, local port at 18, vflag at 44, foreign address at 48, local
// address at 64 (IPv4 in the last four of their 16 bytes); of xsocket_n (kind
// 1), which follows, the user at 64. Numbers are little-endian, addresses and
// ports in network order.
func findPCB(list []byte, own, other netip.AddrPort) (uid uint32, ok bool) {
	const (
		kindSocket, kindPCB = 0x01, 0x10
		vflagIPv4           = 0x01
	)
	if len(list) < 4 {
		return 0, false
	}
	match := false
	for off := align8(binary.LittleEndian.Uint32(list)); off+8 <= uint64(len(list)); {
		size := binary.LittleEndian.Uint32(list[off:])
		if size < 8 || off+uint64(size) > uint64(len(list)) {
			break
		}
		rec := list[off : off+uint64(size)]
		switch binary.LittleEndian.Uint32(rec[4:]) {
		case kindPCB:
			match = false
			if len(rec) >= 80 {
				foreign, local := rec[48:64], rec[64:80]
				if rec[44]&vflagIPv4 != 0 {
					foreign, local = foreign[12:], local[12:]
				}
				match = pcbAddr(local, rec[18:20]) == own && pcbAddr(foreign, rec[16:18]) == other
			}
		case kindSocket:
			if match && len(rec) >= 68 {
				return binary.LittleEndian.Uint32(rec[64:]), true
			}
		}
		off += align8(size)
	}
	return 0, false
}

func pcbAddr(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr)
	return plain(netip.AddrPortFrom(a, binary.BigEndian.Uint16(port)))
}

func align8(n uint32) uint64 { return (uint64(n) + 7) &^ 7 }
