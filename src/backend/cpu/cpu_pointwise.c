/* SPDX-License-Identifier: Apache-2.0
 *
 * POINTWISE, COPY and FILL on strided views. The loop nest is merged and given a long inner axis once, when the
 * instruction is prepared; a launch hands contiguous ranges of rows to the threads. A copy that transposes goes by
 * square tiles, so that neither side is read or written a cache line for one element. */
#include "backend/cpu/cpu_internal.h"

#include "backend/cpu/cpu_loops.h"
#include "backend/cpu/cpu_rows.h"
#include "base/memory.h"

enum { CHUNK = 16384, SHORT = 8, TILE = 16, BAND = 64 };

/* Operand 0 of the nest is dst, 1.. are the sources. Rows run along the last axis in pieces of `chunk`. */
typedef struct plan {
    dd_cpu_state base;
    dd_nest nest;
    dd_row_map row;
    int outer; /* axes of the walk: rank - 1, or rank - 2 when tiled */
    int64_t len, pieces, piece, units;
    bool tiled;
    int64_t to, from; /* bytes of an element of dst and of the sources */
    double fill64;
    float fill32;
} plan;

static void plan_release(dd_cpu_state *s)
{
    dd_free(s);
}

static void run_rows(const plan *p, const dd_instr *in, int64_t first, int64_t last)
{
    const dd_nest *z = &p->nest;
    const int inner = z->rank - 1, nsrc = z->nop - 1;
    const int64_t sy = inner < 0 ? 1 : z->stride[0][inner];
    int64_t sx[DD_INSTR_SRC] = {0};
    for (int k = 0; k < nsrc; k++) sx[k] = inner < 0 ? 1 : z->stride[k + 1][inner];
    dd_cursor c = dd_cursor_at(z, p->outer, first / p->pieces);
    for (int64_t u = first; u < last; u++) {
        const int64_t at = u % p->pieces * p->piece, n = p->len - at < p->piece ? p->len - at : p->piece;
        const void *x[DD_INSTR_SRC] = {NULL};
        for (int k = 0; k < nsrc; k++) x[k] = (const char *)in->in[k] + (c.off[k + 1] + at * sx[k]) * p->from;
        if (in->kind == DD_K_FILL) x[0] = p->to == sizeof(float) ? (const void *)&p->fill32 : (const void *)&p->fill64;
        p->row(n, (char *)in->out + (c.off[0] + at * sy) * p->to, sy, x, sx);
        if ((u + 1) % p->pieces == 0) dd_cursor_next(&c, z, p->outer);
    }
}

/* Bands of `piece` lines of the last axis but one, each cut into square tiles. */
static void run_tiles(const plan *p, const dd_instr *in, int64_t first, int64_t last)
{
    const dd_nest *z = &p->nest;
    const int i = z->rank - 2, j = z->rank - 1;
    const int64_t sx = z->stride[1][j];
    for (int64_t u = first; u < last; u++) {
        const dd_cursor c = dd_cursor_at(z, p->outer, u / p->pieces);
        const int64_t i0 = u % p->pieces * p->piece, i1 = i0 + p->piece < z->dim[i] ? i0 + p->piece : z->dim[i];
        for (int64_t jt = 0; jt < z->dim[j]; jt += TILE)
            for (int64_t k = i0; k < i1; k++) {
                const int64_t n = z->dim[j] - jt < TILE ? z->dim[j] - jt : TILE;
                const int64_t at = c.off[0] + k * z->stride[0][i] + jt * z->stride[0][j];
                const int64_t from = c.off[1] + k * z->stride[1][i] + jt * sx;
                const void *x[1] = {(const char *)in->in[0] + from * p->from};
                p->row(n, (char *)in->out + at * p->to, z->stride[0][j], x, &sx);
            }
    }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const plan *p = in->state;
    const bool many = b->threads > 1 && dd_view_count(&in->dst) >= DD_CPU_GRAIN;
    const int64_t parts = many && p->units > 1 ? b->threads : 1;
    void (*run)(const plan *, const dd_instr *, int64_t, int64_t) = p->tiled ? run_tiles : run_rows;
    if (parts == 1) {
        run(p, in, 0, p->units);
        return DD_OK;
    }
#pragma omp parallel for schedule(static) num_threads(b->threads)
    for (int64_t t = 0; t < parts; t++) run(p, in, p->units * t / parts, p->units * (t + 1) / parts);
    return DD_OK;
}

