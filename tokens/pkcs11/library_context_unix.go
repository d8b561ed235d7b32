//go:build unix

package pkcs11

/*
typedef unsigned long (*login_function)(unsigned long, unsigned long, const unsigned char *, unsigned long);

// CK_FUNCTION_LIST is a CK_VERSION, padded to a pointer's size, and the
// functions: C_Login is the 19th.
static unsigned long tanba_login_context(void *list, unsigned long session, const unsigned char *pin, unsigned long size) {
	return ((login_function *)list)[1 + 18](session, 2, pin, size);
}
*/
import "C"

import "unsafe"

// loginContext calls C_Login for the operation that was begun on the session
// (CKU_CONTEXT_SPECIFIC), with pin's own bytes. An empty pin is NULL: the
// token's own pad.
func (l *library) loginContext(session uint, pin []byte) uint {
	return uint(C.tanba_login_context(l.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(pin)), C.ulong(len(pin))))
}
