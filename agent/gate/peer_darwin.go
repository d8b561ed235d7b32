package gate

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// addressIsEnough: where the kernel's table cannot be read as we know it, the
// check of the address is all there is, and Supported says so.
const addressIsEnough = true

// owner looks the connection up in the kernel's list of connections, the one
// that netstat reads, and compares the socket's user with ours. Another login
// session on a Mac is another user's.
func (*systemPeer) owner(local, remote netip.AddrPort) error {
	list, err := unix.SysctlRaw("net.inet.tcp.pcblist_n")
	if err != nil {
		return err
	}
	uid, ok := findPCB(list, remote, local)
	if !ok || int(uid) != os.Getuid() {
		return ErrPeer
	}
	return nil
}
