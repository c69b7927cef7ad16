/* SPDX-License-Identifier: Apache-2.0
 *
 * Row functions: the innermost loops of pointwise kernels and reductions, one table for each precision. Strides are
 * in elements; 1 and 0 are fast. */
#ifndef ATTAR_BACKEND_CPU_ROWS_H
#define ATTAR_BACKEND_CPU_ROWS_H
#include "backend/backend.h"

/* y[i * sy] = f(x[0][i * sx[0]], ...), i < n; y may be one of the sources. */
typedef void (*dd_row_map)(int64_t n, void *y, int64_t sy, const void *const *x, const int64_t *sx);
/* The sum, sum of products or maximum of a row. */
typedef double (*dd_row_fold)(int64_t n, const void *const *x, const int64_t *sx);
/* The same element by element into acc[i]. */
typedef void (*dd_row_into)(int64_t n, double *acc, const void *const *x, const int64_t *sx);

/* The same on values (p[i] + k[0]) * k[1] + k[2], k of p and of q, strides 1: what a row group need not store. */
typedef void (*dd_row_affine)(int64_t n, void *y, const void *p, const double *kp, const void *q, const double *kq);
typedef double (*dd_row_affine_fold)(int64_t n, const void *p, const double *kp, const void *q, const double *kq);

typedef struct dd_rows {
    dd_row_map map[DD_EW_COUNT], copy;
    dd_row_fold sum, dot, max;
    dd_row_into sum_into, dot_into, max_into;
    dd_row_affine affine[DD_EW_COUNT]; /* ADD, SUB, MUL */
    dd_row_affine affine_gate;         /* value of p where that of q is positive, else 0 times it */
    dd_row_affine affine_store;        /* value of p */
    dd_row_affine_fold affine_sum, affine_dot;
} dd_rows;

extern const dd_rows dd_cpu_rows_f32, dd_cpu_rows_f64;
#endif
