/* Counts a process's mutating calls below one directory, and acts at a chosen one.
 *
 * Preloaded with LD_PRELOAD. The environment arms a process from its start:
 *   CRASHPOINT_BELOW  directory; calls on paths below it are counted
 *   CRASHPOINT_ROLE   text that the command line must contain
 *   CRASHPOINT_FORKER text in the command line of a process whose forked children are meant instead
 *   CRASHPOINT_DEPTH  with FORKER: how many forks below it, 1 if not given
 *   CRASHPOINT_CLAIM  file that the process must be the first to create (one worker of many)
 *   CRASHPOINT_AT     which call, from 1; 0 counts only
 *   CRASHPOINT_MODE   before | after | torn   dies there (torn: half of a write is made)
 *                     cut                     the file system is shut down there, unflushed; dies,
 *                                             and a worker takes its supervisor with it
 *                     short                   half of the write is made and reported
 *                     errno:N | errnos:N      the call fails with N, once | from then on
 *                     stop | sleep:MS         stops itself | waits, before the call
 *   CRASHPOINT_MOUNT  directory whose file system "cut" shuts down
 *   CRASHPOINT_LOG    file that gets a line "number name path" per counted call
 *   CRASHPOINT_SKIP   flushes that are left out, a planted bug: "file", "dir" or "file,dir"
 * or crashpoint_arm() arms it from inside, for a server that forks a process per point.
 */
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
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, unsigned int)
#define NO_LOG_FLUSH 2u

enum mode { COUNT, BEFORE, AFTER, TORN, CUT, SHORT, ERRNO, ERRNOS, STOP, SLEEP };

static char below[PATH_MAX], mount_path[PATH_MAX], log_path[PATH_MAX];
static size_t below_length;
static enum mode mode = COUNT;
static long chosen, argument, counted;
static pid_t armed_pid;
static int skips_file, skips_dir, is_forker;
static pid_t starter; /* who started this process, or the one that it was forked from */
static pid_t master;  /* the same where the environment armed us: goes down with us */

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t raw_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

static int raw_open(const char *path, int flags) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    return real(path, flags, 0600);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void cut(void) {
    unsigned int how = NO_LOG_FLUSH;
    int fd = raw_open(mount_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, FS_IOC_SHUTDOWN, &how) < 0) {
        perror("crashpoint: cannot cut the power");
        _exit(98);
    }
    if (master) kill(master, SIGKILL);
    die();
}

void crashpoint_arm(const char *directory, const char *where, const char *log, const char *skip,
                    long at, const char *how) {
    skips_file = strstr(skip, "file") != NULL;
    skips_dir = strstr(skip, "dir") != NULL;
    snprintf(below, sizeof below, "%s", directory);
    snprintf(mount_path, sizeof mount_path, "%s", where);
    snprintf(log_path, sizeof log_path, "%s", log);
    below_length = strlen(below);
    chosen = at;
    counted = 0;
    const char *colon = strchr(how, ':');
    argument = colon ? atol(colon + 1) : 0;
    static const char *names[] = {"count", "before", "after", "torn", "cut",
                                  "short", "errno:", "errnos:", "stop", "sleep:"};
    for (int i = 0; i < 10; i++)
        if (!strncmp(how, names[i], colon ? (size_t)(colon + 1 - how) : strlen(names[i]) + 1))
            mode = (enum mode)i;
    armed_pid = getpid();
}

static int is_role(const char *role) {
    char words[8192];
    int fd = raw_open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, words, sizeof words - 1);
    if (fd >= 0) close(fd);
    for (ssize_t i = 0; i < size; i++)
        if (!words[i]) words[i] = ' ';
    words[size > 0 ? size : 0] = 0;
    return strstr(words, role) != NULL;
}

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void arm_from_environment(void) {
    const char *claim = getenv("CRASHPOINT_CLAIM");
    if (claim) {
        int fd = raw_open(claim, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC);
        if (fd < 0) return;
        close(fd);
    }
    master = starter;
    crashpoint_arm(from_environment("CRASHPOINT_BELOW"), from_environment("CRASHPOINT_MOUNT"),
                   from_environment("CRASHPOINT_LOG"), from_environment("CRASHPOINT_SKIP"),
                   atol(from_environment("CRASHPOINT_AT")), from_environment("CRASHPOINT_MODE"));
}

