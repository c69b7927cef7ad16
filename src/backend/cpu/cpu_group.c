/* SPDX-License-Identifier: Apache-2.0
 *
 * Row groups: every member in turn over a block of rows that stays in cache. Blocks are cut by the shape alone and
 * handed out to the threads; values that only members read live in a few buffers of one block per thread. */
#include "backend/cpu/cpu_internal.h"

#include "backend/cpu/cpu_loops.h"
#include "backend/cpu/cpu_rows.h"
#include "base/memory.h"

#include <string.h>

enum { BLOCK = 8192, ALIGN = 64 }; /* elements of a block; bytes */

/* How one operand is found: in a buffer, or in memory from a cursor over the rows. */
typedef struct operand {
    int buffer;    /* -1: memory */
    int64_t row;   /* elements from one row to the next; only if `steady` */
    int64_t inner; /* within a row */
    bool steady;
} operand;

typedef struct member {
    const dd_instr *in;
    dd_nest rows; /* the row axes; operand 0 is dst */
    operand op[DD_INSTR_SRC];
    int64_t width;
    bool block, steady; /* one call for the block; pointers advance by op[].row */
    dd_row_map map;     /* POINTWISE */
    dd_row_fold fold;   /* reductions */
    bool large;         /* SUMPOOL_T rather than SUMPOOL, if neither */
} member;

typedef struct plan {
    dd_cpu_state base;
    int64_t outer, block, blocks;
    size_t size, buffer, thread; /* bytes of an element, of a buffer, of a thread's buffers */
    int n;
    member m[];
} plan;

static void plan_release(dd_cpu_state *s)
{
    dd_free(s);
}

