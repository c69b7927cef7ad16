/* SPDX-License-Identifier: Apache-2.0
 *
 * CIFAR records into room for four of them. */
#include "data/data_internal.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dd_split s = {.n = 4};
    if (dd_tensor_init(&s.images, DD_U8, DD_SHAPE(4, 3, 32, 32)) == DD_OK &&
        dd_tensor_init(&s.labels, DD_I32, DD_SHAPE(4)) == DD_OK)
        dd_cifar_records(data, size, "records", 10, 1, &s);
    dd_split_fini(&s);
    return 0;
}
