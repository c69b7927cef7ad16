/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole calculus: for each op, the gradients of its sources in terms of the incoming gradient `g`, written with the
 * public constructors, so that a derivative of a graph is a graph and any order is a repetition. Knows base, tensor. */
#include "graph/graph_internal.h"

/* One call's operands: the graph, the node's own value, its sources and the incoming gradient. */
typedef struct vjp {
    dd_graph *g;
    dd_val y, a, b, c, up;
    dd_op op;
    dd_shape sa, sb; /* of a and b */
    dd_dtype t;      /* of a */
    int nsrc;
    const uint32_t *src;
    const int64_t *attr;
} vjp;

static dd_val like(const vjp *v, dd_val x, double c)
{
    return dd_full(v->g, dd_dtype_of(v->g, x), dd_shape_of(v->g, x), c);
}

static dd_val vjp_unary(const vjp *v)
{
    dd_graph *g = v->g;
    switch (v->op) {
    case DD_OP_NEG: return dd_neg(g, v->up);
    case DD_OP_SQRT: return dd_div(g, dd_scale(g, v->up, 0.5), v->y);
    case DD_OP_EXP: return dd_mul(g, v->up, v->y);
    case DD_OP_LOG: return dd_div(g, v->up, v->a);
    case DD_OP_SIN: return dd_mul(g, v->up, dd_cos(g, v->a));
    case DD_OP_COS: return dd_neg(g, dd_mul(g, v->up, dd_sin(g, v->a)));
    case DD_OP_TANH: return dd_mul(g, v->up, dd_sub(g, like(v, v->y, 1), dd_square(g, v->y)));
    case DD_OP_ERF: /* 2/sqrt(pi) */
        return dd_mul(g, v->up, dd_scale(g, dd_exp(g, dd_neg(g, dd_square(g, v->a))), 1.12837916709551257390));
    case DD_OP_KAPPA0: return dd_mul(g, v->up, dd_kappa_slope(g, v->a));
    case DD_OP_KAPPA_SLOPE: /* (2 pi)^2 */
        return dd_mul(g, v->up,
                      dd_mul(g, dd_scale(g, v->a, 39.4784176043574344753), dd_mul(g, v->y, dd_square(g, v->y))));
    case DD_OP_CAST: return dd_is_float(v->t) ? dd_cast(g, v->up, v->t) : (dd_val){0};
    default: return (dd_val){0};
    }
}

/* Weight of `x` in MAX(x, o): 1 where larger, one half at ties. */
static dd_val max_share(const vjp *v, dd_val x, dd_val o)
{
    dd_graph *g = v->g;
    return dd_mul(g, v->up, dd_add(g, dd_lt(g, o, x), dd_scale(g, dd_eq(g, x, o), 0.5)));
}

static void vjp_binary(const vjp *v, dd_val *out)
{
    dd_graph *g = v->g;
    switch (v->op) {
    case DD_OP_ADD: out[0] = out[1] = v->up; break;
    case DD_OP_SUB:
        out[0] = v->up;
        out[1] = dd_neg(g, v->up);
        break;
    case DD_OP_MUL:
        out[0] = dd_mul(g, v->up, v->b);
        out[1] = dd_mul(g, v->up, v->a);
        break;
    case DD_OP_DIV:
        out[0] = dd_div(g, v->up, v->b);
        out[1] = dd_neg(g, dd_mul(g, out[0], v->y));
        break;
    case DD_OP_KAPPA1: out[0] = dd_mul(g, v->up, v->b); break;
    case DD_OP_MAX:
        out[0] = max_share(v, v->a, v->b);
        out[1] = max_share(v, v->b, v->a);
        break;
    case DD_OP_SELECT: {
        const dd_val zero = like(v, v->up, 0);
        out[1] = dd_select(g, v->a, v->up, zero);
        out[2] = dd_select(g, v->a, zero, v->up);
        break;
    }
    default: break;
    }
}

static dd_val vjp_permute(const vjp *v)
{
    int inverse[DD_MAX_RANK];
    for (int i = 0; i < v->sa.rank; i++) inverse[v->attr[i]] = i;
    return dd_permute(v->g, v->up, inverse);
}

