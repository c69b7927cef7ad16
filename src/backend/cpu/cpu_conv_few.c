/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution of few channels and its gradients: the first layer, and the gradient that reaches the image, which
 * libraries run at a twentieth of their speed. Stride and dilation 1. The side of many channels lies in plain planes
 * (cpu_conv_few.inc: a correlation from planes on a canvas with zero borders to at most four planes at a time, kept in
 * registers a vector of columns and some rows at once; the weights' gradient, of 3x3 kernels or rows of five and one or
 * two channels only, keeps nine or ten sums in registers) or in blocks of channels (cpu_conv_few_blocks.inc: a vector a
 * pixel, and the weights' gradient for up to four channels). Processors without AVX2 leave these shapes to oneDNN. */
#include "backend/cpu/cpu_conv_few.h"

#include "backend/cpu/cpu_internal.h"
#include "backend/cpu/cpu_stripes.h"

#ifdef DD_FEW_X86
#include <omp.h>
#include <string.h>

/* Channels from which and up to which ours gain; those of an image that the gradient goes back to may be more. */
enum { ENOUGH_OUT = 6, WEIGHTS_PLANES = 2, BACK_PLANES = 8, TURNED_PLANES = 16, IMAGE_PARTS = 4, FEW_CHANNELS = 8 };

static const dd_few_lanes *lanes_here(void)
{
    const int n = dd_cpu_lanes();
    return n == 16 ? &dd_few_avx512 : n == 8 ? &dd_few_avx2 : NULL;
}

static const dd_few_blocks *blocks_here(void)
{
    return dd_cpu_lanes() == 16 ? &dd_few_blocks_avx512 : &dd_few_blocks_avx2;
}

/* Whether the side of many channels lies in blocks. */
static bool blocked(const dd_instr *in)
{
    return (in->blocked & (in->kind == DD_K_CONV ? 1 : in->kind == DD_K_CONV_DX ? 2 : 4)) != 0;
}

/* And is bfloat16. */
static bool half(const dd_instr *in)
{
    return in->half != 0;
}

/* Rows of five taps for more input channels: a vector of output channels for each pixel, turned an image at a time. */
static bool turned(const dd_instr *in, const dd_conv_geo *g)
{
    return in->kind == DD_K_CONV_DW && !blocked(in) && g->c > WEIGHTS_PLANES && g->s == 5 && g->o % dd_cpu_lanes() == 0;
}

/* Output channels of one thread: whole blocks, or an even number, since planes are taken in pairs. */
static int64_t share_of(const dd_instr *in, int64_t channels, int threads)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const int64_t unit = blocked(in) || turned(in, &g) ? dd_cpu_lanes() : 2;
    return ((channels + threads - 1) / threads + unit - 1) / unit * unit;
}

/* Without the turned planes. */
static int64_t sums_scratch(const dd_instr *in, const dd_conv_geo *g, int64_t share)
{
    return blocked(in) || turned(in, g) ? blocks_here()->weights_scratch(g, share)
                                        : lanes_here()->weights_scratch(g, share);
}

static int64_t weights_scratch(const dd_instr *in, const dd_conv_geo *g, int64_t share)
{
    return sums_scratch(in, g, share) + (turned(in, g) ? share * g->p * g->q : 0);
}

static void weigh(const dd_instr *in, const dd_conv_geo *g, dd_few_sums s, int64_t image, int64_t first, int64_t count,
                  bool fresh, const void *u, float *buf)
{
    const float *x = (const float *)in->in[0] + image * g->c * g->h * g->w;
    if (turned(in, g)) {
        const int64_t lanes = dd_cpu_lanes(), plane = g->p * g->q;
        float *blocks = buf + sums_scratch(in, g, s.channels);
        for (int64_t o = 0; o < count; o += lanes)
            dd_stripes_here()->to_block(plane, (const float *)u + o * plane, blocks + o * plane);
        blocks_here()->weights(g, false, s, first, count, fresh, x, blocks, buf);
    } else if (blocked(in)) {
        blocks_here()->weights(g, half(in), s, first, count, fresh, x, u, buf);
    } else {
        lanes_here()->weights(g, s, first, count, fresh, x, u, buf);
    }
}

static void weigh_end(const dd_instr *in, const dd_conv_geo *g, dd_few_sums s, int parts, int64_t apart, float *buf)
{
    if (blocked(in) || turned(in, g))
        blocks_here()->weights_end(g, s, parts, apart, buf, in->out);
    else
        lanes_here()->weights_end(g, s, parts, apart, buf, in->out);
}

/* How the weights' gradient is divided into parts that threads take: by output channels, or, where those are one block
 * or few, by images, always into as many, so that the order of additions does not depend on the threads. */
typedef struct division {
    bool images;
    int parts;
    int64_t channels; /* of a part */
    int64_t each;     /* floats of a part */
} division;

