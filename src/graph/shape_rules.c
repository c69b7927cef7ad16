/* SPDX-License-Identifier: Apache-2.0
 *
 * The shape rule of every op: what dtype and shape a node has, and the sentence for sources that do not fit.
 * Knows base and tensor. */
#include "graph/graph_internal.h"

#include <string.h>

typedef struct ctx {
    dd_op op;
    const dd_node *s[4];
    int nsrc;
    const int64_t *attr;
} ctx;

static dd_status bad(const ctx *k, const char *why)
{
    char a[128] = "", b[128] = "";
    if (k->nsrc > 0) dd_shape_text(k->s[0]->shape, a, sizeof a);
    if (k->nsrc > 1) dd_shape_text(k->s[1]->shape, b, sizeof b);
    return dd_fail(DD_EINVAL, "%s(%s%s%s): %s", dd_op_name(k->op), a, k->nsrc > 1 ? ", " : "", b, why);
}

static bool rank_is(const ctx *k, int i, int rank)
{
    return k->s[i]->shape.rank == rank;
}

static dd_status pointwise(const ctx *k, dd_dtype *t, dd_shape *s)
{
    const dd_dtype own = k->s[0]->dtype;
    if (k->op == DD_OP_CAST) {
        if (!dd_is_float(*t) && *t != DD_I32) return bad(k, "casts go to f32, f64 or i32");
    } else if (k->op == DD_OP_STOP) {
        *t = own;
    } else {
        if (!dd_is_float(own)) return bad(k, "the source must be floating (cast it first)");
        *t = own;
    }
    for (int i = 1; i < k->nsrc; i++) {
        if (!dd_shape_equal(k->s[i]->shape, k->s[0]->shape)) return bad(k, "shapes differ");
        if (k->s[i]->dtype != own) return bad(k, "dtypes differ");
    }
    *s = k->s[0]->shape;
    return DD_OK;
}

static dd_status leaf(const ctx *k, dd_dtype t, dd_shape s)
{
    if (t != DD_F32 && t != DD_F64 && t != DD_I32) return bad(k, "graph values are f32, f64 or i32");
    if (k->op == DD_OP_IOTA && (k->attr[0] < 0 || k->attr[0] >= s.rank)) return bad(k, "axis out of range");
    return dd_shape_check(s);
}

static dd_status permute(const ctx *k, dd_shape *s)
{
    const dd_shape in = k->s[0]->shape;
    unsigned seen = 0;
    s->rank = in.rank;
    for (int i = 0; i < in.rank; i++) {
        const int64_t p = k->attr[i];
        if (p < 0 || p >= in.rank || (seen >> p & 1u)) return bad(k, "not a permutation of the axes");
        seen |= 1u << p;
        s->dim[i] = in.dim[p];
    }
    return DD_OK;
}

static dd_status expand(const ctx *k, const dd_shape *s)
{
    const dd_shape in = k->s[0]->shape;
    DD_TRY(dd_shape_check(*s));
    if (s->rank != in.rank) return bad(k, "EXPAND keeps the rank (reshape first)");
    for (int i = 0; i < in.rank; i++)
        if (in.dim[i] != s->dim[i] && in.dim[i] != 1) return bad(k, "only axes of size 1 grow");
    return DD_OK;
}

/* attr: start[rank], stride[rank]; counts are the shape */
static dd_status slice(const ctx *k, const dd_shape *s)
{
    const dd_shape in = k->s[0]->shape;
    if (s->rank != in.rank) return bad(k, "rank differs");
    DD_TRY(dd_shape_check(*s));
    for (int i = 0; i < in.rank; i++) {
        const int64_t start = k->attr[i], stride = k->attr[in.rank + i];
        if (stride < 1 || start < 0 || start + (s->dim[i] - 1) * stride >= in.dim[i])
            return bad(k, "the slice leaves its source");
    }
    return DD_OK;
}

static dd_status pad(const ctx *k, dd_shape *s)
{
    const dd_shape in = k->s[0]->shape;
    *s = in;
    for (int i = 0; i < in.rank; i++) {
        const int64_t lo = k->attr[i], hi = k->attr[in.rank + i], gap = k->attr[2 * in.rank + i];
        if (lo < 0 || hi < 0 || gap < 0) return bad(k, "negative padding");
        s->dim[i] = lo + hi + in.dim[i] + (in.dim[i] - 1) * gap;
    }
    return dd_shape_check(*s);
}

