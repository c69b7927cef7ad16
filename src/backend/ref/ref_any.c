/* SPDX-License-Identifier: Apache-2.0
 *
 * Reference kernels for the instructions that take any strides or mix element types: pointwise, copies, fills,
 * reductions, gather and scatter. Elements are read as double and rounded when written, which is exact for i32 and
 * gives the correctly rounded single-precision result of one operation. */
#include "backend/ref/ref_internal.h"

#include <math.h>
#include <string.h>

static double load(dd_dtype t, const void *p, int64_t i)
{
    if (t == DD_F32) return (double)((const float *)p)[i];
    return t == DD_F64 ? ((const double *)p)[i] : (double)((const int32_t *)p)[i];
}

/* To i32: towards zero, saturating; a NaN becomes 0. */
static void store(dd_dtype t, void *p, int64_t i, double v)
{
    if (t == DD_F32)
        ((float *)p)[i] = (float)v;
    else if (t == DD_F64)
        ((double *)p)[i] = v;
    else
        ((int32_t *)p)[i] = v >= 2147483647.0 ? INT32_MAX : v <= -2147483648.0 ? INT32_MIN : v == v ? (int32_t)v : 0;
}

/* A counter over a box that keeps the element offsets of up to 4 operands. */
typedef struct walk {
    int rank, nop;
    int64_t dim[DD_MAX_RANK], at[DD_MAX_RANK], stride[DD_INSTR_SRC][DD_MAX_RANK], off[DD_INSTR_SRC];
} walk;

static void walk_add(walk *w, const dd_view *v)
{
    memcpy(w->stride[w->nop], v->stride, sizeof v->stride);
    w->off[w->nop++] = 0;
}

static walk walk_new(const dd_view *box)
{
    walk w = {.rank = box->rank};
    memcpy(w.dim, box->dim, sizeof w.dim);
    walk_add(&w, box);
    return w;
}

/* Steps to the next element; false, and back at the first, after the last. */
static bool walk_next(walk *w)
{
    for (int i = w->rank - 1; i >= 0; i--) {
        w->at[i]++;
        for (int k = 0; k < w->nop; k++) w->off[k] += w->stride[k][i];
        if (w->at[i] < w->dim[i]) return true;
        for (int k = 0; k < w->nop; k++) w->off[k] -= w->stride[k][i] * w->dim[i];
        w->at[i] = 0;
    }
    return false;
}

/* Whether normal numbers of this correlation count as equal or opposite. */
static bool aligned(double a, bool single)
{
    return fabs(a) > (single ? (double)(float)DD_KAPPA_TOP_F32 : DD_KAPPA_TOP_F64);
}

static const double turn = 6.28318530717958647693; /* 2 pi */

static double kappa0(double a, bool single)
{
    return aligned(a, single) ? (a > 0 ? 0.5 : 0) : 0.5 - acos(a) / turn;
}

static double kappa_slope(double a, bool single)
{
    return aligned(a, single) ? 0 : 1 / (turn * sqrt((1 - a) * (1 + a)));
}

static double kappa1(double a, double k0, bool single)
{
    return a * k0 + (aligned(a, single) ? 0 : sqrt((1 - a) * (1 + a)) / turn);
}

static double ew1(dd_ew e, double a, bool single)
{
    switch (e) {
    case DD_EW_NEG: return -a;
    case DD_EW_SQRT: return sqrt(a);
    case DD_EW_EXP: return exp(a);
    case DD_EW_LOG: return log(a);
    case DD_EW_SIN: return sin(a);
    case DD_EW_COS: return cos(a);
    case DD_EW_TANH: return tanh(a);
    case DD_EW_ERF: return erf(a);
    case DD_EW_KAPPA0: return kappa0(a, single);
    case DD_EW_KAPPA_SLOPE: return kappa_slope(a, single);
    case DD_EW_FLOOR: return floor(a);
    default: return a > 0.0 ? 1.0 : 0.0; /* STEP */
    }
}

static double ew(dd_ew e, const double *v, bool single)
{
    switch (e) {
    case DD_EW_ADD: return v[0] + v[1];
    case DD_EW_SUB: return v[0] - v[1];
    case DD_EW_MUL: return v[0] * v[1];
    case DD_EW_DIV: return v[0] / v[1];
    case DD_EW_KAPPA1: return kappa1(v[0], v[1], single);
    case DD_EW_MAX: return v[0] > v[1] ? v[0] : v[1];
    case DD_EW_LT: return v[0] < v[1] ? 1.0 : 0.0;
    case DD_EW_EQ: return v[0] == v[1] ? 1.0 : 0.0;
    case DD_EW_SELECT: return v[0] != 0.0 ? v[1] : v[2];
    default: return ew1(e, v[0], single);
    }
}

