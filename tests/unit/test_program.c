/* SPDX-License-Identifier: Apache-2.0
 *
 * The compiler and programs on the reference backend: small graphs against values computed by hand, and every graph
 * with passes left out against the same graph with all of them. */
#include "attar/program.h"
#include "base/memory.h"
#include "compile/compile.h"
#include "exec/program_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 512, NAMES = 6 };

typedef struct fixture {
    dd_graph *g;
    dd_backend *b;
    dd_program *p;
    float in[NAMES][MOST], out[NAMES][MOST];
} fixture;

static int setup(void **state)
{
    fixture *f = dd_alloc(1, sizeof *f);
    if (!f) return -1;
    f->g = dd_graph_new();
    for (int k = 0; k < NAMES; k++)
        for (int i = 0; i < MOST; i++) f->in[k][i] = 0.25f + 0.125f * (float)((i * 7 + k * 5) % 13);
    *state = f;
    return dd_backend_open(&f->b, "ref", 1) == DD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    dd_program_free(f->p);
    dd_graph_free(f->g);
    dd_backend_close(f->b);
    dd_free(f);
    return 0;
}

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static dd_val input(fixture *f, const char *name, dd_shape s)
{
    return dd_input(f->g, name, DD_F32, s);
}

static void bind(dd_program *p, const char *name, int64_t n, float *data)
{
    const dd_tensor t = dd_tensor_view(DD_F32, DD_SHAPE(n), data);
    ok(dd_bind(p, name, &t));
}

/* Inputs are "x0", "x1", ... and outputs "y0", "y1", ... with the counts of nx and ny. */
static void run_once(fixture *f, unsigned leave_out, int nx, const int64_t *x, int ny, const int64_t *y)
{
    dd_program_free(f->p);
    f->p = NULL;
    ok(dd_compile_with(&f->p, f->g, f->b, leave_out));
    char name[16];
    for (int i = 0; i < nx; i++) {
        snprintf(name, sizeof name, "x%d", i);
        bind(f->p, name, x[i], f->in[i]);
    }
    for (int i = 0; i < ny; i++) {
        snprintf(name, sizeof name, "y%d", i);
        bind(f->p, name, y[i], f->out[i]);
    }
    ok(dd_exec(f->p));
}

/* Runs with passes left out, then with all of them, twice; the outputs must agree. Leaves the full program in f->p. */
static void run_all(fixture *f, int nx, const int64_t *x, int ny, const int64_t *y)
{
    static const unsigned ways[] = {
        DD_NO_SIMPLIFY | DD_NO_PATTERNS, DD_NO_REUSE, DD_NO_PATTERNS, DD_NO_SIMPLIFY, DD_NO_FUSE, 0};
    float want[NAMES][MOST];
    ok(dd_graph_status(f->g));
    ok(dd_graph_verify(f->g));
    run_once(f, DD_NO_SIMPLIFY | DD_NO_PATTERNS | DD_NO_REUSE | DD_NO_FUSE, nx, x, ny, y);
    memcpy(want, f->out, sizeof want);
    for (size_t w = 0; w < DD_LEN(ways); w++) {
        memset(f->out, 0x7f, sizeof f->out);
        run_once(f, ways[w], nx, x, ny, y);
        ok(dd_exec(f->p));
        for (int k = 0; k < ny; k++)
            for (int64_t i = 0; i < y[k]; i++) assert_float_equal(f->out[k][i], want[k][i], 2e-4);
    }
}

#define COUNTS(...)                                                                                                    \
    (int64_t[])                                                                                                        \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

static void pointwise_broadcasts(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val a = input(f, "x0", DD_SHAPE(2, 3, 4)), b = input(f, "x1", DD_SHAPE(3, 1)),
                 c = input(f, "x2", DD_SCALAR);
    dd_output(g, "y0", dd_select(g, dd_lt(g, a, b), dd_mul(g, a, c), dd_addc(g, dd_scale(g, dd_neg(g, b), 2), 1)));
    dd_output(g, "y1", dd_iota(g, DD_F32, DD_SHAPE(2, 3), 1));
    run_all(f, 3, COUNTS(24, 3, 1), 2, COUNTS(24, 6));
    for (int i = 0; i < 24; i++) {
        const float x = f->in[0][i], y = f->in[1][i / 4 % 3], z = f->in[2][0];
        assert_float_equal(f->out[0][i], x < y ? x * z : 1 - 2 * y, 1e-6);
    }
    for (int i = 0; i < 6; i++) assert_float_equal(f->out[1][i], (float)(i % 3), 0);
}

