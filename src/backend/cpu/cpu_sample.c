/* SPDX-License-Identifier: Apache-2.0
 *
 * SAMPLE and SAMPLE_T, images in parallel. The position of a pixel and its weights are computed once, in double, and
 * used for all channels. */
#include "backend/cpu/cpu_internal.h"

#include <string.h>

typedef struct shape {
    int64_t n, c, h, w, p, q;
} shape;

/* The pixels around a position that lie inside the image, and their bilinear weights. */
typedef struct taps {
    int n;
    int64_t at[4];
    float weight[4];
} taps;

static taps taps_at(const shape *z, const float *a, int64_t i, int64_t j)
{
    const double dy = (double)i - 0.5 * (double)(z->p - 1), dx = (double)j - 0.5 * (double)(z->q - 1);
    const double y = (double)a[0] * dy + (double)a[1] * dx + (double)a[2] + 0.5 * (double)(z->h - 1);
    const double x = (double)a[3] * dy + (double)a[4] * dx + (double)a[5] + 0.5 * (double)(z->w - 1);
    taps t = {.n = 0};
    if (!(y > -1.0 && y < (double)z->h && x > -1.0 && x < (double)z->w)) return t;
    const int64_t y0 = (int64_t)(y + 1.0) - 1, x0 = (int64_t)(x + 1.0) - 1; /* floor, both being above -1 */
    const double fy = y - (double)y0, fx = x - (double)x0;
    for (int k = 0; k < 4; k++) {
        const int64_t yk = y0 + k / 2, xk = x0 + k % 2;
        if (yk < 0 || yk >= z->h || xk < 0 || xk >= z->w) continue;
        t.at[t.n] = yk * z->w + xk;
        t.weight[t.n++] = (float)((k / 2 ? fy : 1.0 - fy) * (k % 2 ? fx : 1.0 - fx));
    }
    return t;
}

static void forward(const shape *z, const float *a, const float *x, float *y)
{
    const int64_t big = z->h * z->w, small = z->p * z->q;
    for (int64_t e = 0; e < small; e++) {
        const taps t = taps_at(z, a, e / z->q, e % z->q);
        for (int64_t c = 0; c < z->c; c++) {
            float sum = 0.0f;
            for (int k = 0; k < t.n; k++) sum += t.weight[k] * x[c * big + t.at[k]];
            y[c * small + e] = sum;
        }
    }
}

static void transposed(const shape *z, const float *a, const float *u, float *y)
{
    const int64_t big = z->h * z->w, small = z->p * z->q;
    memset(y, 0, (size_t)(z->c * big) * sizeof *y);
    for (int64_t e = 0; e < small; e++) {
        const taps t = taps_at(z, a, e / z->q, e % z->q);
        for (int64_t c = 0; c < z->c; c++)
            for (int k = 0; k < t.n; k++) y[c * big + t.at[k]] += t.weight[k] * u[c * small + e];
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
    for (int64_t i = 0; i < z.n; i++) {
        if (t)
            transposed(&z, a + 6 * i, src + i * nsmall, dst + i * nbig);
        else
            forward(&z, a + 6 * i, src + i * nbig, dst + i * nsmall);
    }
    return DD_OK;
}

dd_status dd_cpu_sample_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (in->src[0].dtype == DD_F32 && in->src[1].dtype == DD_F32) in->launch = launch;
    return DD_OK;
}
