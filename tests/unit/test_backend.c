/* SPDX-License-Identifier: Apache-2.0
 *
 * Backends: instructions built by hand run on "ref" and on "cpu", the results compared and the memory around and
 * between the outputs checked for stray writes. "ref" itself is held against identities: the three convolutions are
 * the partials of one trilinear form, linear pairs are adjoint, a factor solves. Knows backend.h, never the graph. */
#include "backend/backend.h"
#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GUARD = 256, MARK = 0xA5 };

/* Numbers on a coarse grid of eighths, so that ties and exact sums happen. */
static uint32_t rng_state = 1;
static uint32_t rnd(uint32_t n)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (rng_state >> 8) % n;
}

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
#define DENSE(t, ...) dense(t, (int)DD_LEN(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__})

/* The smallest and largest element offset of a view. */
static void span(const dd_view *v, int64_t *lo, int64_t *hi)
{
    *lo = *hi = 0;
    for (int i = 0; i < v->rank; i++) *(v->stride[i] < 0 ? lo : hi) += (v->dim[i] - 1) * v->stride[i];
}

/* Memory of a view with guards on both sides; *at is where element 0 lies. */
typedef struct block {
    unsigned char *mem;
    size_t bytes;
    void *at;
} block;

static block block_new(const dd_view *v)
{
    int64_t lo, hi;
    span(v, &lo, &hi);
    const size_t size = dd_dtype_size(v->dtype);
    block b = {.bytes = 2 * GUARD + (size_t)(hi - lo + 1) * size};
    b.mem = aligned_alloc(64, (b.bytes + 63) / 64 * 64);
    assert_non_null(b.mem);
    memset(b.mem, MARK, b.bytes);
    b.at = b.mem + GUARD + (size_t)-lo * size;
    return b;
}

/* positive: 1/8 .. 7/8, else -1 .. 1; i32 below `limit`. Fills the whole span. */
static void block_fill(const block *b, const dd_view *v, bool positive, uint32_t limit)
{
    const size_t size = dd_dtype_size(v->dtype), n = (b->bytes - 2 * GUARD) / size;
    for (size_t i = 0; i < n; i++) {
        const double x = positive ? (double)(rnd(7) + 1) / 8 : (double)rnd(17) / 8 - 1;
        void *p = b->mem + GUARD + i * size;
        if (v->dtype == DD_F32)
            *(float *)p = (float)x;
        else if (v->dtype == DD_F64)
            *(double *)p = x;
        else
            *(int32_t *)p = (int32_t)rnd(limit);
    }
}

static bool intact(const block *b)
{
    for (size_t i = 0; i < GUARD; i++)
        if (b->mem[i] != MARK || b->mem[b->bytes - 1 - i] != MARK) return false;
    return true;
}

static double element(dd_dtype t, const void *p)
{
    return t == DD_F32 ? (double)*(const float *)p : t == DD_F64 ? *(const double *)p : (double)*(const int32_t *)p;
}

static bool marked(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != MARK) return false;
    return true;
}

/* Equal up to tol, gaps of the view included. */
static void same(const block *a, const block *b, dd_dtype t, double tol)
{
    const size_t size = dd_dtype_size(t);
    assert_true(intact(a) && intact(b));
    for (size_t i = GUARD; i + GUARD < a->bytes; i += size) {
        const double x = element(t, a->mem + i), y = element(t, b->mem + i);
        if (marked(a->mem + i, size) || marked(b->mem + i, size)) {
            assert_memory_equal(a->mem + i, b->mem + i, size);
            continue;
        }
        const bool close = x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= tol * (1 + fabs(x));
        if (!close) fail_msg("element %zu: %.9g and %.9g", (i - GUARD) / size, x, y);
    }
}

/* Prepares, runs and releases on one backend; scratch is guarded too. */
static dd_status run_on(dd_backend *b, dd_instr in)
{
    const dd_status st = b->prepare(b, &in);
    if (st != DD_OK) return st;
    unsigned char *scratch = aligned_alloc(64, (in.scratch + GUARD + 63) / 64 * 64);
    assert_non_null(scratch);
    memset(scratch, MARK, in.scratch + GUARD);
    const dd_status r = in.launch(b, &in, scratch);
    assert_true(marked(scratch + in.scratch, GUARD));
    free(scratch);
    b->release(b, &in);
    return r;
}

static dd_backend *open_named(const char *name, int threads)
{
    dd_backend *b = NULL;
    assert_int_equal(dd_backend_open(&b, name, threads), DD_OK);
    return b;
}

