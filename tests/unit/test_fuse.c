/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups and blocks of channels change no result: random graphs of pointwise steps, reductions, pooling and
 * convolutions, and networks to their second derivative with a parameter written in place, on the cpu backend with and
 * without them, and on the reference. */
#include "judge.h"

enum { INPUTS = 6, GRAPHS = 200, STEPS = 28 };

/* ---- random graphs, of more elements than one block ---- */

/* Images swapped by halves: a value that is written piece by piece. */
static dd_val swapped(dd_graph *g, dd_val x)
{
    const dd_shape s = dd_shape_of(g, x);
    const int64_t half = s.dim[0] / 2, zero[4] = {0}, from[4] = {half}, step[4] = {1, 1, 1, 1};
    const int64_t head[4] = {half, s.dim[1], s.dim[2], s.dim[3]};
    const int64_t tail[4] = {s.dim[0] - half, s.dim[1], s.dim[2], s.dim[3]};
    if (half == 0) return x;
    const dd_val parts[2] = {dd_slice(g, x, from, tail, step), dd_slice(g, x, zero, head, step)};
    return dd_concat(g, 2, parts, 0);
}

/* The gradient of the sum of squares of y. */
static dd_val slope(dd_graph *g, dd_val y, dd_val x)
{
    dd_val d;
    dd_grad(g, dd_dot(g, y, dd_scale(g, y, 0.05)), 1, &x, &d);
    return d;
}

static dd_val random_step(dd_graph *g, dd_key k, const dd_val *pool, int n, dd_dtype t, int64_t channels)
{
    static const dd_pool_attr halving = {{2, 2}, {2, 2}, {0, 0}};
    static const int turned[4] = {0, 1, 3, 2};
    const dd_val x = pool[dd_key_below(k, 0, (uint64_t)n)];
    const dd_shape s = dd_shape_of(g, x);
    dd_val y = pool[dd_key_below(k, 1, (uint64_t)n)];
    const dd_shape r = dd_shape_of(g, y);
    bool fits = s.rank == r.rank;
    for (int i = 0; fits && i < s.rank; i++) fits = r.dim[i] == s.dim[i] || r.dim[i] == 1;
    y = fits ? dd_expand(g, y, s) : dd_full(g, t, s, 0.5);
    const bool plane = s.dim[2] > 2 && s.dim[3] > 2;
    const uint64_t kinds = channels < 16 ? 26 : 40; /* more convolutions where they may take blocks */
    switch (dd_key_below(k, 2, kinds)) {
    case 0: return dd_add(g, x, y);
    case 1: return dd_sub(g, x, y);
    case 2: return dd_mul(g, x, y);
    case 3: return dd_div(g, x, dd_addc(g, dd_square(g, y), 1));
    case 4: return dd_max(g, x, y);
    case 5: return dd_relu(g, dd_addc(g, x, -0.5));
    case 6: return dd_tanh(g, x);
    case 7: return dd_select(g, dd_lt(g, x, y), y, x);
    case 8: return plane ? dd_mean(g, x, 4u | 8u) : dd_scale(g, x, 0.5);
    case 9: return plane ? dd_maxr(g, x, 4u | 8u) : dd_neg(g, x);
    case 10: return plane ? dd_mean(g, dd_mul(g, x, y), 4u | 8u) : dd_mul(g, x, x);
    case 11: return plane ? dd_avgpool(g, x, halving) : dd_sqrt(g, dd_addc(g, dd_square(g, x), 1));
    case 12: return plane ? dd_scale(g, dd_mean(g, x, 1u | 4u | 8u), 0.5) : dd_addc(g, x, 0.25);
    case 13: return s.dim[1] > 1 ? dd_mean(g, x, 2u) : dd_scale(g, x, 0.75);
    case 14: return s.dim[1] > 1 ? dd_mean(g, x, 2u | 4u | 8u) : dd_mul(g, x, y);
    case 15: return dd_flip(g, x, (unsigned)dd_key_below(k, 3, 16));
    case 16: return s.dim[2] == s.dim[3] ? dd_permute(g, x, turned) : x;
    case 17: return swapped(g, x);
    case 18: return plane ? dd_sub(g, x, dd_mean(g, x, 4u | 8u)) : dd_cos(g, x);
    case 19:
    case 20: return dd_tanh(g, convolved(g, x, t, s.dim[1] == 1 ? channels : s.dim[1]));
    case 21:
    case 22:
    case 23:
    case 24: return s.dim[1] > 1 && plane ? slope(g, convolved(g, x, t, s.dim[1] == channels ? 3 : channels), x) : x;
    case 25: return s.dim[2] == 4 ? dd_sumpool_t(g, x, halving, 8, 8) : dd_flip(g, x, 8u);
    default: return plane ? dd_tanh(g, convolved(g, dd_addc(g, x, 0.1), t, channels)) : dd_addc(g, x, 0.1);
    }
}

