/* What C_Sign does wrong when told to. The file "fault" holds one word, with
 * "@N" behind it if only the process' Nth C_Sign on this token shall go wrong:
 *
 *   segv abort exit   the process ends, as in a faulty library
 *   hang spin         C_Sign never returns
 *   removed           the token goes: CKR_DEVICE_REMOVED, and it is out until it is inserted
 *   deverr            CKR_DEVICE_ERROR
 *   delay:MS          the signature takes MS milliseconds longer, at most a minute
 *   badsig            one bit of the signature is wrong */
#include "token.h"

#include <stdlib.h>
#include <string.h>

void fault_read(const slot *s, fault *f)
{
	char text[MAX_TEXT], path[MAX_PATH_BYTES];
	memset(f, 0, sizeof *f);
	if (slot_path(path, s, "fault") || !os_exists(path) || slot_text(s, "fault", text))
		return;
	text[strcspn(text, "\r\n")] = 0;
	char *at = strchr(text, '@');
	if (at) {
		if (strtoul(at + 1, NULL, 10) != s->signs)
			return;
		*at = 0;
	}
	char *colon = strchr(text, ':');
	if (colon) {
		unsigned long ms = strtoul(colon + 1, NULL, 10);
		f->ms = ms > 60000 ? 60000 : (unsigned)ms;
		*colon = 0;
	}
	if (strlen(text) < sizeof f->name)
		strcpy(f->name, text);
	else
		strcpy(f->name, "?");
}

CK_RV fault_act(const slot *s, const fault *f)
{
	static volatile int forever = 1;
	char path[MAX_PATH_BYTES];
	if (!f->name[0] || !strcmp(f->name, "badsig"))
		return CKR_OK;
	if (!strcmp(f->name, "delay")) {
		os_sleep(f->ms);
		return CKR_OK;
	}
	if (!strcmp(f->name, "segv")) {
		volatile uintptr_t nowhere = 16;
		*(volatile char *)nowhere = 1;
	}
	if (!strcmp(f->name, "abort"))
		abort();
	if (!strcmp(f->name, "exit"))
		exit(0);
	if (!strcmp(f->name, "hang"))
		while (forever)
			os_sleep(1000);
	if (!strcmp(f->name, "spin"))
		while (forever)
			;
	if (!strcmp(f->name, "removed"))
		return slot_path(path, s, "absent") || os_write(path, "", 0) ? CKR_GENERAL_ERROR : CKR_DEVICE_REMOVED;
	if (!strcmp(f->name, "deverr"))
		return CKR_DEVICE_ERROR;
	return CKR_GENERAL_ERROR; /* an order that nobody knows must not pass unseen */
}
