/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions and their two gradients through oneDNN 2.x; the only file that includes its header. Operands arrive
 * as plain nchw and oihw. A primitive chooses its own blocked layouts, and what differs is reordered through the
 * scratch memory of the instruction; oneDNN itself takes small blocks from the heap in a launch.
 *
 * Gets what cpu_winograd.c and cpu_conv_few.c leave. The algorithm is fixed by the shape: Winograd for 3x3 with stride
 * and padding 1 and at least 32 channels on both sides, direct otherwise. oneDNN's own choice is wrong by 4 to 10 times
 * for few channels. More padding than half the kernel has no fast kernel: the image is then put on a larger canvas of
 * zeros and padded by half the kernel. */
#include "backend/cpu/cpu_internal.h"

#include "backend/geometry.h"
#include "base/memory.h"

#include <oneapi/dnnl/dnnl.h>

#include <stdio.h>
#include <string.h>

enum { WINOGRAD_CHANNELS = 32, PORTS = 4 };

typedef struct device {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} device;

/* One operand: the caller's memory and, if its layout differs, the primitive's own in scratch. */
typedef struct port {
    int arg, operand; /* DNNL_ARG_...; in->in[operand], or in->out if operand < 0 */
    dnnl_memory_desc_t plain;
    dnnl_memory_t user, own;
    dnnl_primitive_t reorder;
    size_t offset;
} port;

typedef struct plan {
    dd_cpu_state base;
    dnnl_primitive_t conv;
    dnnl_memory_t pad; /* oneDNN's scratchpad */
    size_t pad_offset, canvas_offset;
    bool canvas;
    int64_t pt, pl; /* canvas: rows above and columns left of the image */
    int nport;
    port port[PORTS];
} plan;

dd_status dd_cpu_engine_open(void **engine)
{
    device *d = dd_alloc(1, sizeof *d);
    if (!d) return dd_fail(DD_ENOMEM, "no memory for oneDNN's engine");
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) != dnnl_success) {
        dd_cpu_engine_close(d);
        return dd_fail(DD_ENOMEM, "oneDNN cannot open an engine on this processor");
    }
    *engine = d;
    return DD_OK;
}

void dd_cpu_engine_close(void *engine)
{
    device *d = engine;
    if (d && d->stream) dnnl_stream_destroy(d->stream);
    if (d && d->engine) dnnl_engine_destroy(d->engine);
    dd_free(d);
}

static void plan_release(dd_cpu_state *s)
{
    plan *p = (plan *)s;
    for (int i = 0; i < p->nport; i++) {
        port *t = &p->port[i];
        if (t->reorder) dnnl_primitive_destroy(t->reorder);
        if (t->own) dnnl_memory_destroy(t->own);
        if (t->user) dnnl_memory_destroy(t->user);
    }
    if (p->pad) dnnl_memory_destroy(p->pad);
    if (p->conv) dnnl_primitive_destroy(p->conv);
    dd_free(p);
}

/* oneDNN takes inputs through the same pointer type as outputs and does not write to them. */
static void *writable(const void *p)
{
    void *q;
    memcpy(&q, &p, sizeof q);
    return q;
}

static void fill_canvas(dd_backend *b, const plan *p, const dd_instr *in, float *y)
{
    const dd_conv_geo z = dd_conv_geo_of(in);
    const float *x = in->in[0];
    const int64_t h = z.h + 2 * p->pt, w = z.w + 2 * p->pl;
#pragma omp parallel for schedule(static) num_threads(b->threads) if (z.n * z.c * h * w >= DD_CPU_GRAIN)
    for (int64_t i = 0; i < z.n * z.c; i++) {
        memset(y + i * h * w, 0, (size_t)(h * w) * sizeof *y);
        for (int64_t r = 0; r < z.h; r++)
            memcpy(y + i * h * w + (r + p->pt) * w + p->pl, x + (i * z.h + r) * z.w, (size_t)z.w * sizeof *y);
    }
}

