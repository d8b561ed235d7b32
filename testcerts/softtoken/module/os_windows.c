#ifdef _WIN32
#include "os.h"

#include <windows.h>

#include <ntsecapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE wake = CONDITION_VARIABLE_INIT;

/* The path as the system wants it; -1 if it is too long or not UTF-8. */
static int wide(wchar_t w[MAX_PATH_BYTES + 32], const char *path)
{
	return MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, w, MAX_PATH_BYTES + 32) > 0 ? 0 : -1;
}

static int narrow(char *s, size_t size, const wchar_t *w)
{
	return WideCharToMultiByte(CP_UTF8, 0, w, -1, s, (int)size, NULL, NULL) > 0 ? 0 : -1;
}

int os_env(const char *name, char *value, size_t size)
{
	wchar_t n[MAX_PATH_BYTES + 32], v[MAX_PATH_BYTES];
	DWORD len = wide(n, name) ? 0 : GetEnvironmentVariableW(n, v, MAX_PATH_BYTES);
	return len > 0 && len < MAX_PATH_BYTES ? narrow(value, size, v) : -1;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int os_list(const char *dir, char names[][MAX_NAME], int max)
{
	char pattern[MAX_PATH_BYTES + 4];
	wchar_t w[MAX_PATH_BYTES + 32];
	WIN32_FIND_DATAW f;
	int n = 0;
	snprintf(pattern, sizeof pattern, "%s\\*", dir);
	if (wide(w, pattern))
		return -1;
	HANDLE h = FindFirstFileW(w, &f);
	if (h == INVALID_HANDLE_VALUE)
		return -1;
	do {
		if (f.cFileName[0] != L'.' && !narrow(names[n], MAX_NAME, f.cFileName))
			n++;
	} while (n < max && FindNextFileW(h, &f));
	FindClose(h);
	qsort(names, (size_t)n, MAX_NAME, by_name);
	return n;
}

int os_exists(const char *path)
{
	wchar_t w[MAX_PATH_BYTES + 32];
	return !wide(w, path) && GetFileAttributesW(w) != INVALID_FILE_ATTRIBUTES;
}

long os_read(const char *path, void *buf, size_t max)
{
	wchar_t w[MAX_PATH_BYTES + 32];
	LARGE_INTEGER size;
	DWORD n;
	if (wide(w, path))
		return -1;
	HANDLE h = CreateFileW(w, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING, 0, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return -1;
	BOOL ok = GetFileSizeEx(h, &size) && size.QuadPart <= (LONGLONG)max && ReadFile(h, buf, (DWORD)size.QuadPart, &n, NULL);
	CloseHandle(h);
	return ok ? (long)n : -1;
}

int os_write(const char *path, const void *buf, size_t len)
{
	char tmp[MAX_PATH_BYTES + 32];
	wchar_t w[MAX_PATH_BYTES + 32], to[MAX_PATH_BYTES + 32];
	DWORD n;
	snprintf(tmp, sizeof tmp, "%s.%lu.tmp", path, (unsigned long)GetCurrentProcessId());
	if (wide(w, tmp) || wide(to, path))
		return -1;
	HANDLE h = CreateFileW(w, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
	if (h == INVALID_HANDLE_VALUE)
		return -1;
	BOOL ok = WriteFile(h, buf, (DWORD)len, &n, NULL) && n == len;
	CloseHandle(h);
	if (!ok || !MoveFileExW(w, to, MOVEFILE_REPLACE_EXISTING)) {
		DeleteFileW(w);
		return -1;
	}
	return 0;
}

int os_random(uint8_t *buf, size_t len)
{
	return RtlGenRandom(buf, (ULONG)len) ? 0 : -1;
}

void os_sleep(unsigned ms)
{
	Sleep(ms);
}

void os_lock(void)
{
	AcquireSRWLockExclusive(&lock);
}

void os_unlock(void)
{
	ReleaseSRWLockExclusive(&lock);
}

void os_wait(unsigned ms)
{
	SleepConditionVariableSRW(&wake, &lock, ms, 0);
}

void os_wake(void)
{
	WakeAllConditionVariable(&wake);
}
#endif