static dd_val vjp_expand(const vjp *v)
{
    const dd_shape s = dd_shape_of(v->g, v->y);
    unsigned grown = 0;
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] != v->sa.dim[i]) grown |= 1u << i;
    return dd_sum(v->g, v->up, grown);
}

static dd_val vjp_slice(const vjp *v)
{
    const dd_shape s = dd_shape_of(v->g, v->y);
    int64_t lo[DD_MAX_RANK], hi[DD_MAX_RANK], gap[DD_MAX_RANK];
    for (int i = 0; i < s.rank; i++) {
        const int64_t start = v->attr[i], stride = v->attr[s.rank + i];
        lo[i] = start;
        hi[i] = v->sa.dim[i] - (start + (s.dim[i] - 1) * stride + 1);
        gap[i] = stride - 1;
    }
    return dd_pad(v->g, v->up, lo, hi, gap);
}

static dd_val vjp_pad(const vjp *v)
{
    int64_t stride[DD_MAX_RANK];
    for (int i = 0; i < v->sa.rank; i++) stride[i] = v->attr[2 * v->sa.rank + i] + 1;
    return dd_slice(v->g, v->up, v->attr, v->sa.dim, stride);
}

static void vjp_concat(const vjp *v, dd_val *out)
{
    int64_t start[DD_MAX_RANK] = {0};
    for (int i = 0; i < v->nsrc; i++) {
        const dd_shape s = dd_shape_of(v->g, (dd_val){v->src[i]});
        out[i] = dd_slice(v->g, v->up, start, s.dim, NULL);
        start[v->attr[0]] += s.dim[v->attr[0]];
    }
}

static dd_val vjp_maxr(const vjp *v)
{
    dd_graph *g = v->g;
    const dd_val m = dd_eq(g, v->a, dd_expand(g, v->y, v->sa));
    const dd_val share = dd_div(g, v->up, dd_sum(g, m, (unsigned)v->attr[0]));
    return dd_mul(g, m, dd_expand(g, share, v->sa));
}

static void vjp_matmul(const vjp *v, dd_val *out)
{
    dd_graph *g = v->g;
    const bool ta = v->attr[0] != 0, tb = v->attr[1] != 0;
    out[0] = ta ? dd_matmul(g, v->b, v->up, tb, true) : dd_matmul(g, v->up, v->b, false, !tb);
    out[1] = tb ? dd_matmul(g, v->up, v->a, true, ta) : dd_matmul(g, v->a, v->up, !ta, false);
}

static void vjp_conv(const vjp *v, dd_val *out)
{
    dd_graph *g = v->g;
    const int64_t *t = v->attr, *a = v->sa.dim, *b = v->sb.dim;
    const dd_conv_attr at = {{(int)t[0], (int)t[1]}, {(int)t[2], (int)t[3]}, {(int)t[4], (int)t[5]}, (int)t[6]};
    if (v->op == DD_OP_CONV) { /* x, w */
        out[0] = dd_conv_dx(g, v->up, v->b, at, a[2], a[3]);
        out[1] = dd_conv_dw(g, v->a, v->up, at, b[2], b[3]);
    } else if (v->op == DD_OP_CONV_DX) { /* u, w */
        out[0] = dd_conv(g, v->up, v->b, at);
        out[1] = dd_conv_dw(g, v->up, v->a, at, b[2], b[3]);
    } else { /* x, u */
        out[0] = dd_conv_dx(g, v->b, v->up, at, a[2], a[3]);
        out[1] = dd_conv(g, v->a, v->up, at);
    }
}

static dd_val vjp_pool(const vjp *v)
{
    const int64_t *t = v->attr;
    const dd_pool_attr at = {{(int)t[0], (int)t[1]}, {(int)t[2], (int)t[3]}, {(int)t[4], (int)t[5]}};
    if (v->op == DD_OP_SUMPOOL) return dd_sumpool_t(v->g, v->up, at, v->sa.dim[2], v->sa.dim[3]);
    return dd_sumpool(v->g, v->up, at);
}

