/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses thin products and divides their columns among the threads. Knows the instruction set. */
#include "backend/cpu/cpu_thin.h"

/* With fewer rows most of a vector would be empty, with more the library's copy pays, as it does where the other matrix
 * is small or narrow. */
enum { FEWEST_ROWS = 32, MOST_ROWS = 256, LEAST_SIDE = 512, LEAST_BYTES = 12 << 20 };

#if defined(__x86_64__) && defined(__GNUC__)
static const dd_thin *table(dd_dtype t)
{
    const int lanes = dd_cpu_lanes();
    if (lanes == 16) return t == DD_F32 ? dd_thin_f32_avx512 : dd_thin_f64_avx512;
    if (lanes == 8) return t == DD_F32 ? dd_thin_f32_avx2 : dd_thin_f64_avx2;
    return NULL;
}
#else
static const dd_thin *table(dd_dtype t)
{
    (void)t;
    return NULL;
}
#endif

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_thin *f = &table(in->dst.dtype)[in->attr[1] != 0];
    const dd_thin_job j = {.m = in->dst.dim[1],
                           .n = in->dst.dim[2],
                           .k = in->src[0].dim[2],
                           .a = in->in[0],
                           .b = in->in[1],
                           .c = in->out,
                           .packed = scratch};
    const int64_t parts = f->parts(j.m, j.k), units = (j.n + f->unit - 1) / f->unit, threads = b->threads;
    const size_t packed = whole_lines(f->packed_bytes(j.m, j.k)), buffer = whole_lines(f->buffer_bytes(j.m));
    dd_cpu_threads(b);
#pragma omp parallel num_threads(b->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < parts; i++) f->pack(&j, i);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < threads; t++) {
            const int64_t from = units * t / threads * f->unit, end = units * (t + 1) / threads * f->unit;
            if (from < j.n) f->columns(&j, from, end < j.n ? end : j.n, (char *)scratch + packed + (size_t)t * buffer);
        }
    }
    return DD_OK;
}

bool dd_cpu_thin_prepare(dd_backend *b, dd_instr *in)
{
    const dd_dtype t = in->dst.dtype;
    const int64_t m = in->dst.dim[1], n = in->dst.dim[2], k = in->src[0].dim[2];
    if (in->dst.dim[0] != 1 || in->nsrc != 2 || in->attr[0] || m < FEWEST_ROWS || m > MOST_ROWS) return false;
    if (n < LEAST_SIDE || k < LEAST_SIDE || n * k * (int64_t)dd_dtype_size(t) < LEAST_BYTES || !table(t)) return false;
    const dd_thin *f = &table(t)[in->attr[1] != 0];
    in->scratch = whole_lines(f->packed_bytes(m, k)) + (size_t)b->threads * whole_lines(f->buffer_bytes(m));
    in->launch = launch;
    return true;
}
