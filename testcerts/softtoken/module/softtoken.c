/* A PKCS #11 v2.40 module that plays tokens from a folder. For the demo, trials
 * and tests ONLY: keys and PINs lie in the folder for everybody who can read
 * it, and no arithmetic runs in constant time. It shall never hold a key that
 * matters.
 *
 * $SOFTTOKEN_DIR is the folder (token.h says what is in it); each folder in it
 * is a reader. Without the variable C_Initialize fails with CKR_GENERAL_ERROR.
 *
 * This file: the library, slots, tokens and events. */
#include "session.h"

#include <string.h>

int initialized;
slot slots[MAX_SLOTS];
int nslots;
static int waiting; /* threads in C_WaitForSlotEvent */

/* Copies a UTF-8 text into a field padded with blanks, cut between characters. */
static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
	size_t n = strlen(text);
	if (n > size)
		for (n = size; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; n--)
			;
	memset(field, ' ', size);
	memcpy(field, text, n);
}

void slot_refresh(slot *s)
{
	char inserted[32];
	int present = slot_look(s, inserted);
	if (!present || !s->present || strcmp(inserted, s->inserted)) {
		sessions_die(s);
		slot_unload(s);
	}
	s->present = present;
	memcpy(s->inserted, inserted, sizeof inserted);
}

void slots_refresh(void)
{
	static char names[MAX_SLOTS * 4][MAX_NAME];
	char path[MAX_PATH_BYTES];
	int n = os_list(token_dir, names, MAX_SLOTS * 4);
	for (int i = 0; i < n && nslots < MAX_SLOTS; i++) {
		int known = 0;
		for (int j = 0; j < nslots; j++)
			known |= !strcmp(names[i], slots[j].name);
		slot *s = &slots[nslots];
		if (known)
			continue;
		memset(s, 0, sizeof *s);
		strcpy(s->name, names[i]);
		if (!slot_path(path, s, "token") && os_exists(path))
			nslots++;
	}
	for (int i = 0; i < nslots; i++)
		slot_refresh(&slots[i]);
}

slot *slot_by_id(CK_SLOT_ID id)
{
	return id < (CK_SLOT_ID)nslots ? &slots[id] : NULL;
}

CK_RV C_Initialize(CK_VOID_PTR args)
{
	const CK_C_INITIALIZE_ARGS *a = args;
	if (a) {
		int callbacks = !!a->CreateMutex + !!a->DestroyMutex + !!a->LockMutex + !!a->UnlockMutex;
		if (a->pReserved || (callbacks != 0 && callbacks != 4))
			return CKR_ARGUMENTS_BAD;
		if (callbacks && !(a->flags & CKF_OS_LOCKING_OK))
			return CKR_CANT_LOCK; /* the lock is the system's own */
	}
	CK_RV rv = CKR_OK;
	os_lock();
	if (initialized)
		rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
	else if (os_env("SOFTTOKEN_DIR", token_dir, sizeof token_dir) || curves_init())
		rv = CKR_GENERAL_ERROR;
	else {
		nslots = 0;
		slots_refresh();
		for (int i = 0; i < nslots; i++) {
			slots[i].told_present = slots[i].present;
			memcpy(slots[i].told_inserted, slots[i].inserted, sizeof slots[i].inserted);
		}
		initialized = 1;
	}
	os_unlock();
	return rv;
}

CK_RV C_Finalize(CK_VOID_PTR reserved)
{
	if (reserved)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	if (!initialized) {
		os_unlock();
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	}
	initialized = 0;
	sessions_forget(NULL);
	for (int i = 0; i < nslots; i++)
		slot_unload(&slots[i]);
	nslots = 0;
	os_wake();
	while (waiting > 0) /* so that the library can be unloaded afterwards */
		os_wait(100);
	os_unlock();
	return CKR_OK;
}

CK_RV C_GetInfo(CK_INFO *info)
{
	if (!info)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	int up = initialized;
	os_unlock();
	if (!up)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	memset(info, 0, sizeof *info);
	info->cryptokiVersion = (CK_VERSION){ 2, 40 };
	info->libraryVersion = (CK_VERSION){ 1, 0 };
	pad(info->manufacturerID, sizeof info->manufacturerID, "Tanba");
	pad(info->libraryDescription, sizeof info->libraryDescription, "Soft token for trials");
	return CKR_OK;
}

CK_RV C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG_PTR count)
{
	CK_RV rv = CKR_OK;
	CK_ULONG n = 0;
	if (!count)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	if (!initialized) {
		os_unlock();
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	}
	slots_refresh();
	for (int i = 0; i < nslots; i++) {
		if (present && !slots[i].present)
			continue;
		if (list && n < *count)
			list[n] = (CK_SLOT_ID)i;
		n++;
	}
	if (list && n > *count)
		rv = CKR_BUFFER_TOO_SMALL;
	*count = n;
	os_unlock();
	return rv;
}

/* Takes the lock and finds the slot; with an error the lock is not held. */
static CK_RV locked_slot(CK_SLOT_ID id, slot **s)
{
	os_lock();
	*s = slot_by_id(id);
	CK_RV rv = !initialized ? CKR_CRYPTOKI_NOT_INITIALIZED : !*s ? CKR_SLOT_ID_INVALID : CKR_OK;
	if (rv)
		os_unlock();
	else
		slot_refresh(*s);
	return rv;
}

