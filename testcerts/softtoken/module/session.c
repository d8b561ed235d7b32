/* Sessions, and finding objects. */
#include "session.h"

#include <string.h>

static session sessions[MAX_SESSIONS];
static CK_SESSION_HANDLE last_handle;

void sessions_die(const slot *s)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (sessions[i].handle && sessions[i].slot == s)
			sessions[i].dead = 1;
}

CK_ULONG sessions_count(const slot *s, int rw_only)
{
	CK_ULONG n = 0;
	for (int i = 0; i < MAX_SESSIONS; i++)
		n += sessions[i].handle && !sessions[i].dead && sessions[i].slot == s && (!rw_only || sessions[i].flags & CKF_RW_SESSION);
	return n;
}

void sessions_forget(const slot *s)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (!s || sessions[i].slot == s)
			memset(&sessions[i], 0, sizeof sessions[i]);
}

void sessions_stop(const slot *s)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (sessions[i].slot == s)
			sessions[i].signing = sessions[i].finding = 0;
}

static session *by_handle(CK_SESSION_HANDLE h)
{
	for (int i = 0; i < MAX_SESSIONS; i++)
		if (h && sessions[i].handle == h)
			return &sessions[i];
	return NULL;
}

CK_RV session_get(CK_SESSION_HANDLE h, session **out)
{
	session *s = by_handle(h);
	if (!initialized)
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	if (!s)
		return CKR_SESSION_HANDLE_INVALID;
	slot_refresh(s->slot);
	*out = s;
	return s->dead ? CKR_SESSION_HANDLE_INVALID : CKR_OK;
}

CK_RV C_OpenSession(CK_SLOT_ID id, CK_FLAGS flags, CK_VOID_PTR app, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
	CK_RV rv = CKR_OK;
	session *free_entry = NULL;
	(void)app;
	(void)notify; /* C_WaitForSlotEvent tells */
	if (!out)
		return CKR_ARGUMENTS_BAD;
	if (!(flags & CKF_SERIAL_SESSION))
		return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
	os_lock();
	slot *s = slot_by_id(id);
	if (!initialized || !s) {
		os_unlock();
		return initialized ? CKR_SLOT_ID_INVALID : CKR_CRYPTOKI_NOT_INITIALIZED;
	}
	slot_refresh(s);
	for (int i = 0; i < MAX_SESSIONS; i++) /* a dead session's place only when no other is left */
		if (!sessions[i].handle || (sessions[i].dead && !free_entry)) {
			free_entry = &sessions[i];
			if (!sessions[i].handle)
				break;
		}
	if (!s->present)
		rv = CKR_TOKEN_NOT_PRESENT;
	else if (s->so_logged_in && !(flags & CKF_RW_SESSION))
		rv = CKR_SESSION_READ_WRITE_SO_EXISTS;
	else if (!free_entry)
		rv = CKR_SESSION_COUNT;
	else if (!s->loaded || sessions_count(s, 0) == 0)
		rv = slot_load(s);
	if (rv == CKR_OK) {
		memset(free_entry, 0, sizeof *free_entry);
		free_entry->handle = *out = ++last_handle;
		free_entry->slot = s;
		free_entry->flags = flags;
	}
	os_unlock();
	return rv;
}

CK_RV C_CloseSession(CK_SESSION_HANDLE h)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK) {
		slot *t = s->slot;
		memset(s, 0, sizeof *s);
		if (sessions_count(t, 0) == 0)
			t->logged_in = t->so_logged_in = 0; /* the last session takes the login with it */
	} else if (initialized && (s = by_handle(h)))
		memset(s, 0, sizeof *s);
	os_unlock();
	return rv;
}

