/* SPDX-License-Identifier: Apache-2.0
 *
 * LeNet: two 5x5 convolutions with max pooling, then 120, 84 and the classes. Its first convolution pads 2 for
 * one-channel images, so that 28x28 and 3x32x32 both reach 16 maps of 5x5. Knows the builder. */
#include "nn/net_internal.h"

#include <inttypes.h>

typedef struct lenet_opts {
    char act[DD_OPT_TEXT], pool[DD_OPT_TEXT];
} lenet_opts;

static const dd_option options[] = {
    {"act", DD_OPT_CHOICE, offsetof(lenet_opts, act), "relu", 0, 0, DD_ACT_CHOICES, "Activation."},
    {"pool", DD_OPT_CHOICE, offsetof(lenet_opts, pool), "max", 0, 0, "max|avg", "Pooling, 2x2."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static dd_status check(const void *opts, dd_image im)
{
    (void)opts;
    const int64_t least = im.c == 1 ? 12 : 16;
    if (im.h >= least && im.w >= least) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "lenet needs images of at least %" PRId64 "x%" PRId64 " pixels, these are %" PRId64 "x%" PRId64
                   "; use mlp or a shallow convnet",
                   least, least, im.h, im.w);
}

static dd_val build(dd_builder *b, const void *opts, dd_val x)
{
    const lenet_opts *o = opts;
    x = dd_layer_conv(b, "conv1", x, 6, 5, b->net->image.c == 1 ? 2 : 0);
    x = dd_layer_act_pool(b, x, o->act, o->pool);
    x = dd_layer_conv(b, "conv2", x, 16, 5, 0);
    x = dd_layer_flatten(b, dd_layer_act_pool(b, x, o->act, o->pool));
    x = dd_layer_map(b, dd_layer_act(b, dd_layer_linear(b, "fc1", x, 120), o->act));
    x = dd_layer_map(b, dd_layer_act(b, dd_layer_linear(b, "fc2", x, 84), o->act));
    return dd_layer_head(b, "linear", x);
}

const dd_net_kind dd_net_lenet = {
    "lenet", "LeNet: two 5x5 convolutions and three linear layers", options, sizeof(lenet_opts), check, build, NULL};
