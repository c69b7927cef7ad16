/* SPDX-License-Identifier: Apache-2.0
 *
 * Algebraic rewrites, one node at a time while the graph is rebuilt, repeated until a rebuild changes nothing. Common
 * subexpressions vanish because the new graph interns. Each rule returns the value that replaces the node, or poison
 * (id 0) for "not mine". The public constructors add their own peepholes. Knows graph and base. */
#include "compile/simplify_internal.h"

#include "base/memory.h"

static const dd_val none = {0};

static const dd_node *source(const dd_rule *k, int i)
{
    return dd_graph_node(k->g, k->src[i]);
}

static dd_val val(const dd_rule *k, int i)
{
    return (dd_val){k->src[i]};
}

static bool pointwise(dd_op op)
{
    return (dd_op_flags(op) & DD_F_POINTWISE) != 0;
}

dd_val dd_make_pointwise(dd_graph *g, dd_op op, dd_dtype t, int nsrc, const uint32_t *src)
{
    const dd_val a = {src[0]}, b = {nsrc > 1 ? src[1] : 0};
    switch (op) {
    case DD_OP_NEG: return dd_neg(g, a);
    case DD_OP_ADD: return a.id <= b.id ? dd_add(g, a, b) : dd_add(g, b, a);
    case DD_OP_SUB: return dd_sub(g, a, b);
    case DD_OP_MUL: return a.id <= b.id ? dd_mul(g, a, b) : dd_mul(g, b, a);
    case DD_OP_DIV: return dd_div(g, a, b);
    case DD_OP_CAST: return dd_cast(g, a, t);
    default: return dd_node_make(g, op, t, dd_shape_of(g, a), nsrc, src, 0, NULL, 0, NULL);
    }
}

/* A pointwise op whose sources are all constant. */
static dd_val fold_constants(const dd_rule *k)
{
    double v[3] = {0}, y;
    if (!pointwise(k->n->op)) return none;
    for (int i = 0; i < k->n->nsrc; i++) {
        if (source(k, i)->op != DD_OP_CONST) return none;
        v[i] = source(k, i)->c;
    }
    return dd_fold(k->n->op, k->n->dtype, v, &y) ? dd_full(k->g, k->n->dtype, k->n->shape, y) : none;
}

/* Movement of a constant is a constant of the result's shape. */
static dd_val move_constant(const dd_rule *k)
{
    switch (k->n->op) {
    case DD_OP_RESHAPE:
    case DD_OP_PERMUTE:
    case DD_OP_EXPAND:
    case DD_OP_SLICE:
    case DD_OP_FLIP: break;
    case DD_OP_PAD:
        if (source(k, 0)->c != 0) return none;
        break;
    default: return none;
    }
    const dd_node *s = source(k, 0);
    return s->op == DD_OP_CONST ? dd_full(k->g, s->dtype, k->n->shape, s->c) : none;
}

/* op(EXPAND a, EXPAND b, CONST) = EXPAND(op(a, b, CONST)) when the expansions start from one shape: the arithmetic is
 * done once per distinct element. */
static dd_val hoist_expand(const dd_rule *k)
{
    dd_shape small = {0};
    uint32_t src[3];
    bool found = false;
    if (!pointwise(k->n->op) || k->n->nsrc > 3) return none;
    for (int i = 0; i < k->n->nsrc; i++) {
        const dd_node *s = source(k, i);
        if (s->op == DD_OP_CONST) continue;
        if (s->op != DD_OP_EXPAND) return none;
        const dd_shape from = dd_graph_node(k->g, s->src[0])->shape;
        if (found && !dd_shape_equal(from, small)) return none;
        small = from;
        found = true;
    }
    if (!found) return none;
    for (int i = 0; i < k->n->nsrc; i++) {
        const dd_node *s = source(k, i);
        src[i] = s->op == DD_OP_CONST ? dd_full(k->g, s->dtype, small, s->c).id : s->src[0];
    }
    return dd_expand(k->g, dd_make_pointwise(k->g, k->n->op, k->n->dtype, k->n->nsrc, src), k->n->shape);
}

