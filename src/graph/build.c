/* SPDX-License-Identifier: Apache-2.0
 *
 * One constructor per op. Broadcasting is made explicit here (RESHAPE + EXPAND); a few peepholes keep graphs small
 * from the start. Knows base and tensor. */
#include "graph/graph_internal.h"

#include <string.h>

static const dd_shape no_shape;

static dd_val make(dd_graph *g, dd_op op, dd_shape s, int nsrc, const dd_val *src, int nattr, const int64_t *attr)
{
    const uint32_t ids[3] = {nsrc > 0 ? src[0].id : 0, nsrc > 1 ? src[1].id : 0, nsrc > 2 ? src[2].id : 0};
    return dd_node_make(g, op, DD_F32, s, nsrc, ids, nattr, attr, 0, NULL);
}

static dd_val unary(dd_graph *g, dd_op op, dd_val a)
{
    return make(g, op, no_shape, 1, &a, 0, NULL);
}

/* leaves */

dd_val dd_input(dd_graph *g, const char *name, dd_dtype t, dd_shape s)
{
    return dd_node_make(g, DD_OP_INPUT, t, s, 0, NULL, 0, NULL, 0, name);
}

dd_val dd_full(dd_graph *g, dd_dtype t, dd_shape s, double c)
{
    return dd_node_make(g, DD_OP_CONST, t, s, 0, NULL, 0, NULL, c, NULL);
}

dd_val dd_const(dd_graph *g, dd_dtype t, double c)
{
    return dd_full(g, t, DD_SCALAR, c);
}

dd_val dd_iota(dd_graph *g, dd_dtype t, dd_shape s, int axis)
{
    const int64_t attr = axis;
    return dd_node_make(g, DD_OP_IOTA, t, s, 0, NULL, 1, &attr, 0, NULL);
}

/* pointwise */

dd_val dd_neg(dd_graph *g, dd_val a)
{
    const dd_node *n = dd_at(g, a);
    if (n->op == DD_OP_NEG) return (dd_val){n->src[0]};
    return unary(g, DD_OP_NEG, a);
}

#define UNARY(fn, OP)                                                                                                  \
    dd_val fn(dd_graph *g, dd_val a)                                                                                   \
    {                                                                                                                  \
        return unary(g, OP, a);                                                                                        \
    }
UNARY(dd_sqrt, DD_OP_SQRT)
UNARY(dd_exp, DD_OP_EXP)
UNARY(dd_log, DD_OP_LOG)
UNARY(dd_sin, DD_OP_SIN)
UNARY(dd_cos, DD_OP_COS)
UNARY(dd_tanh, DD_OP_TANH)
UNARY(dd_erf, DD_OP_ERF)
UNARY(dd_kappa0, DD_OP_KAPPA0)
UNARY(dd_kappa_slope, DD_OP_KAPPA_SLOPE)
UNARY(dd_floor, DD_OP_FLOOR)
UNARY(dd_step, DD_OP_STEP)
UNARY(dd_stop, DD_OP_STOP)
#undef UNARY

dd_val dd_cast(dd_graph *g, dd_val a, dd_dtype t)
{
    if (!a.id || dd_dtype_of(g, a) == t) return a;
    return dd_node_make(g, DD_OP_CAST, t, no_shape, 1, &a.id, 0, NULL, 0, NULL);
}

/* The common shape of a and b aligned at the last axis; false if sizes clash. */
static bool broadcast(dd_shape a, dd_shape b, dd_shape *out)
{
    out->rank = a.rank > b.rank ? a.rank : b.rank;
    for (int i = 0; i < out->rank; i++) {
        const int ia = i - (out->rank - a.rank), ib = i - (out->rank - b.rank);
        const int64_t da = ia < 0 ? 1 : a.dim[ia], db = ib < 0 ? 1 : b.dim[ib];
        if (da != db && da != 1 && db != 1) return false;
        out->dim[i] = da == 1 ? db : da;
    }
    return true;
}

