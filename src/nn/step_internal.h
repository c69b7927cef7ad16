/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimiser steps as graphs, shared by optim.c and trainer.c. Knows graph. */
#ifndef ATTAR_NN_STEP_INTERNAL_H
#define ATTAR_NN_STEP_INTERNAL_H
#include "nn/train_step.h"

#define DD_ADAM_BETA1 0.9
#define DD_ADAM_BETA2 0.999
#define DD_ADAM_EPS 1e-8

/* theta [P]; v1 [P] momentum or Adam's first moment; v2 [P] Adam's second, else poison */
typedef struct dd_step_state {
    dd_val theta, v1, v2;
} dd_step_state;

dd_step_state dd_step_sgd(dd_graph *g, dd_step_state s, dd_val grad, dd_val lr, double momentum, double weight_decay);
/* fix1, fix2: the bias corrections 1/(1-beta^t), scalars */
dd_step_state dd_step_adam(dd_graph *g, dd_step_state s, dd_val grad, dd_val lr, dd_val fix1, dd_val fix2,
                           double weight_decay);
#endif
