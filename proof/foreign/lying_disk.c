/* A disk that forgets what was not synced: a preloaded library for the power-cut tests.
 *
 * Every change to a file or folder below LYING_DISK_ROOT goes to the real file and, before it, into a log of this process in
 * LYING_DISK_LOG, together with what stood there before. fsync and fdatasync do not reach the disk at all: they wait
 * LYING_DISK_SYNC_US microseconds, as a disk would, and then write into the log up to where the file is safe. After the process
 * was killed, power_cut.py reads the log from its end and takes back every change that no sync covers. A folder's entries
 * (new, renamed, removed names) are safe only once the folder itself was synced.
 *
 * Not covered, on purpose: SQLite's -shm index, which is memory by nature, and folders themselves (made at set-up).
 *
 * One entry of the log: magic 'LYNG', kind (1 byte), 11 zero bytes, then six 64-bit numbers in host order
 *   inode, offset, old size, length of a, length of b, unused
 * and the bytes a and b. Kinds: W write (a: bytes before, b: bytes written), T truncate (a: tail before, offset: new size),
 * S sync (offset: length of the log when the sync began), C name created (a: path), R renamed (a: from, b: to),
 * U removed (a: path). The inode of C, R, U is the folder's. What R and U removed lives on under a second name
 * "kept.<offset of the entry>.<process>" in the log folder; every file written to has one as "inode.<inode>".
 */
#define DISK_NAME "lying disk"
#include "real_calls.h"

#include <pthread.h>

#define ENTRY_MAGIC "LYNG"

struct entry {
    char magic[4];
    char kind;
    char zero[11];
    uint64_t inode, offset, old_size, a_length, b_length, unused;
};

enum { NOT_OURS = 0, A_FILE = 1, A_FOLDER = 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char ours[FDS_MAX];
static char root[PATH_MAX], log_folder[PATH_MAX];
static size_t root_length;
static int log_fd = -1, active = 0;
static long sync_us = 0;
/* LYING_DISK_BROKEN=1: a sync answers and secures nothing. For the canary: the audit must notice such a disk. */
static int broken = 0;

__attribute__((constructor)) static void start(void) {
    if (!find_real_calls()) return;
    const char *wanted_root = getenv("LYING_DISK_ROOT"), *wanted_log = getenv("LYING_DISK_LOG");
    if (!wanted_root || !wanted_log) return;
    if (!realpath(wanted_root, root) || !realpath(wanted_log, log_folder)) die("folders");
    root_length = strlen(root);
    const char *wait = getenv("LYING_DISK_SYNC_US");
    sync_us = wait ? atol(wait) : 0;
    broken = getenv("LYING_DISK_BROKEN") != NULL;
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%d.log", log_folder, (int)getpid());
    log_fd = real_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) die(path);
    active = 1;
}

static uint64_t log_length(void) {
    struct stat found;
    if (fstat(log_fd, &found)) die("log");
    return (uint64_t)found.st_size;
}

static void put(char kind, uint64_t inode, uint64_t offset, uint64_t old_size, const void *a, size_t a_length, const void *b,
                size_t b_length) {
    struct entry head = {{0}, kind, {0}, inode, offset, old_size, a_length, b_length, 0};
    memcpy(head.magic, ENTRY_MAGIC, 4);
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)a, a_length}, {(void *)b, b_length}};
    ssize_t whole = (ssize_t)(sizeof head + a_length + b_length);
    if (real_writev(log_fd, parts, 3) != whole) die("log is full");
}