static void views_move_elements(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val x = input(f, "x0", DD_SHAPE(4, 6));
    const int swap[] = {1, 0};
    const dd_val s = dd_slice(g, x, COUNTS(1, 0), COUNTS(2, 3), COUNTS(2, 2));
    dd_output(g, "y0", dd_flip(g, dd_permute(g, s, swap), 1));
    dd_output(g, "y1", dd_pad(g, s, COUNTS(1, 0), COUNTS(0, 1), COUNTS(1, 0)));
    dd_output(g, "y2", dd_sum(g, dd_square(g, dd_reshape(g, dd_permute(g, x, swap), DD_SHAPE(3, 8))), 2));
    run_all(f, 1, COUNTS(24), 3, COUNTS(6, 16, 3));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++)
            assert_float_equal(f->out[0][i * 2 + j], f->in[0][(1 + 2 * j) * 6 + 2 * (2 - i)], 0);
    for (int i = 0; i < 16; i++) {
        const int r = i / 4, q = i % 4;
        const float want = r % 2 == 1 && q < 3 ? f->in[0][r * 6 + 2 * q] : 0;
        assert_float_equal(f->out[1][i], want, 0);
    }
}

static void concat_writes_in_place(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val a = input(f, "x0", DD_SHAPE(2, 3)), b = input(f, "x1", DD_SHAPE(2, 2));
    dd_output(g, "y0", dd_concat(g, 3, (dd_val[]){dd_exp(g, a), b, dd_full(g, DD_F32, DD_SHAPE(2, 1), 7)}, 1));
    const dd_val rows[2] = {dd_exp(g, a), dd_square(g, a)};
    dd_output(g, "y1", dd_concat(g, 2, rows, 0));
    run_all(f, 2, COUNTS(6, 4), 2, COUNTS(12, 12));
    assert_float_equal(f->out[0][3], f->in[1][0], 0);
    assert_float_equal(f->out[0][5], 7, 0);
    assert_float_equal(f->out[1][6], f->in[0][0] * f->in[0][0], 1e-6);
}

/* theta' = theta - lr*v', v' = mu*v + dL/dtheta, bound to the tensors they replace. */
static void outputs_may_replace_inputs(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val th = input(f, "x0", DD_SHAPE(8)), v = input(f, "x1", DD_SHAPE(8)), lr = input(f, "x2", DD_SCALAR);
    dd_val d;
    dd_grad(g, dd_sum_all(g, dd_mul(g, dd_square(g, th), dd_exp(g, th))), 1, &th, &d);
    const dd_val v2 = dd_add(g, dd_scale(g, v, 0.5), d);
    dd_output(g, "y0", dd_sub(g, th, dd_mul(g, lr, v2)));
    dd_output(g, "y1", v2);
    run_all(f, 3, COUNTS(8, 8, 1), 2, COUNTS(8, 8));
    bind(f->p, "y0", 8, f->in[0]);
    bind(f->p, "y1", 8, f->in[1]);
    ok(dd_exec(f->p));
    assert_memory_equal(f->in[0], f->out[0], 8 * sizeof(float));
    assert_memory_equal(f->in[1], f->out[1], 8 * sizeof(float));
}

/* Two inputs exchanged and one transposed onto itself: every read comes before every write. */
static void outputs_that_are_inputs(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(3, 3)), b = input(f, "x1", DD_SHAPE(9)), c = input(f, "x2", DD_SHAPE(9));
    const int swap[] = {1, 0};
    dd_output(f->g, "y0", dd_permute(f->g, a, swap));
    dd_output(f->g, "y1", c);
    dd_output(f->g, "y2", b);
    run_all(f, 3, COUNTS(9, 9, 9), 3, COUNTS(9, 9, 9));
    for (int i = 0; i < 9; i++) assert_float_equal(f->out[0][i], f->in[0][i % 3 * 3 + i / 3], 0);
    for (int k = 0; k < 3; k++) bind(f->p, (const char *[]){"y0", "y1", "y2"}[k], 9, f->in[k]);
    ok(dd_exec(f->p));
    for (int k = 0; k < 3; k++) assert_memory_equal(f->in[k], f->out[k], 9 * sizeof(float));
}