__attribute__((constructor)) static void begin(void) {
    const char *skip = from_environment("CRASHPOINT_SKIP");
    skips_file = strstr(skip, "file") != NULL;
    skips_dir = strstr(skip, "dir") != NULL;
    const char *role = getenv("CRASHPOINT_ROLE");
    if (skips_file || skips_dir) {
        snprintf(below, sizeof below, "%s", from_environment("CRASHPOINT_BELOW"));
        below_length = strlen(below);
    }
    const char *forker = getenv("CRASHPOINT_FORKER");
    starter = getppid();
    const char *depth = from_environment("CRASHPOINT_DEPTH");
    is_forker = forker && is_role(forker) ? (*depth ? atoi(depth) : 1) : 0;
    if (role && !is_forker && is_role(role)) arm_from_environment();
}

pid_t fork(void) {
    REAL(fork);
    pid_t pid = real();
    if (pid == 0 && is_forker && --is_forker == 0) arm_from_environment();
    return pid;
}

/* Where a call acts: the absolute path, or "" where it is of no interest. */
static const char *place(int dirfd, const char *path, char *out) {
    char link[64];
    ssize_t size = 0;
    out[0] = 0;
    if (!below_length) return out;
    if (!path || path[0] != '/') {
        if (path && dirfd == AT_FDCWD) {
            if (!getcwd(out, PATH_MAX)) return strcpy(out, "");
            size = (ssize_t)strlen(out);
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            size = readlink(link, out, PATH_MAX - 1);
            if (size < 0) size = 0;
        }
        if (path) size += snprintf(out + size, (size_t)(PATH_MAX - size), "/%s", path);
        out[size < PATH_MAX ? size : PATH_MAX - 1] = 0;
    } else {
        snprintf(out, PATH_MAX, "%s", path);
    }
    int inside = !strncmp(out, below, below_length) && (out[below_length] == '/' || !out[below_length]);
    return inside ? out : strcpy(out, "");
}

enum what { GO, FAIL, HALVE, DIE_AFTER, DIE_HALVED };

/* Counts one call and says what is to be done with it. */
static enum what point(const char *name, int dirfd, const char *path, int saved_errno) {
    char at[PATH_MAX];
    if (armed_pid != getpid() || !*place(dirfd, path, at)) {
        errno = saved_errno;
        return GO;
    }
    long number = __atomic_add_fetch(&counted, 1, __ATOMIC_SEQ_CST);
    if (*log_path) {
        char line[PATH_MAX + 64];
        int size = snprintf(line, sizeof line, "%ld %s %s\n", number, name, at);
        int fd = raw_open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC);
        if (fd >= 0) {
            raw_write(fd, line, (size_t)size);
            close(fd);
        }
    }
    errno = saved_errno;
    if (number < chosen || !chosen || (number > chosen && mode != ERRNOS)) return GO;
    switch (mode) {
    case BEFORE: die(); break;
    case CUT: cut(); break;
    case AFTER: return DIE_AFTER;
    case TORN: return DIE_HALVED;
    case SHORT: return HALVE;
    case ERRNO: case ERRNOS: errno = (int)argument; return FAIL;
    case STOP: kill(getpid(), SIGSTOP); break;
    case SLEEP: {
        struct timespec left = {argument / 1000, argument % 1000 * 1000000};
        while (nanosleep(&left, &left) < 0) continue;
        break;
    }
    case COUNT: break;
    }
    errno = saved_errno;
    return GO;
}

#define POINT(name, dirfd, path, call) \
    do { \
        enum what act = point(name, dirfd, path, errno); \
        if (act == FAIL) return -1; \
        if (act == DIE_HALVED) die(); \
        __typeof__(call) result = call; \
        if (act == DIE_AFTER) die(); \
        return result; \
    } while (0)

