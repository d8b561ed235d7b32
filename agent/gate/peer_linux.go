package gate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strconv"
)

// addressIsEnough: no. Without /proc/net nobody may connect.
const addressIsEnough = false

// established is TCP_ESTABLISHED of include/net/tcp_states.h. In the states
// after it the kernel shows no owner any more.
const established = "01"

// owner looks the connection up in the kernel's tables and compares the
// socket's user with ours. On Linux the same user is enough: a second session
// of the same user has the same files and may trace our process anyway. A
// socket of IPv6 that talks IPv4 stands in tcp6.
func (*systemPeer) owner(local, remote netip.AddrPort) error {
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		uid, found, err := lookUp(name, remote, local)
		if errors.Is(err, os.ErrNotExist) && name == "/proc/self/net/tcp6" {
			continue // no IPv6
		}
		if err != nil {
			return err
		}
		if found {
			if uid != os.Getuid() {
				return ErrPeer
			}
			return nil
		}
	}
	return ErrPeer
}

// lookUp finds the established socket with exactly these two addresses.
func lookUp(name string, own, other netip.AddrPort) (uid int, found bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f) // lines of at most 64 KiB
	for s.Scan() {
		// sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …
		c := bytes.Fields(s.Bytes())
		if len(c) < 8 || string(c[3]) != established {
			continue
		}
		l, err1 := procAddr(c[1])
		r, err2 := procAddr(c[2])
		if err1 != nil || err2 != nil || l != own || r != other {
			continue
		}
		uid, err := strconv.Atoi(string(c[7]))
		return uid, err == nil, err
	}
	return 0, false, s.Err()
}

// errProcAddr: the kernel's table is not as we know it.
var errProcAddr = errors.New("malformed address in the kernel's table")

// procAddr reads an address of /proc/net/tcp: 32-bit words in the byte order
// of the machine, each in hex, a colon and the port in hex.
func procAddr(b []byte) (netip.AddrPort, error) {
	host, port, ok := bytes.Cut(b, []byte(":"))
	if !ok || (len(host) != 8 && len(host) != 32) {
		return netip.AddrPort{}, errProcAddr
	}
	raw := make([]byte, len(host)/2)
	if _, err := hex.Decode(raw, host); err != nil {
		return netip.AddrPort{}, errProcAddr
	}
	for w := range len(raw) / 4 {
		v := binary.BigEndian.Uint32(raw[4*w:])
		binary.NativeEndian.PutUint32(raw[4*w:], v)
	}
	p, err := strconv.ParseUint(string(port), 16, 16)
	if err != nil {
		return netip.AddrPort{}, errProcAddr
	}
	addr, _ := netip.AddrFromSlice(raw)
	return plain(netip.AddrPortFrom(addr, uint16(p))), nil
}
