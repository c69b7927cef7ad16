/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants of a graph, run after every pass in debug builds. Knows base and tensor. */
#include "graph/graph_internal.h"

static dd_status verify_node(const dd_graph *g, uint32_t id)
{
    const dd_node *n = &g->node[id];
    for (int j = 0; j < n->nsrc; j++)
        if (n->src[j] == 0 || n->src[j] >= id)
            return dd_fail(DD_EINVAL, "node %u (%s) reads node %u, which does not come before it", id,
                           dd_op_name(n->op), n->src[j]);
    dd_dtype t = n->dtype;
    dd_shape s = n->shape;
    DD_TRY(dd_node_infer(g, n->op, &t, &s, n->nsrc, n->src, n->attr));
    if (t == n->dtype && dd_shape_equal(s, n->shape)) return DD_OK;
    char has[128], rule[128];
    return dd_fail(DD_EINVAL, "node %u (%s) has %s %s, its rule gives %s %s", id, dd_op_name(n->op),
                   dd_dtype_name(n->dtype), dd_shape_text(n->shape, has, sizeof has), dd_dtype_name(t),
                   dd_shape_text(s, rule, sizeof rule));
}

dd_status dd_graph_verify(const dd_graph *g)
{
    for (uint32_t id = 1; id < g->n; id++) DD_TRY(verify_node(g, id));
    for (size_t i = 0; i < g->noutput; i++)
        if (g->output[i].id == 0 || g->output[i].id >= g->n)
            return dd_fail(DD_EINVAL, "output \"%s\" names node %u of %u", g->output[i].name, g->output[i].id, g->n);
    return DD_OK;
}
