/* SPDX-License-Identifier: Apache-2.0
 *
 * Turns an op case into a graph, a program and bound tensors, and compares tensors. Inputs are rounded to f32 so that
 * an f32 and an f64 program see the same numbers. Knows the public headers and the case table. */
#include "op_cases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The CSR matrix of the SPMM cases: 5 x 4, row 2 empty. */
static const int32_t csr_rowptr[6] = {0, 2, 3, 3, 5, 7};
static const int32_t csr_col[7] = {0, 3, 1, 0, 2, 2, 3};

bool op_is_diff(const op_case *c, int i)
{
    return c->in[i].domain <= OP_TIES;
}

bool op_is_index(const op_case *c, int i)
{
    return c->in[i].domain >= OP_INDEX;
}

double op_get(const dd_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case DD_F32: return (double)dd_f32(t)[i];
    case DD_F64: return dd_f64(t)[i];
    default: return (double)dd_i32(t)[i];
    }
}

void op_set(dd_tensor *t, int64_t i, double x)
{
    switch (t->dtype) {
    case DD_F32: dd_f32(t)[i] = (float)x; break;
    case DD_F64: dd_f64(t)[i] = x; break;
    default: dd_i32(t)[i] = (int32_t)x;
    }
}

/* Map n of a batch: identity, whole shift, rotation with scale and shift, shear. */
static double affine_entry(int64_t i)
{
    static const double maps[4][6] = {{0.9659, -0.2588, 0.3, 0.2588, 0.9659, -0.45},
                                      {1, 0, 1, 0, 1, -2},
                                      {1, 0, 0, 0, 1, 0},
                                      {1.13, 0.21, -0.7, -0.1, 0.87, 0.35}};
    return maps[(i / 6) % 4][i % 6];
}

static double draw(const op_input *in, int number, int64_t i, const int32_t *perm, int64_t n)
{
    dd_key key = dd_key_at(dd_key_seed(17), "op", (uint64_t)number);
    switch (in->domain) {
    case OP_NORMAL: return dd_key_normal(key, (uint64_t)i);
    case OP_POS: return 0.5 + 1.5 * dd_key_uniform(key, (uint64_t)i);
    case OP_UNIT: return 1.8 * dd_key_uniform(key, (uint64_t)i) - 0.9;
    case OP_APART: return 0.37 * (double)(perm[i] - n / 2) + 0.0925 + 0.11 * number;
    case OP_TIES: return (double)dd_key_below(key, (uint64_t)i, 3) - 1;
    case OP_MASK: return (double)dd_key_below(key, (uint64_t)i, 2);
    case OP_AFFINE: return affine_entry(i);
    case OP_SPARSE: return dd_key_normal(key, (uint64_t)i);
    case OP_INDEX: return (double)dd_key_below(key, (uint64_t)i, (uint64_t)in->n);
    case OP_ROWPTR: return csr_rowptr[i % 6];
    case OP_COL: return csr_col[i % 7];
    }
    return 0;
}

void op_fill(const op_input *in, int number, dd_tensor *t)
{
    int64_t n = dd_shape_count(t->shape);
    int32_t *perm = dd_alloc((size_t)n, sizeof *perm);
    if (!perm) return;
    dd_key_permutation(dd_key_at(dd_key_seed(18), "perm", (uint64_t)number), n, perm);
    for (int64_t i = 0; i < n; i++) {
        volatile float rounded = (float)draw(in, number, i, perm, n);
        op_set(t, i, (double)rounded);
    }
    dd_free(perm);
}

static dd_val declare(dd_graph *g, const char *stem, int i, dd_dtype t, dd_shape s)
{
    char name[16];
    snprintf(name, sizeof name, "%s%d", stem, i);
    return dd_input(g, name, t, s);
}

static void build_second(dd_graph *g, const op_case *c, dd_dtype t, op_build *b, const int *which, int n)
{
    dd_val wrt[OP_MAX_IN], out[OP_MAX_IN];
    b->s = dd_const(g, t, 0);
    for (int k = 0; k < n; k++) {
        int i = which[k];
        wrt[k] = b->in[i];
        b->v[i] = declare(g, "v", i, t, c->in[i].shape);
        b->s = dd_add(g, b->s, dd_dot(g, b->v[i], b->g[i]));
    }
    dd_grad(g, b->s, n, wrt, out);
    for (int k = 0; k < n; k++) b->h[which[k]] = out[k];
}

void op_build_graph(dd_graph *g, const op_case *c, dd_dtype t, int level, op_build *b)
{
    dd_val wrt[OP_MAX_IN], out[OP_MAX_IN];
    int which[OP_MAX_IN], n = 0;
    memset(b, 0, sizeof *b);
    for (int i = 0; i < c->nin; i++) {
        b->in[i] = declare(g, "x", i, op_is_index(c, i) ? DD_I32 : t, c->in[i].shape);
        if (!op_is_diff(c, i)) continue;
        wrt[n] = b->in[i];
        which[n++] = i;
    }
    b->y = c->build(g, c, t, b->in);
    if (level == 0) return;
    b->w = declare(g, "w", 0, t, dd_shape_of(g, b->y));
    dd_val term = level == 1 ? b->y : dd_add(g, b->y, dd_scale(g, dd_square(g, b->y), 0.25));
    b->loss = dd_dot(g, b->w, term);
    dd_grad(g, b->loss, n, wrt, out);
    for (int k = 0; k < n; k++) b->g[which[k]] = out[k];
    if (level > 1) build_second(g, c, t, b, which, n);
}

