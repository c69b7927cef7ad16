/* SPDX-License-Identifier: Apache-2.0
 *
 * Neural kernels: known values in double and in float, and gradients against central differences, between two sets of
 * images and within one. */
#include "attar/kernel.h"
#include "attar/program.h"
#include "base/memory.h"
#include "nn/kernel_blocks.h"
#include "nn/krr.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static dd_tensor tensor(dd_dtype t, dd_shape s)
{
    dd_tensor x;
    ok(dd_tensor_init(&x, t, s));
    return x;
}

static void put(dd_tensor *t, int64_t i, double v)
{
    if (t->dtype == DD_F64)
        dd_f64(t)[i] = v;
    else
        dd_f32(t)[i] = (float)v;
}

static double at(const dd_tensor *t, int64_t i)
{
    return t->dtype == DD_F64 ? ((double *)t->data)[i] : (double)((float *)t->data)[i];
}

/* K(x,y); y NULL: K(x,x). */
static dd_tensor matrix(const char *spec, const dd_tensor *x, const dd_tensor *y, const char *backend)
{
    const dd_shape s = x->shape;
    dd_kernel *k = NULL;
    dd_backend *b = NULL;
    dd_program *p = NULL;
    ok(dd_kernel_open(&k, spec, (dd_image){s.dim[1], s.dim[2], s.dim[3]}));
    ok(dd_backend_open(&b, backend, 2));
    dd_graph *g = dd_graph_new();
    const dd_val u = dd_input(g, "x", x->dtype, s), v = y ? dd_input(g, "y", y->dtype, y->shape) : u;
    dd_output(g, "k", dd_kernel_apply(g, k, u, v));
    ok(dd_compile(&p, g, b));
    dd_tensor out = tensor(x->dtype, DD_SHAPE(s.dim[0], y ? y->shape.dim[0] : s.dim[0]));
    ok(dd_bind(p, "x", x));
    if (y) ok(dd_bind(p, "y", y));
    ok(dd_bind(p, "k", &out));
    ok(dd_exec(p));
    dd_program_free(p);
    dd_graph_free(g);
    dd_backend_close(b);
    dd_kernel_close(k);
    return out;
}

typedef struct known {
    const char *spec;
    double xy[2], xx[2]; /* NNGP and NTK */
} known;

static void judge(const known *v, const dd_tensor *x, const dd_tensor *y, const char *backend, double tolerance)
{
    for (int ntk = 0; ntk < 2; ntk++) {
        char spec[100];
        snprintf(spec, sizeof spec, "%s,kind=%s", v->spec, ntk ? "ntk" : "nngp");
        dd_tensor pair = matrix(spec, x, y, backend), own = matrix(spec, x, NULL, backend);
        if (fabs(at(&pair, 0) - v->xy[ntk]) > tolerance)
            fail_msg("%s of x and y on %s: %.10f, known %.10f", spec, backend, at(&pair, 0), v->xy[ntk]);
        if (fabs(at(&own, 0) - v->xx[ntk]) > tolerance)
            fail_msg("%s of x and x on %s: %.10f, known %.10f", spec, backend, at(&own, 0), v->xx[ntk]);
        dd_tensor_fini(&pair);
        dd_tensor_fini(&own);
    }
}

static void judge_all(const known *v, size_t n, dd_shape s, double (*fx)(int64_t), double (*fy)(int64_t))
{
    for (int f = 0; f < 4; f++) {
        const dd_dtype t = f % 2 ? DD_F32 : DD_F64;
        dd_tensor x = tensor(t, s), y = tensor(t, s);
        for (int64_t i = 0; i < dd_shape_count(s); i++) {
            put(&x, i, fx(i));
            put(&y, i, fy(i));
        }
        for (size_t i = 0; i < n; i++) judge(&v[i], &x, &y, f < 2 ? "ref" : "cpu", t == DD_F64 ? 1e-8 : 1e-5);
        dd_tensor_fini(&x);
        dd_tensor_fini(&y);
    }
}

