package gate

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// exclusiveAddressUse is SO_EXCLUSIVEADDRUSE of winsock2.h, ~SO_REUSEADDR,
// which no Go package exports. Without it another process may bind the same
// address with SO_REUSEADDR and take our connections.
const exclusiveAddressUse = ^windows.SO_REUSEADDR

func control(_, _ string, c syscall.RawConn) error {
	var opt error
	err := c.Control(func(fd uintptr) {
		opt = windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, exclusiveAddressUse, 1)
	})
	return errors.Join(err, opt)
}
