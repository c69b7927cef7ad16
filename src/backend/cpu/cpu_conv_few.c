/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution of few channels and its gradients: the first layer, and the gradient that reaches the image, which
 * libraries run at a twentieth of their speed. Output and data gradient are a correlation from planes on a canvas with
 * zero borders to at most four planes at a time, kept in registers a vector of columns and some rows at once; plain
 * nchw on both sides. Stride and dilation 1. The weights' gradient, of 3x3 kernels only, keeps the nine sums of one or
 * two planes in registers and reads the large operand once. Processors without AVX2 leave these shapes to oneDNN. */
#include "backend/cpu/cpu_conv_few.h"

#include "backend/cpu/cpu_internal.h"

#ifdef DD_FEW_X86
#include <omp.h>

enum { ENOUGH_OUT = 8 };

static const dd_few_lanes *lanes_here(void)
{
    const int n = dd_cpu_lanes();
    return n == 16 ? &dd_few_avx512 : n == 8 ? &dd_few_avx2 : NULL;
}

/* Output channels of one thread: an even number, since they are taken in pairs. */
static int64_t share_of(const dd_conv_geo *g, int threads)
{
    return ((g->o + threads - 1) / threads + 1) / 2 * 2;
}

/* Each output channel is one thread's alone, so the order of additions is fixed. */
static dd_status launch_weights(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_few_lanes *f = lanes_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    const int64_t share = share_of(&g, b->threads), each = f->weights_scratch(&g, share);
#pragma omp parallel for schedule(static) num_threads(b->threads) if (g.n > 1)
    for (int t = 0; t < b->threads; t++) {
        const int64_t first = t * share, last = first + share < g.o ? first + share : g.o;
        if (first < last) f->weights(&g, first, last, in->in[0], in->in[1], (float *)scratch + t * each, in->out);
    }
    return DD_OK;
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const dd_few_lanes *f = lanes_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    const bool back = in->kind == DD_K_CONV_DX;
    const int64_t nx = g.c * g.h * g.w, ny = g.o * g.p * g.q, each = f->scratch(&g, back);
#pragma omp parallel for schedule(static) num_threads(b->threads) if (g.n > 1)
    for (int64_t i = 0; i < g.n; i++) {
        float *buf = (float *)scratch + omp_get_thread_num() * each;
        if (back)
            f->backward(&g, (const float *)in->in[0] + i * ny, in->in[1], buf, (float *)in->out + i * nx);
        else
            f->planes(&g, 0, g.o, true, (const float *)in->in[0] + i * nx, in->in[1], in->nsrc > 2 ? in->in[2] : NULL,
                      buf, (float *)in->out + i * ny);
    }
    return DD_OK;
}

static bool takes(const dd_conv_geo *g)
{
    const bool plain = g->sh == 1 && g->sw == 1 && g->dh == 1 && g->dw == 1 && g->g == 1;
    return lanes_here() && plain && g->c <= DD_FEW_PLANES && g->o >= ENOUGH_OUT;
}

bool dd_cpu_conv_few_joins(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    return in->dst.dtype == DD_F32 && takes(&g);
}

int64_t dd_cpu_conv_few_buffer(const dd_instr *in)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    return lanes_here()->scratch(&g, false);
}

void dd_cpu_conv_few_planes(const dd_instr *in, int64_t image, int64_t first, int64_t count, bool fresh, float *buffer,
                            float *y)
{
    const dd_conv_geo g = dd_conv_geo_of(in);
    lanes_here()->planes(&g, first, count, fresh, (const float *)in->in[0] + image * g.c * g.h * g.w, in->in[1],
                         in->nsrc > 2 ? in->in[2] : NULL, buffer, y);
}

bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    const dd_few_lanes *f = lanes_here();
    const dd_conv_geo g = dd_conv_geo_of(in);
    if (!takes(&g)) return false;
    if (in->kind == DD_K_CONV_DW) {
        if (g.r != 3 || g.s != 3 || g.c > 2) return false; /* measured: no gain for 3 channels */
        in->scratch = (size_t)(b->threads * f->weights_scratch(&g, share_of(&g, b->threads))) * sizeof(float);
        in->launch = launch_weights;
        return true;
    }
    in->scratch = (size_t)(b->threads * f->scratch(&g, in->kind == DD_K_CONV_DX)) * sizeof(float);
    in->launch = launch;
    return true;
}
#else
bool dd_cpu_conv_few_prepare(dd_backend *b, dd_instr *in)
{
    (void)b, (void)in;
    return false;
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
#endif
