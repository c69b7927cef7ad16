/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the ops from their definitions, in the plainest loops and independently of every kernel: the oracle of
 * the oracle. Output-driven (each output element gathers its terms), whereas kernels mostly scatter. */
#include "op_cases.h"

#include <math.h>

#define PI 3.14159265358979323846

static void unravel(dd_shape s, int64_t flat, int64_t *at)
{
    for (int i = s.rank - 1; i >= 0; i--) {
        at[i] = flat % s.dim[i];
        flat /= s.dim[i];
    }
}

static int64_t ravel(dd_shape s, const int64_t *at)
{
    int64_t flat = 0;
    for (int i = 0; i < s.rank; i++) flat = flat * s.dim[i] + at[i];
    return flat;
}

/* x[n,c,h,w], zero outside */
static double at4(const double *x, dd_shape s, int64_t n, int64_t c, int64_t h, int64_t w)
{
    if (h < 0 || h >= s.dim[2] || w < 0 || w >= s.dim[3]) return 0;
    return x[((n * s.dim[1] + c) * s.dim[2] + h) * s.dim[3] + w];
}

static double scalar_op(dd_op op, double a, double b, double c)
{
    switch (op) {
    case DD_OP_NEG: return -a;
    case DD_OP_SQRT: return sqrt(a);
    case DD_OP_EXP: return exp(a);
    case DD_OP_LOG: return log(a);
    case DD_OP_SIN: return sin(a);
    case DD_OP_COS: return cos(a);
    case DD_OP_TANH: return tanh(a);
    case DD_OP_ERF: return erf(a);
    case DD_OP_KAPPA1: return (sin(acos(a)) + a * (PI - acos(a))) / (2 * PI);
    case DD_OP_KAPPA0: return 0.25 + asin(a) / (2 * PI);
    case DD_OP_KAPPA_SLOPE: return 1 / (2 * PI * cos(asin(a)));
    case DD_OP_FLOOR: return floor(a);
    case DD_OP_STEP: return a > 0 ? 1 : 0;
    case DD_OP_ADD: return a + b;
    case DD_OP_SUB: return a - b;
    case DD_OP_MUL: return a * b;
    case DD_OP_DIV: return a / b;
    case DD_OP_MAX: return a > b ? a : b;
    case DD_OP_LT: return a < b ? 1 : 0;
    case DD_OP_EQ: return a < b || a > b ? 0 : 1;
    case DD_OP_SELECT: return a < 0 || a > 0 ? b : c;
    default: return a; /* INPUT, STOP, CAST */
    }
}

void direct_pointwise(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        int64_t at[DD_MAX_RANK];
        double v[3] = {0};
        unravel(out, i, at);
        for (int k = 0; k < c->nin; k++) { /* sources align at the last axis, size 1 repeats */
            dd_shape s = c->in[k].shape;
            int64_t here[DD_MAX_RANK] = {0};
            for (int a = 0; a < s.rank; a++) here[a] = s.dim[a] == 1 ? 0 : at[a + out.rank - s.rank];
            v[k] = in[k][ravel(s, here)];
        }
        y[i] = scalar_op(c->op, v[0], v[1], v[2]);
    }
}

static double pad_value(const op_case *c, const double *x, const int64_t *at)
{
    dd_shape s = c->in[0].shape;
    int64_t here[DD_MAX_RANK] = {0};
    for (int a = 0; a < s.rank; a++) {
        int64_t d = at[a] - c->p[a], step = c->p[2 * s.rank + a] + 1;
        if (d < 0 || d % step != 0 || d / step >= s.dim[a]) return 0;
        here[a] = d / step;
    }
    return x[ravel(s, here)];
}