static dd_status concat(const dd_graph *g, const ctx *k, int nsrc, const uint32_t *src, dd_shape *s)
{
    const int64_t axis = k->attr[0];
    *s = k->s[0]->shape;
    if (axis < 0 || axis >= s->rank) return bad(k, "axis out of range");
    for (int i = 1; i < nsrc; i++) {
        const dd_node *n = &g->node[src[i]];
        if (n->shape.rank != s->rank || n->dtype != k->s[0]->dtype) return bad(k, "ranks or dtypes differ");
        for (int j = 0; j < s->rank; j++)
            if (j != axis && n->shape.dim[j] != s->dim[j]) return bad(k, "sizes differ beside the axis");
        s->dim[axis] += n->shape.dim[axis];
    }
    return dd_shape_check(*s);
}

static dd_status reduce(const ctx *k, dd_dtype *t, dd_shape *s)
{
    *s = k->s[0]->shape;
    *t = k->s[0]->dtype;
    if (!dd_is_float(*t)) return bad(k, "the source must be floating");
    if (k->op == DD_OP_ARGMAX) {
        if (k->attr[0] < 0 || k->attr[0] >= s->rank) return bad(k, "axis out of range");
        s->dim[k->attr[0]] = 1;
        *t = DD_I32;
        return DD_OK;
    }
    if (k->attr[0] < 0 || k->attr[0] >> s->rank) return bad(k, "axis out of range");
    for (int i = 0; i < s->rank; i++)
        if (k->attr[0] >> i & 1) s->dim[i] = 1;
    return DD_OK;
}

static dd_status matmul(const ctx *k, dd_shape *s)
{
    if (!rank_is(k, 0, 3) || !rank_is(k, 1, 3)) return bad(k, "both need rank 3");
    const int64_t *a = k->s[0]->shape.dim, *b = k->s[1]->shape.dim;
    const bool ta = k->attr[0] != 0, tb = k->attr[1] != 0;
    if (a[0] != b[0]) return bad(k, "batches differ");
    if (a[ta ? 1 : 2] != b[tb ? 2 : 1]) return bad(k, "inner sizes differ");
    s->rank = 3;
    s->dim[0] = a[0];
    s->dim[1] = a[ta ? 2 : 1];
    s->dim[2] = b[tb ? 1 : 2];
    return DD_OK;
}

/* Output size of a window of `size` with stride, pad, dilation over n; 0 if it does not fit. */
static int64_t window(int64_t n, int64_t size, int64_t stride, int64_t pad, int64_t dilation)
{
    const int64_t room = n + 2 * pad - (dilation * (size - 1) + 1);
    return room < 0 ? 0 : room / stride + 1;
}

static dd_status conv_attr(const ctx *k)
{
    for (int i = 0; i < 2; i++)
        if (k->attr[i] < 1 || k->attr[2 + i] < 0 || k->attr[4 + i] < 1) return bad(k, "stride, pad or dilation");
    return k->attr[6] < 1 ? bad(k, "groups < 1") : DD_OK;
}

/* x, w and u must fit each other whichever of the three is the result. */
static dd_status conv_fits(const ctx *k, const int64_t *x, const int64_t *w, const int64_t *u)
{
    const int64_t *a = k->attr, G = a[6];
    if (x[1] % G || w[0] % G || w[1] != x[1] / G) return bad(k, "channels do not fit the weights and groups");
    if (u[0] != x[0] || u[1] != w[0]) return bad(k, "batch or output channels differ");
    for (int i = 0; i < 2; i++) {
        if (window(x[2 + i], w[2 + i], a[i], a[2 + i], a[4 + i]) != u[2 + i] || u[2 + i] < 1)
            return bad(k, "spatial sizes do not fit stride, padding and dilation");
    }
    return DD_OK;
}

static dd_status conv(const ctx *k, dd_shape *s)
{
    if (!rank_is(k, 0, 4) || !rank_is(k, 1, 4)) return bad(k, "both need rank 4");
    DD_TRY(conv_attr(k));
    const int64_t *a = k->s[0]->shape.dim, *b = k->s[1]->shape.dim, *at = k->attr;
    if (k->op == DD_OP_CONV) {
        *s = DD_SHAPE(a[0], b[0], window(a[2], b[2], at[0], at[2], at[4]), window(a[3], b[3], at[1], at[3], at[5]));
        return conv_fits(k, a, b, s->dim);
    }
    if (s->rank != 4) return bad(k, "the result needs rank 4");
    DD_TRY(dd_shape_check(*s));
    return k->op == DD_OP_CONV_DX ? conv_fits(k, s->dim, b, a) : conv_fits(k, a, s->dim, b);
}

