/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums. What is the same along the summed axes leaves the sum, a sum over images and pixels sums the pixels first, and
 * a sum of two values whose sums are known is theirs: in the derivatives of a normalisation most sums over a row turn
 * out to be sums that are there already, times a number, and each saves a pass over the row. Knows graph and base. */
#include "compile/simplify_internal.h"

enum { DEEPEST = 6, ROW = 16 /* elements of a row that is worth a step of its own */ };

static const dd_val none = {0};

bool dd_same_along(const dd_graph *g, uint32_t id, unsigned axes)
{
    const dd_node *n = dd_graph_node(g, id);
    if (n->op == DD_OP_CONST) return true;
    if (n->op != DD_OP_EXPAND) return false;
    const dd_shape s = dd_graph_node(g, n->src[0])->shape;
    if (s.rank != n->shape.rank) return false;
    for (int i = 0; i < s.rank; i++)
        if ((axes >> i & 1u) && s.dim[i] != 1) return false;
    return true;
}

static double length(dd_shape s, unsigned axes)
{
    double n = 1;
    for (int i = 0; i < s.rank; i++)
        if (axes >> i & 1u) n *= (double)s.dim[i];
    return n;
}

/* ---- rows first ---- */

/* The last of the summed axes that lie together, if they make a row with kept axes and summed ones before it; else 0.
 */
static unsigned row_of(dd_shape s, unsigned axes)
{
    unsigned row = 0;
    int i = s.rank - 1;
    for (; i >= 0 && (s.dim[i] == 1 || (axes >> i & 1u)); i--) row |= axes & 1u << i;
    return row != axes && length(s, row) >= ROW ? row : 0;
}

/* ---- factors ---- */

/* What a product has been freed of: numbers of the sum's shape; id 0: none. */
typedef struct factors {
    dd_graph *g;
    unsigned axes;
    dd_shape sum;
    dd_val times, over;
} factors;

/* A value that is the same along the axes, once. */
static dd_val once(const factors *f, uint32_t id)
{
    const dd_node *n = dd_graph_node(f->g, id);
    return n->op == DD_OP_CONST ? dd_full(f->g, n->dtype, f->sum, n->c) : dd_expand(f->g, (dd_val){n->src[0]}, f->sum);
}

static dd_val times(dd_graph *g, dd_val a, dd_val b)
{
    if (!a.id || !b.id) return a.id ? a : b;
    return dd_make_pointwise(g, DD_OP_MUL, dd_dtype_of(g, a), 2, (uint32_t[]){a.id, b.id});
}

/* v without its factors that are the same along the axes; id 0: nothing is left. */
static dd_val free_of(factors *f, dd_val v, int depth)
{
    const dd_node *n = dd_graph_node(f->g, v.id);
    if (dd_same_along(f->g, v.id, f->axes)) {
        f->times = times(f->g, f->times, once(f, v.id));
        return none;
    }
    if (depth == 0 || (n->op != DD_OP_MUL && n->op != DD_OP_DIV)) return v;
    const dd_val p = {n->src[0]}, q = {n->src[1]};
    const dd_val a = free_of(f, p, depth - 1);
    n = NULL; /* new nodes may have moved it */
    if (dd_graph_node(f->g, v.id)->op == DD_OP_MUL) {
        const dd_val b = free_of(f, q, depth - 1);
        return a.id == p.id && b.id == q.id ? v : times(f->g, a, b);
    }
    if (dd_same_along(f->g, q.id, f->axes)) {
        f->over = times(f->g, f->over, once(f, q.id));
        return a;
    }
    if (a.id == p.id) return v;
    const dd_node *d = dd_graph_node(f->g, q.id);
    return dd_div(f->g, a.id ? a : dd_full(f->g, d->dtype, d->shape, 1), q);
}

static dd_val sum_of_product(const dd_rule *k, unsigned axes)
{
    factors f = {.g = k->g, .axes = axes, .sum = k->n->shape};
    const dd_val rest = free_of(&f, (dd_val){k->src[0]}, DEEPEST);
    if (!f.times.id && !f.over.id) return none;
    dd_val y = rest.id ? dd_sum(k->g, rest, axes)
                       : dd_full(k->g, k->n->dtype, k->n->shape, length(dd_graph_node(k->g, k->src[0])->shape, axes));
    y = times(k->g, y, f.times);
    return f.over.id ? dd_div(k->g, y, f.over) : y;
}

/* ---- terms ---- */

static bool is_summed(const dd_graph *g, uint32_t of, unsigned axes)
{
    for (uint32_t id = of + 1; id < dd_graph_size(g); id++) {
        const dd_node *n = dd_graph_node(g, id);
        if (n->op == DD_OP_SUM && n->src[0] == of && (unsigned)n->attr[0] == axes) return true;
    }
    return false;
}