static char *writable(const void *p)
{
    char *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

static void fold_row(const plan *p, const member *m, char *y, const void *const *x, const int64_t *sx)
{
    const double v = m->fold(m->width, x, sx);
    if (p->size == sizeof(float))
        *(float *)(void *)y = (float)v;
    else
        *(double *)(void *)y = v;
}

/* Element 0 of each operand for the row under the cursor, which is row `first` of the block that starts at `row`. */
static void point(const plan *p, const member *m, const dd_cursor *c, char *buffers, char **at)
{
    for (int k = 0; k < m->rows.nop; k++) {
        const operand *o = &m->op[k];
        at[k] = o->buffer >= 0 ? buffers + (size_t)o->buffer * p->buffer
                               : writable(k ? m->in->in[k - 1] : m->in->out) + c->off[k] * (int64_t)p->size;
    }
}

static void run_member(const plan *p, const member *m, int64_t row, int64_t n, char *buffers)
{
    char *at[DD_INSTR_SRC];
    const void *x[DD_INSTR_SRC] = {NULL};
    int64_t sx[DD_INSTR_SRC] = {0};
    const int nsrc = m->rows.nop - 1;
    dd_cursor c = dd_cursor_at(&m->rows, m->rows.rank, row);
    for (int k = 0; k < nsrc; k++) sx[k] = m->op[k + 1].inner;
    point(p, m, &c, buffers, at);
    const int64_t calls = m->block ? 1 : n, width = m->block ? n * m->width : m->width;
    for (int64_t r = 0; r < calls; r++) {
        for (int k = 0; k < nsrc; k++) x[k] = at[k + 1];
        if (m->map)
            m->map(width, at[0], m->op[0].inner, x, sx);
        else if (m->fold)
            fold_row(p, m, at[0], x, sx);
        else
            dd_cpu_pool_plane(m->in->attr, m->large, x[0], (float *)(void *)at[0]);
        if (r + 1 == calls) break;
        if (!m->steady) {
            dd_cursor_next(&c, &m->rows, m->rows.rank);
            char *next[DD_INSTR_SRC];
            point(p, m, &c, buffers, next);
            for (int k = 0; k <= nsrc; k++)
                if (!m->op[k].steady) at[k] = next[k];
        }
        for (int k = 0; k <= nsrc; k++)
            if (m->op[k].steady) at[k] += m->op[k].row * (int64_t)p->size;
    }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const plan *p = in->state;
    const int64_t parts = b->threads > 1 && p->outer * in->attr[1] >= DD_CPU_GRAIN ? b->threads : 1;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (parts > 1)
    for (int64_t t = 0; t < parts; t++) {
        char *buffers = p->thread ? (char *)scratch + (size_t)t * p->thread : NULL;
        for (int64_t u = p->blocks * t / parts; u < p->blocks * (t + 1) / parts; u++) {
            const int64_t row = u * p->block, n = p->outer - row < p->block ? p->outer - row : p->block;
            for (int i = 0; i < p->n; i++) run_member(p, &p->m[i], row, n, buffers);
        }
    }
    return DD_OK;
}

/* ---- preparing ---- */

/* A buffer holds row after row; memory advances evenly if its row axes are one. */
static operand operand_of(const dd_instr *in, int k)
{
    const dd_view *v = k ? &in->src[k - 1] : &in->dst;
    const int last = v->rank - 1;
    operand o = {.buffer = in->buffer[k] - 1, .inner = v->stride[last], .steady = true};
    if (o.buffer >= 0) {
        o.row = v->stride[last] == 1 ? v->dim[last] : 1;
        if (v->dim[last] == 1) o.inner = 1;
        return o;
    }
    dd_nest z = {.rank = last, .nop = 1};
    for (int i = 0; i < last; i++) {
        z.dim[i] = v->dim[i];
        z.stride[0][i] = v->stride[i];
    }
    dd_nest_merge(&z);
    o.steady = z.rank < 2;
    o.row = z.rank == 1 ? z.stride[0][0] : 0;
    if (v->dim[last] == 1) o.inner = o.row; /* one call then runs over rows */
    return o;
}

static void add_rows(member *m, int k, const dd_view *v)
{
    m->rows.rank = v->rank - 1;
    for (int i = 0; i < v->rank - 1; i++) {
        m->rows.dim[i] = v->dim[i];
        m->rows.stride[k][i] = v->stride[i];
    }
}

static void choose_kernel(member *m, const dd_instr *in, const dd_rows *f)
{
    switch (in->kind) {
    case DD_K_POINTWISE: m->map = f->map[in->ew]; break;
    case DD_K_SUM: m->fold = f->sum; break;
    case DD_K_SUMMUL: m->fold = f->dot; break;
    case DD_K_MAXR: m->fold = f->max; break;
    default: m->large = in->kind == DD_K_SUMPOOL_T;
    }
}

static void plan_member(member *m, const dd_instr *in, const dd_rows *f)
{
    choose_kernel(m, in, f);
    m->in = in;
    m->rows.nop = in->nsrc + 1;
    m->width = m->map ? in->dst.dim[in->dst.rank - 1] : in->src[0].dim[in->src[0].rank - 1];
    m->block = m->map != NULL;
    m->steady = true;
    for (int k = 0; k <= in->nsrc; k++) {
        add_rows(m, k, k ? &in->src[k - 1] : &in->dst);
        m->op[k] = operand_of(in, k);
        const operand *o = &m->op[k];
        const bool even = m->width == 1 || o->row == m->width * o->inner;
        m->steady = m->steady && o->steady;
        m->block = m->block && o->steady && even;
    }
    dd_nest_merge(&m->rows);
}

dd_status dd_cpu_group_prepare(dd_backend *b, dd_instr *in)
{
    const int n = (int)in->attr[2];
    const int64_t len = in->attr[1];
    const dd_dtype t = in->member[0]->dst.dtype;
    plan *p = dd_alloc(1, sizeof *p + (size_t)n * sizeof p->m[0]);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a row group of %d instructions", n);
    p->base.release = plan_release;
    p->n = n;
    p->outer = in->attr[0];
    p->block = BLOCK / len > 1 ? BLOCK / len : 1;
    p->blocks = (p->outer + p->block - 1) / p->block;
    p->size = dd_dtype_size(t);
    p->buffer = ((size_t)(p->block * len) * p->size + ALIGN - 1) / ALIGN * ALIGN;
    p->thread = p->buffer * (size_t)in->attr[3];
    for (int i = 0; i < n; i++) plan_member(&p->m[i], in->member[i], t == DD_F32 ? &dd_cpu_rows_f32 : &dd_cpu_rows_f64);
    in->scratch = p->thread * (size_t)b->threads;
    in->state = p;
    in->launch = launch;
    return DD_OK;
}
