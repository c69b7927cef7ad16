/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds and reads a file of a data folder, plain or gzip, whole and inflated. Knows base and gz.c. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include <stdio.h>

static bool has(const char *dir, const char *stem, const char *suffix, char path[DD_PATH])
{
    int n = snprintf(path, DD_PATH, "%s/%s%s", dir, stem, suffix);
    return n > 0 && n < DD_PATH && dd_exists(path);
}

bool dd_source_has(const char *dir, const char *stem)
{
    char path[DD_PATH];
    return has(dir, stem, "", path) || has(dir, stem, ".gz", path);
}

static dd_status inflated(dd_bytes *b)
{
    void *out;
    size_t n;
    DD_TRY(dd_gunzip(b->p, b->n, DD_FILE_LIMIT, b->path, &out, &n));
    dd_free(b->p);
    b->p = out;
    b->n = n;
    return DD_OK;
}

dd_status dd_source_read(const char *dir, const char *stem, dd_bytes *b)
{
    char xz[DD_PATH];
    b->p = NULL;
    b->n = 0;
    if (!has(dir, stem, "", b->path) && !has(dir, stem, ".gz", b->path)) {
        if (has(dir, stem, ".xz", xz))
            return dd_fail(DD_ENOTFOUND, "%s is packed with xz, which is not read directly: unpack it with xz -dk %s",
                           xz, xz);
        return dd_fail(DD_ENOTFOUND, "%s has neither %s nor %s.gz", dir, stem, stem);
    }
    void *p;
    DD_TRY(dd_read_file(b->path, DD_FILE_LIMIT, &p, &b->n));
    b->p = p;
    if (b->n == 0) {
        dd_bytes_fini(b);
        return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", b->path);
    }
    if (!dd_is_gzip(b->p, b->n)) return DD_OK;
    dd_status st = inflated(b);
    if (st != DD_OK) dd_bytes_fini(b);
    return st;
}

void dd_bytes_fini(dd_bytes *b)
{
    dd_free(b->p);
    b->p = NULL;
    b->n = 0;
}
