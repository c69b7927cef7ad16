/* SPDX-License-Identifier: Apache-2.0
 *
 * Times the CPU kernels on the shapes of a ConvNet of width 128 and prints, for each, milliseconds (median of the
 * runs) with GFLOP/s for contractions and GB/s for the others, and the fraction of what the machine can do: peak
 * float32 arithmetic and memory bandwidth are measured first, by a matrix product and a large sum.
 *
 *   bench_kernels [THREADS] [BATCH...]        defaults: 1 thread, batches 32 and 256
 *
 * A development tool: it looks at backend.h, not at the public interface alone. */
#include "backend/backend.h"
#include "base/fs.h"
#include "base/memory.h"
#include "base/workspace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS = 9 };

typedef struct machine {
    dd_backend *b;
    double gflops, gbytes;
} machine;

static dd_view dense(dd_dtype t, int rank, const int64_t *dim)
{
    dd_view v = {.dtype = t, .rank = rank};
    int64_t s = 1;
    for (int i = rank - 1; i >= 0; i--) {
        v.dim[i] = dim[i];
        v.stride[i] = s;
        s *= dim[i];
    }
    return v;
}
#define DENSE(...) dense(DD_F32, (int)DD_LEN(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__})

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float *random_floats(int64_t n)
{
    float *p = dd_alloc((size_t)n, sizeof *p);
    if (!p) exit(5);
    uint32_t s = 7;
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        p[i] = (float)(s >> 8) / 16777216.0f - 0.5f;
    }
    return p;
}

/* Elements of memory behind a view; views here run forwards. */
static int64_t extent(const dd_view *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++) n += (v->dim[i] - 1) * v->stride[i];
    return n;
}

/* work: FLOP, or 0 to count the bytes of all operands. */
static void report(const machine *m, const char *name, dd_instr in, double work)
{
    double t[RUNS], bytes = 4.0 * (double)dd_view_count(&in.dst);
    float *src[DD_INSTR_SRC] = {NULL};
    if (m->b->prepare(m->b, &in) != DD_OK) exit(8);
    float *out = random_floats(extent(&in.dst));
    dd_workspace scratch; /* in huge pages, as a program has it */
    if (dd_workspace_init(&scratch, in.scratch + 64) != DD_OK) exit(5);
    for (int k = 0; k < in.nsrc; k++) {
        src[k] = random_floats(extent(&in.src[k]));
        in.in[k] = src[k];
        bytes += 4.0 * (double)extent(&in.src[k]);
    }
    in.out = out;
    for (int r = -1; r < RUNS; r++) {
        const double at = dd_now();
        if (in.launch(m->b, &in, scratch.p) != DD_OK) exit(9);
        if (r >= 0) t[r] = dd_now() - at;
    }
    qsort(t, RUNS, sizeof *t, by_value);
    const double s = t[RUNS / 2], rate = 1e-9 * (work > 0 ? work : bytes) / s;
    printf("%-44s %9.3f ms %8.1f %s  %5.2f\n", name, 1e3 * s, rate, work > 0 ? "GFLOP/s" : "GB/s   ",
           rate / (work > 0 ? m->gflops : m->gbytes));
    m->b->release(m->b, &in);
    for (int k = 0; k < in.nsrc; k++) dd_free(src[k]);
    dd_workspace_fini(&scratch);
    dd_free(out);
}

static void conv(const machine *m, int64_t n, int64_t c, int64_t hw, int64_t pad)
{
    static const char *const pass[3] = {"conv", "conv_dx", "conv_dw"};
    const int64_t out = hw + 2 * pad - 2;
    const dd_view x = DENSE(n, c, hw, hw), w = DENSE(128, c, 3, 3), u = DENSE(n, 128, out, out);
    const double flop = 2.0 * 9.0 * (double)(n * c * 128 * out * out);
    for (int k = 0; k < 6; k++) { /* plain, then in blocks */
        char name[112];
        snprintf(name, sizeof name, "%s %lld x %lld->128 %lldx%lld pad %lld%s", pass[k % 3], (long long)n, (long long)c,
                 (long long)hw, (long long)hw, (long long)pad, k < 3 ? "" : ", blocks");
        dd_instr in = {.kind = (dd_kind)(DD_K_CONV + k % 3), .nsrc = 2, .attr = {1, 1, pad, pad, 1, 1, 1}};
        in.dst = k % 3 == 0 ? u : k % 3 == 1 ? x : w;
        in.src[0] = k % 3 == 1 ? u : x;
        in.src[1] = k % 3 == 2 ? u : w;
        if (k > 2 && m->b->may_block) in.blocked = m->b->may_block(m->b, &in);
        if (k > 2 && !in.blocked) continue;
        report(m, name, in, flop);
    }
}

