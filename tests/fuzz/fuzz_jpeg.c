/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG pictures, decoded, made grey and resized. */
#include "data/data_internal.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dd_picture im = {0};
    if (dd_jpeg_decode(data, size, "picture", &im) == DD_OK && im.w * im.h <= 1 << 16) {
        dd_picture_channels(&im, 1);
        dd_picture_resize(&im, 7, 5);
    }
    dd_picture_fini(&im);
    return 0;
}
