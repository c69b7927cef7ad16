/* SPDX-License-Identifier: Apache-2.0
 *
 * Images on their way into a program: n of them, with a row of augmentation parameters and a label each. Seen by
 * method/ only. */
#ifndef ATTAR_METHOD_FEED_H
#define ATTAR_METHOD_FEED_H
#include "method/method_internal.h"
#include "nn/kernel_blocks.h"

typedef struct dd_feed {
    int64_t n;
    dd_tensor x, aug, y; /* r->dtype [n,C,H,W] [n,DD_AUG_PARAMS] [n,classes]; y only if asked for */
    float *rows;         /* [n * the longest row] on the way into another type; NULL if that is F32 */
} dd_feed;

dd_status dd_feed_init(dd_feed *f, const dd_run *r, int64_t n, bool labels);
void dd_feed_fini(dd_feed *f);

/* The same as inputs of a graph: "x", "y", and "aug" where the run augments; seen: what the network is given. */
typedef struct dd_fed {
    dd_val x, seen, y;
} dd_fed;
dd_fed dd_feed_inputs(dd_graph *g, const dd_run *r, int64_t n, bool labels);
dd_status dd_feed_bind(const dd_feed *f, const dd_run *r, dd_program *p);

/* Rows `row` .. row+n-1 from training items. */
void dd_feed_items(dd_feed *f, const dd_run *r, int64_t row, const int32_t *items, int64_t n);
/* All of f from training items [n], with their labels. */
void dd_feed_real(dd_feed *f, const dd_run *r, const int32_t *items);
/* From the synthetic images `from` .. from+n-1. */
void dd_feed_synthetic(dd_feed *f, const dd_run *r, int64_t row, int64_t from, int64_t n);
/* Labels: all of class c. */
void dd_feed_class(dd_feed *f, int64_t row, int64_t c, int64_t n);
/* Labels of the synthetic images `from` .. from+n-1: soft where the set has such. */
void dd_feed_labels(dd_feed *f, const dd_run *r, int64_t row, int64_t from, int64_t n);
/* Rows of y from rows of labels [M,classes], F32. */
void dd_feed_label_rows(dd_feed *f, const dd_tensor *labels, int64_t row, int64_t from, int64_t n);
/* Augmentation of a whole batch as networks are trained by: one strategy, parameters of its own for each image; or rows
 * first .. first+n-1 of those given. */
void dd_feed_augment_batch(dd_feed *f, const dd_run *r, dd_key key, int64_t first);
/* Augmentation: the shared draw [DD_AUG_PARAMS], or where that is NULL one of its own for each image, numbered from
 * `first` on at (key, purpose), or given. Nothing where the run does not augment. */
void dd_feed_augment(dd_feed *f, const dd_run *r, int64_t row, int64_t n, const float *shared, dd_key key,
                     const char *purpose, int64_t first);

/* One draw for each class into rows [classes,DD_AUG_PARAMS], or those given. DD_EINVAL: not as many are given. */
dd_status dd_draw_classes(const dd_run *r, dd_key key, float *rows);
/* A fresh network, or the one given, into theta [P]. */
dd_status dd_draw_network(const dd_run *r, dd_key key, dd_tensor *theta);
/* to += a from; F32 and F64 in any mixture, as many elements. */
void dd_add_scaled(dd_tensor *to, double a, const dd_tensor *from);
double dd_sum_squares(const dd_tensor *t);
void dd_set_zero(dd_tensor *t);
void dd_scale_by(dd_tensor *t, double a);
/* dd_krr_exec; where it takes more than `ridge` and than *raised before, the run's listener hears it. DD_ENUMERIC: no
 * ridge does. */
dd_status dd_regress(const dd_run *r, dd_program *p, dd_tensor *factor, double ridge, double *raised);
/* For settle: spec [DD_OPT_TEXT] becomes canonical, and with `ridge` what the set is judged by. Errors of
 * dd_kernel_open. */
dd_status dd_run_kernel(dd_run *r, char *spec, double ridge);
/* For build of a method whose first of `cuts` is such an option: make(r, m, n) with as much as asked or, where memory
 * is limited, with half of it as often as it ends with DD_ENOMEM, after undo(m). */
dd_status dd_run_fitting(dd_run *r, void *m, int64_t asked, dd_status (*make)(dd_run *r, void *m, int64_t n),
                         void (*undo)(void *m));
/* Before each of its blocks e asks whether the run shall go on. */
void dd_run_watch(dd_run *r, dd_kernel_blocks *e);
/* Falls along a cosine from 1 in iteration 0 to `floor` in iteration n, and stays there. */
double dd_cosine(int64_t it, int64_t n, double floor);
/* The element of a scalar. */
double dd_scalar(const dd_tensor *t);
#endif
