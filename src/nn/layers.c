/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers networks are made of: each takes its parameters from the builder and adds nodes to the graph.
 * Batch norm also leaves the batch's statistics with the builder. Knows graph and the builder. */
#include "nn/net_internal.h"

#include <stdio.h>
#include <string.h>

#define NORM_EPS 1e-5

static dd_val named(dd_builder *b, const char *name, const char *suffix, dd_shape s, dd_init init, int64_t fan_in)
{
    char full[32];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return dd_param(b, full, s, init, fan_in);
}

dd_val dd_layer_linear(dd_builder *b, const char *name, dd_val x, int64_t out)
{
    const int64_t in = dd_shape_of(b->g, x).dim[1];
    const dd_val w = named(b, name, "w", DD_SHAPE(out, in), DD_INIT_UNIFORM, in);
    const dd_val bias = named(b, name, "b", DD_SHAPE(out), DD_INIT_UNIFORM, in);
    return dd_add(b->g, dd_matmul(b->g, x, w, false, true), bias);
}

dd_val dd_layer_conv(dd_builder *b, const char *name, dd_val x, int64_t out, int kernel, int pad)
{
    const int64_t in = dd_shape_of(b->g, x).dim[1], fan_in = in * kernel * kernel;
    const dd_val w = named(b, name, "w", DD_SHAPE(out, in, kernel, kernel), DD_INIT_UNIFORM, fan_in);
    const dd_val bias = named(b, name, "b", DD_SHAPE(out), DD_INIT_UNIFORM, fan_in);
    const dd_conv_attr a = {{1, 1}, {pad, pad}, {1, 1}, 1};
    return dd_add(b->g, dd_conv(b->g, x, w, a), dd_reshape(b->g, bias, DD_SHAPE(1, out, 1, 1)));
}

int dd_layer_first_pad(dd_image im)
{
    return im.c == 1 && im.h == 28 && im.w == 28 ? 3 : 1;
}

/* y * scale + shift with parameters of shape `s`, seen as `view` */
static dd_val affine(dd_builder *b, const char *name, dd_val y, dd_shape s, dd_shape view)
{
    const dd_val scale = named(b, name, "scale", s, DD_INIT_ONE, 0);
    const dd_val shift = named(b, name, "shift", s, DD_INIT_ZERO, 0);
    return dd_add(b->g, dd_mul(b->g, y, dd_reshape(b->g, scale, view)), dd_reshape(b->g, shift, view));
}

static dd_val group_norm(dd_graph *g, dd_val x, dd_shape s)
{
    const dd_shape split = DD_SHAPE(s.dim[0], DD_NORM_GROUPS, s.dim[1] / DD_NORM_GROUPS, s.dim[2], s.dim[3]);
    return dd_reshape(g, dd_normalize(g, dd_reshape(g, x, split), 4u | 8u | 16u, NORM_EPS), s);
}

static dd_val frozen(dd_builder *b, int64_t offset, int64_t channels)
{
    const int64_t one = 1;
    const dd_val v = dd_slice(b->g, b->stats, &offset, &channels, &one);
    return dd_reshape(b->g, v, DD_SHAPE(1, channels, 1, 1));
}

static dd_val batch_norm(dd_builder *b, dd_val x, dd_shape s)
{
    dd_graph *g = b->g;
    const unsigned axes = 1u | 4u | 8u;
    const int64_t c = s.dim[1], at = b->stat_offset;
    if (b->norms == DD_NET_MAX_NORMS) {
        b->overflow = true;
        return x;
    }
    const int k = b->norms++;
    if (b->sizing) b->sizing->norm_channels[k] = c;
    b->stat_offset += 2 * c;
    if (b->stats.id) {
        const dd_val sd = dd_sqrt(g, dd_addc(g, frozen(b, at + c, c), NORM_EPS));
        return dd_div(g, dd_sub(g, x, frozen(b, at, c)), sd);
    }
    /* the batch's variance is biased for normalising, unbiased for the running estimate */
    const double n = (double)(s.dim[0] * s.dim[2] * s.dim[3]);
    const dd_val m = dd_mean(g, x, axes);
    const dd_val v = dd_mean(g, dd_square(g, dd_sub(g, x, m)), axes);
    b->stat_out[2 * k] = dd_reshape(g, m, DD_SHAPE(c));
    b->stat_out[2 * k + 1] = dd_scale(g, dd_reshape(g, v, DD_SHAPE(c)), n > 1 ? n / (n - 1) : 1);
    return dd_normalize(g, x, axes, NORM_EPS);
}

dd_val dd_layer_norm(dd_builder *b, const char *name, dd_val x, const char *norm)
{
    const dd_shape s = dd_shape_of(b->g, x), channels = DD_SHAPE(s.dim[1]), view = DD_SHAPE(1, s.dim[1], 1, 1);
    if (!x.id || !strcmp(norm, "none")) return x;
    if (!strcmp(norm, "layer")) {
        const dd_shape all = DD_SHAPE(s.dim[1], s.dim[2], s.dim[3]);
        return affine(b, name, dd_normalize(b->g, x, 2u | 4u | 8u, NORM_EPS), all,
                      DD_SHAPE(1, s.dim[1], s.dim[2], s.dim[3]));
    }
    dd_val y;
    if (!strcmp(norm, "batch"))
        y = batch_norm(b, x, s);
    else if (!strcmp(norm, "group"))
        y = group_norm(b->g, x, s);
    else
        y = dd_normalize(b->g, x, 4u | 8u, NORM_EPS);
    return affine(b, name, y, channels, view);
}

dd_val dd_layer_act(dd_builder *b, dd_val x, const char *act)
{
    if (!strcmp(act, "leaky_relu")) return dd_leaky_relu(b->g, x, 0.01);
    if (!strcmp(act, "sigmoid")) return dd_sigmoid(b->g, x);
    if (!strcmp(act, "swish")) return dd_swish(b->g, x);
    if (!strcmp(act, "tanh")) return dd_tanh(b->g, x);
    if (!strcmp(act, "gelu")) return dd_gelu(b->g, x);
    return dd_relu(b->g, x);
}

dd_val dd_layer_map(dd_builder *b, dd_val x)
{
    if (b->nmaps == DD_NET_MAPS)
        b->overflow = true;
    else
        b->maps[b->nmaps++] = x;
    return x;
}

static dd_val pooled(dd_builder *b, dd_val x, const char *pool)
{
    const dd_pool_attr a = {{2, 2}, {2, 2}, {0, 0}};
    if (!strcmp(pool, "none")) return x;
    return !strcmp(pool, "max") ? dd_maxpool(b->g, x, a) : dd_avgpool(b->g, x, a);
}

dd_val dd_layer_act_pool(dd_builder *b, dd_val x, const char *act, const char *pool)
{
    const bool exchange = !strcmp(pool, "max") && !strcmp(act, "relu");
    const dd_val y = dd_layer_map(b, dd_layer_act(b, x, act));
    return exchange ? dd_layer_act(b, pooled(b, x, pool), act) : pooled(b, y, pool);
}

dd_val dd_layer_flatten(dd_builder *b, dd_val x)
{
    const dd_shape s = dd_shape_of(b->g, x);
    if (!x.id) return x;
    return dd_reshape(b->g, x, DD_SHAPE(s.dim[0], dd_shape_count(s) / s.dim[0]));
}

dd_val dd_layer_head(dd_builder *b, const char *name, dd_val x)
{
    b->features = x;
    return dd_layer_linear(b, name, x, b->net->classes);
}