static dnnl_status_t reorder(const device *d, const port *t, bool out)
{
    const dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, out ? t->own : t->user}, {DNNL_ARG_TO, out ? t->user : t->own}};
    return t->reorder ? dnnl_primitive_execute(t->reorder, d->stream, 2, args) : dnnl_success;
}

static dd_status launch(dd_backend *b, const dd_instr *in, void *scratch)
{
    const plan *p = in->state;
    const device *d = ((const dd_cpu *)b->self)->engine;
    char *base = scratch;
    dnnl_exec_arg_t args[PORTS + 1];
    dd_cpu_threads(b);
    if (p->canvas) fill_canvas(b, p, in, (float *)(void *)(base + p->canvas_offset));
    dnnl_status_t st = dnnl_success;
    for (int i = 0; i < p->nport; i++) {
        const port *t = &p->port[i];
        void *user = t->operand < 0 ? in->out : writable(in->in[t->operand]);
        if (p->canvas && t->operand == 0) user = base + p->canvas_offset;
        st = st != dnnl_success ? st : dnnl_memory_set_data_handle(t->user, user);
        if (t->own) st = st != dnnl_success ? st : dnnl_memory_set_data_handle(t->own, base + t->offset);
        if (t->operand >= 0) st = st != dnnl_success ? st : reorder(d, t, false);
        args[i] = (dnnl_exec_arg_t){t->arg, t->own ? t->own : t->user};
    }
    st = st != dnnl_success ? st : dnnl_memory_set_data_handle(p->pad, base + p->pad_offset);
    args[p->nport] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, p->pad};
    st = st != dnnl_success ? st : dnnl_primitive_execute(p->conv, d->stream, p->nport + 1, args);
    for (int i = 0; i < p->nport; i++)
        if (p->port[i].operand < 0) st = st != dnnl_success ? st : reorder(d, &p->port[i], true);
    st = st != dnnl_success ? st : dnnl_stream_wait(d->stream);
    return st == dnnl_success ? DD_OK : dd_fail(DD_ENOMEM, "oneDNN failed to run a convolution (status %d)", (int)st);
}

/* What a primitive is made from. Descriptors by role: x, w, y, bias (NULL: none); all with the layout left open. */
typedef struct recipe {
    dnnl_memory_desc_t x, w, y, bias;
    bool has_bias;
    dnnl_dims_t stride, dilation, lo, hi;
} recipe;

static dnnl_status_t forward_desc(dnnl_convolution_desc_t *c, const recipe *r, dnnl_alg_kind_t alg)
{
    return dnnl_dilated_convolution_forward_desc_init(c, dnnl_forward_training, alg, &r->x, &r->w,
                                                      r->has_bias ? &r->bias : NULL, &r->y, r->stride, r->dilation,
                                                      r->lo, r->hi);
}

static dnnl_status_t make_desc(dnnl_primitive_desc_t *out, dd_kind kind, const recipe *r, dnnl_alg_kind_t alg,
                               dnnl_engine_t e, const_dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t c;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t st = forward_desc(&c, r, alg);
    if (st != dnnl_success) return st;
    if (kind == DD_K_CONV) return dnnl_primitive_desc_create(out, &c, attr, e, NULL);
    st = dnnl_primitive_desc_create(&hint, &c, attr, e, NULL);
    if (st != dnnl_success) return st;
    if (kind == DD_K_CONV_DX)
        st = dnnl_dilated_convolution_backward_data_desc_init(&c, alg, &r->x, &r->w, &r->y, r->stride, r->dilation,
                                                              r->lo, r->hi);
    else
        st = dnnl_dilated_convolution_backward_weights_desc_init(&c, alg, &r->x, &r->w, NULL, &r->y, r->stride,
                                                                 r->dilation, r->lo, r->hi);
    if (st == dnnl_success) st = dnnl_primitive_desc_create(out, &c, attr, e, hint);
    dnnl_primitive_desc_destroy(hint);
    return st;
}