/* Runs on ref and on cpu with 1 and 2 threads. Sources are random unless in.in[k] is set already. */
static void check_with(dd_instr in, double tol, bool positive, uint32_t limit, bool exact_threads)
{
    block src[DD_INSTR_SRC] = {{NULL, 0, NULL}}, out[3];
    for (int k = 0; k < in.nsrc; k++) {
        if (in.in[k]) continue;
        src[k] = block_new(&in.src[k]);
        block_fill(&src[k], &in.src[k], positive, limit);
        in.in[k] = src[k].at;
    }
    for (int r = 0; r < 3; r++) {
        dd_backend *b = open_named(r == 0 ? "ref" : "cpu", r == 2 ? 2 : 1);
        out[r] = block_new(&in.dst);
        in.out = out[r].at;
        assert_int_equal(run_on(b, in), DD_OK);
        dd_backend_close(b);
    }
    same(&out[0], &out[1], in.dst.dtype, tol);
    if (exact_threads)
        assert_memory_equal(out[1].mem, out[2].mem, out[1].bytes);
    else
        same(&out[0], &out[2], in.dst.dtype, tol);
    for (int r = 0; r < 3; r++) free(out[r].mem);
    for (int k = 0; k < in.nsrc; k++) free(src[k].mem);
}

static void check(dd_instr in, double tol)
{
    check_with(in, tol, false, 3, true);
}

/* Views over the same box: dense, broadcast along an axis, reversed, transposed, spread out. */
enum { LAYOUTS = 6 };
static dd_view layout(dd_dtype t, int rank, const int64_t *dim, int how)
{
    dd_view v = dense(t, rank, dim);
    if (how == 1) v.stride[0] = 0;
    if (how == 2) v.stride[rank - 1] = 0;
    if (how == 3) v.stride[rank - 1] = -1;
    if (how == 4 && rank > 1) { /* the last two axes exchanged in memory */
        v.stride[rank - 2] = 1;
        v.stride[rank - 1] = dim[rank - 2];
    }
    if (how == 5)
        for (int i = 0; i < rank; i++) v.stride[i] *= 2;
    return v;
}

static const int64_t boxes[][4] = {{1, 1, 1, 1},   {3, 5, 7, 9},    {2, 3, 1, 70},
                                   {64, 40, 3, 2}, {2, 4, 33, 130}, {1, 1, 1, 40000}};

static void pointwise(void **state)
{
    (void)state;
    for (int e = 0; e < DD_EW_COUNT; e++)
        for (size_t s = 0; s < DD_LEN(boxes); s++)
            for (int h = 0; h < LAYOUTS; h++) {
                const dd_dtype t = h % 2 == 0 && s % 2 == 0 ? DD_F64 : DD_F32;
                dd_instr in = {.kind = DD_K_POINTWISE, .ew = (dd_ew)e, .dst = layout(t, 4, boxes[s], h < 3 ? 0 : h)};
                in.nsrc = e == DD_EW_SELECT ? 3 : e >= DD_EW_ADD ? 2 : 1;
                for (int k = 0; k < in.nsrc; k++) in.src[k] = layout(t, 4, boxes[s], (h + k * (int)(s + 1)) % LAYOUTS);
                if (s == 4 && e % 4) continue; /* the large box with every fourth function is enough */
                check_with(in, 1e-6,
                           e == DD_EW_LOG || e == DD_EW_SQRT ||
                               (e == DD_EW_KAPPA1 || e == DD_EW_KAPPA0 || e == DD_EW_KAPPA_SLOPE),
                           3, true);
            }
}

/* Correlations at their ends and beyond, where the formulas have no value, and next to the seam of the polynomial. */
static void kappas(void **state)
{
    static const double ends[] = {-2, -1,  -0.9999999999, -0.999,    -0.5000001,     -0.5,      -0.25,      -0.0,
                                  0,  0.3, 0.5,           0.5000001, 0.75,           0.999999,  0.9999995,  0.9999999,
                                  1,  1.5, 1e30,          HUGE_VAL,  0.999999999999, -HUGE_VAL, (double)NAN};
    enum { COUNT = DD_LEN(ends) };
    (void)state;
    static const dd_ew ew[] = {DD_EW_KAPPA0, DD_EW_KAPPA_SLOPE, DD_EW_KAPPA1};
    float single[COUNT], half[COUNT];
    double wide_half[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        single[i] = (float)ends[i];
        half[i] = (float)(wide_half[i] = ends[i] > 0 ? 0.5 : 0.125);
    }
    for (int f = 0; f < 2; f++)
        for (size_t e = 0; e < DD_LEN(ew); e++) {
            const dd_view v = DENSE(f ? DD_F64 : DD_F32, COUNT);
            dd_instr in = {.kind = DD_K_POINTWISE, .ew = ew[e], .nsrc = ew[e] == DD_EW_KAPPA1 ? 2 : 1, .dst = v};
            in.src[0] = in.src[1] = v;
            in.in[0] = f ? (const void *)ends : (const void *)single;
            in.in[1] = f ? (const void *)wide_half : (const void *)half;
            check_with(in, f ? 1e-13 : 1e-6, false, 3, true);
        }
}

static void pointwise_of_integers(void **state)
{
    (void)state;
    dd_instr in = {.kind = DD_K_POINTWISE,
                   .ew = DD_EW_EQ,
                   .nsrc = 2,
                   .dst = DENSE(DD_F32, 5, 7),
                   .src = {DENSE(DD_I32, 5, 7), DENSE(DD_I32, 5, 7)}};
    check(in, 0);
}

