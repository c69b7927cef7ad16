/* SPDX-License-Identifier: Apache-2.0
 *
 * FC-d: flatten, d hidden layers (dense, ReLU), dense. Knows the kernel builder. */
#include "nn/kernel_internal.h"

typedef struct fc {
    int64_t depth;
} fc;

static const dd_option options[] = {{"depth", DD_OPT_INT, offsetof(fc, depth), "1", 1, 64, NULL, "Hidden layers."},
                                    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static void build(dd_covariances *s, const void *opts)
{
    const fc *o = opts;
    for (int64_t i = 0; i < o->depth; i++) {
        dd_cov_dense(s);
        dd_cov_relu(s);
    }
}

const dd_kernel_kind dd_kernel_fc = {
    .name = "fc",
    .title = "fully connected, infinitely wide",
    .options = options,
    .opts_size = sizeof(fc),
    .flat = true,
    .build = build,
};
