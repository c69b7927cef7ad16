/* SPDX-License-Identifier: Apache-2.0
 *
 * Distances of gradients (DC, appendix A; the authors' code for what is left out). Knows graph and nn. */
#include "method/gradmatch.h"

#include <string.h>

#define COS_EPS 1e-6
#define TINY 1e-30 /* under a root, so that a dead unit's row has a derivative */

/* Sum over rows of 1 - <a,b> / (|a||b| + 1e-6); a, b [rows,length]. A row of zeros in b belongs to a dead unit, which
 * passes nothing to the pixels: it counts 1, and its derivative, 1e6 times a, is left out. */
static dd_val apart(dd_graph *g, dd_val a, dd_val b)
{
    const dd_val aa = dd_sum(g, dd_square(g, a), 2), bb = dd_sum(g, dd_square(g, b), 2);
    const dd_val norms = dd_mul(g, dd_sqrt(g, dd_addc(g, aa, TINY)), dd_sqrt(g, dd_addc(g, bb, TINY)));
    const dd_val cosine = dd_div(g, dd_sum(g, dd_mul(g, a, b), 2), dd_addc(g, norms, COS_EPS));
    const dd_val alive = dd_step(g, dd_addc(g, bb, -TINY));
    return dd_sum_all(g, dd_addc(g, dd_neg(g, dd_mul(g, alive, cosine)), 1));
}

static dd_val part(dd_graph *g, dd_val flat, const dd_param_info *p, dd_shape shape)
{
    const int64_t count = dd_shape_count(p->shape), one = 1;
    return dd_reshape(g, dd_slice(g, flat, &p->offset, &count, &one), shape);
}

static dd_val rows(dd_graph *g, const dd_net *net, dd_val a, dd_val b)
{
    dd_val sum = dd_const(g, dd_dtype_of(g, a), 0);
    for (int i = 0; i < dd_net_params(net); i++) {
        const dd_param_info *p = dd_net_param(net, i);
        const dd_shape s = DD_SHAPE(p->shape.dim[0], dd_shape_count(p->shape) / p->shape.dim[0]);
        if (p->shape.rank > 1) sum = dd_add(g, sum, apart(g, part(g, a, p, s), part(g, b, p, s)));
    }
    return sum;
}

dd_val dd_gradient_distance(dd_graph *g, const dd_net *net, const char *kind, dd_val a, dd_val b)
{
    const dd_shape row = DD_SHAPE(1, dd_net_size(net));
    a = dd_stop(g, a);
    if (!strcmp(kind, "l2")) return dd_sum_all(g, dd_square(g, dd_sub(g, b, a)));
    if (!strcmp(kind, "cosine")) return apart(g, dd_reshape(g, a, row), dd_reshape(g, b, row));
    return rows(g, net, a, b);
}
