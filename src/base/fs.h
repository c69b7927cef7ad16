/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and clock: whole-file reads, atomic replacement, folders. Knows the C library and POSIX. */
#ifndef ATTAR_BASE_FS_H
#define ATTAR_BASE_FS_H
#include "attar/status.h"

/* Reads a whole file (dd_free it); one NUL byte follows the data. Refuses more than `limit` bytes with DD_EFORMAT
 * and the actual size. DD_ENOTFOUND, DD_EIO, DD_ENOMEM. */
dd_status dd_read_file(const char *path, size_t limit, void **data, size_t *size);
/* The file's bytes as pages of memory, read as they are touched; not to be written. The file may be replaced by
 * dd_write_file meanwhile, but not cut. Refuses as dd_read_file does. Empty files give NULL and 0. */
dd_status dd_map_file(const char *path, size_t limit, const void **data, size_t *size);
void dd_unmap_file(const void *data, size_t size); /* NULL: nothing */
/* Writes PATH.tmp.PID, fsyncs it, renames it to PATH and fsyncs the folder. On failure PATH is untouched and the
 * temporary file is gone; the message gives the system's reason ("No space left on device"). A symbolic link stays, and
 * the file it leads to is replaced; a device or pipe is written to as it is. DD_EIO. */
dd_status dd_write_file(const char *path, const void *data, size_t size);
/* Before hours of work: whether dd_write_file could begin now. Leaves nothing behind. DD_EIO. */
dd_status dd_check_writable(const char *path);
/* Removes a file; nothing happens if it is not there. */
void dd_remove_file(const char *path);
/* Both exist and are one file, whatever they are called. */
bool dd_same_file(const char *a, const char *b);
/* Makes the folder and its parents. DD_EIO if something that is no folder is in the way. */
dd_status dd_make_dir(const char *path);
/* Removes the folder if it is empty; otherwise, and if it is not there, nothing happens. */
void dd_remove_empty(const char *path);
/* The same for it and the folders above it, down to the first `keep` bytes of the path. */
void dd_remove_empty_path(const char *path, size_t keep);
/* Bytes of the longest beginning of the path that is there. */
size_t dd_existing_part(const char *path);
/* Keeps other processes that ask for the same folder out until dd_unlock_dir(*fd) or the end of this one; the folder
 * must exist. DD_EEXIST: another process has it; DD_EIO. */
dd_status dd_lock_dir(const char *path, int *fd);
void dd_unlock_dir(int fd); /* -1: nothing */
/* Removes what killed writes of dd_write_file have left in a folder and the folders in it: for who holds its lock. */
void dd_clear_temporary(const char *path);
bool dd_exists(const char *path);
bool dd_is_dir(const char *path);
/* "a/b" joined into buf; DD_EINVAL if it does not fit. */
dd_status dd_path_join(char *buf, size_t size, const char *a, const char *b);
/* Names in a folder (no "." and ".."), bytewise sorted; free with dd_list_free. DD_ENOTFOUND, DD_EIO, DD_ENOMEM. */
dd_status dd_list_dir(const char *path, char ***names, size_t *n);
void dd_list_free(char **names, size_t n);
double dd_now(void);          /* seconds, monotonic */
int64_t dd_peak_memory(void); /* bytes, peak resident set of the process */
#endif
