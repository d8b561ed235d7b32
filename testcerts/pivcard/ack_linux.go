package pivcard

import (
	"net"
	"syscall"
)

// acknowledge makes the kernel acknowledge what comes next at once. It must be
// asked for again before each read: tcp(7).
func acknowledge(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
