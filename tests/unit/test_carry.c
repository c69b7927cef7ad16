/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that one program leaves for another: the other's results are those of the program that computes them itself,
 * on both backends, and where the two would have had them lie differently. */
#include "attar/net.h"
#include "attar/program.h"
#include "base/memory.h"
#include "exec/draft.h"
#include "graph/carry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N = 4, WIDTH = 32, SIDE = 16, CLASSES = 3 };

static const char *const backends[] = {"ref", "cpu"};

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static void fill(dd_tensor *t, dd_shape s, int seed)
{
    ok(dd_tensor_init(t, DD_F32, s));
    for (int64_t i = 0; i < dd_shape_count(s); i++) dd_f32(t)[i] = 0.1f * (float)((i * 7 + seed * 5) % 23 - 11);
}

static void bind(dd_program *p, const char *name, const dd_tensor *t)
{
    ok(dd_bind(p, name, t));
}

static void bind_carried(dd_program *p, const dd_carry *c, dd_tensor *t)
{
    for (int i = 0; i < c->n; i++) bind(p, c->name[i], &t[i]);
}

static void near(const dd_tensor *a, const dd_tensor *b)
{
    double most = 0, off = 0;
    for (int64_t i = 0; i < dd_shape_count(a->shape); i++) {
        most = fmax(most, fabs((double)dd_f32(a)[i]));
        off = fmax(off, fabs((double)dd_f32(a)[i] - (double)dd_f32(b)[i]));
    }
    assert_true(most > 0);
    if (!(off <= 1e-5 * most)) fail_msg("off by %g of %g", off, most);
}

/* ---- a network's gradient and the gradient of that ---- */

typedef struct problem {
    dd_net *net;
    dd_tensor x, y, theta, p, grad, dx, again;
} problem;

static dd_val gradient(dd_graph *g, const problem *o, dd_val *x)
{
    *x = dd_input(g, "x", DD_F32, o->x.shape);
    const dd_val theta = dd_input(g, "theta", DD_F32, o->theta.shape), y = dd_input(g, "y", DD_F32, o->y.shape);
    const dd_val loss = dd_xent(g, dd_net_apply(g, o->net, theta, *x, (dd_val){0}).logits, y);
    dd_val grad;
    dd_grad(g, loss, 1, &theta, &grad);
    return grad;
}

static dd_graph *step_of(const problem *o)
{
    dd_graph *g = dd_graph_new();
    dd_val x;
    dd_output(g, "grad", gradient(g, o, &x));
    return g;
}

static dd_graph *back_of(const problem *o, uint32_t *common)
{
    dd_graph *g = dd_graph_new();
    dd_val x, dx;
    const dd_val grad = gradient(g, o, &x);
    *common = dd_graph_size(g);
    dd_grad(g, dd_dot(g, dd_input(g, "p", DD_F32, o->theta.shape), grad), 1, &x, &dx);
    dd_output(g, "dx", dx);
    return g;
}

static void bind_all(dd_program *p, const problem *o)
{
    bind(p, "x", &o->x);
    bind(p, "y", &o->y);
    bind(p, "theta", &o->theta);
}

static void check(const problem *o, dd_backend *b, int values)
{
    uint32_t common;
    dd_program *plain, *leave, *take;
    dd_carry c;
    dd_tensor t[DD_CARRY_MOST] = {{0}};
    dd_graph *step = step_of(o), *back = back_of(o, &common);
    ok(dd_compile(&plain, back, b));
    bind_all(plain, o);
    bind(plain, "p", &o->p);
    bind(plain, "dx", &o->dx);
    ok(dd_exec(plain));
    ok(dd_carry_choose(back, common, &c));
    assert_int_equal(c.n, values);
    dd_carry_out(step, &c);
    ok(dd_carry_in(&back, &c));
    ok(dd_compile_pair(&leave, &take, step, back, b));
    assert_true(dd_program_statistics(take).flop < 0.8 * dd_program_statistics(plain).flop);
    for (int i = 0; i < c.n; i++) ok(dd_tensor_init(&t[i], c.dtype[i], c.shape[i]));
    bind_all(leave, o);
    bind_all(take, o);
    bind_carried(leave, &c, t);
    bind_carried(take, &c, t);
    bind(leave, "grad", &o->grad);
    bind(take, "p", &o->p);
    bind(take, "dx", &o->again);
    ok(dd_exec(leave));
    ok(dd_exec(take));
    near(&o->dx, &o->again);
    for (int i = 0; i < c.n; i++) dd_tensor_fini(&t[i]);
    dd_program_free(plain);
    dd_program_free(leave);
    dd_program_free(take);
    dd_graph_free(step);
    dd_graph_free(back);
}