static division division_of(const dd_instr *in, int threads)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool one = g.o <= (blocked(in) || turned(in, &g) ? dd_cpu_lanes() : FEW_CHANNELS);
    const int parts = !one ? threads : g.n < IMAGE_PARTS ? (int)g.n : IMAGE_PARTS;
    const int64_t channels = one ? g.o : share_of(in, g.o, threads);
    return (division){one, parts, channels, weights_scratch(in, &g, channels)};
}

static dd_status launch_weights(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const division d = division_of(in, b->threads);
#pragma omp parallel for schedule(static) num_threads(b->threads) if (g.n > 1)
    for (int k = 0; k < d.parts; k++) {
        const int64_t base = d.images ? 0 : k * d.channels, left = g.o - base;
        const int64_t n0 = d.images ? g.n * k / d.parts : 0, n1 = d.images ? g.n * (k + 1) / d.parts : g.n;
        const dd_few_sums s = {base, left < d.channels ? left : d.channels};
        float *buf = (float *)scratch + k * d.each;
        if (s.channels <= 0) continue;
        memset(buf, 0, (size_t)d.each * sizeof *buf);
        for (int64_t n = n0; n < n1; n++) {
            const int64_t at = (n * g.o + s.base) * g.p * g.q;
            const void *u = half(in) ? (const void *)((const uint16_t *)in->in[1] + at) : (const float *)in->in[1] + at;
            weigh(in, &g, s, n, s.base, s.channels, true, u, buf);
        }
        if (!d.images) weigh_end(in, &g, s, 1, 0, buf);
    }
    if (d.images) weigh_end(in, &g, (dd_few_sums){0, g.o}, d.parts, d.each, scratch);
    return DD_OK;
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_few_lanes *f = lanes_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    const int64_t nx = g.c * g.h * g.w, ny = g.o * g.p * g.q, each = f->scratch(&g, back);
    const int64_t workers = g.n < b->threads ? g.n : b->threads;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (workers > 1)
    for (int64_t t = 0; t < workers; t++) {
        float *buf = (float *)scratch + t * each;
        if (back) f->start_back(&g, in->in[1], buf);
        for (int64_t i = g.n * t / workers; i < g.n * (t + 1) / workers; i++) {
            if (back)
                f->backward(&g, 0, g.o, (const float *)in->in[0] + i * ny, buf, (float *)in->out + i * nx);
            else
                f->planes(&g, 0, g.o, true, (const float *)in->in[0] + i * nx, in->in[1],
                          in->nsrc > 2 ? in->in[2] : NULL, buf, (float *)in->out + i * ny);
        }
    }
    return DD_OK;
}

static dd_status launch_blocks(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_few_blocks *f = blocks_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    const int64_t nx = g.c * g.h * g.w, ny = g.o * g.p * g.q, each = f->scratch(&g, back);
    const int64_t workers = g.n < b->threads ? g.n : b->threads;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (workers > 1)
    for (int64_t t = 0; t < workers; t++) {
        float *buf = (float *)scratch + t * each;
        f->start(&g, back, in->in[1], buf);
        for (int64_t i = g.n * t / workers; i < g.n * (t + 1) / workers; i++) {
            const float *bias = !back && in->nsrc > 2 ? in->in[2] : NULL;
            if (back)
                f->backward(&g, half(in), 0, g.o, (const char *)in->in[0] + i * ny * (half(in) ? 2 : 4), buf,
                            (float *)in->out + i * nx);
            else if (half(in))
                f->halves(&g, (const float *)in->in[0] + i * nx, bias, buf, (uint16_t *)in->out + i * ny);
            else
                f->planes(&g, 0, g.o, true, (const float *)in->in[0] + i * nx, bias, buf, (float *)in->out + i * ny);
        }
    }
    return DD_OK;
}

static bool takes(const dd_instr *in, const dd_conv_geo *g)
{
    const bool plain = g->sh == 1 && g->sw == 1 && g->dh == 1 && g->dw == 1 && g->g == 1;
    const int64_t most = turned(in, g)                              ? TURNED_PLANES
                         : in->kind == DD_K_CONV_DX && !blocked(in) ? BACK_PLANES
                                                                    : DD_FEW_PLANES;
    return lanes_here() && plain && g->c <= most && g->o >= ENOUGH_OUT;
}

/* The weights' gradient has loops for kernels of 3x3 and, in plain planes, of rows of five. */
static bool has_loops(const dd_conv_geo *g, bool blocks)
{
    return (g->r == 3 && g->s == 3) || (g->s == 5 && !blocks);
}

bool dd_cpu_conv_few_takes(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    if (in->dst.dtype != DD_F32 || !takes(in, &g)) return false;
    if (in->kind != DD_K_CONV_DW) return true;
    return turned(in, &g) || (g.c <= WEIGHTS_PLANES && has_loops(&g, false)) ||
           (g.o % dd_cpu_lanes() == 0 && has_loops(&g, true));
}

