/* SPDX-License-Identifier: Apache-2.0
 *
 * Cholesky factors and the solves with them, through LAPACK's Fortran interface and the triangular solves of
 * cpu_gemm.c. A row-major lower triangle is LAPACK's upper one. When LAPACK gives up, the reference kernel runs
 * again on the same matrix: it knows the pivot's value. */
#include "backend/cpu/cpu_internal.h"

#include <limits.h>
#include <string.h>

extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info, size_t uplo_len);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_len);

static void clear_upper(char *l, size_t n, size_t size)
{
    for (size_t i = 0; i + 1 < n; i++) memset(l + (i * n + i + 1) * size, 0, (n - i - 1) * size);
}

/* LAPACK lets a NaN pass for a positive pivot; it makes every later one NaN too. */
static bool pivots_positive(const char *l, int n, dd_dtype t)
{
    const size_t last = (size_t)n * (size_t)n - 1;
    return t == DD_F32 ? ((const float *)(const void *)l)[last] > 0 : ((const double *)(const void *)l)[last] > 0;
}

static dd_status factor(dd_backend *b, const dd_instr *in, void *scratch)
{
    const size_t size = dd_dtype_size(in->dst.dtype), bytes = (size_t)(in->dst.dim[1] * in->dst.dim[1]) * size;
    const int n = (int)in->dst.dim[1];
    dd_cpu_threads(b);
    for (int64_t t = 0; t < in->dst.dim[0]; t++) {
        char *l = (char *)in->out + (size_t)t * bytes;
        int info = 0;
        memcpy(l, (const char *)in->in[0] + (size_t)t * bytes, bytes);
        if (in->dst.dtype == DD_F32)
            spotrf_("U", &n, (float *)(void *)l, &n, &info, 1);
        else
            dpotrf_("U", &n, (double *)(void *)l, &n, &info, 1);
        if (info != 0 || !pivots_positive(l, n, in->dst.dtype)) return dd_ref_kernel(in)(b, in, scratch);
        clear_upper(l, (size_t)n, size);
    }
    return DD_OK;
}

static dd_status backsolve(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const int64_t n = in->dst.dim[1], m = in->dst.dim[2];
    const size_t size = dd_dtype_size(in->dst.dtype);
    dd_cpu_threads(b);
    memcpy(in->out, in->in[1], (size_t)dd_view_count(&in->dst) * size);
    for (int64_t t = 0; t < in->dst.dim[0]; t++)
        dd_cpu_solve_lower(in->dst.dtype, n, m, (const char *)in->in[0] + (size_t)(t * n * n) * size,
                           (char *)in->out + (size_t)(t * n * m) * size);
    return DD_OK;
}

dd_status dd_cpu_factor_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    const bool big = in->dst.dim[1] > INT_MAX || in->dst.dim[2] > INT_MAX;
    if (!big) in->launch = in->kind == DD_K_FACTOR ? factor : backsolve;
    return DD_OK;
}