dd_val dd_expand(dd_graph *g, dd_val a, dd_shape s)
{
    if (!a.id) return a;
    const dd_node *n = dd_at(g, a);
    if (dd_shape_equal(n->shape, s)) return a;
    if (n->op == DD_OP_CONST && dd_shape_check(s) == DD_OK) return dd_full(g, n->dtype, s, n->c);
    if (n->shape.rank < s.rank) {
        dd_shape lifted = {s.rank, {0}};
        for (int i = 0; i < s.rank; i++) {
            const int j = i - (s.rank - n->shape.rank);
            lifted.dim[i] = j < 0 ? 1 : n->shape.dim[j];
        }
        a = dd_reshape(g, a, lifted);
    }
    if (!a.id || dd_shape_equal(dd_shape_of(g, a), s)) return a;
    return make(g, DD_OP_EXPAND, s, 1, &a, 0, NULL);
}

static dd_val clash(dd_graph *g, dd_op op, dd_val a, dd_val b)
{
    char ta[128], tb[128];
    return dd_poison(g, DD_EINVAL, "%s: shapes %s and %s do not broadcast", dd_op_name(op),
                     dd_shape_text(dd_shape_of(g, a), ta, sizeof ta), dd_shape_text(dd_shape_of(g, b), tb, sizeof tb));
}

static bool is_const(const dd_graph *g, dd_val v, double c)
{
    return dd_at(g, v)->op == DD_OP_CONST && dd_at(g, v)->c == c;
}

/* x+0, x-0, x*1, x/1 are x; x*0 is 0. NaN times 0 is given up on purpose: a masked-out gradient must stay 0. */
static dd_val identity(dd_graph *g, dd_op op, dd_val a, dd_val b)
{
    const dd_val none = {0};
    switch (op) {
    case DD_OP_ADD: return is_const(g, b, 0) ? a : is_const(g, a, 0) ? b : none;
    case DD_OP_SUB: return is_const(g, b, 0) ? a : is_const(g, a, 0) ? dd_neg(g, b) : none;
    case DD_OP_MUL:
        if (is_const(g, a, 0) || is_const(g, b, 1)) return a;
        return is_const(g, b, 0) || is_const(g, a, 1) ? b : none;
    case DD_OP_DIV: return is_const(g, b, 1) || is_const(g, a, 0) ? a : none;
    default: return none;
    }
}

static dd_val binary(dd_graph *g, dd_op op, dd_val a, dd_val b)
{
    dd_shape s;
    if (!a.id || !b.id) return dd_poison(g, DD_EINVAL, "%s: a source is missing", dd_op_name(op));
    if (!broadcast(dd_shape_of(g, a), dd_shape_of(g, b), &s)) return clash(g, op, a, b);
    const dd_val pair[2] = {dd_expand(g, a, s), dd_expand(g, b, s)};
    const dd_val same = identity(g, op, pair[0], pair[1]);
    return same.id ? same : make(g, op, no_shape, 2, pair, 0, NULL);
}

#define BINARY(fn, OP)                                                                                                 \
    dd_val fn(dd_graph *g, dd_val a, dd_val b)                                                                         \
    {                                                                                                                  \
        return binary(g, OP, a, b);                                                                                    \
    }
BINARY(dd_add, DD_OP_ADD)
BINARY(dd_sub, DD_OP_SUB)
BINARY(dd_mul, DD_OP_MUL)
BINARY(dd_div, DD_OP_DIV)
BINARY(dd_max, DD_OP_MAX)
BINARY(dd_lt, DD_OP_LT)
BINARY(dd_eq, DD_OP_EQ)
#undef BINARY

dd_val dd_kappa1(dd_graph *g, dd_val a)
{
    return binary(g, DD_OP_KAPPA1, a, dd_kappa0(g, a));
}