/* The last axis becomes the inner loop; a short one makes way for the longest. */
static void choose_inner(dd_nest *z)
{
    int best = z->rank - 1;
    if (z->rank < 2 || z->dim[best] >= SHORT) return;
    for (int i = 0; i < z->rank; i++)
        if (z->dim[i] > 4 * z->dim[z->rank - 1] && z->dim[i] > z->dim[best]) best = i;
    dd_nest_swap(z, best, z->rank - 1);
}

/* A copy whose source runs along another axis than dst: that axis goes last but one. */
static bool choose_tiles(dd_nest *z)
{
    const int j = z->rank - 1;
    if (z->rank < 2 || z->stride[0][j] != 1 || z->dim[j] < SHORT || z->stride[1][j] * z->stride[1][j] <= 1)
        return false;
    for (int i = 0; i < j; i++)
        if (z->stride[1][i] * z->stride[1][i] == 1 && z->dim[i] >= SHORT) {
            dd_nest_swap(z, i, j - 1);
            return true;
        }
    return false;
}

static void plan_shape(plan *p, const dd_instr *in)
{
    dd_nest *z = &p->nest;
    z->rank = in->dst.rank;
    z->nop = in->nsrc + 1;
    for (int i = 0; i < z->rank; i++) {
        z->dim[i] = in->dst.dim[i];
        z->stride[0][i] = in->dst.stride[i];
        for (int k = 0; k < in->nsrc; k++) z->stride[k + 1][i] = in->src[k].stride[i];
    }
    dd_nest_merge(z);
    p->tiled = in->kind == DD_K_COPY && choose_tiles(z);
    if (!p->tiled) choose_inner(z);
    p->outer = z->rank - (p->tiled ? 2 : 1);
    if (p->outer < 0) p->outer = 0;
    p->len = z->rank == 0 ? 1 : z->dim[p->outer];
    p->piece = p->tiled ? BAND : CHUNK;
    p->pieces = (p->len + p->piece - 1) / p->piece;
    p->units = dd_nest_count(z, p->outer) * p->pieces;
}

#define CONVERT(name, FROM, TO)                                                                                        \
    DD_SIMD static void name(int64_t n, void *dst, int64_t sy, const void *const *x, const int64_t *sx)                \
    {                                                                                                                  \
        const FROM *p = x[0];                                                                                          \
        TO *y = dst;                                                                                                   \
        if (sy == 1 && sx[0] == 1) {                                                                                   \
            _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = (TO)p[i];                                       \
        } else {                                                                                                       \
            for (int64_t i = 0; i < n; i++) y[i * sy] = (TO)p[i * sx[0]];                                              \
        }                                                                                                              \
    }

CONVERT(widen, float, double)
CONVERT(narrow, double, float)

static bool is_real(dd_dtype t)
{
    return t == DD_F32 || t == DD_F64;
}

/* Only a copy may change precision. */
static bool takes(const dd_instr *in)
{
    const dd_dtype t = in->dst.dtype;
    if (!is_real(t) || in->nsrc + 1 > DD_INSTR_SRC) return false;
    if (in->kind == DD_K_COPY) return is_real(in->src[0].dtype);
    for (int k = 0; k < in->nsrc; k++)
        if (in->src[k].dtype != t) return false;
    return true;
}

static dd_row_map row_of(const dd_instr *in)
{
    const dd_dtype t = in->dst.dtype;
    const dd_rows *rows = t == DD_F32 ? &dd_cpu_rows_f32 : &dd_cpu_rows_f64;
    if (in->kind == DD_K_POINTWISE) return rows->map[in->ew];
    if (in->kind == DD_K_COPY && in->src[0].dtype != t) return t == DD_F32 ? narrow : widen;
    return rows->copy;
}

dd_status dd_cpu_pointwise_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (!takes(in)) return DD_OK;
    plan *p = dd_alloc(1, sizeof *p);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a pointwise plan");
    p->base.release = plan_release;
    p->row = row_of(in);
    p->to = (int64_t)dd_dtype_size(in->dst.dtype);
    p->from = in->nsrc ? (int64_t)dd_dtype_size(in->src[0].dtype) : p->to;
    p->fill64 = in->c;
    p->fill32 = (float)in->c;
    plan_shape(p, in);
    in->state = p;
    in->launch = launch;
    return DD_OK;
}
