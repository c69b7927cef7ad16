/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of op cases: at least one for every row of ops.def, several where an op has attributes. Inputs stay away
 * from kinks unless a flag says otherwise; symmetric positive definite matrices are K K^T + I from a free K, so that
 * they stay symmetric under perturbation. Knows the graph's constructors. */
#include "op_cases.h"

#define S(...)                                                                                                         \
    {                                                                                                                  \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                                                     \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define NORMAL(...)                                                                                                    \
    {                                                                                                                  \
        OP_NORMAL, S(__VA_ARGS__), 0                                                                                   \
    }
#define POS(...)                                                                                                       \
    {                                                                                                                  \
        OP_POS, S(__VA_ARGS__), 0                                                                                      \
    }
#define UNIT(...)                                                                                                      \
    {                                                                                                                  \
        OP_UNIT, S(__VA_ARGS__), 0                                                                                     \
    }
#define APART(...)                                                                                                     \
    {                                                                                                                  \
        OP_APART, S(__VA_ARGS__), 0                                                                                    \
    }
#define TIES(...)                                                                                                      \
    {                                                                                                                  \
        OP_TIES, S(__VA_ARGS__), 0                                                                                     \
    }
#define MASK(...)                                                                                                      \
    {                                                                                                                  \
        OP_MASK, S(__VA_ARGS__), 0                                                                                     \
    }
#define MAPS(n)                                                                                                        \
    {                                                                                                                  \
        OP_AFFINE, S(n, 2, 3), 0                                                                                       \
    }
#define INDEX(bound, ...)                                                                                              \
    {                                                                                                                  \
        OP_INDEX, S(__VA_ARGS__), bound                                                                                \
    }
#define CSR                                                                                                            \
    {OP_ROWPTR, S(6), 0}, {OP_COL, S(7), 0},                                                                           \
    {                                                                                                                  \
        OP_SPARSE, S(7), 0                                                                                             \
    }

static dd_val leaf(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    dd_shape s = {2, {3, 4}};
    if (c->op == DD_OP_CONST) return dd_mul(g, dd_full(g, t, s, 2.5), in[0]);
    if (c->op == DD_OP_IOTA) return dd_mul(g, dd_iota(g, t, s, (int)c->p[0]), in[0]);
    return in[0];
}

/* A splat and an index pattern alone: nothing depends on the input. */
static dd_val leaf_alone(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    dd_shape s = {2, {3, 4}};
    (void)in;
    return c->op == DD_OP_CONST ? dd_full(g, t, s, 2.5) : dd_iota(g, t, s, (int)c->p[0]);
}

static dd_val unary(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    switch (c->op) {
    case DD_OP_NEG: return dd_neg(g, in[0]);
    case DD_OP_SQRT: return dd_sqrt(g, in[0]);
    case DD_OP_EXP: return dd_exp(g, in[0]);
    case DD_OP_LOG: return dd_log(g, in[0]);
    case DD_OP_SIN: return dd_sin(g, in[0]);
    case DD_OP_COS: return dd_cos(g, in[0]);
    case DD_OP_TANH: return dd_tanh(g, in[0]);
    case DD_OP_ERF: return dd_erf(g, in[0]);
    case DD_OP_KAPPA1: return dd_kappa1(g, in[0]);
    case DD_OP_KAPPA0: return dd_kappa0(g, in[0]);
    case DD_OP_KAPPA_SLOPE: return dd_kappa_slope(g, in[0]);
    case DD_OP_FLOOR: return dd_floor(g, in[0]);
    case DD_OP_STEP: return dd_step(g, in[0]);
    case DD_OP_STOP: return dd_stop(g, in[0]);
    default: return dd_cast(g, in[0], t);
    }
}

/* From i32, or through the other floating type and back. */
static dd_val round_trip(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)c;
    return dd_cast(g, dd_cast(g, in[0], t == DD_F32 ? DD_F64 : DD_F32), t);
}

