/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel matrices block by block, so that memory is bounded whatever a pair of images needs, and their gradients, for
 * which each block is computed once more. Knows graph, exec; seen by nn, eval and method. */
#ifndef ATTAR_NN_KERNEL_BLOCKS_H
#define ATTAR_NN_KERNEL_BLOCKS_H
#include "attar/kernel.h"

typedef struct dd_kernel_blocks dd_kernel_blocks;

/* For matrices of at most n x m, or with m 0 for those of at most n images among themselves, in blocks that take about
 * `memory` bytes each (0: all at once), or of one pair where that takes more. k and b are borrowed. slopes: gradients
 * will be asked for. DD_ENOMEM: it does not fit; with less `memory` it may. */
dd_status dd_kernel_blocks_new(dd_kernel_blocks **out, dd_backend *b, const dd_kernel *k, dd_dtype t, int64_t n,
                               int64_t m, int64_t memory, bool slopes);
void dd_kernel_blocks_free(dd_kernel_blocks *e);
/* `going_on` is asked before each block; what it returns but DD_OK ends the matrix. NULL, as at first: nobody is. */
void dd_kernel_blocks_watch(dd_kernel_blocks *e, dd_status (*going_on)(void *self), void *self);
/* The part of the pairs of the matrix at hand that is computed: 0..1. */
double dd_kernel_blocks_done(const dd_kernel_blocks *e);
/* K(x,y) into out [n,m]; x [n,C,H,W], y [m,C,H,W], all of the type. y NULL, which is
 * so where m was 0 and only there: K(x,x), the diagonal exact. */
dd_status dd_kernel_blocks_run(dd_kernel_blocks *e, const dd_tensor *x, const dd_tensor *y, dd_tensor *out);
/* With d [n,m], the gradient of something by K(x,y): adds that by x to dx [n,C,H,W]; with y NULL both roles of x. */
dd_status dd_kernel_blocks_slope(dd_kernel_blocks *e, const dd_tensor *x, const dd_tensor *y, const dd_tensor *d,
                                 dd_tensor *dx);
#endif
