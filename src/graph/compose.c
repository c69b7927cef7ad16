/* SPDX-License-Identifier: Apache-2.0
 *
 * Compositions: activations, norms, pools and losses as plain sub-graphs. None of them is an op, so none needs a
 * derivative of its own. Knows base and tensor. */
#include "graph/graph_internal.h"

static dd_val splat(dd_graph *g, dd_val a, double c)
{
    return dd_full(g, dd_dtype_of(g, a), dd_shape_of(g, a), c);
}

dd_val dd_scale(dd_graph *g, dd_val a, double c)
{
    return a.id ? dd_mul(g, a, splat(g, a, c)) : a;
}

dd_val dd_addc(dd_graph *g, dd_val a, double c)
{
    return a.id ? dd_add(g, a, splat(g, a, c)) : a;
}

dd_val dd_square(dd_graph *g, dd_val a)
{
    return dd_mul(g, a, a);
}

dd_val dd_relu(dd_graph *g, dd_val a)
{
    return dd_mul(g, a, dd_step(g, a));
}

dd_val dd_leaky_relu(dd_graph *g, dd_val a, double slope)
{
    /* slope + (1-slope)*STEP(a): one mask, the same convention at 0 as ReLU */
    return dd_mul(g, a, dd_addc(g, dd_scale(g, dd_step(g, a), 1 - slope), slope));
}

dd_val dd_sigmoid(dd_graph *g, dd_val a)
{
    /* (1 + tanh(a/2))/2 overflows nowhere */
    return dd_scale(g, dd_addc(g, dd_tanh(g, dd_scale(g, a, 0.5)), 1), 0.5);
}

dd_val dd_swish(dd_graph *g, dd_val a)
{
    return dd_mul(g, a, dd_sigmoid(g, a));
}

dd_val dd_gelu(dd_graph *g, dd_val a)
{
    return dd_mul(g, a, dd_scale(g, dd_addc(g, dd_erf(g, dd_scale(g, a, 0.70710678118654752440)), 1), 0.5));
}

static int64_t extent(const dd_graph *g, dd_val a, unsigned axes)
{
    const dd_shape s = dd_shape_of(g, a);
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++)
        if (axes >> i & 1u) n *= s.dim[i];
    return n;
}

dd_val dd_mean(dd_graph *g, dd_val a, unsigned axes)
{
    return dd_scale(g, dd_sum(g, a, axes), 1.0 / (double)extent(g, a, axes));
}

static unsigned all_axes(const dd_graph *g, dd_val a)
{
    return (1u << dd_shape_of(g, a).rank) - 1u;
}

dd_val dd_sum_all(dd_graph *g, dd_val a)
{
    return dd_reshape(g, dd_sum(g, a, all_axes(g, a)), DD_SCALAR);
}

dd_val dd_mean_all(dd_graph *g, dd_val a)
{
    return dd_scale(g, dd_sum_all(g, a), 1.0 / (double)extent(g, a, all_axes(g, a)));
}

dd_val dd_avgpool(dd_graph *g, dd_val x, dd_pool_attr a)
{
    return dd_scale(g, dd_sumpool(g, x, a), 1.0 / (double)(a.kernel[0] * a.kernel[1]));
}

dd_val dd_maxpool(dd_graph *g, dd_val x, dd_pool_attr a)
{
    const dd_val at = dd_pool_argmax(g, x, a);
    if (!at.id) return at;
    const dd_shape s = dd_shape_of(g, x), o = dd_shape_of(g, at);
    const dd_val flat = dd_reshape(g, x, DD_SHAPE(s.dim[0], s.dim[1], s.dim[2] * s.dim[3]));
    const dd_val pos = dd_reshape(g, at, DD_SHAPE(o.dim[0], o.dim[1], o.dim[2] * o.dim[3]));
    return dd_reshape(g, dd_gather_along(g, flat, pos), o);
}

dd_val dd_normalize(dd_graph *g, dd_val x, unsigned axes, double eps)
{
    const dd_val d = dd_sub(g, x, dd_mean(g, x, axes));
    const dd_val v = dd_mean(g, dd_square(g, d), axes);
    return dd_div(g, d, dd_sqrt(g, dd_addc(g, v, eps)));
}

dd_val dd_log_softmax(dd_graph *g, dd_val z)
{
    const unsigned last = 1u << (dd_shape_of(g, z).rank - 1);
    const dd_val d = dd_sub(g, z, dd_stop(g, dd_maxr(g, z, last)));
    return dd_sub(g, d, dd_log(g, dd_sum(g, dd_exp(g, d), last)));
}

dd_val dd_xent(dd_graph *g, dd_val logits, dd_val target)
{
    if (!logits.id || !target.id || dd_shape_of(g, logits).rank != 2)
        return dd_poison(g, DD_EINVAL, "cross-entropy needs logits [N,K] and targets [N,K]");
    const double n = (double)dd_shape_of(g, logits).dim[0];
    return dd_scale(g, dd_sum_all(g, dd_mul(g, target, dd_log_softmax(g, logits))), -1.0 / n);
}

dd_val dd_mse(dd_graph *g, dd_val a, dd_val b)
{
    return dd_mean_all(g, dd_square(g, dd_sub(g, a, b)));
}

dd_val dd_dot(dd_graph *g, dd_val a, dd_val b)
{
    return dd_sum_all(g, dd_mul(g, a, b));
}

dd_val dd_one_hot(dd_graph *g, dd_val labels, int64_t classes, dd_dtype t)
{
    if (!labels.id || dd_shape_of(g, labels).rank != 1) return dd_poison(g, DD_EINVAL, "one-hot needs labels [N]");
    const int64_t n = dd_shape_of(g, labels).dim[0];
    const dd_val column = dd_reshape(g, dd_cast(g, labels, t), DD_SHAPE(n, 1));
    return dd_eq(g, column, dd_iota(g, t, DD_SHAPE(n, classes), 1));
}

dd_val dd_eye(dd_graph *g, dd_dtype t, int64_t n)
{
    return dd_eq(g, dd_iota(g, t, DD_SHAPE(n, n), 0), dd_iota(g, t, DD_SHAPE(n, n), 1));
}
