package pkcs11

import (
	"syscall"
	"unsafe"
)

// loginContext calls C_Login, the 19th function, for the operation that was
// begun on the session (CKU_CONTEXT_SPECIFIC), with pin's own bytes. An empty
// pin is NULL: the token's own pad.
func (l *library) loginContext(session uint, pin []byte) uint {
	r, _, _ := syscall.SyscallN(l.function(18), uintptr(session), 2, uintptr(unsafe.Pointer(unsafe.SliceData(pin))), uintptr(len(pin)))
	return uint(uint32(r))
}
