/* SPDX-License-Identifier: Apache-2.0
 *
 * MLP: flatten, two hidden layers of 128, linear; the field's plainest network. Knows the builder. */
#include "nn/net_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct mlp_opts {
    int64_t depth, width;
    char act[DD_OPT_TEXT];
} mlp_opts;

static const dd_option options[] = {
    {"depth", DD_OPT_INT, offsetof(mlp_opts, depth), "2", 1, 8, NULL, "Hidden layers."},
    {"width", DD_OPT_INT, offsetof(mlp_opts, width), "128", 1, 65536, NULL, "Units of a hidden layer."},
    {"act", DD_OPT_CHOICE, offsetof(mlp_opts, act), "relu", 0, 0, DD_ACT_CHOICES, "Activation."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static dd_val build(dd_builder *b, const void *opts, dd_val x)
{
    const mlp_opts *o = opts;
    char name[16];
    x = dd_layer_flatten(b, x);
    for (int i = 1; i <= (int)o->depth; i++) {
        snprintf(name, sizeof name, "fc%d", i);
        x = dd_layer_map(b, dd_layer_act(b, dd_layer_linear(b, name, x, o->width), o->act));
    }
    return dd_layer_head(b, "linear", x);
}

static bool kernel(const void *opts, dd_image im, char *spec, size_t size)
{
    const mlp_opts *o = opts;
    (void)im;
    if (strcmp(o->act, "relu") != 0) return false;
    snprintf(spec, size, "fc:depth=%" PRId64 ",kind=nngp", o->depth);
    return true;
}

const dd_net_kind dd_net_mlp = {
    "mlp", "MLP: fully connected, hidden layers of equal width", options, sizeof(mlp_opts), NULL, build, kernel};
