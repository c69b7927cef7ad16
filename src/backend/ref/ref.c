/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference backend: picks the kernel of an instruction by its kind and precision. It keeps no state, needs no
 * scratch and uses one thread. */
#include "backend/ref/ref_internal.h"

#include "base/memory.h"

static bool plain(dd_dtype t)
{
    return t == DD_F32 || t == DD_F64 || t == DD_I32;
}

dd_kernel dd_ref_kernel(const dd_instr *in)
{
    if (!plain(in->dst.dtype)) return NULL;
    for (int i = 0; i < in->nsrc; i++)
        if (!plain(in->src[i].dtype)) return NULL;
    const dd_kernel any = dd_ref_any(in->kind);
    if (any) return any;
    const dd_dtype t = in->kind == DD_K_SPMM ? in->dst.dtype : in->src[0].dtype;
    return t == DD_F32 ? dd_ref_f32(in->kind) : t == DD_F64 ? dd_ref_f64(in->kind) : NULL;
}

static dd_status prepare(dd_backend *b, dd_instr *in)
{
    in->state = NULL;
    in->scratch = 0;
    in->launch = dd_ref_kernel(in);
    if (in->launch) return DD_OK;
    return dd_fail(DD_EUNSUPPORTED, "backend %s has no kernel of kind %d for %s: cast to f32 or f64", b->name,
                   (int)in->kind, dd_dtype_name(in->nsrc ? in->src[0].dtype : in->dst.dtype));
}

static void release(dd_backend *b, dd_instr *in)
{
    (void)b, (void)in;
}

static void close_ref(dd_backend *b)
{
    dd_free(b);
}

dd_status dd_ref_open(dd_backend **out, int threads)
{
    (void)threads; /* one thread: the order of every sum is the order of the loops */
    dd_backend *b = dd_alloc(1, sizeof *b);
    if (!b) return dd_fail(DD_ENOMEM, "no memory for the reference backend");
    *b = (dd_backend){.name = "ref", .threads = 1, .prepare = prepare, .release = release, .close = close_ref};
    *out = b;
    return DD_OK;
}