void direct_move(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    dd_shape s = c->in[0].shape;
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        int64_t at[DD_MAX_RANK], here[DD_MAX_RANK] = {0};
        unravel(out, i, at);
        if (c->op == DD_OP_RESHAPE) y[i] = in[0][i];
        if (c->op == DD_OP_PAD) y[i] = pad_value(c, in[0], at);
        if (c->op == DD_OP_RESHAPE || c->op == DD_OP_PAD) continue;
        for (int a = 0; a < s.rank; a++) {
            int64_t o = at[a + out.rank - s.rank];
            if (c->op == DD_OP_PERMUTE) here[c->p[a]] = at[a];
            if (c->op == DD_OP_EXPAND) here[a] = s.dim[a] == 1 ? 0 : o;
            if (c->op == DD_OP_SLICE) here[a] = c->p[a] + o * c->p[2 * s.rank + a];
            if (c->op == DD_OP_FLIP) here[a] = (c->p[0] >> a) & 1 ? s.dim[a] - 1 - o : o;
        }
        y[i] = in[0][ravel(s, here)];
    }
}

/* Is position `at` of the source in the group of output element `o`? */
static bool in_group(dd_shape out, const int64_t *at, const int64_t *o)
{
    for (int a = 0; a < out.rank; a++)
        if (out.dim[a] != 1 && at[a] != o[a]) return false;
    return true;
}

void direct_reduce(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    dd_shape s = c->in[0].shape;
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        int64_t o[DD_MAX_RANK], at[DD_MAX_RANK];
        double sum = 0, best = -(double)INFINITY, arg = 0;
        unravel(out, i, o);
        for (int64_t k = 0; k < dd_shape_count(s); k++) {
            unravel(s, k, at);
            if (!in_group(out, at, o)) continue;
            sum += in[0][k];
            if (c->op == DD_OP_ARGMAX && in[0][k] > best) arg = (double)at[c->p[0]];
            best = fmax(best, in[0][k]);
        }
        y[i] = c->op == DD_OP_SUM ? sum : c->op == DD_OP_MAXR ? best : arg;
    }
}

void direct_matmul(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    int r = out.rank;
    dd_shape sa = c->in[0].shape, sb = c->in[1].shape;
    int64_t m = out.dim[r - 2], n = out.dim[r - 1], k = c->p[0] ? sa.dim[r - 2] : sa.dim[r - 1];
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        int64_t col = i % n, row = i / n % m, b = i / (n * m);
        double sum = 0;
        for (int64_t l = 0; l < k; l++)
            sum += in[0][b * m * k + (c->p[0] ? l * sa.dim[r - 1] + row : row * k + l)] *
                   in[1][b * k * n + (c->p[1] ? col * sb.dim[r - 1] + l : l * n + col)];
        y[i] = sum;
    }
}

/* The three convolutions share one sum over (n, o, c, r, s, p, q) of products; each output keeps its own indices.
 * p = stride, pad, dilation (2 each), groups. */
typedef struct conv_dims {
    dd_shape x, w, u;
} conv_dims;

static void conv_term(const op_case *c, const conv_dims *d, const int64_t *t, const double *const *in, double *y)
{
    int64_t n = t[0], o = t[1], ci = t[2], r = t[3], s = t[4], p = t[5], q = t[6];
    int64_t h = p * c->p[0] - c->p[2] + r * c->p[4], w = q * c->p[1] - c->p[3] + s * c->p[5];
    if (h < 0 || h >= d->x.dim[2] || w < 0 || w >= d->x.dim[3]) return;
    int64_t group = o / (d->w.dim[0] / c->p[6]);
    int64_t ix = ((n * d->x.dim[1] + group * d->w.dim[1] + ci) * d->x.dim[2] + h) * d->x.dim[3] + w;
    int64_t iw = ((o * d->w.dim[1] + ci) * d->w.dim[2] + r) * d->w.dim[3] + s;
    int64_t iu = ((n * d->u.dim[1] + o) * d->u.dim[2] + p) * d->u.dim[3] + q;
    if (c->op == DD_OP_CONV) y[iu] += in[0][ix] * in[1][iw];
    if (c->op == DD_OP_CONV_DX) y[ix] += in[0][iu] * in[1][iw];
    if (c->op == DD_OP_CONV_DW) y[iw] += in[0][ix] * in[1][iu];
}