static void copies(void **state)
{
    (void)state;
    static const dd_dtype types[] = {DD_F32, DD_F64, DD_I32};
    for (size_t s = 0; s < DD_LEN(boxes); s++)
        for (int h = 0; h < LAYOUTS; h++)
            for (int g = 0; g < LAYOUTS; g++) {
                dd_instr in = {.kind = DD_K_COPY,
                               .nsrc = 1,
                               .dst = layout(types[g % 3], 4, boxes[s], h < 3 ? 0 : h),
                               .src = {layout(types[h % 3], 4, boxes[s], g)}};
                check(in, 0);
                in.src[0].dtype = in.dst.dtype;
                check(in, 0);
            }
    const dd_instr up = {.kind = DD_K_COPY,
                         .nsrc = 1,
                         .dst = DENSE(DD_F32, 70, 30, 50),
                         .src = {{DD_F32, 3, {70, 30, 50}, {1, 70, 2100}}}};
    check(up, 0);
    dd_instr down = up;
    down.src[0].dtype = DD_F64;
    check(down, 0);
}

static void fills(void **state)
{
    (void)state;
    static const dd_dtype types[] = {DD_F32, DD_F64, DD_I32};
    for (size_t s = 0; s < DD_LEN(boxes); s++)
        for (int h = 0; h < 9; h++) {
            dd_instr in = {
                .kind = DD_K_FILL, .c = -3, .dst = layout(types[h / 3], 4, boxes[s], h % 3 == 0 ? 0 : h % 3 + 3)};
            check(in, 0);
            in.kind = DD_K_IOTA;
            in.attr[0] = h % 3 + 1;
            in.dst = dense(types[h / 3], 4, boxes[s]);
            check(in, 0);
        }
}

static void reductions(void **state)
{
    (void)state;
    static const int64_t shapes[][4] = {{3, 5, 7, 9}, {1, 1, 1, 50000}, {700, 2, 1, 10}, {20, 16, 8, 8},
                                        {1, 1, 1, 1}, {3000, 1, 1, 70}, {2, 700, 5, 3}};
    for (size_t s = 0; s < DD_LEN(shapes); s++)
        for (unsigned mask = 0; mask < 16; mask++)
            for (int k = 0; k < 6; k++) {
                const dd_dtype t = k < 3 ? DD_F32 : DD_F64;
                dd_instr in = {.kind = k % 3 == 0   ? DD_K_SUM
                                       : k % 3 == 1 ? DD_K_SUMMUL
                                                    : DD_K_MAXR,
                               .nsrc = k % 3 == 1 ? 2 : 1};
                int64_t dim[4];
                for (int i = 0; i < 4; i++) dim[i] = mask >> i & 1 ? 1 : shapes[s][i];
                in.dst = dense(t, 4, dim);
                for (int j = 0; j < 2; j++)
                    in.src[j] = layout(t, 4, shapes[s], (int)(mask + (unsigned)k + (unsigned)j * 2) % LAYOUTS);
                check(in, 1e-5);
            }
}

static void argmaxes(void **state)
{
    (void)state;
    for (int axis = 0; axis < 3; axis++)
        for (int f = 0; f < 2; f++) {
            int64_t dim[3] = {5, 7, 9};
            dd_instr in = {.kind = DD_K_ARGMAX, .nsrc = 1, .attr = {axis}, .src = {dense(f ? DD_F32 : DD_F64, 3, dim)}};
            dim[axis] = 1;
            in.dst = dense(DD_I32, 3, dim);
            check(in, 0);
        }
}

static void matmuls(void **state)
{
    (void)state;
    static const int64_t cases[][4] = {{1, 1, 1, 1},
                                       {1, 7, 5, 3},
                                       {4, 33, 17, 65},
                                       {2, 200, 100, 150},
                                       {9, 3, 1, 40},
                                       /* in parts: one product of 200,000 multiplications or more */
                                       {1, 50, 200, 30},
                                       {1, 200, 50, 30},
                                       {1, 15, 15, 1000},
                                       {1, 1, 1, 300000}};
    for (size_t s = 0; s < DD_LEN(cases); s++)
        for (int f = 0; f < 16; f++) {
            const int64_t b = cases[s][0], m = cases[s][1], n = cases[s][2], k = cases[s][3];
            const dd_dtype t = f & 8 ? DD_F64 : DD_F32;
            dd_instr in = {.kind = DD_K_MATMUL, .nsrc = f & 4 ? 3 : 2, .attr = {f & 1, f >> 1 & 1}};
            in.dst = DENSE(t, b, m, n);
            in.src[0] = f & 1 ? DENSE(t, b, k, m) : DENSE(t, b, m, k);
            in.src[1] = f & 2 ? DENSE(t, b, n, k) : DENSE(t, b, k, n);
            in.src[2] = DENSE(t, n);
            check_with(in, 1e-5, false, 3, false);
        }
}

