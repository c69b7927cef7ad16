/* SPDX-License-Identifier: Apache-2.0
 *
 * The CPU backend: for each instruction the reference kernel first, then whatever the family's file puts in its
 * place. Knows the families by their prepare functions only. */
#include "backend/cpu/cpu_internal.h"

#include "base/memory.h"

#include <omp.h>

typedef dd_status (*prepare_fn)(dd_backend *b, dd_instr *in);

static const prepare_fn families[DD_K_COUNT] = {
    [DD_K_POINTWISE] = dd_cpu_pointwise_prepare, [DD_K_COPY] = dd_cpu_pointwise_prepare,
    [DD_K_FILL] = dd_cpu_pointwise_prepare,      [DD_K_SUM] = dd_cpu_reduce_prepare,
    [DD_K_SUMMUL] = dd_cpu_reduce_prepare,       [DD_K_MAXR] = dd_cpu_reduce_prepare,
    [DD_K_MATMUL] = dd_cpu_gemm_prepare,         [DD_K_CONV] = dd_cpu_conv_prepare,
    [DD_K_CONV_DX] = dd_cpu_conv_prepare,        [DD_K_CONV_DW] = dd_cpu_conv_prepare,
    [DD_K_SPMM] = dd_cpu_spmm_prepare,           [DD_K_SUMPOOL] = dd_cpu_pool_prepare,
    [DD_K_SUMPOOL_T] = dd_cpu_pool_prepare,      [DD_K_POOL_ARGMAX] = dd_cpu_pool_prepare,
    [DD_K_PATCHSUM] = dd_cpu_patches_prepare,    [DD_K_GATHER] = dd_cpu_index_prepare,
    [DD_K_SCATTER_ADD] = dd_cpu_index_prepare,   [DD_K_SAMPLE] = dd_cpu_sample_prepare,
    [DD_K_SAMPLE_T] = dd_cpu_sample_prepare,     [DD_K_FACTOR] = dd_cpu_factor_prepare,
    [DD_K_BACKSOLVE] = dd_cpu_factor_prepare,    [DD_K_ROWS] = dd_cpu_group_prepare};

static dd_status prepare(dd_backend *b, dd_instr *in)
{
    in->state = NULL;
    in->scratch = 0;
    in->launch = dd_ref_kernel(in);
    if (!in->launch && in->kind != DD_K_ROWS)
        return dd_fail(DD_EUNSUPPORTED, "backend %s has no kernel of kind %d for %s: cast to f32 or f64", b->name,
                       (int)in->kind, dd_dtype_name(in->nsrc ? in->src[0].dtype : in->dst.dtype));
    dd_cpu_threads(b);
    return families[in->kind] ? families[in->kind](b, in) : DD_OK;
}

static void release(dd_backend *b, dd_instr *in)
{
    (void)b;
    dd_cpu_state *s = in->state;
    if (s) s->release(s);
    in->state = NULL;
}

static unsigned may_block(dd_backend *b, const dd_instr *in)
{
    switch (in->kind) {
    case DD_K_CONV:
    case DD_K_CONV_DX:
    case DD_K_CONV_DW: return dd_cpu_conv_may_block(b, in);
    case DD_K_ROWS: return dd_cpu_group_may_block(in);
    default: return 0;
    }
}

static void close_cpu(dd_backend *b)
{
    dd_cpu *self = b->self;
    if (self) {
        dd_cpu_engine_close(self->engine);
        dd_kept_close(self->kept);
    }
    dd_free(self);
    dd_free(b);
}

dd_status dd_cpu_open(dd_backend **out, int threads)
{
    dd_backend *b = dd_alloc(1, sizeof *b);
    if (!b) return dd_fail(DD_ENOMEM, "no memory for the CPU backend");
    *b = (dd_backend){.name = "cpu",
                      .threads = threads > 0 ? threads : omp_get_num_procs(),
                      .rows = true,
                      .joins = dd_cpu_conv_joins,
                      .lanes = dd_cpu_lanes(),
                      .may_block = may_block,
                      .prepare = prepare,
                      .release = release,
                      .close = close_cpu,
                      .peak = dd_cpu_peak};
    dd_cpu_threads(b);
    dd_cpu *self = b->self = dd_alloc(1, sizeof *self);
    if (self) {
        self->kept = dd_kept_open();
        dd_cpu_onednn_version(self->library, sizeof self->library);
        b->tunes = b->lanes ? self->library : NULL;
    }
    const dd_status st =
        self && self->kept ? dd_cpu_engine_open(&self->engine) : dd_fail(DD_ENOMEM, "no memory for the CPU backend");
    if (st != DD_OK) {
        close_cpu(b);
        return st;
    }
    *out = b;
    return DD_OK;
}
