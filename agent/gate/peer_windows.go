package gate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// addressIsEnough: no. Without the system's table nobody may connect.
const addressIsEnough = false

var getExtendedTCPTable = windows.NewLazySystemDLL("iphlpapi.dll").NewProc("GetExtendedTcpTable")

// tcpTableOwnerPIDConnections is TCP_TABLE_OWNER_PID_CONNECTIONS of iprtrmib.h.
const tcpTableOwnerPIDConnections = 4

// stateEstablished is MIB_TCP_STATE_ESTAB.
const stateEstablished = 5

// maxTable bounds the table, in bytes.
const maxTable = 64 << 20

// owner finds the process of the connection in both of the system's tables
// and compares its user's SID and its session with ours. A process that we
// may not look at is another user's.
func (*systemPeer) owner(local, remote netip.AddrPort) error {
	for _, family := range []uint32{windows.AF_INET, windows.AF_INET6} {
		table, err := tcpTable(family)
		if err != nil {
			return err
		}
		if pid, ok := findConnection(table, family == windows.AF_INET6, remote, local); ok {
			return sameUserAndSession(pid)
		}
	}
	return ErrPeer
}

func tcpTable(family uint32) ([]byte, error) {
	if err := getExtendedTCPTable.Find(); err != nil {
		return nil, err
	}
	size := uint32(64 << 10)
	for range 8 { // the table may grow between two calls
		buf := make([]byte, size)
		r, _, _ := getExtendedTCPTable.Call(uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0,
			uintptr(family), tcpTableOwnerPIDConnections, 0)
		switch windows.Errno(r) {
		case windows.NO_ERROR:
			return buf, nil
		case windows.ERROR_INSUFFICIENT_BUFFER:
			if size > maxTable {
				return nil, fmt.Errorf("invalid table of connections: %d bytes", size)
			}
			size += 4 << 10
		default:
			return nil, fmt.Errorf("GetExtendedTcpTable: %w", windows.Errno(r))
		}
	}
	return nil, fmt.Errorf("GetExtendedTcpTable: %w", windows.ERROR_INSUFFICIENT_BUFFER)
}

// findConnection looks for the row with these two addresses. The table is a
// count of 32 bits and rows of MIB_TCPROW_OWNER_PID (state, local address and
// port, remote address and port, process) or MIB_TCP6ROW_OWNER_PID (local
// address, scope, port, remote address, scope, port, state, process). Numbers
// are little-endian, addresses in network order, ports in network order in
// the first two bytes of their 32 bits.
func findConnection(table []byte, v6 bool, own, other netip.AddrPort) (pid uint32, ok bool) {
	row := 24
	if v6 {
		row = 56
	}
	if len(table) < 4 {
		return 0, false
	}
	n := int(binary.LittleEndian.Uint32(table))
	rows := table[4:]
	for i := 0; i < n && (i+1)*row <= len(rows); i++ {
		r := rows[i*row : (i+1)*row]
		var l, o netip.AddrPort
		var state uint32
		if v6 {
			l, o = tableAddr(r[0:16], r[20:22]), tableAddr(r[24:40], r[44:46])
			state, pid = binary.LittleEndian.Uint32(r[48:]), binary.LittleEndian.Uint32(r[52:])
		} else {
			l, o = tableAddr(r[4:8], r[8:10]), tableAddr(r[12:16], r[16:18])
			state, pid = binary.LittleEndian.Uint32(r[0:]), binary.LittleEndian.Uint32(r[20:])
		}
		if state == stateEstablished && l == own && o == other {
			return pid, true
		}
	}
	return 0, false
}

func tableAddr(addr, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(addr)
	return plain(netip.AddrPortFrom(a, binary.BigEndian.Uint16(port)))
}

func sameUserAndSession(pid uint32) error {
	var theirs, ours uint32
	if err := windows.ProcessIdToSessionId(pid, &theirs); err != nil {
		return fmt.Errorf("%w: session: %w", ErrPeer, err)
	}
	if err := windows.ProcessIdToSessionId(windows.GetCurrentProcessId(), &ours); err != nil {
		return fmt.Errorf("%w: own session: %w", ErrPeer, err)
	}
	if theirs != ours {
		return ErrPeer
	}
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, pid)
	if err != nil {
		return fmt.Errorf("%w: process: %w", ErrPeer, err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	var t windows.Token
	if err := windows.OpenProcessToken(h, windows.TOKEN_QUERY, &t); err != nil {
		return fmt.Errorf("%w: process token: %w", ErrPeer, err)
	}
	defer func() { _ = t.Close() }()
	them, err := t.GetTokenUser()
	if err != nil {
		return fmt.Errorf("%w: user: %w", ErrPeer, err)
	}
	us, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return fmt.Errorf("%w: own user: %w", ErrPeer, err)
	}
	if !windows.EqualSid(them.User.Sid, us.User.Sid) {
		return ErrPeer
	}
	return nil
}
