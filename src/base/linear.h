/* SPDX-License-Identifier: Apache-2.0
 *
 * Dense linear algebra for layers below the backends: what whitening needs of BLAS and LAPACK. Sizes fit an int. */
#ifndef ATTAR_BASE_LINEAR_H
#define ATTAR_BASE_LINEAR_H
#include "attar/status.h"

/* y [m,n] = x [m,k] b, where b is [k,n], or [n,k] if `transposed`; all row-major, rows ldx, ldb and ldy apart. */
void dd_linear_product(int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx, const float *b, int64_t ldb,
                       bool transposed, float *y, int64_t ldy);
/* g [d,d] += x^T x of x [n,d] row-major; only elements (i,j) with i <= j of g are read and written. */
void dd_linear_gram(int64_t n, int64_t d, const double *x, double *g);
/* a [d,d] symmetric, read as dd_linear_gram writes it, becomes its eigenvectors of length 1, one a row; values [d]
 * ascend. The same bits for the same number of threads. DD_ENOMEM, DD_ENUMERIC. */
dd_status dd_linear_eigen(int64_t d, double *a, double *values);
#endif