/* Numbers of many digits, so that another order of a sum gives other bits. */
static void *digits(dd_dtype t, int64_t n)
{
    void *p = malloc((size_t)n * dd_dtype_size(t));
    assert_non_null(p);
    for (int64_t i = 0; i < n; i++) {
        const double x = sin((double)i * 1.7);
        if (t == DD_F32)
            ((float *)p)[i] = (float)x;
        else
            ((double *)p)[i] = x;
    }
    return p;
}

/* Few rows by a matrix too large to be copied: rows at their least and most, sides next to whole vectors, columns and
 * stretches. Any number of threads gives the same bits. */
static void thin_products(void **state)
{
    static const int64_t cases[][3] = {
        {32, 6150, 513}, {33, 2031, 1600}, {100, 1529, 2061}, {130, 517, 6200}, {256, 1550, 2048}};
    (void)state;
    for (size_t s = 0; s < DD_LEN(cases); s++)
        for (int f = 0; f < 4; f++) {
            const int64_t m = cases[s][0], n = cases[s][1], k = cases[s][2];
            const dd_dtype t = f & 2 ? DD_F64 : DD_F32;
            const bool turned = f & 1;
            if (m == 256 && t == DD_F64) continue;
            void *a = digits(t, m * k), *b = digits(t, n * k);
            const dd_instr in = {.kind = DD_K_MATMUL,
                                 .nsrc = 2,
                                 .attr = {0, turned},
                                 .dst = DENSE(t, 1, m, n),
                                 .src = {DENSE(t, 1, m, k), turned ? DENSE(t, 1, n, k) : DENSE(t, 1, k, n)},
                                 .in = {a, b}};
            check_with(in, t == DD_F32 ? 1e-4 : 1e-11, false, 3, true);
            free(a);
            free(b);
        }
}

