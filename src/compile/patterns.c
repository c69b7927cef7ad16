/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups of nodes that one instruction computes, and sums of PADs that are really a concatenation. Matching only
 * marks; lower.c emits. Knows graph and base. */
#include "compile/passes.h"

#include <stdlib.h>

/* ---- one instruction for several nodes ---- */

typedef struct match {
    const dd_graph *g;
    const uint32_t *readers;
    dd_fusion *f;
} match;

static bool only_reader(const match *m, uint32_t id)
{
    return m->readers[id] == 1 && !m->f[id].covered && m->f[id].kind == DD_FUSE_NONE;
}

/* e broadcasts one number per index of `axis` and nothing else. */
static bool broadcasts_axis(const dd_graph *g, const dd_node *e, int axis)
{
    if (e->op != DD_OP_EXPAND) return false;
    const dd_shape s = dd_graph_node(g, e->src[0])->shape;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] != (i == axis ? e->shape.dim[i] : 1)) return false;
    return true;
}

/* x is a CONV, or a MATMUL perhaps under a RESHAPE that keeps its rows; returns the contraction's id or 0. */
static uint32_t contraction(const match *m, uint32_t x)
{
    const dd_node *n = dd_graph_node(m->g, x);
    if (!only_reader(m, x)) return 0;
    if (n->op == DD_OP_CONV || n->op == DD_OP_MATMUL) return x;
    if (n->op != DD_OP_RESHAPE || n->shape.rank < 1) return 0;
    const dd_node *y = dd_graph_node(m->g, n->src[0]);
    const bool rows = y->op == DD_OP_MATMUL && y->shape.dim[2] == n->shape.dim[n->shape.rank - 1];
    return rows && only_reader(m, n->src[0]) ? n->src[0] : 0;
}

static bool match_bias(const match *m, uint32_t id)
{
    const dd_node *n = dd_graph_node(m->g, id);
    if (n->op != DD_OP_ADD || n->src[0] == n->src[1]) return false;
    for (int i = 0; i < 2; i++) {
        const uint32_t x = n->src[i], body = contraction(m, x);
        const dd_node *e = dd_graph_node(m->g, n->src[1 - i]);
        if (!body) continue;
        const bool conv = dd_graph_node(m->g, body)->op == DD_OP_CONV;
        if (!broadcasts_axis(m->g, e, conv ? 1 : n->shape.rank - 1)) continue;
        m->f[id] = (dd_fusion){.kind = DD_FUSE_BIAS, .body = body, .bias = e->src[0]};
        m->f[body].covered = m->f[x].covered = true;
        return true;
    }
    return false;
}

static bool match_summul(const match *m, uint32_t id)
{
    const dd_node *n = dd_graph_node(m->g, id);
    if (n->op != DD_OP_SUM || dd_graph_node(m->g, n->src[0])->op != DD_OP_MUL) return false;
    if (!only_reader(m, n->src[0])) return false;
    m->f[id] = (dd_fusion){.kind = DD_FUSE_SUMMUL, .body = n->src[0]};
    m->f[n->src[0]].covered = true;
    return true;
}

void dd_match_patterns(const dd_graph *g, const uint32_t *readers, const bool *live, dd_fusion *f)
{
    typedef bool (*pattern)(const match *, uint32_t);
    static const pattern table[] = {match_bias, match_summul};
    const match m = {g, readers, f};
    for (uint32_t id = 1; id < dd_graph_size(g); id++)
        for (size_t i = 0; live[id] && i < DD_LEN(table); i++)
            if (table[i](&m, id)) break;
}

/* ---- sums of PADs ---- */

typedef struct piece {
    int64_t lo, len;
    uint32_t id; /* in the new graph: what is padded */
} piece;

typedef struct joiner {
    piece *piece;
    uint32_t *rest, *stack;
    size_t npiece, nrest;
    size_t piece_cap, rest_cap, stack_cap;
    bool failed;
} joiner;

static bool flat_pad(const dd_node *n)
{
    return n->op == DD_OP_PAD && n->shape.rank == 1 && n->attr[2] == 0;
}

static void add_piece(joiner *j, int64_t lo, int64_t len, uint32_t id)
{
    j->failed = j->failed || dd_grow((void **)&j->piece, &j->piece_cap, j->npiece + 1, sizeof *j->piece) != DD_OK;
    if (!j->failed) j->piece[j->npiece++] = (piece){lo, len, id};
}