/* a - a = 0, c * (x * d) = x * cd, -1 * x = -x, c * (-x) = x * -c, a + (-b) = a - b, a - (-b) = a + b */
static dd_val arithmetic(const dd_rule *k)
{
    if (k->n->op != DD_OP_ADD && k->n->op != DD_OP_SUB && k->n->op != DD_OP_MUL) return none;
    if (k->n->op == DD_OP_SUB && k->src[0] == k->src[1]) return dd_full(k->g, k->n->dtype, k->n->shape, 0);
    for (int i = 0; i < 2; i++) {
        const dd_node *a = source(k, i), *b = source(k, 1 - i);
        if (k->n->op == DD_OP_ADD && b->op == DD_OP_NEG) return dd_sub(k->g, val(k, i), (dd_val){b->src[0]});
        if (k->n->op == DD_OP_SUB && i == 0 && b->op == DD_OP_NEG)
            return dd_make_pointwise(k->g, DD_OP_ADD, b->dtype, 2, (uint32_t[]){k->src[0], b->src[0]});
        if (k->n->op != DD_OP_MUL || a->op != DD_OP_CONST) continue;
        if (b->op == DD_OP_NEG) return dd_scale(k->g, (dd_val){b->src[0]}, -a->c);
        if (a->c == -1 && b->op != DD_OP_CONST) return dd_neg(k->g, val(k, 1 - i));
        if (b->op != DD_OP_MUL) continue;
        for (int j = 0; j < 2; j++) {
            const dd_node *d = dd_graph_node(k->g, b->src[j]);
            double c;
            const double pair[2] = {a->c, d->c};
            if (d->op == DD_OP_CONST && dd_fold(DD_OP_MUL, a->dtype, pair, &c))
                return dd_scale(k->g, (dd_val){b->src[1 - j]}, c);
        }
    }
    return none;
}

/* a + a = 2a; a + (b + a) = b + 2a; (a + b) + c, where c is one number a row and nobody else reads a + b, = a + (b +
 * c): a row plus a number is computed by who reads it. */
static dd_val terms(const dd_rule *k)
{
    if (k->n->op != DD_OP_ADD) return none;
    if (k->src[0] == k->src[1]) return dd_scale(k->g, val(k, 0), 2);
    for (int i = 0; i < 2; i++) {
        const dd_node *b = source(k, 1 - i);
        if (b->op != DD_OP_ADD) continue;
        for (int j = 0; j < 2; j++)
            if (b->src[j] == k->src[i]) {
                const dd_val other = {b->src[1 - j]}, twice = dd_scale(k->g, val(k, i), 2);
                return dd_make_pointwise(k->g, DD_OP_ADD, k->n->dtype, 2, (uint32_t[]){other.id, twice.id});
            }
        const int last = b->shape.rank - 1;
        if (last < 2 || source(k, i)->op != DD_OP_EXPAND || !dd_same_along(k->g, k->src[i], 1u << last)) continue;
        if (k->readers[k->n->src[1 - i]] != 1) continue;
        const uint32_t x = b->src[0], y = b->src[1];
        const dd_val moved = dd_make_pointwise(k->g, DD_OP_ADD, k->n->dtype, 2, (uint32_t[]){y, k->src[i]});
        return dd_make_pointwise(k->g, DD_OP_ADD, k->n->dtype, 2, (uint32_t[]){x, moved.id});
    }
    return none;
}

/* Whether the graph has x * y. */
static bool has_product(const dd_graph *g, uint32_t x, uint32_t y)
{
    for (uint32_t id = (x > y ? x : y) + 1; id < dd_graph_size(g); id++) {
        const dd_node *n = dd_graph_node(g, id);
        if (n->op == DD_OP_MUL && (n->src[0] == x || n->src[1] == x) && n->src[0] + n->src[1] == x + y) return true;
    }
    return false;
}

/* The operand of a product or quotient that is one number a row, dividing or not; -1: none is. */
static int number_of(const dd_graph *g, uint32_t id)
{
    const dd_node *n = dd_graph_node(g, id);
    if (n->op != DD_OP_MUL && n->op != DD_OP_DIV) return -1; /* poison, too, which has no axes */
    const unsigned row = 1u << (n->shape.rank - 1);
    if (dd_same_along(g, n->src[1], row)) return 1;
    return n->op == DD_OP_MUL && dd_same_along(g, n->src[0], row) ? 0 : -1;
}

/* (x * c) * y = (x * y) * c, where c is one number a row and x * y is needed, too: a row times a number is computed by
 * who reads it, a product of rows is not. x may have several such factors and divisors. */