static double corner(int64_t i)
{
    return i == 0;
}

static double beside(int64_t i)
{
    return i == 0 ? 0.6 : i == 1 ? 0.8 : 0;
}

static double wave(int64_t i)
{
    return sin(1 + (double)(i / 8) + 2 * (double)(i % 8));
}

static double other_wave(int64_t i)
{
    return cos(2 + 3 * (double)(i / 8) - (double)(i % 8));
}

static void fully_connected(void **state)
{
    static const known v[] = {{"fc:depth=1", {0.3583748474, 0.5778440157}, {0.52, 1.03}},
                              {"fc:depth=2", {0.3958595501, 0.8246372204}, {0.53, 1.56}},
                              {"FC-3:w_std=1.4142135623730951", {0.4263792779, 1.0600807739}, {0.54, 2.10}}};
    (void)state;
    judge_all(v, DD_LEN(v), DD_SHAPE(1, 1, 2, 2), corner, beside);
}

static void convolutional(void **state)
{
    static const known v[] = {
        {"conv:depth=1", {0.2764356284, 0.2858171345}, {0.4480751514, 0.7196221220}},
        {"conv:depth=1,readout=global", {0.2746716976, 0.2840376046}, {0.3339949736, 0.4578183419}},
        {"conv:depth=2", {0.2037678174, 0.3264583273}, {0.2467664670, 0.5032932373}},
        {"conv:depth=2,readout=global", {0.1892604340, 0.2935817974}, {0.2205795565, 0.4053719688}},
        {"ConvNet3:readout=flatten", {0.0789176901, 0.1395280120}, {0.0867244544, 0.1817560122}},
        {"conv:depth=3,readout=global", {0.0789176901, 0.1395280120}, {0.0867244544, 0.1817560122}}};
    (void)state;
    judge_all(v, DD_LEN(v), DD_SHAPE(1, 1, 8, 8), wave, other_wave);
}

static void fill(dd_tensor *x, uint64_t seed)
{
    for (int64_t i = 0; i < dd_shape_count(x->shape); i++) put(x, i, dd_key_normal(dd_key_seed(seed), (uint64_t)i));
}

/* Within one set and between two that are equal: the same but for the digits that the diagonal loses. */
static void a_set_with_itself(void **state)
{
    static const char *const specs[] = {"fc:depth=3", "conv:depth=2,pool=none", "conv:depth=1,extra=1", "Myrtle-5",
                                        "conv:depth=2,pool=none,readout=global,kind=nngp"};
    (void)state;
    for (size_t i = 0; i < DD_LEN(specs); i++) {
        dd_tensor x = tensor(DD_F64, DD_SHAPE(4, 2, 5, 6)), y = tensor(DD_F64, DD_SHAPE(4, 2, 5, 6));
        fill(&x, i);
        fill(&y, i);
        dd_tensor a = matrix(specs[i], &x, NULL, "cpu"), b = matrix(specs[i], &x, &y, "cpu");
        for (int64_t k = 0; k < 16; k++) {
            if (fabs(at(&a, k) - at(&b, k)) > 1e-6) fail_msg("%s: %.10f and %.10f", specs[i], at(&a, k), at(&b, k));
            assert_true(fabs(at(&a, k) - at(&a, k % 4 * 4 + k / 4)) < 1e-12);
        }
        dd_tensor_fini(&x);
        dd_tensor_fini(&y);
        dd_tensor_fini(&a);
        dd_tensor_fini(&b);
    }
}

/* In float, where the correlations of all pairs are 1 but for rounding: a pair and its turned pair are the same but for
 * the order of sums. */
