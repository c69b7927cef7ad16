/* SPDX-License-Identifier: Apache-2.0
 *
 * npz archives, through libzip and the npy reader; also a bare npy file. */
#include "data/data_internal.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dd_dataset d = {0};
    dd_npy a;
    dd_npz_parse(&d, data, size, FUZZ_LIMIT, "npz");
    dd_split_fini(&d.train);
    dd_split_fini(&d.test);
    if (dd_npy_parse(data, size, "npy", &a) == DD_OK) {
        int32_t y;
        for (int64_t i = 0; i < a.count; i++) dd_npy_label(&a, i, "npy", &y);
    }
    return 0;
}
