/* SPDX-License-Identifier: Apache-2.0
 *
 * Features in parts. What the last part has too much is computed from what was there before and not looked at. Knows
 * graph, exec, nn, data. */
#include "method/features.h"

#include <string.h>

dd_val dd_features_of(dd_graph *g, const dd_run *r, dd_val theta, dd_val stats, dd_val x, bool mirrored)
{
    const dd_val both[] = {x, dd_flip(g, x, 8u)};
    return dd_net_apply(g, r->net, theta, mirrored ? dd_concat(g, 2, both, 0) : x, stats).features;
}

static dd_status compile(dd_features *e, dd_program **out, const dd_run *r, const dd_tensor *theta,
                         const dd_tensor *stats, bool slope)
{
    dd_graph *g;
    dd_val dx;
    DD_TRY(dd_draft(&g));
    const dd_val net = dd_input(g, "theta", r->dtype, theta->shape), x = dd_input(g, "x", r->dtype, e->x.shape);
    const dd_val run = stats->data ? dd_input(g, "stats", r->dtype, stats->shape) : (dd_val){0};
    const dd_val f = dd_features_of(g, r, net, run, x, e->mirrored);
    if (slope) {
        dd_grad(g, dd_dot(g, dd_input(g, "d", r->dtype, e->d.shape), f), 1, &x, &dx);
        dd_output(g, "dx", dx);
    } else {
        dd_output(g, "f", f);
    }
    DD_TRY(dd_compile_draft(out, g, r->backend));
    DD_TRY(dd_bind(*out, "theta", theta));
    if (stats->data) DD_TRY(dd_bind(*out, "stats", stats));
    DD_TRY(dd_bind(*out, "x", &e->x));
    if (!slope) return dd_bind(*out, "f", &e->f);
    DD_TRY(dd_bind(*out, "d", &e->d));
    return dd_bind(*out, "dx", &e->dx);
}

dd_status dd_features_init(dd_features *e, const dd_run *r, int64_t part, bool mirrored, const dd_tensor *theta,
                           const dd_tensor *stats)
{
    const dd_shape im = r->syn->images.shape, x = DD_SHAPE(part, im.dim[1], im.dim[2], im.dim[3]);
    const dd_shape f = DD_SHAPE(mirrored ? 2 * part : part, dd_net_features(r->net));
    e->part = part;
    e->mirrored = mirrored;
    DD_TRY(dd_tensor_init(&e->x, r->dtype, x));
    DD_TRY(dd_tensor_init(&e->f, r->dtype, f));
    DD_TRY(dd_tensor_init(&e->d, r->dtype, f));
    DD_TRY(dd_tensor_init(&e->dx, r->dtype, x));
    DD_TRY(compile(e, &e->run, r, theta, stats, false));
    return compile(e, &e->slope, r, theta, stats, true);
}

void dd_features_fini(dd_features *e)
{
    dd_tensor *const all[] = {&e->x, &e->f, &e->d, &e->dx};
    dd_program_free(e->run);
    dd_program_free(e->slope);
    e->run = e->slope = NULL;
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

static void copy_rows(dd_tensor *to, int64_t to_row, const dd_tensor *from, int64_t from_row, int64_t n)
{
    dd_tensor a = dd_tensor_rows(to, to_row, n);
    const dd_tensor b = dd_tensor_rows(from, from_row, n);
    memcpy(a.data, b.data, dd_tensor_bytes(&a));
}

dd_status dd_features_run(dd_features *e, const dd_run *r, const dd_tensor *x, dd_tensor *f)
{
    const int64_t all = x->shape.dim[0];
    for (int64_t at = 0; at < all; at += e->part) {
        const int64_t n = all - at < e->part ? all - at : e->part;
        DD_TRY(dd_run_asked(r));
        copy_rows(&e->x, 0, x, at, n);
        DD_TRY(dd_exec(e->run));
        copy_rows(f, at, &e->f, 0, n);
        if (e->mirrored) copy_rows(f, all + at, &e->f, e->part, n);
    }
    return DD_OK;
}

dd_status dd_features_slope(dd_features *e, const dd_run *r, const dd_tensor *x, const dd_tensor *d, dd_tensor *dx)
{
    const int64_t all = x->shape.dim[0];
    for (int64_t at = 0; at < all; at += e->part) {
        const int64_t n = all - at < e->part ? all - at : e->part;
        DD_TRY(dd_run_asked(r));
        copy_rows(&e->x, 0, x, at, n);
        copy_rows(&e->d, 0, d, at, n);
        if (e->mirrored) copy_rows(&e->d, e->part, d, all + at, n);
        DD_TRY(dd_exec(e->slope));
        copy_rows(dx, at, &e->dx, 0, n);
    }
    return DD_OK;
}
