/* SPDX-License-Identifier: Apache-2.0
 *
 * ConvNet: `extra` blocks (3x3 convolution, ReLU), then d blocks (3x3 convolution, ReLU, 2x2 average pool or none);
 * flatten or global average; dense. KIP's ConvNet3 is depth=3, its ConvNet depth=3,extra=1, its Conv-d
 * depth=d,pool=none. Where all pairs of places are too many, images may be shrunk first. A frame of 2 makes 32x32 of
 * 28x28, as the ConvNet's first convolution does. Knows the kernel builder. */
#include "nn/kernel_internal.h"

#include <inttypes.h>
#include <string.h>

typedef struct conv {
    int64_t depth, extra, shrink, frame;
    char pool[DD_OPT_TEXT], readout[DD_OPT_TEXT];
} conv;

static const dd_option options[] = {
    {"depth", DD_OPT_INT, offsetof(conv, depth), "3", 0, 64, NULL, "Blocks."},
    {"extra", DD_OPT_INT, offsetof(conv, extra), "0", 0, 64, NULL, "Blocks without a pool in front."},
    {"shrink", DD_OPT_INT, offsetof(conv, shrink), "1", 1, 64, NULL,
     "Averages of so many pixels a side stand for the image; 2 is 16 times faster where it pools, else 4."},
    {"frame", DD_OPT_INT, offsetof(conv, frame), "0", 0, 64, NULL, "Zeros around the image, on each side."},
    {"pool", DD_OPT_CHOICE, offsetof(conv, pool), "avg", 0, 0, "avg|none", "What ends a block."},
    {"readout", DD_OPT_CHOICE, offsetof(conv, readout), "flatten", 0, 0, "flatten|global",
     "What ends the last block: all places, or their average."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static bool pooled(const conv *o)
{
    return strcmp(o->pool, "avg") == 0;
}

static bool global(const conv *o)
{
    return strcmp(o->readout, "global") == 0;
}

static bool pools(const void *opts)
{
    return pooled(opts) || global(opts);
}

static dd_kernel_entry entry(const void *opts)
{
    const conv *o = opts;
    return (dd_kernel_entry){(int)o->shrink, (int)o->frame};
}

static dd_status check(const void *opts, dd_image image)
{
    const conv *o = opts;
    const int64_t left = (image.h < image.w ? image.h : image.w) / o->shrink, side = left + 2 * o->frame;
    if (o->depth + o->extra == 0)
        return dd_fail(DD_EINVAL,
                       "a convolutional kernel needs a block: give depth or extra 1 at least, or take kernel fc");
    if (left == 0)
        return dd_fail(DD_EINVAL,
                       "shrink=%" PRId64 " leaves nothing of images of %" PRId64 "x%" PRId64
                       " pixels; take a smaller one",
                       o->shrink, image.h, image.w);
    if (pooled(o) && (o->depth > 40 || side >> o->depth == 0))
        return dd_fail(DD_EINVAL,
                       "a kernel with %" PRId64 " pools needs images of at least %" PRId64 " pixels a side, "
                       "with their frame these have %" PRId64 "; take a smaller depth or shrink",
                       o->depth, o->depth > 40 ? INT64_MAX : (int64_t)1 << o->depth, side);
    return DD_OK;
}

static void build(dd_covariances *s, const void *opts)
{
    const conv *o = opts;
    for (int64_t i = 0; i < o->extra + o->depth; i++) {
        dd_cov_conv(s);
        dd_cov_relu(s);
        if (pooled(o) && i >= o->extra) dd_cov_pool(s);
    }
    (global(o) ? dd_cov_global : dd_cov_flatten)(s);
}

const dd_kernel_kind dd_kernel_conv = {
    .name = "conv",
    .title = "convolutional, infinitely wide",
    .options = options,
    .opts_size = sizeof(conv),
    .pools = pools,
    .entry = entry,
    .check = check,
    .build = build,
};
