/* The user's PIN, the security officer's (the PUK), and their counters. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a PIN lies. */
typedef struct {
	const char *file, *field, *counter;
	CK_ULONG min, max; /* unless the file tells */
	CK_FLAGS low, final, locked;
} pin_kind;

static const pin_kind user_pin = { "pin", "pin", "tries", 4, 32, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED };
static const pin_kind so_pin = { "puk", "puk", "puktries", 1, MAX_PIN - 1, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED };

/* What the calls wipe: nothing of a PIN stays in the module's memory. */
static void wipe(void *p, size_t n)
{
	volatile unsigned char *b = p;
	while (n--)
		*b++ = 0;
}

static unsigned long number(const char *text, const char *name, unsigned long otherwise)
{
	char v[16], *end;
	if (text_field(text, name, v, sizeof v))
		return otherwise;
	unsigned long n = strtoul(v, &end, 10);
	return *v && !*end ? n : otherwise;
}

/* Reads what is done at the reader's pad; 0 or -1. */
static int pad_read(const slot *s, pin_state *p)
{
	char path[MAX_PATH_BYTES], word[MAX_TEXT];
	if (slot_path(path, s, "pad"))
		return -1;
	if (!os_exists(path))
		return 0;
	if (slot_text(s, "pad", word))
		return -1;
	word[strcspn(word, "\r\n")] = 0;
	if (strcmp(word, "right") && strcmp(word, "wrong") && strcmp(word, "cancel"))
		return -1;
	strcpy(p->pad, word);
	return 0;
}

/* 0 or -1; a PIN whose file is absent is not set. The caller wipes p. */
static int pin_read(const slot *s, const pin_kind *k, pin_state *p)
{
	char text[MAX_TEXT], path[MAX_PATH_BYTES], *end;
	memset(p, 0, sizeof *p);
	if (slot_path(path, s, k->file))
		return -1;
	if (!os_exists(path))
		return 0;
	int bad = slot_text(s, k->file, text) || text_field(text, k->field, p->pin, sizeof p->pin);
	if (!bad) {
		p->set = 1;
		p->len = strlen(p->pin);
		p->min = number(text, "min", k->min);
		p->max = number(text, "max", k->max);
		p->left = p->tries = (unsigned)number(text, "tries", 3);
		p->change = number(text, "change", 0) == 1;
	}
	wipe(text, sizeof text);
	if (bad || (k == &user_pin && pad_read(s, p)) || slot_path(path, s, k->counter))
		return -1;
	if (os_exists(path)) {
		if (slot_text(s, k->counter, text))
			return -1;
		unsigned long n = strtoul(text, &end, 10);
		if (end == text || n > p->tries)
			return -1;
		p->left = (unsigned)n;
	}
	return 0;
}

static int write_tries(const slot *s, const pin_kind *k, unsigned left)
{
	char path[MAX_PATH_BYTES], text[16];
	int n = snprintf(text, sizeof text, "%u\n", left);
	return slot_path(path, s, k->counter) ? -1 : os_write(path, text, (size_t)n);
}

/* Replaces the PIN; its bounds stay, and it need not be changed any more. */
static CK_RV pin_replace(const slot *s, const pin_kind *k, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	pin_state old;
	char path[MAX_PATH_BYTES], text[MAX_PIN + 128];
	CK_RV rv = CKR_OK;
	if (pin_read(s, k, &old))
		rv = CKR_DEVICE_ERROR;
	else if (!pin || len == 0 || len >= MAX_PIN || len < (old.set ? old.min : k->min) || len > (old.set ? old.max : k->max))
		rv = CKR_PIN_LEN_RANGE;
	else if (memchr(pin, 0, len) || memchr(pin, '\r', len) || memchr(pin, '\n', len))
		rv = CKR_PIN_INVALID;
	else {
		int n = snprintf(text, sizeof text, "%s=%.*s\nmin=%lu\nmax=%lu\ntries=%u\n", k->field, (int)len, (const char *)pin,
			(unsigned long)(old.set ? old.min : k->min), (unsigned long)(old.set ? old.max : k->max), old.set ? old.tries : 3);
		if (n < 0 || n >= (int)sizeof text || slot_path(path, s, k->file) || os_write(path, text, (size_t)n) ||
			write_tries(s, k, old.set ? old.tries : 3))
			rv = CKR_DEVICE_ERROR;
		wipe(text, sizeof text);
	}
	wipe(&old, sizeof old);
	return rv;
}

static CK_FLAGS kind_flags(const pin_kind *k, const pin_state *p)
{
	if (p->left == 0)
		return k->locked;
	return (p->left < p->tries ? k->low : 0) | (p->left == 1 ? k->final : 0);
}

