/* SPDX-License-Identifier: Apache-2.0
 *
 * Interned nodes: equal expressions are the same id, so common subexpressions vanish by construction, and ids are a
 * topological order. Errors are kept, not thrown: see dd_poison. Knows base and tensor. */
#include "graph/graph_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct op_row {
    dd_op_info info;
    int arity;
    unsigned flags;
} op_row;

static const op_row rows[DD_OP_COUNT] = {
#define DD_OP(name, family, arity, flags, shapes, vjp) {{#name, family, shapes, vjp}, arity, flags},
#include "graph/ops.def"
#undef DD_OP
};

int dd_op_count(void)
{
    return DD_OP_COUNT;
}

const dd_op_info *dd_op_at(int i)
{
    return i >= 0 && i < DD_OP_COUNT ? &rows[i].info : NULL;
}

const char *dd_op_name(dd_op op)
{
    return op < DD_OP_COUNT ? rows[op].info.name : "?";
}

unsigned dd_op_flags(dd_op op)
{
    return op < DD_OP_COUNT ? rows[op].flags : 0;
}

dd_graph *dd_graph_new(void)
{
    dd_graph *g = dd_alloc(1, sizeof *g);
    if (!g) return NULL;
    g->arena = dd_arena_new();
    g->table_size = 256;
    g->table = dd_alloc(g->table_size, sizeof *g->table);
    if (!g->arena || !g->table || dd_grow((void **)&g->node, &g->cap, 64, sizeof *g->node) != DD_OK) {
        dd_graph_free(g);
        return NULL;
    }
    memset(&g->node[0], 0, sizeof g->node[0]);
    g->n = 1;
    return g;
}

void dd_graph_free(dd_graph *g)
{
    if (!g) return;
    dd_arena_free(g->arena);
    dd_free(g->node);
    dd_free(g->table);
    dd_free(g->output);
    dd_free(g);
}

dd_val dd_poison(dd_graph *g, dd_status code, const char *fmt, ...)
{
    if (g->status == DD_OK) {
        char text[512];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text, sizeof text, fmt, ap);
        va_end(ap);
        g->status = code;
        g->message = dd_arena_strdup(g->arena, text);
    }
    return (dd_val){0};
}

dd_status dd_graph_status(const dd_graph *g)
{
    if (g->status == DD_OK) return DD_OK;
    return dd_fail(g->status, "%s", g->message ? g->message : "out of memory while building a graph");
}

dd_shape dd_shape_of(const dd_graph *g, dd_val v)
{
    return g->node[v.id].shape;
}

dd_dtype dd_dtype_of(const dd_graph *g, dd_val v)
{
    return g->node[v.id].dtype;
}

uint32_t dd_graph_size(const dd_graph *g)
{
    return g->n;
}

const dd_node *dd_graph_node(const dd_graph *g, uint32_t id)
{
    return &g->node[id];
}

int dd_graph_outputs(const dd_graph *g)
{
    return (int)g->noutput;
}

const dd_named *dd_graph_output(const dd_graph *g, int i)
{
    return &g->output[i];
}

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * UINT64_C(0x9E3779B97F4A7C15);
    return h ^ (h >> 29);
}

static uint64_t hash_text(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *s; s++) h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

static uint32_t node_hash(const dd_node *n)
{
    uint64_t bits, h = mix((uint64_t)n->op, (uint64_t)n->dtype);
    memcpy(&bits, &n->c, sizeof bits);
    h = mix(h, bits);
    for (int i = 0; i < n->shape.rank; i++) h = mix(h, (uint64_t)n->shape.dim[i]);
    for (int i = 0; i < n->nsrc; i++) h = mix(h, n->src[i]);
    for (int i = 0; i < n->nattr; i++) h = mix(h, (uint64_t)n->attr[i]);
    if (n->name) h = mix(h, hash_text(n->name));
    return (uint32_t)(h ^ (h >> 32));
}

static bool same_list(const dd_node *a, const dd_node *b)
{
    if (a->nsrc != b->nsrc || a->nattr != b->nattr) return false;
    if (a->nsrc && memcmp(a->src, b->src, (size_t)a->nsrc * sizeof *a->src) != 0) return false;
    return !a->nattr || memcmp(a->attr, b->attr, (size_t)a->nattr * sizeof *a->attr) == 0;
}

static bool node_equal(const dd_node *a, const dd_node *b)
{
    if (a->op != b->op || a->dtype != b->dtype || !dd_shape_equal(a->shape, b->shape)) return false;
    if (memcmp(&a->c, &b->c, sizeof a->c) != 0 || !same_list(a, b)) return false;
    if (!a->name || !b->name) return a->name == b->name;
    return strcmp(a->name, b->name) == 0;
}

