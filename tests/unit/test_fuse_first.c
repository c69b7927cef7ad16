/* SPDX-License-Identifier: Apache-2.0
 *
 * A first convolution, of few channels, belongs to the row group that reads it: forwards, back and in an unrolled step,
 * with the memory that saves, and where it may not. */
#include "judge.h"

static const int64_t few_channels[][6] = {/* n c o side pad kernel */ {60, 1, 16, 32, 1, 3},
                                          {7, 1, 11, 28, 3, 3},
                                          {9, 3, 8, 14, 1, 3},
                                          {33, 2, 9, 6, 0, 3},
                                          {11, 4, 16, 8, 1, 3},
                                          {3, 4, 8, 40, 2, 3},
                                          {9, 1, 6, 28, 2, 5},
                                          {5, 2, 7, 14, 1, 5},
                                          {9, 3, 16, 14, 1, 5},
                                          {7, 6, 16, 14, 0, 5},
                                          {6, 3, 48, 16, 1, 3},
                                          {5, 2, 22, 14, 1, 3}};

/* With a smooth activation, since gradients are compared. */
static dd_val first_layer(dd_graph *g, tensors *v, const int64_t *k, bool biased, bool smooth, dd_val wrt[3])
{
    static const dd_pool_attr pool = {{2, 2}, {2, 2}, {0, 0}};
    const int pad = (int)k[4];
    const dd_conv_attr conv = {{1, 1}, {pad, pad}, {1, 1}, 1};
    const dd_key key = dd_key_seed(10);
    const dd_val x = input(g, v, "x", DD_F32, DD_SHAPE(k[0], k[1], k[3], k[3]), key),
                 w = input(g, v, "w", DD_F32, DD_SHAPE(k[2], k[1], k[5], k[5]), key),
                 u = input(g, v, "u", DD_F32, DD_SHAPE(k[2], 1, 1), key);
    dd_val y = dd_conv(g, x, w, conv);
    if (biased) y = dd_add(g, y, dd_expand(g, u, dd_shape_of(g, y)));
    y = dd_mul(g, dd_normalize(g, y, 4u | 8u, 1e-5), dd_expand(g, u, dd_shape_of(g, y)));
    wrt[0] = w;
    wrt[1] = u;
    wrt[2] = x;
    return dd_avgpool(g, smooth ? dd_mul(g, y, dd_sigmoid(g, y)) : dd_relu(g, y), pool);
}

static int64_t plane_bytes(const int64_t *k)
{
    const int64_t side = k[3] + 2 * k[4] - k[5] + 1;
    return k[0] * k[2] * side * side * (int64_t)sizeof(float);
}

/* The first layer of a test: its output, which the group alone reads, needs no memory. Channels that a block of rows
 * does not divide, sides that vectors do not. */
static void a_first_convolution_joins(void **state)
{
    (void)state;
    for (size_t i = 0; i < DD_LEN(few_channels); i++)
        for (int biased = 0; biased < 2; biased++) {
            const int64_t *k = few_channels[i];
            int64_t groups;
            tensors v = {0};
            dd_val unused[3];
            dd_graph *g = dd_graph_new();
            output(g, &v, "y", first_layer(g, &v, k, biased, false, unused));
            const dd_program_stats with = judge(g, &v, 2e-4, &groups);
            assert_true(groups > 0);
            if (i == 0 && has_vectors()) assert_true(2 * with.arena < plane_bytes(k));
            free_all(&v);
            dd_graph_free(g);
        }
}

/* Its groups forwards and back compute it each for itself, and the gradients of its weights and of the images read the
 * last one's blocks: no plane is in memory. */
static void gradients_of_a_first_convolution_join(void **state)
{
    (void)state;
    for (size_t i = 0; i < DD_LEN(few_channels); i++)
        for (int wrt = 2; wrt < 4; wrt++) {
            const int64_t *k = few_channels[i];
            int64_t groups;
            tensors v = {0};
            dd_val x[3], d[3];
            dd_graph *g = dd_graph_new();
            const dd_val y = convolved(g, first_layer(g, &v, k, true, true, x), DD_F32, 0);
            dd_grad(g, dd_dot(g, y, dd_scale(g, y, 0.01)), wrt, x, d);
            if (wrt == 3) d[2] = dd_tanh(g, d[2]); /* an output may be bound to what x is */
            for (int j = 0; j < wrt; j++) output(g, &v, (const char *[]){"w'", "u'", "x'"}[j], d[j]);
            const dd_program_stats with = judge(g, &v, 5e-4, &groups);
            assert_true(groups > 0);
            const int64_t images = wrt == 3 ? k[0] * k[1] * k[3] * k[3] * (int64_t)sizeof(float) : 0;
            if (i == 0 && has_vectors()) assert_true(with.arena < plane_bytes(k) + images);
            free_all(&v);
            dd_graph_free(g);
        }
}