void direct_conv(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    conv_dims d = {c->in[0].shape, c->in[1].shape, out};
    if (c->op == DD_OP_CONV_DX) d = (conv_dims){out, c->in[1].shape, c->in[0].shape};
    if (c->op == DD_OP_CONV_DW) d = (conv_dims){c->in[0].shape, out, c->in[1].shape};
    dd_shape space = {6, {d.u.dim[0], d.w.dim[0], d.w.dim[1], d.w.dim[2], d.w.dim[3], d.u.dim[2]}};
    for (int64_t i = 0; i < dd_shape_count(out); i++) y[i] = 0;
    for (int64_t i = 0; i < dd_shape_count(space); i++) {
        int64_t t[7];
        unravel(space, i, t);
        for (t[6] = 0; t[6] < d.u.dim[3]; t[6]++) conv_term(c, &d, t, in, y);
    }
}

/* in: rowptr, col, val, x; p = m, n, transposed */
void direct_spmm(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    int64_t f = out.dim[1];
    for (int64_t i = 0; i < dd_shape_count(out); i++) y[i] = 0;
    for (int64_t row = 0; row < c->p[0]; row++)
        for (int64_t e = (int64_t)in[0][row]; e < (int64_t)in[0][row + 1]; e++)
            for (int64_t j = 0; j < f; j++) {
                int64_t col = (int64_t)in[1][e];
                if (c->p[2])
                    y[col * f + j] += in[2][e] * in[3][row * f + j];
                else
                    y[row * f + j] += in[2][e] * in[3][col * f + j];
            }
}

/* p = kernel, stride, pad (2 each) */
static void pool_at(const op_case *c, const double *x, const int64_t *o, double *y)
{
    dd_shape s = c->in[0].shape;
    double sum = 0, best = -(double)INFINITY, arg = 0;
    for (int64_t r = 0; r < c->p[0]; r++)
        for (int64_t q = 0; q < c->p[1]; q++) {
            int64_t h = o[2] * c->p[2] - c->p[4] + r, w = o[3] * c->p[3] - c->p[5] + q;
            if (h < 0 || h >= s.dim[2] || w < 0 || w >= s.dim[3]) continue;
            double v = at4(x, s, o[0], o[1], h, w);
            sum += v;
            if (v > best) arg = (double)(h * s.dim[3] + w);
            best = fmax(best, v);
        }
    *y = c->op == DD_OP_SUMPOOL ? sum : arg;
}

/* Every input element asks which windows hold it. */
static double unpool_at(const op_case *c, const double *u, const int64_t *o)
{
    dd_shape s = c->in[0].shape;
    double sum = 0;
    for (int64_t p = 0; p < s.dim[2]; p++)
        for (int64_t q = 0; q < s.dim[3]; q++) {
            int64_t r = o[2] - (p * c->p[2] - c->p[4]), t = o[3] - (q * c->p[3] - c->p[5]);
            if (r >= 0 && r < c->p[0] && t >= 0 && t < c->p[1]) sum += at4(u, s, o[0], o[1], p, q);
        }
    return sum;
}

void direct_pool(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        int64_t o[DD_MAX_RANK];
        unravel(out, i, o);
        if (c->op == DD_OP_SUMPOOL_T)
            y[i] = unpool_at(c, in[0], o);
        else
            pool_at(c, in[0], o, &y[i]);
    }
}