static dd_val products(const dd_rule *k)
{
    enum { DEEPEST = 4 };
    const int last = k->n->shape.rank - 1;
    if (k->n->op != DD_OP_MUL || last < 2 || k->n->shape.dim[last] == 1) return none;
    for (int i = 0; i < 2; i++) {
        uint32_t x = k->src[i], before = k->n->src[i], number[DEEPEST];
        dd_op op[DEEPEST];
        for (int n = 0; n < DEEPEST; n++) {
            const int at = number_of(k->g, x), was = number_of(k->old, before);
            if (at < 0 || was < 0) break;
            op[n] = dd_graph_node(k->g, x)->op;
            number[n] = dd_graph_node(k->g, x)->src[at];
            x = dd_graph_node(k->g, x)->src[1 - at];
            before = dd_graph_node(k->old, before)->src[1 - was];
            if (!has_product(k->old, before, k->n->src[1 - i])) continue;
            dd_val v = dd_make_pointwise(k->g, DD_OP_MUL, k->n->dtype, 2, (uint32_t[]){x, k->src[1 - i]});
            for (int m = n; m >= 0; m--)
                v = dd_make_pointwise(k->g, op[m], k->n->dtype, 2, (uint32_t[]){v.id, number[m]});
            return v;
        }
    }
    return none;
}

static dd_val compose_slices(const dd_rule *k)
{
    const dd_node *s = source(k, 0);
    if (k->n->op != DD_OP_SLICE || s->op != DD_OP_SLICE) return none;
    const int rank = s->shape.rank;
    int64_t start[DD_MAX_RANK], step[DD_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        start[i] = s->attr[i] + k->n->attr[i] * s->attr[rank + i];
        step[i] = k->n->attr[rank + i] * s->attr[rank + i];
    }
    return dd_slice(k->g, (dd_val){s->src[0]}, start, k->n->shape.dim, step);
}

/* The part of CONCAT that a slice along its axis lies in, if it lies in one. */
static dd_val slice_of_concat(const dd_rule *k)
{
    const dd_node *s = source(k, 0);
    if (k->n->op != DD_OP_SLICE || s->op != DD_OP_CONCAT) return none;
    const int rank = s->shape.rank, axis = (int)s->attr[0];
    const int64_t first = k->n->attr[axis], last = first + (k->n->shape.dim[axis] - 1) * k->n->attr[rank + axis];
    int64_t at = 0, start[DD_MAX_RANK];
    for (int i = 0; i < s->nsrc; i++) {
        const int64_t width = dd_graph_node(k->g, s->src[i])->shape.dim[axis];
        if (first >= at && last < at + width) {
            for (int j = 0; j < rank; j++) start[j] = k->n->attr[j];
            start[axis] -= at;
            return dd_slice(k->g, (dd_val){s->src[i]}, start, k->n->shape.dim, k->n->attr + rank);
        }
        at += width;
    }
    return none;
}

static dd_val movement(const dd_rule *k)
{
    const dd_node *s = k->n->nsrc ? source(k, 0) : NULL;
    switch (k->n->op) {
    case DD_OP_RESHAPE: return dd_reshape(k->g, val(k, 0), k->n->shape);
    case DD_OP_PERMUTE: {
        int perm[DD_MAX_RANK];
        for (int i = 0; i < k->n->shape.rank; i++) perm[i] = (int)k->n->attr[i];
        return dd_permute(k->g, val(k, 0), perm);
    }
    case DD_OP_EXPAND: return dd_expand(k->g, s->op == DD_OP_EXPAND ? (dd_val){s->src[0]} : val(k, 0), k->n->shape);
    case DD_OP_SLICE: {
        const dd_val y = s->op == DD_OP_SLICE ? compose_slices(k) : slice_of_concat(k);
        return y.id ? y : dd_slice(k->g, val(k, 0), k->n->attr, k->n->shape.dim, k->n->attr + k->n->shape.rank);
    }
    case DD_OP_PAD: {
        const int rank = k->n->shape.rank;
        return dd_pad(k->g, val(k, 0), k->n->attr, k->n->attr + rank, k->n->attr + 2 * rank);
    }
    case DD_OP_FLIP:
        if (s->op == DD_OP_FLIP) return dd_flip(k->g, (dd_val){s->src[0]}, (unsigned)(s->attr[0] ^ k->n->attr[0]));
        return k->n->attr[0] ? none : val(k, 0);
    default: return none;
    }
}

