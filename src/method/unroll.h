/* SPDX-License-Identifier: Apache-2.0
 *
 * Training on synthetic images, and the exact gradient of whatever depends on where it ends. A step is
 *     g_i = grad l(theta_i; A_i(x_i), y_i),  v_{i+1} = mu v_i + g_i,  theta_{i+1} = theta_i - alpha_i v_{i+1},
 * and with p = dL/dtheta_{i+1} and q = dL/dv_{i+1} going backwards
 *     w = q - alpha_i p,  dL/dalpha_i = -<v_{i+1}, p>,  dL/d(x_i, y_i) = d<w, g_i>/d(x_i, y_i),
 *     dL/dtheta_i = p + d<w, g_i>/dtheta_i,  dL/dv_i = mu w.
 * It takes the memory of one step and one parameter vector for each (two with momentum), however many there are. The
 * way back computes a step's activations again, but for the last steps, for which up to `keep` MiB of them are kept.
 * Seen by method/ only. */
#ifndef ATTAR_METHOD_UNROLL_H
#define ATTAR_METHOD_UNROLL_H
#include "method/feed.h"

typedef struct dd_unroll_opts {
    int64_t steps, batch; /* N; images of a step */
    double momentum;      /* mu */
    bool constant;        /* theta_i counts as constant in the gradient: TESLA's estimator, not the exact one */
    bool labels;          /* dL/dy too */
    bool logits;          /* y are logits of soft labels */
    int64_t keep;         /* MiB for what steps have computed, less where memory is limited */
} dd_unroll_opts;

/* Row of a method's options: state type, its member. */
#define DD_UNROLL_KEEP(type, member)                                                                                   \
    {                                                                                                                  \
        "keep", DD_OPT_INT, offsetof(type, member), "512", 0, 1048576, NULL,                                           \
            "MiB in which the last steps keep what the way back else computes again (memory, speed)"                   \
    }

/* The caller's side of a step, the same in both directions: images, labels, augmentation of step i into f. */
typedef void (*dd_unroll_feed)(void *self, int64_t i, dd_feed *f);
/* What the step's images [batch,C,H,W] and labels [batch,classes] (or NULL) have for a gradient. */
typedef void (*dd_unroll_take)(void *self, int64_t i, const dd_tensor *dx, const dd_tensor *dy);

typedef struct dd_unroll dd_unroll;
/* Writes r->cut[0]: a method's `cuts` begin with "keep". */
dd_status dd_unroll_new(dd_unroll **out, dd_run *r, const dd_unroll_opts *o);
void dd_unroll_free(dd_unroll *u);
/* From theta [P] on, with learning rates alpha [N]; v starts at 0. Both ways end with DD_EINTERRUPTED where the run is
 * not wanted any more. */
dd_status dd_unroll_forward(dd_unroll *u, const dd_tensor *theta, const double *alpha, dd_unroll_feed feed, void *self);
/* theta_i [P], borrowed, i = 0 .. N. */
dd_tensor dd_unroll_theta(const dd_unroll *u, int64_t i);
/* end [P] holds dL/dtheta_N, and afterwards dL/dtheta_0 (but for `constant`, where it stays). dalpha [N] receives
 * dL/dalpha. */
dd_status dd_unroll_backward(dd_unroll *u, dd_tensor *end, const double *alpha, double *dalpha, dd_unroll_feed feed,
                             dd_unroll_take take, void *self);
#endif
