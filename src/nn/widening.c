/* SPDX-License-Identifier: Apache-2.0
 *
 * FRePo's ConvNet (Zhou, Nezhadarya, Ba 2022): depth x [norm, but for the first block; 3x3 convolution; activation; 2x2
 * average pool], linear. Each block has twice the filters of the one before. As ConvNet's, the first convolution makes
 * 32x32 of images of 1x28x28. Knows the builder. */
#include "nn/net_internal.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct widening {
    int64_t depth, width;
    char norm[DD_OPT_TEXT], act[DD_OPT_TEXT];
} widening;

static const dd_option options[] = {
    {"depth", DD_OPT_INT, offsetof(widening, depth), "3", 1, 6, NULL, "Blocks; each halves the image."},
    {"width", DD_OPT_INT, offsetof(widening, width), "128", 4, 1024, NULL, "Filters of the first convolution."},
    {"norm", DD_OPT_CHOICE, offsetof(widening, norm), "none", 0, 0, "none|batch|layer|instance|group",
     "Normalisation before a convolution; group has 4 groups."},
    {"act", DD_OPT_CHOICE, offsetof(widening, act), "relu", 0, 0, DD_ACT_CHOICES, "Activation."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static dd_status check(const void *opts, dd_image im)
{
    const widening *o = opts;
    const int64_t least = (int64_t)1 << o->depth, side = (im.h < im.w ? im.h : im.w) + 2 * (dd_layer_first_pad(im) - 1);
    if (o->width % DD_NORM_GROUPS)
        return dd_fail(DD_EINVAL, "width must be a multiple of %d, not %" PRId64, DD_NORM_GROUPS, o->width);
    if (side >= least) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "widening of depth %" PRId64 " halves the image as often and needs at least %" PRId64
                   " pixels a side, these are %" PRId64 "x%" PRId64 "; choose a smaller depth",
                   o->depth, least, im.h, im.w);
}

static dd_val build(dd_builder *b, const void *opts, dd_val x)
{
    const widening *o = opts;
    char conv[16], norm[16];
    for (int i = 0; i < (int)o->depth; i++) {
        snprintf(conv, sizeof conv, "conv%d", i + 1);
        snprintf(norm, sizeof norm, "norm%d", i + 1);
        if (i > 0) x = dd_layer_norm(b, norm, x, o->norm);
        x = dd_layer_conv(b, conv, x, o->width << i, 3, i == 0 ? dd_layer_first_pad(b->net->image) : 1);
        x = dd_layer_act_pool(b, x, o->act, "avg");
    }
    return dd_layer_head(b, "linear", dd_layer_flatten(b, x));
}

const dd_net_kind dd_net_widening = {
    "widening", "FRePo's ConvNet: filters double from block to block, norm comes first",
    options,    sizeof(widening),
    check,      build,
    NULL};