static void one_value_two_names(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(5));
    const dd_val y = dd_exp(f->g, a);
    dd_output(f->g, "y0", y);
    dd_output(f->g, "y1", y);
    dd_output(f->g, "y2", dd_square(f->g, y));
    dd_output(f->g, "y3", dd_reshape(f->g, y, DD_SHAPE(1, 5)));
    run_all(f, 1, COUNTS(5), 4, COUNTS(5, 5, 5, 5));
    assert_memory_equal(f->out[0], f->out[1], 5 * sizeof(float));
    assert_memory_equal(f->out[0], f->out[3], 5 * sizeof(float));
}

static const dd_conv_attr same3 = {{1, 1}, {1, 1}, {1, 1}, 1};

static void bias_joins_the_contraction(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val x = input(f, "x0", DD_SHAPE(2, 3, 4, 4)), w = input(f, "x1", DD_SHAPE(5, 3, 3, 3)),
                 b = input(f, "x2", DD_SHAPE(5)), m = input(f, "x3", DD_SHAPE(80, 2)), mb = input(f, "x4", DD_SHAPE(2));
    const dd_val h = dd_add(g, dd_conv(g, x, w, same3), dd_reshape(g, b, DD_SHAPE(1, 5, 1, 1)));
    dd_output(g, "y0", h);
    dd_output(g, "y1", dd_add(g, mb, dd_matmul(g, dd_reshape(g, h, DD_SHAPE(2, 80)), m, false, false)));
    run_all(f, 5, COUNTS(96, 135, 5, 160, 2), 2, COUNTS(160, 4));
    assert_int_equal(dd_program_statistics(f->p).instrs, 3); /* CONV, a copy for the second reader or name, MATMUL */
    assert_true(dd_program_statistics(f->p).flop == 2.0 * 160 * 27 + 2.0 * 4 * 80);
}

static void transposes_become_flags(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val a = input(f, "x0", DD_SHAPE(4, 3)), b = input(f, "x1", DD_SHAPE(5, 4));
    const int swap[] = {1, 0};
    dd_output(g, "y0", dd_matmul(g, dd_permute(g, a, swap), dd_permute(g, b, swap), false, false));
    run_all(f, 2, COUNTS(12, 20), 1, COUNTS(15));
    assert_int_equal(dd_program_statistics(f->p).instrs, 1);
}

/* The flat gradient: slices of theta used one by one, their gradients written straight into the output. */
static void flat_gradient_costs_no_copies(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val th = input(f, "x0", DD_SHAPE(12)), x = input(f, "x1", DD_SHAPE(4));
    dd_val loss = dd_const(g, DD_F32, 0), d;
    for (int64_t i = 0; i < 2; i++) {
        const int64_t at = 1 + i * 5, n = 4;
        const dd_val w = dd_slice(g, th, &at, &n, NULL);
        loss = dd_add(g, loss, dd_sum_all(g, dd_mul(g, dd_square(g, dd_square(g, w)), x)));
    }
    dd_grad(g, loss, 1, &th, &d);
    dd_output(g, "y0", d);
    run_all(f, 2, COUNTS(12, 4), 1, COUNTS(12));
    for (int i = 0; i < 12; i++) {
        const int at = i % 5 - 1; /* gaps at 0, 5, 10 and 11 */
        const float t = f->in[0][i], want = at >= 0 && i < 10 ? 4 * t * t * t * f->in[1][at] : 0;
        assert_float_equal(f->out[0][i], want, 1e-4);
    }
}

static void solves_share_a_factor(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val x = input(f, "x0", DD_SHAPE(1, 3, 3)), b = input(f, "x1", DD_SHAPE(1, 3, 2));
    const dd_val a = dd_add(g, dd_matmul(g, x, x, false, true), dd_reshape(g, dd_eye(g, DD_F32, 3), DD_SHAPE(1, 3, 3)));
    const dd_val loss = dd_add(g, dd_sum_all(g, dd_spdsolve(g, a, b)), dd_sum_all(g, dd_logdet(g, a)));
    dd_val d[2];
    dd_grad(g, loss, 2, (dd_val[]){x, b}, d);
    dd_output(g, "y0", loss);
    dd_output(g, "y1", d[0]);
    dd_output(g, "y2", d[1]);
    run_all(f, 2, COUNTS(9, 6), 3, COUNTS(1, 9, 6));
}

