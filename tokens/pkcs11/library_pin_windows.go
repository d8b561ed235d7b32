package pkcs11

import (
	"syscall"
	"unsafe"
)

// The calls take the secrets' own bytes: no copy of them is made here.
// CK_FUNCTION_LIST is packed: a CK_VERSION of two bytes and the functions;
// C_InitPIN is the 11th, C_SetPIN the 12th, C_Login the 19th.
func (l *library) function(n uintptr) uintptr {
	return *(*uintptr)(unsafe.Add(l.list, 2+n*unsafe.Sizeof(uintptr(0))))
}

// loginSO calls C_Login for the security officer.
func (l *library) loginSO(session uint, puk []byte) uint {
	r, _, _ := syscall.SyscallN(l.function(18), uintptr(session), 0, uintptr(unsafe.Pointer(unsafe.SliceData(puk))), uintptr(len(puk)))
	return uint(uint32(r))
}

// initPIN calls C_InitPIN.
func (l *library) initPIN(session uint, fresh []byte) uint {
	r, _, _ := syscall.SyscallN(l.function(10), uintptr(session), uintptr(unsafe.Pointer(unsafe.SliceData(fresh))), uintptr(len(fresh)))
	return uint(uint32(r))
}

// setPIN calls C_SetPIN.
func (l *library) setPIN(session uint, old, fresh []byte) uint {
	r, _, _ := syscall.SyscallN(l.function(11), uintptr(session), uintptr(unsafe.Pointer(unsafe.SliceData(old))), uintptr(len(old)),
		uintptr(unsafe.Pointer(unsafe.SliceData(fresh))), uintptr(len(fresh)))
	return uint(uint32(r))
}
