/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel a convolution gets: ours where the shape and the processor are theirs, else oneDNN's. */
#include "backend/cpu/cpu_internal.h"

dd_status dd_cpu_conv_prepare(dd_backend *b, dd_instr *in)
{
    if (in->dst.dtype != DD_F32 || dd_cpu_conv_few_prepare(b, in) || dd_cpu_winograd_prepare(b, in)) return DD_OK;
    return dd_cpu_onednn_prepare(b, in);
}
