/* A bare loop of C_SignInit and C_Sign over 1,000 digests: what the token alone
 * can do. Usage: bare LIBRARY LABEL PIN COUNT. Prints the seconds. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cryptoki.h"

#define MUST(call)                                                        \
	do {                                                              \
		CK_RV rv_ = (call);                                       \
		if (rv_ != CKR_OK) {                                      \
			fprintf(stderr, "%s: 0x%lx\n", #call, (unsigned long)rv_); \
			return 1;                                         \
		}                                                         \
	} while (0)

int main(int argc, char **argv)
{
	if (argc != 5) return 2;
	void *lib = dlopen(argv[1], RTLD_NOW);
	if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 1; }
	CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(lib, "C_GetFunctionList");
	CK_FUNCTION_LIST *f;
	MUST(get(&f));
	MUST(f->C_Initialize(NULL));
	CK_SLOT_ID slots[16];
	CK_ULONG n = 16, i;
	MUST(f->C_GetSlotList(1, slots, &n));
	for (i = 0; i < n; i++) {
		CK_TOKEN_INFO info;
		MUST(f->C_GetTokenInfo(slots[i], &info));
		if (!strncmp((char *)info.label, argv[2], strlen(argv[2]))) break;
	}
	if (i == n) { fprintf(stderr, "no such token\n"); return 1; }
	CK_SESSION_HANDLE s;
	MUST(f->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &s));
	MUST(f->C_Login(s, CKU_USER, (unsigned char *)argv[3], strlen(argv[3])));
	CK_ULONG class = CKO_PRIVATE_KEY, type = CKK_RSA;
	CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}};
	CK_OBJECT_HANDLE key;
	CK_ULONG found;
	MUST(f->C_FindObjectsInit(s, want, 2));
	MUST(f->C_FindObjects(s, &key, 1, &found));
	MUST(f->C_FindObjectsFinal(s));
	if (found != 1) { fprintf(stderr, "no RSA key\n"); return 1; }
	/* DigestInfo of SHA-256, RFC 8017 section 9.2. */
	unsigned char tbs[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int k = 0, count = atoi(argv[4]); k < count; k++) {
		unsigned char sig[512];
		CK_ULONG len = sizeof sig;
		CK_MECHANISM m = {CKM_RSA_PKCS, NULL, 0};
		memcpy(tbs + 19, &k, sizeof k);
		MUST(f->C_SignInit(s, &m, key));
		MUST(f->C_Sign(s, tbs, sizeof tbs, sig, &len));
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.6f\n", (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
