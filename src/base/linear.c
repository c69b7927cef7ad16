/* SPDX-License-Identifier: Apache-2.0
 *
 * BLAS and LAPACK through their Fortran interface, as OpenBLAS has both. A row-major matrix is a column-major one
 * transposed: the upper triangle here is the lower one there. Knows the heap only. */
#include "base/linear.h"
#include "base/memory.h"

extern void sgemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k, const float *alpha,
                   const float *a, const int *lda, const float *b, const int *ldb, const float *beta, float *c,
                   const int *ldc, size_t ta_len, size_t tb_len);
extern void dsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha,
                   const double *a, const int *lda, const double *beta, double *c, const int *ldc, size_t uplo_len,
                   size_t trans_len);
extern void dsyevd_(const char *job, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
                    const int *lwork, int *iwork, const int *liwork, int *info, size_t job_len, size_t uplo_len);

void dd_linear_product(int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx, const float *b, int64_t ldb,
                       bool transposed, float *y, int64_t ldy)
{
    const int mi = (int)m, ni = (int)n, ki = (int)k, lx = (int)ldx, lb = (int)ldb, ly = (int)ldy;
    const float one = 1, zero = 0;
    sgemm_(transposed ? "T" : "N", "N", &ni, &mi, &ki, &one, b, &lb, x, &lx, &zero, y, &ly, 1, 1);
}

void dd_linear_gram(int64_t n, int64_t d, const double *x, double *g)
{
    const int ni = (int)n, di = (int)d;
    const double one = 1;
    dsyrk_("L", "N", &di, &ni, &one, x, &di, &one, g, &di, 1, 1);
}

dd_status dd_linear_eigen(int64_t d, double *a, double *values)
{
    const int n = (int)d, lwork = 1 + 6 * n + 2 * n * n, liwork = 3 + 5 * n; /* what LAPACK asks for */
    int info = 0;
    double *work = dd_alloc((size_t)lwork, sizeof *work);
    int *iwork = dd_alloc((size_t)liwork, sizeof *iwork);
    if (work && iwork) dsyevd_("V", "L", &n, a, &n, values, work, &lwork, iwork, &liwork, &info, 1, 1);
    const bool fits = work && iwork;
    dd_free(work);
    dd_free(iwork);
    if (!fits) return dd_fail(DD_ENOMEM, "out of memory for the eigenvectors of a %d x %d matrix", n, n);
    if (info)
        return dd_fail(DD_ENUMERIC, "no eigenvectors of a %d x %d matrix were found (LAPACK says %d)", n, n, info);
    return DD_OK;
}