static dd_val binary(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)t;
    switch (c->op) {
    case DD_OP_ADD: return dd_add(g, in[0], in[1]);
    case DD_OP_SUB: return dd_sub(g, in[0], in[1]);
    case DD_OP_MUL: return dd_mul(g, in[0], in[1]);
    case DD_OP_DIV: return dd_div(g, in[0], in[1]);
    case DD_OP_MAX: return dd_max(g, in[0], in[1]);
    case DD_OP_LT: return dd_lt(g, in[0], in[1]);
    case DD_OP_EQ: return dd_eq(g, in[0], in[1]);
    default: return dd_select(g, in[0], in[1], in[2]);
    }
}

/* p of RESHAPE and EXPAND: rank, sizes */
static dd_val move(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    int r = c->in[0].shape.rank, perm[DD_MAX_RANK];
    dd_shape s = {(int)c->p[0], {0}};
    (void)t;
    for (int i = 0; i < DD_MAX_RANK; i++) perm[i] = (int)c->p[i];
    for (int i = 0; i < DD_MAX_RANK; i++) s.dim[i] = c->p[i + 1];
    switch (c->op) {
    case DD_OP_RESHAPE: return dd_reshape(g, in[0], s);
    case DD_OP_PERMUTE: return dd_permute(g, in[0], perm);
    case DD_OP_EXPAND: return dd_expand(g, in[0], s);
    case DD_OP_SLICE: return dd_slice(g, in[0], c->p, c->p + r, c->p + 2 * r);
    case DD_OP_PAD: return dd_pad(g, in[0], c->p, c->p + r, c->p + 2 * r);
    case DD_OP_FLIP: return dd_flip(g, in[0], (unsigned)c->p[0]);
    default: return dd_concat(g, c->nin, in, (int)c->p[0]);
    }
}

static dd_val reduce(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    if (c->op == DD_OP_SUM) return dd_sum(g, in[0], (unsigned)c->p[0]);
    if (c->op == DD_OP_MAXR) return dd_maxr(g, in[0], (unsigned)c->p[0]);
    return dd_cast(g, dd_argmax(g, in[0], (int)c->p[0]), t);
}

static dd_val matmul(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)t;
    return dd_matmul(g, in[0], in[1], c->p[0] != 0, c->p[1] != 0);
}

static dd_val conv(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    const int64_t *p = c->p;
    dd_conv_attr a = {{(int)p[0], (int)p[1]}, {(int)p[2], (int)p[3]}, {(int)p[4], (int)p[5]}, (int)p[6]};
    (void)t;
    if (c->op == DD_OP_CONV) return dd_conv(g, in[0], in[1], a);
    if (c->op == DD_OP_CONV_DX) return dd_conv_dx(g, in[0], in[1], a, p[7], p[8]);
    return dd_conv_dw(g, in[0], in[1], a, p[7], p[8]);
}

static dd_val spmm(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)t;
    return dd_spmm(g, in[0], in[1], in[2], in[3], c->p[0], c->p[1], c->p[2] != 0);
}

static dd_val pool(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    const int64_t *p = c->p;
    dd_pool_attr a = {{(int)p[0], (int)p[1]}, {(int)p[2], (int)p[3]}, {(int)p[4], (int)p[5]}};
    if (c->op == DD_OP_SUMPOOL) return dd_sumpool(g, in[0], a);
    if (c->op == DD_OP_SUMPOOL_T) return dd_sumpool_t(g, in[0], a, p[6], p[7]);
    return dd_cast(g, dd_pool_argmax(g, in[0], a), t);
}

static dd_val patchsum(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)c, (void)t;
    return dd_patchsum(g, in[0]);
}

/* p: along, extent */
static dd_val indexing(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)t;
    if (c->op == DD_OP_GATHER) return c->p[0] ? dd_gather_along(g, in[0], in[1]) : dd_gather(g, in[0], in[1]);
    if (c->p[0]) return dd_scatter_add_along(g, in[0], in[1], c->p[1]);
    return dd_scatter_add(g, in[0], in[1], c->p[1]);
}

static dd_val sample(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    (void)t;
    if (c->op == DD_OP_SAMPLE) return dd_sample(g, in[0], in[1], c->p[0], c->p[1]);
    return dd_sample_t(g, in[0], in[1], c->p[0], c->p[1]);
}

