/* SPDX-License-Identifier: Apache-2.0
 *
 * The numbers of a convolution or a pooling read out of an instruction, so that each kernel spells the same names.
 * Shared by the backends; knows the instruction format only. */
#ifndef ATTAR_BACKEND_GEOMETRY_H
#define ATTAR_BACKEND_GEOMETRY_H
#include "backend/backend.h"

/* x [n,c,h,w], weights [o,c/g,r,s], u [n,o,p,q]; cg = c/g and og = o/g are the channels of one group. */
typedef struct dd_conv_geo {
    int64_t n, c, h, w, o, r, s, p, q, g, cg, og;
    int64_t sh, sw, ph, pw, dh, dw;
} dd_conv_geo;

/* x [planes,h,w], y [planes,p,q] */
typedef struct dd_pool_geo {
    int64_t planes, h, w, p, q, kh, kw, sh, sw, ph, pw;
} dd_pool_geo;

static inline dd_conv_geo dd_conv_geo_of(const dd_instr *in)
{
    const dd_view *x = &in->src[0], *k = &in->src[1], *u = &in->dst;
    if (in->kind == DD_K_CONV_DX) {
        x = &in->dst;
        u = &in->src[0];
    } else if (in->kind == DD_K_CONV_DW) {
        k = &in->dst;
        u = &in->src[1];
    }
    const int64_t *a = in->attr;
    return (dd_conv_geo){.n = x->dim[0],
                         .c = x->dim[1],
                         .h = x->dim[2],
                         .w = x->dim[3],
                         .o = u->dim[1],
                         .r = k->dim[2],
                         .s = k->dim[3],
                         .p = u->dim[2],
                         .q = u->dim[3],
                         .g = a[6],
                         .cg = x->dim[1] / a[6],
                         .og = u->dim[1] / a[6],
                         .sh = a[0],
                         .sw = a[1],
                         .ph = a[2],
                         .pw = a[3],
                         .dh = a[4],
                         .dw = a[5]};
}

static inline dd_pool_geo dd_pool_geo_of(const dd_instr *in)
{
    const dd_view *x = &in->src[0], *y = &in->dst;
    if (in->kind == DD_K_SUMPOOL_T) {
        x = &in->dst;
        y = &in->src[0];
    }
    const int64_t *a = in->attr;
    return (dd_pool_geo){.planes = x->dim[0] * x->dim[1],
                         .h = x->dim[2],
                         .w = x->dim[3],
                         .p = y->dim[2],
                         .q = y->dim[3],
                         .kh = a[0],
                         .kw = a[1],
                         .sh = a[2],
                         .sw = a[3],
                         .ph = a[4],
                         .pw = a[5]};
}
#endif
