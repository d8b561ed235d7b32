/* Calls the soft token, linked in, as its tests tell it: one command a line on
 * standard input, one answer a line on standard output, return values in hex. */
#include "cryptoki.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static CK_FUNCTION_LIST *f;
static pthread_mutex_t out = PTHREAD_MUTEX_INITIALIZER;

static size_t unhex(const char *s, CK_BYTE *b, size_t max)
{
	size_t n = 0;
	unsigned v;
	for (; *s && *s != '-' && n < max && sscanf(s, "%2x", &v) == 1; s += 2)
		b[n++] = (CK_BYTE)v;
	return n;
}

static void hex(const CK_BYTE *b, size_t n)
{
	putchar(' ');
	for (size_t i = 0; i < n; i++)
		printf("%02x", b[i]);
}

static void *waiter(void *arg)
{
	CK_SLOT_ID id = 99;
	CK_RV rv = f->C_WaitForSlotEvent(0, &id, NULL);
	(void)arg;
	pthread_mutex_lock(&out);
	printf("event %lx %lu\n", rv, id);
	fflush(stdout);
	pthread_mutex_unlock(&out);
	return NULL;
}

static CK_RV sign_init(CK_SESSION_HANDLE s, CK_ULONG mech, CK_OBJECT_HANDLE key, CK_ULONG hash, CK_ULONG mgf, CK_ULONG salt)
{
	CK_RSA_PKCS_PSS_PARAMS p = { hash, mgf, salt };
	CK_MECHANISM m = { mech, hash ? &p : NULL, hash ? sizeof p : 0 };
	return f->C_SignInit(s, &m, key);
}

typedef struct {
	CK_SLOT_ID slot;
	CK_ULONG mech, n;
	CK_OBJECT_HANDLE key;
	CK_RV rv;
} work;

static void *worker(void *arg)
{
	work *w = arg;
	CK_SESSION_HANDLE s;
	CK_BYTE data[32] = { 1 }, sig[512];
	w->rv = f->C_OpenSession(w->slot, CKF_SERIAL_SESSION, NULL, NULL, &s);
	for (CK_ULONG i = 0; i < w->n && !w->rv; i++) {
		CK_ULONG len = sizeof sig;
		w->rv = sign_init(s, w->mech, w->key, 0, 0, 0);
		if (!w->rv)
			w->rv = f->C_Sign(s, data, sizeof data, sig, &len);
	}
	return NULL;
}

