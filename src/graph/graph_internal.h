/* SPDX-License-Identifier: Apache-2.0
 *
 * The graph's own struct and the seams between its files. Seen by graph/ only. */
#ifndef ATTAR_GRAPH_INTERNAL_H
#define ATTAR_GRAPH_INTERNAL_H
#include "base/memory.h"
#include "graph/node.h"

struct dd_graph {
    dd_arena *arena;
    dd_node *node; /* [cap], node[0] is poison */
    uint32_t n;
    size_t cap;
    uint32_t *table; /* open addressing, 0 is empty */
    uint32_t table_size;
    dd_named *output;
    size_t noutput, output_cap;
    dd_status status;
    char *message; /* of the first error, in the arena */
};

/* Records the first error and returns poison. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
dd_val
dd_poison(dd_graph *g, dd_status code, const char *fmt, ...);

/* Computes dtype and shape of a node from its sources and attributes; the given shape is read where it is an attribute.
 * DD_EINVAL with a sentence naming op and shapes. */
dd_status dd_node_infer(const dd_graph *g, dd_op op, dd_dtype *dtype, dd_shape *shape, int nsrc, const uint32_t *src,
                        const int64_t *attr);

/* Gradients of the sources of node `id` for the incoming gradient `up`; out[i].id 0: no gradient flows there. */
void dd_node_vjp(dd_graph *g, uint32_t id, dd_val up, dd_val *out);

/* Nodes that some op may differentiate through: false for NOGRAD ops and leaves. */
static inline const dd_node *dd_at(const dd_graph *g, dd_val v)
{
    return &g->node[v.id];
}
static inline bool dd_is_float(dd_dtype t)
{
    return t == DD_F32 || t == DD_F64;
}
#endif
