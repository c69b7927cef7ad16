/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys and draws over Random123's Philox 4x32-10; the only file that includes it. A draw hashes (key, counter), so
 * nothing has state. Knows the C library only. */
#include "attar/random.h"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#endif
#include <Random123/philox.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#include <math.h>

typedef struct block4 {
    uint32_t v[4];
} block4;

static block4 philox(uint64_t key, uint64_t lo, uint64_t hi)
{
    const philox4x32_key_t k = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    const philox4x32_ctr_t c = {{(uint32_t)lo, (uint32_t)(lo >> 32), (uint32_t)hi, (uint32_t)(hi >> 32)}};
    const philox4x32_ctr_t r = philox4x32(c, k);
    return (block4){{r.v[0], r.v[1], r.v[2], r.v[3]}};
}

static uint64_t low64(block4 b)
{
    return (uint64_t)b.v[1] << 32 | b.v[0];
}

static uint64_t hash_text(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *s; s++) h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

dd_key dd_key_seed(uint64_t seed)
{
    return (dd_key){low64(philox(seed, 0, UINT64_C(0x6174746172)))}; /* "attar": apart from ordinary draws */
}

dd_key dd_key_at(dd_key key, const char *purpose, uint64_t index)
{
    return (dd_key){low64(philox(key.k, index, hash_text(purpose)))};
}

/* hi = 0 holds the draws; keys use a hash, which is 0 for no purpose in practice. */
uint64_t dd_key_u64(dd_key key, uint64_t counter)
{
    return low64(philox(key.k, counter, 0));
}

static double unit(uint64_t u)
{
    return (double)(u >> 11) * 0x1p-53;
}

double dd_key_uniform(dd_key key, uint64_t counter)
{
    return unit(dd_key_u64(key, counter));
}

double dd_key_normal(dd_key key, uint64_t counter)
{
    const block4 b = philox(key.k, counter, 0);
    const double u = unit((uint64_t)b.v[1] << 32 | b.v[0]), v = unit((uint64_t)b.v[3] << 32 | b.v[2]);
    return sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586 * v); /* Box-Muller; 1-u is never 0 */
}

uint64_t dd_key_below(dd_key key, uint64_t counter, uint64_t n)
{
    /* multiply-shift: bias below n / 2^64 */
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)dd_key_u64(key, counter) * n) >> 64);
}

void dd_key_permutation(dd_key key, int64_t n, int32_t *out)
{
    for (int64_t i = 0; i < n; i++) out[i] = (int32_t)i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = (int64_t)dd_key_below(key, (uint64_t)i, (uint64_t)i + 1);
        const int32_t t = out[i];
        out[i] = out[j];
        out[j] = t;
    }
}

void dd_key_fill_uniform(dd_key key, float *x, int64_t n, double lo, double hi)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(lo + (hi - lo) * dd_key_uniform(key, (uint64_t)i));
}

void dd_key_fill_normal(dd_key key, float *x, int64_t n, double mean, double sd)
{
    for (int64_t i = 0; i < n; i++) x[i] = (float)(mean + sd * dd_key_normal(key, (uint64_t)i));
}
