/* SPDX-License-Identifier: Apache-2.0
 *
 * The seams between the compiler's passes. Seen by compile/ only. */
#ifndef ATTAR_COMPILE_PASSES_H
#define ATTAR_COMPILE_PASSES_H
#include "compile/compile.h"
#include "graph/rebuild.h"

/* fold.c: the value of a pointwise op on constants v, rounded to t; false for an op that is not pointwise. */
bool dd_fold(dd_op op, dd_dtype t, const double *v, double *out);

/* simplify.c: algebraic rewrites until nothing changes. Takes *g (owned) and replaces it. */
dd_status dd_simplify(dd_graph **g);
/* patterns.c: graph to graph: sums of PADs over disjoint ranges become a CONCAT. Takes *g and replaces it. */
dd_status dd_join_pads(dd_graph **g);

/* patterns.c: instructions that cover several nodes. */
typedef enum dd_fusion_kind { DD_FUSE_NONE, DD_FUSE_BIAS, DD_FUSE_SUMMUL } dd_fusion_kind;
typedef struct dd_fusion {
    dd_fusion_kind kind;
    uint32_t body; /* BIAS: the CONV or MATMUL; SUMMUL: the MUL */
    uint32_t bias; /* BIAS: the node whose elements are the bias */
    bool covered;  /* this node is computed by the instruction of its reader */
} dd_fusion;
/* f [size], zeroed. */
void dd_match_patterns(const dd_graph *g, const uint32_t *readers, const bool *live, dd_fusion *f);

/* views.c: strided views as algebra */
dd_view dd_view_whole(dd_dtype t, dd_shape s);
dd_shape dd_view_shape(const dd_view *v);
/* The same elements with dims s, without moving any; false if strides do not allow it. */
bool dd_view_reshape(const dd_view *v, dd_shape s, dd_view *out);
/* Fewer, longer axes for views of equal dims: axes of size 1 vanish, neighbours that step alike merge. `reduced` has a
 * bit per axis; axes of different kind never merge. The new mask is returned. At least rank 1 remains. */
unsigned dd_views_collapse(int n, dd_view *const v[], unsigned reduced);
bool dd_view_same(const dd_view *a, const dd_view *b); /* dims and strides that matter */

/* lower.c: nodes to steps and slots. */
dd_status dd_lower(dd_compiled *c, const dd_graph *g, unsigned leave_out);
/* place.c: steps that copy a whole slot are dropped where its writer can write the copy's target itself. */
dd_status dd_sink_copies(dd_compiled *c);
/* windows.c: gathers and scatters by the maxima of windows learn of them. */
void dd_mark_windows(dd_compiled *c);
/* fuse.c: steps over the same rows become groups, each behind its ROWS; values that stay inside lose their memory. */
dd_status dd_fuse_rows(dd_compiled *c);
/* fuse_first.c: a cheap convolution joins the row groups that alone read it, its gradients the one that alone makes
 * what they read, where the backend says they can. */
dd_status dd_fuse_first(dd_compiled *c, dd_backend *b);
/* layout.c: which tensors lie in blocks of the backend's lanes, carried ones too if asked. */
dd_status dd_choose_layout(dd_compiled *c, dd_backend *b, bool carried);
/* plan.c: in-place reuse, then offsets. */
dd_status dd_plan(dd_compiled *c, bool reuse);
#endif
