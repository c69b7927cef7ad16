/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution of few channels and its gradients: the first layer, and the gradient that reaches the image, which
 * libraries run at a twentieth of their speed. Output and data gradient are a correlation from planes on a canvas with
 * zero borders to at most four planes at a time, kept in registers 16 columns and some rows at once; plain nchw on both
 * sides. Stride and dilation 1. The weights' gradient, of 3x3 kernels only, keeps the nine sums of two planes in
 * registers and reads the large operand once, in plain layout. Needs AVX-512; other processors leave these shapes to
 * oneDNN. */
#include "backend/cpu/cpu_internal.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include "backend/geometry.h"

#include <omp.h>
#include <string.h>

enum { FEW = 4, LANES = 16, CHUNK = 16, ROWS = 8, ENOUGH_OUT = 8, TAPS = 9 };
#define WIDE __attribute__((target("avx512f,fma")))
#define INLINE WIDE __attribute__((always_inline)) static inline
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));

/* y[m, i, j] += sum over k, r, s of canvas[k, i + r, j + s] * w[m * wm + k * wk + r * wr + s * ws].
 * The canvas has h + r - 1 rows of w + s - 1 columns, y has h rows of w columns; h and w are rounded up. */
typedef struct corr {
    int64_t k, h, w, r, s, wm, wk, wr, ws;
    int64_t top, left; /* where the source lies on the canvas */
} corr;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* One row of taps: acc[a, i] += sum over s of x[i, s ..] * t[a, s]. */
INLINE void tap_row(const int m, const int n, const corr *z, int64_t taps, const float *x, const float *t, vec *acc)
{
    const int64_t pitch = z->w + z->s - 1;
    for (int64_t s = 0; s < taps; s++) {
        UNROLL for (int i = 0; i < n; i++)
        {
            vec v = *(const vec *)(x + i * pitch + s);
            if (m < FEW) __asm__("" : "+v"(v)); /* stay in a register: gcc would load it again for every plane */
            UNROLL for (int a = 0; a < m; a++) acc[a * n + i] += v * t[a * z->wm + s * z->ws];
        }
    }
}

/* m planes of n rows of 16 columns; m * n <= 16, both constant after inlining, as is `width`, the taps of a row or 0
 * if it is not one of the usual. */
INLINE void tile(const int m, const int n, const int width, const corr *z, const float *u, const float *w, float *y)
{
    const int64_t pitch = z->w + z->s - 1, plane = pitch * (z->h + z->r - 1);
    vec acc[16];
    UNROLL for (int a = 0; a < m; a++)
    {
        UNROLL for (int i = 0; i < n; i++) acc[a * n + i] = *(const vec *)(y + (a * z->h + i) * z->w);
    }
    for (int64_t k = 0; k < z->k; k++)
        for (int64_t r = 0; r < z->r; r++)
            tap_row(m, n, z, width ? width : z->s, u + k * plane + r * pitch, w + k * z->wk + r * z->wr, acc);
    UNROLL for (int a = 0; a < m; a++)
    {
        UNROLL for (int i = 0; i < n; i++) * (vec *)(y + (a * z->h + i) * z->w) = acc[a * n + i];
    }
}

INLINE void tiles(const int m, const int n, const corr *z, const float *canvas, const float *w, float *y)
{
    const int64_t pitch = z->w + z->s - 1;
    for (int64_t i = 0; i < z->h; i += n)
        for (int64_t j = 0; j < z->w; j += LANES) {
            if (z->s == 3)
                tile(m, n, 3, z, canvas + i * pitch + j, w, y + i * z->w + j);
            else
                tile(m, n, 0, z, canvas + i * pitch + j, w, y + i * z->w + j);
        }
}

WIDE static void correlate(const corr *z, int64_t m, const float *canvas, const float *w, float *y)
{
    switch (m) {
    case 4: tiles(4, ROWS / 2, z, canvas, w, y); break;
    case 3: tiles(3, ROWS / 2, z, canvas, w, y); break;
    case 2: tiles(2, ROWS, z, canvas, w, y); break;
    default: tiles(1, ROWS, z, canvas, w, y);
    }
}

/* Puts `n` source planes [h,w] on the canvas, whose borders are zero already. */
WIDE static void fill_canvas(const corr *z, int64_t n, const float *src, int64_t h, int64_t w, float *canvas)
{
    const int64_t rows = z->h + z->r - 1, pitch = z->w + z->s - 1;
    const int64_t j0 = z->left < 0 ? 0 : z->left, end = z->left + w, j1 = end < pitch ? end : pitch;
    const int64_t i0 = z->top < 0 ? 0 : z->top, i1 = z->top + h < rows ? z->top + h : rows;
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = i0; i < i1; i++) {
            float *to = canvas + (k * rows + i) * pitch;
            const float *from = src + (k * h + i - z->top) * w;
            int64_t j = j0;
            for (; j + LANES <= j1; j += LANES) *(vec *)(to + j) = *(const vec *)(from + j - z->left);
            for (; j < j1; j++) to[j] = from[j - z->left];
        }
}