static void turned_pairs(void **state)
{
    static const char *const specs[] = {"fc:depth=3,b_std=0", "fc:depth=2"};
    enum { COUNT = 30, SIZE = 2 * 5 * 6 };
    (void)state;
    dd_tensor one = tensor(DD_F64, DD_SHAPE(1, 2, 5, 6)), x = tensor(DD_F32, DD_SHAPE(COUNT, 2, 5, 6));
    fill(&one, 3);
    for (int64_t i = 0; i < COUNT * SIZE; i++)
        dd_f32(&x)[i] = (float)(at(&one, i % SIZE) * (0.3 + 0.07 * (double)(i / SIZE)));
    for (size_t i = 0; i < DD_LEN(specs); i++) {
        dd_tensor a = matrix(specs[i], &x, NULL, "cpu");
        for (int64_t r = 0; r < COUNT; r++)
            for (int64_t c = 0; c < r; c++)
                if (fabs(at(&a, r * COUNT + c) / at(&a, c * COUNT + r) - 1) > 1e-6)
                    fail_msg("%s: %.10g and %.10g", specs[i], at(&a, r * COUNT + c), at(&a, c * COUNT + r));
        dd_tensor_fini(&a);
    }
    dd_tensor_fini(&one);
    dd_tensor_fini(&x);
}

/* Without pooling only equal places are computed; with a pool that no block has, all of them: the same. */
static void places_apart(void **state)
{
    (void)state;
    dd_tensor x = tensor(DD_F64, DD_SHAPE(3, 2, 4, 5)), y = tensor(DD_F64, DD_SHAPE(2, 2, 4, 5));
    fill(&x, 1);
    fill(&y, 2);
    for (int same = 0; same < 2; same++) {
        dd_tensor few = matrix("conv:depth=2,pool=none", &x, same ? NULL : &y, "cpu");
        dd_tensor all = matrix("conv:depth=0,extra=2,pool=avg", &x, same ? NULL : &y, "cpu");
        for (int64_t i = 0; i < dd_shape_count(few.shape); i++) assert_true(fabs(at(&few, i) - at(&all, i)) < 1e-12);
        dd_tensor_fini(&few);
        dd_tensor_fini(&all);
    }
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
}

