/* SPDX-License-Identifier: Apache-2.0
 *
 * SAMPLE and SAMPLE_T, images in parallel. Positions of pixels and their weights are computed once, in double, as
 * vectors, and used for all channels. */
#include "backend/cpu/cpu_internal.h"

#include <string.h>

enum { PIECE = 64 }; /* pixels of a row at a time */

typedef struct shape {
    int64_t n, c, h, w, p, q;
} shape;

/* Positions of some pixels of a row: the upper left of the four pixels around each, the bilinear weights of the four,
 * and whether all lie inside the image. */
typedef struct positions {
    int32_t row[PIECE], column[PIECE], inside[PIECE];
    float weight[4][PIECE];
} positions;

/* Pixels j..j+n-1 of row i; a [2,3] maps places relative to the centres. */
DD_SIMD static void find(const shape *z, const float *a, int64_t i, int64_t j, int n, positions *t)
{
    const double dy = (double)i - 0.5 * (double)(z->p - 1), first = (double)j - 0.5 * (double)(z->q - 1);
    const double cy = 0.5 * (double)(z->h - 1), cx = 0.5 * (double)(z->w - 1);
    const double a0 = (double)a[0] * dy, a1 = (double)a[1], a2 = (double)a[2];
    const double a3 = (double)a[3] * dy, a4 = (double)a[4], a5 = (double)a[5];
    const double h = (double)z->h, w = (double)z->w;
#pragma omp simd
    for (int k = 0; k < n; k++) {
        const double dx = first + (double)k;
        const double y = a0 + a1 * dx + a2 + cy, x = a3 + a4 * dx + a5 + cx;
        const bool near = y > -1.0 && y < h && x > -1.0 && x < w; /* not a number: far */
        const double ys = near ? y : -2.0, xs = near ? x : -2.0;
        const int32_t y0 = (int32_t)(ys + 2.0) - 2, x0 = (int32_t)(xs + 2.0) - 2; /* floor, both being at least -2 */
        const double fy = ys - (double)y0, fx = xs - (double)x0;
        t->row[k] = y0;
        t->column[k] = x0;
        t->inside[k] = y0 >= 0 && (double)y0 + 1.0 < h && x0 >= 0 && (double)x0 + 1.0 < w;
        t->weight[0][k] = (float)((1.0 - fy) * (1.0 - fx));
        t->weight[1][k] = (float)((1.0 - fy) * fx);
        t->weight[2][k] = (float)(fy * (1.0 - fx));
        t->weight[3][k] = (float)(fy * fx);
    }
}

/* Offset of neighbour k of pixel e; -1: it lies outside. */
static int64_t neighbour(const shape *z, const positions *t, int e, int k)
{
    const int64_t y = t->row[e] + k / 2, x = t->column[e] + k % 2;
    return y < 0 || y >= z->h || x < 0 || x >= z->w ? -1 : y * z->w + x;
}

static float weigh(const shape *z, const positions *t, int e, const float *x)
{
    float sum = 0.0f;
    if (t->inside[e]) {
        const float *at = x + t->row[e] * z->w + t->column[e];
        return t->weight[0][e] * at[0] + t->weight[1][e] * at[1] + t->weight[2][e] * at[z->w] +
               t->weight[3][e] * at[z->w + 1];
    }
    for (int k = 0; k < 4; k++) {
        const int64_t at = neighbour(z, t, e, k);
        if (at >= 0) sum += t->weight[k][e] * x[at];
    }
    return sum;
}

static void spread(const shape *z, const positions *t, int e, float u, float *y)
{
    for (int k = 0; k < 4; k++) {
        const int64_t at = neighbour(z, t, e, k);
        if (at >= 0) y[at] += t->weight[k][e] * u;
    }
}

/* One image: y from x, or for the transposed way x from y. */
static void image(const shape *z, bool transposed, const float *a, const float *from, float *to)
{
    const int64_t big = z->h * z->w, small = z->p * z->q;
    positions t;
    if (transposed) memset(to, 0, (size_t)(z->c * big) * sizeof *to);
    for (int64_t i = 0; i < z->p; i++)
        for (int64_t j = 0; j < z->q; j += PIECE) {
            const int n = z->q - j < PIECE ? (int)(z->q - j) : PIECE;
            find(z, a, i, j, n, &t);
            for (int64_t c = 0; c < z->c; c++) {
                const int64_t at = c * small + i * z->q + j;
                for (int e = 0; e < n; e++)
                    if (transposed)
                        spread(z, &t, e, from[at + e], to + c * big);
                    else
                        to[at + e] = weigh(z, &t, e, from + c * big);
            }
        }
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const bool t = in->kind == DD_K_SAMPLE_T;
    const dd_view *big = t ? &in->dst : &in->src[0], *small = t ? &in->src[0] : &in->dst;
    const shape z = {big->dim[0], big->dim[1], big->dim[2], big->dim[3], small->dim[2], small->dim[3]};
    const int64_t nbig = z.c * z.h * z.w, nsmall = z.c * z.p * z.q;
    const float *src = in->in[0], *a = in->in[1];
    float *dst = in->out;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (z.n * (nbig + nsmall) >= DD_CPU_GRAIN / 4)
    for (int64_t i = 0; i < z.n; i++)
        image(&z, t, a + 6 * i, src + i * (t ? nsmall : nbig), dst + i * (t ? nbig : nsmall));
    return DD_OK;
}

dd_status dd_cpu_sample_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (in->src[0].dtype == DD_F32 && in->src[1].dtype == DD_F32) in->launch = launch;
    return DD_OK;
}
