/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens kernels by specification and turns them into graphs. Knows graph, base and the rows of kernels.def. */
#include "nn/kernel_internal.h"

#include "base/spec.h"
#include "nn/kernel_blocks.h"

#include <inttypes.h>
#include <string.h>

#define DD_KERNEL(id) extern const dd_kernel_kind dd_kernel_##id;
#include "nn/kernels.def"
#undef DD_KERNEL

static const dd_kernel_kind *const kinds[] = {
#define DD_KERNEL(id) &dd_kernel_##id,
#include "nn/kernels.def"
#undef DD_KERNEL
};

/* Names the field's papers use. */
static const dd_spec_alias aliases[] = {
    {"FC-1", "fc", "depth=1"},
    {"FC-2", "fc", "depth=2"},
    {"FC-3", "fc", "depth=3"},
    {"ConvNet3", "conv", "depth=3"},
    {"ConvNet", "conv", "depth=3,extra=1"},
    {"Myrtle-5", "myrtle", "depth=5"},
    {"Myrtle-7", "myrtle", "depth=7"},
    {"Myrtle-10", "myrtle", "depth=10"},
    {NULL, NULL, NULL},
};

struct dd_kernel {
    const dd_kernel_kind *kind;
    void *opts;
    dd_kernel_common common;
    char *spec;
    dd_image image;
};

