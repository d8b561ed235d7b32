/* Reading what the folder of a token says of it. */
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char token_dir[MAX_PATH_BYTES];

int slot_path(char path[MAX_PATH_BYTES], const slot *s, const char *name)
{
	int n = snprintf(path, MAX_PATH_BYTES, "%s/%s/%s", token_dir, s->name, name);
	return n < 0 || n >= MAX_PATH_BYTES ? -1 : 0;
}

int slot_text(const slot *s, const char *name, char text[MAX_TEXT])
{
	char path[MAX_PATH_BYTES];
	long n = slot_path(path, s, name) ? -1 : os_read(path, text, MAX_TEXT - 1);
	if (n < 0 || memchr(text, 0, (size_t)n))
		return -1;
	text[n] = 0;
	return 0;
}

int text_field(const char *text, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);
	for (const char *line = text; *line; ) {
		size_t n = strcspn(line, "\r\n");
		if (n > len && !memcmp(line, name, len) && line[len] == '=') {
			if (n - len - 1 >= size)
				return -1;
			memcpy(value, line + len + 1, n - len - 1);
			value[n - len - 1] = 0;
			return 0;
		}
		line += n;
		line += strspn(line, "\r\n");
	}
	return -1;
}

int slot_look(const slot *s, char inserted[32])
{
	char path[MAX_PATH_BYTES];
	memset(inserted, 0, 32);
	if (slot_path(path, s, "absent") || os_exists(path) || slot_path(path, s, "token") || !os_exists(path))
		return 0;
	if (!slot_path(path, s, "inserted") && os_read(path, inserted, 31) < 0)
		memset(inserted, 0, 32);
	return 1;
}

void slot_unload(slot *s)
{
	for (int i = 0; i < s->nobjects; i++) {
		free(s->objects[i].key);
		free(s->objects[i].data);
	}
	free(s->objects);
	s->objects = NULL;
	s->nobjects = 0;
	s->loaded = 0;
	s->logged_in = s->so_logged_in = 0;
}

CK_OBJECT_HANDLE slot_handle(const slot *s, int i)
{
	return s->epoch * 256 + (CK_ULONG)i + 1;
}

object *slot_object(slot *s, CK_OBJECT_HANDLE h)
{
	CK_ULONG i = h - slot_handle(s, 0);
	if (i >= (CK_ULONG)s->nobjects || (s->objects[i].is_private && !s->logged_in))
		return NULL;
	return &s->objects[i];
}

const attribute *object_attribute(const object *o, CK_ATTRIBUTE_TYPE t)
{
	for (int i = 0; i < o->nattrs; i++)
		if (o->attrs[i].type == t)
			return &o->attrs[i];
	return NULL;
}
