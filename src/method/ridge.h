/* SPDX-License-Identifier: Apache-2.0
 *
 * A linear classifier on a network's features, fitted to a batch of the set in closed form,
 *     w = (1-mix) w' + mix Phi^T (Phi Phi^T + ridge I)^-1 Y,  Phi = [f(X), 1],
 * and judged on real images by cross-entropy of scale Phi_real w (Bohdal, Yang, Hospedales 2020, first-order form).
 * Seen by method/ only. */
#ifndef ATTAR_METHOD_RIDGE_H
#define ATTAR_METHOD_RIDGE_H
#include "method/feed.h"

/* A program that judges w on images, and what it says. */
typedef struct dd_ridge_pass {
    dd_program *p;
    dd_feed in;
    dd_tensor loss, dw, dscale, dtheta; /* scalar, [F+1,classes], scalar, [P]; dtheta only on the set */
} dd_ridge_pass;

typedef struct dd_ridge {
    int64_t n; /* real images */
    double ridge, mix;
    dd_program *fit, *back;
    dd_feed in; /* the batch of the set */
    dd_ridge_pass part, tail, set;
    dd_tensor theta, scale, w, before, dw, dy; /* [P] scalar [F+1,classes] three times, [batch,classes] */
} dd_ridge;

dd_status dd_ridge_init(dd_ridge *q, const dd_run *r, int64_t batch, int64_t n, int64_t chunk);
void dd_ridge_fini(dd_ridge *q);
/* q->in, theta, scale and before are filled: w, the loss on the real items [n], and its gradient by Y in q->dy. */
dd_status dd_ridge_judge(dd_ridge *q, const dd_run *r, const int32_t *items, double *loss);
/* With q->in filled and w as it is: gradients of the cross-entropy on the batch in q->set.dtheta and dscale. */
dd_status dd_ridge_train(dd_ridge *q);
#endif
