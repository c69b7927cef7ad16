/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of rows, [elements][lanes]: an element of as many rows in one vector. The innermost loops of row groups that
 * run in blocks, by instruction set. */
#ifndef ATTAR_BACKEND_CPU_STRIPES_H
#define ATTAR_BACKEND_CPU_STRIPES_H
#include <stdint.h>

/* (x + c) a + b with one number for each lane; c NULL: x. */
typedef struct dd_stripe {
    const float *x;
    const double *c, *a, *b;
} dd_stripe;

/* n: elements of a row. */
typedef void (*dd_stripe_map)(int64_t n, float *y, dd_stripe p, dd_stripe q);

/* And the sum of what it gives, which has one number for each lane; y NULL: only that. */
typedef void (*dd_stripe_map_sum)(int64_t n, float *y, float *sum, dd_stripe p, dd_stripe q);

typedef struct dd_stripes {
    int lanes;
    dd_stripe_map add, subtract, multiply;
    dd_stripe_map gate; /* p where q is positive, else 0 times it */
    dd_stripe_map_sum add_sum, subtract_sum, multiply_sum, gate_sum;
    dd_stripe_map store; /* p */
    /* One number for each lane. */
    dd_stripe_map sum, dot, max; /* of p, of p times q */
    /* 2x2 pooling, sums times `scale`, of a block and of p where p is positive, else 0 times it; plane holds height and
     * width of the large and of the small plane. */
    void (*halve)(const int64_t plane[4], float scale, const float *x, float *y);
    void (*halve_gated)(const int64_t plane[4], float scale, float *y, dd_stripe p);
    void (*enlarge)(const int64_t plane[4], const float *x, float *y);
    void (*enlarge_gated)(const int64_t plane[4], const float *x, float *y, dd_stripe p); /* x where p is positive */
    void (*spread)(int64_t n, const double *numbers, float *y);
    /* Rows one behind the other into a block, and back. */
    void (*to_block)(int64_t n, const float *x, float *y);
    void (*to_rows)(int64_t n, const float *x, float *y);
    /* Blocks of bfloat16 into blocks of floats, and back. */
    void (*widen)(int64_t n, const uint16_t *x, float *y);
    void (*narrow)(int64_t n, const float *x, uint16_t *y);
} dd_stripes;

#if defined(__x86_64__) && defined(__GNUC__)
#define DD_STRIPES_X86 1
extern const dd_stripes dd_stripes_avx2, dd_stripes_avx512;
#endif
/* Of this processor; NULL: it has no vectors for them. */
const dd_stripes *dd_stripes_here(void);
#endif
