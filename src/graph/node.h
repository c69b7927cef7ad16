/* SPDX-License-Identifier: Apache-2.0
 *
 * What a graph is made of: immutable, interned nodes in one array, ids in topological order (a source's id is
 * smaller than its reader's). Seen by graph/ and compile/ only. */
#ifndef ATTAR_GRAPH_NODE_H
#define ATTAR_GRAPH_NODE_H
#include "attar/graph.h"
#include "base/memory.h"

typedef enum dd_op {
#define DD_OP(name, family, arity, flags, shapes, vjp_text) DD_OP_##name,
#include "graph/ops.def"
#undef DD_OP
    DD_OP_COUNT
} dd_op;

/* flags of ops.def */
enum {
    DD_F_POINTWISE = 1, /* shape kept, element by element */
    DD_F_LINEAR = 2,    /* linear in source 0 (adjoint test) */
    DD_F_NOGRAD = 4,    /* derivative is zero or blocked by definition */
    DD_F_MOVE = 8,      /* copies elements, computes nothing */
    DD_F_BILINEAR = 16  /* linear in each of its first two sources */
};

/* attr[] by op (the rest is in the shape):
 *   INPUT 1 if carried (carry.h), else none | IOTA axis | PERMUTE perm[rank] | SLICE start[rank] stride[rank]
 *   PAD lo[rank] hi[rank] interior[rank] | FLIP mask | CONCAT axis | SUM, MAXR mask | ARGMAX axis | MATMUL ta tb
 *   CONV, CONV_DX, CONV_DW sh sw ph pw dh dw groups
 *   SPMM m n transposed | SUMPOOL, SUMPOOL_T, POOL_ARGMAX kh kw sh sw ph pw
 *   GATHER, SCATTER_ADD along(0|1) */
#define DD_MAX_ATTR 18

typedef struct dd_node {
    dd_op op;
    dd_dtype dtype;
    dd_shape shape;
    int nsrc, nattr;
    const uint32_t *src; /* ids, in the arena */
    const int64_t *attr; /* in the arena */
    double c;            /* CONST */
    const char *name;    /* INPUT */
} dd_node;

typedef struct dd_named {
    const char *name;
    uint32_t id;
    bool carried; /* carry.h */
} dd_named;

/* Node 0 is poison and has no op. */
uint32_t dd_graph_size(const dd_graph *g);
const dd_node *dd_graph_node(const dd_graph *g, uint32_t id);
int dd_graph_outputs(const dd_graph *g);
const dd_named *dd_graph_output(const dd_graph *g, int i);

/* Invariants of a graph: sources before readers, shapes and dtypes as the op's rule gives them. DD_EINVAL with the
 * offending node; run after every pass in debug builds and by the tests always. */
dd_status dd_graph_verify(const dd_graph *g);

/* Raw node maker used by passes that rebuild a graph: same checks and interning as the constructors. `src` are ids of
 * `g`. shape matters for the ops whose shape is an attribute (CONST, IOTA, INPUT, RESHAPE, EXPAND, SLICE, CONV_DX,
 * CONV_DW, SUMPOOL_T, SCATTER_ADD, SAMPLE, SAMPLE_T) and is recomputed and compared for the others. */
dd_val dd_node_make(dd_graph *g, dd_op op, dd_dtype dtype, dd_shape shape, int nsrc, const uint32_t *src, int nattr,
                    const int64_t *attr, double c, const char *name);
/* dd_output, or that of a value that another program takes over (carry.h). */
void dd_output_as(dd_graph *g, const char *name, dd_val v, bool carried);
/* Appends the graph to *out: one node a line, or as Graphviz. */
void dd_graph_print(const dd_graph *g, dd_str *out);
void dd_graph_dot(const dd_graph *g, dd_str *out);
const char *dd_op_name(dd_op op);
unsigned dd_op_flags(dd_op op);
#endif