static long long us(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* n signatures in each of several threads, each on its own session: answers
 * with the time by the wall and of the processors, in microseconds. */
static void bench(CK_SLOT_ID slot, CK_ULONG mech, CK_OBJECT_HANDLE key, CK_ULONG n, int threads)
{
	work w[16];
	pthread_t t[16];
	CK_RV rv = CKR_OK;
	long long wall = us(CLOCK_MONOTONIC), cpu = us(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < threads; i++) {
		w[i] = (work){ slot, mech, n, key, 0 };
		pthread_create(&t[i], NULL, worker, &w[i]);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(t[i], NULL);
		rv = rv ? rv : w[i].rv;
	}
	printf("%lx %lld %lld\n", rv, us(CLOCK_MONOTONIC) - wall, us(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void find(CK_SESSION_HANDLE s, CK_ULONG class, const char *id_hex)
{
	CK_BYTE id[128];
	CK_OBJECT_HANDLE h[8];
	CK_ULONG n = 0, len = unhex(id_hex, id, sizeof id);
	CK_ATTRIBUTE t[2] = { { CKA_CLASS, &class, sizeof class }, { CKA_ID, id, len } };
	CK_RV rv = f->C_FindObjectsInit(s, t, *id_hex == '-' ? 1 : 2);
	printf("%lx", rv);
	while (!rv && !(rv = f->C_FindObjects(s, h, 8, &n)) && n > 0)
		for (CK_ULONG i = 0; i < n; i++)
			printf(" %lu", h[i]);
	printf("\n");
	f->C_FindObjectsFinal(s);
}

static void sign(CK_SESSION_HANDLE s, const char *data_hex, CK_ULONG room)
{
	CK_BYTE data[1024], sig[1024];
	CK_ULONG len = room;
	size_t n = unhex(data_hex, data, sizeof data);
	CK_RV rv = f->C_Sign(s, data, n, room ? sig : NULL, &len);
	printf("%lx %lu", rv, len);
	if (!rv && room)
		hex(sig, len);
	printf("\n");
}

int main(void)
{
	char line[8192], cmd[32], text[4096];
	unsigned long a, b, c, d, e, g;
	CK_RV rv = C_GetFunctionList(&f);
	pthread_t t;
	if (rv)
		return 1;
	while (fgets(line, sizeof line, stdin)) {
		CK_BYTE buf[1024];
		if (sscanf(line, "%31s", cmd) != 1)
			continue;
		char *arg = line + strlen(cmd);
		if (!strcmp(cmd, "waitbg")) {
			pthread_create(&t, NULL, waiter, NULL);
			pthread_detach(t);
			continue;
		}
		if (!strcmp(cmd, "finalwait")) { /* no lock of ours: the waiter prints first */
			rv = f->C_Finalize(NULL);
			usleep(200000);
		}
		pthread_mutex_lock(&out);
		if (!strcmp(cmd, "finalwait"))
			printf("%lx\n", rv);
		else if (!strcmp(cmd, "init"))
			printf("%lx\n", f->C_Initialize(NULL));
		else if (!strcmp(cmd, "final"))
			printf("%lx\n", f->C_Finalize(NULL));
		else if (!strcmp(cmd, "slots") && sscanf(arg, "%lu", &a) == 1) {
			CK_SLOT_ID ids[32];
			CK_ULONG n = 32;
			rv = f->C_GetSlotList((CK_BBOOL)a, ids, &n);
			printf("%lx", rv);
			for (CK_ULONG i = 0; !rv && i < n; i++)
				printf(" %lu", ids[i]);
			printf("\n");
		} else if (!strcmp(cmd, "slotinfo") && sscanf(arg, "%lu", &a) == 1) {
			CK_SLOT_INFO i = { 0 };
			rv = f->C_GetSlotInfo(a, &i);
			printf("%lx %lx %.64s\n", rv, i.flags, i.slotDescription);
		} else if (!strcmp(cmd, "tokeninfo") && sscanf(arg, "%lu", &a) == 1) {
			CK_TOKEN_INFO i;
			memset(&i, 0, sizeof i);
			rv = f->C_GetTokenInfo(a, &i);
			printf("%lx %lx %lu %lu %.32s\n", rv, i.flags & 0xff0108, i.ulMinPinLen, i.ulMaxPinLen, i.label);
		} else if (!strcmp(cmd, "open") && sscanf(arg, "%lu", &a) == 1) {
			CK_SESSION_HANDLE s = 0;
			rv = f->C_OpenSession(a, CKF_SERIAL_SESSION, NULL, NULL, &s);
			printf("%lx %lu\n", rv, s);
		} else if (!strcmp(cmd, "close") && sscanf(arg, "%lu", &a) == 1)
			printf("%lx\n", f->C_CloseSession(a));
		else if (!strcmp(cmd, "closeall") && sscanf(arg, "%lu", &a) == 1)
			printf("%lx\n", f->C_CloseAllSessions(a));
		else if (!strcmp(cmd, "sessinfo") && sscanf(arg, "%lu", &a) == 1) {
			CK_SESSION_INFO i = { 0 };
			rv = f->C_GetSessionInfo(a, &i);
			printf("%lx %lx\n", rv, i.state);
		} else if (!strcmp(cmd, "openrw") && sscanf(arg, "%lu", &a) == 1) {
			CK_SESSION_HANDLE s = 0;
			rv = f->C_OpenSession(a, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s);
			printf("%lx %lu\n", rv, s);
		} else if (!strcmp(cmd, "setpin") && sscanf(arg, "%lu %2000s %2000s", &a, text, text + 2048) == 3) {
			char *old = text, *pin = text + 2048;
			CK_ULONG n = !strcmp(old, "-") ? 0 : strlen(old), m = !strcmp(pin, "-") ? 0 : strlen(pin);
			printf("%lx\n", f->C_SetPIN(a, n ? (CK_UTF8CHAR_PTR)old : NULL, n, m ? (CK_UTF8CHAR_PTR)pin : NULL, m));
		} else if (!strcmp(cmd, "initpin") && sscanf(arg, "%lu %4095s", &a, text) == 2) {
			CK_ULONG n = !strcmp(text, "-") ? 0 : strlen(text);
			printf("%lx\n", f->C_InitPIN(a, n ? (CK_UTF8CHAR_PTR)text : NULL, n));
		} else if (!strcmp(cmd, "initpinhex") && sscanf(arg, "%lu %4095s", &a, text) == 2) {
			CK_ULONG n = unhex(text, buf, sizeof buf);
			printf("%lx\n", f->C_InitPIN(a, buf, n));
		} else if (!strcmp(cmd, "login") && sscanf(arg, "%lu %lu %4095s", &a, &b, text) == 3) {
			CK_ULONG n = !strcmp(text, "-") ? 0 : strlen(text);
			printf("%lx\n", f->C_Login(a, b, n ? (CK_UTF8CHAR_PTR)text : NULL, n));
		} else if (!strcmp(cmd, "logout") && sscanf(arg, "%lu", &a) == 1)
			printf("%lx\n", f->C_Logout(a));
		else if (!strcmp(cmd, "find") && sscanf(arg, "%lu %lu %4095s", &a, &b, text) == 3)
			find(a, b, text);
		else if (!strcmp(cmd, "attr") && sscanf(arg, "%lu %lu %lx %lu", &a, &b, &c, &d) == 4) {
			CK_ATTRIBUTE at = { c, d ? buf : NULL, d < sizeof buf ? d : sizeof buf };
			rv = f->C_GetAttributeValue(a, b, &at, 1);
			printf("%lx %ld", rv, (long)at.ulValueLen);
			if (!rv && d)
				hex(buf, at.ulValueLen);
			printf("\n");
		} else if (!strcmp(cmd, "signinit") && sscanf(arg, "%lu %lx %lu %lx %lx %lu", &a, &b, &c, &d, &e, &g) == 6)
			printf("%lx\n", sign_init(a, b, c, d, e, g));
		else if (!strcmp(cmd, "sign") && sscanf(arg, "%lu %4095s %lu", &a, text, &b) == 3)
			sign(a, text, b);
		else if (!strcmp(cmd, "poll")) {
			CK_SLOT_ID id = 99;
			rv = f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &id, NULL);
			printf("%lx %lu\n", rv, id);
		} else if (!strcmp(cmd, "random") && sscanf(arg, "%lu", &a) == 1) {
			rv = f->C_GenerateRandom(a, buf, 32);
			printf("%lx", rv);
			hex(buf, 32);
			printf("\n");
		} else if (!strcmp(cmd, "unsupported"))
			printf("%lx %lx %lx %lx\n", f->C_InitToken(0, NULL, 0, NULL), f->C_GenerateKeyPair(0, NULL, NULL, 0, NULL, 0, NULL, NULL),
				f->C_SignUpdate(0, NULL, 0), f->C_CreateObject(0, NULL, 0, NULL));
		else if (!strcmp(cmd, "bench") && sscanf(arg, "%lu %lx %lu %lu %lu", &a, &b, &c, &d, &e) == 5 && e <= 16)
			bench(a, b, c, d, (int)e);
		else
			printf("? %s", line);
		fflush(stdout);
		pthread_mutex_unlock(&out);
	}
	return 0;
}
