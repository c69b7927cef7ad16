/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel ridge regression in graphs. Knows graph. */
#include "nn/krr.h"

enum { TRIES = 8 };

dd_val dd_krr_weights(dd_graph *g, dd_val kss, dd_val y, dd_val ridge)
{
    const dd_shape s = dd_shape_of(g, y);
    const int64_t n = s.dim[0], classes = s.dim[1];
    const dd_val k = dd_cast(g, kss, DD_F64), eye = dd_eye(g, DD_F64, n);
    const dd_val trace = dd_sum_all(g, dd_mul(g, k, eye));
    const dd_val a = dd_add(g, k, dd_mul(g, eye, dd_scale(g, dd_mul(g, ridge, trace), 1 / (double)n)));
    const dd_val b = dd_spdsolve(g, dd_reshape(g, a, DD_SHAPE(1, n, n)),
                                 dd_reshape(g, dd_cast(g, y, DD_F64), DD_SHAPE(1, n, classes)));
    return dd_reshape(g, b, DD_SHAPE(n, classes));
}

dd_val dd_krr_predict(dd_graph *g, dd_val kst, dd_val weights)
{
    return dd_matmul(g, kst, dd_cast(g, weights, dd_dtype_of(g, kst)), true, false);
}

dd_val dd_krr_loss(dd_graph *g, dd_val predicted, dd_val y, double z)
{
    return dd_scale(g, dd_sum_all(g, dd_square(g, dd_sub(g, predicted, y))), 0.5 / z);
}

dd_status dd_krr_exec(dd_program *p, double *factor, double ridge)
{
    *factor = ridge;
    dd_status s = dd_exec(p);
    for (int i = 0; i < TRIES && s == DD_ENUMERIC; i++) {
        *factor = *factor > 0 ? 10 * *factor : 1e-12;
        s = dd_exec(p);
    }
    return s;
}
