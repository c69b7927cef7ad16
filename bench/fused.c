/* SPDX-License-Identifier: Apache-2.0
 *
 * Instance norm, scale and shift, ReLU and 2x2 average pooling of a layer's output, with row groups and without them:
 * forward, with the gradient, and with the gradient of the gradient's square. Prints milliseconds, their ratio and the
 * largest difference relative to the largest value; exits 1 if that exceeds 1e-6.
 *
 *   bench_fused [THREADS [IMAGES]]       defaults: 1 thread, 100 images of 128x32x32 */
#include "attar/random.h"
#include "base/fs.h"
#include "base/memory.h"
#include "compile/compile.h"
#include "exec/program_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 7, OUTPUTS = 3 };

typedef struct bench {
    dd_backend *backend;
    dd_tensor x, u, scale, shift;
    dd_tensor y[2][OUTPUTS]; /* without and with row groups */
    int order;
    double worst;
} bench;

/* order 0: y; 1: y and the gradient of <y, u>; 2: that and the gradient of its squared norm. */
static dd_graph *graph(const bench *b)
{
    const dd_pool_attr half = {{2, 2}, {2, 2}, {0, 0}};
    dd_graph *g = dd_graph_new();
    const dd_val x = dd_input(g, "x", DD_F32, b->x.shape), u = dd_input(g, "u", DD_F32, b->u.shape),
                 scale = dd_input(g, "scale", DD_F32, b->scale.shape),
                 shift = dd_input(g, "shift", DD_F32, b->shift.shape);
    const dd_val n = dd_normalize(g, x, 4u | 8u, 1e-5);
    const dd_val y = dd_avgpool(g, dd_relu(g, dd_add(g, dd_mul(g, n, scale), shift)), half);
    dd_val d = {0}, d2 = {0};
    if (b->order > 0) dd_grad(g, dd_dot(g, y, u), 1, &x, &d);
    if (b->order > 1) dd_grad(g, dd_dot(g, d, d), 1, &x, &d2);
    dd_output(g, "y0", y);
    if (b->order > 0) dd_output(g, "y1", d);
    if (b->order > 1) dd_output(g, "y2", d2);
    return g;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static dd_status time_one(bench *b, bool fused, double *ms)
{
    static const char *const names[] = {"y0", "y1", "y2"};
    dd_program *p;
    double t[RUNS];
    dd_graph *g = graph(b);
    dd_status s = dd_compile_with(&p, g, b->backend, fused ? 0 : DD_NO_FUSE);
    dd_graph_free(g);
    DD_TRY(s);
    DD_TRY(dd_bind(p, "x", &b->x));
    DD_TRY(dd_bind(p, "u", &b->u));
    DD_TRY(dd_bind(p, "scale", &b->scale));
    DD_TRY(dd_bind(p, "shift", &b->shift));
    for (int i = 0; i <= b->order; i++) DD_TRY(dd_bind(p, names[i], &b->y[fused][i]));
    for (int r = -1; r < RUNS; r++) {
        const double start = dd_now();
        DD_TRY(dd_exec(p));
        if (r >= 0) t[r] = 1e3 * (dd_now() - start);
    }
    qsort(t, RUNS, sizeof *t, by_value);
    *ms = t[RUNS / 2];
    dd_program_free(p);
    return DD_OK;
}

static double difference(const bench *b)
{
    double worst = 0;
    for (int i = 0; i <= b->order; i++) {
        double most = 0, apart = 0;
        for (int64_t k = 0, n = dd_shape_count(b->y[0][i].shape); k < n; k++) {
            const double p = (double)dd_f32(&b->y[0][i])[k], q = (double)dd_f32(&b->y[1][i])[k];
            most = fmax(most, fabs(p));
            apart = isnan(p - q) ? HUGE_VAL : fmax(apart, fabs(p - q));
        }
        worst = fmax(worst, apart / most);
    }
    return worst;
}

static dd_status run(bench *b, int64_t images)
{
    static const char *const what[] = {"forward", "and gradient", "and second order"};
    const dd_key key = dd_key_seed(1);
    DD_TRY(dd_tensor_init(&b->x, DD_F32, DD_SHAPE(images, 128, 32, 32)));
    DD_TRY(dd_tensor_init(&b->u, DD_F32, DD_SHAPE(images, 128, 16, 16)));
    DD_TRY(dd_tensor_init(&b->scale, DD_F32, DD_SHAPE(128, 1, 1)));
    DD_TRY(dd_tensor_init(&b->shift, DD_F32, DD_SHAPE(128, 1, 1)));
    dd_key_fill_normal(dd_key_at(key, "x", 0), dd_f32(&b->x), dd_shape_count(b->x.shape), 0.3, 1);
    dd_key_fill_normal(dd_key_at(key, "u", 0), dd_f32(&b->u), dd_shape_count(b->u.shape), 0, 1);
    dd_key_fill_normal(dd_key_at(key, "scale", 0), dd_f32(&b->scale), 128, 1, 0.1);
    dd_key_fill_normal(dd_key_at(key, "shift", 0), dd_f32(&b->shift), 128, 0, 0.1);
    for (int fused = 0; fused < 2; fused++)
        for (int i = 0; i < OUTPUTS; i++) DD_TRY(dd_tensor_init(&b->y[fused][i], DD_F32, i ? b->x.shape : b->u.shape));
    printf("norm, ReLU, pool of %lldx128x32x32   without ms   with ms   ratio   difference\n", (long long)images);
    for (b->order = 0; b->order < OUTPUTS; b->order++) {
        double without, with;
        DD_TRY(time_one(b, false, &without));
        DD_TRY(time_one(b, true, &with));
        const double apart = difference(b);
        b->worst = fmax(b->worst, apart);
        printf("%-36s %10.1f %9.1f %7.2f   %.1e\n", what[b->order], without, with, without / with, apart);
    }
    return DD_OK;
}

int main(int argc, char **argv)
{
    bench b = {0};
    dd_status s = dd_backend_open(&b.backend, "cpu", argc > 1 ? atoi(argv[1]) : 1);
    if (s == DD_OK) s = run(&b, argc > 2 ? atoll(argv[2]) : 100);
    if (s != DD_OK) fprintf(stderr, "bench_fused: %s\n", dd_last_error());
    dd_tensor_fini(&b.x);
    dd_tensor_fini(&b.u);
    dd_tensor_fini(&b.scale);
    dd_tensor_fini(&b.shift);
    for (int i = 0; i < 2 * OUTPUTS; i++) dd_tensor_fini(&b.y[i / OUTPUTS][i % OUTPUTS]);
    dd_backend_close(b.backend);
    return s == DD_OK && b.worst <= 1e-6 ? 0 : 1;
}
