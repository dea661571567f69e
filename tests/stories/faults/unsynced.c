/* Remembers what a disk may lose when its power is cut.
 *
 * Preloaded into a server, this notes before every change to a file under UNSYNCED_FOLDER
 * what was there before, in the journal UNSYNCED_JOURNAL, and when the file (or, for names,
 * its folder) was flushed. After a SIGKILL the test takes back what was not flushed: see
 * power_cut.rs, which reads this journal.
 *
 * With UNSYNCED_LIE set, flushes are not noted: a disk that says "flushed" and is not. The
 * test must then find acknowledged messages missing, or it could not find anything.
 *
 * While a file UNSYNCED_READ_ONLY exists, nothing under the folder can be changed, as if the kernel had
 * made its file system read-only: see read_only.rs. (It does not, as long as a test asks it to and
 * files are open there for writing.)
 *
 * A record: kind (1 byte), number (8), offset (8), length (8), length of the path (4), path, and
 * for WRITE and CUT what was there before, `length` bytes from `offset` on, after 8 bytes with the
 * size that the file had. All numbers are little-endian.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, CUT = 2, FLUSHED = 3, CREATED = 4, REMOVED = 5, RENAMED = 6, NAMES_FLUSHED = 7 };

#define FDS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int journal = -1;
static int lies;
static const char *read_only_mark;
static uint64_t number;
static char *paths[FDS]; /* of the files that are watched, by descriptor */

static void fatal(const char *what) {
    dprintf(2, "unsynced: %s: %s\n", what, strerror(errno));
    _exit(97);
}

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("UNSYNCED_JOURNAL");
    folder = getenv("UNSYNCED_FOLDER");
    lies = getenv("UNSYNCED_LIE") != NULL;
    read_only_mark = getenv("UNSYNCED_READ_ONLY");
    if (!name || !folder)
        return;
    folder_length = strlen(folder);
    journal = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        fatal(name);
}

static int watched_path(const char *path) {
    return journal >= 0 && path && strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

/* Whether a change is to fail; sets errno then. */
static int is_read_only(void) {
    if (!read_only_mark || access(read_only_mark, F_OK) != 0)
        return 0;
    errno = EROFS;
    return 1;
}

static const char *watched(int fd) { return fd >= 0 && fd < FDS ? paths[fd] : NULL; }

static void put(const void *bytes, size_t length) {
    const char *from = bytes;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, journal, from, length);
        if (done < 0 && errno != EINTR)
            fatal("the journal cannot be written");
        if (done > 0) {
            from += done;
            length -= (size_t)done;
        }
    }
}

/* Appends a record in one write, so that a kill leaves it whole or out. Under the lock. */
static void note(int kind, uint64_t seq, uint64_t offset, uint64_t length, const char *path,
                 const uint64_t *size, const void *before) {
    uint32_t path_length = (uint32_t)strlen(path);
    size_t total = 29 + path_length + (size ? 8 + length : 0);
    char *record = malloc(total), *at = record;
    if (!record)
        fatal("no memory");
    *at++ = (char)kind;
    memcpy(at, &seq, 8), at += 8;
    memcpy(at, &offset, 8), at += 8;
    memcpy(at, &length, 8), at += 8;
    memcpy(at, &path_length, 4), at += 4;
    memcpy(at, path, path_length), at += path_length;
    if (size) {
        memcpy(at, size, 8), at += 8;
        if (length)
            memcpy(at, before, length);
    }
    put(record, total);
    free(record);
}

/* Notes what the file holds from `offset` on, at most `length` bytes, before they change. */
static void note_before(int kind, int fd, const char *path, uint64_t offset, uint64_t length) {
    struct stat status;
    if (fstat(fd, &status) != 0)
        fatal(path);
    uint64_t size = (uint64_t)status.st_size;
    uint64_t there = offset >= size ? 0 : size - offset;
    if (there > length)
        there = length;
    char *before = malloc(there ? there : 1);
    if (!before)
        fatal("no memory");
    /* The descriptor may not be open for reading. */
    int reader = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    uint64_t have = 0;
    while (have < there) {
        ssize_t done = syscall(SYS_pread64, reader, before + have, there - have, offset + have);
        if (done <= 0)
            break;
        have += (uint64_t)done;
    }
    if (reader >= 0)
        syscall(SYS_close, reader);
    note(kind, number++, offset, have, path, &size, before);
    free(before);
}

