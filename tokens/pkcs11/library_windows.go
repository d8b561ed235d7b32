package pkcs11

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// library is the loaded library, for the calls that miekg/pkcs11 does not
// make as we need them.
type library struct{ list unsafe.Pointer }

// load loads the library at path, which may hold any character, with the
// libraries it needs from its own folder and from System32 only. It stays
// loaded: the later LoadLibrary of the same path finds this one.
func load(path string) (*library, error) {
	h, err := windows.LoadLibraryEx(path, 0, windows.LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR|windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if err != nil {
		return nil, fmt.Errorf("cannot be loaded: %w", err)
	}
	get, err := windows.GetProcAddress(h, "C_GetFunctionList")
	if err != nil {
		return nil, errors.New("it has no C_GetFunctionList")
	}
	l := &library{}
	if r, _, _ := syscall.SyscallN(get, uintptr(unsafe.Pointer(&l.list))); uint32(r) != 0 || l.list == nil {
		return nil, errors.New("C_GetFunctionList fails")
	}
	return l, nil
}

// login calls C_Login for the user with pin's own bytes: no copy of them is
// made here. An empty pin is NULL: the token's own pad. CK_FUNCTION_LIST is
// packed: a CK_VERSION of two bytes and the functions; C_Login is the 19th.
func (l *library) login(session uint, pin []byte) uint {
	f := *(*uintptr)(unsafe.Add(l.list, 2+18*unsafe.Sizeof(uintptr(0))))
	r, _, _ := syscall.SyscallN(f, uintptr(session), 1, uintptr(unsafe.Pointer(unsafe.SliceData(pin))), uintptr(len(pin)))
	return uint(uint32(r))
}
