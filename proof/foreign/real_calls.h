/* What the preloaded disks share: the C library's own calls, looked up behind this library, and the families of names that lead to
 * one function each. Before it is included DISK_NAME says who speaks in messages; the library defines `start`, `open_any` and
 * `is_our_file`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 65536

static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_linkat)(int, const char *, int, const char *, int);

static void die(const char *what) {
    dprintf(2, DISK_NAME ": %s: %s\n", what, strerror(errno));
    _exit(97);
}

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) die(name);
    return found;
}

/* 0 if they were found before. `openat` comes last: it says that the others are there. */
static int find_real_calls(void) {
    if (real_openat) return 0;
    real_write = next("write");
    real_writev = next("writev");
    real_pwrite = next("pwrite64");
    real_ftruncate = next("ftruncate64");
    real_close = next("close");
    real_fsync = next("fsync");
    real_fdatasync = next("fdatasync");
    real_rename = next("rename");
    real_unlinkat = next("unlinkat");
    real_linkat = next("linkat");
    real_openat = next("openat64");
    return 1;
}

/* Finds the real calls and the test's settings, once. Any call may be the first: other libraries' constructors write files too. */
static void start(void);
static int open_any(int folder, const char *path, int flags, mode_t mode);
/* Whether the descriptor is that of a file that this library watches. */
static int is_our_file(int fd);

#define MODE_OF(flags)                                                                                                        \
    mode_t mode = 0;                                                                                                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                                    \
        va_list rest;                                                                                                         \
        va_start(rest, flags);                                                                                                \
        mode = va_arg(rest, mode_t);                                                                                          \
        va_end(rest);                                                                                                         \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_any(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_any(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_any(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* A file that is watched gets each part as a write of its own. */
ssize_t writev(int fd, const struct iovec *parts, int count) {
    start();
    if (!is_our_file(fd)) return real_writev(fd, parts, count);
    ssize_t sum = 0;
    for (int index = 0; index < count; index++) {
        ssize_t written = write(fd, parts[index].iov_base, parts[index].iov_len);
        if (written < 0) return sum ? sum : written;
        sum += written;
        if ((size_t)written < parts[index].iov_len) break;
    }
    return sum;
}
