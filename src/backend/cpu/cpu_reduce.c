/* SPDX-License-Identifier: Apache-2.0
 *
 * SUM, SUMMUL and MAXR on strided views. After merging, the innermost axis is either reduced (rows are folded) or
 * kept (rows are added into a strip of accumulators). The work is cut into outputs x blocks by the shape alone, each
 * block is computed by one thread and blocks are combined in order, so the result does not depend on the number of
 * threads. */
#include "backend/cpu/cpu_internal.h"

#include "backend/cpu/cpu_loops.h"
#include "backend/cpu/cpu_rows.h"
#include "base/memory.h"

#include <math.h>

enum { PIECE = 4096, STRIP = 2048, BLOCK = 16384, ENOUGH = 64, MAX_BLOCKS = 256, GROUP = 8 };

/* `kept` and `gone` hold the axes outside the inner one; operand k is source k. The inner axis of `len` elements is
 * cut into pieces. inner_kept: outputs = kept x len, a task is (kept, piece, block). Otherwise outputs = kept and the
 * pieces count as further reduced rows. */
typedef struct plan {
    dd_cpu_state base;
    dd_nest kept, gone;
    bool inner_kept;
    int64_t len, piece, pieces, inner[DD_INSTR_SRC];
    int64_t nkept, rows, blocks, outputs;
    int64_t group; /* outputs of one task: neighbours in memory are read together */
    dd_row_fold fold;
    dd_row_into into;
} plan;

static void plan_release(dd_cpu_state *s)
{
    dd_free(s);
}

static double combine(dd_kind kind, double a, double b)
{
    return kind != DD_K_MAXR ? a + b : b > a ? b : a;
}

static void put(const dd_instr *in, int64_t i, double v)
{
    if (in->dst.dtype == DD_F32)
        ((float *)in->out)[i] = (float)v;
    else
        ((double *)in->out)[i] = v;
}

static void rows_at(const plan *p, const dd_instr *in, const dd_cursor *a, const dd_cursor *b, int64_t at,
                    const void **x)
{
    const int64_t size = (int64_t)dd_dtype_size(in->dst.dtype);
    for (int k = 0; k < in->nsrc; k++)
        x[k] = (const char *)in->in[k] + (a->off[k] + b->off[k] + at * p->inner[k]) * size;
}

/* Block k of the rows of up to GROUP outputs. */
static void fold_task(const plan *p, const dd_instr *in, double *part, int64_t task)
{
    const int64_t k = task % p->blocks, o0 = task / p->blocks * p->group;
    const int64_t n = p->nkept - o0 < p->group ? p->nkept - o0 : p->group;
    const int64_t first = p->rows * k / p->blocks, last = p->rows * (k + 1) / p->blocks;
    dd_cursor a[GROUP], g = dd_cursor_at(&p->gone, p->gone.rank, first / p->pieces);
    double acc[GROUP];
    for (int64_t i = 0; i < n; i++) {
        a[i] = i ? a[i - 1] : dd_cursor_at(&p->kept, p->kept.rank, o0);
        if (i) dd_cursor_next(&a[i], &p->kept, p->kept.rank);
        acc[i] = in->kind == DD_K_MAXR ? -HUGE_VAL : 0.0;
    }
    for (int64_t u = first; u < last; u++) {
        const int64_t at = u % p->pieces * p->piece, len = p->len - at < p->piece ? p->len - at : p->piece;
        for (int64_t i = 0; i < n; i++) {
            const void *x[DD_INSTR_SRC];
            rows_at(p, in, &a[i], &g, at, x);
            acc[i] = combine(in->kind, acc[i], p->fold(len, x, p->inner));
        }
        if ((u + 1) % p->pieces == 0) dd_cursor_next(&g, &p->gone, p->gone.rank);
    }
    for (int64_t i = 0; i < n; i++) {
        if (p->blocks == 1)
            put(in, o0 + i, acc[i]);
        else
            part[k * p->outputs + o0 + i] = acc[i];
    }
}

