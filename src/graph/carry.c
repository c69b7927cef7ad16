/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing what a program takes over from another, and the graphs of the two. Knows base and tensor. */
#include "graph/carry.h"
#include "graph/rebuild.h"

#include <stdio.h>
#include <string.h>

/* Multiplications an element. Below, memory takes as long as computing again, and a cheap convolution is part of the
 * group that reads it, which a tensor from elsewhere only slows down (LeNet's first layer of grey images, by 4 % of
 * DD). */
enum { WORTH = 64 };

typedef struct chooser {
    const dd_graph *g;
    uint32_t end;
    bool *live, *need; /* [size] */
    uint32_t *readers; /* [size] */
    uint32_t *reader;  /* [size] one of them */
} chooser;

/* Multiplications for an element of a contraction's result; 0: not one. */
static int64_t work(const dd_graph *g, const dd_node *n)
{
    if (n->op != DD_OP_CONV && n->op != DD_OP_CONV_DX && n->op != DD_OP_MATMUL) return 0;
    const dd_shape a = dd_graph_node(g, n->src[0])->shape, b = dd_graph_node(g, n->src[1])->shape;
    if (n->op == DD_OP_MATMUL) return a.dim[n->attr[0] ? 1 : 2];
    if (n->op == DD_OP_CONV) return b.dim[1] * b.dim[2] * b.dim[3];
    return dd_shape_count(a) * b.dim[1] * b.dim[2] * b.dim[3] / dd_shape_count(n->shape);
}

/* id, or what its only reader makes of it by adding a bias: one instruction computes both. */
static uint32_t with_bias(const chooser *k, uint32_t id)
{
    uint32_t at = id;
    while (k->readers[at] == 1 && k->reader[at] < k->end) {
        const uint32_t next = k->reader[at];
        const dd_node *n = dd_graph_node(k->g, next);
        if (n->op == DD_OP_RESHAPE) {
            at = next;
            continue;
        }
        if (n->op != DD_OP_ADD) break;
        const uint32_t other = n->src[n->src[0] == at];
        return dd_graph_node(k->g, other)->op == DD_OP_EXPAND ? next : id;
    }
    return id;
}

static void find_readers(chooser *k)
{
    dd_mark_live(k->g, k->live, k->readers);
    for (uint32_t id = 1; id < dd_graph_size(k->g); id++) {
        const dd_node *n = dd_graph_node(k->g, id);
        for (int j = 0; k->live[id] && j < n->nsrc; j++) k->reader[n->src[j]] = id;
    }
}

static void add(const chooser *k, dd_carry *c, uint32_t id)
{
    const dd_node *n = dd_graph_node(k->g, id);
    if (c->n == DD_CARRY_MOST) return;
    c->id[c->n] = id;
    c->shape[c->n] = n->shape;
    c->dtype[c->n] = n->dtype;
    snprintf(c->name[c->n], sizeof c->name[c->n], "carry%d", c->n);
    c->n++;
}

/* From the outputs down, not past what is carried. */
static void choose(chooser *k, bool *wanted, dd_carry *c)
{
    for (uint32_t id = 1; id < k->end; id++)
        if (k->live[id] && work(k->g, dd_graph_node(k->g, id)) >= WORTH) wanted[with_bias(k, id)] = true;
    for (int i = 0; i < dd_graph_outputs(k->g); i++) k->need[dd_graph_output(k->g, i)->id] = true;
    for (uint32_t id = dd_graph_size(k->g) - 1; id > 0; id--) {
        if (!k->need[id]) continue;
        const dd_node *n = dd_graph_node(k->g, id);
        if (wanted[id])
            add(k, c, id);
        else
            for (int j = 0; j < n->nsrc; j++) k->need[n->src[j]] = true;
    }
}

dd_status dd_carry_choose(const dd_graph *g, uint32_t end, dd_carry *out)
{
    const size_t size = dd_graph_size(g);
    bool *wanted = dd_alloc(size, sizeof *wanted);
    chooser k = {g,
                 end,
                 dd_alloc(size, sizeof *k.live),
                 dd_alloc(size, sizeof *k.need),
                 dd_alloc(size, sizeof *k.readers),
                 dd_alloc(size, sizeof *k.reader)};
    const bool ok = wanted && k.live && k.need && k.readers && k.reader;
    memset(out, 0, sizeof *out);
    if (ok) {
        find_readers(&k);
        choose(&k, wanted, out);
    }
    dd_free(wanted);
    dd_free(k.live);
    dd_free(k.need);
    dd_free(k.readers);
    dd_free(k.reader);
    return ok ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %zu graph nodes", size);
}

void dd_carry_out(dd_graph *g, const dd_carry *c)
{
    for (int i = 0; i < c->n; i++) dd_output_as(g, c->name[i], (dd_val){c->id[i]}, true);
}

typedef struct taking {
    const dd_graph *from;
    const dd_carry *c;
} taking;

static dd_val take(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx)
{
    static const int64_t carried = 1;
    const taking *t = ctx;
    for (int i = 0; i < t->c->n; i++)
        if (n == dd_graph_node(t->from, t->c->id[i]))
            return dd_node_make(to, DD_OP_INPUT, n->dtype, n->shape, 0, NULL, 1, &carried, 0, t->c->name[i]);
    return dd_rewrite_none(to, n, src, ctx);
}

dd_status dd_carry_in(dd_graph **g, const dd_carry *c)
{
    dd_graph *next = NULL;
    taking t = {*g, c};
    dd_status s = dd_graph_status(*g);
    if (s == DD_OK) s = dd_rebuild(*g, &next, take, &t);
    dd_graph_free(*g);
    *g = next;
    return s;
}
