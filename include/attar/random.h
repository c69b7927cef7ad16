/* SPDX-License-Identifier: Apache-2.0
 *
 * Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011). A key is a pure function of the run's
 * seed and a path of (purpose, index) pairs; a draw is a pure function of (key, counter). Nothing has state,
 * so a resumed run, a recomputed step and another thread all see the same numbers. */
#ifndef ATTAR_RANDOM_H
#define ATTAR_RANDOM_H
#include "attar/status.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct dd_key {
    uint64_t k;
} dd_key;

dd_key dd_key_seed(uint64_t seed);
/* The key of step `index` of `purpose` under `key`. */
dd_key dd_key_at(dd_key key, const char *purpose, uint64_t index);
uint64_t dd_key_u64(dd_key key, uint64_t counter);
double dd_key_uniform(dd_key key, uint64_t counter);             /* [0, 1) */
double dd_key_normal(dd_key key, uint64_t counter);              /* N(0, 1) */
uint64_t dd_key_below(dd_key key, uint64_t counter, uint64_t n); /* 0 .. n-1, n > 0 */
void dd_key_permutation(dd_key key, int64_t n, int32_t *out);    /* a permutation of 0 .. n-1 */
void dd_key_fill_uniform(dd_key key, float *x, int64_t n, double lo, double hi);
void dd_key_fill_normal(dd_key key, float *x, int64_t n, double mean, double sd);

#ifdef __cplusplus
}
#endif
#endif
