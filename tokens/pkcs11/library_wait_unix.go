//go:build unix

package pkcs11

/*
typedef unsigned long (*wait_function)(unsigned long, unsigned long *, void *);

// CK_FUNCTION_LIST is a CK_VERSION, padded to a pointer's size, and the
// functions: C_WaitForSlotEvent is the 68th.
static unsigned long tanba_wait_for_slot_event(void *list, unsigned long flags) {
	unsigned long slot = 0;
	return ((wait_function *)list)[1 + 67](flags, &slot, 0);
}
*/
import "C"

// waitForSlotEvent calls C_WaitForSlotEvent and returns what it returns, which
// miekg/pkcs11 loses. Which slot it was nobody needs to know.
func (l *library) waitForSlotEvent(flags uint) uint {
	return uint(C.tanba_wait_for_slot_event(l.list, C.ulong(flags)))
}
