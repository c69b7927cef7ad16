/* SPDX-License-Identifier: Apache-2.0
 *
 * Squares of LANES by LANES floats turned in registers; for sources that are compiled once for each instruction set. */
#ifndef ATTAR_BACKEND_CPU_TURN_H
#define ATTAR_BACKEND_CPU_TURN_H
#include "backend/cpu/cpu_lanes.h"

/* Rows of a square become its columns. */
#if LANES == 8
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define ODD(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define EVEN2(a, b) __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define ODD2(a, b) __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
INLINE void transpose(vec *r)
{
    vec a[8], b[8];
    UNROLL for (int i = 0; i < 8; i += 2)
    {
        a[i] = EVEN(r[i], r[i + 1]);
        a[i + 1] = ODD(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4)
    {
        b[i] = EVEN2(a[i], a[i + 2]);
        b[i + 1] = ODD2(a[i], a[i + 2]);
        b[i + 2] = EVEN2(a[i + 1], a[i + 3]);
        b[i + 3] = ODD2(a[i + 1], a[i + 3]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        r[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}
#elif LANES == 16
#define EVEN(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define ODD(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define EVEN2(a, b) __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define ODD2(a, b) __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define EVEN4(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define ODD4(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
INLINE void transpose(vec *r)
{
    vec a[16], b[16];
    UNROLL for (int i = 0; i < 16; i += 2)
    {
        a[i] = EVEN(r[i], r[i + 1]);
        a[i + 1] = ODD(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 16; i += 4) /* b[i + j] holds columns j, j + 4, j + 8, j + 12 of rows i to i + 3 */
    {
        b[i] = EVEN2(a[i], a[i + 2]);
        b[i + 1] = ODD2(a[i], a[i + 2]);
        b[i + 2] = EVEN2(a[i + 1], a[i + 3]);
        b[i + 3] = ODD2(a[i + 1], a[i + 3]);
    }
    UNROLL for (int j = 0; j < 4; j++)
    {
        const vec even_lo = EVEN4(b[j], b[j + 4]), even_hi = EVEN4(b[j + 8], b[j + 12]);
        const vec odd_lo = ODD4(b[j], b[j + 4]), odd_hi = ODD4(b[j + 8], b[j + 12]);
        r[j] = EVEN4(even_lo, even_hi);
        r[j + 8] = ODD4(even_lo, even_hi);
        r[j + 4] = EVEN4(odd_lo, odd_hi);
        r[j + 12] = ODD4(odd_lo, odd_hi);
    }
}
#endif
#endif