/* The absolute path, its folder resolved; 0 if it does not lie below the root. */
static int below_root(int folder, const char *path, char *absolute) {
    char whole[PATH_MAX], parent[PATH_MAX];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else if (folder == AT_FDCWD) {
        if (!getcwd(parent, sizeof parent)) return 0;
        if (snprintf(whole, sizeof whole, "%s/%s", parent, path) >= (int)sizeof whole) return 0;
    } else {
        char link_name[64];
        snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link_name, parent, sizeof parent - 1);
        if (length < 0) return 0;
        parent[length] = 0;
        if (snprintf(whole, sizeof whole, "%s/%s", parent, path) >= (int)sizeof whole) return 0;
    }
    char *slash = strrchr(whole, '/');
    if (!slash || !slash[1]) {
        if (!realpath(whole, absolute)) return 0;
    } else {
        *slash = 0;
        if (!realpath(*whole ? whole : "/", parent)) return 0;
        if (snprintf(absolute, PATH_MAX, "%s/%s", parent, slash + 1) >= PATH_MAX) return 0;
    }
    return strncmp(absolute, root, root_length) == 0 && (absolute[root_length] == '/' || !absolute[root_length]);
}

static int is_index(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, "-shm") == 0;
}

static uint64_t parent_inode(const char *path) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash) *slash = 0;
    struct stat found;
    if (stat(parent, &found)) die(parent);
    return found.st_ino;
}

/* A second name, so that the inode is neither lost nor used again before the log was read. */
static void keep_inode(const char *path, uint64_t inode) {
    char name[PATH_MAX + 64];
    snprintf(name, sizeof name, "%s/inode.%llu", log_folder, (unsigned long long)inode);
    if (link(path, name) && errno != EEXIST) die(name);
}

static void keep_removed(const char *path) {
    char name[PATH_MAX + 64];
    snprintf(name, sizeof name, "%s/kept.%llu.%d", log_folder, (unsigned long long)log_length(), (int)getpid());
    if (link(path, name) && errno != ENOENT) die(name);
}