static dd_status table_grow(dd_graph *g)
{
    uint32_t size = g->table_size * 2, *t = dd_alloc(size, sizeof *t);
    if (!t) return DD_ENOMEM;
    for (uint32_t id = 1; id < g->n; id++) {
        uint32_t at = node_hash(&g->node[id]) & (size - 1);
        while (t[at]) at = (at + 1) & (size - 1);
        t[at] = id;
    }
    dd_free(g->table);
    g->table = t;
    g->table_size = size;
    return DD_OK;
}

static void *keep(dd_graph *g, const void *p, size_t bytes)
{
    if (!bytes) return NULL;
    void *q = dd_arena_alloc(g->arena, bytes);
    if (q) memcpy(q, p, bytes);
    return q;
}

/* Adds a node known to be new; its lists are still borrowed from the caller. */
static dd_val append(dd_graph *g, dd_node n, uint32_t at)
{
    n.src = keep(g, n.src, (size_t)n.nsrc * sizeof *n.src);
    n.attr = keep(g, n.attr, (size_t)n.nattr * sizeof *n.attr);
    const bool named = n.name != NULL;
    if (named) n.name = dd_arena_strdup(g->arena, n.name);
    if ((named && !n.name) || (n.nsrc && !n.src) || (n.nattr && !n.attr) ||
        dd_grow((void **)&g->node, &g->cap, (size_t)g->n + 1, sizeof *g->node) != DD_OK)
        return dd_poison(g, DD_ENOMEM, "out of memory after %u graph nodes", g->n);
    g->node[g->n] = n;
    g->table[at] = g->n++;
    if (g->n > g->table_size / 2 && table_grow(g) != DD_OK)
        return dd_poison(g, DD_ENOMEM, "out of memory after %u graph nodes", g->n);
    return (dd_val){g->n - 1};
}

static bool same_input_name(const dd_graph *g, const char *name)
{
    for (uint32_t id = 1; id < g->n; id++)
        if (g->node[id].op == DD_OP_INPUT && strcmp(g->node[id].name, name) == 0) return true;
    return false;
}

dd_val dd_node_make(dd_graph *g, dd_op op, dd_dtype dtype, dd_shape shape, int nsrc, const uint32_t *src, int nattr,
                    const int64_t *attr, double c, const char *name)
{
    for (int i = 0; i < nsrc; i++) {
        if (src[i] == 0) return dd_poison(g, DD_EINVAL, "%s: source %d is missing", dd_op_name(op), i);
    }
    if (rows[op].arity >= 0 && rows[op].arity != nsrc)
        return dd_poison(g, DD_EINVAL, "%s takes %d sources, not %d", dd_op_name(op), rows[op].arity, nsrc);
    if (dd_node_infer(g, op, &dtype, &shape, nsrc, src, attr) != DD_OK)
        return dd_poison(g, DD_EINVAL, "%s", dd_last_error());
    for (int i = shape.rank; i < DD_MAX_RANK; i++) shape.dim[i] = 0;
    const dd_node n = {op, dtype, shape, nsrc, nattr, src, attr, c, name};
    uint32_t at = node_hash(&n) & (g->table_size - 1);
    for (; g->table[at]; at = (at + 1) & (g->table_size - 1))
        if (node_equal(&g->node[g->table[at]], &n)) return (dd_val){g->table[at]};
    if (op == DD_OP_INPUT && same_input_name(g, name))
        return dd_poison(g, DD_EINVAL, "input \"%s\" exists with another type or shape", name);
    return append(g, n, at);
}

void dd_output(dd_graph *g, const char *name, dd_val v)
{
    dd_output_as(g, name, v, false);
}

void dd_output_as(dd_graph *g, const char *name, dd_val v, bool carried)
{
    if (!v.id) {
        dd_poison(g, DD_EINVAL, "output \"%s\" is poison", name);
        return;
    }
    for (size_t i = 0; i < g->noutput; i++) {
        if (strcmp(g->output[i].name, name) == 0) {
            dd_poison(g, DD_EINVAL, "output \"%s\" is named twice", name);
            return;
        }
    }
    const char *kept = dd_arena_strdup(g->arena, name);
    if (!kept || dd_grow((void **)&g->output, &g->output_cap, g->noutput + 1, sizeof *g->output) != DD_OK) {
        dd_poison(g, DD_ENOMEM, "out of memory for output \"%s\"", name);
        return;
    }
    g->output[g->noutput++] = (dd_named){kept, v.id, carried};
}