/* An unrolled step backwards: a direction p among the weights, which is first needed behind the group. */
static void a_direction_is_made_before_the_group(void **state)
{
    (void)state;
    for (size_t i = 0; i < DD_LEN(few_channels); i++) {
        const int64_t *k = few_channels[i];
        int64_t groups;
        tensors v = {0};
        dd_val x[3], d, dx;
        dd_graph *g = dd_graph_new();
        const dd_val p = input(g, &v, "p", DD_F32, DD_SHAPE(k[2], k[1], k[5], k[5]), dd_key_seed(12));
        const dd_val y = convolved(g, first_layer(g, &v, k, true, true, x), DD_F32, 0);
        dd_grad(g, dd_dot(g, y, dd_scale(g, y, 0.01)), 1, x, &d);
        dd_grad(g, dd_dot(g, dd_stop(g, dd_neg(g, p)), d), 1, &x[2], &dx);
        output(g, &v, "dx", dd_scale(g, dx, 2));
        const dd_program_stats with = judge(g, &v, 2e-3, &groups);
        assert_true(groups > 0);
        if (i == 0 && has_vectors()) assert_true(with.arena < 2 * plane_bytes(k)); /* not the planes that dx reads */
        free_all(&v);
        dd_graph_free(g);
    }
}

/* Two gradients of what one group makes: the second one's direction is made between them, and of the images only some
 * are asked for or all. */
static void two_gradients_and_a_direction_between_them(void **state)
{
    (void)state;
    const dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    const dd_key key = dd_key_seed(13);
    for (int channels = 12; channels <= 32; channels += 20) {
        int64_t arena[2];
        for (int part = 0; part < 2; part++) {
            const int64_t n = 8, to = part ? n / 2 : n, zero[4] = {0}, step[4] = {1, 1, 1, 1};
            const int64_t some[4] = {to, channels, 16, 16};
            const dd_shape ws = DD_SHAPE(channels, 3, 3, 3);
            int64_t groups;
            tensors v = {0};
            dd_graph *g = dd_graph_new();
            const dd_val x = input(g, &v, "x", DD_F32, DD_SHAPE(n, 3, 16, 16), key),
                         p = input(g, &v, "p", DD_F32, ws, key),
                         z = input(g, &v, "z", DD_F32, DD_SHAPE(n, channels, 16, 16), key);
            const dd_val u = dd_tanh(g, dd_mul(g, z, dd_sub(g, z, dd_mean(g, z, 4u | 8u))));
            const dd_val dw = dd_conv_dw(g, x, u, conv, 3, 3);
            const dd_val w = dd_neg(g, p); /* after dw, before dx */
            const dd_val seen = part ? dd_slice(g, u, zero, some, step) : u;
            const dd_val dx = dd_conv_dx(g, seen, w, conv, 16, 16);
            output(g, &v, "dw", dw);
            output(g, &v, "dx", dd_tanh(g, dx));
            arena[part] = judge(g, &v, 2e-3, &groups).arena;
            assert_true(groups > 0);
            free_all(&v);
            dd_graph_free(g);
        }
        if (channels == 32 && has_vectors())
            assert_true(arena[0] < arena[1]); /* all of u is asked for: not in memory */
    }
}

/* A gated row goes to its pool through a spare row, which is there without any numbers of rows, beside a convolution's
 * image and without one. */
