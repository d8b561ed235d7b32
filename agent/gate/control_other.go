//go:build !windows

package gate

import "syscall"

// control does nothing: here a listening address cannot be bound a second
// time unless both sockets ask for SO_REUSEPORT, which ours does not.
func control(_, _ string, _ syscall.RawConn) error { return nil }
