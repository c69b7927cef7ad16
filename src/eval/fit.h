/* SPDX-License-Identifier: Apache-2.0
 *
 * One epoch of training and one pass of testing, shared by evaluation, ordinary training and methods that train a
 * network on their set. Knows nn, data, tensor, base. */
#ifndef ATTAR_EVAL_FIT_H
#define ATTAR_EVAL_FIT_H
#include "attar/eval.h"
#include "eval/augment_dc.h"
#include "nn/train_step.h"

/* What is trained on: images and labels in memory, or items of a data set's training part. */
typedef struct dd_fit_source {
    const dd_tensor *images, *labels; /* F32 [n,C,H,W]; I32 [n] or F32 [n,classes]; NULL: the data set */
    const int32_t *items;             /* of d->train; NULL: all, in order */
    int64_t n;
} dd_fit_source;

typedef struct dd_fit {
    dd_trainer *trainer;
    const dd_dataset *d;
    dd_fit_source src;
    int64_t batch, pixels, classes;
    int64_t epoch_steps; /* an epoch ends after this many batches of its permutation; 0: it has all of them */
    int32_t *order;      /* [n] this epoch's permutation */
    int32_t *picked;     /* [batch] */
    float *x, *y;        /* [batch,pixels] [batch,classes] */
    dd_dc_aug dc;        /* what batches pass through before the trainer; empty unless the caller fills it */
    /* Asked before each batch; false: the epoch ends with DD_EINTERRUPTED. NULL: always on. */
    bool (*going_on)(void *self, int64_t step);
    void *self;
} dd_fit;

/* DD_EINVAL names both shapes if the network was not opened for images and classes of d. */
dd_status dd_fit_check_net(const dd_net *net, const dd_dataset *d);

/* batch is cut to src.n. Takes the trainer, and f->dc if that is filled later: dd_fit_fini frees both. */
dd_status dd_fit_init(dd_fit *f, dd_trainer *t, const dd_dataset *d, dd_fit_source src, int64_t pixels, int64_t batch);
void dd_fit_fini(dd_fit *f);
int64_t dd_fit_steps(const dd_fit *f); /* batches an epoch, epoch_steps considered */

/* Learning rate of a step, counted from 0 over the whole training. */
typedef double (*dd_rate_fn)(const void *self, int64_t step);
/* One shuffled epoch, the last short batch kept; loss is the mean over images. A loss that is no number ends it early.
 */
dd_status dd_fit_epoch(dd_fit *f, int64_t epoch, dd_rate_fn rate, const void *self, dd_key key, double *loss);
/* One step on the images first, first+stride, ... of the source, in order. */
dd_status dd_fit_strided(dd_fit *f, int64_t first, int64_t stride, double rate, dd_key key, double *loss);
/* Fraction right on n items of a split (items NULL: the first n), `batch` at a time. */
dd_status dd_fit_accuracy(dd_trainer *t, const dd_dataset *d, const dd_split *split, const int32_t *items, int64_t n,
                          int64_t batch, double *accuracy);
#endif
