/* Makes operations on files below STORAGE_ERRORS_ROOT fail as they do on a network file system whose server is away.
 * What fails is written by the test to the file STORAGE_ERRORS_CONTROL, which all its processes map. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define MAX_DESCRIPTORS 65536
#define SHOWN 256

/* The order is that of FIELDS in storage_errors.py. */
struct control {
    volatile int64_t seen;        /* operations so far */
    volatile int64_t failed;      /* of these, how many were made to fail */
    volatile int64_t first;       /* the number of the first that fails, from 1; 0: none */
    volatile int64_t length;      /* how many fail from there on */
    volatile int64_t number;      /* with which errno; 0: with what a second try would answer (EEXIST, ENOENT) */
    volatile int64_t is_after;    /* 1: it happens, and is then said to have failed */
    volatile int64_t per_million; /* so many of them, drawn by chance, also fail, each with its next few */
    volatile int64_t until_ns;    /* every one fails until then (CLOCK_MONOTONIC) */
    volatile int64_t lasts_ns;    /* from the first that fails on, every one fails for so long */
    volatile int64_t hides_until_ns; /* until then manifests of steps are not to be seen */
    volatile int64_t is_armed;
    char last[SHOWN];
};

static struct control *control;
static const char *root;
static size_t root_length;
static unsigned char is_ours[MAX_DESCRIPTORS];
static __thread int burst;
static __thread uint64_t chance;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STORAGE_ERRORS_CONTROL");
    root = getenv("STORAGE_ERRORS_ROOT");
    if (!path || !root)
        return;
    root_length = strlen(root);
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int descriptor = real_open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    control = mapped == MAP_FAILED ? NULL : mapped;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int is_below(const char *path)
{
    return path && root && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int is_own(int descriptor)
{
    return descriptor >= 0 && descriptor < MAX_DESCRIPTORS && is_ours[descriptor];
}

static int is_at(int folder, const char *path)
{
    return path && path[0] == '/' ? is_below(path) : is_own(folder);
}

static int is_manifest(const char *path)
{
    size_t length = path ? strlen(path) : 0;
    return length > 10 && strcmp(path + length - 10, "/step.json") == 0 && !strstr(path, ".attempt-");
}

static int drawn(void)
{
    static const int numbers[] = {EIO, ESTALE, ETIMEDOUT, ENOTCONN, EAGAIN};
    if (!chance)
        chance = (uint64_t)now_ns() * 2654435761u ^ (uint64_t)(uintptr_t)&chance ^ (uint64_t)getpid() << 32;
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    if (burst > 0)
        burst--;
    else if ((int64_t)((chance >> 33) % 1000000) < control->per_million)
        burst = (int)((chance >> 60) & 7);
    else
        return 0;
    return numbers[(chance >> 40) % (sizeof numbers / sizeof *numbers)];
}

/* The error with which this operation is to fail, 0 for none. `own`: what a second try of it would answer. */
static int error_for(const char *call, const char *path, int own, int reads)
{
    if (!control || !control->is_armed)
        return 0;
    if (reads && is_manifest(path) && control->hides_until_ns && now_ns() < control->hides_until_ns) {
        control->failed++;
        return ENOENT;
    }
    int64_t mine = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
    int number = 0;
    if (control->lasts_ns && mine == control->first)
        control->until_ns = now_ns() + control->lasts_ns;
    if (control->until_ns && now_ns() < control->until_ns)
        number = (int)control->number;
    else if (control->first && mine >= control->first && mine < control->first + control->length)
        number = control->number ? (int)control->number : own ? own : EIO;
    else if (control->per_million)
        number = drawn();
    if (number) {
        __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
        snprintf(control->last, SHOWN, "%s %s", call, path ? path + (strlen(path) > 200 ? strlen(path) - 200 : 0) : "");
    }
    return number;
}

#define REAL(name) ({ static typeof(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })

/* Fails before or after the call, if the operation is one on the storage. */
#define MEET(type, name, is_ours_too, path, own, reads, call) \
    do { \
        if (!(is_ours_too)) \
            return (call); \
        int number_ = error_for(#name, path, own, reads); \
        if (number_ && !(control->is_after && own)) { \
            errno = number_; \
            return (type)-1; \
        } \
        type result_ = (call); \
        if (number_ && result_ != (type)-1) { \
            errno = number_; \
            return (type)-1; \
        } \
        return result_; \
    } while (0)

static int note_open(int descriptor, int is_storage)
{
    if (descriptor >= 0 && descriptor < MAX_DESCRIPTORS)
        is_ours[descriptor] = (unsigned char)is_storage;
    return descriptor;
}

static int opened(const char *call, int folder, const char *path, int flags, mode_t mode)
{
    int (*real)(int, const char *, int, ...) = REAL(openat64);
    int is_storage = is_at(folder, path);
    int own = flags & O_CREAT && flags & O_EXCL ? EEXIST : 0;
    int number = is_storage ? error_for(call, path, own, !(flags & O_CREAT)) : 0;
    if (number && control->is_after && own) {
        int descriptor = real(folder, path, flags, mode);
        if (descriptor >= 0)
            REAL(close)(descriptor);
        else
            number = errno;
    }
    if (number) {
        errno = number;
        return -1;
    }
    return note_open(real(folder, path, flags, mode), is_storage);
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open64(const char *path, int flags, ...) { MODE_OF(flags) return opened("open", AT_FDCWD, path, flags, mode); }
int open(const char *path, int flags, ...) { MODE_OF(flags) return opened("open", AT_FDCWD, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags) return opened("openat", folder, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags) return opened("openat", folder, path, flags, mode);
}

int close(int descriptor)
{
    int was_ours = is_own(descriptor);
    note_open(descriptor, 0);
    int number = was_ours ? error_for("close", NULL, 0, 0) : 0;
    int result = REAL(close)(descriptor);
    if (number && result == 0) {
        errno = number;
        return -1;
    }
    return result;
}

int stat64(const char *path, struct stat64 *to) { MEET(int, stat64, is_below(path), path, 0, 1, REAL(stat64)(path, to)); }
int lstat64(const char *path, struct stat64 *to)
{
    MEET(int, lstat64, is_below(path), path, 0, 1, REAL(lstat64)(path, to));
}
int fstat64(int one, struct stat64 *to) { MEET(int, fstat64, is_own(one), NULL, 0, 0, REAL(fstat64)(one, to)); }
int fstatat64(int folder, const char *path, struct stat64 *to, int flags)
{
    MEET(int, fstatat64, is_at(folder, path), path, 0, 1, REAL(fstatat64)(folder, path, to, flags));
}
int statvfs64(const char *path, struct statvfs64 *to)
{
    MEET(int, statvfs64, is_below(path), path, 0, 1, REAL(statvfs64)(path, to));
}
int access(const char *path, int how) { MEET(int, access, is_below(path), path, 0, 1, REAL(access)(path, how)); }
int faccessat(int folder, const char *path, int how, int flags)
{
    MEET(int, faccessat, is_at(folder, path), path, 0, 1, REAL(faccessat)(folder, path, how, flags));
}
int mkdir(const char *path, mode_t mode) { MEET(int, mkdir, is_below(path), path, EEXIST, 0, REAL(mkdir)(path, mode)); }
int rename(const char *from, const char *to)
{
    MEET(int, rename, is_below(from) || is_below(to), to, ENOENT, 0, REAL(rename)(from, to));
}
int link(const char *from, const char *to) { MEET(int, link, is_below(to), to, EEXIST, 0, REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags)
{
    MEET(int, linkat, is_at(b, to), to, EEXIST, 0, REAL(linkat)(a, from, b, to, flags));
}
int symlink(const char *from, const char *to) { MEET(int, symlink, is_below(to), to, EEXIST, 0, REAL(symlink)(from, to)); }
int unlink(const char *path) { MEET(int, unlink, is_below(path), path, ENOENT, 0, REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags)
{
    MEET(int, unlinkat, is_at(folder, path), path, ENOENT, 0, REAL(unlinkat)(folder, path, flags));
}
int rmdir(const char *path) { MEET(int, rmdir, is_below(path), path, ENOENT, 0, REAL(rmdir)(path)); }
ssize_t readlink(const char *path, char *to, size_t size)
{
    MEET(ssize_t, readlink, is_below(path), path, 0, 1, REAL(readlink)(path, to, size));
}
int chmod(const char *path, mode_t mode) { MEET(int, chmod, is_below(path), path, 0, 0, REAL(chmod)(path, mode)); }
int fchmod(int one, mode_t mode) { MEET(int, fchmod, is_own(one), NULL, 0, 0, REAL(fchmod)(one, mode)); }
int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
    MEET(int, utimensat, is_at(folder, path), path, 0, 0, REAL(utimensat)(folder, path, times, flags));
}
int fsync(int one) { MEET(int, fsync, is_own(one), NULL, 0, 0, REAL(fsync)(one)); }
ssize_t read(int one, void *to, size_t size) { MEET(ssize_t, read, is_own(one), NULL, 0, 0, REAL(read)(one, to, size)); }
ssize_t write(int one, const void *from, size_t size)
{
    MEET(ssize_t, write, is_own(one), NULL, 0, 0, REAL(write)(one, from, size));
}
ssize_t copy_file_range(int a, off64_t *from, int b, off64_t *to, size_t size, unsigned flags)
{
    MEET(ssize_t, copy_file_range, is_own(a) || is_own(b), NULL, 0, 0, REAL(copy_file_range)(a, from, b, to, size, flags));
}

DIR *opendir(const char *path)
{
    int is_storage = is_below(path);
    int number = is_storage ? error_for("opendir", path, 0, 1) : 0;
    if (number) {
        errno = number;
        return NULL;
    }
    DIR *folder = REAL(opendir)(path);
    if (folder)
        note_open(dirfd(folder), is_storage);
    return folder;
}

int closedir(DIR *folder)
{
    note_open(dirfd(folder), 0);
    return REAL(closedir)(folder);
}

struct dirent64 *readdir64(DIR *folder)
{
    int number = is_own(dirfd(folder)) ? error_for("readdir", NULL, 0, 0) : 0;
    if (number) {
        errno = number;
        return NULL;
    }
    return REAL(readdir64)(folder);
}
