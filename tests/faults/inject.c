/* Counts the changes that a program makes to files below a folder, and kills it at one of them, or makes that one fail.

   Preloaded (LD_PRELOAD) into a command and all processes that it starts. Its environment:
     FAULT_FOLDER    path, absolute: changes elsewhere do not count
     FAULT_COUNTER   path of a file of two 64-bit integers, shared by all the processes: changes so far, faults so far
     FAULT_AT        the change, from 1, at which it happens; 0: count alone
     FAULT_ERRNO     0: the process is killed there by SIGKILL. EIO: that call fails. ENOSPC: that call and every later
                     one that needs space fails, as on a full disk
   Changes: opening to write, writing, cutting, flushing to the disk, renaming, removing, making folders and links,
   changing mode or owner. What the C library calls within a call (write within fwrite) is not seen a second time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEEDS_SPACE 1

static char folder[PATH_MAX];
static long number;
static int error;
static long *shared;    /* changes, faults */

__attribute__((constructor)) static void arm(void) {
    const char *where = getenv("FAULT_FOLDER"), *counter = getenv("FAULT_COUNTER"), *at = getenv("FAULT_AT"),
               *what = getenv("FAULT_ERRNO");
    if (!where || !counter) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, counter, O_RDWR);     /* not the one below */
    if (file < 0) return;
    void *memory = mmap(NULL, 2 * sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return;
    shared = memory, number = at ? atol(at) : 0, error = what ? atoi(what) : 0;
    snprintf(folder, sizeof folder, "%s", where);
}

/* Whether this change of a path is to fail. */
static int fails(const char *path, int kind) {
    char absolute[2 * PATH_MAX];
    if (!shared || !path) return 0;
    if (path[0] != '/') {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(absolute, sizeof absolute, "%s/%s", here, path);
        path = absolute;
    }
    size_t length = strlen(folder);
    if (strncmp(path, folder, length) || (path[length] && path[length] != '/')) return 0;
    long now = __sync_add_and_fetch(&shared[0], 1);
    if (!number || (error == ENOSPC ? now < number || kind != NEEDS_SPACE : now != number)) return 0;
    __sync_add_and_fetch(&shared[1], 1);
    if (!error) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}

static int file_fails(int file, int kind) {
    char link[64], path[PATH_MAX];
    if (!shared) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') return 0;   /* a pipe */
    path[length] = 0;
    return fails(path, kind);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC))
#define MODE(flags) int mode = 0; \
    if ((flags) & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }

#define OPEN(name) int name(const char *path, int flags, ...) { REAL(name); MODE(flags) \
    return WRITES(flags) && fails(path, NEEDS_SPACE) ? -1 : real(path, flags, mode); }
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { REAL(name); MODE(flags) \
    return WRITES(flags) && fails(path, NEEDS_SPACE) ? -1 : real(at, path, flags, mode); }
#define FOPEN(name) FILE *name(const char *path, const char *mode) { REAL(name); \
    return strpbrk(mode, "wa+") && fails(path, NEEDS_SPACE) ? NULL : real(path, mode); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t items, FILE *file) {
    REAL(fwrite);
    return file_fails(fileno(file), NEEDS_SPACE) ? 0 : real(data, size, items, file);
}

#define CHANGE(type, name, declaration, condition, ...) \
    type name declaration { REAL(name); return (condition) ? -1 : real(__VA_ARGS__); }
CHANGE(ssize_t, write, (int file, const void *data, size_t size), file_fails(file, NEEDS_SPACE), file, data, size)
CHANGE(ssize_t, writev, (int file, const struct iovec *data, int parts), file_fails(file, NEEDS_SPACE), file, data,
       parts)
CHANGE(ssize_t, sendfile, (int out, int in, off_t *offset, size_t size), file_fails(out, NEEDS_SPACE), out, in, offset,
       size)
CHANGE(ssize_t, sendfile64, (int out, int in, off64_t *offset, size_t size), file_fails(out, NEEDS_SPACE), out, in,
       offset, size)
CHANGE(ssize_t, copy_file_range, (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags),
       file_fails(out, NEEDS_SPACE), in, from, out, to, size, flags)
CHANGE(int, ftruncate, (int file, off_t size), file_fails(file, 0), file, size)
CHANGE(int, ftruncate64, (int file, off64_t size), file_fails(file, 0), file, size)
CHANGE(int, fsync, (int file), file_fails(file, 0), file)
CHANGE(int, fdatasync, (int file), file_fails(file, 0), file)
CHANGE(int, rename, (const char *from, const char *to), fails(to, 0), from, to)
CHANGE(int, renameat, (int a, const char *from, int b, const char *to), fails(to, 0), a, from, b, to)
CHANGE(int, unlink, (const char *path), fails(path, 0), path)
CHANGE(int, unlinkat, (int at, const char *path, int flags), fails(path, 0), at, path, flags)
CHANGE(int, rmdir, (const char *path), fails(path, 0), path)
CHANGE(int, mkdir, (const char *path, mode_t mode), fails(path, NEEDS_SPACE), path, mode)
CHANGE(int, mkdirat, (int at, const char *path, mode_t mode), fails(path, NEEDS_SPACE), at, path, mode)
CHANGE(int, symlink, (const char *from, const char *to), fails(to, NEEDS_SPACE), from, to)
CHANGE(int, link, (const char *from, const char *to), fails(to, NEEDS_SPACE), from, to)
CHANGE(int, linkat, (int a, const char *from, int b, const char *to, int flags), fails(to, NEEDS_SPACE), a, from, b, to,
       flags)
CHANGE(int, chmod, (const char *path, mode_t mode), fails(path, 0), path, mode)
CHANGE(int, chown, (const char *path, uid_t user, gid_t group), fails(path, 0), path, user, group)
