/* SPDX-License-Identifier: Apache-2.0
 *
 * What a kernel is to the builder: a row of options and a function that says its layers one after the other. Seen by
 * nn/ only. */
#ifndef ATTAR_NN_KERNEL_INTERNAL_H
#define ATTAR_NN_KERNEL_INTERNAL_H
#include "attar/kernel.h"

/* Covariances of all pairs between layers. Without pooling only equal places matter, `full` is false:
 * k, q [h,w,n,m], a [h,w,n,1], b [h,w,1,m]. Else all pairs of places do: k, q [n,h,w,m,h,w], and a [n,h,w,h,w],
 * b [m,h,w,h,w] are those of each image with itself. */
typedef struct dd_covariances {
    dd_graph *g;
    dd_dtype dtype;
    double w2, b2;
    int64_t n, m, h, w;
    bool full, same;
    dd_val k, q, a, b; /* NNGP and NTK of pairs; variances of x and of y */
} dd_covariances;

typedef struct dd_kernel_common {
    char kind[DD_OPT_TEXT];
    double w_std, b_std;
} dd_kernel_common;

/* What becomes of an image before the first layer: averages of shrink x shrink pixels, the rest of a row or column left
 * out; then a frame of zeros. */
typedef struct dd_kernel_entry {
    int shrink, frame;
} dd_kernel_entry;

typedef struct dd_kernel_kind {
    const char *name, *title;
    const dd_option *options;
    size_t opts_size;
    bool flat;                                  /* takes the image as one vector */
    bool (*pools)(const void *opts);            /* some layer mixes places before the last; NULL: none does */
    dd_kernel_entry (*entry)(const void *opts); /* NULL: the image as it is */
    dd_status (*check)(const void *opts, dd_image image);
    void (*build)(dd_covariances *s, const void *opts); /* to the layer before the last dense one */
} dd_kernel_kind;

/* kernel_layers.c */
void dd_cov_dense(dd_covariances *s);
void dd_cov_conv(dd_covariances *s);
void dd_cov_relu(dd_covariances *s);
void dd_cov_pool(dd_covariances *s);    /* 2x2 averages, stride 2; a last odd row or column is left out */
void dd_cov_flatten(dd_covariances *s); /* then h = w = 1 and full is false */
void dd_cov_global(dd_covariances *s);  /* the average over all places, likewise */
#endif
