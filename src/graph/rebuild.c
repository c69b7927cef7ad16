/* SPDX-License-Identifier: Apache-2.0
 *
 * Which nodes the outputs need, and the rebuilding of just those into a new graph, which every graph-to-graph pass is
 * made of. Knows base and tensor. */
#include "graph/rebuild.h"

int64_t dd_mark_live(const dd_graph *g, bool *live, uint32_t *readers)
{
    int64_t count = 0;
    for (int i = 0; i < dd_graph_outputs(g); i++) {
        const uint32_t id = dd_graph_output(g, i)->id;
        live[id] = true;
        if (readers) readers[id]++;
    }
    for (uint32_t id = dd_graph_size(g) - 1; id > 0; id--) {
        if (!live[id]) continue;
        const dd_node *n = dd_graph_node(g, id);
        count++;
        for (int j = 0; j < n->nsrc; j++) {
            live[n->src[j]] = true;
            if (readers) readers[n->src[j]]++;
        }
    }
    return count;
}

dd_val dd_rewrite_none(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx)
{
    (void)ctx;
    return dd_node_make(to, n->op, n->dtype, n->shape, n->nsrc, src, n->nattr, n->attr, n->c, n->name);
}

static int widest(const dd_graph *g)
{
    int most = 1;
    for (uint32_t id = 1; id < dd_graph_size(g); id++)
        if (dd_graph_node(g, id)->nsrc > most) most = dd_graph_node(g, id)->nsrc;
    return most;
}

dd_status dd_rebuild(const dd_graph *g, dd_graph **out, dd_rewrite make, void *ctx)
{
    const uint32_t size = dd_graph_size(g);
    bool *live = dd_alloc(size, sizeof *live);
    uint32_t *map = dd_alloc(size, sizeof *map), *src = dd_alloc((size_t)widest(g), sizeof *src);
    dd_graph *to = dd_graph_new();
    dd_status status = DD_ENOMEM;
    if (!live || !map || !src || !to) {
        dd_fail(DD_ENOMEM, "out of memory while rebuilding %u graph nodes", size);
        goto done;
    }
    dd_mark_live(g, live, NULL);
    for (uint32_t id = 1; id < size; id++) {
        if (!live[id]) continue;
        const dd_node *n = dd_graph_node(g, id);
        for (int j = 0; j < n->nsrc; j++) src[j] = map[n->src[j]];
        map[id] = make(to, n, src, ctx).id;
    }
    for (int i = 0; i < dd_graph_outputs(g); i++)
        dd_output_as(to, dd_graph_output(g, i)->name, (dd_val){map[dd_graph_output(g, i)->id]},
                     dd_graph_output(g, i)->carried);
    status = dd_graph_status(to);
#ifndef NDEBUG
    if (status == DD_OK) status = dd_graph_verify(to);
#endif
done:
    dd_free(live);
    dd_free(map);
    dd_free(src);
    if (status != DD_OK) {
        dd_graph_free(to);
        to = NULL;
    }
    *out = to;
    return status;
}