static dd_val spd(dd_graph *g, const op_case *c, dd_dtype t, const dd_val *in)
{
    int64_t n = c->in[0].shape.dim[1];
    dd_val a = dd_add(g, dd_matmul(g, in[0], in[0], false, true), dd_eye(g, t, n));
    return c->op == DD_OP_SPDSOLVE ? dd_spdsolve(g, a, in[1]) : dd_logdet(g, a);
}

/* clang-format off: one row a case */
/* One row a case. */
/* clang-format off */
static const op_case cases[] = {
    {"input", DD_OP_INPUT, leaf, direct_pointwise, {0}, 1, {NORMAL(3, 4)}, 0},
    {"const", DD_OP_CONST, leaf, NULL, {0}, 1, {NORMAL(3, 4)}, 0},
    {"const/alone", DD_OP_CONST, leaf_alone, NULL, {0}, 1, {NORMAL(3, 4)}, 0},
    {"iota/rows", DD_OP_IOTA, leaf, NULL, {0}, 1, {NORMAL(3, 4)}, 0},
    {"iota/columns", DD_OP_IOTA, leaf, NULL, {1}, 1, {NORMAL(3, 4)}, 0},
    {"iota/alone", DD_OP_IOTA, leaf_alone, NULL, {1}, 1, {NORMAL(3, 4)}, 0},
    {"neg", DD_OP_NEG, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"sqrt", DD_OP_SQRT, unary, direct_pointwise, {0}, 1, {POS(3, 7)}, 0},
    {"exp", DD_OP_EXP, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"log", DD_OP_LOG, unary, direct_pointwise, {0}, 1, {POS(3, 7)}, 0},
    {"sin", DD_OP_SIN, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"cos", DD_OP_COS, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"tanh", DD_OP_TANH, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"erf", DD_OP_ERF, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, 0},
    {"kappa1", DD_OP_KAPPA1, unary, direct_pointwise, {0}, 1, {UNIT(3, 7)}, 0},
    {"kappa0", DD_OP_KAPPA0, unary, direct_pointwise, {0}, 1, {UNIT(3, 7)}, 0},
    {"kappa_slope", DD_OP_KAPPA_SLOPE, unary, direct_pointwise, {0}, 1, {UNIT(3, 7)}, 0},
    {"exp/long", DD_OP_EXP, unary, direct_pointwise, {0}, 1, {NORMAL(2, 3, 67)}, 0},
    {"exp/scalar", DD_OP_EXP, unary, direct_pointwise, {0}, 1, {{OP_NORMAL, {0, {0}}, 0}}, 0},
    {"floor", DD_OP_FLOOR, unary, direct_pointwise, {0}, 1, {APART(3, 7)}, 0},
    {"step", DD_OP_STEP, unary, direct_pointwise, {0}, 1, {APART(3, 7)}, 0},
    {"step/at-zero", DD_OP_STEP, unary, direct_pointwise, {0}, 1, {TIES(3, 7)}, OP_NO_DIFF},
    {"cast/round-trip", DD_OP_CAST, round_trip, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, OP_ROUNDS},
    {"cast/from-i32", DD_OP_CAST, unary, direct_pointwise, {0}, 1, {INDEX(9, 3, 7)}, 0},
    {"stop", DD_OP_STOP, unary, direct_pointwise, {0}, 1, {NORMAL(3, 7)}, OP_NO_DIFF},
    {"add", DD_OP_ADD, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), NORMAL(3, 7)}, 0},
    {"add/channel", DD_OP_ADD, binary, direct_pointwise, {0}, 2, {NORMAL(2, 3, 2, 4), NORMAL(3, 1, 1)}, 0},
    {"sub", DD_OP_SUB, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), NORMAL(3, 7)}, 0},
    {"sub/outer", DD_OP_SUB, binary, direct_pointwise, {0}, 2, {NORMAL(3, 1), NORMAL(1, 7)}, 0},
    {"mul", DD_OP_MUL, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), NORMAL(3, 7)}, 0},
    {"mul/row", DD_OP_MUL, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), NORMAL(7)}, 0},
    {"div", DD_OP_DIV, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), POS(3, 7)}, 0},
    {"div/column", DD_OP_DIV, binary, direct_pointwise, {0}, 2, {NORMAL(3, 7), POS(3, 1)}, 0},
    {"max", DD_OP_MAX, binary, direct_pointwise, {0}, 2, {APART(3, 7), APART(3, 7)}, 0},
    {"max/ties", DD_OP_MAX, binary, direct_pointwise, {0}, 2, {TIES(3, 7), TIES(3, 7)}, OP_ONE_KINK},
    {"lt", DD_OP_LT, binary, direct_pointwise, {0}, 2, {APART(3, 7), APART(3, 7)}, 0},
    {"lt/ties", DD_OP_LT, binary, direct_pointwise, {0}, 2, {TIES(3, 7), TIES(3, 7)}, OP_NO_DIFF},
    {"eq", DD_OP_EQ, binary, direct_pointwise, {0}, 2, {APART(3, 7), APART(3, 7)}, 0},
    {"eq/ties", DD_OP_EQ, binary, direct_pointwise, {0}, 2, {TIES(3, 7), TIES(3, 7)}, OP_NO_DIFF},
    {"select", DD_OP_SELECT, binary, direct_pointwise, {0}, 3, {MASK(3, 7), NORMAL(3, 7), NORMAL(3, 7)}, 0},
    {"select/row", DD_OP_SELECT, binary, direct_pointwise, {0}, 3, {MASK(1, 7), NORMAL(3, 7), NORMAL(3, 1)}, 0},

    {"reshape", DD_OP_RESHAPE, move, direct_move, {3, 2, 2, 6}, 1, {NORMAL(4, 6)}, 0},
    {"permute/2", DD_OP_PERMUTE, move, direct_move, {1, 0}, 1, {NORMAL(4, 6)}, 0},
    {"permute/4", DD_OP_PERMUTE, move, direct_move, {2, 0, 3, 1}, 1, {NORMAL(2, 3, 4, 5)}, 0},
    {"permute/6", DD_OP_PERMUTE, move, direct_move, {5, 3, 1, 0, 2, 4}, 1, {NORMAL(2, 1, 3, 2, 2, 3)}, 0},
    {"expand/column", DD_OP_EXPAND, move, direct_move, {2, 4, 5}, 1, {NORMAL(4, 1)}, 0},
    {"expand/rank", DD_OP_EXPAND, move, direct_move, {4, 2, 3, 2, 4}, 1, {NORMAL(3, 1, 1)}, 0},
    {"expand/scalar", DD_OP_EXPAND, move, direct_move, {2, 3, 2}, 1, {{OP_NORMAL, {0, {0}}, 0}}, 0},
    {"slice/inner", DD_OP_SLICE, move, direct_move, {1, 2, 2, 3, 1, 1}, 1, {NORMAL(4, 7)}, 0},
    {"slice/strides", DD_OP_SLICE, move, direct_move, {0, 1, 1, 2, 2, 3, 3, 2, 2}, 1, {NORMAL(5, 4, 7)}, 0},
    {"pad/edges", DD_OP_PAD, move, direct_move, {1, 0, 2, 3, 0, 0}, 1, {NORMAL(3, 4)}, 0},
    {"pad/interior", DD_OP_PAD, move, direct_move, {1, 0, 2, 0, 2, 1}, 1, {NORMAL(3, 4)}, 0},
    {"flip/last", DD_OP_FLIP, move, direct_move, {8}, 1, {NORMAL(2, 2, 3, 4)}, 0},
    {"flip/both", DD_OP_FLIP, move, direct_move, {5}, 1, {NORMAL(2, 3, 4)}, 0},
    {"concat/0", DD_OP_CONCAT, move, NULL, {0}, 2, {NORMAL(2, 3), NORMAL(4, 3)}, 0},
    {"concat/1", DD_OP_CONCAT, move, NULL, {1}, 3, {NORMAL(2, 3, 2), NORMAL(2, 1, 2), NORMAL(2, 4, 2)}, 0},

    {"sum/100", DD_OP_SUM, reduce, direct_reduce, {1}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/010", DD_OP_SUM, reduce, direct_reduce, {2}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/110", DD_OP_SUM, reduce, direct_reduce, {3}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/001", DD_OP_SUM, reduce, direct_reduce, {4}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/101", DD_OP_SUM, reduce, direct_reduce, {5}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/011", DD_OP_SUM, reduce, direct_reduce, {6}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/111", DD_OP_SUM, reduce, direct_reduce, {7}, 1, {NORMAL(3, 4, 5)}, 0},
    {"sum/batch", DD_OP_SUM, reduce, direct_reduce, {13}, 1, {NORMAL(3, 4, 3, 5)}, 0},
    {"maxr/001", DD_OP_MAXR, reduce, direct_reduce, {4}, 1, {APART(3, 4, 5)}, 0},
    {"maxr/010", DD_OP_MAXR, reduce, direct_reduce, {2}, 1, {APART(3, 4, 5)}, 0},
    {"maxr/101", DD_OP_MAXR, reduce, direct_reduce, {5}, 1, {APART(3, 4, 5)}, 0},
    {"maxr/111", DD_OP_MAXR, reduce, direct_reduce, {7}, 1, {APART(3, 4, 5)}, 0},
    {"maxr/ties", DD_OP_MAXR, reduce, direct_reduce, {2}, 1, {TIES(3, 5)}, OP_NO_DIFF},
    {"argmax/last", DD_OP_ARGMAX, reduce, direct_reduce, {2}, 1, {APART(3, 4, 5)}, 0},
    {"argmax/first", DD_OP_ARGMAX, reduce, direct_reduce, {0}, 1, {APART(3, 4, 5)}, 0},
    {"argmax/ties", DD_OP_ARGMAX, reduce, direct_reduce, {1}, 1, {TIES(4, 6)}, OP_NO_DIFF},

    {"matmul/nn", DD_OP_MATMUL, matmul, direct_matmul, {0, 0}, 2, {NORMAL(3, 4), NORMAL(4, 5)}, 0},
    {"matmul/nt", DD_OP_MATMUL, matmul, direct_matmul, {0, 1}, 2, {NORMAL(3, 4), NORMAL(5, 4)}, 0},
    {"matmul/tn", DD_OP_MATMUL, matmul, direct_matmul, {1, 0}, 2, {NORMAL(4, 3), NORMAL(4, 5)}, 0},
    {"matmul/tt", DD_OP_MATMUL, matmul, direct_matmul, {1, 1}, 2, {NORMAL(4, 3), NORMAL(5, 4)}, 0},
    {"matmul/batch-nn", DD_OP_MATMUL, matmul, direct_matmul, {0, 0}, 2, {NORMAL(2, 3, 4), NORMAL(2, 4, 5)}, 0},
    {"matmul/batch-nt", DD_OP_MATMUL, matmul, direct_matmul, {0, 1}, 2, {NORMAL(2, 3, 4), NORMAL(2, 5, 4)}, 0},
    {"matmul/batch-tn", DD_OP_MATMUL, matmul, direct_matmul, {1, 0}, 2, {NORMAL(2, 4, 3), NORMAL(2, 4, 5)}, 0},
    {"matmul/batch-tt", DD_OP_MATMUL, matmul, direct_matmul, {1, 1}, 2, {NORMAL(2, 4, 3), NORMAL(2, 5, 4)}, 0},
    {"matmul/vector", DD_OP_MATMUL, matmul, direct_matmul, {0, 0}, 2, {NORMAL(1, 4), NORMAL(4, 1)}, 0},

    /* sh sw ph pw dh dw groups */
    {"conv/3x3", DD_OP_CONV, conv, direct_conv, {1, 1, 1, 1, 1, 1, 1}, 2, {NORMAL(2, 3, 5, 5), NORMAL(4, 3, 3, 3)}, 0},
    {"conv/pad3", DD_OP_CONV, conv, direct_conv, {1, 1, 3, 3, 1, 1, 1}, 2, {NORMAL(2, 1, 4, 4), NORMAL(3, 1, 3, 3)}, 0},
    {"conv/1x1", DD_OP_CONV, conv, direct_conv, {1, 1, 0, 0, 1, 1, 1}, 2, {NORMAL(2, 3, 4, 3), NORMAL(2, 3, 1, 1)}, 0},
    {"conv/stride",
     DD_OP_CONV,
     conv,
     direct_conv,
     {2, 3, 1, 0, 1, 1, 1},
     2,
     {NORMAL(2, 2, 7, 8), NORMAL(3, 2, 3, 2)},
     0},
    {"conv/dilation",
     DD_OP_CONV,
     conv,
     direct_conv,
     {1, 2, 2, 1, 2, 3, 1},
     2,
     {NORMAL(1, 2, 7, 8), NORMAL(2, 2, 3, 2)},
     0},
    {"conv/groups",
     DD_OP_CONV,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 2},
     2,
     {NORMAL(2, 4, 4, 4), NORMAL(6, 2, 3, 3)},
     0},
    {"conv/depthwise",
     DD_OP_CONV,
     conv,
     direct_conv,
     {2, 2, 1, 1, 1, 1, 3},
     2,
     {NORMAL(2, 3, 5, 5), NORMAL(3, 1, 3, 3)},
     0},
    {"conv/5x5", DD_OP_CONV, conv, direct_conv, {1, 1, 0, 0, 1, 1, 1}, 2, {NORMAL(2, 2, 6, 7), NORMAL(3, 2, 5, 5)}, 0},
    {"conv_dx/3x3",
     DD_OP_CONV_DX,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 1, 5, 5},
     2,
     {NORMAL(2, 4, 5, 5), NORMAL(4, 3, 3, 3)},
     0},
    {"conv_dx/pad3",
     DD_OP_CONV_DX,
     conv,
     direct_conv,
     {1, 1, 3, 3, 1, 1, 1, 4, 4},
     2,
     {NORMAL(2, 3, 8, 8), NORMAL(3, 1, 3, 3)},
     0},
    {"conv_dx/stride",
     DD_OP_CONV_DX,
     conv,
     direct_conv,
     {2, 3, 1, 0, 1, 1, 1, 7, 8},
     2,
     {NORMAL(2, 3, 4, 3), NORMAL(3, 2, 3, 2)},
     0},
    {"conv_dx/dilation",
     DD_OP_CONV_DX,
     conv,
     direct_conv,
     {1, 2, 2, 1, 2, 3, 1, 7, 8},
     2,
     {NORMAL(1, 2, 7, 4), NORMAL(2, 2, 3, 2)},
     0},
    {"conv_dx/groups",
     DD_OP_CONV_DX,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 2, 4, 4},
     2,
     {NORMAL(2, 6, 4, 4), NORMAL(6, 2, 3, 3)},
     0},
    {"conv_dw/3x3",
     DD_OP_CONV_DW,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 1, 3, 3},
     2,
     {NORMAL(2, 3, 5, 5), NORMAL(2, 4, 5, 5)},
     0},
    {"conv_dw/pad3",
     DD_OP_CONV_DW,
     conv,
     direct_conv,
     {1, 1, 3, 3, 1, 1, 1, 3, 3},
     2,
     {NORMAL(2, 1, 4, 4), NORMAL(2, 3, 8, 8)},
     0},
    {"conv_dw/stride",
     DD_OP_CONV_DW,
     conv,
     direct_conv,
     {2, 3, 1, 0, 1, 1, 1, 3, 2},
     2,
     {NORMAL(2, 2, 7, 8), NORMAL(2, 3, 4, 3)},
     0},
    {"conv_dw/dilation",
     DD_OP_CONV_DW,
     conv,
     direct_conv,
     {1, 2, 2, 1, 2, 3, 1, 3, 2},
     2,
     {NORMAL(1, 2, 7, 8), NORMAL(1, 2, 7, 4)},
     0},
    {"conv_dw/groups",
     DD_OP_CONV_DW,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 2, 3, 3},
     2,
     {NORMAL(2, 4, 4, 4), NORMAL(2, 6, 4, 4)},
     0},
    {"spmm", DD_OP_SPMM, spmm, direct_spmm, {5, 4, 0}, 4, {CSR, NORMAL(4, 3)}, 0},
    {"spmm/transposed", DD_OP_SPMM, spmm, direct_spmm, {5, 4, 1}, 4, {CSR, NORMAL(5, 3)}, 0},

    /* kh kw sh sw ph pw (h w) */
    {"sumpool/2x2", DD_OP_SUMPOOL, pool, direct_pool, {2, 2, 2, 2, 0, 0}, 1, {NORMAL(2, 3, 4, 6)}, 0},
    {"sumpool/overlap", DD_OP_SUMPOOL, pool, direct_pool, {3, 3, 2, 2, 1, 1}, 1, {NORMAL(2, 2, 6, 5)}, 0},
    {"sumpool/uneven", DD_OP_SUMPOOL, pool, direct_pool, {3, 2, 1, 2, 0, 1}, 1, {NORMAL(2, 2, 5, 5)}, 0},
    {"sumpool/gaps", DD_OP_SUMPOOL, pool, direct_pool, {2, 1, 3, 2, 0, 0}, 1, {NORMAL(1, 2, 6, 5)}, 0},
    {"sumpool_t/2x2", DD_OP_SUMPOOL_T, pool, direct_pool, {2, 2, 2, 2, 0, 0, 4, 6}, 1, {NORMAL(2, 3, 2, 3)}, 0},
    {"sumpool_t/overlap", DD_OP_SUMPOOL_T, pool, direct_pool, {3, 3, 2, 2, 1, 1, 6, 5}, 1, {NORMAL(2, 2, 3, 3)}, 0},
    {"sumpool_t/odd", DD_OP_SUMPOOL_T, pool, direct_pool, {2, 2, 2, 2, 0, 0, 5, 5}, 1, {NORMAL(2, 2, 2, 2)}, 0},
    {"pool_argmax/2x2", DD_OP_POOL_ARGMAX, pool, direct_pool, {2, 2, 2, 2, 0, 0}, 1, {APART(2, 3, 4, 6)}, 0},
    {"pool_argmax/overlap", DD_OP_POOL_ARGMAX, pool, direct_pool, {3, 3, 2, 2, 1, 1}, 1, {APART(2, 2, 6, 5)}, 0},
    {"pool_argmax/ties", DD_OP_POOL_ARGMAX, pool, direct_pool, {3, 3, 2, 2, 1, 1}, 1, {TIES(2, 2, 6, 5)}, OP_NO_DIFF},

    {"gather/rows", DD_OP_GATHER, indexing, direct_index, {0}, 2, {NORMAL(5, 3), INDEX(5, 8)}, 0},
    {"gather/images", DD_OP_GATHER, indexing, direct_index, {0}, 2, {NORMAL(4, 2, 3, 2), INDEX(4, 3)}, 0},
    {"gather/along", DD_OP_GATHER, indexing, direct_index, {1}, 2, {NORMAL(2, 3, 5), INDEX(5, 2, 3, 7)}, 0},
    {"scatter_add/rows", DD_OP_SCATTER_ADD, indexing, direct_index, {0, 5}, 2, {NORMAL(8, 3), INDEX(5, 8)}, 0},
    {"scatter_add/along",
     DD_OP_SCATTER_ADD,
     indexing,
     direct_index,
     {1, 5},
     2,
     {NORMAL(2, 3, 7), INDEX(5, 2, 3, 7)},
     0},
    {"patchsum/pairs", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(2, 3, 4, 2, 3, 4)}, 0},
    {"patchsum/one", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(1, 4, 3, 5, 1, 1)}, 0},
    {"patchsum/column", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(2, 4, 1, 3, 4, 1)}, 0},
    {"patchsum/point", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(2, 1, 1, 3, 1, 1)}, 0},
    {"patchsum/line", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(2, 1, 5, 3, 1, 5)}, 0},
    {"sample/same", DD_OP_SAMPLE, sample, direct_sample, {5, 6}, 2, {NORMAL(4, 2, 5, 6), MAPS(4)}, 0},
    {"sample/resize", DD_OP_SAMPLE, sample, direct_sample, {4, 7}, 2, {NORMAL(4, 2, 6, 5), MAPS(4)}, 0},
    {"sample_t/same", DD_OP_SAMPLE_T, sample, direct_sample, {5, 6}, 2, {NORMAL(4, 2, 5, 6), MAPS(4)}, 0},
    {"sample_t/resize", DD_OP_SAMPLE_T, sample, direct_sample, {6, 5}, 2, {NORMAL(4, 2, 4, 7), MAPS(4)}, 0},

    {"spdsolve", DD_OP_SPDSOLVE, spd, NULL, {0}, 2, {NORMAL(1, 4, 4), NORMAL(1, 4, 3)}, 0},
    {"spdsolve/batch", DD_OP_SPDSOLVE, spd, NULL, {0}, 2, {NORMAL(2, 3, 3), NORMAL(2, 3, 1)}, 0},
    {"logdet", DD_OP_LOGDET, spd, direct_logdet, {0}, 1, {NORMAL(1, 5, 5)}, 0},
    {"logdet/batch", DD_OP_LOGDET, spd, direct_logdet, {0}, 1, {NORMAL(3, 3, 3)}, 0},

    {"exp/large", DD_OP_EXP, unary, direct_pointwise, {0}, 1, {NORMAL(40, 1501)}, OP_LARGE},
    {"mul/large", DD_OP_MUL, binary, direct_pointwise, {0}, 2, {NORMAL(40, 1501), NORMAL(40, 1)}, OP_LARGE},
    {"permute/large", DD_OP_PERMUTE, move, direct_move, {1, 2, 0}, 1, {NORMAL(40, 37, 41)}, OP_LARGE},
    {"sum/large-all", DD_OP_SUM, reduce, NULL, {3}, 1, {NORMAL(40, 1501)}, OP_LARGE},
    {"sum/large-rows", DD_OP_SUM, reduce, NULL, {2}, 1, {NORMAL(40, 1501)}, OP_LARGE},
    {"sum/large-columns", DD_OP_SUM, reduce, NULL, {1}, 1, {NORMAL(1501, 40)}, OP_LARGE},
    {"sum/large-batch", DD_OP_SUM, reduce, NULL, {13}, 1, {NORMAL(16, 12, 16, 16)}, OP_LARGE},
    {"maxr/large", DD_OP_MAXR, reduce, NULL, {3}, 1, {NORMAL(40, 1501)}, OP_LARGE},
    {"matmul/large", DD_OP_MATMUL, matmul, direct_matmul, {0, 1}, 2, {NORMAL(131, 97), NORMAL(65, 97)}, OP_LARGE},
    {"conv/large",
     DD_OP_CONV,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 1},
     2,
     {NORMAL(4, 8, 12, 12), NORMAL(16, 8, 3, 3)},
     OP_LARGE},
    {"conv/winograd",
     DD_OP_CONV,
     conv,
     direct_conv,
     {1, 1, 1, 1, 1, 1, 1},
     2,
     {NORMAL(4, 32, 8, 8), NORMAL(32, 32, 3, 3)},
     OP_LARGE},
    {"conv/large-pad3",
     DD_OP_CONV,
     conv,
     direct_conv,
     {1, 1, 3, 3, 1, 1, 1},
     2,
     {NORMAL(6, 1, 28, 28), NORMAL(16, 1, 3, 3)},
     OP_LARGE},
    {"sumpool/large", DD_OP_SUMPOOL, pool, direct_pool, {3, 3, 2, 2, 1, 1}, 1, {NORMAL(8, 16, 17, 16)}, OP_LARGE},
    {"gather/large", DD_OP_GATHER, indexing, direct_index, {0}, 2, {NORMAL(50, 301), INDEX(50, 120)}, OP_LARGE},
    {"patchsum/large", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(2, 7, 9, 4, 7, 9)}, OP_LARGE},
    {"patchsum/long", DD_OP_PATCHSUM, patchsum, direct_patchsum, {0}, 1, {NORMAL(1, 3, 2, 2500, 1, 1)}, OP_LARGE},
    {"sample/large", DD_OP_SAMPLE, sample, direct_sample, {28, 28}, 2, {NORMAL(12, 3, 28, 28), MAPS(12)}, OP_LARGE},
};
/* clang-format on */
/* clang-format on */

int op_case_count(void)
{
    return (int)DD_LEN(cases);
}

const op_case *op_case_at(int i)
{
    return &cases[i];
}