/* Copies m planes out of the rounded buffer, adding a bias to each if there is one. */
WIDE static void take(const corr *z, int64_t m, const float *buf, const float *bias, int64_t h, int64_t w, float *y)
{
    for (int64_t e = 0; e < m * h; e++) {
        const float *from = buf + (e / h * z->h + e % h) * z->w, add = bias ? bias[e / h] : 0.0f;
#pragma omp simd
        for (int64_t j = 0; j < w; j++) y[e * w + j] = from[j] + add;
    }
}

static corr forward_of(const dd_conv_geo *z)
{
    return (corr){.k = z->c,
                  .h = round_up(z->p, ROWS),
                  .w = round_up(z->q, LANES),
                  .r = z->r,
                  .s = z->s,
                  .wm = z->c * z->r * z->s,
                  .wk = z->r * z->s,
                  .wr = z->s,
                  .ws = 1,
                  .top = z->ph,
                  .left = z->pw};
}

/* The kernel is turned round: steps of rows and columns are negative and start at its last element. */
static corr backward_of(const dd_conv_geo *z)
{
    return (corr){.k = CHUNK,
                  .h = round_up(z->h, ROWS),
                  .w = round_up(z->w, LANES),
                  .r = z->r,
                  .s = z->s,
                  .wm = z->r * z->s,
                  .wk = z->c * z->r * z->s,
                  .wr = -z->s,
                  .ws = -1,
                  .top = z->r - 1 - z->ph,
                  .left = z->s - 1 - z->pw};
}

static int64_t canvas_size(const corr *z)
{
    return round_up(z->k * (z->h + z->r - 1) * (z->w + z->s - 1), LANES);
}

static void forward(const dd_conv_geo *g, const corr *z, const float *x, const float *w, const float *bias, float *buf,
                    float *y)
{
    float *acc = buf + canvas_size(z);
    memset(buf, 0, (size_t)canvas_size(z) * sizeof *buf);
    fill_canvas(z, g->c, x, g->h, g->w, buf);
    for (int64_t o = 0; o < g->o; o += FEW) {
        const int64_t m = g->o - o < FEW ? g->o - o : FEW;
        memset(acc, 0, (size_t)(m * z->h * z->w) * sizeof *acc);
        correlate(z, m, buf, w + o * z->wm, acc);
        take(z, m, acc, bias ? bias + o : NULL, g->p, g->q, y + o * g->p * g->q);
    }
}

static void backward(const dd_conv_geo *g, const corr *z, const float *u, const float *w, float *buf, float *y)
{
    float *acc = buf + canvas_size(z);
    corr part = *z;
    memset(buf, 0, (size_t)canvas_size(z) * sizeof *buf);
    memset(acc, 0, (size_t)(g->c * z->h * z->w) * sizeof *acc);
    for (int64_t o = 0; o < g->o; o += CHUNK) {
        part.k = g->o - o < CHUNK ? g->o - o : CHUNK;
        fill_canvas(&part, part.k, u + o * g->p * g->q, g->p, g->q, buf);
        correlate(&part, g->c, buf, w + o * z->wk + g->r * g->s - 1, acc);
    }
    take(z, g->c, acc, NULL, g->h, g->w, y);
}

/* ---- weights ---- */

/* sum[a][3 * r + s] += sum over i, j of u[a, i, j] * canvas[i + r, j + s] for `m` planes u that are `plane` apart. */
INLINE void nine_sums(const int m, int64_t h, int64_t w, int64_t plane, const float *u, const float *canvas, vec *sum)
{
    const int64_t pitch = w + 2;
    vec acc[2 * TAPS];
    UNROLL for (int t = 0; t < m * TAPS; t++) acc[t] = sum[t];
    for (int64_t i = 0; i < h; i++)
        for (int64_t j = 0; j < w; j += LANES) {
            const float *x = canvas + i * pitch + j;
            const vec u0 = *(const vec *)(u + i * w + j), u1 = m > 1 ? *(const vec *)(u + plane + i * w + j) : u0;
            UNROLL for (int t = 0; t < TAPS; t++)
            {
                const vec v = *(const vec *)(x + t / 3 * pitch + t % 3);
                acc[t] += v * u0;
                if (m > 1) acc[TAPS + t] += v * u1;
            }
        }
    UNROLL for (int t = 0; t < m * TAPS; t++) sum[t] = acc[t];
}

WIDE static void weigh(int64_t m, int64_t h, int64_t w, int64_t plane, const float *u, const float *canvas, vec *sum)
{
    if (m > 1)
        nine_sums(2, h, w, plane, u, canvas, sum);
    else
        nine_sums(1, h, w, plane, u, canvas, sum);
}

WIDE static float lanes_sum(const vec *v)
{
    float half[LANES];
    memcpy(half, v, sizeof half);
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int l = 0; l < n; l++) half[l] += half[l + n];
    return half[0];
}