int pin_info(const slot *s, CK_FLAGS *flags, CK_ULONG *min, CK_ULONG *max)
{
	pin_state user, so;
	int bad = pin_read(s, &user_pin, &user) || pin_read(s, &so_pin, &so);
	*flags = 0;
	*min = *max = 0;
	if (!bad && user.set) {
		*flags = CKF_USER_PIN_INITIALIZED | kind_flags(&user_pin, &user) | (user.pad[0] ? CKF_PROTECTED_AUTHENTICATION_PATH : 0) |
			(user.change ? CKF_USER_PIN_TO_BE_CHANGED : 0);
		*min = (CK_ULONG)user.min;
		*max = (CK_ULONG)user.max;
	}
	if (!bad && so.set)
		*flags |= kind_flags(&so_pin, &so);
	wipe(&user, sizeof user);
	wipe(&so, sizeof so);
	return bad ? -1 : 0;
}

/* Compares the PIN. The try is written off before, so that no one gets more by
 * ending the process in between. */
static CK_RV pin_check(const slot *s, const pin_kind *k, CK_UTF8CHAR_PTR given, CK_ULONG len)
{
	pin_state pin;
	CK_RV rv = CKR_OK;
	int unread = pin_read(s, k, &pin), at_pad = !given && len == 0 && pin.pad[0];
	int right = at_pad ? !strcmp(pin.pad, "right") : given && len == pin.len && !memcmp(given, pin.pin, len);
	if (unread)
		rv = CKR_DEVICE_ERROR;
	else if (!pin.set)
		rv = CKR_USER_PIN_NOT_INITIALIZED;
	else if (pin.left == 0)
		rv = CKR_PIN_LOCKED;
	else if (at_pad && !strcmp(pin.pad, "cancel"))
		rv = CKR_FUNCTION_CANCELED;
	else if (!given && len > 0)
		rv = CKR_ARGUMENTS_BAD;
	else if (!at_pad && (len < pin.min || len > pin.max || len == 0))
		rv = CKR_PIN_LEN_RANGE;
	else if (write_tries(s, k, pin.left - 1))
		rv = CKR_DEVICE_ERROR;
	else if (!right)
		rv = pin.left == 1 ? CKR_PIN_LOCKED : CKR_PIN_INCORRECT;
	else if (write_tries(s, k, pin.tries))
		rv = CKR_DEVICE_ERROR;
	wipe(&pin, sizeof pin);
	return rv;
}

CK_RV C_Login(CK_SESSION_HANDLE h, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && user == CKU_CONTEXT_SPECIFIC) {
		if (!s->signing)
			rv = CKR_OPERATION_NOT_INITIALIZED;
		else if ((rv = pin_check(s->slot, &user_pin, pin, len)) == CKR_OK)
			s->pin_given = 1;
	} else if (rv == CKR_OK) {
		slot *t = s->slot;
		if (user != CKU_USER && user != CKU_SO)
			rv = CKR_USER_TYPE_INVALID;
		else if (user == CKU_USER ? t->logged_in : t->so_logged_in)
			rv = CKR_USER_ALREADY_LOGGED_IN;
		else if (t->logged_in || t->so_logged_in)
			rv = CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
		else if (user == CKU_SO && sessions_count(t, 0) != sessions_count(t, 1))
			rv = CKR_SESSION_READ_ONLY_EXISTS;
		else if ((rv = pin_check(t, user == CKU_SO ? &so_pin : &user_pin, pin, len)) == CKR_OK)
			*(user == CKU_SO ? &t->so_logged_in : &t->logged_in) = 1;
	}
	os_unlock();
	return rv;
}

CK_RV C_Logout(CK_SESSION_HANDLE h)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !s->slot->logged_in && !s->slot->so_logged_in)
		rv = CKR_USER_NOT_LOGGED_IN;
	if (rv == CKR_OK) {
		s->slot->logged_in = s->slot->so_logged_in = 0;
		sessions_stop(s->slot);
	}
	os_unlock();
	return rv;
}

/* The PIN of who is logged in; of the user if nobody is. */
CK_RV C_SetPIN(CK_SESSION_HANDLE h, CK_UTF8CHAR_PTR old, CK_ULONG old_len, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !(s->flags & CKF_RW_SESSION))
		rv = CKR_SESSION_READ_ONLY;
	if (rv == CKR_OK) {
		const pin_kind *k = s->slot->so_logged_in ? &so_pin : &user_pin;
		rv = pin_check(s->slot, k, old, old_len);
		if (rv == CKR_OK)
			rv = pin_replace(s->slot, k, pin, len);
	}
	os_unlock();
	return rv;
}

CK_RV C_InitPIN(CK_SESSION_HANDLE h, CK_UTF8CHAR_PTR pin, CK_ULONG len)
{
	session *s;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !(s->flags & CKF_RW_SESSION))
		rv = CKR_SESSION_READ_ONLY;
	else if (rv == CKR_OK && !s->slot->so_logged_in)
		rv = CKR_USER_NOT_LOGGED_IN;
	if (rv == CKR_OK)
		rv = pin_replace(s->slot, &user_pin, pin, len);
	os_unlock();
	return rv;
}
