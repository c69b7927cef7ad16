/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel a convolution gets: ours where the shape and the processor are theirs, else oneDNN's. */
#include "backend/cpu/cpu_internal.h"

dd_status dd_cpu_conv_prepare(dd_backend *b, dd_instr *in)
{
    if (in->dst.dtype != DD_F32 || dd_cpu_conv_few_prepare(b, in) || dd_cpu_winograd_prepare(b, in)) return DD_OK;
    if (in->blocked) return dd_fail(DD_ENOMEM, "no memory for the transformed weights of a convolution");
    return dd_cpu_onednn_prepare(b, in);
}

unsigned dd_cpu_conv_may_block(const dd_instr *in)
{
    const unsigned few = dd_cpu_conv_few_may_block(in);
    return few ? few : dd_cpu_winograd_may_block(in);
}
