/* SPDX-License-Identifier: Apache-2.0
 *
 * What a rewriting rule sees. Seen by compile/simplify* only. */
#ifndef ATTAR_COMPILE_SIMPLIFY_INTERNAL_H
#define ATTAR_COMPILE_SIMPLIFY_INTERNAL_H
#include "compile/passes.h"

typedef struct dd_rule {
    dd_graph *g;             /* the new graph */
    const dd_node *n;        /* of the old graph: op, attributes and shape hold, sources are src */
    const uint32_t *src;     /* in the new graph */
    const dd_graph *old;     /* of live nodes only */
    const uint32_t *readers; /* [size of old] */
} dd_rule;

/* The value that replaces the node, or poison (id 0) for "not mine". */
typedef dd_val (*dd_rule_fn)(const dd_rule *k);

/* The node of that op on sources src, through the constructor that knows peepholes where there is one. */
dd_val dd_make_pointwise(dd_graph *g, dd_op op, dd_dtype t, int nsrc, const uint32_t *src);
/* Whether every index along `axes` (a mask) reads the same element. */
bool dd_same_along(const dd_graph *g, uint32_t id, unsigned axes);

/* simplify_sums.c */
dd_val dd_rule_sums(const dd_rule *k);
#endif
