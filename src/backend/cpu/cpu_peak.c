/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast this machine multiplies and adds in registers: the yardstick of profiles. The number of independent sums
 * that hides the latency differs between vector lengths, so two shapes are tried. */
#include "backend/cpu/cpu_internal.h"

#include "base/fs.h"

enum { ROUNDS = 1 << 20, TRIES = 3, SUMS = 10 };

#define SPIN(name, width, rounds)                                                                                      \
    DD_SIMD static float name(float m)                                                                                 \
    {                                                                                                                  \
        float a[SUMS][width], s = 0;                                                                                   \
        for (int k = 0; k < SUMS; k++)                                                                                 \
            for (int j = 0; j < (width); j++) a[k][j] = (float)(k + j);                                                \
        for (int i = 0; i < (rounds); i++)                                                                             \
            for (int k = 0; k < SUMS; k++)                                                                             \
                for (int j = 0; j < (width); j++) a[k][j] = a[k][j] * m + 1;                                           \
        for (int k = 0; k < SUMS; k++)                                                                                 \
            for (int j = 0; j < (width); j++) s += a[k][j];                                                            \
        return s;                                                                                                      \
    }

SPIN(long_rows, 16, ROUNDS)
SPIN(short_rows, 8, 2 * ROUNDS)

double dd_cpu_peak(dd_backend *b)
{
    static volatile float sink, factor = 0.5f;
    const double flop = 2.0 * 16 * SUMS * ROUNDS * b->threads;
    double best = 0;
    for (int t = 0; t < 2 * TRIES; t++) {
        float s = 0;
        const float m = factor;
        const double start = dd_now();
#pragma omp parallel num_threads(b->threads) reduction(+ : s)
        s += t % 2 ? short_rows(m) : long_rows(m);
        const double rate = flop / (dd_now() - start);
        sink = s;
        if (t > 1 && rate > best) best = rate; /* the first of each wakes the threads */
    }
    (void)sink;
    return best;
}
