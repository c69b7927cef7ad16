/* SPDX-License-Identifier: Apache-2.0
 *
 * Sparse matrix (CSR) times dense: rows in parallel; transposed, columns of the dense matrix in parallel, so that each
 * element of the result is added to by one thread in the order of the rows. */
#include "backend/cpu/cpu_internal.h"

#include <string.h>

DD_SIMD static void axpy(int64_t n, float a, const float *x, float *y)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static dd_status plain(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const int32_t *rowptr = in->in[0], *col = in->in[1];
    const float *val = in->in[2], *x = in->in[3];
    float *y = in->out;
    const int64_t m = in->attr[0], f = in->dst.dim[1];
#pragma omp parallel for schedule(dynamic, 64) num_threads(b->threads) if (rowptr[m] * f >= DD_CPU_GRAIN)
    for (int64_t i = 0; i < m; i++) {
        memset(y + i * f, 0, (size_t)f * sizeof *y);
        for (int32_t e = rowptr[i]; e < rowptr[i + 1]; e++) axpy(f, val[e], x + col[e] * f, y + i * f);
    }
    return DD_OK;
}

static void columns(const dd_instr *in, int64_t c0, int64_t c1)
{
    const int32_t *rowptr = in->in[0], *col = in->in[1];
    const float *val = in->in[2], *x = in->in[3];
    float *y = in->out;
    const int64_t m = in->attr[0], n = in->dst.dim[0], f = in->dst.dim[1];
    for (int64_t i = 0; i < n; i++) memset(y + i * f + c0, 0, (size_t)(c1 - c0) * sizeof *y);
    for (int64_t i = 0; i < m; i++)
        for (int32_t e = rowptr[i]; e < rowptr[i + 1]; e++) axpy(c1 - c0, val[e], x + i * f + c0, y + col[e] * f + c0);
}

static dd_status transposed(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const int32_t *rowptr = in->in[0];
    const int64_t f = in->dst.dim[1], t = b->threads;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (rowptr[in->attr[0]] * f >= DD_CPU_GRAIN)
    for (int64_t k = 0; k < t; k++) columns(in, f * k / t, f * (k + 1) / t);
    return DD_OK;
}

dd_status dd_cpu_spmm_prepare(dd_backend *b, dd_instr *in)
{
    (void)b;
    if (in->dst.dtype == DD_F32) in->launch = in->attr[2] ? transposed : plain;
    return DD_OK;
}
