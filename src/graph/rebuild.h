/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a graph of another: which nodes are needed, and a copy of those alone in which some are made differently. Seen
 * by graph/ and compile/ only. */
#ifndef ATTAR_GRAPH_REBUILD_H
#define ATTAR_GRAPH_REBUILD_H
#include "graph/node.h"

/* live[size] and readers[size], zeroed by the caller. A node is live if an output needs it; readers counts
 * the edges from live nodes plus one per output. readers may be NULL. Returns the number of live nodes. */
int64_t dd_mark_live(const dd_graph *g, bool *live, uint32_t *readers);

/* Rebuilds the live part of g into a new graph; `make` maps one node, given the ids of its sources in the new graph.
 * ctx is passed through. DD_ENOMEM or the first error of the new graph. */
typedef dd_val (*dd_rewrite)(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx);
dd_status dd_rebuild(const dd_graph *g, dd_graph **out, dd_rewrite make, void *ctx);
/* The node as it is, on new sources: the rewrite that only prunes. */
dd_val dd_rewrite_none(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx);
#endif
