/* SPDX-License-Identifier: Apache-2.0
 *
 * The reverse sweep: gradients as new nodes of the same graph. Ids are a topological order, so the sweep is a loop from
 * the loss downwards. Knows base and tensor. */
#include "graph/graph_internal.h"

/* Marks nodes on some differentiable path from a `wrt` node. reach [n] zeroed. */
static void mark(const dd_graph *g, uint32_t last, int n, const dd_val wrt[], bool *reach)
{
    for (int i = 0; i < n; i++) reach[wrt[i].id] = true;
    for (uint32_t id = 1; id <= last; id++) {
        const dd_node *d = &g->node[id];
        if (reach[id] || (dd_op_flags(d->op) & DD_F_NOGRAD) || !dd_is_float(d->dtype)) continue;
        for (int j = 0; j < d->nsrc && !reach[id]; j++) reach[id] = reach[d->src[j]];
    }
}

static bool valid(dd_graph *g, dd_val loss, int n, const dd_val wrt[])
{
    bool ok = loss.id != 0;
    for (int i = 0; i < n; i++) ok = ok && wrt[i].id != 0;
    if (!ok) {
        dd_poison(g, DD_EINVAL, "gradient of or with respect to poison");
        return false;
    }
    if (dd_shape_count(dd_shape_of(g, loss)) != 1 || !dd_is_float(dd_dtype_of(g, loss))) {
        char text[128];
        dd_poison(g, DD_EINVAL, "the loss must be one floating number, not %s",
                  dd_shape_text(dd_shape_of(g, loss), text, sizeof text));
        return false;
    }
    return true;
}

/* Sends node id's gradient to those of its sources that lead to a `wrt`. part is room for one gradient per source. */
static void push(dd_graph *g, uint32_t id, dd_val *grad, const bool *reach, dd_val *part)
{
    dd_node_vjp(g, id, grad[id], part);
    const dd_node n = g->node[id];
    for (int j = 0; j < n.nsrc; j++) {
        const uint32_t s = n.src[j];
        if (!reach[s] || !part[j].id) continue;
        grad[s] = grad[s].id ? dd_add(g, grad[s], part[j]) : part[j];
    }
}

static int widest(const dd_graph *g, uint32_t last)
{
    int most = 1;
    for (uint32_t id = 1; id <= last; id++)
        if (g->node[id].nsrc > most) most = g->node[id].nsrc;
    return most;
}

void dd_grad(dd_graph *g, dd_val loss, int n, const dd_val wrt[], dd_val out[])
{
    dd_val *grad = NULL, *part = NULL;
    bool *reach = NULL;
    if (!valid(g, loss, n, wrt)) {
        for (int i = 0; i < n; i++) out[i].id = 0;
        return;
    }
    const uint32_t last = loss.id, size = g->n;
    grad = dd_alloc(size, sizeof *grad);
    reach = dd_alloc(size, sizeof *reach);
    part = dd_alloc((size_t)widest(g, last), sizeof *part);
    if (!grad || !reach || !part) {
        for (int i = 0; i < n; i++)
            out[i] = dd_poison(g, DD_ENOMEM, "out of memory for the gradient of %u nodes", size);
        goto done;
    }
    mark(g, last, n, wrt, reach);
    grad[last] = dd_full(g, dd_dtype_of(g, loss), dd_shape_of(g, loss), 1);
    for (uint32_t id = last; id > 0; id--)
        if (reach[id] && grad[id].id) push(g, id, grad, reach, part);
    for (int i = 0; i < n; i++) {
        const uint32_t w = wrt[i].id;
        out[i] = w < size && grad[w].id ? grad[w] : dd_full(g, dd_dtype_of(g, wrt[i]), dd_shape_of(g, wrt[i]), 0);
    }
done:
    dd_free(grad);
    dd_free(reach);
    dd_free(part);
}
