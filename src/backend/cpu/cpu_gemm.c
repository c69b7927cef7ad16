/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products through CBLAS, and the number of threads of OpenMP and OpenBLAS. The only file that includes
 * cblas.h. OpenBLAS must be its OpenMP flavour: a call from inside a parallel region then uses one thread. */
#include "attar/program.h"
#include "backend/cpu/cpu_thin.h"

#include <cblas.h>
#include <limits.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Products of fewer multiplications are done by calls of one thread each: of a batch whole, single ones in so many
 * parts for any number of threads, unless they are smaller still. */
enum { SMALL = 2000000, ALONE = 200000, PARTS = 4 };

void dd_cpu_threads(const dd_backend *b)
{
    if (omp_get_max_threads() != b->threads) omp_set_num_threads(b->threads);
    if (openblas_get_num_threads() != b->threads) openblas_set_num_threads(b->threads);
}

const char *dd_backend_blas_core(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    static const char *const old[] = {"Prescott", "Core2",   "Penryn",    "Dunnington",
                                      "Nehalem",  "Generic", "Barcelona", "Opteron"};
    const char *core = openblas_get_corename();
    bool unused = false;
    for (size_t i = 0; i < DD_LEN(old); i++) unused = unused || strcmp(core, old[i]) == 0;
    if (!unused || getenv("OPENBLAS_CORETYPE") || dd_cpu_lanes() < 8) return NULL;
    const bool wide = dd_cpu_lanes() == 16 && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
    return wide ? "SkylakeX" : "Haswell";
#else
    return NULL;
#endif
}

typedef struct product {
    bool ta, tb, f64;
    int m, n, k;
    int64_t batch, sa, sb; /* strides of the batch, elements */
} product;

static CBLAS_TRANSPOSE flag(bool t)
{
    return t ? CblasTrans : CblasNoTrans;
}

void dd_cpu_solve_lower(dd_dtype t, int64_t n, int64_t m, const void *l, void *x)
{
    for (int step = 0; step < 2; step++) {
        const CBLAS_TRANSPOSE tr = flag(step == 1);
        if (t == DD_F32)
            cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, tr, CblasNonUnit, (int)n, (int)m, 1.0f, l, (int)n, x,
                        (int)m);
        else
            cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, tr, CblasNonUnit, (int)n, (int)m, 1.0, l, (int)n, x,
                        (int)m);
    }
}

/* Rows and columns of a product that are computed in one call. */
typedef struct part {
    int row, rows, column, columns;
} part;

/* Copies the bias into every row of y, which the product is then added to. */
static void spread_bias(const product *p, const part *q, const char *bias, char *y, size_t size)
{
    for (int i = 0; i < q->rows; i++)
        memcpy(y + (size_t)i * (size_t)p->n * size, bias + (size_t)q->column * size, (size_t)q->columns * size);
}

static void one(const product *p, const part *q, const dd_instr *in, int64_t t)
{
    const int64_t size = p->f64 ? sizeof(double) : sizeof(float);
    const int lda = p->ta ? p->m : p->k, ldb = p->tb ? p->k : p->n;
    const char *a = (const char *)in->in[0] + (t * p->sa + (int64_t)q->row * (p->ta ? 1 : p->k)) * size;
    const char *b = (const char *)in->in[1] + (t * p->sb + (int64_t)q->column * (p->tb ? p->k : 1)) * size;
    char *y = (char *)in->out + ((t * p->m + q->row) * p->n + q->column) * size;
    const bool bias = in->nsrc > 2;
    if (bias) spread_bias(p, q, in->in[2], y, (size_t)size);
    if (p->f64)
        cblas_dgemm(CblasRowMajor, flag(p->ta), flag(p->tb), q->rows, q->columns, p->k, 1.0,
                    (const double *)(const void *)a, lda, (const double *)(const void *)b, ldb, bias ? 1.0 : 0.0,
                    (double *)(void *)y, p->n);
    else
        cblas_sgemm(CblasRowMajor, flag(p->ta), flag(p->tb), q->rows, q->columns, p->k, 1.0f,
                    (const float *)(const void *)a, lda, (const float *)(const void *)b, ldb, bias ? 1.0f : 0.0f,
                    (float *)(void *)y, p->n);
}

/* Part i of n of the longer side, in whole vectors. */
static part part_of(const product *p, int i, int n)
{
    enum { UNIT = 16 };
    const bool across = p->n >= p->m;
    const int64_t side = across ? p->n : p->m, units = (side + UNIT - 1) / UNIT;
    const int from = (int)(units * i / n * UNIT), to = i + 1 == n ? (int)side : (int)(units * (i + 1) / n * UNIT);
    return across ? (part){0, p->m, from, to - from} : (part){from, to - from, 0, p->n};
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)scratch;
    const bool ta = in->attr[0] != 0;
    const int64_t m = in->dst.dim[1], n = in->dst.dim[2], k = in->src[0].dim[ta ? 1 : 2];
    const product p = {.ta = ta,
                       .tb = in->attr[1] != 0,
                       .f64 = in->dst.dtype == DD_F64,
                       .m = (int)m,
                       .n = (int)n,
                       .k = (int)k,
                       .batch = in->dst.dim[0],
                       .sa = m * k,
                       .sb = k * n};
    dd_cpu_threads(b);
    const part whole = {0, p.m, 0, p.n};
    if (p.batch > 1 && m * n * k < SMALL) {
#pragma omp parallel for schedule(static) num_threads(b->threads) if (p.batch * m * n * k >= DD_CPU_GRAIN)
        for (int64_t t = 0; t < p.batch; t++) one(&p, &whole, in, t);
    } else if (p.batch == 1 && m * n * k >= ALONE && m * n * k < SMALL) {
        /* OpenBLAS would have its threads wait for each other */
#pragma omp parallel for schedule(static) num_threads(b->threads)
        for (int i = 0; i < PARTS; i++) {
            const part q = part_of(&p, i, PARTS);
            if (q.rows > 0 && q.columns > 0) one(&p, &q, in, 0);
        }
    } else {
        for (int64_t t = 0; t < p.batch; t++) one(&p, &whole, in, t);
    }
    return DD_OK;
}

dd_status dd_cpu_gemm_prepare(dd_backend *b, dd_instr *in)
{
    if (dd_cpu_thin_prepare(b, in)) return DD_OK;
    for (int i = 1; i < 3; i++)
        if (in->dst.dim[i] > INT_MAX || in->src[0].dim[i] > INT_MAX) return DD_OK;
    in->launch = launch;
    return DD_OK;
}
