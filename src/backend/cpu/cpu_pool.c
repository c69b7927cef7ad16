/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling sums and window maxima, planes in parallel. The 2x2 windows with stride 2 that tile the image, which the
 * usual networks have, get loops of their own. */
#include "backend/cpu/cpu_internal.h"

#include "backend/geometry.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Whether every window is 2x2 and lies inside the image. */
static bool is_halving(const dd_pool_geo *z)
{
    return z->kh == 2 && z->kw == 2 && z->sh == 2 && z->sw == 2 && z->ph == 0 && z->pw == 0 && 2 * z->p <= z->h &&
           2 * z->q <= z->w;
}

DD_SIMD static void halve_row(int64_t n, float *y, const float *a, const float *b)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = (a[2 * i] + b[2 * i]) + (a[2 * i + 1] + b[2 * i + 1]);
}

DD_SIMD static void double_row(int64_t n, float *a, float *b, const float *u)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) a[2 * i] = a[2 * i + 1] = b[2 * i] = b[2 * i + 1] = u[i];
}

/* Whole planes of the usual sides, so that each is one call without a loop's beginning and end for every short row. */
#define HALVE_PLANE(q)                                                                                                 \
    DD_SIMD static void halve_##q(int64_t n, const float *x, float *y)                                                 \
    {                                                                                                                  \
        for (; n > 0; n--, x += 4 * (q), y += (q)) {                                                                   \
            float both[2 * (q)];                                                                                       \
            _Pragma("omp simd") for (int i = 0; i < 2 * (q); i++) both[i] = x[i] + x[2 * (q) + i];                     \
            _Pragma("omp simd") for (int i = 0; i < (q); i++) y[i] = both[2 * i] + both[2 * i + 1];                    \
        }                                                                                                              \
    }
HALVE_PLANE(4)
HALVE_PLANE(8)
HALVE_PLANE(16)

static void halve(const dd_pool_geo *z, const float *x, float *y)
{
    if (z->w == 2 * z->q && z->q == 16)
        halve_16(z->p, x, y);
    else if (z->w == 2 * z->q && z->q == 8)
        halve_8(z->p, x, y);
    else if (z->w == 2 * z->q && z->q == 4)
        halve_4(z->p, x, y);
    else
        for (int64_t p = 0; p < z->p; p++) halve_row(z->q, y + p * z->q, x + 2 * p * z->w, x + (2 * p + 1) * z->w);
}

static void duplicate(const dd_pool_geo *z, const float *u, float *y)
{
    for (int64_t p = 0; p < z->p; p++) {
        float *row = y + 2 * p * z->w;
        double_row(z->q, row, row + z->w, u + p * z->q);
        for (int64_t w = 2 * z->q; w < z->w; w++) row[w] = row[z->w + w] = 0.0f;
    }
    for (int64_t e = 2 * z->p * z->w; e < z->h * z->w; e++) y[e] = 0.0f;
}

void dd_cpu_pool_plane(const int64_t plane[4], bool large, const float *x, float *y)
{
    const dd_pool_geo z = {.h = plane[0], .w = plane[1], .p = plane[2], .q = plane[3]};
    (large ? duplicate : halve)(&z, x, y);
}

/* The part of window i that lies inside 0..size-1. */
static void window(int64_t i, int64_t stride, int64_t pad, int64_t kernel, int64_t size, int64_t *lo, int64_t *hi)
{
    const int64_t at = i * stride - pad;
    *lo = at < 0 ? 0 : at;
    *hi = least(at + kernel, size);
}

static void pool(const dd_pool_geo *z, const float *x, float *y)
{
    for (int64_t e = 0; e < z->p * z->q; e++) {
        int64_t h0, h1, w0, w1;
        float sum = 0.0f;
        window(e / z->q, z->sh, z->ph, z->kh, z->h, &h0, &h1);
        window(e % z->q, z->sw, z->pw, z->kw, z->w, &w0, &w1);
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) sum += x[h * z->w + w];
        y[e] = sum;
    }
}

static void pool_t(const dd_pool_geo *z, const float *u, float *y)
{
    for (int64_t e = 0; e < z->h * z->w; e++) y[e] = 0.0f;
    for (int64_t e = 0; e < z->p * z->q; e++) {
        int64_t h0, h1, w0, w1;
        window(e / z->q, z->sh, z->ph, z->kh, z->h, &h0, &h1);
        window(e % z->q, z->sw, z->pw, z->kw, z->w, &w0, &w1);
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++) y[h * z->w + w] += u[e];
    }
}

static void argmax(const dd_pool_geo *z, const float *x, int32_t *y)
{
    for (int64_t e = 0; e < z->p * z->q; e++) {
        int64_t h0, h1, w0, w1;
        window(e / z->q, z->sh, z->ph, z->kh, z->h, &h0, &h1);
        window(e % z->q, z->sw, z->pw, z->kw, z->w, &w0, &w1);
        int64_t best = h0 < h1 && w0 < w1 ? h0 * z->w + w0 : 0;
        for (int64_t h = h0; h < h1; h++)
            for (int64_t w = w0; w < w1; w++)
                if (x[h * z->w + w] > x[best]) best = h * z->w + w;
        y[e] = (int32_t)best;
    }
}

static inline void argmax_rows(const int64_t q, const dd_pool_geo *z, const float *x, int32_t *y)
{
    const int32_t w = (int32_t)z->w;
    int32_t at = 0;
    for (int64_t p = 0; p < z->p; p++, x += 2 * w, at += 2 * w, y += q) {
#pragma omp simd
        for (int64_t i = 0; i < q; i++) {
            const float a0 = x[2 * i], a1 = x[2 * i + 1], b0 = x[w + 2 * i], b1 = x[w + 2 * i + 1];
            const int32_t first = at + 2 * (int32_t)i;
            const int32_t second = a1 > a0 ? first + 1 : first;
            const float upper = a1 > a0 ? a1 : a0;
            const int32_t third = b0 > upper ? first + w : second;
            const float most = b0 > upper ? b0 : upper;
            y[i] = b1 > most ? first + w + 1 : third;
        }
    }
}

DD_SIMD static void argmax_halving(const dd_pool_geo *z, const float *x, int32_t *y)
{
    DD_USUAL_WIDTHS(argmax_rows, z->q, z, x, y)
}

static dd_status launch_sum(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const dd_pool_geo z = dd_pool_geo_of(in);
    const bool t = in->kind == DD_K_SUMPOOL_T, half = is_halving(&z);
    void (*fn)(const dd_pool_geo *, const float *, float *) = t ? (half ? duplicate : pool_t) : (half ? halve : pool);
    const int64_t big = z.h * z.w, small = z.p * z.q;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (z.planes * big >= DD_CPU_GRAIN)
    for (int64_t i = 0; i < z.planes; i++)
        fn(&z, (const float *)in->in[0] + i * (t ? small : big), (float *)in->out + i * (t ? big : small));
    return DD_OK;
}

static dd_status launch_argmax(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const dd_pool_geo z = dd_pool_geo_of(in);
    void (*fn)(const dd_pool_geo *, const float *, int32_t *) = is_halving(&z) ? argmax_halving : argmax;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (z.planes * z.h * z.w >= DD_CPU_GRAIN)
    for (int64_t i = 0; i < z.planes; i++)
        fn(&z, (const float *)in->in[0] + i * z.h * z.w, (int32_t *)in->out + i * z.p * z.q);
    return DD_OK;
}

dd_status dd_cpu_pool_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (in->src[0].dtype == DD_F32) in->launch = in->kind == DD_K_POOL_ARGMAX ? launch_argmax : launch_sum;
    return DD_OK;
}
