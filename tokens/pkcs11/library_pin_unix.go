//go:build unix

package pkcs11

/*
typedef unsigned long (*login_function)(unsigned long, unsigned long, const unsigned char *, unsigned long);
typedef unsigned long (*init_pin_function)(unsigned long, const unsigned char *, unsigned long);
typedef unsigned long (*set_pin_function)(unsigned long, const unsigned char *, unsigned long, const unsigned char *, unsigned long);

// CK_FUNCTION_LIST is a CK_VERSION, padded to a pointer's size, and the
// functions: C_InitPIN is the 11th, C_SetPIN the 12th, C_Login the 19th.
static unsigned long tanba_init_pin(void *list, unsigned long session, const unsigned char *pin, unsigned long size) {
	return ((init_pin_function *)list)[1 + 10](session, pin, size);
}
static unsigned long tanba_set_pin(void *list, unsigned long session, const unsigned char *old, unsigned long old_size,
		const unsigned char *pin, unsigned long size) {
	return ((set_pin_function *)list)[1 + 11](session, old, old_size, pin, size);
}
static unsigned long tanba_login_so(void *list, unsigned long session, const unsigned char *pin, unsigned long size) {
	return ((login_function *)list)[1 + 18](session, 0, pin, size);
}
*/
import "C"

import "unsafe"

// The calls take the secrets' own bytes: no copy of them is made here.

// loginSO calls C_Login for the security officer.
func (l *library) loginSO(session uint, puk []byte) uint {
	return uint(C.tanba_login_so(l.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(puk)), C.ulong(len(puk))))
}

// initPIN calls C_InitPIN.
func (l *library) initPIN(session uint, fresh []byte) uint {
	return uint(C.tanba_init_pin(l.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(fresh)), C.ulong(len(fresh))))
}

// setPIN calls C_SetPIN.
func (l *library) setPIN(session uint, old, fresh []byte) uint {
	return uint(C.tanba_set_pin(l.list, C.ulong(session), (*C.uchar)(unsafe.SliceData(old)), C.ulong(len(old)),
		(*C.uchar)(unsafe.SliceData(fresh)), C.ulong(len(fresh))))
}