/* The value whose transposition of the last two axes is `id`, under the RESHAPE to rank 3 that matmul adds; 0: none. */
static dd_val untransposed(dd_graph *g, uint32_t id)
{
    const dd_node *n = dd_graph_node(g, id);
    if (n->shape.rank != 3) return none;
    if (n->op == DD_OP_PERMUTE) return n->attr[0] == 0 && n->attr[1] == 2 ? (dd_val){n->src[0]} : none;
    if (n->op != DD_OP_RESHAPE || n->shape.dim[0] != 1) return none;
    const dd_node *p = dd_graph_node(g, n->src[0]);
    if (p->op != DD_OP_PERMUTE || p->shape.rank != 2 || p->shape.dim[0] != n->shape.dim[1]) return none;
    return dd_reshape(g, (dd_val){p->src[0]}, DD_SHAPE(1, p->shape.dim[1], p->shape.dim[0]));
}

static dd_val matmul(const dd_rule *k)
{
    if (k->n->op != DD_OP_MATMUL) return none;
    dd_val pair[2] = {val(k, 0), val(k, 1)};
    bool flag[2] = {k->n->attr[0] != 0, k->n->attr[1] != 0};
    for (int i = 0; i < 2; i++) {
        const dd_val plain = untransposed(k->g, pair[i].id);
        if (!plain.id) continue;
        pair[i] = plain;
        flag[i] = !flag[i];
    }
    return dd_matmul(k->g, pair[0], pair[1], flag[0], flag[1]);
}

static dd_val pointwise_again(const dd_rule *k)
{
    if (!pointwise(k->n->op)) return none;
    if (k->n->op == DD_OP_STOP) return val(k, 0); /* derivatives have been taken */
    return dd_make_pointwise(k->g, k->n->op, k->n->dtype, k->n->nsrc, k->src);
}

typedef struct context {
    const dd_graph *old;
    const uint32_t *readers;
} context;

static dd_val rewrite(dd_graph *to, const dd_node *n, const uint32_t *src, void *ctx)
{
    static const dd_rule_fn rules[] = {fold_constants, move_constant, hoist_expand, arithmetic, terms,
                                       products,       movement,      dd_rule_sums, matmul,     pointwise_again};
    const context *c = ctx;
    const dd_rule k = {to, n, src, c->old, c->readers};
    for (size_t i = 0; n->nsrc > 0 && i < DD_LEN(rules); i++) {
        const dd_val y = rules[i](&k);
        if (y.id) return y;
    }
    return dd_rewrite_none(to, n, src, NULL);
}

static dd_status rewrite_all(const dd_graph *g, dd_graph **out)
{
    const uint32_t size = dd_graph_size(g);
    bool *live = dd_alloc(size, sizeof *live);
    uint32_t *readers = dd_alloc(size, sizeof *readers);
    context c = {g, readers};
    dd_status status = DD_ENOMEM;
    if (live && readers) {
        dd_mark_live(g, live, readers);
        status = dd_rebuild(g, out, rewrite, &c);
    } else {
        dd_fail(DD_ENOMEM, "out of memory while compiling %u graph nodes", size);
    }
    dd_free(live);
    dd_free(readers);
    return status;
}

/* Equal nodes in equal order; both graphs are the product of a rebuild, so ids correspond. */
static bool same_graph(const dd_graph *a, const dd_graph *b)
{
    if (dd_graph_size(a) != dd_graph_size(b)) return false;
    for (uint32_t id = 1; id < dd_graph_size(a); id++) {
        const dd_node *x = dd_graph_node(a, id), *y = dd_graph_node(b, id);
        if (x->op != y->op || x->nsrc != y->nsrc || !dd_shape_equal(x->shape, y->shape)) return false;
        for (int i = 0; i < x->nsrc; i++)
            if (x->src[i] != y->src[i]) return false;
    }
    return true;
}

dd_status dd_simplify(dd_graph **g)
{
    enum { MOST_ROUNDS = 12 }; /* rules shrink the graph; the bound only guards against a cycle of rules */
    for (int i = 0; i < MOST_ROUNDS; i++) {
        dd_graph *next = NULL, *tidy = NULL;
        DD_TRY(rewrite_all(*g, &next));
        const dd_status status = dd_rebuild(next, &tidy, dd_rewrite_none, NULL);
        dd_graph_free(next);
        DD_TRY(status);
        const bool done = same_graph(*g, tidy);
        dd_graph_free(*g);
        *g = tidy;
        if (done) break;
    }
    return DD_OK;
}