static void sums_of_products_and_expansions(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val x = input(f, "x0", DD_SHAPE(3, 4, 5)), s = input(f, "x1", DD_SHAPE(4, 1));
    const dd_val wide = dd_expand(g, s, DD_SHAPE(3, 4, 5));
    dd_output(g, "y0", dd_sum(g, dd_mul(g, x, wide), 5));
    dd_output(g, "y1", dd_sum(g, wide, 3));
    dd_output(g, "y2", dd_sum(g, dd_sum(g, dd_scale(g, x, 3), 1), 4));
    dd_output(g, "y3", dd_maxr(g, dd_add(g, x, wide), 2));
    dd_output(g, "y4", dd_mul(g, dd_exp(g, wide), dd_addc(g, wide, 2)));
    run_all(f, 2, COUNTS(60, 4), 5, COUNTS(4, 5, 4, 15, 60));
    assert_float_equal(f->out[1][0], 3 * (f->in[1][0] + f->in[1][1] + f->in[1][2] + f->in[1][3]), 1e-5);
}

/* A number per row leaves a product where the graph needs the product without it, too, whichever comes first. */
static void numbers_leave_products(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_shape s = DD_SHAPE(3, 4, 5);
    const dd_val x = input(f, "x0", s), y = input(f, "x1", s);
    const dd_val c = dd_expand(g, input(f, "x2", DD_SHAPE(4, 1)), s),
                 d = dd_expand(g, input(f, "x3", DD_SHAPE(4, 1)), s);
    dd_output(g, "y0", dd_mul(g, dd_div(g, dd_mul(g, c, x), d), y));
    dd_output(g, "y1", dd_mul(g, x, y));
    dd_output(g, "y2", dd_mul(g, dd_mul(g, y, d), x));
    run_all(f, 4, COUNTS(60, 60, 4, 4), 3, COUNTS(60, 60, 60));
    assert_int_equal(dd_program_statistics(f->p).instrs, 4); /* x y, x y c, x y c / d, x y d */
}

/* A small network's second derivative: every pass has work, memory is reused a lot. */
static void network_gradient_of_gradient(void **state)
{
    fixture *f = *state;
    dd_graph *g = f->g;
    const dd_val x = input(f, "x0", DD_SHAPE(2, 1, 4, 4)), th = input(f, "x1", DD_SHAPE(82)),
                 y = input(f, "x2", DD_SHAPE(2, 2));
    const dd_val w = dd_reshape(g, dd_slice(g, th, COUNTS(0), COUNTS(36), NULL), DD_SHAPE(4, 1, 3, 3));
    const dd_val b = dd_reshape(g, dd_slice(g, th, COUNTS(36), COUNTS(4), NULL), DD_SHAPE(1, 4, 1, 1));
    const dd_val l = dd_reshape(g, dd_slice(g, th, COUNTS(40), COUNTS(32), NULL), DD_SHAPE(16, 2));
    const dd_pool_attr half = {{2, 2}, {2, 2}, {0, 0}};
    dd_val h = dd_add(g, dd_conv(g, x, w, same3), b);
    h = dd_avgpool(g, dd_swish(g, dd_normalize(g, h, 12, 0.1)), half);
    const dd_val loss = dd_xent(g, dd_matmul(g, dd_reshape(g, h, DD_SHAPE(2, 16)), l, false, false), y);
    dd_val dth, dx;
    dd_grad(g, loss, 1, &th, &dth);
    dd_grad(g, dd_dot(g, dth, dth), 1, &x, &dx);
    dd_output(g, "y0", loss);
    dd_output(g, "y1", dth);
    dd_output(g, "y2", dx);
    run_all(f, 3, COUNTS(32, 82, 4), 3, COUNTS(1, 82, 32));
    const dd_program_stats s = dd_program_statistics(f->p);
    assert_true(s.arena < s.unplanned);
    assert_true(s.instrs < s.nodes);
}

static void second_run_allocates_nothing(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(8));
    dd_output(f->g, "y0", dd_exp(f->g, dd_addc(f->g, dd_square(f->g, a), 1)));
    run_once(f, 0, 1, COUNTS(8), 1, COUNTS(8));
    dd_alloc_fail_after(1);
    const dd_status s = dd_exec(f->p);
    bind(f->p, "x0", 8, f->in[1]);
    const dd_status rebound = dd_exec(f->p);
    dd_alloc_fail_after(0);
    ok(s);
    ok(rebound);
}

/* tanh(x)^2 + tanh(x), then the mean of it: values that lie in the arena. */
static dd_program *squares(fixture *f, int64_t n, float *x, float *y)
{
    dd_program *p;
    dd_graph *g = dd_graph_new();
    const dd_val t = dd_tanh(g, dd_input(g, "x", DD_F32, DD_SHAPE(n))), s = dd_add(g, dd_square(g, t), t);
    dd_output(g, "y", dd_sub(g, dd_div(g, s, dd_exp(g, t)), dd_expand(g, dd_mean(g, s, 1u), DD_SHAPE(n))));
    ok(dd_compile(&p, g, f->b));
    dd_graph_free(g);
    bind(p, "x", n, x);
    bind(p, "y", n, y);
    return p;
}