/* p[0]: along. Rows are the trailing elements of axis 0, or single elements of the last axis. */
void direct_index(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    dd_shape s = c->in[0].shape, xs = c->op == DD_OP_GATHER ? s : out, us = c->op == DD_OP_GATHER ? out : s;
    int axis = c->p[0] ? 2 : 0;
    int64_t inner = 1, outer = c->p[0] ? xs.dim[0] * xs.dim[1] : 1, v = xs.dim[axis], m = us.dim[axis];
    for (int a = axis + 1; a < xs.rank; a++) inner *= xs.dim[a];
    for (int64_t i = 0; i < dd_shape_count(out); i++) y[i] = 0;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t k = 0; k < m; k++)
            for (int64_t j = 0; j < inner; j++) {
                int64_t row = (int64_t)in[1][c->p[0] ? o * m + k : k];
                int64_t ix = (o * v + row) * inner + j, iu = (o * m + k) * inner + j;
                if (c->op == DD_OP_GATHER)
                    y[iu] = in[0][ix];
                else
                    y[ix] += in[0][iu];
            }
}

void direct_patchsum(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    (void)c;
    const bool both = out.dim[4] * out.dim[5] > 1;
    for (int64_t i = 0; i < dd_shape_count(out); i++) {
        y[i] = 0;
        for (int64_t k = 0; k < 9; k++) {
            int64_t at[DD_MAX_RANK];
            bool inside = true;
            unravel(out, i, at);
            at[1] += k / 3 - 1;
            at[2] += k % 3 - 1;
            if (both) {
                at[4] += k / 3 - 1;
                at[5] += k % 3 - 1;
            }
            for (int j = 0; j < 6; j++) inside = inside && at[j] >= 0 && at[j] < out.dim[j];
            if (inside) y[i] += in[0][ravel(out, at)];
        }
    }
}

/* The weight with which pixel (h, w) of the big image enters output (p, q): product of two hats. */
static double hat_weight(const double *a, const int64_t *o, dd_shape big, dd_shape small, int64_t h, int64_t w)
{
    double y = (double)o[2] - 0.5 * (double)(small.dim[2] - 1), x = (double)o[3] - 0.5 * (double)(small.dim[3] - 1);
    double sy = a[0] * y + a[1] * x + a[2] + 0.5 * (double)(big.dim[2] - 1);
    double sx = a[3] * y + a[4] * x + a[5] + 0.5 * (double)(big.dim[3] - 1);
    return fmax(0, 1 - fabs(sy - (double)h)) * fmax(0, 1 - fabs(sx - (double)w));
}

void direct_sample(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    bool forward = c->op == DD_OP_SAMPLE;
    dd_shape s = c->in[0].shape, big = forward ? s : out, small = forward ? out : s;
    int64_t plane = big.dim[2] * big.dim[3];
    for (int64_t i = 0; i < dd_shape_count(out); i++) y[i] = 0;
    for (int64_t k = 0; k < dd_shape_count(small); k++) {
        int64_t o[DD_MAX_RANK];
        unravel(small, k, o);
        for (int64_t j = 0; j < plane; j++) {
            double t = hat_weight(in[1] + 6 * o[0], o, big, small, j / big.dim[3], j % big.dim[3]);
            int64_t ix = (o[0] * big.dim[1] + o[1]) * plane + j;
            if (forward)
                y[k] += t * in[0][ix];
            else
                y[ix] += t * in[0][k];
        }
    }
}

/* log det (K K^T + I) by elimination; K [b,n,n] with n <= 8 */
void direct_logdet(const op_case *c, dd_shape out, const double *const *in, double *y)
{
    int64_t n = c->in[0].shape.dim[1];
    for (int64_t b = 0; b < out.dim[0]; b++) {
        double a[8][8];
        y[b] = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                a[i][j] = i == j ? 1 : 0;
                for (int64_t k = 0; k < n; k++) a[i][j] += in[0][(b * n + i) * n + k] * in[0][(b * n + j) * n + k];
            }
        for (int64_t i = 0; i < n; i++) {
            y[b] += log(a[i][i]);
            for (int64_t r = i + 1; r < n; r++)
                for (int64_t j = n - 1; j >= i; j--) a[r][j] -= a[r][i] / a[i][i] * a[i][j];
        }
    }
}
