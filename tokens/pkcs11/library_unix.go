//go:build unix

package pkcs11

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long (*get_function_list)(void **);
typedef unsigned long (*login_function)(unsigned long, unsigned long, unsigned char *, unsigned long);

// tanba_load loads a library for good and gives its CK_FUNCTION_LIST. What it
// returns is the reason when it cannot, for the caller to free. Load and
// reason are one call, because dlerror belongs to the thread.
static char *tanba_load(const char *path, void **list) {
	void *h = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!h) {
		const char *e = dlerror();
		return strdup(e ? e : "no reason given");
	}
	get_function_list get = (get_function_list)dlsym(h, "C_GetFunctionList");
	if (!get)
		return strdup("it has no C_GetFunctionList");
	*list = NULL;
	if (get(list) != 0 || !*list)
		return strdup("C_GetFunctionList fails");
	return NULL;
}

// tanba_login calls C_Login. CK_FUNCTION_LIST is a CK_VERSION, padded to a
// pointer's size, and the functions; C_Login is the 19th.
static unsigned long tanba_login(void *list, unsigned long session, unsigned char *pin, unsigned long size) {
	login_function login = ((login_function *)list)[1 + 18];
	return login(session, 1, pin, size);
}
*/
import "C"

import (
	"errors"
	"unsafe"
)

// library is the loaded library, for the calls that miekg/pkcs11 does not
// make as we need them.
type library struct{ list unsafe.Pointer }

// load loads the library at path. It stays loaded.
func load(path string) (*library, error) {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	l := &library{}
	if reason := C.tanba_load(p, &l.list); reason != nil {
		defer C.free(unsafe.Pointer(reason))
		return nil, errors.New(clean(C.GoStringN(reason, C.int(C.strnlen(reason, 1024)))))
	}
	return l, nil
}

// login calls C_Login for the user with pin's own bytes: no copy of them is
// made here. An empty pin is NULL: the token's own pad.
func (l *library) login(session uint, pin []byte) uint {
	var p *C.uchar
	if len(pin) > 0 {
		p = (*C.uchar)(&pin[0])
	}
	return uint(C.tanba_login(l.list, C.ulong(session), p, C.ulong(len(pin))))
}