dd_val dd_select(dd_graph *g, dd_val m, dd_val a, dd_val b)
{
    dd_shape s;
    if (!m.id || !a.id || !b.id) return dd_poison(g, DD_EINVAL, "SELECT: a source is missing");
    if (!broadcast(dd_shape_of(g, a), dd_shape_of(g, b), &s)) return clash(g, DD_OP_SELECT, a, b);
    if (!broadcast(s, dd_shape_of(g, m), &s)) return clash(g, DD_OP_SELECT, m, a);
    const dd_val v[3] = {dd_expand(g, m, s), dd_expand(g, a, s), dd_expand(g, b, s)};
    return make(g, DD_OP_SELECT, no_shape, 3, v, 0, NULL);
}

/* movement */

dd_val dd_reshape(dd_graph *g, dd_val a, dd_shape s)
{
    if (!a.id) return a;
    const dd_node *n = dd_at(g, a);
    if (dd_shape_equal(n->shape, s)) return a;
    if (n->op == DD_OP_CONST && dd_shape_count(s) == dd_shape_count(n->shape)) return dd_full(g, n->dtype, s, n->c);
    if (n->op == DD_OP_RESHAPE) return dd_reshape(g, (dd_val){n->src[0]}, s);
    return make(g, DD_OP_RESHAPE, s, 1, &a, 0, NULL);
}

dd_val dd_permute(dd_graph *g, dd_val a, const int *perm)
{
    if (!a.id) return a;
    const dd_node *n = dd_at(g, a);
    const int rank = n->shape.rank;
    int64_t attr[DD_MAX_RANK] = {0};
    bool identical = true;
    const dd_val inner = n->op == DD_OP_PERMUTE ? (dd_val){n->src[0]} : a;
    for (int i = 0; i < rank; i++) {
        if (perm[i] < 0 || perm[i] >= rank)
            return dd_poison(g, DD_EINVAL, "PERMUTE: axis %d of rank %d", perm[i], rank);
        attr[i] = n->op == DD_OP_PERMUTE ? n->attr[perm[i]] : perm[i];
        identical = identical && attr[i] == i;
    }
    return identical ? inner : make(g, DD_OP_PERMUTE, no_shape, 1, &inner, rank, attr);
}

dd_val dd_slice(dd_graph *g, dd_val a, const int64_t *start, const int64_t *count, const int64_t *stride)
{
    if (!a.id) return a;
    dd_shape s = dd_shape_of(g, a);
    int64_t attr[2 * DD_MAX_RANK];
    bool whole = true;
    for (int i = 0; i < s.rank; i++) {
        const int64_t step = stride ? stride[i] : 1;
        whole = whole && start[i] == 0 && count[i] == s.dim[i];
        attr[i] = start[i];
        attr[s.rank + i] = count[i] == 1 ? 1 : step;
        s.dim[i] = count[i];
    }
    return whole ? a : make(g, DD_OP_SLICE, s, 1, &a, 2 * s.rank, attr);
}

dd_val dd_pad(dd_graph *g, dd_val a, const int64_t *lo, const int64_t *hi, const int64_t *interior)
{
    if (!a.id) return a;
    const dd_shape s = dd_shape_of(g, a);
    int64_t attr[3 * DD_MAX_RANK];
    bool none = true;
    for (int i = 0; i < s.rank; i++) {
        attr[i] = lo[i];
        attr[s.rank + i] = hi[i];
        attr[2 * s.rank + i] = s.dim[i] > 1 && interior ? interior[i] : 0;
        none = none && !attr[i] && !attr[s.rank + i] && !attr[2 * s.rank + i];
    }
    return none ? a : make(g, DD_OP_PAD, no_shape, 1, &a, 3 * s.rank, attr);
}

dd_val dd_flip(dd_graph *g, dd_val a, unsigned axes)
{
    const int64_t attr = axes;
    return axes ? make(g, DD_OP_FLIP, no_shape, 1, &a, 1, &attr) : a;
}

