#ifndef _WIN32
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

int os_env(const char *name, char *value, size_t size)
{
	const char *v = getenv(name);
	if (!v || strlen(v) >= size)
		return -1;
	strcpy(value, v);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int os_list(const char *dir, char names[][MAX_NAME], int max)
{
	int n = 0;
	DIR *d = opendir(dir);
	if (!d)
		return -1;
	for (struct dirent *e; n < max && (e = readdir(d));)
		if (e->d_name[0] != '.' && strlen(e->d_name) < MAX_NAME)
			strcpy(names[n++], e->d_name);
	closedir(d);
	qsort(names, (size_t)n, MAX_NAME, by_name);
	return n;
}

int os_exists(const char *path)
{
	struct stat s;
	return stat(path, &s) == 0;
}

long os_read(const char *path, void *buf, size_t max)
{
	size_t n = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	for (;;) {
		char more;
		ssize_t r = n < max ? read(fd, (char *)buf + n, max - n) : read(fd, &more, 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 || (r > 0 && n == max)) {
			close(fd);
			return -1;
		}
		if (r == 0)
			break;
		n += (size_t)r;
	}
	close(fd);
	return (long)n;
}

int os_write(const char *path, const void *buf, size_t len)
{
	char tmp[MAX_PATH_BYTES + 32];
	snprintf(tmp, sizeof tmp, "%s.%ld.tmp", path, (long)getpid());
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int bad = write(fd, buf, len) != (ssize_t)len;
	bad |= close(fd);
	if (bad || rename(tmp, path)) {
		unlink(tmp);
		return -1;
	}
	return 0;
}

int os_random(uint8_t *buf, size_t len)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (len > 0) {
		ssize_t r = read(fd, buf, len);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		buf += r;
		len -= (size_t)r;
	}
	close(fd);
	return len == 0 ? 0 : -1;
}

void os_sleep(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void os_lock(void)
{
	pthread_mutex_lock(&lock);
}

void os_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void os_wait(unsigned ms)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&wake, &lock, &t);
}

void os_wake(void)
{
	pthread_cond_broadcast(&wake);
}
#endif
