/* SPDX-License-Identifier: Apache-2.0
 *
 * Neural kernels: what a network of infinite width knows of two images, as a function (graph, x, y) -> K. The NNGP
 * kernel is the covariance of its outputs with random weights, the NTK that of their gradients (Jacot, Gabriel, Hongler
 * 2018; Nguyen, Chen, Lee 2021). Weights in NTK parameterisation: a layer computes w_std/sqrt(fan_in) W x + b_std b
 * with W and b standard normal; convolutions are 3x3, padded with zeros, stride 1. */
#ifndef ATTAR_KERNEL_H
#define ATTAR_KERNEL_H
#include "attar/net.h"
#ifdef __cplusplus
extern "C" {
#endif

typedef struct dd_kernel dd_kernel;

/* Opens a kernel from a specification NAME[:key=value,...], e.g. "fc:depth=1" or "conv:depth=3,pool=avg,kind=nngp".
 * DD_ENOTFOUND names the nearest right name or key; DD_EINVAL for an image that the kernel cannot take. */
dd_status dd_kernel_open(dd_kernel **out, const char *spec, dd_image image);
void dd_kernel_close(dd_kernel *k);
const char *dd_kernel_spec(const dd_kernel *k); /* canonical, every option spelled out; borrowed */
dd_image dd_kernel_image(const dd_kernel *k);   /* what it was opened for */
/* Numbers that a pair of images needs at once in every layer: 1, pixels, or pixels squared where it pools. */
int64_t dd_kernel_cells(const dd_kernel *k);
/* x [n,C,H,W], y [m,C,H,W] of one type -> K [n,m], with gradients of any order. Where y is x itself the diagonal is
 * exact, as it is not between equal images of two tensors. */
dd_val dd_kernel_apply(dd_graph *g, const dd_kernel *k, dd_val x, dd_val y);

int dd_kernel_kind_count(void);
const char *dd_kernel_kind_name(int i); /* NULL out of range */
const char *dd_kernel_kind_title(int i);
const dd_option *dd_kernel_kind_options(int i);
const dd_option *dd_kernel_common_options(void); /* that every kernel has */

#ifdef __cplusplus
}
#endif
#endif
