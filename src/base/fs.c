/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole-file reads, atomic replacement, folders, clock and peak memory. Knows the C library and POSIX. */
#include "base/fs.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool missing(void)
{
    return errno == ENOENT || errno == ENOTDIR;
}

static dd_status read_all(int fd, const char *path, size_t size, char *p)
{
    for (size_t got = 0; got < size;) {
        const ssize_t n = read(fd, p + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return dd_fail(DD_EIO, "%s: reading failed: %s", path, strerror(errno));
        if (n == 0) return dd_fail(DD_EIO, "%s: ended after %zu of %zu bytes while being read", path, got, size);
        got += (size_t)n;
    }
    return DD_OK;
}

static dd_status file_size(int fd, const char *path, size_t limit, size_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return dd_fail(DD_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return dd_fail(DD_EFORMAT, "%s is not a regular file", path);
    if ((uintmax_t)st.st_size > limit)
        return dd_fail(DD_EFORMAT, "%s has %jd bytes, more than the %zu allowed here", path, (intmax_t)st.st_size,
                       limit);
    *size = (size_t)st.st_size;
    return DD_OK;
}

dd_status dd_read_file(const char *path, size_t limit, void **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused below, not waited for */
    if (fd < 0) return dd_fail(missing() ? DD_ENOTFOUND : DD_EIO, "%s: %s", path, strerror(errno));
    size_t n = 0;
    char *p = NULL;
    dd_status s = file_size(fd, path, limit, &n);
    if (s == DD_OK && !(p = dd_alloc(n + 1, 1))) s = dd_fail(DD_ENOMEM, "%s: out of memory for %zu bytes", path, n);
    if (s == DD_OK) s = read_all(fd, path, n, p);
    close(fd);
    if (s != DD_OK) {
        dd_free(p);
        return s;
    }
    *data = p;
    *size = n;
    return DD_OK;
}

dd_status dd_map_file(const char *path, size_t limit, const void **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return dd_fail(missing() ? DD_ENOTFOUND : DD_EIO, "%s: %s", path, strerror(errno));
    size_t n = 0;
    dd_status s = file_size(fd, path, limit, &n);
    void *p = s == DD_OK && n ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (p == MAP_FAILED) s = dd_fail(DD_EIO, "%s: cannot be mapped: %s", path, strerror(errno));
    close(fd);
    if (s != DD_OK) return s;
    *data = p;
    *size = n;
    return DD_OK;
}

void dd_unmap_file(const void *data, size_t size)
{
    if (data) munmap((void *)(uintptr_t)data, size);
}

static dd_status put_all(int fd, const char *path, const char *p, size_t size)
{
    for (size_t put = 0; put < size;) {
        const ssize_t n = write(fd, p + put, size - put);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return dd_fail(DD_EIO, "%s: writing failed after %zu of %zu bytes: %s", path, put, size, strerror(errno));
        put += (size_t)n;
    }
    return DD_OK;
}

static dd_status write_all(int fd, const char *path, const char *p, size_t size)
{
    DD_TRY(put_all(fd, path, p, size));
    return fsync(fd) == 0 ? DD_OK : dd_fail(DD_EIO, "%s: fsync failed: %s", path, strerror(errno));
}

static void sync_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd); /* the rename is done; a folder that cannot be synced is no failure */
    close(fd);
}

/* What is no file of bytes cannot be replaced by one: /dev/stdout, a named pipe. */
static dd_status write_through(const char *path, const char *p, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return dd_fail(DD_EIO, "%s: cannot be written: %s", path, strerror(errno));
    dd_status s = put_all(fd, path, p, size);
    if (close(fd) != 0 && s == DD_OK) s = dd_fail(DD_EIO, "%s: closing failed: %s", path, strerror(errno));
    return s;
}

static dd_status open_temporary(const char *path, char tmp[PATH_MAX], int *fd)
{
    const int len = snprintf(tmp, PATH_MAX, "%s.tmp.%ld", path, (long)getpid());
    if (len < 0 || len >= PATH_MAX) return dd_fail(DD_EINVAL, "path is too long: %s", path);
    *fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return *fd < 0 ? dd_fail(DD_EIO, "%s: cannot be written: %s", path, strerror(errno)) : DD_OK;
}

static dd_status replace(const char *path, const void *data, size_t size)
{
    char tmp[PATH_MAX];
    int fd;
    DD_TRY(open_temporary(path, tmp, &fd));
    dd_status s = write_all(fd, path, data, size);
    if (close(fd) != 0 && s == DD_OK) s = dd_fail(DD_EIO, "%s: closing failed: %s", path, strerror(errno));
    if (s == DD_OK && rename(tmp, path) != 0) s = dd_fail(DD_EIO, "%s: rename failed: %s", path, strerror(errno));
    if (s == DD_OK)
        sync_folder(path);
    else
        unlink(tmp);
    return s;
}

/* What will be replaced, or NULL: the path is written to as it is. */
static dd_status find_target(const char *path, char real[PATH_MAX], const char **target)
{
    struct stat is;
    *target = path;
    if (stat(path, &is) != 0) return DD_OK;
    if (S_ISDIR(is.st_mode)) return dd_fail(DD_EIO, "%s: is a folder, not a file", path);
    if (!S_ISREG(is.st_mode))
        *target = NULL;
    else if (realpath(path, real))
        *target = real;
    return DD_OK;
}

