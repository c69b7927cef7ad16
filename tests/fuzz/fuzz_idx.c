/* SPDX-License-Identifier: Apache-2.0
 *
 * IDX: images and labels, plain or gzip. */
#include "data/data_internal.h"
#include "fuzz.h"

static void both(const void *data, size_t size)
{
    dd_tensor t = {0};
    dd_idx_images(data, size, "images", &t);
    dd_tensor_fini(&t);
    dd_idx_labels(data, size, "labels", 10, &t);
    dd_tensor_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *out;
    size_t n;
    if (!dd_is_gzip(data, size))
        both(data, size);
    else if (dd_gunzip(data, size, FUZZ_LIMIT, "gz", &out, &n) == DD_OK) {
        both(out, n);
        dd_free(out);
    }
    return 0;
}
