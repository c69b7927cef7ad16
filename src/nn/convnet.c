/* SPDX-License-Identifier: Apache-2.0
 *
 * ConvNet, the field's standard network: depth x [3x3 convolution, norm, activation, 2x2 pool], linear
 * (Zhao, Mopuri, Bilen 2021). The first convolution pads 3 instead of 1 for images of 1x28x28, which makes them
 * 32x32 like everything the network was designed on; one-channel images of any other size (8x8 digits, say) are
 * padded as usual, since a wider frame would only dilute them. Knows the builder. */
#include "nn/net_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct convnet_opts {
    int64_t depth, width;
    char norm[DD_OPT_TEXT], act[DD_OPT_TEXT], pool[DD_OPT_TEXT];
} convnet_opts;

static const dd_option options[] = {
    {"depth", DD_OPT_INT, offsetof(convnet_opts, depth), "3", 1, 5, NULL,
     "Blocks; each halves the image when it pools."},
    {"width", DD_OPT_INT, offsetof(convnet_opts, width), "128", 1, 4096, NULL, "Filters of a convolution."},
    {"norm", DD_OPT_CHOICE, offsetof(convnet_opts, norm), "instance", 0, 0, "none|batch|layer|instance|group",
     "Normalisation; group has 4 groups."},
    {"act", DD_OPT_CHOICE, offsetof(convnet_opts, act), "relu", 0, 0, DD_ACT_CHOICES, "Activation."},
    {"pool", DD_OPT_CHOICE, offsetof(convnet_opts, pool), "avg", 0, 0, "avg|max|none", "Pooling, 2x2."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static dd_status check(const void *opts, dd_image im)
{
    const convnet_opts *o = opts;
    const int64_t grow = 2 * (dd_layer_first_pad(im) - 1), least = (int64_t)1 << o->depth;
    const int64_t side = (im.h < im.w ? im.h : im.w) + grow;
    if (!strcmp(o->norm, "group") && o->width % DD_NORM_GROUPS)
        return dd_fail(DD_EINVAL,
                       "group norm splits the filters into %d groups, width %" PRId64 " is no multiple of %d",
                       DD_NORM_GROUPS, o->width, DD_NORM_GROUPS);
    if (!strcmp(o->pool, "none") || side >= least) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "convnet of depth %" PRId64 " halves the image %" PRId64 " times and needs at least %" PRId64
                   " pixels a side, these are %" PRId64 "x%" PRId64 "; choose a smaller depth",
                   o->depth, o->depth, least, im.h, im.w);
}

static dd_val build(dd_builder *b, const void *opts, dd_val x)
{
    const convnet_opts *o = opts;
    char conv[16], norm[16];
    for (int i = 1; i <= (int)o->depth; i++) {
        snprintf(conv, sizeof conv, "conv%d", i);
        snprintf(norm, sizeof norm, "norm%d", i);
        x = dd_layer_conv(b, conv, x, o->width, 3, i == 1 ? dd_layer_first_pad(b->net->image) : 1);
        x = dd_layer_norm(b, norm, x, o->norm);
        x = dd_layer_act_pool(b, x, o->act, o->pool);
    }
    return dd_layer_head(b, "linear", dd_layer_flatten(b, x));
}

static bool kernel(const void *opts, dd_image im, char *spec, size_t size)
{
    const convnet_opts *o = opts;
    if (strcmp(o->norm, "none") != 0 || strcmp(o->act, "relu") != 0 || !strcmp(o->pool, "max")) return false;
    snprintf(spec, size, "conv:depth=%" PRId64 ",pool=%s,frame=%d,kind=nngp", o->depth, o->pool,
             dd_layer_first_pad(im) - 1);
    return true;
}

const dd_net_kind dd_net_convnet = {"convnet", "ConvNet: blocks of 3x3 convolution, norm, activation and pool",
                                    options,   sizeof(convnet_opts),
                                    check,     build,
                                    kernel};