/* Of the second network's layers the way back makes one group, with rows of two planes. */
static void a_step_leaves_what_its_way_back_needs(void **state)
{
    static const struct {
        const char *spec;
        int values; /* each convolution but the first with its bias, its way back, logits */
    } nets[] = {{"convnet:depth=2,width=32,act=swish", 3}, {"widening:depth=3,width=16", 5}};
    (void)state;
    for (size_t k = 0; k < DD_LEN(nets) * DD_LEN(backends); k++) {
        problem o = {0};
        dd_backend *b;
        ok(dd_net_open(&o.net, nets[k / DD_LEN(backends)].spec, (dd_image){3, SIDE, SIDE}, CLASSES));
        fill(&o.x, DD_SHAPE(N, 3, SIDE, SIDE), 1);
        fill(&o.y, DD_SHAPE(N, CLASSES), 2);
        fill(&o.theta, DD_SHAPE(dd_net_size(o.net)), 3);
        fill(&o.p, o.theta.shape, 4);
        fill(&o.grad, o.theta.shape, 0);
        fill(&o.dx, o.x.shape, 0);
        fill(&o.again, o.x.shape, 0);
        ok(dd_backend_open(&b, backends[k % DD_LEN(backends)], 2));
        check(&o, b, nets[k / DD_LEN(backends)].values);
        dd_backend_close(b);
        dd_tensor *const all[] = {&o.x, &o.y, &o.theta, &o.p, &o.grad, &o.dx, &o.again};
        for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
        dd_net_close(o.net);
    }
}

/* ---- two programs of different minds ---- */

/* Between convolutions z would lie in blocks; the other reads every second row of it, for which it has to lie plainly.
 */
static dd_graph *conv_of(uint32_t *conv, bool reads)
{
    static const dd_conv_attr a = {.stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1};
    dd_graph *g = dd_graph_new();
    const dd_val x = dd_input(g, "x", DD_F32, DD_SHAPE(N, WIDTH, SIDE, SIDE)),
                 w = dd_input(g, "w", DD_F32, DD_SHAPE(WIDTH, WIDTH, 3, 3)), z = dd_conv(g, x, w, a);
    *conv = z.id;
    const dd_val rows = dd_slice(g, z, (const int64_t[]){0, 0, 0, 0}, (const int64_t[]){N, WIDTH, SIDE / 2, SIDE},
                                 (const int64_t[]){1, 1, 2, 1});
    dd_output(g, "out", reads ? dd_sum(g, rows, 4) : dd_sum(g, dd_conv(g, z, w, a), 12));
    return g;
}

static void programs_that_disagree_use_plain_rows(void **state)
{
    (void)state;
    dd_tensor x, w, between, first, want, out;
    fill(&x, DD_SHAPE(N, WIDTH, SIDE, SIDE), 1);
    fill(&w, DD_SHAPE(WIDTH, WIDTH, 3, 3), 2);
    fill(&between, x.shape, 0);
    fill(&first, DD_SHAPE(N, WIDTH), 0);
    fill(&want, DD_SHAPE(N, WIDTH, SIDE), 0);
    fill(&out, want.shape, 0);
    for (size_t i = 0; i < DD_LEN(backends); i++) {
        uint32_t conv;
        dd_backend *b;
        dd_program *plain, *leave, *take;
        dd_carry c;
        ok(dd_backend_open(&b, backends[i], 1));
        dd_graph *g = conv_of(&conv, false), *h = conv_of(&conv, true);
        ok(dd_compile(&plain, h, b));
        ok(dd_carry_choose(h, conv + 1, &c));
        assert_int_equal(c.n, 1);
        assert_int_equal(c.id[0], conv);
        dd_carry_out(g, &c);
        ok(dd_carry_in(&h, &c));
        ok(dd_compile_pair(&leave, &take, g, h, b));
        bind(plain, "x", &x);
        bind(plain, "w", &w);
        bind(plain, "out", &want);
        bind(leave, "x", &x);
        bind(leave, "w", &w);
        bind(leave, "out", &first);
        bind_carried(leave, &c, &between);
        bind_carried(take, &c, &between);
        bind(take, "out", &out);
        ok(dd_exec(plain));
        ok(dd_exec(leave));
        ok(dd_exec(take));
        near(&want, &out);
        assert_int_equal(dd_program_statistics(leave).blocked, 0);
        dd_program_free(plain);
        dd_program_free(leave);
        dd_program_free(take);
        dd_graph_free(g);
        dd_graph_free(h);
        dd_backend_close(b);
    }
    dd_tensor *const all[] = {&x, &w, &between, &first, &want, &out};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_leaves_what_its_way_back_needs),
        cmocka_unit_test(programs_that_disagree_use_plain_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