static dd_status pointwise(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    walk w = walk_new(&in->dst);
    for (int k = 0; k < in->nsrc; k++) walk_add(&w, &in->src[k]);
    do {
        double v[DD_INSTR_SRC] = {0};
        for (int k = 0; k < in->nsrc; k++) v[k] = load(in->src[k].dtype, in->in[k], w.off[k + 1]);
        store(in->dst.dtype, in->out, w.off[0], ew(in->ew, v, in->src[0].dtype == DD_F32));
    } while (walk_next(&w));
    return DD_OK;
}

static dd_status copy(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    walk w = walk_new(&in->dst);
    walk_add(&w, &in->src[0]);
    do store(in->dst.dtype, in->out, w.off[0], load(in->src[0].dtype, in->in[0], w.off[1]));
    while (walk_next(&w));
    return DD_OK;
}

static dd_status fill(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    walk w = walk_new(&in->dst);
    do store(in->dst.dtype, in->out, w.off[0], in->c);
    while (walk_next(&w));
    return DD_OK;
}

static dd_status iota(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    const int axis = (int)in->attr[0];
    int64_t inner = 1;
    for (int i = axis + 1; i < in->dst.rank; i++) inner *= in->dst.dim[i];
    for (int64_t e = 0; e < dd_view_count(&in->dst); e++)
        store(in->dst.dtype, in->out, e, (double)(e / inner % in->dst.dim[axis]));
    return DD_OK;
}

/* SUM, SUMMUL and MAXR: for each element of dst a walk over the axes that dst has reduced to 1. */
static dd_status reduce(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    dd_view kept = in->src[0], gone = in->src[0];
    for (int i = 0; i < kept.rank; i++) *(in->dst.dim[i] == 1 ? &kept.dim[i] : &gone.dim[i]) = 1;
    walk w = walk_new(&kept);
    if (in->nsrc > 1) walk_add(&w, &in->src[1]);
    int64_t e = 0;
    do {
        walk r = walk_new(&gone);
        if (in->nsrc > 1) walk_add(&r, &in->src[1]);
        double acc = in->kind == DD_K_MAXR ? -HUGE_VAL : 0.0;
        do {
            double v = load(in->src[0].dtype, in->in[0], w.off[0] + r.off[0]);
            if (in->kind == DD_K_SUMMUL) v *= load(in->src[1].dtype, in->in[1], w.off[1] + r.off[1]);
            acc = in->kind != DD_K_MAXR ? acc + v : v > acc ? v : acc;
        } while (walk_next(&r));
        store(in->dst.dtype, in->out, e++, acc);
    } while (walk_next(&w));
    return DD_OK;
}

static dd_status check_index(const int32_t *index, int64_t n, int64_t extent)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= extent)
            return dd_fail(DD_EINVAL, "index %d at position %lld is outside 0..%lld", index[i], (long long)i,
                           (long long)extent - 1);
    return DD_OK;
}

/* long [V,f] or, along, rows of [V]; picked [M,f] or rows of [M]. GATHER: picked = long[index];
 * SCATTER_ADD: long = 0, long[index] += picked, in the order of the index. */
static dd_status gather(dd_backend *b, const dd_instr *in, void *scratch)
{
    (void)b, (void)scratch;
    const bool along = in->attr[0] != 0, add = in->kind == DD_K_SCATTER_ADD;
    const dd_view *lv = add ? &in->dst : &in->src[0], *pv = add ? &in->src[0] : &in->dst;
    const int32_t *index = in->in[1];
    const int64_t nindex = dd_view_count(&in->src[1]), extent = lv->dim[along ? lv->rank - 1 : 0];
    const int64_t width = dd_view_count(pv) / nindex, m = along ? pv->dim[pv->rank - 1] : nindex;
    DD_TRY(check_index(index, nindex, extent));
    if (add) memset(in->out, 0, (size_t)dd_view_count(lv) * dd_dtype_size(lv->dtype));
    for (int64_t e = 0; e < nindex * width; e++) {
        const int64_t i = e / width, at = (i / m * extent + index[i]) * width + e % width;
        const double v = load(in->src[0].dtype, in->in[0], add ? e : at);
        if (add)
            store(lv->dtype, in->out, at, load(lv->dtype, in->out, at) + v);
        else
            store(pv->dtype, in->out, e, v);
    }
    return DD_OK;
}

dd_kernel dd_ref_any(dd_kind kind)
{
    static const dd_kernel table[DD_K_COUNT] = {
        [DD_K_POINTWISE] = pointwise, [DD_K_COPY] = copy,     [DD_K_FILL] = fill,
        [DD_K_IOTA] = iota,           [DD_K_SUM] = reduce,    [DD_K_SUMMUL] = reduce,
        [DD_K_MAXR] = reduce,         [DD_K_GATHER] = gather, [DD_K_SCATTER_ADD] = gather};
    return table[kind];
}