dd_val dd_concat(dd_graph *g, int n, const dd_val *v, int axis)
{
    const int64_t attr = axis;
    if (n < 1) return dd_poison(g, DD_EINVAL, "CONCAT of %d sources", n);
    if (n == 1) return v[0];
    uint32_t *ids = dd_arena_alloc(g->arena, (size_t)n * sizeof *ids);
    if (!ids) return dd_poison(g, DD_ENOMEM, "out of memory for a CONCAT of %d sources", n);
    for (int i = 0; i < n; i++) ids[i] = v[i].id;
    return dd_node_make(g, DD_OP_CONCAT, DD_F32, no_shape, n, ids, 1, &attr, 0, NULL);
}

/* reductions */

static dd_val reduce(dd_graph *g, dd_op op, dd_val a, unsigned axes)
{
    if (!a.id) return a;
    const dd_shape s = dd_shape_of(g, a);
    unsigned real = 0; /* axes of size 1 need no work; bits beyond the rank stay and are refused */
    for (int i = 0; i < 32; i++)
        if ((axes >> i & 1u) && (i >= s.rank || s.dim[i] != 1)) real |= 1u << i;
    const int64_t attr = real;
    return real ? make(g, op, no_shape, 1, &a, 1, &attr) : a;
}

dd_val dd_sum(dd_graph *g, dd_val a, unsigned axes)
{
    return reduce(g, DD_OP_SUM, a, axes);
}

dd_val dd_maxr(dd_graph *g, dd_val a, unsigned axes)
{
    return reduce(g, DD_OP_MAXR, a, axes);
}

dd_val dd_argmax(dd_graph *g, dd_val a, int axis)
{
    const int64_t attr = axis;
    return make(g, DD_OP_ARGMAX, no_shape, 1, &a, 1, &attr);
}

/* contraction */

static dd_val lift3(dd_graph *g, dd_val a)
{
    const dd_shape s = dd_shape_of(g, a);
    return s.rank == 2 ? dd_reshape(g, a, DD_SHAPE(1, s.dim[0], s.dim[1])) : a;
}

dd_val dd_matmul(dd_graph *g, dd_val a, dd_val b, bool ta, bool tb)
{
    if (!a.id || !b.id) return dd_poison(g, DD_EINVAL, "MATMUL: a source is missing");
    const bool flat = dd_shape_of(g, a).rank == 2 && dd_shape_of(g, b).rank == 2;
    const dd_val pair[2] = {lift3(g, a), lift3(g, b)};
    const int64_t attr[2] = {ta, tb};
    const dd_val y = make(g, DD_OP_MATMUL, no_shape, 2, pair, 2, attr);
    if (!flat || !y.id) return y;
    const dd_shape s = dd_shape_of(g, y);
    return dd_reshape(g, y, DD_SHAPE(s.dim[1], s.dim[2]));
}

static dd_val conv(dd_graph *g, dd_op op, dd_val a, dd_val b, dd_conv_attr c, dd_shape s)
{
    const dd_val pair[2] = {a, b};
    const int64_t attr[7] = {c.stride[0], c.stride[1], c.pad[0], c.pad[1], c.dilation[0], c.dilation[1], c.groups};
    return make(g, op, s, 2, pair, 7, attr);
}

dd_val dd_conv(dd_graph *g, dd_val x, dd_val w, dd_conv_attr a)
{
    return conv(g, DD_OP_CONV, x, w, a, no_shape);
}

dd_val dd_conv_dx(dd_graph *g, dd_val u, dd_val w, dd_conv_attr a, int64_t h, int64_t width)
{
    const dd_shape su = dd_shape_of(g, u), sw = dd_shape_of(g, w);
    return conv(g, DD_OP_CONV_DX, u, w, a, DD_SHAPE(su.dim[0], sw.dim[1] * a.groups, h, width));
}

dd_val dd_conv_dw(dd_graph *g, dd_val x, dd_val u, dd_conv_attr a, int64_t r, int64_t s)
{
    const dd_shape sx = dd_shape_of(g, x), su = dd_shape_of(g, u);
    const int64_t per = a.groups > 0 ? sx.dim[1] / a.groups : 0;
    return conv(g, DD_OP_CONV_DW, x, u, a, DD_SHAPE(su.dim[1], per, r, s));
}

