/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends by name. Knows that "ref" and "cpu" exist and nothing of their insides. */
#include "backend/backend.h"

#include "attar/options.h"

#include <string.h>

typedef struct entry {
    const char *name;
    dd_status (*open)(dd_backend **out, int threads);
} entry;

static const entry table[] = {{"ref", dd_ref_open}, {"cpu", dd_cpu_open}};

dd_status dd_backend_open(dd_backend **out, const char *name, int threads)
{
    static const char *const names[] = {"ref", "cpu", NULL};
    *out = NULL;
    for (size_t i = 0; i < DD_LEN(table); i++)
        if (strcmp(table[i].name, name) == 0) return table[i].open(out, threads);
    const char *near = dd_nearest(name, names);
    if (near) return dd_fail(DD_ENOTFOUND, "no backend \"%s\": did you mean \"%s\"?", name, near);
    return dd_fail(DD_ENOTFOUND, "no backend \"%s\": there are ref and cpu", name);
}

void dd_backend_close(dd_backend *b)
{
    if (!b) return;
    dd_backend_profile(b, false);
    if (b->shared) b->shared_free(b->shared);
    b->close(b);
}

const char *dd_backend_name(const dd_backend *b)
{
    return b->name;
}