/* The canvas of the weights' gradient: rows of u rounded up to whole vectors, x around them. */
static corr weights_of(const dd_conv_geo *z)
{
    return (corr){.k = z->c, .h = z->p, .w = round_up(z->q, LANES), .r = 3, .s = 3, .top = z->ph, .left = z->pw};
}

/* Floats of one thread: the canvas, the sums of `n` output channels, and two planes of u if they need rounding. */
static int64_t weights_scratch(const corr *z, int64_t n)
{
    return canvas_size(z) + n * z->k * TAPS * LANES + 2 * z->h * z->w;
}

/* Output channels first..last-1 over all images; each is one thread's alone, so the order of additions is fixed. */
static void weights(const dd_conv_geo *g, const corr *z, int64_t first, int64_t last, const float *x, const float *u,
                    float *buf, float *y)
{
    float *sums = buf + canvas_size(z), *padded = sums + (last - first) * g->c * TAPS * LANES;
    const int64_t canvas = (z->h + 2) * (z->w + 2), plane = g->p * g->q;
    memset(buf, 0, (size_t)weights_scratch(z, last - first) * sizeof *buf);
    for (int64_t n = 0; n < g->n; n++) {
        fill_canvas(z, g->c, x + n * g->c * g->h * g->w, g->h, g->w, buf);
        for (int64_t o = first; o < last; o += 2) {
            const int64_t m = last - o < 2 ? 1 : 2;
            const float *from = u + (n * g->o + o) * plane;
            int64_t apart = plane;
            if (z->w != g->q) {
                for (int64_t i = 0; i < m * g->p; i++)
                    memcpy(padded + i * z->w, from + i * g->q, (size_t)g->q * sizeof *from);
                from = padded;
                apart = z->h * z->w;
            }
            for (int64_t c = 0; c < g->c; c++) /* a pair's sums lie together, channel by channel */
                weigh(m, z->h, z->w, apart, from, buf + c * canvas,
                      (vec *)(void *)(sums + ((o - first) * g->c + m * c) * TAPS * LANES));
        }
    }
    for (int64_t o = first; o < last; o++) {
        const int64_t even = (o - first) / 2 * 2, m = last - first - even < 2 ? 1 : 2;
        for (int64_t c = 0; c < g->c; c++)
            for (int64_t t = 0; t < TAPS; t++) {
                const int64_t at = (even * g->c + m * c + (o - first - even)) * TAPS + t;
                y[(o * g->c + c) * TAPS + t] = lanes_sum((const vec *)(const void *)(sums + at * LANES));
            }
    }
}

static int64_t share_of(const dd_conv_geo *g, int threads)
{
    return round_up((g->o + threads - 1) / threads, 2);
}

static dd_status launch_weights(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const corr z = weights_of(&g);
    const int64_t share = share_of(&g, b->threads), each = weights_scratch(&z, share);
#pragma omp parallel for schedule(static) num_threads(b->threads) if (g.n > 1)
    for (int t = 0; t < b->threads; t++) {
        const int64_t first = t * share, last = first + share < g.o ? first + share : g.o;
        if (first < last) weights(&g, &z, first, last, in->in[0], in->in[1], (float *)scratch + t * each, in->out);
    }
    return DD_OK;
}

/* ---- choice ---- */

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    const corr z = back ? backward_of(&g) : forward_of(&g);
    const int64_t nx = g.c * g.h * g.w, ny = g.o * g.p * g.q, each = canvas_size(&z) + FEW * z.h * z.w;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (g.n > 1)
    for (int64_t i = 0; i < g.n; i++) {
        float *buf = (float *)scratch + omp_get_thread_num() * each;
        if (back)
            backward(&g, &z, (const float *)in->in[0] + i * ny, in->in[1], buf, (float *)in->out + i * nx);
        else
            forward(&g, &z, (const float *)in->in[0] + i * nx, in->in[1], in->nsrc > 2 ? in->in[2] : NULL, buf,
                    (float *)in->out + i * ny);
    }
    return DD_OK;
}

bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool plain = g.sh == 1 && g.sw == 1 && g.dh == 1 && g.dw == 1 && g.g == 1;
    if (!plain || g.c > FEW || g.o < ENOUGH_OUT || !__builtin_cpu_supports("avx512f")) return false;
    if (in->kind == DD_K_CONV_DW) {
        const corr w = weights_of(&g);
        if (g.r != 3 || g.s != 3 || g.c > 2) return false; /* measured: no gain for 3 channels */
        in->scratch = (size_t)(b->threads * weights_scratch(&w, share_of(&g, b->threads))) * sizeof(float);
        in->launch = launch_weights;
        return true;
    }
    const corr z = in->kind == DD_K_CONV_DX ? backward_of(&g) : forward_of(&g);
    in->scratch = (size_t)(b->threads * (canvas_size(&z) + FEW * z.h * z.w)) * sizeof(float);
    in->launch = launch;
    return true;
}
#else
bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    (void)b, (void)in;
    return false;
}
#endif