static dd_status pool(const ctx *k, dd_dtype *t, dd_shape *s)
{
    if (!rank_is(k, 0, 4)) return bad(k, "needs rank 4");
    const int64_t *a = k->attr, *in = k->s[0]->shape.dim;
    for (int i = 0; i < 2; i++) {
        if (a[i] < 1 || a[2 + i] < 1 || a[4 + i] < 0) return bad(k, "kernel, stride or pad");
        if (a[4 + i] >= a[i]) return bad(k, "padding as large as the window");
    }
    if (k->op == DD_OP_SUMPOOL_T) {
        if (s->rank != 4 || s->dim[0] != in[0] || s->dim[1] != in[1]) return bad(k, "batch or channels differ");
        for (int i = 0; i < 2; i++)
            if (window(s->dim[2 + i], a[i], a[2 + i], a[4 + i], 1) != in[2 + i]) return bad(k, "sizes do not fit");
        return DD_OK;
    }
    *s = k->s[0]->shape;
    for (int i = 0; i < 2; i++) s->dim[2 + i] = window(in[2 + i], a[i], a[2 + i], a[4 + i], 1);
    if (k->op == DD_OP_POOL_ARGMAX) *t = DD_I32;
    return s->dim[2] < 1 || s->dim[3] < 1 ? bad(k, "the window is larger than the image") : DD_OK;
}

static dd_status indexing(const ctx *k, dd_shape *s)
{
    const dd_shape x = k->s[0]->shape, i = k->s[1]->shape;
    const bool along = k->attr[0] != 0, scatter = k->op == DD_OP_SCATTER_ADD;
    if (k->s[1]->dtype != DD_I32) return bad(k, "the index must be i32");
    if (scatter) DD_TRY(dd_shape_check(*s));
    if (along) {
        if (x.rank != 3 || i.rank != 3 || x.dim[0] != i.dim[0] || x.dim[1] != i.dim[1]) return bad(k, "[N,C] differ");
        if (scatter && (x.dim[2] != i.dim[2] || s->rank != 3)) return bad(k, "u and index differ");
        *s = DD_SHAPE(x.dim[0], x.dim[1], scatter ? s->dim[2] : i.dim[2]);
        return DD_OK;
    }
    if (x.rank < 1 || i.rank != 1) return bad(k, "rows need a rank-1 index");
    if (scatter && (x.dim[0] != i.dim[0] || s->rank != x.rank)) return bad(k, "u and index differ");
    const int64_t extent = scatter ? s->dim[0] : i.dim[0];
    *s = x;
    s->dim[0] = extent;
    return DD_OK;
}

static dd_status patchsum(const ctx *k, dd_shape *s)
{
    const dd_shape x = k->s[0]->shape;
    const int64_t *d = x.dim;
    if (x.rank != 6 || !((d[4] == d[1] && d[5] == d[2]) || (d[4] == 1 && d[5] == 1)))
        return bad(k, "needs x [N,H,W,M,P,Q], P x Q being H x W or 1 x 1");
    *s = x;
    return DD_OK;
}

static dd_status sample(const ctx *k, dd_shape *s)
{
    const dd_shape x = k->s[0]->shape, a = k->s[1]->shape;
    if (x.rank != 4 || a.rank != 3 || a.dim[0] != x.dim[0] || a.dim[1] != 2 || a.dim[2] != 3)
        return bad(k, "needs x [N,C,H,W] and A [N,2,3]");
    if (k->s[1]->dtype != k->s[0]->dtype) return bad(k, "dtypes differ");
    if (s->rank != 4 || s->dim[0] != x.dim[0] || s->dim[1] != x.dim[1])
        return bad(k, "the result needs the same [N,C]");
    return dd_shape_check(*s);
}

static dd_status solve(const ctx *k, dd_shape *s)
{
    const dd_shape a = k->s[0]->shape;
    if (a.rank != 3 || a.dim[1] != a.dim[2]) return bad(k, "the matrix must be [b,n,n]");
    if (k->op == DD_OP_LOGDET) {
        *s = DD_SHAPE(a.dim[0], 1, 1);
        return DD_OK;
    }
    const dd_shape b = k->s[1]->shape;
    if (b.rank != 3 || b.dim[0] != a.dim[0] || b.dim[1] != a.dim[1]) return bad(k, "the right side must be [b,n,m]");
    if (k->s[1]->dtype != k->s[0]->dtype) return bad(k, "dtypes differ");
    *s = b;
    return DD_OK;
}