static void a_gate_is_pooled_without_numbers(void **state)
{
    static const int64_t cases[][4] = {/* n c o side */ {6, 3, 32, 32}, {60, 1, 32, 32}, {6, 6, 32, 16}};
    const dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    const dd_pool_attr pool = {{2, 2}, {2, 2}, {0, 0}};
    (void)state;
    for (size_t i = 0; i < DD_LEN(cases); i++) {
        const int64_t *k = cases[i], size = k[0] * k[1] * k[3] * k[3];
        int64_t groups;
        tensors v = {0};
        dd_graph *g = dd_graph_new();
        const dd_val x = input(g, &v, "x", DD_F32, DD_SHAPE(k[0], k[1], k[3], k[3]), dd_key_seed(12)),
                     w = input(g, &v, "w", DD_F32, DD_SHAPE(k[2], k[1], 3, 3), dd_key_seed(13));
        for (int64_t e = 0; e < size; e++) dd_f32(&v.t[0])[e] -= 0.75f;
        output(g, &v, "y", dd_avgpool(g, dd_relu(g, dd_conv(g, x, w, conv)), pool));
        output(g, &v, "z", dd_avgpool(g, dd_relu(g, x), pool));
        judge(g, &v, 2e-4, &groups);
        assert_true(groups > 0);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* The target of an enlarging pool takes over the buffer of what the row before it is made from. */
static void a_row_is_enlarged_into_its_own_operand(void **state)
{
    const dd_key key = dd_key_seed(14);
    const dd_shape small = DD_SHAPE(40, 16, 8, 8);
    const dd_pool_attr pool = {{2, 2}, {2, 2}, {0, 0}};
    int64_t groups;
    tensors v = {0};
    (void)state;
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F32, small, key), z = input(g, &v, "z", DD_F32, small, key),
                 s = input(g, &v, "s", DD_F32, DD_SHAPE(40, 16, 1, 1), key);
    const dd_val t = dd_add(g, dd_mul(g, dd_tanh(g, x), dd_expand(g, s, small)), z);
    const dd_val y = dd_tanh(g, dd_sumpool_t(g, t, pool, 16, 16));
    output(g, &v, "y", dd_scale(g, dd_sum(g, y, 4u | 8u), 0.5));
    judge(g, &v, 2e-4, &groups);
    assert_true(groups > 0);
    free_all(&v);
    dd_graph_free(g);
}

/* One of them joins: a group has one image at a time. In both orders of size. */
static void two_first_convolutions_are_read_by_a_group(void **state)
{
    const dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    (void)state;
    for (int order = 0; order < 3; order++) {
        const dd_key key = dd_key_seed(15);
        const int64_t a = order == 1 ? 4 : 1, b = order == 2 ? 4 : 1;
        int64_t groups;
        tensors v = {0};
        dd_graph *g = dd_graph_new();
        const dd_val x = input(g, &v, "x", DD_F32, DD_SHAPE(6, a, 32, 32), key),
                     z = input(g, &v, "z", DD_F32, DD_SHAPE(6, b, 32, 32), key),
                     w = input(g, &v, "w", DD_F32, DD_SHAPE(8, a, 3, 3), key),
                     u = input(g, &v, "u", DD_F32, DD_SHAPE(8, b, 3, 3), key);
        const dd_val y = dd_add(g, dd_conv(g, x, w, conv), dd_conv(g, z, u, conv));
        output(g, &v, "y", dd_scale(g, dd_sum(g, dd_tanh(g, dd_scale(g, y, 0.1)), 4u | 8u), 0.5));
        judge(g, &v, 2e-4, &groups);
        assert_true(groups > 0);
        free_all(&v);
        dd_graph_free(g);
    }
}

/* The group comes after w was written, so the convolution cannot wait for it. */
static void a_first_convolution_cannot_wait(void **state)
{
    (void)state;
    const dd_key key = dd_key_seed(11);
    const dd_conv_attr conv = {{1, 1}, {1, 1}, {1, 1}, 1};
    int64_t groups;
    tensors v = {0};
    dd_graph *g = dd_graph_new();
    const dd_val x = input(g, &v, "x", DD_F32, DD_SHAPE(20, 1, 16, 16), key),
                 w = input(g, &v, "w", DD_F32, DD_SHAPE(8, 1, 3, 3), key);
    const dd_val y = dd_conv(g, x, w, conv), next = dd_mul(g, w, dd_addc(g, w, 1));
    const dd_val mean = dd_reshape(g, dd_mean(g, next, 2u | 4u | 8u), DD_SHAPE(8, 1, 1));
    const dd_val number = dd_expand(g, mean, dd_shape_of(g, y));
    output(g, &v, "new", next); /* into w itself */
    dd_tensor_fini(&v.t[2]);
    v.t[2] = dd_tensor_view(DD_F32, v.t[1].shape, v.t[1].data);
    output(g, &v, "y",
           dd_scale(g, dd_sum(g, dd_tanh(g, dd_mul(g, y, dd_tanh(g, dd_add(g, y, number)))), 4u | 8u), 0.5));
    judge(g, &v, 2e-4, &groups);
    assert_true(groups > 0);
    free_all(&v);
    dd_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_first_convolution_joins),
                                       cmocka_unit_test(gradients_of_a_first_convolution_join),
                                       cmocka_unit_test(a_direction_is_made_before_the_group),
                                       cmocka_unit_test(two_gradients_and_a_direction_between_them),
                                       cmocka_unit_test(a_gate_is_pooled_without_numbers),
                                       cmocka_unit_test(a_row_is_enlarged_into_its_own_operand),
                                       cmocka_unit_test(two_first_convolutions_are_read_by_a_group),
                                       cmocka_unit_test(a_first_convolution_cannot_wait)};
    return cmocka_run_group_tests_name("fuse_first", tests, NULL, NULL);
}