static void into_task(const plan *p, const dd_instr *in, double *part, int64_t task)
{
    const int64_t k = task % p->blocks, at = task / p->blocks % p->pieces * p->piece,
                  row = task / p->blocks / p->pieces;
    const int64_t n = p->len - at < p->piece ? p->len - at : p->piece, first = p->rows * k / p->blocks;
    const dd_cursor a = dd_cursor_at(&p->kept, p->kept.rank, row);
    dd_cursor g = dd_cursor_at(&p->gone, p->gone.rank, first);
    double strip[STRIP];
    for (int64_t i = 0; i < n; i++) strip[i] = in->kind == DD_K_MAXR ? -HUGE_VAL : 0.0;
    for (int64_t u = first; u < p->rows * (k + 1) / p->blocks; u++) {
        const void *x[DD_INSTR_SRC];
        rows_at(p, in, &a, &g, at, x);
        p->into(n, strip, x, p->inner);
        dd_cursor_next(&g, &p->gone, p->gone.rank);
    }
    for (int64_t i = 0; i < n; i++) {
        if (p->blocks == 1)
            put(in, row * p->len + at + i, strip[i]);
        else
            part[k * p->outputs + row * p->len + at + i] = strip[i];
    }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const plan *p = in->state;
    double *part = scratch;
    const int64_t tasks = p->blocks * (p->inner_kept ? p->nkept * p->pieces : (p->nkept + p->group - 1) / p->group);
    const bool many = b->threads > 1 && dd_view_count(&in->src[0]) >= DD_CPU_GRAIN;
    void (*task)(const plan *, const dd_instr *, double *, int64_t) = p->inner_kept ? into_task : fold_task;
    if (many && tasks > 1) {
#pragma omp parallel for schedule(static) num_threads(b->threads)
        for (int64_t t = 0; t < tasks; t++) task(p, in, part, t);
    } else {
        for (int64_t t = 0; t < tasks; t++) task(p, in, part, t);
    }
    if (p->blocks == 1) return DD_OK;
    for (int64_t i = 0; i < p->outputs; i++) {
        double acc = part[i];
        for (int64_t k = 1; k < p->blocks; k++) acc = combine(in->kind, acc, part[k * p->outputs + i]);
        put(in, i, acc);
    }
    return DD_OK;
}

static void add_axis(dd_nest *to, const dd_nest *z, int i)
{
    to->dim[to->rank] = z->dim[i];
    for (int k = 0; k < z->nop; k++) to->stride[k][to->rank] = z->stride[k][i];
    to->rank++;
}

/* Splits the merged nest into kept and reduced axes and sets the inner one apart. */
static void plan_axes(plan *p, const dd_instr *in)
{
    const dd_view *v = &in->src[0];
    dd_nest z = {.rank = v->rank, .nop = in->nsrc};
    for (int i = 0; i < v->rank; i++) {
        z.dim[i] = v->dim[i];
        z.mark[i] = in->dst.dim[i] != 1;
        for (int k = 0; k < in->nsrc; k++) z.stride[k][i] = in->src[k].stride[i];
    }
    dd_nest_merge(&z);
    p->kept.nop = p->gone.nop = in->nsrc;
    p->len = 1;
    for (int i = 0; i < z.rank - 1; i++) add_axis(z.mark[i] ? &p->kept : &p->gone, &z, i);
    if (z.rank > 0) {
        p->len = z.dim[z.rank - 1];
        p->inner_kept = z.mark[z.rank - 1];
        for (int k = 0; k < in->nsrc; k++) p->inner[k] = z.stride[k][z.rank - 1];
    }
}

/* Few tasks with much work each are cut into blocks of about BLOCK elements. */
static void plan_blocks(plan *p)
{
    p->piece = p->inner_kept ? STRIP : PIECE;
    p->pieces = (p->len + p->piece - 1) / p->piece;
    p->nkept = dd_nest_count(&p->kept, p->kept.rank);
    p->rows = dd_nest_count(&p->gone, p->gone.rank) * (p->inner_kept ? 1 : p->pieces);
    p->outputs = p->nkept * (p->inner_kept ? p->len : 1);
    p->blocks = 1;
    p->group = p->nkept >= ENOUGH && p->gone.rank > 0 ? GROUP : 1;
    if (p->nkept * (p->inner_kept ? p->pieces : 1) >= ENOUGH) return;
    const int64_t wide = p->len < p->piece ? p->len : p->piece;
    int64_t n = p->rows * wide / BLOCK;
    n = n > MAX_BLOCKS ? MAX_BLOCKS : n;
    p->blocks = n > p->rows ? p->rows : n < 1 ? 1 : n;
}

dd_status dd_cpu_reduce_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    const dd_dtype t = in->dst.dtype;
    if (t != DD_F32 && t != DD_F64) return DD_OK;
    for (int k = 0; k < in->nsrc; k++)
        if (in->src[k].dtype != t) return DD_OK;
    plan *p = dd_alloc(1, sizeof *p);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a reduction plan");
    const dd_rows *r = t == DD_F32 ? &dd_cpu_rows_f32 : &dd_cpu_rows_f64;
    p->base.release = plan_release;
    p->fold = in->kind == DD_K_SUM ? r->sum : in->kind == DD_K_SUMMUL ? r->dot : r->max;
    p->into = in->kind == DD_K_SUM ? r->sum_into : in->kind == DD_K_SUMMUL ? r->dot_into : r->max_into;
    plan_axes(p, in);
    plan_blocks(p);
    in->scratch = p->blocks > 1 ? (size_t)(p->blocks * p->outputs) * sizeof(double) : 0;
    in->state = p;
    in->launch = launch;
    return DD_OK;
}
