/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of LANES floats for the sources that are compiled once for each instruction set; such a file defines LANES
 * first. gcc's and clang's vector extension, no intrinsics. */
#ifndef ATTAR_BACKEND_CPU_LANES_H
#define ATTAR_BACKEND_CPU_LANES_H

#define INLINE __attribute__((always_inline)) static inline
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef float in_memory __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

INLINE vec load(const float *p)
{
    return *(const in_memory *)p;
}

INLINE void store(float *p, vec v)
{
    *(in_memory *)p = v;
}
#endif
