/* SPDX-License-Identifier: Apache-2.0
 *
 * Embeddings of real images in parts. Knows graph, exec, nn, data. */
#include "method/embed.h"

#include <string.h>

enum { PART = 64 };

static dd_status build(dd_embed_part *w, const dd_run *r, int64_t n, const dd_tensor *theta, const dd_tensor *stats)
{
    if (n == 0) return DD_OK;
    DD_TRY(dd_feed_init(&w->in, r, n, true));
    DD_TRY(dd_tensor_init(&w->out, r->dtype, DD_SHAPE(n, dd_net_features(r->net))));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val net = dd_input(g, "theta", r->dtype, theta->shape), x = dd_input(g, "x", r->dtype, w->in.x.shape);
    const dd_val run = stats->data ? dd_input(g, "stats", r->dtype, stats->shape) : (dd_val){0};
    dd_output(g, "features", dd_net_apply(g, r->net, net, x, run).features);
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    DD_TRY(dd_bind(w->p, "theta", theta));
    if (stats->data) DD_TRY(dd_bind(w->p, "stats", stats));
    DD_TRY(dd_bind(w->p, "x", &w->in.x));
    return dd_bind(w->p, "features", &w->out);
}

dd_status dd_embed_init(dd_embed *e, const dd_run *r, int64_t n, const dd_tensor *theta, const dd_tensor *stats)
{
    e->n = n;
    DD_TRY(build(&e->part[0], r, n < PART ? 0 : PART, theta, stats));
    return build(&e->part[1], r, n % PART, theta, stats);
}

void dd_embed_fini(dd_embed *e)
{
    for (size_t i = 0; i < DD_LEN(e->part); i++) {
        dd_program_free(e->part[i].p);
        dd_feed_fini(&e->part[i].in);
        dd_tensor_fini(&e->part[i].out);
    }
}

static void put(const dd_tensor *to, int64_t at, const dd_tensor *from)
{
    const dd_tensor rows = dd_tensor_rows(to, at, from->shape.dim[0]);
    memcpy(rows.data, from->data, dd_tensor_bytes(from));
}

dd_status dd_embed_run(dd_embed *e, const dd_run *r, const int32_t *items, dd_tensor *features, dd_tensor *y)
{
    for (int64_t at = 0; at < e->n;) {
        dd_embed_part *w = &e->part[e->n - at < PART];
        dd_feed_real(&w->in, r, items + at);
        DD_TRY(dd_exec(w->p));
        put(features, at, &w->out);
        if (y) put(y, at, &w->in.y);
        at += w->in.n;
    }
    return DD_OK;
}
