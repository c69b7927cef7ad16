/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of LANES numbers for the sources that are compiled once for each instruction set; such a file defines LANES
 * first, and REAL if they are not floats. gcc's and clang's vector extension, no intrinsics. */
#ifndef ATTAR_BACKEND_CPU_LANES_H
#define ATTAR_BACKEND_CPU_LANES_H

#include <stdint.h>
#include <string.h>

#define INLINE __attribute__((always_inline)) static inline
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#define UNROLL_2 _Pragma("unroll 2")
#else
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL_2 _Pragma("GCC unroll 2")
#endif

#ifndef REAL
#define REAL float
#define HALVES
#endif

typedef REAL vec __attribute__((vector_size(LANES * sizeof(REAL))));
typedef REAL in_memory __attribute__((vector_size(LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

INLINE vec load(const REAL *p)
{
    return *(const in_memory *)p;
}

INLINE void store(REAL *p, vec v)
{
    *(in_memory *)p = v;
}

#ifdef HALVES
/* Halves, quarters and so on are added. */
INLINE float lanes_sum(const float *v)
{
    float half[LANES];
    memcpy(half, v, sizeof half);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int l = 0; l < n; l++) half[l] += half[l + n];
    return half[0];
}

typedef uint32_t bits __attribute__((vector_size(LANES * 4)));
typedef uint16_t halves __attribute__((vector_size(LANES * 2)));
typedef uint16_t halves_in_memory __attribute__((vector_size(LANES * 2), aligned(2), may_alias));

/* bfloat16: the upper half of a float. */
INLINE vec load_half(const uint16_t *p)
{
    return (vec)(__builtin_convertvector(*(const halves_in_memory *)p, bits) << 16);
}

/* Rounds to even; what is not a number stays none. */
INLINE void store_half(uint16_t *p, vec v)
{
    const bits x = (bits)v, none = (bits)(v != v);
    const bits even = x + 0x7fffu + (x >> 16 & 1u), quiet = x | 0x400000u;
    *(halves_in_memory *)p =
        (halves_in_memory) __builtin_convertvector(((even & ~none) | (quiet & none)) >> 16, halves);
}
#endif
#endif