static dd_val vjp_index(const vjp *v)
{
    dd_graph *g = v->g;
    const bool along = v->attr[0] != 0;
    if (v->op == DD_OP_GATHER)
        return along ? dd_scatter_add_along(g, v->up, v->b, v->sa.dim[2])
                     : dd_scatter_add(g, v->up, v->b, v->sa.dim[0]);
    return along ? dd_gather_along(g, v->up, v->b) : dd_gather(g, v->up, v->b);
}

static void vjp_solve(const vjp *v, dd_val *out)
{
    dd_graph *g = v->g;
    out[1] = dd_spdsolve(g, v->a, v->up);
    out[0] = dd_neg(g, dd_matmul(g, out[1], v->y, false, true));
}

static dd_val vjp_logdet(const vjp *v)
{
    dd_graph *g = v->g;
    const dd_val eye = dd_expand(g, dd_eye(g, v->t, v->sa.dim[1]), v->sa);
    return dd_mul(g, v->up, dd_spdsolve(g, v->a, eye));
}

void dd_node_vjp(dd_graph *g, uint32_t id, dd_val up, dd_val *out)
{
    /* a copy: rules append nodes, which may move the array */
    const dd_node n = g->node[id];
    vjp v = {.g = g, .y = {id}, .up = up, .op = n.op, .nsrc = n.nsrc, .src = n.src, .attr = n.attr};
    if (n.nsrc > 0) v.a.id = n.src[0];
    if (n.nsrc > 1) v.b.id = n.src[1];
    if (n.nsrc > 2) v.c.id = n.src[2];
    v.sa = dd_shape_of(g, v.a);
    v.sb = dd_shape_of(g, v.b);
    v.t = dd_dtype_of(g, v.a);
    for (int i = 0; i < n.nsrc; i++) out[i].id = 0;
    if (dd_op_flags(n.op) & DD_F_NOGRAD) return;
    switch (n.op) {
    case DD_OP_RESHAPE: out[0] = dd_reshape(g, up, v.sa); break;
    case DD_OP_PERMUTE: out[0] = vjp_permute(&v); break;
    case DD_OP_EXPAND: out[0] = vjp_expand(&v); break;
    case DD_OP_SLICE: out[0] = vjp_slice(&v); break;
    case DD_OP_PAD: out[0] = vjp_pad(&v); break;
    case DD_OP_FLIP: out[0] = dd_flip(g, up, (unsigned)n.attr[0]); break;
    case DD_OP_CONCAT: vjp_concat(&v, out); break;
    case DD_OP_SUM: out[0] = dd_expand(g, up, v.sa); break;
    case DD_OP_MAXR: out[0] = vjp_maxr(&v); break;
    case DD_OP_MATMUL: vjp_matmul(&v, out); break;
    case DD_OP_CONV:
    case DD_OP_CONV_DX:
    case DD_OP_CONV_DW: vjp_conv(&v, out); break;
    case DD_OP_SPMM: out[3] = dd_spmm(g, v.a, v.b, v.c, up, n.attr[0], n.attr[1], !n.attr[2]); break;
    case DD_OP_SUMPOOL:
    case DD_OP_SUMPOOL_T: out[0] = vjp_pool(&v); break;
    case DD_OP_PATCHSUM: out[0] = dd_patchsum(g, up); break;
    case DD_OP_GATHER:
    case DD_OP_SCATTER_ADD: out[0] = vjp_index(&v); break;
    case DD_OP_SAMPLE: out[0] = dd_sample_t(g, up, v.b, v.sa.dim[2], v.sa.dim[3]); break;
    case DD_OP_SAMPLE_T: out[0] = dd_sample(g, up, v.b, v.sa.dim[2], v.sa.dim[3]); break;
    case DD_OP_SPDSOLVE: vjp_solve(&v, out); break;
    case DD_OP_LOGDET: out[0] = vjp_logdet(&v); break;
    default:
        if (n.nsrc == 1) out[0] = vjp_unary(&v);
        if (n.nsrc > 1) vjp_binary(&v, out);
    }
}