static dd_status spmm(const ctx *k, dd_dtype *t, dd_shape *s)
{
    const dd_node *ptr = k->s[0], *col = k->s[1], *val = k->s[2], *x = k->s[3];
    const int64_t m = k->attr[0], n = k->attr[1], rows_in = k->attr[2] ? m : n;
    if (ptr->dtype != DD_I32 || col->dtype != DD_I32) return bad(k, "row pointers and columns must be i32");
    if (ptr->shape.rank != 1 || ptr->shape.dim[0] != m + 1) return bad(k, "row pointers must be [m+1]");
    if (col->shape.rank != 1 || !dd_shape_equal(col->shape, val->shape)) return bad(k, "columns and values differ");
    if (x->shape.rank != 2 || x->shape.dim[0] != rows_in || x->dtype != val->dtype) return bad(k, "x does not fit");
    *s = DD_SHAPE(k->attr[2] ? n : m, x->shape.dim[1]);
    *t = x->dtype;
    return DD_OK;
}

dd_status dd_node_infer(const dd_graph *g, dd_op op, dd_dtype *dtype, dd_shape *shape, int nsrc, const uint32_t *src,
                        const int64_t *attr)
{
    ctx k = {op, {NULL}, nsrc < 4 ? nsrc : 4, attr};
    for (int i = 0; i < k.nsrc; i++) k.s[i] = &g->node[src[i]];
    if (op == DD_OP_INPUT || op == DD_OP_CONST || op == DD_OP_IOTA) return leaf(&k, *dtype, *shape);
    if (op == DD_OP_POISON || nsrc < 1) return dd_fail(DD_EINVAL, "%s is not an op with sources", dd_op_name(op));
    if (dd_op_flags(op) & DD_F_POINTWISE) return pointwise(&k, dtype, shape);
    *dtype = k.s[0]->dtype;
    switch (op) {
    case DD_OP_RESHAPE:
        DD_TRY(dd_shape_check(*shape));
        return dd_shape_count(*shape) == dd_shape_count(k.s[0]->shape) ? DD_OK : bad(&k, "element counts differ");
    case DD_OP_PERMUTE: return permute(&k, shape);
    case DD_OP_EXPAND: return expand(&k, shape);
    case DD_OP_SLICE: return slice(&k, shape);
    case DD_OP_PAD: return pad(&k, shape);
    case DD_OP_FLIP: *shape = k.s[0]->shape; return attr[0] >> shape->rank ? bad(&k, "axis out of range") : DD_OK;
    case DD_OP_CONCAT: return concat(g, &k, nsrc, src, shape);
    case DD_OP_SUM:
    case DD_OP_MAXR:
    case DD_OP_ARGMAX: return reduce(&k, dtype, shape);
    case DD_OP_SPMM: return spmm(&k, dtype, shape);
    default: break;
    }
    if (!dd_is_float(*dtype)) return bad(&k, "the source must be floating");
    if ((op == DD_OP_MATMUL || op == DD_OP_CONV || op == DD_OP_CONV_DX || op == DD_OP_CONV_DW) &&
        k.s[1]->dtype != *dtype)
        return bad(&k, "dtypes differ");
    switch (op) {
    case DD_OP_MATMUL: return matmul(&k, shape);
    case DD_OP_CONV:
    case DD_OP_CONV_DX:
    case DD_OP_CONV_DW: return conv(&k, shape);
    case DD_OP_SUMPOOL:
    case DD_OP_SUMPOOL_T:
    case DD_OP_POOL_ARGMAX: return pool(&k, dtype, shape);
    case DD_OP_PATCHSUM: return patchsum(&k, shape);
    case DD_OP_GATHER:
    case DD_OP_SCATTER_ADD: return indexing(&k, shape);
    case DD_OP_SAMPLE:
    case DD_OP_SAMPLE_T: return sample(&k, shape);
    case DD_OP_SPDSOLVE:
    case DD_OP_LOGDET: return solve(&k, shape);
    default: return dd_fail(DD_EINVAL, "%s has no shape rule", dd_op_name(op));
    }
}
