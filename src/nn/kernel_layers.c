/* SPDX-License-Identifier: Apache-2.0
 *
 * What each layer makes of covariances, as plain sub-graphs, so that images, and whatever the kernel is put into, have
 * gradients of any order (Cho, Saul 2009 for ReLU; Novak et al. 2019 for convolutions). Knows graph. */
#include "nn/kernel_internal.h"

void dd_cov_dense(dd_covariances *s)
{
    dd_graph *g = s->g;
    s->k = dd_addc(g, dd_scale(g, s->k, s->w2), s->b2);
    s->a = dd_addc(g, dd_scale(g, s->a, s->w2), s->b2);
    s->b = s->same ? s->a : dd_addc(g, dd_scale(g, s->b, s->w2), s->b2);
    s->q = s->q.id ? dd_add(g, s->k, dd_scale(g, s->q, s->w2)) : s->k;
}

/* (w2/9) times the sum over the nine offsets, by which both places of a pair move. */
static dd_val patches(const dd_covariances *s, dd_val x)
{
    const dd_shape shape = dd_shape_of(s->g, x);
    const int64_t *d = shape.dim, h = s->h, w = s->w;
    const dd_shape six = !s->full          ? DD_SHAPE(1, h, w, d[2] * d[3], 1, 1)
                         : shape.rank == 5 ? DD_SHAPE(d[0], h, w, 1, h, w)
                                           : shape;
    return dd_reshape(s->g, dd_scale(s->g, dd_patchsum(s->g, dd_reshape(s->g, x, six)), s->w2 / 9), shape);
}

void dd_cov_conv(dd_covariances *s)
{
    dd_graph *g = s->g;
    s->k = dd_addc(g, patches(s, s->k), s->b2);
    s->a = dd_addc(g, patches(s, s->a), s->b2);
    s->b = s->same ? s->a : dd_addc(g, patches(s, s->b), s->b2);
    s->q = s->q.id ? dd_add(g, s->k, patches(s, s->q)) : s->k;
}

/* v times x and y. Within one set in an order that gives a pair and its turned pair the same bits; else by one after
 * the other, which row groups do in passing. */
static dd_val twice_scaled(dd_graph *g, dd_val v, dd_val x, dd_val y, bool turns)
{
    return turns ? dd_mul(g, v, dd_mul(g, x, y)) : dd_mul(g, dd_mul(g, v, x), y);
}

/* k of variances a and b, which grow to its shape, becomes that of the ReLUs; *slope is E[relu' relu']. Where `equal`
 * is not 0 the two are one variable, k = a = b. */
static dd_val relu(const dd_covariances *s, dd_val k, dd_val a, dd_val b, dd_val equal, dd_val *slope)
{
    dd_graph *g = s->g;
    const dd_shape shape = dd_shape_of(g, k);
    const double smallest = s->dtype == DD_F64 ? 1e-200 : 1e-20;
    const dd_val least = dd_const(g, s->dtype, smallest), one = dd_const(g, s->dtype, 1);
    const dd_val x = dd_sqrt(g, dd_max(g, a, least)), y = dd_sqrt(g, dd_max(g, b, least)); /* deviations */
    dd_val cosine = twice_scaled(g, k, dd_div(g, one, x), dd_div(g, one, y), equal.id != 0);
    if (equal.id) cosine = dd_select(g, dd_expand(g, equal, shape), dd_full(g, s->dtype, shape, 1), cosine);
    *slope = dd_kappa0(g, cosine);
    const dd_val value = twice_scaled(g, dd_kappa1(g, cosine), x, y, equal.id != 0);
    if (s->b2 > smallest) return value;
    /* without biases something may have no variance: it has no covariance, either, only the derivative by it */
    const dd_val some = dd_mul(g, dd_lt(g, least, a), dd_lt(g, least, b));
    return dd_select(g, some, value, dd_scale(g, k, 0.25));
}

/* The diagonal [n,h,w] of [n,h,w,h,w]. */
static dd_val variances(const dd_covariances *s, dd_val a)
{
    const int64_t n = dd_shape_of(s->g, a).dim[0], p = s->h * s->w;
    const int64_t start[] = {0, 0}, count[] = {n, p}, stride[] = {1, p + 1};
    return dd_reshape(s->g, dd_slice(s->g, dd_reshape(s->g, a, DD_SHAPE(n, p * p)), start, count, stride),
                      DD_SHAPE(n, s->h, s->w));
}

/* The covariances of each image with itself, given their diagonal. */
static dd_val relu_itself(const dd_covariances *s, dd_val a, dd_val v)
{
    dd_graph *g = s->g;
    const int64_t n = dd_shape_of(g, a).dim[0], p = s->h * s->w;
    dd_val unused;
    const dd_val y =
        relu(s, dd_reshape(g, a, DD_SHAPE(n, p, p)), dd_reshape(g, v, DD_SHAPE(n, p, 1)),
             dd_reshape(g, v, DD_SHAPE(n, 1, p)), dd_reshape(g, dd_eye(g, s->dtype, p), DD_SHAPE(1, p, p)), &unused);
    return dd_reshape(g, y, dd_shape_of(g, a));
}