/* Sorts one leaf of the sum. A CONCAT is what a smaller sum of PADs has become. */
static void take(joiner *j, const dd_graph *g, uint32_t id)
{
    const dd_node *n = dd_graph_node(g, id);
    if (flat_pad(n)) {
        add_piece(j, n->attr[0], dd_graph_node(g, n->src[0])->shape.dim[0], n->src[0]);
        return;
    }
    if (n->op == DD_OP_CONCAT) {
        int64_t at = 0;
        for (int i = 0; i < n->nsrc; i++) {
            const dd_node *s = dd_graph_node(g, n->src[i]);
            if (s->op != DD_OP_CONST || s->c != 0) add_piece(j, at, s->shape.dim[0], n->src[i]);
            at += s->shape.dim[0];
        }
        return;
    }
    j->failed = j->failed || dd_grow((void **)&j->rest, &j->rest_cap, j->nrest + 1, sizeof *j->rest) != DD_OK;
    if (!j->failed) j->rest[j->nrest++] = id;
}

/* The leaves of the tree of ADDs below `top`: flat PADs into piece, anything else into rest. */
static void collect(joiner *j, const dd_graph *g, const uint32_t *src)
{
    size_t depth = 0;
    j->npiece = j->nrest = 0;
    j->failed = j->failed || dd_grow((void **)&j->stack, &j->stack_cap, 2, sizeof *j->stack) != DD_OK;
    if (j->failed) return;
    j->stack[depth++] = src[0];
    j->stack[depth++] = src[1];
    while (depth && !j->failed) {
        const uint32_t id = j->stack[--depth];
        const dd_node *n = dd_graph_node(g, id);
        if (n->op != DD_OP_ADD) {
            take(j, g, id);
            continue;
        }
        j->failed = dd_grow((void **)&j->stack, &j->stack_cap, depth + 2, sizeof *j->stack) != DD_OK;
        if (j->failed) return;
        j->stack[depth++] = n->src[0];
        j->stack[depth++] = n->src[1];
    }
}

static int by_start(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static bool disjoint(const joiner *j)
{
    for (size_t i = 1; i < j->npiece; i++)
        if (j->piece[i - 1].lo + j->piece[i - 1].len > j->piece[i].lo) return false;
    return true;
}

/* The pieces in order, constants of zero in the gaps. */
static dd_val concatenate(const joiner *j, dd_graph *g, const dd_node *n)
{
    dd_val *part = dd_alloc(2 * j->npiece + 1, sizeof *part);
    int count = 0;
    int64_t at = 0;
    if (!part) return (dd_val){0};
    for (size_t i = 0; i < j->npiece; i++) {
        const piece *p = &j->piece[i];
        if (p->lo > at) part[count++] = dd_full(g, n->dtype, DD_SHAPE(p->lo - at), 0);
        part[count++] = (dd_val){p->id};
        at = p->lo + p->len;
    }
    if (at < n->shape.dim[0]) part[count++] = dd_full(g, n->dtype, DD_SHAPE(n->shape.dim[0] - at), 0);
    const dd_val y = dd_concat(g, count, part, 0);
    dd_free(part);
    return y;
}

static dd_val join(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx)
{
    joiner *j = ctx;
    if (n->op != DD_OP_ADD || n->shape.rank != 1) return dd_rewrite_none(to, n, src, NULL);
    collect(j, to, src);
    if (j->failed || j->npiece < 2) return dd_rewrite_none(to, n, src, NULL);
    qsort(j->piece, j->npiece, sizeof *j->piece, by_start);
    if (!disjoint(j)) return dd_rewrite_none(to, n, src, NULL);
    dd_val y = concatenate(j, to, n);
    for (size_t i = 0; i < j->nrest; i++) y = dd_add(to, y, (dd_val){j->rest[i]});
    return y.id ? y : dd_rewrite_none(to, n, src, NULL);
}

dd_status dd_join_pads(dd_graph **g)
{
    joiner j = {0};
    dd_graph *next = NULL;
    dd_status status = dd_rebuild(*g, &next, join, &j);
    if (status == DD_OK && j.failed) status = dd_fail(DD_ENOMEM, "out of memory while joining a flat gradient");
    dd_free(j.piece);
    dd_free(j.rest);
    dd_free(j.stack);
    if (status != DD_OK) {
        dd_graph_free(next);
        return status;
    }
    dd_graph_free(*g);
    *g = next;
    return DD_OK;
}