/* A larger program moves the arena from under a smaller one, which finds it again. */
static void programs_share_their_memory(void **state)
{
    enum { LARGE = 1 << 20 };
    fixture *f = *state;
    float *x = dd_alloc(LARGE, sizeof *x), *y = dd_alloc(LARGE, sizeof *y), first[64];
    assert_true(x && y);
    for (int i = 0; i < LARGE; i++) x[i] = (float)(i % 7) * 0.25f;
    dd_program *small = squares(f, 64, f->in[0], f->out[0]);
    ok(dd_exec(small));
    memcpy(first, f->out[0], sizeof first);
    dd_program *large = squares(f, LARGE, x, y);
    for (int i = 0; i < 2; i++) {
        memset(f->out[0], 0, sizeof first);
        ok(dd_exec(small));
        assert_memory_equal(f->out[0], first, sizeof first);
        ok(dd_exec(large));
    }
    dd_program_free(large);
    ok(dd_exec(small));
    assert_memory_equal(f->out[0], first, sizeof first);
    dd_program_free(small);
    dd_free(x);
    dd_free(y);
}

static void every_failed_allocation_is_reported(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(8)), b = input(f, "x1", DD_SHAPE(8));
    dd_output(f->g, "y0", dd_concat(f->g, 2, (dd_val[]){dd_exp(f->g, a), dd_mul(f->g, a, b)}, 0));
    dd_status s = DD_ENOMEM;
    for (long n = 1; n < 500 && s != DD_OK; n++) {
        dd_alloc_fail_after(n);
        s = dd_compile(&f->p, f->g, f->b);
        dd_alloc_fail_after(0);
        if (s != DD_OK) {
            assert_int_equal(s, DD_ENOMEM);
            assert_null(f->p);
        }
    }
    ok(s);
}

static void wrong_bindings_are_named(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(2, 4));
    input(f, "unused", DD_SHAPE(3));
    dd_output(f->g, "y0", dd_exp(f->g, a));
    ok(dd_compile(&f->p, f->g, f->b));
    bind(f->p, "y0", 8, f->out[0]);
    assert_int_equal(dd_exec(f->p), DD_EINVAL);
    assert_string_equal(dd_last_error(),
                        "nothing is bound to input \"x0\", which needs f32 [2,4]: call dd_bind before dd_exec");
    const dd_tensor few = dd_tensor_view(DD_F32, DD_SHAPE(3, 2), f->in[0]);
    assert_int_equal(dd_bind(f->p, "x0", &few), DD_EINVAL);
    assert_string_equal(dd_last_error(),
                        "input \"x0\" is f32 [2,4] (8 elements), the tensor is f32 [3,2] (6 elements)");
    assert_int_equal(dd_bind(f->p, "z", &few), DD_ENOTFOUND);
    assert_string_equal(dd_last_error(), "the program has no input or output \"z\": it has x0, unused, y0");
    bind(f->p, "unused", 3, f->in[1]);
    bind(f->p, "x0", 8, f->in[0]);
    ok(dd_exec(f->p));
}

static void bad_graphs_are_refused(void **state)
{
    fixture *f = *state;
    const dd_val a = input(f, "x0", DD_SHAPE(2, 4));
    assert_int_equal(dd_compile(&f->p, f->g, f->b), DD_EINVAL);
    dd_output(f->g, "y0", dd_matmul(f->g, a, a, false, false));
    assert_int_equal(dd_compile(&f->p, f->g, f->b), DD_EINVAL);
    assert_null(f->p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pointwise_broadcasts),
        TEST(views_move_elements),
        TEST(concat_writes_in_place),
        TEST(outputs_may_replace_inputs),
        TEST(outputs_that_are_inputs),
        TEST(one_value_two_names),
        TEST(bias_joins_the_contraction),
        TEST(transposes_become_flags),
        TEST(flat_gradient_costs_no_copies),
        TEST(solves_share_a_factor),
        TEST(sums_of_products_and_expansions),
        TEST(numbers_leave_products),
        TEST(network_gradient_of_gradient),
        TEST(second_run_allocates_nothing),
        TEST(programs_share_their_memory),
        TEST(every_failed_allocation_is_reported),
        TEST(wrong_bindings_are_named),
        TEST(bad_graphs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