/* Returns the number of tensors in blocks. */
static int64_t one_random_graph(uint64_t seed, dd_dtype t, int64_t n, int64_t c, int64_t *groups)
{
    const dd_shape shapes[INPUTS] = {{4, {n, c, 8, 8}}, {4, {n, c, 8, 8}}, {4, {n, c, 1, 1}},
                                     {4, {1, c, 1, 1}}, {4, {n, c, 4, 4}}, {4, {n, 1, 8, 8}}};
    const dd_key key = dd_key_seed(seed);
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    dd_val pool[INPUTS + STEPS];
    char name[8];
    for (int i = 0; i < INPUTS; i++) {
        snprintf(name, sizeof name, "x%d", i);
        pool[i] = input(g, &v, name, t, shapes[i], key);
    }
    for (int i = 0; i < STEPS; i++)
        pool[INPUTS + i] = random_step(g, dd_key_at(key, "step", (uint64_t)i), pool, INPUTS + i, t, c);
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "y%d", i);
        const int at = i == 0 ? STEPS - 1 : (int)dd_key_below(dd_key_at(key, "output", 0), (uint64_t)i, STEPS);
        output(g, &v, name, dd_mul(g, pool[INPUTS + at], dd_full(g, t, dd_shape_of(g, pool[INPUTS + at]), 1.5)));
    }
    const int64_t blocked = judge(g, &v, t == DD_F32 ? 2e-4 : 1e-11, groups).blocked;
    free_all(&v);
    dd_graph_free(g);
    return blocked;
}

static void random_graphs(void **state)
{
    (void)state;
    int64_t groups, grouped = 0;
    for (uint64_t i = 0; i < GRAPHS; i++) {
        one_random_graph(i, i % 3 ? DD_F32 : DD_F64, 60, 5, &groups);
        grouped += groups > 0;
    }
    assert_true(grouped > GRAPHS / 2);
}

static void random_graphs_of_many_channels(void **state)
{
    (void)state;
    int64_t groups, blocked = 0;
    for (uint64_t i = 0; i < GRAPHS / 2; i++)
        blocked += one_random_graph(1000 + i, DD_F32, 7, i % 3 ? 16 * (int64_t)(i % 3) : 24, &groups) > 0;
    print_message("%d of %d graphs have tensors in blocks\n", (int)blocked, (int)GRAPHS / 2);
    if (has_vectors()) assert_true(blocked > GRAPHS / 16); /* those of first layers are never in memory */
}

/* A group that would compute A again passes B, which it also reads with the channels in reverse. */
static void a_value_on_the_way_is_read_flipped(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(2);
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F64, DD_SHAPE(60, 5, 8, 8), key),
                 u = input(g, &v, "u", DD_F64, DD_SHAPE(60, 5, 1, 1), key);
    const dd_val b = dd_tanh(g, dd_sub(g, x, dd_mean(g, x, 4u | 8u)));
    const dd_val a = dd_sin(g, dd_add(g, b, dd_expand(g, u, DD_SHAPE(60, 5, 8, 8))));
    const dd_val c = convolved(g, dd_mul(g, x, dd_expand(g, dd_sum(g, a, 4u | 8u), DD_SHAPE(60, 5, 8, 8))), DD_F64, 0);
    const dd_val back = dd_flip(g, b, 2u);
    const dd_val y = dd_tanh(g, dd_mul(g, dd_add(g, dd_mul(g, c, a), back), dd_square(g, back)));
    output(g, &v, "y", dd_scale(g, dd_sum(g, y, 4u | 8u), 0.5));
    judge(g, &v, 1e-11, &groups);
    assert_true(groups > 1);
    free_all(&v);
    dd_graph_free(g);
}