dd_status dd_write_file(const char *path, const void *data, size_t size)
{
    char real[PATH_MAX];
    const char *target;
    DD_TRY(find_target(path, real, &target));
    return target ? replace(target, data, size) : write_through(path, data, size);
}

dd_status dd_check_writable(const char *path)
{
    char real[PATH_MAX], tmp[PATH_MAX];
    const char *target;
    int fd;
    DD_TRY(find_target(path, real, &target));
    if (!target) return DD_OK;
    DD_TRY(open_temporary(target, tmp, &fd));
    close(fd);
    unlink(tmp);
    return DD_OK;
}

void dd_remove_file(const char *path)
{
    (void)unlink(path);
}

bool dd_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static dd_status make_one(const char *path)
{
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && dd_is_dir(path))) return DD_OK;
    return dd_fail(DD_EIO, "%s: cannot make the folder: %s", path, strerror(errno == EEXIST ? ENOTDIR : errno));
}

dd_status dd_make_dir(const char *path)
{
    char part[PATH_MAX];
    const size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return dd_fail(DD_EINVAL, "a folder's path must have 1 to %zu bytes", sizeof part - 1);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/') continue;
        part[i] = '\0';
        DD_TRY(make_one(part));
        part[i] = '/';
    }
    return make_one(part);
}

void dd_remove_empty(const char *path)
{
    (void)rmdir(path);
}

/* Bytes of the path without its last part. */
static size_t above(const char *path, size_t n)
{
    while (n > 0 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    return n;
}

void dd_remove_empty_path(const char *path, size_t keep)
{
    char part[PATH_MAX];
    for (size_t n = strlen(path); n > keep && n < sizeof part; n = above(path, n)) {
        memcpy(part, path, n);
        part[n] = '\0';
        if (rmdir(part) != 0) return;
    }
}

size_t dd_existing_part(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    for (; n > 0; n = above(path, n)) {
        if (n >= sizeof part) continue;
        memcpy(part, path, n);
        part[n] = '\0';
        if (dd_exists(part)) break;
    }
    return n;
}

dd_status dd_lock_dir(const char *path, int *fd)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return dd_fail(DD_EIO, "%s: cannot be opened: %s", path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return DD_OK;
    const bool busy = errno == EWOULDBLOCK;
    const dd_status s = busy ? dd_fail(DD_EEXIST, "another run works in %s; wait for it or choose another --out", path)
                             : dd_fail(DD_EIO, "%s: cannot be locked: %s", path, strerror(errno));
    close(*fd);
    *fd = -1;
    return s;
}

void dd_unlock_dir(int fd)
{
    if (fd >= 0) close(fd);
}

bool dd_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool dd_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

dd_status dd_path_join(char *buf, size_t size, const char *a, const char *b)
{
    const size_t n = strlen(a);
    const char *slash = n == 0 || a[n - 1] == '/' ? "" : "/";
    const int len = snprintf(buf, size, "%s%s%s", a, slash, b);
    return len >= 0 && (size_t)len < size ? DD_OK : dd_fail(DD_EINVAL, "path is too long: %s/%s", a, b);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static dd_status add_name(char ***names, size_t *n, size_t *cap, const char *name)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return DD_OK;
    DD_TRY(dd_grow((void **)names, cap, *n + 1, sizeof **names));
    if (!((*names)[*n] = dd_strdup(name))) return dd_fail(DD_ENOMEM, "out of memory for a list of files");
    (*n)++;
    return DD_OK;
}

dd_status dd_list_dir(const char *path, char ***names, size_t *n)
{
    size_t cap = 0;
    *names = NULL;
    *n = 0;
    DIR *d = opendir(path);
    if (!d) return dd_fail(missing() ? DD_ENOTFOUND : DD_EIO, "%s: %s", path, strerror(errno));
    dd_status s = DD_OK;
    errno = 0;
    for (const struct dirent *e; s == DD_OK && (e = readdir(d)); errno = 0) s = add_name(names, n, &cap, e->d_name);
    if (s == DD_OK && errno) s = dd_fail(DD_EIO, "%s: listing failed: %s", path, strerror(errno));
    closedir(d);
    if (s != DD_OK) {
        dd_list_free(*names, *n);
        *names = NULL;
        *n = 0;
        return s;
    }
    if (*n) qsort(*names, *n, sizeof **names, by_name);
    return DD_OK;
}

void dd_list_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) dd_free(names[i]);
    dd_free(names);
}

/* NAME.tmp.PID */
static bool is_temporary(const char *name)
{
    const char *at = strstr(name, ".tmp.");
    return at && at > name && at[5] && strspn(at + 5, "0123456789") == strlen(at + 5);
}

static void clear(const char *path, bool deeper)
{
    char **names, at[PATH_MAX];
    size_t n;
    if (dd_list_dir(path, &names, &n) != DD_OK) return;
    for (size_t i = 0; i < n; i++) {
        if (dd_path_join(at, sizeof at, path, names[i]) != DD_OK) continue;
        if (deeper && dd_is_dir(at))
            clear(at, false);
        else if (is_temporary(names[i]))
            dd_remove_file(at);
    }
    dd_list_free(names, n);
}

void dd_clear_temporary(const char *path)
{
    clear(path, true);
}

double dd_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int64_t dd_peak_memory(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (int64_t)u.ru_maxrss * 1024 : 0;
}
