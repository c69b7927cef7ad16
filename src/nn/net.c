/* SPDX-License-Identifier: Apache-2.0
 *
 * Opens networks by specification and turns them into graphs. A network's function runs twice: on a scratch graph,
 * where every parameter is a leaf and only shapes matter, and on the caller's graph, where parameters are views
 * of one flat vector theta. Knows graph, tensor, base and the rows of nets.def. */
#include "nn/net_internal.h"
#include "nn/train_step.h"

#include "base/spec.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DD_NET(id) extern const dd_net_kind dd_net_##id;
#include "nn/nets.def"
#undef DD_NET

static const dd_net_kind *const kinds[] = {
#define DD_NET(id) &dd_net_##id,
#include "nn/nets.def"
#undef DD_NET
};

/* Names the field's papers and tables use. */
static const dd_spec_alias aliases[] = {
    {"ConvNet", "convnet", ""},
    {"MLP", "mlp", ""},
    {"LeNet", "lenet", ""},
    {"ConvNetD1", "convnet", "depth=1"},
    {"ConvNetD2", "convnet", "depth=2"},
    {"ConvNetD3", "convnet", "depth=3"},
    {"ConvNetD4", "convnet", "depth=4"},
    {"ConvNetD5", "convnet", "depth=5"},
    {"ConvNetW32", "convnet", "width=32"},
    {"ConvNetW64", "convnet", "width=64"},
    {"ConvNetW128", "convnet", "width=128"},
    {"ConvNetW256", "convnet", "width=256"},
    {"ConvNetBN", "convnet", "norm=batch"},
    {"ConvNetIN", "convnet", "norm=instance"},
    {"ConvNetLN", "convnet", "norm=layer"},
    {"ConvNetGN", "convnet", "norm=group"},
    {"ConvNetNN", "convnet", "norm=none"},
    {NULL, NULL, NULL},
};

int dd_net_kind_count(void)
{
    return (int)DD_LEN(kinds);
}

