/* SPDX-License-Identifier: Apache-2.0
 *
 * whitening.safetensors: what is accepted whitens an image and brings it back. */
#include "data/whiten.h"
#include "base/memory.h"
#include "fuzz.h"

enum { VALUES = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dd_whitening *w;
    float x[VALUES] = {0.25f, -1}, y[VALUES];
    if (dd_whitening_parse(&w, dd_whiten_kind_named("zca-kip"), VALUES, data, size, "file") != DD_OK) return 0;
    dd_whiten(w, x, 1);
    if (dd_unwhiten(w, x, 1, y) != DD_OK) y[0] = 0;
    void *out;
    size_t n;
    if (dd_whitening_bytes(w, &out, &n) == DD_OK) dd_free(out);
    dd_whitening_free(w);
    return 0;
}
