/* SPDX-License-Identifier: Apache-2.0
 *
 * What a network is to the builder: a row of options, a check and one function that runs twice, first on a scratch
 * graph to learn which parameters there are, then on the real graph with views of theta.
 * Knows exec, graph, tensor, base; seen by nn/ only. */
#ifndef ATTAR_NN_NET_INTERNAL_H
#define ATTAR_NN_NET_INTERNAL_H
#include "attar/net.h"

enum { DD_NET_MAX_PARAMS = 128, DD_NET_MAX_NORMS = 32 };

typedef enum dd_init { DD_INIT_UNIFORM, DD_INIT_ONE, DD_INIT_ZERO } dd_init;

/* Options that every network has. */
typedef struct dd_net_common {
    char init[DD_OPT_TEXT];
} dd_net_common;

typedef struct dd_net_slot {
    dd_param_info info;
    char name[32];
    dd_init init;
    double bound; /* UNIFORM: on +-bound */
} dd_net_slot;

typedef struct dd_builder {
    dd_graph *g;
    const dd_net *net;
    dd_net *sizing; /* the net being measured in the first run, else NULL */
    dd_val theta, stats;
    int next, norms;
    int64_t stat_offset;
    dd_val stat_out[2 * DD_NET_MAX_NORMS];
    dd_val features, maps[DD_NET_MAPS];
    int nmaps;
    bool overflow; /* more parameters, norms or maps than the tables hold */
} dd_builder;

typedef struct dd_net_kind {
    const char *name, *title;
    const dd_option *options;
    size_t opts_size;
    dd_status (*check)(const void *opts, dd_image image); /* DD_EINVAL for an image that does not fit; may be NULL */
    dd_val (*build)(dd_builder *b, const void *opts, dd_val x);
    /* The NNGP kernel of the network grown infinitely wide, as dd_kernel_open takes it; false: there is none. May be
     * NULL, for the same. */
    bool (*kernel)(const void *opts, dd_image image, char *spec, size_t size);
} dd_net_kind;

struct dd_net {
    const dd_net_kind *kind;
    void *opts;
    dd_net_common common;
    char *spec;
    dd_image image;
    int64_t classes, size, features, nstats;
    int nparams, nnorms, nmaps;
    int64_t map_size[DD_NET_MAPS];
    dd_net_slot slot[DD_NET_MAX_PARAMS];
    int64_t norm_channels[DD_NET_MAX_NORMS]; /* batch norms, in the order of stats */
};

/* The next parameter tensor, in the order of theta. fan_in matters to UNIFORM only. */
dd_val dd_param(dd_builder *b, const char *name, dd_shape shape, dd_init init, int64_t fan_in);

/* layers.c: `name` is the prefix of the parameters' names. */
dd_val dd_layer_linear(dd_builder *b, const char *name, dd_val x, int64_t out);
dd_val dd_layer_conv(dd_builder *b, const char *name, dd_val x, int64_t out, int kernel, int pad);
/* Padding of a first 3x3 convolution: 3 for images of 1x28x28, which makes them 32x32, else 1. */
int dd_layer_first_pad(dd_image im);
/* norm: none, batch, layer, instance, group (4 groups) */
dd_val dd_layer_norm(dd_builder *b, const char *name, dd_val x, const char *norm);
/* act: DD_ACT_CHOICES */
dd_val dd_layer_act(dd_builder *b, dd_val x, const char *act);
/* x itself, which becomes the map of the next hidden layer. */
dd_val dd_layer_map(dd_builder *b, dd_val x);
/* The activation, whose values are a map, then 2x2 pooling with stride 2: avg, max, none. Of ReLUs the largest is that
 * of the largest: a quarter of them then, and the same gradients, since none flows where a window's largest value is 0.
 */
dd_val dd_layer_act_pool(dd_builder *b, dd_val x, const char *act, const char *pool);
dd_val dd_layer_flatten(dd_builder *b, dd_val x);
/* The last linear layer; its input becomes the features. */
dd_val dd_layer_head(dd_builder *b, const char *name, dd_val x);

#define DD_ACT_CHOICES "relu|leaky_relu|sigmoid|swish|tanh|gelu"
#define DD_NORM_GROUPS 4
#endif
