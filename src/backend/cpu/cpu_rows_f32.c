/* SPDX-License-Identifier: Apache-2.0
 *
 * The row functions in single precision. */
#include <math.h>

/* glibc has these for vectors, at most four units in the last place off, and tells gcc so only under -ffast-math. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#define VECTOR_MATH
#define FOR_VECTORS(f) __attribute__((simd("notinbranch"))) extern float f(float);
FOR_VECTORS(expf)
FOR_VECTORS(logf)
FOR_VECTORS(sinf)
FOR_VECTORS(cosf)
FOR_VECTORS(tanhf)
FOR_VECTORS(erff)
FOR_VECTORS(acosf)
#endif
#endif

#define REAL float
#define M(name) name##f
#define ROWS dd_cpu_rows_f32
#include "backend/cpu/cpu_rows.inc"
