/* SPDX-License-Identifier: Apache-2.0
 *
 * The static graph: immutable, interned nodes; one constructor per op; gradients of any order by rewriting.
 * A constructor given bad arguments returns the poison value (id 0), the graph keeps the first error, and
 * dd_graph_status or dd_compile reports it, so expressions need no checks. Not thread-safe per graph.
 * Broadcasting: binary ops align shapes at the last axis and insert EXPAND where sizes are 1 or missing. */
#ifndef ATTAR_GRAPH_H
#define ATTAR_GRAPH_H
#include "attar/tensor.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct dd_graph dd_graph;
typedef struct dd_val {
    uint32_t id; /* 0 is poison */
} dd_val;

dd_graph *dd_graph_new(void); /* NULL: out of memory */
void dd_graph_free(dd_graph *g);
dd_status dd_graph_status(const dd_graph *g); /* the first construction error, again through dd_last_error */
dd_shape dd_shape_of(const dd_graph *g, dd_val v);
dd_dtype dd_dtype_of(const dd_graph *g, dd_val v);

/* leaves */
dd_val dd_input(dd_graph *g, const char *name, dd_dtype t, dd_shape s);
dd_val dd_const(dd_graph *g, dd_dtype t, double c);            /* scalar */
dd_val dd_full(dd_graph *g, dd_dtype t, dd_shape s, double c); /* splat */
dd_val dd_iota(dd_graph *g, dd_dtype t, dd_shape s, int axis); /* value = index along axis */
/* pointwise, one source */
dd_val dd_neg(dd_graph *g, dd_val a);
dd_val dd_sqrt(dd_graph *g, dd_val a);
dd_val dd_exp(dd_graph *g, dd_val a);
dd_val dd_log(dd_graph *g, dd_val a);
dd_val dd_sin(dd_graph *g, dd_val a);
dd_val dd_cos(dd_graph *g, dd_val a);
dd_val dd_tanh(dd_graph *g, dd_val a);
dd_val dd_erf(dd_graph *g, dd_val a);
/* E[relu(z) relu(z')], E[step(z) step(z')] and the derivative of the latter, for normal z and z' of variance 1 and
 * covariance a: the arc-cosine kernels of order 1 and 0, halved (Cho, Saul 2009). Beyond +-(1 - 4e-7), in F64 1e-14,
 * which is what rounding leaves of an angle of 0, z and z' count as equal or opposite: a/2, 1/2, 0, or 0, 0, 0. */
dd_val dd_kappa1(dd_graph *g, dd_val a);
dd_val dd_kappa0(dd_graph *g, dd_val a);
dd_val dd_kappa_slope(dd_graph *g, dd_val a);
dd_val dd_floor(dd_graph *g, dd_val a);
dd_val dd_step(dd_graph *g, dd_val a); /* 1 where a > 0, else 0 */
dd_val dd_cast(dd_graph *g, dd_val a, dd_dtype t);
dd_val dd_stop(dd_graph *g, dd_val a); /* identity without a gradient */
/* pointwise, two or three sources, with broadcasting */
dd_val dd_add(dd_graph *g, dd_val a, dd_val b);
dd_val dd_sub(dd_graph *g, dd_val a, dd_val b);
dd_val dd_mul(dd_graph *g, dd_val a, dd_val b);
dd_val dd_div(dd_graph *g, dd_val a, dd_val b);
dd_val dd_max(dd_graph *g, dd_val a, dd_val b); /* ties split the gradient */
dd_val dd_lt(dd_graph *g, dd_val a, dd_val b);  /* 1 where a < b, floating mask */
dd_val dd_eq(dd_graph *g, dd_val a, dd_val b);
dd_val dd_select(dd_graph *g, dd_val m, dd_val a, dd_val b); /* m != 0 ? a : b */
/* movement */
dd_val dd_reshape(dd_graph *g, dd_val a, dd_shape s);
dd_val dd_permute(dd_graph *g, dd_val a, const int *perm); /* out axis i is in axis perm[i] */
dd_val dd_expand(dd_graph *g, dd_val a, dd_shape s);       /* aligned at the last axis */
dd_val dd_slice(dd_graph *g, dd_val a, const int64_t *start, const int64_t *count, const int64_t *stride);
dd_val dd_pad(dd_graph *g, dd_val a, const int64_t *lo, const int64_t *hi, const int64_t *interior);
dd_val dd_flip(dd_graph *g, dd_val a, unsigned axes); /* bit i: axis i */
dd_val dd_concat(dd_graph *g, int n, const dd_val *v, int axis);
/* reductions: rank kept, reduced axes become 1; bit i of axes: axis i */
dd_val dd_sum(dd_graph *g, dd_val a, unsigned axes);
dd_val dd_maxr(dd_graph *g, dd_val a, unsigned axes);
dd_val dd_argmax(dd_graph *g, dd_val a, int axis); /* i32, first of ties */
/* contraction */
dd_val dd_matmul(dd_graph *g, dd_val a, dd_val b, bool ta, bool tb); /* rank 2 or 3, op() on the last two axes */
typedef struct dd_conv_attr {
    int stride[2], pad[2], dilation[2], groups;
} dd_conv_attr;
dd_val dd_conv(dd_graph *g, dd_val x, dd_val w, dd_conv_attr a); /* x[N,C,H,W], w[O,C/G,R,S] -> [N,O,P,Q] */
dd_val dd_conv_dx(dd_graph *g, dd_val u, dd_val w, dd_conv_attr a, int64_t h, int64_t width); /* -> [N,C,h,width] */
dd_val dd_conv_dw(dd_graph *g, dd_val x, dd_val u, dd_conv_attr a, int64_t r, int64_t s);     /* -> [O,C/G,r,s] */
/* A is CSR, m x n: rowptr i32 [m+1], col i32 [nnz], val [nnz] (constant). x [n,f] -> [m,f]; transposed: x [m,f] ->
 * [n,f] */
