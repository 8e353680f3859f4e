/* Stands before the C library: the write or allocation of a certain number fails, or is the process's last; or it is killed before a name is given. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, FULL, KILL, MEMORY, KILL_NAMES };

static int kind = -1;
static long at, least, writes, allocations;
static char under[PATH_MAX];
static __thread int armed;

void injected_start(int which, long number, long bytes, const char *folder) {
    kind = which, at = number, least = bytes, writes = allocations = 0;
    strncpy(under, folder, sizeof under - 1);
}

long injected_stop(void) {
    long found = kind == MEMORY ? allocations : writes;
    kind = -1;
    return found;
}

void injected_arm(int on) { armed = on; }

/* A regular file in the folder, by its name; one without a name is "folder/#inode (deleted)". */
static int counts(int file) {
    char link[64], path[PATH_MAX];
    struct stat status;
    if (kind < 0 || fstat(file, &status) || !S_ISREG(status.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, under, strlen(under));
}

ssize_t write(int file, const void *data, size_t size) {
    if (kind != KILL_NAMES && counts(file)) {
        long number = __sync_add_and_fetch(&writes, 1);
        if (kind == FULL && number >= at) {
            errno = ENOSPC;
            return -1;
        }
        if (kind == KILL && number == at) {
            syscall(SYS_write, file, data, size / 2);
            kill(getpid(), SIGKILL);
        }
    }
    return syscall(SYS_write, file, data, size);
}

/* Names that are given or taken in the folder: a kill comes before one in turn. */
static void name(const char *path) {
    if (kind != KILL_NAMES || strncmp(path, under, strlen(under))) return;
    if (__sync_add_and_fetch(&writes, 1) == at) kill(getpid(), SIGKILL);
}

int linkat(int from, const char *old, int to, const char *new, int flags) {
    name(new);
    return syscall(SYS_linkat, from, old, to, new, flags);
}

int rename(const char *old, const char *new) {
    name(new);
    return syscall(SYS_renameat2, -100, old, -100, new, 0);
}

int unlink(const char *path) {
    name(path);
    return syscall(SYS_unlinkat, -100, path, 0);
}

int symlink(const char *target, const char *path) {
    name(path);
    return syscall(SYS_symlinkat, target, -100, path);
}

static int fails(size_t size) {
    if (!armed || kind != MEMORY || (long)size < least) return 0;
    return __sync_add_and_fetch(&allocations, 1) == at;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size) {
    if (fails(size)) return errno = ENOMEM, NULL;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    if (fails(count * size)) return errno = ENOMEM, NULL;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    if (fails(size)) return errno = ENOMEM, NULL;
    return __libc_realloc(block, size);
}
