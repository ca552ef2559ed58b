/* A disk that strikes at the n-th operation: a preloaded library for kills.py.
 *
 * Every change to a file below FAILING_DISK_ROOT is an operation: a name made, renamed, linked or removed, a write, a truncation, a
 * sync. They are counted in the page that FAILING_DISK_CONTROL names, which the test maps too: it says beforehand at which
 * operation what happens, sees afterwards whether it did, and can change its mind while the process runs. The count survives the
 * process, whatever ends it.
 *
 * What happens at the operation `at` of the kind `of`:
 *   KILL_BEFORE, KILL_AFTER  SIGKILL to this process, with the operation still to be done, or done
 *   KILL_TORN                a write of which only the first half was done, then SIGKILL
 *   ERROR                    this one operation fails with `error`
 *   FULL                     from here on whatever needs room fails with ENOSPC, until `strike` is set to NOTHING
 *
 * Not covered, on purpose: SQLite's -shm index, which is memory by nature, and folders themselves (made at set-up).
 */
#define DISK_NAME "failing disk"
#include "real_calls.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Kinds of operations, as bits of `of`. What shrinks: truncations and removed names. */
enum { NAME = 1, WRITE = 2, SHRINK = 4, SYNC = 8 };
enum { NOTHING = 0, KILL_BEFORE = 1, KILL_AFTER = 2, KILL_TORN = 3, ERROR = 4, FULL = 5 };

/* The control page: 64-bit numbers in host order, in this order (kills.py: Control). */
struct control {
    _Atomic uint64_t strike, at, of, error, count, struck, struck_kind;
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;
static unsigned char ours[FDS_MAX];

__attribute__((constructor)) static void start(void) {
    if (!find_real_calls()) return;
    const char *wanted_root = getenv("FAILING_DISK_ROOT"), *page = getenv("FAILING_DISK_CONTROL");
    if (!wanted_root || !page) return;
    if (!realpath(wanted_root, root)) die(wanted_root);
    root_length = strlen(root);
    int fd = real_openat(AT_FDCWD, page, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) die(page);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die("control page");
    real_close(fd);
    control = mapped;
}

/* By a thread to itself: the one signal that a locked-in process may still send. It ends the whole process. */
static void kill_myself(void) {
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGKILL);
    for (;;) pause();
}

/* What happens to this operation: NOTHING, KILL_AFTER, KILL_TORN, or an error for errno in `error`. */
static uint64_t count(uint64_t kind, int *error) {
    *error = 0;
    uint64_t strike = control->strike, of = control->of;
    if (!(of & kind)) return NOTHING;
    uint64_t number = ++control->count, at = control->at;
    int struck = strike == FULL ? number >= at && (kind & (NAME | WRITE)) : strike != NOTHING && number == at;
    if (!struck) return NOTHING;
    control->struck_kind = kind;
    control->struck++;
    if (strike == KILL_BEFORE) kill_myself();
    if (strike == FULL) *error = ENOSPC;
    if (strike == ERROR) *error = (int)control->error;
    return strike;
}

static void count_done(uint64_t strike) {
    if (strike == KILL_AFTER || strike == KILL_TORN) kill_myself();
}

/* The absolute path, its folder resolved; 0 if it does not lie below the root or is SQLite's index. */
static int below_root(int folder, const char *path) {
    char whole[PATH_MAX], parent[PATH_MAX];
    if (!control) return 0;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (folder != AT_FDCWD) return 0;
        if (!getcwd(parent, sizeof parent)) return 0;
        if (snprintf(whole, sizeof whole, "%s/%s", parent, path) >= (int)sizeof whole) return 0;
    }
    size_t length = strlen(whole);
    if (length > 4 && strcmp(whole + length - 4, "-shm") == 0) return 0;
    return strncmp(whole, root, root_length) == 0 && (whole[root_length] == '/' || !whole[root_length]);
}

static int is_our_file(int fd) { return control && fd >= 0 && fd < FDS_MAX && ours[fd]; }

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    start();
    if (!below_root(folder, path)) return real_openat(folder, path, flags, mode);
    struct stat found;
    int existed = stat(path, &found) == 0, error;
    uint64_t strike = NOTHING;
    if (!existed && (flags & O_CREAT)) strike = count(NAME, &error);
    else if (existed && (flags & O_TRUNC) && found.st_size > 0) strike = count(SHRINK, &error);
    if (strike != NOTHING && error) return errno = error, -1;
    int fd = real_openat(folder, path, flags, mode);
    count_done(strike);
    if (fd >= FDS_MAX) die("too many open files");
    if (fd >= 0 && !fstat(fd, &found)) ours[fd] = S_ISREG(found.st_mode) || S_ISDIR(found.st_mode);
    return fd;
}

int close(int fd) {
    start();
    if (fd >= 0 && fd < FDS_MAX) ours[fd] = 0;
    return real_close(fd);
}

/* Every write: `offset` below zero means where the file stands. */
static ssize_t write_any(int fd, const void *bytes, size_t length, off64_t offset) {
    start();
    int error = 0;
    uint64_t strike = is_our_file(fd) ? count(WRITE, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    size_t done = strike == KILL_TORN ? length / 2 : length;
    ssize_t written = offset < 0 ? real_write(fd, bytes, done) : real_pwrite(fd, bytes, done, offset);
    count_done(strike);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_any(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return write_any(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return write_any(fd, bytes, length, offset); }

static int ftruncate_any(int fd, off64_t length) {
    start();
    int error = 0;
    uint64_t strike = is_our_file(fd) ? count(SHRINK, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    int result = real_ftruncate(fd, length);
    count_done(strike);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return ftruncate_any(fd, length); }

static int sync_any(int fd, int (*real)(int)) {
    int error = 0;
    uint64_t strike = is_our_file(fd) ? count(SYNC, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    int result = real(fd);
    count_done(strike);
    return result;
}

int fsync(int fd) { start(); return sync_any(fd, real_fsync); }
int fdatasync(int fd) { start(); return sync_any(fd, real_fdatasync); }

int rename(const char *from, const char *to) {
    start();
    int error = 0;
    uint64_t strike = below_root(AT_FDCWD, to) ? count(NAME, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    int result = real_rename(from, to);
    count_done(strike);
    return result;
}

int unlinkat(int folder, const char *path, int flags) {
    start();
    struct stat found;
    int error = 0, counted = below_root(folder, path) && lstat(path, &found) == 0 && S_ISREG(found.st_mode);
    uint64_t strike = counted ? count(SHRINK, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    int result = real_unlinkat(folder, path, flags);
    count_done(strike);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    start();
    int error = 0;
    uint64_t strike = below_root(to_folder, to) ? count(NAME, &error) : NOTHING;
    if (strike != NOTHING && error) return errno = error, -1;
    int result = real_linkat(from_folder, from, to_folder, to, flags);
    count_done(strike);
    return result;
}