/* h could be computed again from x, but an output was written into x's tensor meanwhile. */
static void a_leaf_is_overwritten_in_between(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(3);
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_shape s = DD_SHAPE(60, 5, 8, 8);
    const dd_val x = input(g, &v, "x", DD_F64, s, key);
    const dd_val h = dd_tanh(g, dd_sub(g, x, dd_mean(g, x, 4u | 8u)));
    const dd_val a = dd_sin(g, dd_sub(g, h, dd_mean(g, h, 4u | 8u)));
    const dd_val c = convolved(g, dd_addc(g, a, 1), DD_F64, 0);
    output(g, &v, "new", c);
    dd_tensor_fini(&v.t[1]);
    v.t[1] = dd_tensor_view(DD_F64, s, v.t[0].data);
    output(g, &v, "y", dd_scale(g, dd_sum(g, dd_tanh(g, dd_mul(g, h, convolved(g, c, DD_F64, 0))), 4u | 8u), 0.5));
    judge(g, &v, 1e-11, &groups);
    assert_true(groups > 1);
    free_all(&v);
    dd_graph_free(g);
}

/* k could take over the memory of c, which it reads last and in step, but a member before it reads c turned. */
static void an_operand_is_read_turned_by_another_member(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(4);
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F64, DD_SHAPE(60, 5, 8, 8), key);
    const dd_val c = convolved(g, x, DD_F64, 0);
    const dd_val turned = dd_tanh(g, dd_flip(g, c, 1u | 2u));
    const dd_val k = dd_add(g, dd_mul(g, c, dd_mean(g, turned, 4u | 8u)), c);
    output(g, &v, "y", convolved(g, k, DD_F64, 0));
    judge(g, &v, 1e-11, &groups);
    assert_true(groups > 0);
    free_all(&v);
    dd_graph_free(g);
}

/* As above, but the member before k is only computed by its reader, after k. */
static void an_operand_is_read_again_by_a_reader_that_computes(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(5);
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F64, DD_SHAPE(60, 5, 8, 8), key);
    const dd_val c = convolved(g, x, DD_F64, 0);
    const dd_val centred = dd_sub(g, c, dd_mean(g, c, 4u | 8u));
    const dd_val k = dd_mul(g, c, x);
    const dd_val s = dd_sum(g, dd_mul(g, centred, dd_tanh(g, k)), 4u | 8u);
    output(g, &v, "y", convolved(g, k, DD_F64, 0));
    output(g, &v, "s", dd_scale(g, s, 0.5));
    judge(g, &v, 1e-11, &groups);
    assert_true(groups > 0);
    free_all(&v);
    dd_graph_free(g);
}

