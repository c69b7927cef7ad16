/* SPDX-License-Identifier: Apache-2.0
 *
 * What the dumps share. */
#ifndef ATTAR_TESTS_DUMP_H
#define ATTAR_TESTS_DUMP_H
#include "base/memory.h"
#include "data/safetensors.h"

#include <stdio.h>

static inline dd_status write_entries(const dd_st_entry *e, int n, const char *path)
{
    void *bytes = NULL;
    size_t size = 0;
    DD_TRY(dd_st_write(e, n, &bytes, &size));
    FILE *f = fopen(path, "wb");
    bool good = f && fwrite(bytes, 1, size, f) == size;
    if (f && fclose(f)) good = false;
    dd_free(bytes);
    return good ? DD_OK : dd_fail(DD_EIO, "cannot write %s", path);
}
#endif
