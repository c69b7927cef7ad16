/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointwise arithmetic on constants, as the kernels would do it: in double, rounded to the value's precision.
 * Knows the op list only. */
#include "compile/passes.h"

#include <math.h>

static bool fold1(dd_op op, double a, double *y)
{
    switch (op) {
    case DD_OP_NEG: *y = -a; return true;
    case DD_OP_SQRT: *y = sqrt(a); return true;
    case DD_OP_EXP: *y = exp(a); return true;
    case DD_OP_LOG: *y = log(a); return true;
    case DD_OP_SIN: *y = sin(a); return true;
    case DD_OP_COS: *y = cos(a); return true;
    case DD_OP_TANH: *y = tanh(a); return true;
    case DD_OP_ERF: *y = erf(a); return true;
    case DD_OP_FLOOR: *y = floor(a); return true;
    case DD_OP_STEP: *y = a > 0 ? 1 : 0; return true;
    case DD_OP_CAST:
    case DD_OP_STOP: *y = a; return true;
    default: return false;
    }
}

static bool fold2(dd_op op, const double *v, double *y)
{
    const double a = v[0], b = v[1];
    switch (op) {
    case DD_OP_ADD: *y = a + b; return true;
    case DD_OP_SUB: *y = a - b; return true;
    case DD_OP_MUL: *y = a * b; return true;
    case DD_OP_DIV: *y = a / b; return true;
    case DD_OP_MAX: *y = a > b ? a : b; return true;
    case DD_OP_LT: *y = a < b ? 1 : 0; return true;
    case DD_OP_EQ: *y = a == b ? 1 : 0; return true;
    case DD_OP_SELECT: *y = a != 0 ? b : v[2]; return true;
    default: return false;
    }
}

/* Towards zero, saturating, NaN to 0: the conversion of the COPY kernels. */
static double to_i32(double v)
{
    if (v >= 2147483647.0) return 2147483647.0;
    if (v <= -2147483648.0) return -2147483648.0;
    return v == v ? trunc(v) : 0.0;
}

bool dd_fold(dd_op op, dd_dtype t, const double *v, double *out)
{
    if (!fold1(op, v[0], out) && !fold2(op, v, out)) return false;
    if (t == DD_F32) *out = (double)(float)*out;
    if (t == DD_I32) *out = to_i32(*out);
    return true;
}