/* Memory descriptor of the logical tensor in a given layout. */
static dnnl_memory_desc_t desc_of(int n, const int64_t *dim, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t m;
    dnnl_dims_t d = {0};
    memcpy(d, dim, (size_t)n * sizeof *dim);
    if (dnnl_memory_desc_init_by_tag(&m, n, d, dnnl_f32, tag) != dnnl_success) memset(&m, 0, sizeof m);
    return m;
}

static int64_t trailing_pad(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad)
{
    const int64_t need = (out - 1) * stride + (kernel - 1) * dilation + 1 - in - pad;
    return need > 0 ? need : 0;
}

/* Fills the recipe and the plain descriptors of x, w, y, bias. z is the canvas's geometry if there is one. */
static recipe recipe_of(const dd_conv_geo *z, bool bias, dnnl_memory_desc_t plain[4])
{
    const int64_t x[4] = {z->n, z->c, z->h, z->w}, y[4] = {z->n, z->o, z->p, z->q};
    const int64_t w[5] = {z->g, z->og, z->cg, z->r, z->s};
    const int skip = z->g == 1;
    recipe r = {.has_bias = bias, .stride = {z->sh, z->sw}, .dilation = {z->dh - 1, z->dw - 1}, .lo = {z->ph, z->pw}};
    r.hi[0] = trailing_pad(z->h, z->p, z->r, z->sh, z->dh, z->ph);
    r.hi[1] = trailing_pad(z->w, z->q, z->s, z->sw, z->dw, z->pw);
    r.x = desc_of(4, x, dnnl_format_tag_any);
    r.y = desc_of(4, y, dnnl_format_tag_any);
    r.w = desc_of(5 - skip, w + skip, dnnl_format_tag_any);
    r.bias = desc_of(1, &z->o, dnnl_x);
    plain[0] = desc_of(4, x, dnnl_nchw);
    plain[1] = desc_of(5 - skip, w + skip, skip ? dnnl_oihw : dnnl_goihw);
    plain[2] = desc_of(4, y, dnnl_nchw);
    plain[3] = r.bias;
    return r;
}

static bool wants_winograd(const dd_conv_geo *z)
{
    return z->r == 3 && z->s == 3 && z->sh == 1 && z->sw == 1 && z->dh == 1 && z->dw == 1 && z->ph == 1 && z->pw == 1 &&
           z->g == 1 && z->c >= WINOGRAD_CHANNELS && z->o >= WINOGRAD_CHANNELS;
}

/* Turns padding beyond half the kernel into a canvas. Only for x as a source. */
static void use_canvas(plan *p, dd_conv_geo *z, dd_kind kind)
{
    const int64_t ph = (z->r - 1) / 2, pw = (z->s - 1) / 2;
    const bool plain = z->sh == 1 && z->sw == 1 && z->dh == 1 && z->dw == 1 && z->r % 2 == 1 && z->s % 2 == 1;
    if (kind == DD_K_CONV_DX || !plain || z->ph < ph || z->pw < pw || (z->ph == ph && z->pw == pw)) return;
    p->canvas = true;
    p->pt = z->ph - ph;
    p->pl = z->pw - pw;
    z->h += 2 * p->pt;
    z->w += 2 * p->pl;
    z->ph = ph;
    z->pw = pw;
}

static size_t reserve(size_t *total, size_t bytes)
{
    const size_t at = *total;
    *total += (bytes + 63) / 64 * 64;
    return at;
}

static dnnl_status_t open_port(port *t, const device *d, const_dnnl_primitive_desc_t pd, size_t *scratch)
{
    const dnnl_memory_desc_t *want = dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, t->arg);
    dnnl_primitive_desc_t rd = NULL;
    dnnl_status_t st = dnnl_memory_create(&t->user, &t->plain, d->engine, DNNL_MEMORY_NONE);
    if (st != dnnl_success || dnnl_memory_desc_equal(want, &t->plain)) return st;
    st = dnnl_memory_create(&t->own, want, d->engine, DNNL_MEMORY_NONE);
    if (st != dnnl_success) return st;
    t->offset = reserve(scratch, dnnl_memory_desc_get_size(want));
    const bool out = t->operand < 0;
    st = dnnl_reorder_primitive_desc_create(&rd, out ? want : &t->plain, d->engine, out ? &t->plain : want, d->engine,
                                            NULL);
    if (st == dnnl_success) st = dnnl_primitive_create(&t->reorder, rd);
    if (rd) dnnl_primitive_desc_destroy(rd);
    return st;
}