void dd_cov_relu(dd_covariances *s)
{
    dd_graph *g = s->g;
    const int64_t n = s->n, m = s->m, p = s->h * s->w;
    dd_val slope, equal = {0};
    if (s->full) {
        const dd_shape shape = dd_shape_of(g, s->k);
        const dd_val va = variances(s, s->a), vb = s->same ? va : variances(s, s->b);
        if (s->same) equal = dd_eye(g, s->dtype, n * p);
        const dd_val k = relu(s, dd_reshape(g, s->k, DD_SHAPE(n * p, m * p)), dd_reshape(g, va, DD_SHAPE(n * p, 1)),
                              dd_reshape(g, vb, DD_SHAPE(1, m * p)), equal, &slope);
        s->k = dd_reshape(g, k, shape);
        slope = dd_reshape(g, slope, shape);
        s->a = relu_itself(s, s->a, va);
        s->b = s->same ? s->a : relu_itself(s, s->b, vb);
    } else {
        if (s->same) equal = dd_reshape(g, dd_eye(g, s->dtype, n), DD_SHAPE(1, 1, n, n));
        const dd_val b = s->same ? dd_reshape(g, s->a, DD_SHAPE(s->h, s->w, 1, m)) : s->b;
        s->k = relu(s, s->k, s->a, b, equal, &slope);
        s->a = dd_scale(g, s->a, 0.5);
        s->b = s->same ? s->a : dd_scale(g, s->b, 0.5);
    }
    s->q = dd_mul(g, slope, s->q);
}

/* The first 2*(h/2) x 2*(w/2) of axes `at` and at+1 of x, averaged by twos. */
static dd_val halved(dd_graph *g, dd_val x, int at)
{
    dd_shape s = dd_shape_of(g, x);
    const int64_t h = s.dim[at] / 2, w = s.dim[at + 1] / 2;
    int64_t start[DD_MAX_RANK] = {0}, count[DD_MAX_RANK], stride[DD_MAX_RANK], before = 1, behind = 1;
    for (int i = 0; i < s.rank; i++) {
        count[i] = i == at ? 2 * h : i == at + 1 ? 2 * w : s.dim[i];
        stride[i] = 1;
        before *= i < at ? s.dim[i] : 1;
        behind *= i > at + 1 ? s.dim[i] : 1;
    }
    const int64_t tall = s.dim[at], wide = s.dim[at + 1];
    s.dim[at] = h;
    s.dim[at + 1] = w;
    if (behind == 1) { /* planes, for which there is a kernel */
        const dd_pool_attr halve = {{2, 2}, {2, 2}, {0, 0}};
        return dd_reshape(g, dd_avgpool(g, dd_reshape(g, x, DD_SHAPE(before, 1, tall, wide)), halve), s);
    }
    const dd_val parts = dd_reshape(g, dd_slice(g, x, start, count, stride), DD_SHAPE(before, h, 2, w, 2, behind));
    return dd_reshape(g, dd_mean(g, parts, 4u | 16u), s);
}

void dd_cov_pool(dd_covariances *s)
{
    dd_graph *g = s->g;
    s->k = halved(g, halved(g, s->k, 4), 1);
    s->q = halved(g, halved(g, s->q, 4), 1);
    s->a = halved(g, halved(g, s->a, 3), 1);
    s->b = s->same ? s->a : halved(g, halved(g, s->b, 3), 1);
    s->h /= 2;
    s->w /= 2;
}

/* Pairs [n,h,w,m,h,w] become [1,1,n,m]: the mean over equal places, or over all pairs of places. */
static dd_val read_pairs(const dd_covariances *s, dd_val x, bool all)
{
    dd_graph *g = s->g;
    const int64_t p = s->h * s->w;
    x = dd_reshape(g, x, DD_SHAPE(s->n, p, s->m, p));
    if (!all)
        x = dd_mul(g, x, dd_expand(g, dd_reshape(g, dd_eye(g, s->dtype, p), DD_SHAPE(1, p, 1, p)), dd_shape_of(g, x)));
    x = dd_scale(g, dd_sum(g, x, 2u | 8u), 1 / ((double)p * (all ? (double)p : 1)));
    return dd_reshape(g, x, DD_SHAPE(1, 1, s->n, s->m));
}

/* [n,h,w,h,w] becomes [n]. */
static dd_val read_each(const dd_covariances *s, dd_val a, bool all)
{
    return all ? dd_mean(s->g, a, 2u | 4u | 8u | 16u) : dd_mean(s->g, variances(s, a), 2u | 4u);
}

static void read(dd_covariances *s, bool all)
{
    dd_graph *g = s->g;
    if (s->full) {
        s->k = read_pairs(s, s->k, all);
        s->q = read_pairs(s, s->q, all);
        s->a = dd_reshape(g, read_each(s, s->a, all), DD_SHAPE(1, 1, s->n, 1));
        s->b = s->same ? s->a : dd_reshape(g, read_each(s, s->b, all), DD_SHAPE(1, 1, 1, s->m));
    } else {
        s->k = dd_mean(g, s->k, 1u | 2u);
        s->q = dd_mean(g, s->q, 1u | 2u);
        s->a = dd_mean(g, s->a, 1u | 2u);
        s->b = s->same ? s->a : dd_mean(g, s->b, 1u | 2u);
    }
    s->h = s->w = 1;
    s->full = false;
}

void dd_cov_flatten(dd_covariances *s)
{
    read(s, false);
}

void dd_cov_global(dd_covariances *s)
{
    read(s, true);
}
