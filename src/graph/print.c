/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph as text, one node a line, and as Graphviz, for people who debug one. Knows base and tensor. */
#include "graph/graph_internal.h"

static void print_attrs(dd_str *out, const dd_node *n)
{
    if (n->name) dd_str_addf(out, " \"%s\"", n->name);
    if (n->op == DD_OP_CONST) dd_str_addf(out, " %.9g", n->c);
    for (int i = 0; i < n->nattr; i++) dd_str_addf(out, "%s%lld", i ? "," : " {", (long long)n->attr[i]);
    if (n->nattr) dd_str_add(out, "}");
}

void dd_graph_print(const dd_graph *g, dd_str *out)
{
    char shape[128];
    for (uint32_t id = 1; id < g->n; id++) {
        const dd_node *n = &g->node[id];
        dd_str_addf(out, "%%%u = %s", id, dd_op_name(n->op));
        for (int i = 0; i < n->nsrc; i++) dd_str_addf(out, "%s%%%u", i ? ", " : " ", n->src[i]);
        print_attrs(out, n);
        dd_str_addf(out, " : %s %s\n", dd_dtype_name(n->dtype), dd_shape_text(n->shape, shape, sizeof shape));
    }
    for (size_t i = 0; i < g->noutput; i++)
        dd_str_addf(out, "output \"%s\" = %%%u\n", g->output[i].name, g->output[i].id);
}

void dd_graph_dot(const dd_graph *g, dd_str *out)
{
    char shape[128];
    dd_str_add(out, "digraph attar {\n");
    for (uint32_t id = 1; id < g->n; id++) {
        const dd_node *n = &g->node[id];
        dd_str_addf(out, "  n%u [label=\"%s\\n%s\"];\n", id, n->name ? n->name : dd_op_name(n->op),
                    dd_shape_text(n->shape, shape, sizeof shape));
        for (int i = 0; i < n->nsrc; i++) dd_str_addf(out, "  n%u -> n%u;\n", n->src[i], id);
    }
    dd_str_add(out, "}\n");
}
