/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses on batches and their gradients by the network. Knows graph, exec, nn, data. */
#include "method/lossgrad.h"

#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

static void build(dd_graph *g, const dd_run *r, const dd_lossgrad *w, bool aug)
{
    const dd_val theta = dd_input(g, "theta", r->dtype, DD_SHAPE(dd_net_size(r->net)));
    dd_fed in = {0};
    if (aug) {
        in = dd_feed_inputs(g, r, w->in.n, true);
    } else {
        in.seen = dd_input(g, "x", r->dtype, w->in.x.shape);
        in.y = dd_input(g, "y", r->dtype, w->in.y.shape);
    }
    const dd_val loss = dd_xent(g, dd_net_apply(g, r->net, theta, in.seen, (dd_val){0}).logits, in.y);
    dd_val grad;
    dd_grad(g, loss, 1, &theta, &grad);
    dd_output(g, "loss", loss);
    dd_output(g, "out", grad);
}

dd_status dd_lossgrad_init(dd_lossgrad *w, const dd_run *r, int64_t n, bool aug, const dd_tensor *theta)
{
    DD_TRY(dd_feed_init(&w->in, r, n, true));
    DD_TRY(dd_tensor_init(&w->loss, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&w->out, r->dtype, DD_SHAPE(dd_net_size(r->net))));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    build(g, r, w, aug && r->aug.list);
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    DD_TRY(dd_bind(w->p, "x", &w->in.x));
    DD_TRY(dd_bind(w->p, "y", &w->in.y));
    if (aug && r->aug.list) DD_TRY(dd_bind(w->p, "aug", &w->in.aug));
    DD_TRY(dd_bind(w->p, "theta", theta));
    DD_TRY(dd_bind(w->p, "loss", &w->loss));
    return dd_bind(w->p, "out", &w->out);
}

void dd_lossgrad_fini(dd_lossgrad *w)
{
    dd_program_free(w->p);
    dd_feed_fini(&w->in);
    dd_tensor_fini(&w->loss);
    dd_tensor_fini(&w->out);
    w->p = NULL;
}

dd_status dd_judge_init(dd_judge *j, const dd_run *r, int64_t n, int64_t chunk, const dd_tensor *theta)
{
    const int64_t part = chunk < n ? chunk : n;
    j->n = n;
    DD_TRY(dd_lossgrad_init(&j->part, r, part, false, theta));
    return n % part ? dd_lossgrad_init(&j->tail, r, n % part, false, theta) : DD_OK;
}

void dd_judge_fini(dd_judge *j)
{
    dd_lossgrad_fini(&j->part);
    dd_lossgrad_fini(&j->tail);
}

dd_status dd_judge_run(dd_judge *j, const dd_run *r, const int32_t *items, double *loss, dd_tensor *end)
{
    *loss = 0;
    dd_set_zero(end);
    for (int64_t at = 0; at < j->n;) {
        dd_lossgrad *w = j->n - at < j->part.in.n ? &j->tail : &j->part;
        const double share = (double)w->in.n / (double)j->n;
        dd_feed_real(&w->in, r, items + at);
        DD_TRY(dd_exec(w->p));
        *loss += share * dd_scalar(&w->loss);
        dd_add_scaled(end, share, &w->out);
        at += w->in.n;
    }
    return DD_OK;
}

dd_status dd_stream_init(dd_stream *s, const dd_run *r, int64_t batch)
{
    s->batch = batch;
    s->epoch = -1;
    s->permutation = dd_alloc((size_t)r->nitems, sizeof *s->permutation);
    s->items = dd_alloc((size_t)(batch > r->nitems ? batch : r->nitems), sizeof *s->items);
    return s->permutation && s->items ? DD_OK
                                      : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", r->nitems);
}

void dd_stream_fini(dd_stream *s)
{
    dd_free(s->permutation);
    dd_free(s->items);
}

void dd_stream_take(dd_stream *s, const dd_run *r, int64_t it)
{
    const int64_t batches = r->nitems / s->batch, epoch = it / batches, at = it % batches;
    if (epoch != s->epoch)
        dd_key_permutation(dd_key_at(r->key, "real epoch", (uint64_t)epoch), r->nitems, s->permutation);
    s->epoch = epoch;
    for (int64_t i = 0; i < s->batch; i++) s->items[i] = r->items[s->permutation[at * s->batch + i]];
}