/* n c h w o r s | sh sw ph pw dh dw groups */
static const int64_t convs[][14] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {2, 3, 9, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 1, 28, 28, 32, 3, 3, 1, 1, 3, 3, 1, 1, 1},
    {2, 3, 32, 32, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 32, 8, 8, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 64, 7, 9, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 6, 10, 11, 9, 3, 3, 2, 2, 1, 1, 1, 1, 3},
    {2, 4, 12, 12, 6, 5, 3, 1, 2, 2, 0, 2, 1, 2},
    {1, 5, 13, 13, 7, 3, 3, 2, 3, 0, 2, 2, 2, 1},
    {2, 8, 6, 6, 8, 3, 3, 1, 1, 1, 1, 1, 1, 8},
    {2, 2, 9, 9, 4, 5, 5, 1, 1, 4, 4, 1, 1, 1},
    {1, 3, 8, 8, 4, 2, 2, 2, 2, 0, 0, 1, 1, 1},
    {2, 1, 6, 5, 3, 4, 1, 1, 1, 2, 0, 1, 1, 1},
    {3, 2, 9, 7, 11, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 1, 13, 21, 9, 3, 3, 1, 1, 0, 2, 1, 1, 1},
    {2, 32, 8, 8, 32, 3, 3, 1, 1, 2, 2, 1, 1, 1},
    /* Winograd: planes under a tile, channels that are no whole vectors, all paddings, more tiles than a chunk */
    {1, 16, 1, 1, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 17, 3, 5, 19, 3, 3, 1, 1, 0, 1, 1, 1, 1},
    {2, 33, 7, 4, 16, 3, 3, 1, 1, 2, 0, 1, 1, 1},
    {5, 24, 9, 13, 40, 3, 3, 1, 1, 1, 2, 1, 1, 1},
    {7, 16, 5, 6, 47, 3, 3, 1, 1, 2, 2, 1, 1, 1},
    {4, 48, 16, 16, 65, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 16, 70, 75, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    /* few channels: one pixel, paddings beyond the kernel, other kernels */
    {1, 1, 1, 1, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 2, 5, 7, 9, 3, 3, 1, 1, 0, 3, 1, 1, 1},
    {2, 4, 33, 9, 17, 3, 3, 1, 1, 5, 4, 1, 1, 1},
    {2, 3, 9, 9, 8, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {2, 1, 8, 8, 10, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {3, 1, 28, 28, 6, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {2, 2, 11, 9, 7, 4, 5, 1, 1, 3, 1, 1, 1, 1},
    {3, 6, 14, 14, 16, 5, 5, 1, 1, 0, 0, 1, 1, 1},
    {10, 1, 9, 11, 6, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {9, 2, 7, 8, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 6, 9, 10, 20, 3, 3, 1, 1, 5, 4, 1, 1, 1},
    {1, 6, 5, 19, 9, 5, 4, 1, 1, 0, 3, 1, 1, 1},
    {2, 6, 7, 9, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 6, 21, 7, 16, 5, 5, 1, 1, 0, 0, 1, 1, 1},
    {7, 4, 9, 9, 16, 5, 5, 1, 1, 1, 2, 1, 1, 1},
    {2, 5, 9, 7, 32, 3, 5, 1, 1, 2, 2, 1, 1, 1},
    {2, 7, 21, 9, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 8, 7, 7, 33, 5, 3, 1, 1, 2, 0, 1, 1, 1},
    {2, 1, 8, 8, 10, 2, 2, 1, 1, 2, 2, 1, 1, 1}};

static int64_t out_size(int64_t in, int64_t k, int64_t stride, int64_t pad, int64_t dil)
{
    return (in + 2 * pad - dil * (k - 1) - 1) / stride + 1;
}

static void conv_views(const int64_t *c, dd_dtype t, dd_view *x, dd_view *w, dd_view *u)
{
    *x = dense(t, 4, c);
    *w = DENSE(t, c[4], c[1] / c[13], c[5], c[6]);
    *u = DENSE(t, c[0], c[4], out_size(c[2], c[5], c[7], c[9], c[11]), out_size(c[3], c[6], c[8], c[10], c[12]));
}

static dd_instr conv_instr(const int64_t *c, dd_dtype t, int pass)
{
    dd_view x, w, u;
    conv_views(c, t, &x, &w, &u);
    dd_instr in = {.kind = pass == 0 ? DD_K_CONV : pass == 1 ? DD_K_CONV_DX : DD_K_CONV_DW, .nsrc = 2};
    in.dst = pass == 0 ? u : pass == 1 ? x : w;
    in.src[0] = pass == 1 ? u : x;
    in.src[1] = pass == 2 ? u : w;
    in.src[2] = DENSE(t, c[4]);
    memcpy(in.attr, c + 7, 7 * sizeof *c);
    return in;
}

static void convolutions(void **state)
{
    (void)state;
    for (size_t s = 0; s < DD_LEN(convs); s++)
        for (int pass = 0; pass < 3; pass++) {
            dd_instr in = conv_instr(convs[s], DD_F32, pass);
            /* ours of few channels has the same bits on any number of threads; oneDNN's weights' gradient has not */
            const bool few = convs[s][1] <= 2 && convs[s][4] >= 6 && convs[s][4] <= 8 && convs[s][6] == convs[s][5] &&
                             (convs[s][5] == 3 || convs[s][5] == 5) && __builtin_cpu_supports("avx2");
            check_with(in, 2e-4, false, 3, few);
            if (pass) continue;
            in.nsrc = 3;
            check_with(in, 2e-4, false, 3, false);
        }
}

/* Weights that change in place, and more of one shape than are kept in their transformed form: each launch uses those
 * it is given. */
static void weights_change(void **state)
{
    enum { SETS = 6, ROUNDS = 3 };
    (void)state;
    dd_backend *cpu = open_named("cpu", 2), *ref = open_named("ref", 1);
    for (int pass = 0; pass < 2; pass++) {
        dd_instr in = conv_instr(convs[4], DD_F32, pass), exact = in;
        const size_t n = (size_t)dd_view_count(&in.dst);
        block x = block_new(&in.src[0]), w[SETS], y = block_new(&in.dst), z = block_new(&in.dst);
        block_fill(&x, &in.src[0], false, 1);
        for (int i = 0; i < SETS; i++) {
            w[i] = block_new(&in.src[1]);
            block_fill(&w[i], &in.src[1], false, 1);
        }
        assert_int_equal(cpu->prepare(cpu, &in), DD_OK);
        assert_int_equal(ref->prepare(ref, &exact), DD_OK);
        void *scratch = dd_alloc(in.scratch + 64, 1);
        assert_non_null(scratch);
        in.out = y.at;
        exact.out = z.at;
        in.in[0] = exact.in[0] = x.at;
        for (int i = 0; i < 2 * ROUNDS * SETS; i++) { /* each set twice, the last number changed in between */
            float *weights = w[i % 4 < 2 ? 0 : i / 4 % SETS].at;
            in.in[1] = exact.in[1] = weights;
            assert_int_equal(in.launch(cpu, &in, scratch), DD_OK);
            assert_int_equal(exact.launch(ref, &exact, NULL), DD_OK);
            for (size_t e = 0; e < n; e++)
                assert_true(fabsf(((float *)y.at)[e] - ((float *)z.at)[e]) < 2e-4f * (1 + fabsf(((float *)z.at)[e])));
            weights[dd_view_count(&in.src[1]) - 1] += 1;
        }
        cpu->release(cpu, &in);
        ref->release(ref, &exact);
        dd_free(scratch);
        for (int i = 0; i < SETS; i++) free(w[i].mem);
        free(x.mem);
        free(y.mem);
        free(z.mem);
    }
    dd_backend_close(cpu);
    dd_backend_close(ref);
}

/* <u, conv(x,w)> = <conv_dx(u,w), x> = <conv_dw(x,u), w> */
static void trilinear(void **state)
{
    (void)state;
    dd_backend *b = open_named("ref", 1);
    for (size_t s = 0; s < DD_LEN(convs); s++) {
        dd_view v[3];
        conv_views(convs[s], DD_F64, &v[0], &v[1], &v[2]);
        block in[3], out[3];
        static const int result[3] = {2, 0, 1}, first[3] = {0, 2, 0}, second[3] = {1, 1, 2};
        double form[3] = {0, 0, 0};
        for (int i = 0; i < 3; i++) {
            in[i] = block_new(&v[i]);
            block_fill(&in[i], &v[i], false, 1);
        }
        for (int pass = 0; pass < 3; pass++) {
            dd_instr it = conv_instr(convs[s], DD_F64, pass);
            out[pass] = block_new(&it.dst);
            it.out = out[pass].at;
            it.in[0] = in[first[pass]].at;
            it.in[1] = in[second[pass]].at;
            assert_int_equal(run_on(b, it), DD_OK);
            for (int64_t i = 0; i < dd_view_count(&it.dst); i++)
                form[pass] += ((double *)out[pass].at)[i] * ((double *)in[result[pass]].at)[i];
        }
        for (int i = 0; i < 3; i++) {
            assert_true(fabs(form[i] - form[0]) < 1e-9 * (1 + fabs(form[0])));
            free(in[i].mem);
            free(out[i].mem);
        }
    }
    dd_backend_close(b);
}

static void sparse(void **state)
{
    (void)state;
    static const int32_t rowptr[] = {0, 2, 2, 5, 6}, col[] = {0, 4, 1, 1, 3, 2};
    for (int f = 1; f < 20; f += 6)
        for (int tr = 0; tr < 2; tr++) {
            dd_instr in = {.kind = DD_K_SPMM,
                           .nsrc = 4,
                           .attr = {4, 5, tr},
                           .dst = DENSE(DD_F32, tr ? 5 : 4, f),
                           .src = {DENSE(DD_I32, 5), DENSE(DD_I32, 6), DENSE(DD_F32, 6), DENSE(DD_F32, tr ? 4 : 5, f)}};
            in.in[0] = rowptr;
            in.in[1] = col;
            check(in, 1e-6);
        }
}

static void pools(void **state)
{
    (void)state;
    /* h w kh kw sh sw ph pw */
    static const int64_t cases[][8] = {{8, 8, 2, 2, 2, 2, 0, 0},  {7, 9, 2, 2, 2, 2, 0, 0}, {7, 9, 3, 3, 2, 2, 1, 1},
                                       {6, 5, 3, 2, 1, 2, 1, 0},  {4, 4, 4, 4, 4, 4, 0, 0}, {9, 9, 2, 3, 3, 4, 1, 1},
                                       {32, 32, 2, 2, 2, 2, 0, 0}};
    for (size_t s = 0; s < DD_LEN(cases); s++)
        for (int k = 0; k < 3; k++) {
            const int64_t *c = cases[s], p = out_size(c[0], c[2], c[4], c[6], 1),
                          q = out_size(c[1], c[3], c[5], c[7], 1);
            const dd_view x = DENSE(DD_F32, 4, 12, c[0], c[1]), y = DENSE(k == 2 ? DD_I32 : DD_F32, 4, 12, p, q);
            dd_instr in = {.kind = k == 0   ? DD_K_SUMPOOL
                                   : k == 1 ? DD_K_SUMPOOL_T
                                            : DD_K_POOL_ARGMAX,
                           .nsrc = 1,
                           .dst = k == 1 ? x : y,
                           .src = {k == 1 ? y : x}};
            memcpy(in.attr, c + 2, 6 * sizeof *c);
            check(in, 1e-6);
        }
}

static void indexing(void **state)
{
    (void)state;
    static const dd_dtype types[] = {DD_F32, DD_F64, DD_I32};
    for (int k = 0; k < 12; k++) {
        const bool along = k & 1, add = k & 2;
        const dd_dtype t = types[k / 4];
        const dd_view big = along ? DENSE(t, 3, 5, 11) : DENSE(t, 11, 3, 50),
                      index = along ? DENSE(DD_I32, 3, 5, 40) : DENSE(DD_I32, 40);
        const dd_view small = along ? DENSE(t, 3, 5, 40) : DENSE(t, 40, 3, 50);
        const dd_instr in = {.kind = add ? DD_K_SCATTER_ADD : DD_K_GATHER,
                             .nsrc = 2,
                             .attr = {along},
                             .dst = add ? big : small,
                             .src = {add ? small : big, index}};
        check_with(in, 1e-6, false, 11, true);
    }
}

static void index_out_of_range(void **state)
{
    (void)state;
    const int32_t bad[2] = {0, 7};
    const float x[7] = {0};
    float y[2];
    dd_instr in = {.kind = DD_K_GATHER,
                   .nsrc = 2,
                   .dst = DENSE(DD_F32, 2),
                   .src = {DENSE(DD_F32, 7), DENSE(DD_I32, 2)},
                   .out = y,
                   .in = {x, bad}};
    for (int r = 0; r < 2; r++) {
        dd_backend *b = open_named(r ? "cpu" : "ref", 1);
        assert_int_equal(run_on(b, in), DD_EINVAL);
        assert_non_null(strstr(dd_last_error(), "index 7"));
        dd_backend_close(b);
    }
}

/* Rotations, scalings and shifts around the identity; then an exact shift. */
static void sampling(void **state)
{
    (void)state;
    enum { N = 5 };
    float a[N * 6];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < 6; j++)
            a[i * 6 + j] = (j == 0 || j == 4 ? 1.0f : 0.0f) +
                           (i == 0 ? 0.0f : (float)((int)rnd(100) - 50) / (j % 3 == 2 ? 10.0f : 100.0f));
    for (int t = 0; t < 2; t++) {
        const dd_view big = DENSE(DD_F32, N, 3, 13, 17), small = DENSE(DD_F32, N, 3, 11, 8);
        dd_instr in = {.kind = t ? DD_K_SAMPLE_T : DD_K_SAMPLE,
                       .nsrc = 2,
                       .dst = t ? big : small,
                       .src = {t ? small : big, DENSE(DD_F32, N, 2, 3)}};
        in.in[1] = a;
        check(in, 1e-5);
    }
    const float shift[6] = {1, 0, 1, 0, 1, -1}, x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9},
                want[9] = {0, 4, 5, 0, 7, 8, 0, 0, 0};
    float y[9];
    dd_instr in = {.kind = DD_K_SAMPLE,
                   .nsrc = 2,
                   .dst = DENSE(DD_F32, 1, 1, 3, 3),
                   .out = y,
                   .in = {x, shift},
                   .src = {DENSE(DD_F32, 1, 1, 3, 3), DENSE(DD_F32, 1, 2, 3)}};
    for (int r = 0; r < 2; r++) {
        dd_backend *b = open_named(r ? "cpu" : "ref", 1);
        assert_int_equal(run_on(b, in), DD_OK);
        assert_memory_equal(y, want, sizeof y);
        dd_backend_close(b);
    }
}

/* A = M M^T + I, row-major [n,n]. */
static void make_spd(double *a, int64_t n)
{
    double *m = dd_alloc((size_t)(n * n), sizeof *m);
    assert_non_null(m);
    for (int64_t i = 0; i < n * n; i++) m[i] = (double)rnd(17) / 8 - 1;
    for (int64_t e = 0; e < n * n; e++) {
        a[e] = e / n == e % n ? 1 : 0;
        for (int64_t k = 0; k < n; k++) a[e] += m[e / n * n + k] * m[e % n * n + k];
    }
    dd_free(m);
}

static void factors(void **state)
{
    (void)state;
    enum { B = 2, N = 37, M = 5 };
    static double a[B * N * N], l[B * N * N];
    static float a32[B * N * N], l32[B * N * N];
    dd_backend *ref = open_named("ref", 1);
    for (int b = 0; b < B; b++) make_spd(a + b * N * N, N);
    dd_instr f = {
        .kind = DD_K_FACTOR, .nsrc = 1, .dst = DENSE(DD_F64, B, N, N), .src = {DENSE(DD_F64, B, N, N)}, .in = {a}};
    f.out = l;
    assert_int_equal(run_on(ref, f), DD_OK);
    for (int i = 0; i < B * N * N; i++) {
        a32[i] = (float)a[i];
        l32[i] = (float)l[i];
    }
    for (int t = 0; t < 2; t++) {
        const dd_dtype type = t ? DD_F32 : DD_F64;
        const double tol = t ? 2e-4 : 1e-11;
        f.in[0] = t ? (const void *)a32 : (const void *)a;
        f.src[0].dtype = f.dst.dtype = type;
        check_with(f, tol, false, 1, false);
        dd_instr s = {.kind = DD_K_BACKSOLVE,
                      .nsrc = 2,
                      .dst = DENSE(type, B, N, M),
                      .src = {DENSE(type, B, N, N), DENSE(type, B, N, M)}};
        s.in[0] = t ? (const void *)l32 : (const void *)l;
        check_with(s, t ? 2e-3 : 1e-10, false, 1, false);
        dd_instr d = {.kind = DD_K_LOGDET, .nsrc = 1, .dst = DENSE(type, B, 1, 1), .src = {DENSE(type, B, N, N)}};
        d.in[0] = s.in[0];
        check_with(d, tol, false, 1, true);
    }
    dd_backend_close(ref);
}

static void solve_inverts(void **state)
{
    (void)state;
    enum { N = 20 };
    double a[N * N], l[N * N], rhs[N], x[N];
    make_spd(a, N);
    for (int i = 0; i < N; i++) rhs[i] = i - 3;
    dd_backend *b = open_named("cpu", 1);
    const dd_instr f = {.kind = DD_K_FACTOR,
                        .nsrc = 1,
                        .dst = DENSE(DD_F64, 1, N, N),
                        .src = {DENSE(DD_F64, 1, N, N)},
                        .in = {a},
                        .out = l};
    const dd_instr s = {.kind = DD_K_BACKSOLVE,
                        .nsrc = 2,
                        .dst = DENSE(DD_F64, 1, N, 1),
                        .in = {l, rhs},
                        .out = x,
                        .src = {DENSE(DD_F64, 1, N, N), DENSE(DD_F64, 1, N, 1)}};
    assert_int_equal(run_on(b, f), DD_OK);
    assert_int_equal(run_on(b, s), DD_OK);
    for (int i = 0; i < N; i++) {
        double r = -rhs[i];
        for (int j = 0; j < N; j++) r += a[i * N + j] * x[j];
        assert_true(fabs(r) < 1e-9);
    }
    dd_backend_close(b);
}

static void not_positive_definite(void **state)
{
    (void)state;
    const double a[8] = {1, 0, 0, 1, 1, 2, 2, 1};
    double l[8];
    const dd_instr f = {.kind = DD_K_FACTOR,
                        .nsrc = 1,
                        .dst = DENSE(DD_F64, 2, 2, 2),
                        .src = {DENSE(DD_F64, 2, 2, 2)},
                        .in = {a},
                        .out = l};
    for (int r = 0; r < 2; r++) {
        dd_backend *b = open_named(r ? "cpu" : "ref", 1);
        assert_int_equal(run_on(b, f), DD_ENUMERIC);
        assert_non_null(strstr(dd_last_error(), "pivot 2 of 2 is -3"));
        assert_non_null(strstr(dd_last_error(), "diagonal"));
        dd_backend_close(b);
    }
}

/* LAPACK takes a NaN for a positive pivot. */
static void not_a_number_is_no_factor(void **state)
{
    (void)state;
    const float a[4] = {4, NAN, NAN, 4};
    float l[4];
    const dd_instr f = {.kind = DD_K_FACTOR,
                        .nsrc = 1,
                        .dst = DENSE(DD_F32, 1, 2, 2),
                        .src = {DENSE(DD_F32, 1, 2, 2)},
                        .in = {a},
                        .out = l};
    for (int r = 0; r < 2; r++) {
        dd_backend *b = open_named(r ? "cpu" : "ref", 1);
        assert_int_equal(run_on(b, f), DD_ENUMERIC);
        dd_backend_close(b);
    }
}

static void names(void **state)
{
    (void)state;
    dd_backend *b = NULL;
    assert_int_equal(dd_backend_open(&b, "cpv", 1), DD_ENOTFOUND);
    assert_null(b);
    assert_non_null(strstr(dd_last_error(), "cpv"));
    b = open_named("cpu", 0);
    assert_string_equal(dd_backend_name(b), "cpu");
    assert_true(b->threads >= 1);
    dd_backend_close(b);
    dd_backend_close(NULL);
}

static void unsupported_dtype(void **state)
{
    (void)state;
    dd_instr in = {.kind = DD_K_COPY, .nsrc = 1, .dst = DENSE(DD_F32, 4), .src = {DENSE(DD_U8, 4)}};
    for (int r = 0; r < 2; r++) {
        dd_backend *b = open_named(r ? "cpu" : "ref", 1);
        assert_int_equal(b->prepare(b, &in), DD_EUNSUPPORTED);
        dd_backend_close(b);
    }
}

static void out_of_memory(void **state)
{
    (void)state;
    dd_backend *b = NULL;
    for (long n = 1; n <= 2; n++) {
        dd_alloc_fail_after(n);
        assert_int_equal(dd_backend_open(&b, "cpu", 1), DD_ENOMEM);
        dd_alloc_fail_after(0);
    }
    b = open_named("cpu", 1);
    dd_instr in[3] = {conv_instr(convs[1], DD_F32, 0),
                      {.kind = DD_K_COPY, .nsrc = 1, .dst = DENSE(DD_F32, 4), .src = {DENSE(DD_F32, 4)}},
                      {.kind = DD_K_SUM, .nsrc = 1, .dst = DENSE(DD_F32, 1), .src = {DENSE(DD_F32, 4)}}};
    for (size_t i = 0; i < DD_LEN(in); i++) {
        dd_alloc_fail_after(1);
        assert_int_equal(b->prepare(b, &in[i]), DD_ENOMEM);
        dd_alloc_fail_after(0);
    }
    dd_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pointwise),
                                       cmocka_unit_test(pointwise_of_integers),
                                       cmocka_unit_test(copies),
                                       cmocka_unit_test(fills),
                                       cmocka_unit_test(reductions),
                                       cmocka_unit_test(argmaxes),
                                       cmocka_unit_test(kappas),
                                       cmocka_unit_test(matmuls),
                                       cmocka_unit_test(thin_products),
                                       cmocka_unit_test(convolutions),
                                       cmocka_unit_test(weights_change),
                                       cmocka_unit_test(trilinear),
                                       cmocka_unit_test(sparse),
                                       cmocka_unit_test(pools),
                                       cmocka_unit_test(indexing),
                                       cmocka_unit_test(index_out_of_range),
                                       cmocka_unit_test(sampling),
                                       cmocka_unit_test(factors),
                                       cmocka_unit_test(solve_inverts),
                                       cmocka_unit_test(not_positive_definite),
                                       cmocka_unit_test(not_a_number_is_no_factor),
                                       cmocka_unit_test(names),
                                       cmocka_unit_test(unsupported_dtype),
                                       cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
