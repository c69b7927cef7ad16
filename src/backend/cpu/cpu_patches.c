/* SPDX-License-Identifier: Apache-2.0
 *
 * PATCHSUM: for each place of the first image the planes of its neighbours, moved with them, are added while they are
 * in cache. */
#include "backend/cpu/cpu_internal.h"

#include <string.h>

enum { RUN = 2048 }; /* numbers at a time where only the first image moves */

typedef struct shape {
    int64_t n, h, w, b, p, q;
} shape;

static shape shape_of(const dd_instr *in)
{
    const int64_t *d = in->dst.dim;
    return (shape){d[0], d[1], d[2], d[3], d[4], d[5]};
}

/* A buffer holds three planes with a 0 before and behind each. */
static int64_t apart(const shape *z)
{
    return (z->p * z->q + 2 + 15) / 16 * 16;
}

/* Elements from the planes of place `at`, of all places, to those of its neighbour; false: there is none. */
static bool neighbour(const shape *z, int64_t at, int64_t dr, int64_t dc, int64_t *off)
{
    const int64_t r = at / z->w % z->h + dr, c = at % z->w + dc;
    *off = (at + dr * z->w + dc) * z->b * z->p * z->q;
    return r >= 0 && r < z->h && c >= 0 && c < z->w;
}

#define PATCHES(REAL)                                                                                                  \
    DD_SIMD static void add_##REAL(int64_t n, const REAL *x, REAL *y, bool first)                                      \
    {                                                                                                                  \
        if (first) {                                                                                                   \
            memcpy(y, x, (size_t)n * sizeof *y);                                                                       \
            return;                                                                                                    \
        }                                                                                                              \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] += x[i];                                              \
    }                                                                                                                  \
                                                                                                                       \
    DD_SIMD static void join_##REAL(int64_t n, const REAL *a, const REAL *b, const REAL *c, REAL *y)                   \
    {                                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i] + c[i];                                 \
    }                                                                                                                  \
                                                                                                                       \
    /* One plane of b: the columns beside, each with the rows above and below, then side by side. */                   \
    static void plane_##REAL(const shape *z, int64_t at, int64_t b, const REAL *x, REAL *y, REAL *buffer)              \
    {                                                                                                                  \
        const int64_t plane = z->p * z->q, step = apart(z);                                                            \
        int64_t off;                                                                                                   \
        for (int64_t dc = -1; dc <= 1; dc++) {                                                                         \
            REAL *sum = buffer + (dc + 1) * step + 1;                                                                  \
            if (!neighbour(z, at, 0, dc, &off)) {                                                                      \
                memset(sum, 0, (size_t)plane * sizeof *sum);                                                           \
                continue;                                                                                              \
            }                                                                                                          \
            add_##REAL(plane, x + off + b * plane, sum, true);                                                         \
            if (neighbour(z, at, 1, dc, &off)) add_##REAL(plane - z->q, x + off + b * plane + z->q, sum, false);       \
            if (neighbour(z, at, -1, dc, &off)) add_##REAL(plane - z->q, x + off + b * plane, sum + z->q, false);      \
            for (int64_t r = 0; dc && r < z->p; r++) sum[r * z->q + (dc < 0 ? z->q - 1 : 0)] = 0;                      \
        }                                                                                                              \
        join_##REAL(plane, buffer + step + 1, buffer, buffer + 2 * step + 2, y + (at * z->b + b) * plane);             \
    }                                                                                                                  \
                                                                                                                       \
    static void place_##REAL(const shape *z, int64_t at, const void *from, void *to, void *buffer)                     \
    {                                                                                                                  \
        const REAL *x = from;                                                                                          \
        REAL *y = to;                                                                                                  \
        if (z->p * z->q > 1) {                                                                                         \
            for (int64_t b = 0; b < z->b; b++) plane_##REAL(z, at, b, x, y, buffer);                                   \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t b = 0; b < z->b; b += RUN) {                                                                      \
            const int64_t n = z->b - b < RUN ? z->b - b : RUN;                                                         \
            bool first = true;                                                                                         \
            for (int64_t k = 0; k < 9; k++) {                                                                          \
                int64_t off;                                                                                           \
                if (!neighbour(z, at, k / 3 - 1, k % 3 - 1, &off)) continue;                                           \
                add_##REAL(n, x + off + b, y + at * z->b + b, first);                                                  \
                first = false;                                                                                         \
            }                                                                                                          \
        }                                                                                                              \
    }

PATCHES(float)
PATCHES(double)

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const shape z = shape_of(in);
    const bool single = in->dst.dtype == DD_F32;
    const size_t buffer = (size_t)(3 * apart(&z)) * dd_dtype_size(in->dst.dtype);
    const int64_t places = z.n * z.h * z.w;
    const int threads = places * z.b * z.p * z.q < DD_CPU_GRAIN ? 1 : b->threads;
    memset(scratch, 0, (size_t)threads * buffer);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++)
        for (int64_t at = places * t / threads; at < places * (t + 1) / threads; at++)
            (single ? place_float : place_double)(&z, at, in->in[0], in->out, (char *)scratch + (size_t)t * buffer);
    return DD_OK;
}

dd_status dd_cpu_patches_prepare(dd_backend *b, dd_instr *in)
{
    const shape z = shape_of(in);
    in->scratch = (size_t)(3 * apart(&z)) * dd_dtype_size(in->dst.dtype) * (size_t)b->threads;
    in->launch = launch;
    return DD_OK;
}