dd_val dd_spmm(dd_graph *g, dd_val rowptr, dd_val col, dd_val val, dd_val x, int64_t m, int64_t n, bool transposed);
/* windows */
typedef struct dd_pool_attr {
    int kernel[2], stride[2], pad[2];
} dd_pool_attr;
dd_val dd_sumpool(dd_graph *g, dd_val x, dd_pool_attr a);
dd_val dd_sumpool_t(dd_graph *g, dd_val u, dd_pool_attr a, int64_t h, int64_t w);
dd_val dd_pool_argmax(dd_graph *g, dd_val x, dd_pool_attr a); /* i32 [N,C,P,Q], flat positions in H*W */
/* x[N,H,W,M,P,Q], P x Q being H x W or 1 x 1: the sum over the nine places next to (h,w), itself among them, and as far
 * from (p,q) where that is not all there is; zeros outside. */
dd_val dd_patchsum(dd_graph *g, dd_val x);
/* indexing. rows: x[V,...], i[M] -> [M,...]; along: x[N,C,V], i[N,C,M] -> [N,C,M] */
dd_val dd_gather(dd_graph *g, dd_val x, dd_val index);
dd_val dd_gather_along(dd_graph *g, dd_val x, dd_val index);
dd_val dd_scatter_add(dd_graph *g, dd_val u, dd_val index, int64_t extent);
dd_val dd_scatter_add_along(dd_graph *g, dd_val u, dd_val index, int64_t extent);
/* resampling: bilinear, zeros outside. a[N,2,3] maps output offsets from the centre to input offsets from the
 * centre, in pixels: (sy, sx)^T = a[:, :, 0:2] (y - (P-1)/2, x - (Q-1)/2)^T + a[:, :, 2], then + ((H-1)/2, (W-1)/2).
 * Row 0 gives y, row 1 gives x; column 0 multiplies y, column 1 x. */
dd_val dd_sample(dd_graph *g, dd_val x, dd_val a, int64_t p, int64_t q);
dd_val dd_sample_t(dd_graph *g, dd_val u, dd_val a, int64_t h, int64_t w);
/* linear algebra on batches of symmetric positive definite matrices */
dd_val dd_spdsolve(dd_graph *g, dd_val a, dd_val b); /* [b,n,n], [b,n,m] -> [b,n,m] */
dd_val dd_logdet(dd_graph *g, dd_val a);             /* [b,n,n] -> [b,1,1] */

/* d(loss)/d(wrt[i]) into out[i]; loss has one element. Call it on its own output for the next order. */
void dd_grad(dd_graph *g, dd_val loss, int n, const dd_val wrt[], dd_val out[]);
/* Names a value the program writes. Names are unique per graph. */
void dd_output(dd_graph *g, const char *name, dd_val v);

/* compositions (compose.c) */
dd_val dd_scale(dd_graph *g, dd_val a, double c);
dd_val dd_addc(dd_graph *g, dd_val a, double c);
dd_val dd_square(dd_graph *g, dd_val a);
dd_val dd_relu(dd_graph *g, dd_val a); /* a * STEP(a) */
dd_val dd_leaky_relu(dd_graph *g, dd_val a, double slope);
dd_val dd_sigmoid(dd_graph *g, dd_val a);
dd_val dd_swish(dd_graph *g, dd_val a);
dd_val dd_gelu(dd_graph *g, dd_val a);
dd_val dd_mean(dd_graph *g, dd_val a, unsigned axes);
dd_val dd_sum_all(dd_graph *g, dd_val a); /* rank 0 */
dd_val dd_mean_all(dd_graph *g, dd_val a);
dd_val dd_avgpool(dd_graph *g, dd_val x, dd_pool_attr a);
dd_val dd_maxpool(dd_graph *g, dd_val x, dd_pool_attr a);
dd_val dd_normalize(dd_graph *g, dd_val x, unsigned axes, double eps);      /* (x-mean)/sqrt(biased var + eps) */
dd_val dd_log_softmax(dd_graph *g, dd_val z);                               /* over the last axis */
dd_val dd_xent(dd_graph *g, dd_val logits, dd_val target);                  /* [N,K], [N,K] -> rank 0, mean over N */
dd_val dd_mse(dd_graph *g, dd_val a, dd_val b);                             /* rank 0, mean over all */
dd_val dd_dot(dd_graph *g, dd_val a, dd_val b);                             /* rank 0, sum of a*b */
dd_val dd_one_hot(dd_graph *g, dd_val labels, int64_t classes, dd_dtype t); /* i32 [N] -> [N,classes] */
dd_val dd_eye(dd_graph *g, dd_dtype t, int64_t n);

/* The table of ops, for `attar ops`, documentation and tests. */
typedef struct dd_op_info {
    const char *name;   /* "CONV_DX" */
    const char *family; /* "contraction" */
    const char *shapes; /* "u[N,O,P,Q], w -> [N,C,H,W]" */
    const char *vjp;    /* "u: CONV(g,w); w: CONV_DW(g,u)" or "none" */
} dd_op_info;
int dd_op_count(void);
const dd_op_info *dd_op_at(int i); /* NULL out of range */

#ifdef __cplusplus
}
#endif
#endif
