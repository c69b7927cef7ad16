/* SPDX-License-Identifier: Apache-2.0
 *
 * How fast this machine multiplies and adds in registers, with the vectors of the kernels: the yardstick of profiles.
 */
#include "backend/cpu/cpu_internal.h"

#include "base/fs.h"

enum { ROUNDS = 1 << 20, TRIES = 4 };

typedef struct spin {
    float (*run)(int64_t rounds, float m);
    int floats; /* of a round */
} spin;

static float plain(int64_t rounds, float m)
{
    float a[DD_SPIN_PLAIN], s = 0;
    for (int j = 0; j < DD_SPIN_PLAIN; j++) a[j] = (float)j;
    for (int64_t i = 0; i < rounds; i++)
        for (int j = 0; j < DD_SPIN_PLAIN; j++) a[j] = a[j] * m + 1;
    for (int j = 0; j < DD_SPIN_PLAIN; j++) s += a[j];
    return s;
}

static spin spin_here(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    const int lanes = dd_cpu_lanes();
    if (lanes == 16) return (spin){dd_cpu_spin_avx512, DD_SPIN_AVX512};
    if (lanes == 8) return (spin){dd_cpu_spin_avx2, DD_SPIN_AVX2};
#endif
    return (spin){plain, DD_SPIN_PLAIN};
}

double dd_cpu_peak(dd_backend *b)
{
    static volatile float sink, factor = 0.5f;
    const spin here = spin_here();
    const double flop = 2.0 * here.floats * ROUNDS * b->threads;
    double best = 0;
    for (int t = 0; t < TRIES; t++) {
        float s = 0;
        const float m = factor;
        const double start = dd_now();
#pragma omp parallel num_threads(b->threads) reduction(+ : s)
        s += here.run(ROUNDS, m);
        const double rate = flop / (dd_now() - start);
        sink = s;
        if (t > 0 && rate > best) best = rate; /* the first wakes the threads */
    }
    (void)sink;
    return best;
}