CK_RV C_GetSlotInfo(CK_SLOT_ID id, CK_SLOT_INFO *info)
{
	slot *s;
	if (!info)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = locked_slot(id, &s);
	if (rv)
		return rv;
	memset(info, 0, sizeof *info);
	pad(info->slotDescription, sizeof info->slotDescription, s->name);
	pad(info->manufacturerID, sizeof info->manufacturerID, "Tanba");
	info->flags = CKF_REMOVABLE_DEVICE | (s->present ? CKF_TOKEN_PRESENT : 0);
	os_unlock();
	return CKR_OK;
}

CK_RV C_GetTokenInfo(CK_SLOT_ID id, CK_TOKEN_INFO *info)
{
	slot *s;
	CK_FLAGS pins;
	CK_ULONG min, max;
	char text[MAX_TEXT], v[256];
	if (!info)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = locked_slot(id, &s);
	if (rv)
		return rv;
	if (!s->present)
		rv = CKR_TOKEN_NOT_PRESENT;
	else if (pin_info(s, &pins, &min, &max) || slot_text(s, "token", text))
		rv = CKR_DEVICE_ERROR;
	else {
		const struct {
			const char *name;
			CK_UTF8CHAR *field;
			size_t size;
		} fields[] = {
			{ "label", info->label, sizeof info->label },
			{ "manufacturer", info->manufacturerID, sizeof info->manufacturerID },
			{ "model", info->model, sizeof info->model },
			{ "serial", info->serialNumber, sizeof info->serialNumber },
		};
		memset(info, 0, sizeof *info);
		for (int i = 0; i < 4; i++)
			pad(fields[i].field, fields[i].size, text_field(text, fields[i].name, v, sizeof v) ? "" : v);
		info->flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED | pins;
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = MAX_SESSIONS;
		info->ulSessionCount = sessions_count(s, 0);
		info->ulRwSessionCount = sessions_count(s, 1);
		info->ulMinPinLen = min;
		info->ulMaxPinLen = max;
		info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
		info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
		info->hardwareVersion = info->firmwareVersion = (CK_VERSION){ 1, 0 };
	}
	os_unlock();
	return rv;
}

static const struct {
	CK_MECHANISM_TYPE type;
	CK_MECHANISM_INFO info;
} mechanisms[] = {
	{ CKM_RSA_PKCS, { 2048, 4096, CKF_SIGN } },
	{ CKM_RSA_PKCS_PSS, { 2048, 4096, CKF_SIGN } },
	{ CKM_ECDSA, { 256, 384, CKF_SIGN | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS } },
};
enum { MECHANISMS = sizeof mechanisms / sizeof *mechanisms };

CK_RV C_GetMechanismList(CK_SLOT_ID id, CK_MECHANISM_TYPE *list, CK_ULONG_PTR count)
{
	slot *s;
	if (!count)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = locked_slot(id, &s);
	if (rv)
		return rv;
	if (!s->present)
		rv = CKR_TOKEN_NOT_PRESENT;
	else if (list && *count < MECHANISMS)
		rv = CKR_BUFFER_TOO_SMALL;
	else if (list)
		for (int i = 0; i < MECHANISMS; i++)
			list[i] = mechanisms[i].type;
	*count = MECHANISMS;
	os_unlock();
	return rv;
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID id, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	slot *s;
	if (!info)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = locked_slot(id, &s);
	if (rv)
		return rv;
	rv = s->present ? CKR_MECHANISM_INVALID : CKR_TOKEN_NOT_PRESENT;
	for (int i = 0; i < MECHANISMS && s->present; i++)
		if (mechanisms[i].type == type) {
			*info = mechanisms[i].info;
			rv = CKR_OK;
		}
	os_unlock();
	return rv;
}

/* The slot that changed since the last event told, or NULL. */
static slot *changed(void)
{
	slots_refresh();
	for (int i = 0; i < nslots; i++) {
		slot *s = &slots[i];
		if (s->present != s->told_present || strcmp(s->inserted, s->told_inserted)) {
			s->told_present = s->present;
			memcpy(s->told_inserted, s->inserted, sizeof s->inserted);
			return s;
		}
	}
	return NULL;
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *id, CK_VOID_PTR reserved)
{
	CK_RV rv = CKR_OK;
	slot *s = NULL;
	if (!id || reserved)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	waiting++;
	for (;;) {
		if (!initialized)
			rv = CKR_CRYPTOKI_NOT_INITIALIZED;
		else if ((s = changed()))
			*id = (CK_SLOT_ID)(s - slots);
		else if (flags & CKF_DONT_BLOCK)
			rv = CKR_NO_EVENT;
		if (rv || s)
			break;
		os_wait(100);
	}
	waiting--;
	if (!initialized)
		os_wake(); /* C_Finalize waits for us */
	os_unlock();
	return rv;
}

#define ENTRY(name, args) name,
static CK_FUNCTION_LIST functions = { { 2, 40 }, CK_FUNCTIONS(ENTRY) };

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (!list)
		return CKR_ARGUMENTS_BAD;
	*list = &functions;
	return CKR_OK;
}