/* Which argument each operand of the instruction is. */
static void name_ports(plan *p, const dd_instr *in, const dnnl_memory_desc_t plain[4])
{
    static const port roles[3][PORTS] = {{{.arg = DNNL_ARG_SRC, .operand = 0},
                                          {.arg = DNNL_ARG_WEIGHTS, .operand = 1},
                                          {.arg = DNNL_ARG_DST, .operand = -1},
                                          {.arg = DNNL_ARG_BIAS, .operand = 2}},
                                         {{.arg = DNNL_ARG_DIFF_SRC, .operand = -1},
                                          {.arg = DNNL_ARG_WEIGHTS, .operand = 1},
                                          {.arg = DNNL_ARG_DIFF_DST, .operand = 0}},
                                         {{.arg = DNNL_ARG_SRC, .operand = 0},
                                          {.arg = DNNL_ARG_DIFF_WEIGHTS, .operand = -1},
                                          {.arg = DNNL_ARG_DIFF_DST, .operand = 1}}};
    p->nport = in->kind == DD_K_CONV && in->nsrc > 2 ? 4 : 3;
    for (int i = 0; i < p->nport; i++) {
        p->port[i] = roles[in->kind - DD_K_CONV][i];
        p->port[i].plain = plain[i];
    }
}

static dnnl_status_t make_plan(plan *p, const device *d, dd_instr *in)
{
    dd_conv_geo z = dd_conv_geo_of(in);
    dnnl_memory_desc_t plain[4];
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    use_canvas(p, &z, in->kind);
    const recipe r = recipe_of(&z, in->nsrc > 2, plain);
    dnnl_status_t st = dnnl_primitive_attr_create(&attr);
    if (st == dnnl_success) st = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (st == dnnl_success) {
        st = dnnl_unimplemented;
        if (wants_winograd(&z)) st = make_desc(&pd, in->kind, &r, dnnl_convolution_winograd, d->engine, attr);
        if (st != dnnl_success) st = make_desc(&pd, in->kind, &r, dnnl_convolution_direct, d->engine, attr);
    }
    if (st == dnnl_success) st = dnnl_primitive_create(&p->conv, pd);
    name_ports(p, in, plain);
    if (p->canvas) p->canvas_offset = reserve(&in->scratch, dnnl_memory_desc_get_size(&plain[0]));
    for (int i = 0; i < p->nport && st == dnnl_success; i++) st = open_port(&p->port[i], d, pd, &in->scratch);
    if (st == dnnl_success) {
        const dnnl_memory_desc_t *m = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        p->pad_offset = reserve(&in->scratch, dnnl_memory_desc_get_size(m));
        st = dnnl_memory_create(&p->pad, m, d->engine, DNNL_MEMORY_NONE);
    }
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return st;
}

dd_status dd_cpu_onednn_prepare(dd_backend *b, dd_instr *in)
{
    plan *p = dd_alloc(1, sizeof *p);
    if (!p) return dd_fail(DD_ENOMEM, "no memory for a convolution plan");
    p->base.release = plan_release;
    const dnnl_status_t st = make_plan(p, ((const dd_cpu *)b->self)->engine, in);
    if (st != dnnl_success) { /* the reference kernel stays */
        plan_release(&p->base);
        in->scratch = 0;
        return st == dnnl_out_of_memory ? dd_fail(DD_ENOMEM, "no memory for a convolution of oneDNN") : DD_OK;
    }
    in->state = p;
    in->launch = launch;
    return DD_OK;
}

void dd_cpu_onednn_version(char *out, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}