static const dd_option common_options[] = {{"init", DD_OPT_CHOICE, offsetof(dd_net_common, init), "uniform", 0, 0,
                                            "uniform|xavier|lecun|nngp", "Distribution of weights."},
                                           {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

const dd_option *dd_net_common_options(void)
{
    return common_options;
}

static const dd_net_kind *kind_at(int i)
{
    return i >= 0 && i < dd_net_kind_count() ? kinds[i] : NULL;
}

const char *dd_net_kind_name(int i)
{
    return kind_at(i) ? kind_at(i)->name : NULL;
}

const char *dd_net_kind_title(int i)
{
    return kind_at(i) ? kind_at(i)->title : NULL;
}

const dd_option *dd_net_kind_options(int i)
{
    return kind_at(i) ? kind_at(i)->options : NULL;
}

/* --- specification --- */

static dd_status parse(dd_net *n, const char *spec)
{
    const char *names[DD_LEN(kinds) + 1] = {NULL}, *given = strchr(spec, ':'), *preset;
    int row;
    for (size_t i = 0; i < DD_LEN(kinds); i++) names[i] = kinds[i]->name;
    DD_TRY(dd_spec_find(&row, &preset, spec, "network", names, aliases));
    n->kind = kinds[row];
    n->opts = dd_alloc(1, n->kind->opts_size);
    if (!n->opts) return dd_fail(DD_ENOMEM, "out of memory while opening network %s", n->kind->name);
    /* init only where it is not the default, so that what was recorded before it came stays the same network */
    const dd_spec_part part[] = {{n->kind->options, n->opts, false}, {common_options, &n->common, true}};
    DD_TRY(dd_options_defaults(n->kind->options, n->opts));
    DD_TRY(dd_options_defaults(common_options, &n->common));
    DD_TRY(dd_spec_set(part, DD_LEN(part), "network", n->kind->name, preset));
    if (given) DD_TRY(dd_spec_set(part, DD_LEN(part), "network", n->kind->name, given + 1));
    return dd_spec_canonical(&n->spec, part, DD_LEN(part), n->kind->name);
}

/* --- the builder --- */

static dd_val leaf(dd_builder *b, const char *name, dd_shape shape, dd_init init, int64_t fan_in)
{
    dd_net *n = b->sizing;
    if (n->nparams == DD_NET_MAX_PARAMS) {
        b->overflow = true;
        return (dd_val){0};
    }
    dd_net_slot *s = &n->slot[n->nparams++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->info = (dd_param_info){s->name, n->size, shape};
    s->init = init;
    s->bound = fan_in > 0 ? 1.0 / sqrt((double)fan_in) : 0;
    n->size += dd_shape_count(shape);
    return dd_input(b->g, name, DD_F32, shape);
}

dd_val dd_param(dd_builder *b, const char *name, dd_shape shape, dd_init init, int64_t fan_in)
{
    if (b->sizing) return leaf(b, name, shape, init, fan_in);
    const dd_param_info *p = &b->net->slot[b->next++].info;
    const int64_t count = dd_shape_count(p->shape), one = 1;
    return dd_reshape(b->g, dd_slice(b->g, b->theta, &p->offset, &count, &one), p->shape);
}

static dd_status measure_on(dd_net *n, dd_graph *g)
{
    dd_builder b = {.g = g, .net = n, .sizing = n};
    const dd_image im = n->image;
    const dd_val x = dd_input(g, "x", DD_F32, DD_SHAPE(1, im.c, im.h, im.w));
    n->kind->build(&b, n->opts, x);
    if (b.overflow)
        return dd_fail(DD_EUNSUPPORTED,
                       "network %s has more than %d parameter tensors, %d batch norms or %d hidden layers", n->spec,
                       DD_NET_MAX_PARAMS, DD_NET_MAX_NORMS, DD_NET_MAPS);
    DD_TRY(dd_graph_status(g));
    n->features = dd_shape_of(g, b.features).dim[1];
    n->nstats = b.stat_offset;
    n->nnorms = b.norms;
    n->nmaps = b.nmaps;
    for (int i = 0; i < b.nmaps; i++) n->map_size[i] = dd_shape_count(dd_shape_of(g, b.maps[i])); /* of one image */
    return DD_OK;
}

static dd_status measure(dd_net *n)
{
    dd_graph *g = dd_graph_new();
    if (!g) return dd_fail(DD_ENOMEM, "out of memory while measuring network %s", n->spec);
    const dd_status st = measure_on(n, g);
    dd_graph_free(g);
    return st;
}

static dd_status open_in(dd_net *n, const char *spec)
{
    const dd_image im = n->image;
    if (n->classes < 1) return dd_fail(DD_EINVAL, "a network needs at least one class, not %" PRId64, n->classes);
    DD_TRY(dd_shape_check(DD_SHAPE(1, im.c, im.h, im.w)));
    DD_TRY(parse(n, spec));
    if (n->kind->check) DD_TRY(n->kind->check(n->opts, im));
    return measure(n);
}

dd_status dd_net_open(dd_net **out, const char *spec, dd_image image, int64_t classes)
{
    *out = NULL;
    dd_net *n = dd_alloc(1, sizeof *n);
    if (!n) return dd_fail(DD_ENOMEM, "out of memory while opening network %s", spec);
    n->image = image;
    n->classes = classes;
    const dd_status st = open_in(n, spec);
    if (st == DD_OK)
        *out = n;
    else
        dd_net_close(n);
    return st;
}

void dd_net_close(dd_net *n)
{
    if (!n) return;
    dd_free(n->opts);
    dd_free(n->spec);
    dd_free(n);
}

/* --- facts --- */

const char *dd_net_spec(const dd_net *n)
{
    return n->spec;
}

int64_t dd_net_size(const dd_net *n)
{
    return n->size;
}

int64_t dd_net_features(const dd_net *n)
{
    return n->features;
}

int dd_net_maps(const dd_net *n)
{
    return n->nmaps;
}

int64_t dd_net_map_size(const dd_net *n, int i)
{
    return i >= 0 && i < n->nmaps ? n->map_size[i] : 0;
}

int64_t dd_net_stats(const dd_net *n)
{
    return n->nstats;
}

int dd_net_params(const dd_net *n)
{
    return n->nparams;
}

const dd_param_info *dd_net_param(const dd_net *n, int i)
{
    return i >= 0 && i < n->nparams ? &n->slot[i].info : NULL;
}

dd_image dd_net_image(const dd_net *n)
{
    return n->image;
}

int64_t dd_net_classes(const dd_net *n)
{
    return n->classes;
}

bool dd_net_kernel(const dd_net *n, char *spec, size_t size)
{
    return n->kind->kernel && n->kind->kernel(n->opts, n->image, spec, size);
}

/* --- initial values --- */

static void fill_xavier(const dd_net_slot *s, float *x, int64_t count, dd_key key)
{
    const dd_shape w = s->info.shape;
    const int64_t area = w.rank > 1 ? count / (w.dim[0] * w.dim[1]) : 0;
    if (w.rank > 1)
        dd_key_fill_normal(dd_key_at(key, s->name, 0), x, count, 0, sqrt(2.0 / (double)((w.dim[0] + w.dim[1]) * area)));
    else
        memset(x, 0, (size_t)count * sizeof *x);
}

/* Variance 1/fan_in, no weight beyond two of the standard deviations that the normal has before the cut (LeCun et al.
 * 1998, as JAX's lecun_normal cuts it); biases 0. */
static void fill_lecun(const dd_net_slot *s, float *x, int64_t count, dd_key key)
{
    const double kept = 0.87962566103423978; /* standard deviation of a normal cut at 2 */
    const dd_key at = dd_key_at(key, s->name, 0);
    const double sd = s->bound / kept;
    uint64_t next = (uint64_t)count;
    for (int64_t i = 0; i < count; i++) {
        double v = s->info.shape.rank > 1 ? dd_key_normal(at, (uint64_t)i) : 0;
        while (fabs(v) > 2) v = dd_key_normal(at, next++);
        x[i] = (float)(sd * v);
    }
}

/* Weights of variance 2/fan_in and biases of variance 0.01: what kernels of infinitely wide networks take. */
static void fill_nngp(const dd_net_slot *s, float *x, int64_t count, dd_key key)
{
    const double sd = s->info.shape.rank > 1 ? sqrt(2) * s->bound : 0.1;
    dd_key_fill_normal(dd_key_at(key, s->name, 0), x, count, 0, sd);
}

/* Every tensor has a key of its own, so adding a layer leaves the others' draws alone. */
static void fill(const dd_net_slot *s, float *x, int64_t count, dd_key key)
{
    if (s->init == DD_INIT_UNIFORM) {
        dd_key_fill_uniform(dd_key_at(key, s->name, 0), x, count, -s->bound, s->bound);
        return;
    }
    for (int64_t i = 0; i < count; i++) x[i] = s->init == DD_INIT_ONE ? 1.0f : 0.0f;
}

static void fill_all(const dd_net *n, float *theta, dd_key key)
{
    const char *how = n->common.init;
    const bool xavier = !strcmp(how, "xavier"), lecun = !strcmp(how, "lecun"), nngp = !strcmp(how, "nngp");
    for (int i = 0; i < n->nparams; i++) {
        const dd_net_slot *s = &n->slot[i];
        const bool weights = s->init == DD_INIT_UNIFORM;
        (weights && xavier  ? fill_xavier
         : weights && lecun ? fill_lecun
         : weights && nngp  ? fill_nngp
                            : fill)(s, theta + s->info.offset, dd_shape_count(s->info.shape), key);
    }
}

dd_status dd_net_init(const dd_net *n, dd_tensor *theta, dd_key key)
{
    const int64_t have = dd_shape_count(theta->shape);
    if ((theta->dtype != DD_F32 && theta->dtype != DD_F64) || have != n->size || !theta->data)
        return dd_fail(DD_EINVAL, "theta of %s needs %" PRId64 " floating elements, the given tensor has %" PRId64,
                       n->spec, n->size, have);
    if (theta->dtype == DD_F32) {
        fill_all(n, dd_f32(theta), key);
        return DD_OK;
    }
    /* the same numbers in both precisions */
    float *single = dd_alloc((size_t)n->size, sizeof *single);
    if (!single) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " parameters", n->size);
    fill_all(n, single, key);
    for (int64_t i = 0; i < n->size; i++) dd_f64(theta)[i] = (double)single[i];
    dd_free(single);
    return DD_OK;
}

void dd_net_stats_init(const dd_net *n, float *out)
{
    for (int k = 0; k < n->nnorms; k++) {
        const int64_t c = n->norm_channels[k];
        for (int64_t i = 0; i < 2 * c; i++) *out++ = i < c ? 0.0f : 1.0f;
    }
}

dd_net_out dd_net_apply(dd_graph *g, const dd_net *n, dd_val theta, dd_val x, dd_val stats)
{
    dd_net_out out = {.nmaps = n->nmaps};
    dd_builder b = {.g = g, .net = n};
    /* a vector or image of the wrong size is refused here, by name of the op that could not take it */
    const dd_shape s = dd_shape_of(g, x);
    b.theta = dd_reshape(g, theta, DD_SHAPE(n->size));
    b.stats = stats.id && n->nstats ? dd_reshape(g, stats, DD_SHAPE(n->nstats)) : (dd_val){0};
    x = dd_reshape(g, x, DD_SHAPE(s.rank ? s.dim[0] : 0, n->image.c, n->image.h, n->image.w));
    out.logits = n->kind->build(&b, n->opts, x);
    out.features = b.features;
    memcpy(out.maps, b.maps, sizeof out.maps);
    if (b.norms && !b.stats.id) out.stats = dd_concat(g, 2 * b.norms, b.stat_out, 0);
    return out;
}