unsigned dd_cpu_conv_few_may_block(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    if (!dd_cpu_conv_few_takes(in) || g.o % dd_cpu_lanes() || g.c > DD_FEW_PLANES) return 0;
    if (in->kind == DD_K_CONV_DW && !has_loops(&g, true)) return 0;
    return in->kind == DD_K_CONV ? 1 : in->kind == DD_K_CONV_DX ? 2 : 4;
}

/* Planes that are turned come whole blocks at a time, and the rows of a group that is not in blocks do not. */
bool dd_cpu_conv_few_joins(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    return dd_cpu_conv_few_takes(in) && !turned(in, &g);
}

int64_t dd_cpu_conv_few_buffer(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    if (in->kind == DD_K_CONV_DW) return weights_scratch(in, &g, g.o);
    const bool back = in->kind == DD_K_CONV_DX;
    return blocked(in) ? blocks_here()->scratch(&g, back) : lanes_here()->scratch(&g, back);
}

void dd_cpu_conv_few_start(const dd_instr *in, float *buffer)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    if (in->kind == DD_K_CONV_DW)
        memset(buffer, 0, (size_t)weights_scratch(in, &g, g.o) * sizeof *buffer);
    else if (blocked(in))
        blocks_here()->start(&g, back, in->in[1], buffer);
    else if (back)
        lanes_here()->start_back(&g, in->in[1], buffer);
}

void dd_cpu_conv_few_planes(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                            float *y)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    const float *x = (const float *)in->in[0] + image * g.c * g.h * g.w, *bias = in->nsrc > 2 ? in->in[2] : NULL;
    if (blocked(in))
        blocks_here()->planes(&g, first, count, fresh, x, bias, buffer, y);
    else
        lanes_here()->planes(&g, first, count, fresh, x, in->in[1], bias, buffer, y);
}

void dd_cpu_conv_few_weigh(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                           const float *u)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    weigh(in, &g, (dd_few_sums){0, g.o}, image, first, count, fresh, u, buffer);
}

void dd_cpu_conv_few_back(const dd_instr *in, int64_t image, int64_t first, int64_t count, float *buffer,
                          const float *u)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    float *y = (float *)in->out + image * g.c * g.h * g.w;
    if (blocked(in))
        blocks_here()->backward(&g, false, first, count, u, buffer, y);
    else
        lanes_here()->backward(&g, first, count, u, buffer, y);
}

void dd_cpu_conv_few_end(const dd_instr *in, int parts, int64_t apart, float *buffer)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    weigh_end(in, &g, (dd_few_sums){0, g.o}, parts, apart, buffer);
}

bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    const dd_few_lanes *f = lanes_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    if (!takes(in, &g)) return false;
    if (in->kind == DD_K_CONV_DW) {
        if (!turned(in, &g) && (!has_loops(&g, blocked(in)) || (!blocked(in) && g.c > WEIGHTS_PLANES))) return false;
        const division d = division_of(in, b->threads);
        in->scratch = (size_t)(d.parts * d.each) * sizeof(float);
        in->launch = launch_weights;
        return true;
    }
    if (blocked(in)) {
        in->scratch = (size_t)(b->threads * blocks_here()->scratch(&g, in->kind == DD_K_CONV_DX)) * sizeof(float);
        in->launch = launch_blocks;
        return true;
    }
    in->scratch = (size_t)(b->threads * f->scratch(&g, in->kind == DD_K_CONV_DX)) * sizeof(float);
    in->launch = launch;
    return true;
}
#else
bool dd_cpu_conv_few_takes(const dd_instr *in)
{
    (void)in;
    return false;
}

bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    (void)b, (void)in;
    return false;
}

unsigned dd_cpu_conv_few_may_block(const dd_instr *in)
{
    (void)in;
    return 0;
}

void dd_cpu_conv_few_start(const dd_instr *in, float *buffer)
{
    (void)in, (void)buffer;
}

bool dd_cpu_conv_few_joins(const dd_instr *in)
{
    (void)in;
    return false;
}

int64_t dd_cpu_conv_few_buffer(const dd_instr *in)
{
    (void)in;
    return 0;
}

void dd_cpu_conv_few_planes(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                            float *y)
{
    (void)in, (void)image, (void)first, (void)count, (void)fresh, (void)buffer, (void)y;
}

void dd_cpu_conv_few_weigh(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                           const float *u)
{
    (void)in, (void)image, (void)first, (void)count, (void)fresh, (void)buffer, (void)u;
}

void dd_cpu_conv_few_back(const dd_instr *in, int64_t image, int64_t first, int64_t count, float *buffer,
                          const float *u)
{
    (void)in, (void)image, (void)first, (void)count, (void)buffer, (void)u;
}

void dd_cpu_conv_few_end(const dd_instr *in, int parts, int64_t apart, float *buffer)
{
    (void)in, (void)parts, (void)apart, (void)buffer;
}
#endif