dd_val dd_spmm(dd_graph *g, dd_val rowptr, dd_val col, dd_val val, dd_val x, int64_t m, int64_t n, bool transposed)
{
    const uint32_t ids[4] = {rowptr.id, col.id, val.id, x.id};
    const int64_t attr[3] = {m, n, transposed};
    return dd_node_make(g, DD_OP_SPMM, DD_F32, no_shape, 4, ids, 3, attr, 0, NULL);
}

/* windows */

static dd_val pool(dd_graph *g, dd_op op, dd_val x, dd_pool_attr a, dd_shape s)
{
    const int64_t attr[6] = {a.kernel[0], a.kernel[1], a.stride[0], a.stride[1], a.pad[0], a.pad[1]};
    return make(g, op, s, 1, &x, 6, attr);
}

dd_val dd_sumpool(dd_graph *g, dd_val x, dd_pool_attr a)
{
    return pool(g, DD_OP_SUMPOOL, x, a, no_shape);
}

dd_val dd_sumpool_t(dd_graph *g, dd_val u, dd_pool_attr a, int64_t h, int64_t w)
{
    const dd_shape s = dd_shape_of(g, u);
    return pool(g, DD_OP_SUMPOOL_T, u, a, DD_SHAPE(s.dim[0], s.dim[1], h, w));
}

dd_val dd_pool_argmax(dd_graph *g, dd_val x, dd_pool_attr a)
{
    return pool(g, DD_OP_POOL_ARGMAX, x, a, no_shape);
}

/* indexing */

static dd_val indexed(dd_graph *g, dd_op op, dd_val x, dd_val i, int64_t along, int64_t extent)
{
    const dd_val pair[2] = {x, i};
    dd_shape s = dd_shape_of(g, x);
    if (op == DD_OP_SCATTER_ADD && s.rank > 0) s.dim[along ? s.rank - 1 : 0] = extent;
    return make(g, op, s, 2, pair, 1, &along);
}

dd_val dd_gather(dd_graph *g, dd_val x, dd_val index)
{
    return indexed(g, DD_OP_GATHER, x, index, 0, 0);
}

dd_val dd_gather_along(dd_graph *g, dd_val x, dd_val index)
{
    return indexed(g, DD_OP_GATHER, x, index, 1, 0);
}

dd_val dd_scatter_add(dd_graph *g, dd_val u, dd_val index, int64_t extent)
{
    return indexed(g, DD_OP_SCATTER_ADD, u, index, 0, extent);
}

dd_val dd_scatter_add_along(dd_graph *g, dd_val u, dd_val index, int64_t extent)
{
    return indexed(g, DD_OP_SCATTER_ADD, u, index, 1, extent);
}

dd_val dd_patchsum(dd_graph *g, dd_val x)
{
    return make(g, DD_OP_PATCHSUM, no_shape, 1, &x, 0, NULL);
}

/* resampling, linear algebra */

static dd_val sampled(dd_graph *g, dd_op op, dd_val x, dd_val a, int64_t h, int64_t w)
{
    const dd_val pair[2] = {x, a};
    const dd_shape s = dd_shape_of(g, x);
    return make(g, op, DD_SHAPE(s.dim[0], s.dim[1], h, w), 2, pair, 0, NULL);
}

dd_val dd_sample(dd_graph *g, dd_val x, dd_val a, int64_t p, int64_t q)
{
    return sampled(g, DD_OP_SAMPLE, x, a, p, q);
}

dd_val dd_sample_t(dd_graph *g, dd_val u, dd_val a, int64_t h, int64_t w)
{
    return sampled(g, DD_OP_SAMPLE_T, u, a, h, w);
}

dd_val dd_spdsolve(dd_graph *g, dd_val a, dd_val b)
{
    const dd_val pair[2] = {a, b};
    return make(g, DD_OP_SPDSOLVE, no_shape, 2, pair, 0, NULL);
}

dd_val dd_logdet(dd_graph *g, dd_val a)
{
    return make(g, DD_OP_LOGDET, no_shape, 1, &a, 0, NULL);
}
