/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the math library that it has for vectors, of the precision that REAL and M(f) say. glibc's are at most
 * four units in the last place off, and it tells gcc of them only under -ffast-math. VECTOR_MATH: they are there. */
#ifndef ATTAR_BACKEND_CPU_VECTORS_H
#define ATTAR_BACKEND_CPU_VECTORS_H
#include <math.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#define VECTOR_MATH
#define FOR_VECTORS(f) __attribute__((simd("notinbranch"))) extern REAL f(REAL);
FOR_VECTORS(M(exp))
FOR_VECTORS(M(log))
FOR_VECTORS(M(sin))
FOR_VECTORS(M(cos))
FOR_VECTORS(M(tanh))
FOR_VECTORS(M(erf))
#endif
#endif
#endif