static void others(const machine *m, int64_t n)
{
    const dd_view full = DENSE(n, 128, 32, 32), half = DENSE(n, 128, 16, 16), row = DENSE(n, 128, 1, 1);
    dd_view per_row = full, per_channel = full, swapped = full;
    per_row.stride[0] = 128, per_row.stride[1] = 1, per_row.stride[2] = per_row.stride[3] = 0;
    per_channel.stride[0] = per_channel.stride[2] = per_channel.stride[3] = 0, per_channel.stride[1] = 1;
    swapped.stride[1] = 1, swapped.stride[2] = 128 * 32, swapped.stride[3] = 128; /* channels last in memory */
    report(m, "mul, equal shapes",
           (dd_instr){.kind = DD_K_POINTWISE, .ew = DD_EW_MUL, .nsrc = 2, .dst = full, .src = {full, full}}, 0);
    report(m, "sub, one value per row",
           (dd_instr){.kind = DD_K_POINTWISE, .ew = DD_EW_SUB, .nsrc = 2, .dst = full, .src = {full, per_row}}, 0);
    report(m, "mul, one value per channel",
           (dd_instr){.kind = DD_K_POINTWISE, .ew = DD_EW_MUL, .nsrc = 2, .dst = full, .src = {full, per_channel}}, 0);
    report(m, "step", (dd_instr){.kind = DD_K_POINTWISE, .ew = DD_EW_STEP, .nsrc = 1, .dst = full, .src = {full}}, 0);
    report(m, "fill", (dd_instr){.kind = DD_K_FILL, .dst = full}, 0);
    report(m, "copy, channels last to first", (dd_instr){.kind = DD_K_COPY, .nsrc = 1, .dst = full, .src = {swapped}},
           0);
    report(m, "sum over rows", (dd_instr){.kind = DD_K_SUM, .nsrc = 1, .dst = row, .src = {full}}, 0);
    report(m, "summul over rows", (dd_instr){.kind = DD_K_SUMMUL, .nsrc = 2, .dst = row, .src = {full, full}}, 0);
    report(m, "sum over batch and rows",
           (dd_instr){.kind = DD_K_SUM, .nsrc = 1, .dst = DENSE(1, 128, 1, 1), .src = {full}}, 0);
    report(m, "sum over batch", (dd_instr){.kind = DD_K_SUM, .nsrc = 1, .dst = DENSE(1, 128, 32, 32), .src = {full}},
           0);
    report(m, "sum of everything", (dd_instr){.kind = DD_K_SUM, .nsrc = 1, .dst = DENSE(1, 1, 1, 1), .src = {full}}, 0);
    const dd_instr pool = {.kind = DD_K_SUMPOOL, .nsrc = 1, .dst = half, .src = {full}, .attr = {2, 2, 2, 2}};
    report(m, "sumpool 2x2", pool, 0);
    report(m, "sumpool_t 2x2",
           (dd_instr){.kind = DD_K_SUMPOOL_T, .nsrc = 1, .dst = full, .src = {half}, .attr = {2, 2, 2, 2}}, 0);
    report(m, "matmul [n,2048][2048,10]",
           (dd_instr){
               .kind = DD_K_MATMUL, .nsrc = 2, .dst = DENSE(1, n, 10), .src = {DENSE(1, n, 2048), DENSE(1, 2048, 10)}},
           2.0 * 20480.0 * (double)n);
    report(
        m, "sample 3x32x32",
        (dd_instr){
            .kind = DD_K_SAMPLE, .nsrc = 2, .dst = DENSE(n, 3, 32, 32), .src = {DENSE(n, 3, 32, 32), DENSE(n, 2, 3)}},
        0);
}

/* Arithmetic peak by a matrix product that stays in cache, bandwidth by one long sum. */
static void measure(machine *m)
{
    enum { N = 1536, RUN = 5 };
    float *a = random_floats(64 << 20), *y = random_floats(N * N);
    dd_instr mm = {.kind = DD_K_MATMUL,
                   .nsrc = 2,
                   .dst = DENSE(1, N, N),
                   .src = {DENSE(1, N, N), DENSE(1, N, N)},
                   .out = y,
                   .in = {a, a}};
    dd_instr sum = {.kind = DD_K_SUM, .nsrc = 1, .dst = DENSE(1), .src = {DENSE(64 << 20)}, .out = y, .in = {a}};
    if (m->b->prepare(m->b, &mm) != DD_OK || m->b->prepare(m->b, &sum) != DD_OK) exit(8);
    void *scratch = dd_alloc(sum.scratch + 64, 1);
    for (int r = 0; r < RUN; r++) {
        double at = dd_now();
        if (!scratch || mm.launch(m->b, &mm, scratch) != DD_OK) exit(9);
        const double f = 2e-9 * N * N * N / (dd_now() - at);
        at = dd_now();
        if (sum.launch(m->b, &sum, scratch) != DD_OK) exit(9);
        const double g = 4e-9 * (64 << 20) / (dd_now() - at);
        m->gflops = f > m->gflops ? f : m->gflops;
        m->gbytes = g > m->gbytes ? g : m->gbytes;
    }
    m->b->release(m->b, &sum);
    m->b->release(m->b, &mm);
    dd_free(scratch);
    dd_free(a);
    dd_free(y);
}

int main(int argc, char **argv)
{
    machine m = {NULL, 0, 0};
    if (dd_backend_open(&m.b, "cpu", argc > 1 ? atoi(argv[1]) : 1) != DD_OK) return 6;
    measure(&m);
    printf("%d threads: matrix product %.0f GFLOP/s, memory read %.1f GB/s\n", m.b->threads, m.gflops, m.gbytes);
    for (int i = 2; i < (argc > 2 ? argc : 4); i++) {
        const int64_t n = argc > 2 ? atoll(argv[i]) : i == 2 ? 32 : 256;
        conv(&m, n, 3, 32, 1);
        conv(&m, n, 1, 28, 3);
        conv(&m, n, 128, 16, 1);
        conv(&m, n, 128, 8, 1);
        others(&m, n);
    }
    dd_backend_close(m.b);
    return 0;
}