static int opened(int fd, const char *path, int flags, int existed) {
    if (fd < 0 || fd >= FDS || !watched_path(path))
        return fd;
    int saved = errno;
    pthread_mutex_lock(&lock);
    free(paths[fd]);
    paths[fd] = strdup(path);
    if (!existed && (flags & O_CREAT))
        note(CREATED, number++, 0, 0, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}

static int do_open(int at, const char *path, int flags, mode_t mode) {
    int watch = watched_path(path);
    int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (watch && changes && is_read_only())
        return -1;
    int existed = watch ? access(path, F_OK) == 0 : 1;
    if (watch && existed && (flags & O_TRUNC)) {
        int fd = (int)syscall(SYS_openat, at, path, O_RDWR | O_CLOEXEC, 0);
        if (fd >= 0) {
            pthread_mutex_lock(&lock);
            note_before(CUT, fd, path, 0, UINT64_MAX);
            pthread_mutex_unlock(&lock);
            syscall(SYS_close, fd);
        }
    }
    return opened((int)syscall(SYS_openat, at, path, flags, mode), path, flags, existed);
}

#define MODE(flags)                                                                                \
    mode_t mode = 0;                                                                               \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                         \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode = (mode_t)va_arg(list, int);                                                          \
        va_end(list);                                                                              \
    }

int open(const char *path, int flags, ...) { MODE(flags) return do_open(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return do_open(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return do_open(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return do_open(at, path, flags | O_LARGEFILE, mode); }

int close(int fd) {
    if (watched(fd)) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return (int)syscall(SYS_close, fd);
}

static ssize_t do_pwrite(int fd, const void *bytes, size_t length, off64_t offset) {
    const char *path = watched(fd);
    if (!path)
        return syscall(SYS_pwrite64, fd, bytes, length, offset);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&lock);
    note_before(WRITE, fd, path, (uint64_t)offset, length);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return do_pwrite(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return do_pwrite(fd, bytes, length, offset); }

/* Where a plain write begins: at the end, or where the descriptor stands. */
static uint64_t stands_at(int fd) {
    struct stat status;
    int appends = fcntl(fd, F_GETFL) & O_APPEND;
    if (appends && fstat(fd, &status) == 0)
        return (uint64_t)status.st_size;
    off64_t at = lseek64(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    const char *path = watched(fd);
    if (!path)
        return syscall(SYS_write, fd, bytes, length);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&lock);
    note_before(WRITE, fd, path, stands_at(fd), length);
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    const char *path = watched(fd);
    if (!path)
        return syscall(SYS_writev, fd, parts, count);
    if (is_read_only())
        return -1;
    uint64_t length = 0;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    pthread_mutex_lock(&lock);
    note_before(WRITE, fd, path, stands_at(fd), length);
    ssize_t done = syscall(SYS_writev, fd, parts, count);
    pthread_mutex_unlock(&lock);
    return done;
}

static int do_ftruncate(int fd, off64_t size) {
    const char *path = watched(fd);
    if (!path)
        return (int)syscall(SYS_ftruncate, fd, size);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&lock);
    note_before(CUT, fd, path, (uint64_t)size, UINT64_MAX);
    int done = (int)syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size) { return do_ftruncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return do_ftruncate(fd, size); }

/* What was written before a flush began is safe once it has ended. The page cache survives the
 * kill, so the flush itself need not be made. */
static int do_flush(int fd, int call) {
    const char *path = watched(fd);
    if (!path)
        return (int)syscall(call, fd);
    struct stat status;
    pthread_mutex_lock(&lock);
    int kind = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode) ? NAMES_FLUSHED : FLUSHED;
    if (!lies)
        note(kind, number++, 0, 0, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return do_flush(fd, SYS_fsync); }
int fdatasync(int fd) { return do_flush(fd, SYS_fdatasync); }

/* Keeps what a name stands for under another one, so that it can be brought back. */
static void keep(const char *path, uint64_t seq) {
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s.%llu", getenv("UNSYNCED_JOURNAL"), (unsigned long long)seq);
    if (link(path, kept) != 0 && errno != ENOENT)
        fatal(kept);
}

int unlink(const char *path) {
    if (!watched_path(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&lock);
    uint64_t seq = number++;
    keep(path, seq);
    note(REMOVED, seq, 0, 0, path, NULL, NULL);
    int done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    if (!watched_path(from) || !watched_path(to))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (is_read_only())
        return -1;
    pthread_mutex_lock(&lock);
    uint64_t seq = number++;
    keep(to, seq);
    /* The offset is the length of the new name, which precedes the old one. */
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s%s", to, from);
    note(RENAMED, seq, strlen(to), 0, both, NULL, NULL);
    int done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