#define POINT_WRITE(name, fd, size, call, half) \
    do { \
        enum what act = point(name, fd, NULL, errno); \
        if (act == FAIL) return -1; \
        ssize_t result = act == HALVE || act == DIE_HALVED ? half : call; \
        if (act == DIE_AFTER || act == DIE_HALVED) die(); \
        return result; \
    } while (0)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        static int (*real)(const char *, int, ...); \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (!(flags & (O_CREAT | O_TRUNC))) return real(path, flags, bits); \
        POINT("open", AT_FDCWD, path, real(path, flags, bits)); \
    }
#define OPENAT(name) \
    int name(int dirfd, const char *path, int flags, ...) { \
        static int (*real)(int, const char *, int, ...); \
        if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (!(flags & (O_CREAT | O_TRUNC))) return real(dirfd, path, flags, bits); \
        POINT("open", dirfd, path, real(dirfd, path, flags, bits)); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    POINT_WRITE("write", fd, size, real(fd, data, size), real(fd, data, size / 2));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(pwrite);
    POINT_WRITE("write", fd, size, real(fd, data, size, offset), real(fd, data, size / 2, offset));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    POINT_WRITE("write", fd, size, real(fd, data, size, offset), real(fd, data, size / 2, offset));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    POINT_WRITE("write", fd, 0, real(fd, parts, count), real(fd, parts, count > 1 ? count / 2 : 1));
}

static int flushes(int fd) {
    struct stat found;
    char at[PATH_MAX];
    if (!(skips_file || skips_dir) || fstat(fd, &found) < 0 || !*place(fd, NULL, at)) return 1;
    return S_ISDIR(found.st_mode) ? !skips_dir : !skips_file;
}
int fsync(int fd) {
    REAL(fsync);
    if (!flushes(fd)) return 0;
    POINT("flush", fd, NULL, real(fd));
}
int fdatasync(int fd) {
    REAL(fdatasync);
    if (!flushes(fd)) return 0;
    POINT("flush", fd, NULL, real(fd));
}
int ftruncate(int fd, off_t size) { REAL(ftruncate); POINT("truncate", fd, NULL, real(fd, size)); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); POINT("truncate", fd, NULL, real(fd, size)); }
int rename(const char *from, const char *to) { REAL(rename); POINT("rename", AT_FDCWD, to, real(from, to)); }
int renameat(int d, const char *from, int e, const char *to) { REAL(renameat); POINT("rename", e, to, real(d, from, e, to)); }
int unlink(const char *path) { REAL(unlink); POINT("unlink", AT_FDCWD, path, real(path)); }
int unlinkat(int d, const char *path, int flags) { REAL(unlinkat); POINT("unlink", d, path, real(d, path, flags)); }
int rmdir(const char *path) { REAL(rmdir); POINT("rmdir", AT_FDCWD, path, real(path)); }
int mkdir(const char *path, mode_t bits) { REAL(mkdir); POINT("mkdir", AT_FDCWD, path, real(path, bits)); }
int mkdirat(int d, const char *path, mode_t bits) { REAL(mkdirat); POINT("mkdir", d, path, real(d, path, bits)); }
int link(const char *from, const char *to) { REAL(link); POINT("link", AT_FDCWD, to, real(from, to)); }
int linkat(int d, const char *from, int e, const char *to, int flags) { REAL(linkat); POINT("link", e, to, real(d, from, e, to, flags)); }
int symlink(const char *from, const char *to) { REAL(symlink); POINT("symlink", AT_FDCWD, to, real(from, to)); }
int chmod(const char *path, mode_t bits) { REAL(chmod); POINT("chmod", AT_FDCWD, path, real(path, bits)); }
int fchmod(int fd, mode_t bits) { REAL(fchmod); POINT("chmod", fd, NULL, real(fd, bits)); }
int flock(int fd, int how) { REAL(flock); POINT("flock", fd, NULL, real(fd, how)); }
int utimensat(int d, const char *path, const struct timespec times[2], int flags) { REAL(utimensat); POINT("utime", d, path, real(d, path, times, flags)); }
int futimens(int fd, const struct timespec times[2]) { REAL(futimens); POINT("utime", fd, NULL, real(fd, times)); }
