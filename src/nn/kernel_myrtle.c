/* SPDX-License-Identifier: Apache-2.0
 *
 * Myrtle-5, -7, -10 as KIP has them: (3x3 convolution, ReLU), then three blocks of further ones with a 2x2 average pool
 * between blocks; global average; dense. Knows the kernel builder. */
#include "nn/kernel_internal.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct myrtle {
    char depth[DD_OPT_TEXT];
} myrtle;

static const dd_option options[] = {{"depth", DD_OPT_CHOICE, offsetof(myrtle, depth), "5", 0, 0, "5|7|10", "Layers."},
                                    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

enum { BLOCKS = 3 };

static bool pools(const void *opts)
{
    (void)opts;
    return true;
}

static dd_status check(const void *opts, dd_image image)
{
    (void)opts;
    if (image.h < 4 || image.w < 4)
        return dd_fail(DD_EINVAL,
                       "a Myrtle kernel pools twice and needs images of at least 4x4 pixels, these have "
                       "%" PRId64 "x%" PRId64,
                       image.h, image.w);
    return DD_OK;
}

static void build(dd_covariances *s, const void *opts)
{
    static const int further[][BLOCKS] = {{1, 1, 1}, {1, 2, 2}, {2, 3, 3}};
    const long depth = strtol(((const myrtle *)opts)->depth, NULL, 10);
    const int *layers = further[depth == 5 ? 0 : depth == 7 ? 1 : 2];
    dd_cov_conv(s);
    dd_cov_relu(s);
    for (int i = 0; i < BLOCKS; i++) {
        for (int k = 0; k < layers[i]; k++) {
            dd_cov_conv(s);
            dd_cov_relu(s);
        }
        if (i < BLOCKS - 1) dd_cov_pool(s);
    }
    dd_cov_global(s);
}

const dd_kernel_kind dd_kernel_myrtle = {
    .name = "myrtle",
    .title = "convolutional in three blocks, infinitely wide",
    .options = options,
    .opts_size = sizeof(myrtle),
    .pools = pools,
    .check = check,
    .build = build,
};
