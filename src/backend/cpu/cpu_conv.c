/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel a convolution gets: ours where the shape and the processor are theirs and nothing else was measured to
 * be faster, else oneDNN's. */
#include "backend/cpu/cpu_internal.h"

/* Ours, if it can be had. */
static bool prepare_ours(dd_backend *b, dd_instr *in)
{
    return dd_cpu_conv_few_prepare(b, in) || dd_cpu_winograd_prepare(b, in);
}

dd_status dd_cpu_conv_prepare(dd_backend *b, dd_instr *in)
{
    if (in->dst.dtype != DD_F32) return DD_OK;
    if (in->blocked && !prepare_ours(b, in))
        return dd_fail(DD_ENOMEM, "no memory for the transformed weights of a convolution");
    if (in->blocked) return DD_OK;
    if (dd_cpu_conv_is_ours(in) && !dd_cpu_prefers_library(b, in) && prepare_ours(b, in)) return DD_OK;
    return dd_cpu_onednn_prepare(b, in);
}

bool dd_cpu_conv_is_ours(const dd_instr *in)
{
    return dd_cpu_conv_few_takes(in) || dd_cpu_winograd_takes(in);
}

unsigned dd_cpu_conv_shape_may_block(const dd_instr *in)
{
    const unsigned few = dd_cpu_conv_few_may_block(in);
    return few ? few : dd_cpu_winograd_may_block(in);
}

unsigned dd_cpu_conv_may_block(dd_backend *b, const dd_instr *in)
{
    const unsigned may = dd_cpu_conv_shape_may_block(in);
    return may && !dd_cpu_prefers_library(b, in) ? may : 0;
}

/* A group with a CONV_DX is cut by images. */
static bool even_shares(int64_t images, int threads)
{
    enum { ENOUGH = 4 };
    return images % threads == 0 || images >= ENOUGH * (int64_t)threads;
}

/* A plane computed from few takes less time than to write and read it, if not too many groups do it again. */
int dd_cpu_conv_joins(dd_backend *b, const dd_instr *in)
{
    enum { TAPS_AGAIN = 32 };
    if (!dd_cpu_conv_few_joins(in) || dd_cpu_prefers_library(b, in)) return 0;
    if (in->kind == DD_K_CONV_DW) return 1;
    if (in->kind == DD_K_CONV_DX) return even_shares(in->dst.dim[0], b->threads);
    return 1 + (int)(TAPS_AGAIN / (in->src[1].dim[1] * in->src[1].dim[2] * in->src[1].dim[3]));
}
