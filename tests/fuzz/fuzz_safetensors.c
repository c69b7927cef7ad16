/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors: every accepted view is read to its last byte, and what was read is written again. */
#include "base/memory.h"
#include "data/safetensors.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Thread_local dd_st_file f;
    volatile uint8_t last = 0;
    if (dd_st_parse(&f, data, size, "file") != DD_OK) return 0;
    for (int i = 0; i < f.n; i++) last = ((const uint8_t *)f.e[i].t.data)[dd_tensor_bytes(&f.e[i].t) - 1];
    (void)last;
    void *out;
    size_t n;
    if (dd_st_write(f.e, f.n, &out, &n) == DD_OK) dd_free(out);
    return 0;
}