/* Every form that a reader can compute, in both precisions: a row and a number in all orders, a STEP on either side. */
static void readers_compute(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const dd_dtype t = i ? DD_F32 : DD_F64;
        const dd_key key = dd_key_seed(6);
        const dd_shape s = DD_SHAPE(60, 5, 9, 9);
        int64_t groups;
        tensors v = {0};
        dd_graph *g = dd_graph_new();
        const dd_val x = input(g, &v, "x", t, s, key), z = input(g, &v, "z", t, s, key);
        const dd_val u = dd_expand(g, input(g, &v, "u", t, DD_SHAPE(60, 5, 1, 1), key), s),
                     w = dd_expand(g, input(g, &v, "w", t, DD_SHAPE(5, 1, 1), key), s);
        const dd_val a = dd_neg(g, dd_mul(g, dd_sub(g, w, dd_div(g, dd_add(g, x, u), w)), u)),
                     b = dd_sub(g, dd_mul(g, u, z), w), c = dd_add(g, dd_sub(g, z, dd_mean(g, z, 4u | 8u)), w);
        const dd_val gate = dd_step(g, dd_sub(g, c, u));
        output(g, &v, "y0", dd_scale(g, dd_sum(g, dd_mul(g, gate, a), 4u | 8u), 0.25));
        output(g, &v, "y1", dd_scale(g, dd_sum(g, dd_square(g, b), 4u | 8u), 0.25));
        output(g, &v, "y2", dd_scale(g, dd_mean(g, a, 4u | 8u), 3));
        output(g, &v, "y3", convolved(g, dd_add(g, dd_mul(g, b, gate), dd_sub(g, a, c)), t, 0));
        output(g, &v, "y4", convolved(g, dd_mul(g, b, u), t, 0));
        judge(g, &v, t == DD_F32 ? 2e-4 : 1e-11, &groups);
        assert_true(groups > 0);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* Numbers whose product leaves the floats, zero and infinity: the result is that of the steps one by one. */
static void readers_compute_at_the_edge(void **state)
{
    static const double first[] = {1e30, 1e-25, 1e-20, 0, HUGE_VAL, 1e30, 3},
                        second[] = {1e20, 1e-25, 1e-20, 0, 2, 1e-30, 0};
    (void)state;
    for (size_t k = 0; k < DD_LEN(first); k++) {
        const dd_shape s = DD_SHAPE(60, 5, 8, 8);
        int64_t groups;
        tensors v = {.edge = true};
        dd_graph *g = dd_graph_new();
        const dd_val x = input(g, &v, "x", DD_F32, s, dd_key_seed(7));
        const dd_val i = input(g, &v, "u", DD_F32, DD_SHAPE(60, 5, 1, 1), dd_key_seed(8)),
                     j = input(g, &v, "w", DD_F32, DD_SHAPE(5, 1, 1), dd_key_seed(9));
        const dd_val u = dd_expand(g, i, s), w = dd_expand(g, j, s);
        for (int64_t e = 0; e < 300; e++) dd_f32(&v.t[1])[e] = (float)first[k];
        for (int64_t e = 0; e < 5; e++) dd_f32(&v.t[2])[e] = (float)second[k];
        const dd_val a = dd_mul(g, dd_mul(g, dd_addc(g, x, -0.5), u), w),
                     b = dd_div(g, dd_div(g, dd_sub(g, u, x), u), w);
        output(g, &v, "y0", dd_scale(g, dd_sum(g, dd_tanh(g, dd_add(g, a, x)), 4u | 8u), 0.25));
        output(g, &v, "y1", dd_scale(g, dd_sum(g, dd_tanh(g, dd_mul(g, b, x)), 4u | 8u), 0.25));
        output(g, &v, "y2", convolved(g, dd_tanh(g, dd_sub(g, x, a)), DD_F32, 0));
        judge(g, &v, 2e-4, &groups);
        assert_true(groups > 0);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* Max pooling to its second derivative, by the loops for windows: usual widths and others, planes that they do not
 * cover, values that are equal within a window. */
static void windows(void **state)
{
    static const int64_t sides[][2] = {{28, 28}, {10, 10}, {12, 13}, {9, 32}, {7, 5}, {2, 2}, {40, 46}};
    static const dd_pool_attr halving = {{2, 2}, {2, 2}, {0, 0}};
    (void)state;
    for (size_t i = 0; i < DD_LEN(sides); i++) {
        const dd_shape s = DD_SHAPE(17, 3, sides[i][0], sides[i][1]);
        const dd_key key = dd_key_seed(30 + i);
        int64_t groups;
        tensors v = {0};
        dd_graph *g = dd_graph_new();
        const dd_val x = input(g, &v, "x", DD_F32, s, key), t = input(g, &v, "t", DD_F32, s, key);
        for (int64_t e = 0; e < dd_shape_count(s); e += 3) dd_f32(&v.t[0])[e] = 0.75f;
        dd_val d, dd;
        const dd_val y = dd_maxpool(g, x, halving);
        dd_grad(g, dd_sum_all(g, dd_mul(g, y, dd_square(g, y))), 1, &x, &d);
        dd_grad(g, dd_dot(g, dd_stop(g, t), d), 1, &x, &dd);
        output(g, &v, "y", y);
        output(g, &v, "d", d);
        output(g, &v, "dd", dd);
        judge(g, &v, 1e-5, &groups);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* ---- a network ---- */

static dd_val block(dd_graph *g, dd_val x, dd_val w, dd_val scale, dd_val shift)
{
    const dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    const dd_pool_attr pool = {{2, 2}, {2, 2}, {0, 0}};
    const dd_val n = dd_normalize(g, dd_conv(g, x, w, conv), 4u | 8u, 1e-5);
    return dd_avgpool(g, dd_relu(g, dd_add(g, dd_mul(g, n, scale), shift)), pool);
}

/* Gradient matching's shape: the gradient of the squared norm of a gradient, and a step of the weights in place. */
static void network(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(1);
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F64, DD_SHAPE(12, 2, 16, 16), key),
                 w1 = input(g, &v, "w1", DD_F64, DD_SHAPE(6, 2, 3, 3), key),
                 w2 = input(g, &v, "w2", DD_F64, DD_SHAPE(6, 6, 3, 3), key),
                 s1 = input(g, &v, "s1", DD_F64, DD_SHAPE(6, 1, 1), key),
                 t1 = input(g, &v, "t1", DD_F64, DD_SHAPE(6, 1, 1), key),
                 w3 = input(g, &v, "w3", DD_F64, DD_SHAPE(4, 96), key),
                 y = input(g, &v, "y", DD_F64, DD_SHAPE(12, 4), key);
    const dd_val h = block(g, block(g, x, w1, s1, t1), w2, s1, t1);
    const dd_val loss = dd_xent(g, dd_matmul(g, dd_reshape(g, h, DD_SHAPE(12, 96)), w3, false, true), y);
    const dd_val wrt[5] = {w1, w2, s1, t1, w3};
    dd_val d[5], dx;
    dd_grad(g, loss, 5, wrt, d);
    dd_val norm = dd_const(g, DD_F64, 0);
    for (int i = 0; i < 5; i++) norm = dd_add(g, norm, dd_dot(g, d[i], d[i]));
    dd_grad(g, norm, 1, &x, &dx);
    output(g, &v, "loss", loss);
    output(g, &v, "dx", dx);
    output(g, &v, "d2", d[1]);
    output(g, &v, "new", dd_sub(g, w2, dd_scale(g, d[1], 0.01))); /* written into w2 itself below */
    dd_tensor_fini(&v.t[v.n - 1]);
    v.t[v.n - 1] = dd_tensor_view(DD_F64, v.t[2].shape, v.t[2].data);
    judge(g, &v, 1e-9, &groups);
    assert_true(groups > 4);
    free_all(&v);
    dd_graph_free(g);
}

/* Loss and gradients of a ConvNet-3 with images of odd tiles, its tensors between convolutions in blocks. */
static void in_blocks(dd_graph *g, tensors *v, int64_t channels, int64_t side, int64_t c)
{
    const dd_key key = dd_key_seed(3);
    const int64_t last = side / 8, f = c * last * last;
    const dd_val x = input(g, v, "x", DD_F32, DD_SHAPE(6, channels, side, side), key);
    const dd_val s = input(g, v, "s", DD_F32, DD_SHAPE(c, 1, 1), key),
                 t = input(g, v, "t", DD_F32, DD_SHAPE(c, 1, 1), key);
    const dd_val w1 = input(g, v, "w1", DD_F32, DD_SHAPE(c, channels, 3, 3), key),
                 w2 = input(g, v, "w2", DD_F32, DD_SHAPE(c, c, 3, 3), key),
                 w3 = input(g, v, "w3", DD_F32, DD_SHAPE(c, c, 3, 3), key);
    const dd_val head = input(g, v, "head", DD_F32, DD_SHAPE(4, f), key),
                 y = input(g, v, "y", DD_F32, DD_SHAPE(6, 4), key);
    const dd_val h = block(g, block(g, block(g, x, dd_addc(g, w1, -0.75), s, t), dd_addc(g, w2, -0.75), s, t),
                           dd_addc(g, w3, -0.75), s, t);
    const dd_val logits =
        dd_scale(g, dd_matmul(g, dd_reshape(g, h, DD_SHAPE(6, f)), dd_addc(g, head, -0.75), false, true), 0.1);
    const dd_val loss = dd_xent(g, logits, y), wrt[4] = {x, w1, w2, w3};
    dd_val d[4];
    dd_grad(g, loss, 4, wrt, d);
    output(g, v, "loss", loss);
    output(g, v, "dx", d[0]);
    output(g, v, "dw1", d[1]);
    output(g, v, "dw2", d[2]);
    output(g, v, "dw3", d[3]);
}

static double distance(const double *a, const double *b, int64_t n)
{
    double gap = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        gap += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(gap / size);
}

/* bf16 halves what lies between convolutions, and rounds it to 8 bits. */
static void half_precision(void **state)
{
    static const int64_t cases[][3] = {/* channels, side, width */ {1, 32, 32},
                                       {3, 24, 48},
                                       {4, 28, 16},
                                       {1, 8, 32},
                                       {3, 12, 64}}; /* the last two end in one pixel */
    (void)state;
    for (size_t i = 0; has_vectors() && i < DD_LEN(cases); i++) {
        tensors v = {0};
        dd_backend *b = NULL;
        dd_program_stats wide, narrow;
        int64_t n, groups;
        dd_graph *g = dd_graph_new();
        in_blocks(g, &v, cases[i][0], cases[i][1], cases[i][2]);
        judge(g, &v, 5e-4, &groups);
        ok(dd_backend_open(&b, "cpu", 2));
        double *x = run(g, &v, b, 0, &n, &wide);
        ok(dd_backend_precision(b, "bf16"));
        double *y = run(g, &v, b, 0, &n, &narrow);
        const double off = distance(y, x, n);
        print_message("bf16: off by %.2g, arena %lld of %lld bytes, %lld tensors in blocks\n", off,
                      (long long)narrow.arena, (long long)wide.arena, (long long)narrow.blocked);
        assert_true(wide.blocked >= 6);
        assert_true(off > 1e-5 && off < 0.05);
        assert_true(narrow.arena <= wide.arena && (cases[i][1] < 16 || narrow.arena < wide.arena));
        dd_free(x);
        dd_free(y);
        dd_backend_close(b);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* A file that says that the library is faster for every shape: then its kernels are taken, and a program that recalls
 * what was known before has ours again. */
static void tuned(void **state)
{
    char path[] = "/tmp/attar-tune-XXXXXX", before[64];
    const int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    snprintf(before, sizeof before, "%s.before", path);
    tensors v = {0};
    dd_backend *b = NULL;
    dd_program_stats ours, theirs, again;
    dd_tune_row rows[64];
    int64_t n;
    dd_graph *g = dd_graph_new();
    in_blocks(g, &v, 3, 16, 32);
    ok(dd_backend_open(&b, "ref", 1));
    assert_int_equal(dd_backend_tune(b, path), DD_EUNSUPPORTED);
    dd_backend_close(b);
    ok(dd_backend_open(&b, "cpu", 1));
    double *x = run(g, &v, b, 0, &n, &ours);
    const dd_status can = dd_backend_tune(b, path);
    assert_int_equal(can, has_vectors() ? DD_OK : DD_EUNSUPPORTED);
    if (can == DD_OK) {
        double *y = run(g, &v, b, 0, &n, &again);
        compare(x, y, n, 5e-4, false);
        const int known = dd_backend_tune_rows(b, rows, 64);
        assert_true(known >= 8); /* three convolutions, three passes, some alike */
        ok(dd_backend_remember(b, before));
        FILE *f = fopen(path, "r+");
        char header[600];
        assert_non_null(f);
        assert_non_null(fgets(header, sizeof header, f));
        assert_int_equal(fseek(f, (long)strlen(header), SEEK_SET), 0);
        for (int i = 0; i < known; i++) fprintf(f, "%s\t1\t0.5\n", rows[i].shape);
        assert_int_equal(ftruncate(fileno(f), ftell(f)), 0);
        assert_int_equal(fclose(f), 0);
        ok(dd_backend_tune(b, path));
        double *z = run(g, &v, b, 0, &n, &theirs);
        compare(x, z, n, 5e-4, false);
        assert_true(ours.blocked > 0 && theirs.blocked == 0);
        ok(dd_backend_recall(b, before));
        double *w = run(g, &v, b, 0, &n, &again);
        assert_int_equal(memcmp(y, w, (size_t)n * sizeof *w), 0);
        f = fopen(before, "w");
        assert_non_null(f);
        fputs("attar-tune-1 of another machine\nconv\t1\t2\n", f);
        fclose(f);
        assert_int_equal(dd_backend_recall(b, before), DD_EFORMAT);
        dd_free(y);
        dd_free(z);
        dd_free(w);
    }
    unlink(path);
    unlink(before);
    dd_free(x);
    dd_backend_close(b);
    free_all(&v);
    dd_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs),
                                       cmocka_unit_test(random_graphs_of_many_channels),
                                       cmocka_unit_test(a_value_on_the_way_is_read_flipped),
                                       cmocka_unit_test(a_leaf_is_overwritten_in_between),
                                       cmocka_unit_test(an_operand_is_read_turned_by_another_member),
                                       cmocka_unit_test(an_operand_is_read_again_by_a_reader_that_computes),
                                       cmocka_unit_test(readers_compute),
                                       cmocka_unit_test(readers_compute_at_the_edge),
                                       cmocka_unit_test(windows),
                                       cmocka_unit_test(network),
                                       cmocka_unit_test(half_precision),
                                       cmocka_unit_test(tuned)};
    return cmocka_run_group_tests_name("fuse", tests, NULL, NULL);
}