static int open_any(int folder, const char *path, int flags, mode_t mode) {
    start();
    char absolute[PATH_MAX];
    if (!active || !below_root(folder, path, absolute) || is_index(absolute))
        return real_openat(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before, after;
    int existed = lstat(absolute, &before) == 0;
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    /* The truncation of O_TRUNC is done and logged separately. */
    int fd = -1;
    if (!existed && (flags & O_CREAT)) put('C', parent_inode(absolute), 0, 0, absolute, strlen(absolute), "", 0);
    fd = real_openat(folder, path, flags & ~O_TRUNC, mode);
    if (fd >= 0 && fd < FDS_MAX && !fstat(fd, &after)) {
        ours[fd] = S_ISDIR(after.st_mode) ? A_FOLDER : S_ISREG(after.st_mode) ? A_FILE : NOT_OURS;
        if (ours[fd] == A_FILE && writes) keep_inode(absolute, after.st_ino);
    } else if (fd >= 0) {
        die("too many open files");
    }
    pthread_mutex_unlock(&lock);
    if (fd >= 0 && (flags & O_TRUNC) && writes && ours[fd] == A_FILE && after.st_size > 0 && ftruncate(fd, 0)) die("O_TRUNC");
    return fd;
}

int close(int fd) {
    start();
    if (fd >= 0 && fd < FDS_MAX) ours[fd] = NOT_OURS;
    return real_close(fd);
}

static int is_ours(int fd, int what) { return active && fd >= 0 && fd < FDS_MAX && ours[fd] == what; }
static int is_our_file(int fd) { return is_ours(fd, A_FILE); }

/* Reads what stands in a range now. A descriptor for writing only is opened anew; a locked-in process may not do that any more, and
 * only ever appends to such a file: then nothing stands there. */
static size_t read_before(int fd, char *buffer, size_t count, off64_t offset) {
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    if (offset >= found.st_size) return 0;
    int reader = fd;
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        reader = real_openat(AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
        if (reader < 0) die(name);
    }
    size_t done = 0;
    while (done < count) {
        ssize_t got = pread64(reader, buffer + done, count - done, offset + (off64_t)done);
        if (got < 0) die("reading back");
        if (got == 0) break;
        done += (size_t)got;
    }
    if (reader != fd) real_close(reader);
    return done;
}

static void log_write(int fd, const void *bytes, size_t count, off64_t offset) {
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    char *before = malloc(count ? count : 1);
    if (!before) die("memory");
    size_t length = read_before(fd, before, count, offset);
    put('W', found.st_ino, (uint64_t)offset, (uint64_t)found.st_size, before, length, bytes, count);
    free(before);
}

static ssize_t pwrite_any(int fd, const void *bytes, size_t count, off64_t offset) {
    start();
    if (!is_our_file(fd)) return real_pwrite(fd, bytes, count, offset);
    pthread_mutex_lock(&lock);
    log_write(fd, bytes, count, offset);
    ssize_t written = real_pwrite(fd, bytes, count, offset);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite_any(fd, bytes, count, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwrite_any(fd, bytes, count, offset); }

ssize_t write(int fd, const void *bytes, size_t count) {
    start();
    if (!is_our_file(fd)) return real_write(fd, bytes, count);
    pthread_mutex_lock(&lock);
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    log_write(fd, bytes, count, appends ? found.st_size : lseek64(fd, 0, SEEK_CUR));
    ssize_t written = real_write(fd, bytes, count);
    pthread_mutex_unlock(&lock);
    return written;
}

static int ftruncate_any(int fd, off64_t length) {
    start();
    if (!is_our_file(fd)) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    size_t tail = found.st_size > length ? (size_t)(found.st_size - length) : 0;
    char *before = malloc(tail ? tail : 1);
    if (!before) die("memory");
    if (tail) tail = read_before(fd, before, tail, length);
    put('T', found.st_ino, (uint64_t)length, (uint64_t)found.st_size, before, tail, "", 0);
    free(before);
    int result = real_ftruncate(fd, length);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate_any(fd, length); }
int ftruncate64(int fd, off64_t length) { return ftruncate_any(fd, length); }

static int sync_any(int fd) {
    start();
    if (!is_our_file(fd) && !is_ours(fd, A_FOLDER)) return real_fsync(fd);
    struct stat found;
    if (fstat(fd, &found)) die("fstat");
    uint64_t until = log_length();
    if (sync_us > 0) usleep((useconds_t)sync_us);
    if (broken) return 0;
    pthread_mutex_lock(&lock);
    put('S', found.st_ino, until, 0, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }

int rename(const char *from, const char *to) {
    start();
    char absolute_from[PATH_MAX], absolute_to[PATH_MAX];
    int from_ours = active && below_root(AT_FDCWD, from, absolute_from);
    int to_ours = active && below_root(AT_FDCWD, to, absolute_to);
    if (!from_ours && !to_ours) return real_rename(from, to);
    uint64_t folder = parent_inode(absolute_to);
    if (!from_ours || !to_ours || parent_inode(absolute_from) != folder) {
        errno = EXDEV;
        die("rename between folders is not covered");
    }
    pthread_mutex_lock(&lock);
    keep_removed(absolute_to);
    put('R', folder, 0, 0, absolute_from, strlen(absolute_from), absolute_to, strlen(absolute_to));
    int result = real_rename(from, to);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlinkat(int folder, const char *path, int flags) {
    start();
    char absolute[PATH_MAX];
    struct stat found;
    int known = active && !(flags & AT_REMOVEDIR) && below_root(folder, path, absolute) && !is_index(absolute) &&
                lstat(absolute, &found) == 0 && S_ISREG(found.st_mode);
    if (!known) return real_unlinkat(folder, path, flags);
    pthread_mutex_lock(&lock);
    keep_removed(absolute);
    put('U', parent_inode(absolute), 0, 0, absolute, strlen(absolute), "", 0);
    int result = real_unlinkat(folder, path, flags);
    pthread_mutex_unlock(&lock);
    return result;
}

/* A second name for a file: nothing here does that, and this layer could not take it back. */
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    start();
    char absolute[PATH_MAX];
    if (active && below_root(to_folder, to, absolute)) die("linkat is not covered");
    return real_linkat(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