/* Of images of half the sides, the averages of two by two. */
static void shrunk(void **state)
{
    (void)state;
    dd_tensor x = tensor(DD_F64, DD_SHAPE(3, 2, 5, 8)), small = tensor(DD_F64, DD_SHAPE(3, 2, 2, 4));
    fill(&x, 1);
    for (int64_t c = 0; c < 6; c++)
        for (int64_t i = 0; i < 2; i++)
            for (int64_t j = 0; j < 4; j++) {
                const int64_t from = (c * 5 + 2 * i) * 8 + 2 * j;
                put(&small, (c * 2 + i) * 4 + j,
                    (at(&x, from) + at(&x, from + 1) + at(&x, from + 8) + at(&x, from + 9)) / 4);
            }
    dd_tensor a = matrix("conv:depth=2,shrink=2,frame=1", &x, NULL, "cpu");
    dd_tensor b = matrix("conv:depth=2,frame=1", &small, NULL, "ref");
    for (int64_t i = 0; i < dd_shape_count(a.shape); i++) assert_true(fabs(at(&a, i) - at(&b, i)) < 1e-12);
    dd_tensor *const all[] = {&x, &small, &a, &b};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

typedef struct slope {
    dd_backend *b;
    dd_program *p;
    dd_tensor x, y, weight, loss, dx, dy;
} slope;

static void slope_open(slope *s, const char *spec, bool same, const char *backend)
{
    const dd_shape sx = DD_SHAPE(3, 2, 4, 5), sy = DD_SHAPE(2, 2, 4, 5);
    const int64_t m = same ? 3 : 2;
    dd_kernel *k = NULL;
    *s = (slope){.x = tensor(DD_F64, sx),
                 .y = tensor(DD_F64, sy),
                 .weight = tensor(DD_F64, DD_SHAPE(3, m)),
                 .loss = tensor(DD_F64, DD_SCALAR),
                 .dx = tensor(DD_F64, sx),
                 .dy = tensor(DD_F64, sy)};
    fill(&s->x, 5);
    fill(&s->y, 6);
    fill(&s->weight, 7);
    ok(dd_kernel_open(&k, spec, (dd_image){2, 4, 5}));
    ok(dd_backend_open(&s->b, backend, 2));
    dd_graph *g = dd_graph_new();
    const dd_val x = dd_input(g, "x", DD_F64, sx), y = same ? x : dd_input(g, "y", DD_F64, sy), wrt[] = {x, y};
    const dd_val w = dd_input(g, "weight", DD_F64, s->weight.shape);
    const dd_val loss = dd_dot(g, w, dd_kernel_apply(g, k, x, y));
    dd_val d[2];
    dd_grad(g, loss, same ? 1 : 2, wrt, d);
    dd_output(g, "loss", loss);
    dd_output(g, "dx", d[0]);
    if (!same) dd_output(g, "dy", d[1]);
    ok(dd_compile(&s->p, g, s->b));
    dd_graph_free(g);
    dd_kernel_close(k);
    ok(dd_bind(s->p, "x", &s->x));
    if (!same) ok(dd_bind(s->p, "y", &s->y));
    ok(dd_bind(s->p, "weight", &s->weight));
    ok(dd_bind(s->p, "loss", &s->loss));
    ok(dd_bind(s->p, "dx", &s->dx));
    if (!same) ok(dd_bind(s->p, "dy", &s->dy));
    ok(dd_exec(s->p));
}

static void slope_close(slope *s)
{
    dd_tensor *const all[] = {&s->x, &s->y, &s->weight, &s->loss, &s->dx, &s->dy};
    dd_program_free(s->p);
    dd_backend_close(s->b);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

static double moved(slope *s, dd_tensor *t, int64_t i, double by)
{
    const double was = at(t, i);
    put(t, i, was + by);
    ok(dd_exec(s->p));
    put(t, i, was);
    return at(&s->loss, 0);
}

static double largest(const double *d, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(d[i]));
    return most;
}

static void differences(slope *s, dd_tensor *t, const dd_tensor *grad, const char *spec)
{
    const int64_t n = dd_shape_count(t->shape);
    double *d = dd_alloc((size_t)n, sizeof *d);
    assert_non_null(d);
    for (int64_t i = 0; i < n; i++) d[i] = at(grad, i);
    const double size = largest(d, n);
    for (int64_t i = 0; i < n; i += 3) {
        const double step = 1e-5, fd = (moved(s, t, i, step) - moved(s, t, i, -step)) / (2 * step);
        if (fabs(fd - d[i]) > 1e-7 * size)
            fail_msg("%s: element %lld is %.10g, by differences %.10g", spec, (long long)i, d[i], fd);
    }
    dd_free(d);
}

static void gradients(void **state)
{
    static const char *const specs[] = {"fc:depth=1",
                                        "fc:depth=3,kind=nngp",
                                        "conv:depth=2,pool=none",
                                        "conv:depth=2",
                                        "conv:depth=1,extra=1,frame=1,readout=global,kind=nngp",
                                        "conv:depth=1,shrink=2",
                                        "fc:depth=2,b_std=0",
                                        "Myrtle-5:b_std=0.3"};
    (void)state;
    for (size_t i = 0; i < DD_LEN(specs); i++)
        for (int same = 0; same < 2; same++) {
            slope s;
            slope_open(&s, specs[i], same, i % 2 ? "cpu" : "ref");
            dd_tensor dx = tensor(DD_F64, s.dx.shape), dy = tensor(DD_F64, s.dy.shape);
            ok(dd_tensor_copy(&dx, &s.dx));
            ok(dd_tensor_copy(&dy, &s.dy));
            differences(&s, &s.x, &dx, specs[i]);
            if (!same) differences(&s, &s.y, &dy, specs[i]);
            slope_close(&s);
            dd_tensor_fini(&dx);
            dd_tensor_fini(&dy);
        }
}

/* Without biases a black image covaries with nothing, but what it would turn into does. */
static void black_images_learn(void **state)
{
    static const char *const specs[] = {"conv:depth=2,pool=none,b_std=0,kind=nngp", "conv:depth=2,b_std=0"};
    (void)state;
    for (size_t i = 0; i < DD_LEN(specs); i++) {
        slope s;
        slope_open(&s, specs[i], false, "cpu");
        for (int64_t k = 0; k < 40; k++) put(&s.x, k, 0);
        ok(dd_exec(s.p));
        double most = 0;
        for (int64_t k = 0; k < 40; k++) {
            assert_true(isfinite(at(&s.dx, k)));
            most = fmax(most, fabs(at(&s.dx, k)));
        }
        assert_true(most > 1e-5);
        slope_close(&s);
    }
}

/* The matrix and the gradient of its product with numbers, in blocks of several sizes: the same as at once. */
static void blocks(void **state)
{
    static const int64_t memory[] = {0, 100000, 20000, 3000, 1};
    const dd_shape sx = DD_SHAPE(5, 2, 4, 4), sy = DD_SHAPE(7, 2, 4, 4);
    (void)state;
    for (int same = 0; same < 2; same++) {
        const int64_t m = same ? 5 : 7;
        dd_kernel *k = NULL;
        dd_backend *b = NULL;
        dd_tensor x = tensor(DD_F64, sx), y = tensor(DD_F64, sy), d = tensor(DD_F64, DD_SHAPE(5, m));
        dd_tensor first = tensor(DD_F64, DD_SHAPE(5, m)), whole = tensor(DD_F64, sx);
        fill(&x, 1);
        fill(&y, 2);
        fill(&d, 3);
        ok(dd_kernel_open(&k, "conv:depth=1", (dd_image){2, 4, 4}));
        ok(dd_backend_open(&b, "cpu", 2));
        for (size_t i = 0; i < DD_LEN(memory); i++) {
            dd_kernel_blocks *e = NULL;
            dd_tensor out = tensor(DD_F64, DD_SHAPE(5, m)), dx = tensor(DD_F64, sx);
            ok(dd_kernel_blocks_new(&e, b, k, DD_F64, 5, same ? 0 : m, memory[i], true));
            memset(dx.data, 0, dd_tensor_bytes(&dx));
            ok(dd_kernel_blocks_run(e, &x, same ? NULL : &y, &out));
            ok(dd_kernel_blocks_slope(e, &x, same ? NULL : &y, &d, &dx));
            if (i == 0) {
                ok(dd_tensor_copy(&first, &out));
                ok(dd_tensor_copy(&whole, &dx));
            }
            for (int64_t j = 0; j < 5 * m; j++) assert_true(fabs(at(&out, j) - at(&first, j)) < 1e-12);
            for (int64_t j = 0; j < dd_shape_count(sx); j++) assert_true(fabs(at(&dx, j) - at(&whole, j)) < 1e-12);
            dd_kernel_blocks_free(e);
            dd_tensor_fini(&out);
            dd_tensor_fini(&dx);
        }
        dd_tensor *const all[] = {&x, &y, &d, &first, &whole};
        for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
        dd_backend_close(b);
        dd_kernel_close(k);
    }
}

/* The kernel of equal images has no factor without a regulariser; with one that does, their labels' mean is learned. A
 * factor of the kernel changes no prediction. */
static void regularisers_rise(void **state)
{
    static const double ridges[] = {0, 1e-18, 1e-3}, scales[] = {1, 1, 1000};
    (void)state;
    for (int i = 0; i < 3; i++) {
        dd_tensor k = tensor(DD_F64, DD_SHAPE(3, 3)), y = tensor(DD_F64, DD_SHAPE(3, 1)), out = tensor(DD_F64, y.shape);
        dd_tensor factor = tensor(DD_F64, DD_SCALAR);
        dd_backend *b = NULL;
        dd_program *p = NULL;
        for (int64_t j = 0; j < 9; j++) put(&k, j, scales[i]);
        for (int64_t j = 0; j < 3; j++) put(&y, j, (double)j);
        ok(dd_backend_open(&b, "cpu", 1));
        dd_graph *g = dd_graph_new();
        const dd_val kss = dd_input(g, "k", DD_F64, k.shape), ys = dd_input(g, "y", DD_F64, y.shape);
        dd_output(g, "p", dd_krr_predict(g, kss, dd_krr_weights(g, kss, ys, dd_input(g, "ridge", DD_F64, DD_SCALAR))));
        ok(dd_compile(&p, g, b));
        dd_graph_free(g);
        ok(dd_bind(p, "k", &k));
        ok(dd_bind(p, "y", &y));
        ok(dd_bind(p, "ridge", &factor));
        ok(dd_bind(p, "p", &out));
        ok(dd_krr_exec(p, dd_f64(&factor), ridges[i]));
        assert_true(i == 2 ? at(&factor, 0) <= 1e-3 : at(&factor, 0) > ridges[i]);
        for (int64_t j = 0; j < 3; j++) /* of what is nearly singular, rounding leaves no digit */
            assert_true(i == 2 ? fabs(at(&out, j) - 3 / 3.001) < 1e-9 : isfinite(at(&out, j)));
        dd_program_free(p);
        dd_backend_close(b);
        dd_tensor *const all[] = {&k, &y, &out, &factor};
        for (size_t j = 0; j < DD_LEN(all); j++) dd_tensor_fini(all[j]);
    }
}

/* The regression of 4 targets by 5 images: predictions, loss and its gradients by kss, kst and labels. */
enum { OUTS = 5 };
static void regress(const dd_tensor *kss, const dd_tensor *kst, const dd_tensor *ys, const dd_tensor *yt,
                    dd_tensor out[OUTS])
{
    static const char *const names[OUTS] = {"p", "loss", "dkss", "dkst", "dys"};
    const dd_shape shapes[OUTS] = {yt->shape, DD_SCALAR, kss->shape, kst->shape, ys->shape};
    dd_backend *b = NULL;
    dd_program *p = NULL;
    dd_tensor ridge = tensor(DD_F64, DD_SCALAR);
    dd_val d[3];
    put(&ridge, 0, 1e-3);
    ok(dd_backend_open(&b, "cpu", 1));
    dd_graph *g = dd_graph_new();
    const dd_val wrt[] = {dd_input(g, "kss", DD_F64, kss->shape), dd_input(g, "kst", DD_F64, kst->shape),
                          dd_input(g, "ys", DD_F64, ys->shape)};
    const dd_val says =
        dd_krr_predict(g, wrt[1], dd_krr_weights(g, wrt[0], wrt[2], dd_input(g, "ridge", DD_F64, DD_SCALAR)));
    const dd_val loss = dd_krr_loss(g, says, dd_input(g, "yt", DD_F64, yt->shape), 8);
    dd_grad(g, loss, 3, wrt, d);
    dd_output(g, "p", says);
    dd_output(g, "loss", loss);
    for (int i = 0; i < 3; i++) dd_output(g, names[i + 2], d[i]);
    ok(dd_compile(&p, g, b));
    dd_graph_free(g);
    ok(dd_bind(p, "kss", kss));
    ok(dd_bind(p, "kst", kst));
    ok(dd_bind(p, "ys", ys));
    ok(dd_bind(p, "yt", yt));
    ok(dd_bind(p, "ridge", &ridge));
    for (int i = 0; i < OUTS; i++) {
        out[i] = tensor(DD_F64, shapes[i]);
        ok(dd_bind(p, names[i], &out[i]));
    }
    ok(dd_exec(p));
    dd_program_free(p);
    dd_backend_close(b);
    dd_tensor_fini(&ridge);
}

/* A factor of the kernel changes no prediction. Of a power of four, whose root Cholesky takes, not one bit: gradients
 * by the kernel are the smaller by that factor, and exactly so. */
static void a_factor_of_the_kernel_is_nothing(void **state)
{
    const double by = 4096;
    dd_tensor k = tensor(DD_F64, DD_SHAPE(5, 5)), t = tensor(DD_F64, DD_SHAPE(5, 4)),
              ys = tensor(DD_F64, DD_SHAPE(5, 2));
    dd_tensor yt = tensor(DD_F64, DD_SHAPE(4, 2)), one[OUTS], other[OUTS];
    (void)state;
    for (int64_t i = 0; i < 25; i++) put(&k, i, exp(-0.1 * pow((double)(i / 5 - i % 5), 2)));
    for (int64_t i = 0; i < 20; i++) put(&t, i, exp(-0.1 * pow((double)(i / 4) - 1.2 * (double)(i % 4), 2)));
    for (int64_t i = 0; i < 10; i++) put(&ys, i, sin((double)i));
    for (int64_t i = 0; i < 8; i++) put(&yt, i, cos((double)i));
    regress(&k, &t, &ys, &yt, one);
    for (int64_t i = 0; i < 25; i++) put(&k, i, by * at(&k, i));
    for (int64_t i = 0; i < 20; i++) put(&t, i, by * at(&t, i));
    regress(&k, &t, &ys, &yt, other);
    for (int o = 0; o < OUTS; o++)
        for (int64_t i = 0; i < dd_shape_count(one[o].shape); i++) {
            const double factor = o == 2 || o == 3 ? by : 1;
            assert_true(at(&one[o], i) != 0); /* exactly, not nearly: */
            assert_true(at(&one[o], i) >= factor * at(&other[o], i) && at(&one[o], i) <= factor * at(&other[o], i));
        }
    dd_tensor *const all[] = {&k, &t, &ys, &yt};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    for (int o = 0; o < OUTS; o++) {
        dd_tensor_fini(&one[o]);
        dd_tensor_fini(&other[o]);
    }
}

static void refusals(void **state)
{
    dd_kernel *k = NULL;
    (void)state;
    assert_int_equal(dd_kernel_open(&k, "cnv", (dd_image){1, 8, 8}), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "did you mean conv?"));
    assert_int_equal(dd_kernel_open(&k, "conv:depth=4", (dd_image){1, 8, 8}), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "at least 16 pixels a side"));
    assert_int_equal(dd_kernel_open(&k, "fc:depht=2", (dd_image){1, 8, 8}), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "depth"));
    assert_int_equal(dd_kernel_open(&k, "fc:depth", (dd_image){1, 8, 8}), DD_EINVAL);
    assert_int_equal(dd_kernel_open(&k, "conv:depth=1,shrink=9", (dd_image){1, 8, 8}), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "leaves nothing"));
    assert_int_equal(dd_kernel_open(&k, "myrtle", (dd_image){1, 3, 8}), DD_EINVAL);
    ok(dd_kernel_open(&k, "FC-2:kind=nngp", (dd_image){1, 8, 8}));
    assert_string_equal(dd_kernel_spec(k), "fc:depth=2,kind=nngp,w_std=1.4142135623730951,b_std=0.1");
    assert_int_equal(dd_kernel_cells(k), 1);
    dd_kernel_close(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fully_connected),
                                       cmocka_unit_test(convolutional),
                                       cmocka_unit_test(a_set_with_itself),
                                       cmocka_unit_test(places_apart),
                                       cmocka_unit_test(shrunk),
                                       cmocka_unit_test(turned_pairs),
                                       cmocka_unit_test(gradients),
                                       cmocka_unit_test(black_images_learn),
                                       cmocka_unit_test(blocks),
                                       cmocka_unit_test(regularisers_rise),
                                       cmocka_unit_test(a_factor_of_the_kernel_is_nothing),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}
