package pkcs11

import (
	"syscall"
	"unsafe"
)

// waitForSlotEvent calls C_WaitForSlotEvent, the 68th function, and returns
// what it returns, which miekg/pkcs11 loses. Which slot it was nobody needs to
// know.
func (l *library) waitForSlotEvent(flags uint) uint {
	var slot uint32 // CK_SLOT_ID has 32 bits on Windows
	r, _, _ := syscall.SyscallN(l.function(67), uintptr(flags), uintptr(unsafe.Pointer(&slot)), 0)
	return uint(uint32(r))
}