static bool add_output(op_prog *q, dd_graph *g, const char *stem, int i, dd_val v, dd_tensor *t)
{
    char name[16];
    snprintf(name, sizeof name, "out_%s%d", stem, i);
    dd_output(g, name, v);
    if (v.id == 0) return false;
    return dd_tensor_init(t, q->t, dd_shape_of(g, v)) == DD_OK;
}

static bool add_outputs(op_prog *q, dd_graph *g, int level, const op_build *b)
{
    bool ok = add_output(q, g, "y", 0, b->y, &q->y);
    if (level > 0) ok = ok && add_output(q, g, "loss", 0, b->loss, &q->loss);
    if (level > 1) ok = ok && add_output(q, g, "s", 0, b->s, &q->s);
    for (int i = 0; i < q->c->nin; i++) {
        if (!op_is_diff(q->c, i)) continue;
        if (level > 0) ok = ok && add_output(q, g, "g", i, b->g[i], &q->g[i]);
        if (level > 1) ok = ok && add_output(q, g, "h", i, b->h[i], &q->h[i]);
    }
    return ok;
}

static dd_status bind_one(op_prog *q, const char *stem, int i, const dd_tensor *t)
{
    char name[16];
    snprintf(name, sizeof name, "%s%d", stem, i);
    return dd_bind(q->p, name, t);
}

static dd_status bind_all(op_prog *q, int level)
{
    for (int i = 0; i < q->c->nin; i++) {
        DD_TRY(bind_one(q, "x", i, &q->in[i]));
        if (!op_is_diff(q->c, i)) continue;
        if (level > 0) DD_TRY(bind_one(q, "out_g", i, &q->g[i]));
        if (level > 1) DD_TRY(bind_one(q, "v", i, &q->v[i]));
        if (level > 1) DD_TRY(bind_one(q, "out_h", i, &q->h[i]));
    }
    DD_TRY(bind_one(q, "out_y", 0, &q->y));
    if (level > 0) DD_TRY(bind_one(q, "w", 0, &q->w));
    if (level > 0) DD_TRY(bind_one(q, "out_loss", 0, &q->loss));
    return level > 1 ? bind_one(q, "out_s", 0, &q->s) : DD_OK;
}

static dd_status fill_all(op_prog *q, int level)
{
    static const op_input normal = {OP_NORMAL, {0, {0}}, 0};
    for (int i = 0; i < q->c->nin; i++) {
        DD_TRY(dd_tensor_init(&q->in[i], op_is_index(q->c, i) ? DD_I32 : q->t, q->c->in[i].shape));
        op_fill(&q->c->in[i], i, &q->in[i]);
        if (level < 2 || !op_is_diff(q->c, i)) continue;
        DD_TRY(dd_tensor_init(&q->v[i], q->t, q->c->in[i].shape));
        op_fill(&normal, 20 + i, &q->v[i]);
    }
    if (level == 0) return DD_OK;
    DD_TRY(dd_tensor_init(&q->w, q->t, q->y.shape));
    op_fill(&normal, 10, &q->w);
    return DD_OK;
}

bool op_prog_open(op_prog *q, const op_case *c, int level, dd_backend *b, dd_dtype t)
{
    op_build build;
    memset(q, 0, sizeof *q);
    q->c = c;
    q->t = t;
    dd_graph *g = dd_graph_new();
    if (!g) return false;
    op_build_graph(g, c, t, level, &build);
    bool ok = add_outputs(q, g, level, &build) && dd_graph_status(g) == DD_OK && dd_graph_verify(g) == DD_OK &&
              dd_compile(&q->p, g, b) == DD_OK && fill_all(q, level) == DD_OK && bind_all(q, level) == DD_OK;
    if (!ok) {
        (void)dd_graph_status(g);
        fprintf(stderr, "  %s: level %d on %s does not compile: %s\n", c->name, level, dd_backend_name(b),
                dd_last_error());
    }
    dd_graph_free(g);
    return ok;
}

bool op_prog_run(op_prog *q)
{
    if (dd_exec(q->p) == DD_OK) return true;
    fprintf(stderr, "  %s: does not run: %s\n", q->c->name, dd_last_error());
    return false;
}

void op_prog_close(op_prog *q)
{
    dd_program_free(q->p);
    for (int i = 0; i < OP_MAX_IN; i++) {
        dd_tensor_fini(&q->in[i]);
        dd_tensor_fini(&q->v[i]);
        dd_tensor_fini(&q->g[i]);
        dd_tensor_fini(&q->h[i]);
    }
    dd_tensor_fini(&q->w);
    dd_tensor_fini(&q->y);
    dd_tensor_fini(&q->loss);
    dd_tensor_fini(&q->s);
    memset(q, 0, sizeof *q);
}

double op_error(const dd_tensor *a, const dd_tensor *b)
{
    double worst = 0, scale = 0.1;
    for (int64_t i = 0; i < dd_shape_count(b->shape); i++) {
        double x = op_get(a, i), y = op_get(b, i);
        if (!isfinite(x) || !isfinite(y)) return (double)INFINITY;
        worst = fmax(worst, fabs(x - y));
        scale = fmax(scale, fabs(y));
    }
    return worst / scale;
}

void op_judge(op_score *s, const char *name, const char *what, double err, double tol)
{
    s->checked++;
    if (!(err <= s->worst)) {
        s->worst = err;
        s->where = name;
    }
    if (err < tol) return;
    s->failed++;
    fprintf(stderr, "  FAILED %s: %s: relative error %.3g, allowed %.3g\n", name, what, err, tol);
}

void op_summary(const op_score *s, const char *test)
{
    printf("%s: %d checks, %d failed, worst relative error %.2e (%s)\n", test, s->checked, s->failed, s->worst,
           s->where ? s->where : "none");
}
