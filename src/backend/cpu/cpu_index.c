/* SPDX-License-Identifier: Apache-2.0
 *
 * GATHER and SCATTER_ADD. A scatter gives each thread its own columns (or its own rows, along), so every element is
 * added to by one thread in the order of the index. */
#include "backend/cpu/cpu_internal.h"

#include <string.h>

/* rows: one group, `m` picks of `width` elements out of `extent` rows. along: `groups` of m picks of one element. */
typedef struct picks {
    int64_t groups, m, extent, width;
    const int32_t *index;
} picks;

static picks picks_of(const dd_instr *in)
{
    const bool along = in->attr[0] != 0, add = in->kind == DD_K_SCATTER_ADD;
    const dd_view *lv = add ? &in->dst : &in->src[0], *pv = add ? &in->src[0] : &in->dst;
    const int64_t n = dd_view_count(&in->src[1]);
    picks p = {.index = in->in[1], .m = along ? pv->dim[pv->rank - 1] : n};
    p.groups = n / p.m;
    p.extent = lv->dim[along ? lv->rank - 1 : 0];
    p.width = dd_view_count(pv) / n;
    return p;
}

static dd_status check(const picks *p)
{
    for (int64_t i = 0; i < p->groups * p->m; i++)
        if (p->index[i] < 0 || p->index[i] >= p->extent)
            return dd_fail(DD_EINVAL, "index %d at position %lld is outside 0..%lld", p->index[i], (long long)i,
                           (long long)p->extent - 1);
    return DD_OK;
}

static dd_status gather(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const picks p = picks_of(in);
    DD_TRY(check(&p));
    const float *x = in->in[0];
    float *y = in->out;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (p.groups * p.m * p.width >= DD_CPU_GRAIN)
    for (int64_t i = 0; i < p.groups * p.m; i++) {
        const float *from = x + (i / p.m * p.extent + p.index[i]) * p.width;
        if (p.width == 1)
            y[i] = *from;
        else
            memcpy(y + i * p.width, from, (size_t)p.width * sizeof *y);
    }
    return DD_OK;
}

/* Columns c0..c1-1 of the rows of groups g0..g1-1. */
static void scatter_part(const picks *p, const float *u, float *y, int64_t g0, int64_t g1, int64_t c0, int64_t c1)
{
    for (int64_t r = g0 * p->extent; r < g1 * p->extent; r++)
        memset(y + r * p->width + c0, 0, (size_t)(c1 - c0) * sizeof *y);
    for (int64_t i = g0 * p->m; i < g1 * p->m; i++) {
        float *to = y + (i / p->m * p->extent + p->index[i]) * p->width;
        for (int64_t c = c0; c < c1; c++) to[c] += u[i * p->width + c];
    }
}

static dd_status scatter(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const picks p = picks_of(in);
    DD_TRY(check(&p));
    const int64_t t = b->threads, work = p.groups * (p.m + p.extent) * p.width;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (work >= DD_CPU_GRAIN)
    for (int64_t k = 0; k < t; k++) {
        if (p.width == 1)
            scatter_part(&p, in->in[0], in->out, p.groups * k / t, p.groups * (k + 1) / t, 0, 1);
        else
            scatter_part(&p, in->in[0], in->out, 0, p.groups, p.width * k / t, p.width * (k + 1) / t);
    }
    return DD_OK;
}

/* ---- by the maxima of 2x2 windows ---- */

/* y = the element of each window that the index names. */
static inline void gather_rows(const int64_t q, const int64_t *z, const int32_t *index, const float *x, float *y)
{
    const int32_t w = (int32_t)z[1];
    int32_t at = 0;
    for (int64_t p = 0; p < z[2]; p++, x += 2 * w, at += 2 * w, index += q, y += q) {
#pragma omp simd
        for (int64_t i = 0; i < q; i++) {
            const int32_t k = index[i] - at - 2 * (int32_t)i;
            const float a0 = x[2 * i], a1 = x[2 * i + 1], b0 = x[w + 2 * i], b1 = x[w + 2 * i + 1];
            const float upper = k == 0 ? a0 : a1, lower = k == w ? b0 : b1;
            y[i] = k < w ? upper : lower;
        }
    }
}

DD_SIMD static void gather_plane(const int64_t *z, const int32_t *index, const float *x, float *y)
{
    DD_USUAL_WIDTHS(gather_rows, z[3], z, index, x, y)
}

/* The rest of y is zero. */
static inline void scatter_rows(const int64_t q, const int64_t *z, const int32_t *index, const float *u, float *y)
{
    const int32_t w = (int32_t)z[1];
    int32_t at = 0;
    for (int64_t p = 0; p < z[2]; p++, y += 2 * w, at += 2 * w, index += q, u += q) {
#pragma omp simd
        for (int64_t i = 0; i < q; i++) {
            const int32_t k = index[i] - at - 2 * (int32_t)i;
            y[2 * i] = k == 0 ? u[i] : 0;
            y[2 * i + 1] = k == 1 ? u[i] : 0;
            y[w + 2 * i] = k == w ? u[i] : 0;
            y[w + 2 * i + 1] = k == w + 1 ? u[i] : 0;
        }
        for (int64_t j = 2 * q; j < w; j++) y[j] = y[w + j] = 0;
    }
    memset(y, 0, (size_t)((z[0] - 2 * z[2]) * w) * sizeof *y);
}

DD_SIMD static void scatter_plane(const int64_t *z, const int32_t *index, const float *u, float *y)
{
    DD_USUAL_WIDTHS(scatter_rows, z[3], z, index, u, y)
}

static dd_status windows(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const int64_t *z = in->attr + 1, small = z[2] * z[3], large = z[0] * z[1],
                  planes = dd_view_count(&in->src[1]) / small;
    const bool add = in->kind == DD_K_SCATTER_ADD;
    void (*fn)(const int64_t *, const int32_t *, const float *, float *) = add ? scatter_plane : gather_plane;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (planes * large >= DD_CPU_GRAIN)
    for (int64_t n = 0; n < planes; n++)
        fn(z, (const int32_t *)in->in[1] + n * small, (const float *)in->in[0] + n * (add ? small : large),
           (float *)in->out + n * (add ? large : small));
    return DD_OK;
}

dd_status dd_cpu_index_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (in->src[0].dtype == DD_F32 && in->dst.dtype == DD_F32) in->launch = in->kind == DD_K_GATHER ? gather : scatter;
    if (in->src[0].dtype == DD_F32 && in->attr[1] > 0) in->launch = windows;
    return DD_OK;
}
