/* What differs between operating systems. Paths and names are UTF-8. */
#ifndef OS_H
#define OS_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_PATH_BYTES = 1024, MAX_NAME = 64 };

/* The value of an environment variable; -1 if it is absent or too long. */
int os_env(const char *name, char *value, size_t size);
/* The names in a folder, sorted; those that begin with a dot or are longer than
 * MAX_NAME-1 bytes are passed over. Returns how many, at most max, or -1. */
int os_list(const char *dir, char names[][MAX_NAME], int max);
int os_exists(const char *path);
/* The length of a file read whole, or -1 if it is absent, unreadable or longer than max. */
long os_read(const char *path, void *buf, size_t max);
/* Replaces a file whole: no reader sees half of it. 0 or -1. */
int os_write(const char *path, const void *buf, size_t len);
int os_random(uint8_t *buf, size_t len); /* 0 or -1 */
void os_sleep(unsigned ms);

/* The module's one lock, and waiting under it for a wake-up or ms milliseconds. */
void os_lock(void);
void os_unlock(void);
void os_wait(unsigned ms);
void os_wake(void);

#endif
