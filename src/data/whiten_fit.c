/* SPDX-License-Identifier: Apache-2.0
 *
 * Fits a whitening transform to training images: two passes over them in blocks, so that pixels stay bytes; sums and
 * eigenvectors in double. Knows base, tensor and dd_data_batch. */
#include "base/linear.h"
#include "data/data_internal.h"
#include "data/whiten.h"
#include <string.h>

#define BLOCK 512 /* images at a time: enough for BLAS to be fast */

typedef struct fit {
    const dd_dataset *d;
    dd_whitening *w;
    int32_t *items; /* [BLOCK] */
    float *x;       /* [BLOCK,D] */
    double *rows;   /* [BLOCK,D] */
    double *cov;    /* [D,D] */
} fit;

/* The next block of standardised images; their lengths are added to the transform's. */
static int64_t load(fit *f, int64_t first)
{
    const int64_t left = f->d->train.n - first, n = left < BLOCK ? left : BLOCK;
    for (int64_t i = 0; i < n; i++) f->items[i] = (int32_t)(first + i);
    dd_data_batch(f->d, &f->d->train, f->items, n, f->x);
    f->w->length += dd_whiten_images(f->w->kind, f->x, n, f->w->d);
    return n;
}

static void mean_image(fit *f)
{
    const int64_t d = f->w->d, all = f->d->train.n;
    for (int64_t first = 0; first < all; first += BLOCK) {
        const int64_t n = load(f, first);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t k = 0; k < d; k++) f->w->mean[k] += (double)f->x[i * d + k];
        }
    }
    for (int64_t k = 0; k < d; k++) f->w->mean[k] /= (double)all;
}

/* sum of (x - mean)(x - mean)^T over n or n - 1. */
static void covariance(fit *f)
{
    const int64_t d = f->w->d, all = f->d->train.n;
    f->w->length = 0;
    for (int64_t first = 0; first < all; first += BLOCK) {
        const int64_t n = load(f, first);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t k = 0; k < d; k++) f->rows[i * d + k] = (double)f->x[i * d + k] - f->w->mean[k];
        }
        dd_linear_gram(n, d, f->rows, f->cov);
    }
    const double count = (double)(f->w->kind->unbiased && all > 1 ? all - 1 : all);
    for (int64_t i = 0; i < d * d; i++) f->cov[i] /= count;
    f->w->length /= (double)all;
}

/* Directions in which fewer images than values do not vary keep scale 1: their eigenvalue stands for it. */
static dd_status eigen(fit *f)
{
    dd_whitening *w = f->w;
    const int64_t d = w->d, n = f->d->train.n;
    double trace = 0;
    for (int64_t i = 0; i < d; i++) trace += f->cov[i * d + i];
    if (!(trace > 0))
        return dd_fail(DD_EINVAL, "%s: the %lld training images of %s do not vary, so nothing can be whitened",
                       w->kind->name, (long long)n, f->d->name);
    w->eps = w->kind->eps * (w->kind->relative ? trace / (double)d : 1);
    DD_TRY(dd_linear_eigen(d, f->cov, w->values));
    for (int64_t i = 0; i < d; i++) {
        if (w->values[i] < 0) w->values[i] = 0; /* rounding */
        if (w->kind->relative && i < d - n) w->values[i] = 1 - w->eps;
    }
    for (int64_t i = 0; i < d * d; i++) w->vectors[i] = (float)f->cov[i];
    return DD_OK;
}

static dd_status run(fit *f)
{
    const size_t d = (size_t)f->w->d;
    f->items = dd_alloc(BLOCK, sizeof *f->items);
    f->x = dd_alloc(BLOCK * d, sizeof *f->x);
    f->rows = dd_alloc(BLOCK * d, sizeof *f->rows);
    f->cov = dd_alloc(d * d, sizeof *f->cov);
    if (!f->items || !f->x || !f->rows || !f->cov)
        return dd_fail(DD_ENOMEM, "out of memory for the covariance of images of %zu values", d);
    if (f->w->kind->centred) mean_image(f);
    covariance(f);
    return eigen(f);
}

dd_status dd_whiten_fit(dd_dataset *d, const dd_whiten_kind *kind)
{
    fit f = {.d = d};
    DD_TRY(dd_whitening_new(&f.w, kind, d->c * d->h * d->w));
    dd_status st = run(&f);
    dd_free(f.items);
    dd_free(f.x);
    dd_free(f.rows);
    dd_free(f.cov);
    if (st == DD_OK) st = dd_whitening_matrix(f.w);
    if (st == DD_OK)
        d->whitening = f.w;
    else
        dd_whitening_free(f.w);
    return st;
}