/* A convolution or product takes a bias in, so that the two are one value. */
static bool takes_bias(const dd_graph *g, uint32_t id)
{
    const dd_op op = dd_graph_node(g, id)->op;
    return op == DD_OP_CONV || op == DD_OP_MATMUL;
}

/* Whether the sum of a value of the old graph follows from sums that are in it. */
static bool known(const dd_graph *g, uint32_t id, unsigned axes, int depth)
{
    const dd_node *n = dd_graph_node(g, id);
    if (dd_same_along(g, id, axes) || is_summed(g, id, axes)) return true;
    if (depth == 0 || takes_bias(g, id)) return false;
    switch (n->op) {
    case DD_OP_NEG: return known(g, n->src[0], axes, depth - 1);
    case DD_OP_ADD:
    case DD_OP_SUB: return known(g, n->src[0], axes, depth - 1) && known(g, n->src[1], axes, depth - 1);
    case DD_OP_MUL:
        for (int i = 0; i < 2; i++)
            if (dd_same_along(g, n->src[i], axes)) return known(g, n->src[1 - i], axes, depth - 1);
        return false;
    case DD_OP_DIV: return dd_same_along(g, n->src[1], axes) && known(g, n->src[0], axes, depth - 1);
    default: return false;
    }
}

/* A sum or difference of values one of which is the same along the axes, or both of whose sums are known. */
static dd_val sum_of_terms(const dd_rule *k, unsigned axes)
{
    const dd_node *s = dd_graph_node(k->g, k->src[0]);
    const dd_op op = s->op;
    const uint32_t a = s->src[0], b = s->src[1];
    if (takes_bias(k->g, a) || takes_bias(k->g, b)) return none;
    bool good = dd_same_along(k->g, a, axes) || dd_same_along(k->g, b, axes);
    if (!good) {
        const dd_node *before = dd_graph_node(k->old, k->n->src[0]);
        good = before->op == op && known(k->old, before->src[0], axes, DEEPEST) &&
               known(k->old, before->src[1], axes, DEEPEST);
    }
    if (!good) return none;
    const dd_val x = dd_sum(k->g, (dd_val){a}, axes), y = dd_sum(k->g, (dd_val){b}, axes);
    return dd_make_pointwise(k->g, op, k->n->dtype, 2, (uint32_t[]){x.id, y.id});
}

/* SUM over an expanded axis is a multiplication by its length; other axes are summed before they are expanded. */
static dd_val sum_of_expand(const dd_rule *k, const dd_node *s)
{
    const dd_node *x = dd_graph_node(k->g, s->src[0]);
    unsigned axes = 0;
    double count = 1;
    for (int i = 0; i < s->shape.rank; i++) {
        if (!(k->n->attr[0] >> i & 1)) continue;
        if (x->shape.dim[i] == 1)
            count *= (double)s->shape.dim[i];
        else
            axes |= 1u << i;
    }
    const dd_val y = dd_scale(k->g, dd_sum(k->g, (dd_val){s->src[0]}, axes), count);
    return dd_expand(k->g, y, k->n->shape);
}

dd_val dd_rule_sums(const dd_rule *k)
{
    if (k->n->op != DD_OP_SUM) return none;
    const dd_node *s = dd_graph_node(k->g, k->src[0]);
    const dd_val x = {k->src[0]};
    const unsigned axes = (unsigned)k->n->attr[0], row = row_of(s->shape, axes);
    dd_val y = none;
    if (row) return dd_sum(k->g, dd_sum(k->g, x, row), axes & ~row);
    switch (s->op) {
    case DD_OP_SUM: {
        const dd_val inner = {s->src[0]};
        const unsigned all = (unsigned)s->attr[0] | axes;
        return row_of(dd_shape_of(k->g, inner), all) ? none : dd_sum(k->g, inner, all);
    }
    case DD_OP_EXPAND: return sum_of_expand(k, s);
    case DD_OP_CONST: {
        const double n = s->c * length(s->shape, axes);
        return dd_full(k->g, s->dtype, k->n->shape, s->dtype == DD_F32 ? (double)(float)n : n);
    }
    case DD_OP_NEG: return dd_neg(k->g, dd_sum(k->g, (dd_val){s->src[0]}, axes));
    case DD_OP_MUL:
    case DD_OP_DIV: y = sum_of_product(k, axes); break;
    case DD_OP_ADD:
    case DD_OP_SUB: y = sum_of_terms(k, axes); break;
    default: break;
    }
    return y.id ? y : dd_sum(k->g, x, axes);
}