static const dd_option common_options[] = {
    {"kind", DD_OPT_CHOICE, offsetof(dd_kernel_common, kind), "ntk", 0, 0, "ntk|nngp",
     "ntk: all layers are trained; nngp: only the last."},
    {"w_std", DD_OPT_REAL, offsetof(dd_kernel_common, w_std), "1.4142135623730951", 1e-6, 1e6, NULL,
     "Scale of the weights."},
    {"b_std", DD_OPT_REAL, offsetof(dd_kernel_common, b_std), "0.1", 0, 1e6, NULL, "Scale of the biases."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

const dd_option *dd_kernel_common_options(void)
{
    return common_options;
}

int dd_kernel_kind_count(void)
{
    return (int)DD_LEN(kinds);
}

static const dd_kernel_kind *kind_at(int i)
{
    return i >= 0 && i < dd_kernel_kind_count() ? kinds[i] : NULL;
}

const char *dd_kernel_kind_name(int i)
{
    return kind_at(i) ? kind_at(i)->name : NULL;
}

const char *dd_kernel_kind_title(int i)
{
    return kind_at(i) ? kind_at(i)->title : NULL;
}

const dd_option *dd_kernel_kind_options(int i)
{
    return kind_at(i) ? kind_at(i)->options : NULL;
}

/* --- specification --- */

static dd_status parse(dd_kernel *k, const char *spec)
{
    const char *names[DD_LEN(kinds) + 1] = {NULL}, *given = strchr(spec, ':'), *preset;
    int row;
    for (size_t i = 0; i < DD_LEN(kinds); i++) names[i] = kinds[i]->name;
    DD_TRY(dd_spec_find(&row, &preset, spec, "kernel", names, aliases));
    k->kind = kinds[row];
    k->opts = dd_alloc(1, k->kind->opts_size);
    if (!k->opts) return dd_fail(DD_ENOMEM, "out of memory while opening kernel %s", k->kind->name);
    const dd_spec_part part[] = {{k->kind->options, k->opts, false}, {common_options, &k->common, false}};
    DD_TRY(dd_options_defaults(k->kind->options, k->opts));
    DD_TRY(dd_options_defaults(common_options, &k->common));
    DD_TRY(dd_spec_set(part, DD_LEN(part), "kernel", k->kind->name, preset));
    if (given) DD_TRY(dd_spec_set(part, DD_LEN(part), "kernel", k->kind->name, given + 1));
    DD_TRY(dd_spec_canonical(&k->spec, part, DD_LEN(part), k->kind->name));
    return k->kind->check ? k->kind->check(k->opts, k->image) : DD_OK;
}

dd_status dd_kernel_open(dd_kernel **out, const char *spec, dd_image image)
{
    *out = NULL;
    DD_TRY(dd_shape_check(DD_SHAPE(1, image.c, image.h, image.w)));
    dd_kernel *k = dd_alloc(1, sizeof *k);
    if (!k) return dd_fail(DD_ENOMEM, "out of memory while opening kernel %s", spec);
    k->image = image;
    const dd_status s = parse(k, spec);
    if (s == DD_OK)
        *out = k;
    else
        dd_kernel_close(k);
    return s;
}

void dd_kernel_close(dd_kernel *k)
{
    if (!k) return;
    dd_free(k->opts);
    dd_free(k->spec);
    dd_free(k);
}

const char *dd_kernel_spec(const dd_kernel *k)
{
    return k->spec;
}

dd_image dd_kernel_image(const dd_kernel *k)
{
    return k->image;
}

static dd_kernel_entry entry_of(const dd_kernel *k)
{
    return k->kind->entry ? k->kind->entry(k->opts) : (dd_kernel_entry){1, 0};
}

/* The side of an image in the first layer. */
static int64_t entered(const dd_kernel_entry *e, int64_t side)
{
    return side / e->shrink + 2 * e->frame;
}

int64_t dd_kernel_cells(const dd_kernel *k)
{
    const dd_kernel_entry e = entry_of(k);
    const int64_t pixels = entered(&e, k->image.h) * entered(&e, k->image.w);
    if (k->kind->flat) return 1;
    return k->kind->pools && k->kind->pools(k->opts) ? pixels * pixels : pixels;
}

/* --- the graph --- */

/* Covariances of the pixels of all pairs, over the channels. */
static void begin_everywhere(dd_covariances *s, dd_val x, dd_val y, int64_t c)
{
    static const int last[] = {0, 2, 3, 1};
    dd_graph *g = s->g;
    const int64_t p = s->h * s->w;
    const double scale = 1 / (double)c;
    const dd_val u = dd_permute(g, x, last), v = s->same ? u : dd_permute(g, y, last);
    const dd_val k =
        dd_matmul(g, dd_reshape(g, u, DD_SHAPE(s->n * p, c)), dd_reshape(g, v, DD_SHAPE(s->m * p, c)), false, true);
    const dd_val ui = dd_reshape(g, u, DD_SHAPE(s->n, p, c)), vi = dd_reshape(g, v, DD_SHAPE(s->m, p, c));
    const dd_val a = dd_matmul(g, ui, ui, false, true), b = dd_matmul(g, vi, vi, false, true);
    s->k = dd_reshape(g, dd_scale(g, k, scale), DD_SHAPE(s->n, s->h, s->w, s->m, s->h, s->w));
    s->a = dd_reshape(g, dd_scale(g, a, scale), DD_SHAPE(s->n, s->h, s->w, s->h, s->w));
    s->b = dd_reshape(g, dd_scale(g, b, scale), DD_SHAPE(s->m, s->h, s->w, s->h, s->w));
}

/* The same where only equal places matter. */
static void begin_in_place(dd_covariances *s, dd_val x, dd_val y, int64_t c)
{
    static const int first[] = {2, 3, 0, 1};
    dd_graph *g = s->g;
    const int64_t p = s->h * s->w;
    const double scale = 1 / (double)c;
    const dd_val u = dd_reshape(g, dd_permute(g, x, first), DD_SHAPE(p, s->n, c));
    const dd_val v = s->same ? u : dd_reshape(g, dd_permute(g, y, first), DD_SHAPE(p, s->m, c));
    const dd_val a = dd_sum(g, dd_square(g, u), 4u), b = dd_sum(g, dd_square(g, v), 4u);
    s->k = dd_reshape(g, dd_scale(g, dd_matmul(g, u, v, false, true), scale), DD_SHAPE(s->h, s->w, s->n, s->m));
    s->a = dd_reshape(g, dd_scale(g, a, scale), DD_SHAPE(s->h, s->w, s->n, 1));
    s->b = s->same ? s->a : dd_reshape(g, dd_scale(g, b, scale), DD_SHAPE(s->h, s->w, 1, s->m));
}

/* x [n,C,H,W] as it comes to the first layer. */
static dd_val enter(dd_graph *g, dd_val x, const dd_kernel_entry *e)
{
    const int64_t around[] = {0, 0, e->frame, e->frame}, none[] = {0, 0, 0, 0};
    const dd_pool_attr shrink = {{e->shrink, e->shrink}, {e->shrink, e->shrink}, {0, 0}};
    if (e->shrink > 1) x = dd_avgpool(g, x, shrink);
    return e->frame ? dd_pad(g, x, around, around, none) : x;
}

dd_val dd_kernel_apply(dd_graph *g, const dd_kernel *k, dd_val x, dd_val y)
{
    const dd_image im = k->image;
    const int64_t size = im.c * im.h * im.w, n = dd_shape_of(g, x).dim[0], m = dd_shape_of(g, y).dim[0];
    const bool flat = k->kind->flat;
    const dd_kernel_entry e = entry_of(k);
    dd_covariances s = {.g = g,
                        .dtype = dd_dtype_of(g, x),
                        .w2 = k->common.w_std * k->common.w_std,
                        .b2 = k->common.b_std * k->common.b_std,
                        .n = n,
                        .m = m,
                        .h = flat ? 1 : entered(&e, im.h),
                        .w = flat ? 1 : entered(&e, im.w),
                        .full = k->kind->pools && k->kind->pools(k->opts),
                        .same = x.id == y.id};
    const int64_t c = flat ? size : im.c;
    x = dd_reshape(g, enter(g, x, &e), DD_SHAPE(n, c, s.h, s.w));
    y = s.same ? x : dd_reshape(g, enter(g, y, &e), DD_SHAPE(m, c, s.h, s.w));
    (s.full ? begin_everywhere : begin_in_place)(&s, x, y, c);
    k->kind->build(&s, k->opts);
    dd_cov_dense(&s);
    return dd_reshape(g, strcmp(k->common.kind, "ntk") == 0 ? s.q : s.k, DD_SHAPE(n, m));
}
