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
    dd_backend_tune(b, NULL);
    if (b->shared) b->shared_free(b->shared);
    b->close(b);
}

dd_status dd_backend_precision(dd_backend *b, const char *name)
{
    const bool half = strcmp(name, "bf16") == 0;
    if (!half && strcmp(name, "float32") != 0)
        return dd_fail(DD_ENOTFOUND, "no precision \"%s\": there are float32 and bf16", name);
    if (half && !b->may_block)
        return dd_fail(DD_EUNSUPPORTED, "backend %s has no bf16: use --backend cpu, or --precision float32", b->name);
    if (half && !b->lanes)
        return dd_fail(DD_EUNSUPPORTED, "this processor has no vectors to convert bf16 with, which need AVX2: use "
                                        "--precision float32");
    b->half = half;
    return DD_OK;
}

void dd_backend_limit(dd_backend *b, int64_t bytes)
{
    b->limit = bytes;
}

bool dd_backend_limited(const dd_backend *b)
{
    return b->limit > 0;
}

const char *dd_backend_name(const dd_backend *b)
{
    return b->name;
}