CK_RV C_CloseAllSessions(CK_SLOT_ID id)
{
	os_lock();
	slot *s = slot_by_id(id);
	CK_RV rv = !initialized ? CKR_CRYPTOKI_NOT_INITIALIZED : !s ? CKR_SLOT_ID_INVALID : CKR_OK;
	if (rv == CKR_OK) {
		slot_refresh(s);
		sessions_forget(s);
		s->logged_in = s->so_logged_in = 0;
		rv = s->present ? CKR_OK : CKR_TOKEN_NOT_PRESENT;
	}
	os_unlock();
	return rv;
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE h, CK_SESSION_INFO *info)
{
	session *s;
	if (!info)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_SESSION_HANDLE_INVALID && by_handle(h))
		rv = CKR_DEVICE_REMOVED;
	if (rv == CKR_OK) {
		int rw = !!(s->flags & CKF_RW_SESSION);
		memset(info, 0, sizeof *info);
		info->slotID = (CK_SLOT_ID)(s->slot - slots);
		info->flags = s->flags;
		info->state = s->slot->so_logged_in ? CKS_RW_SO_FUNCTIONS : s->slot->logged_in ? (rw ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS)
			: (rw ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION);
	}
	os_unlock();
	return rv;
}

static int matches(const object *o, const CK_ATTRIBUTE *t, CK_ULONG n)
{
	for (CK_ULONG i = 0; i < n; i++) {
		const attribute *a = object_attribute(o, t[i].type);
		if (!a || a->len != t[i].ulValueLen || (a->len && memcmp(o->data + a->at, t[i].pValue, a->len)))
			return 0;
	}
	return 1;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE h, CK_ATTRIBUTE *t, CK_ULONG n)
{
	session *s;
	if (n && !t)
		return CKR_ARGUMENTS_BAD;
	for (CK_ULONG i = 0; i < n; i++)
		if (!t[i].pValue && t[i].ulValueLen)
			return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && s->finding)
		rv = CKR_OPERATION_ACTIVE;
	if (rv == CKR_OK) {
		s->finding = 1;
		s->found = s->next = 0;
		for (int i = 0; i < s->slot->nobjects; i++) {
			const object *o = slot_object(s->slot, slot_handle(s->slot, i));
			if (o && matches(o, t, n))
				s->results[s->found++] = slot_handle(s->slot, i);
		}
	}
	os_unlock();
	return rv;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE h, CK_OBJECT_HANDLE *list, CK_ULONG max, CK_ULONG_PTR count)
{
	session *s;
	if (!count || (max && !list))
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !s->finding)
		rv = CKR_OPERATION_NOT_INITIALIZED;
	if (rv == CKR_OK)
		for (*count = 0; *count < max && s->next < s->found;)
			list[(*count)++] = s->results[s->next++];
	os_unlock();
	return rv;
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE h)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !s->finding)
		rv = CKR_OPERATION_NOT_INITIALIZED;
	if (rv == CKR_OK)
		s->finding = 0;
	os_unlock();
	return rv;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE h, CK_OBJECT_HANDLE oh, CK_ATTRIBUTE *t, CK_ULONG n)
{
	session *s;
	if (!t && n)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	const object *o = rv == CKR_OK ? slot_object(s->slot, oh) : NULL;
	if (rv == CKR_OK && !o)
		rv = CKR_OBJECT_HANDLE_INVALID;
	for (CK_ULONG i = 0; o && i < n; i++) {
		const attribute *a = object_attribute(o, t[i].type);
		CK_RV bad = CKR_OK;
		if (!a)
			bad = o->is_private && (t[i].type == CKA_VALUE || (t[i].type >= CKA_PRIVATE_EXPONENT && t[i].type <= CKA_COEFFICIENT))
				? CKR_ATTRIBUTE_SENSITIVE : CKR_ATTRIBUTE_TYPE_INVALID;
		else if (t[i].pValue && t[i].ulValueLen < a->len)
			bad = CKR_BUFFER_TOO_SMALL;
		else if (t[i].pValue && a->len)
			memcpy(t[i].pValue, o->data + a->at, a->len);
		t[i].ulValueLen = bad ? CK_UNAVAILABLE_INFORMATION : (CK_ULONG)a->len;
		rv = bad ? bad : rv;
	}
	os_unlock();
	return rv;
}
