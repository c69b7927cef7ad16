/* SPDX-License-Identifier: Apache-2.0
 *
 * ZCA whitening: images x of D = C*H*W values become (x - mean) W with W = U diag((s + eps)^-1/2) U^T, where
 * U diag(s) U^T is the covariance of all training images. Variants are rows of whiten.c's table. */
#ifndef ATTAR_DATA_WHITEN_H
#define ATTAR_DATA_WHITEN_H
#include "attar/data.h"

/* Values of an image, 3x64x64: the matrix grows with their square, the fit with their cube. */
#define DD_WHITEN_MOST 12288

/* How pixels are standardised per channel before anything else. */
typedef enum dd_whiten_stats { DD_WHITEN_PLAIN, DD_WHITEN_COMPUTED, DD_WHITEN_ROUNDED } dd_whiten_stats;

typedef struct dd_whiten_kind {
    const char *name;
    dd_whiten_stats stats;
    bool per_image; /* then each image loses its mean and is divided by its length */
    bool centred;   /* the mean image is subtracted */
    bool unbiased;  /* the covariance is a sum over n - 1 images, not n */
    double eps;     /* added to eigenvalues */
    bool relative;  /* as a share of their mean; and with fewer images than values, the others keep scale 1 */
} dd_whiten_kind;

/* The row of that name or NULL. */
const dd_whiten_kind *dd_whiten_kind_named(const char *name);
/* "zca-mtt, zca-kip, ..." of all rows. */
const char *dd_whiten_names(void);

struct dd_whitening {
    const dd_whiten_kind *kind;
    int64_t d;
    double eps;            /* added to every eigenvalue */
    double length;         /* mean length of the training images that were divided by their own, for pictures; else 0 */
    double *mean, *values; /* [d] */
    float *vectors;        /* [d,d], row i belongs to values[i] */
    float *w;              /* [d,d], symmetric */
    float *scratch;        /* [ROWS,d] of dd_whiten */
    int refs;
};

/* One with room for d values an image, all zero. DD_ENOMEM; DD_EINVAL: more than DD_WHITEN_MOST. */
dd_status dd_whitening_new(dd_whitening **out, const dd_whiten_kind *kind, int64_t d);
/* Another reference; NULL gives NULL. Not for two threads at once. */
dd_whitening *dd_whitening_share(dd_whitening *w);
/* Gives a reference back. */
void dd_whitening_free(dd_whitening *w);
/* W from vectors, values and eps, as after reading them: what was saved whitens with the same bits. DD_ENOMEM. */
dd_status dd_whitening_matrix(dd_whitening *w);
/* The per-image step of n standardised images x [n,d], in place; returns the sum of their lengths before. */
double dd_whiten_images(const dd_whiten_kind *kind, float *x, int64_t n, int64_t d);
/* n standardised images x [n,d] in place. The same bits for any number of threads. */
void dd_whiten(const dd_whitening *w, float *x, int64_t n);
/* Back, into y [n,d]; what the per-image step took is lost, so the mean length takes its place. DD_ENOMEM. */
dd_status dd_unwhiten(const dd_whitening *w, const float *x, int64_t n, float *y);
/* Images [M,C,H,W] as dd_natural can show them: a copy, unwhitened if w is given. */
dd_status dd_whiten_shown(const dd_whitening *w, const dd_tensor *images, dd_tensor *out);

/* Fits d->whitening to all training images after d->mean and d->std are set. DD_EINVAL, DD_ENOMEM, DD_ENUMERIC. */
dd_status dd_whiten_fit(dd_dataset *d, const dd_whiten_kind *kind);

/* whitening.safetensors: mean F64 [D], eigenvalues F64 [D], eps F64 [1], length F64 [1], eigenvectors F32 [D,D].
 * *out is dd_free'd. */
dd_status dd_whitening_bytes(const dd_whitening *w, void **out, size_t *size);
/* From such bytes, every number checked, for images of d values. DD_EFORMAT, DD_ENOMEM. */
dd_status dd_whitening_parse(dd_whitening **out, const dd_whiten_kind *kind, int64_t d, const void *data, size_t size,
                             const char *what);
#endif
