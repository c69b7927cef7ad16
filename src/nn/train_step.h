/* SPDX-License-Identifier: Apache-2.0
 *
 * Optimiser steps and the training/testing programs that eval/ and method/ share.
 * Knows graph, exec, tensor, base. */
#ifndef ATTAR_NN_TRAIN_STEP_H
#define ATTAR_NN_TRAIN_STEP_H
#include "attar/net.h"

/* What the network was opened for. */
dd_image dd_net_image(const dd_net *n);
int64_t dd_net_classes(const dd_net *n);
/* Running statistics of a fresh network: means 0, variances 1; out [S]. */
void dd_net_stats_init(const dd_net *n, float *out);

/* The NNGP kernel that the network has at infinite width, as dd_kernel_open takes it; false: there is none. */
bool dd_net_kernel(const dd_net *n, char *spec, size_t size);

/* SGD as the references define it: g' = g + w*theta; v = g' on the first step, else mu*v + g'; theta -= lr*v.
 * (v starts at zero, which gives the same first step.) Host side, for pixels and learning rates. */
void dd_sgd_update(float *x, float *v, const float *g, int64_t n, double lr, double momentum, double weight_decay);

/* Adam with bias correction, step 1, 2, ...; no weight decay, epsilon 1e-8. m and v start at 0. Host side, likewise. */
void dd_adam_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                    int64_t step);

/* LAMB without weight decay (You et al. 2020): Adam's direction u with epsilon 1e-6, and a step of lr |x|/|u| along it
 * (of lr where either norm is 0). All of x is one tensor. Host side, likewise. */
void dd_lamb_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                    int64_t step);

/* AdaBelief without weight decay (Zhuang et al. 2020): Adam whose second moment is that of the gradient's distance from
 * its first, plus epsilon; epsilon 1e-16. Host side, likewise. */
void dd_adabelief_update(float *x, float *m, float *v, const float *g, int64_t n, double lr, double beta1, double beta2,
                         int64_t step);

/* As dd_aug_draw, but every row gets all strategies of the list, composed: ordinary augmentation ("crop_flip"). */
void dd_aug_draw_all(dd_aug a, dd_image image, dd_key key, int64_t n, float *params);

/* One training program per batch size: theta, v (and v2 for Adam), x, y, aug, lr -> updated in place. */
typedef struct dd_trainer dd_trainer;
typedef struct dd_trainer_opts {
    bool adam;
    double momentum, weight_decay;
    dd_aug aug;
    bool aug_all;   /* every image gets every strategy of aug; false: one strategy a batch, as DSA has it */
    bool squared;   /* half the squared error, summed over classes, in place of cross-entropy */
    bool centred;   /* logits less those of the network as dd_trainer_reset made it; without batch norm only */
    double running; /* share of a batch in batch norm's running statistics; 0: 0.1 */
} dd_trainer_opts;
dd_status dd_trainer_new(dd_trainer **out, dd_backend *b, const dd_net *net, const dd_trainer_opts *o);
void dd_trainer_free(dd_trainer *t);
/* Fresh theta from key; optimiser state emptied. */
dd_status dd_trainer_reset(dd_trainer *t, dd_key key);
void dd_trainer_restart(dd_trainer *t); /* empties the optimiser state only */
dd_tensor *dd_trainer_theta(dd_trainer *t);
/* All that training changes: F32 theta [P], v1 [P], v2 [P] (empty without Adam), running [S] (one element without batch
 * norm), and the steps of Adam so far. Borrowed; may be written between steps, which is how networks take turns. */
typedef struct dd_trainer_memory {
    dd_tensor *theta, *v1, *v2, *running;
    int64_t *steps;
} dd_trainer_memory;
dd_trainer_memory dd_trainer_state(dd_trainer *t);
/* One step on x [B,C,H,W] and y [B,classes] (f32, any B; programs are cached by size). Augmentation drawn from key,
 * per image. loss may be NULL. */
dd_status dd_trainer_step(dd_trainer *t, const float *x, const float *y, int64_t n, double lr, dd_key key,
                          double *loss);
/* Logits [n,classes] without augmentation (batch norm: frozen running statistics). */
dd_status dd_trainer_logits(dd_trainer *t, const float *x, int64_t n, float *logits);
/* Embeddings [n,F] likewise. */
dd_status dd_trainer_features(dd_trainer *t, const float *x, int64_t n, float *features);
#endif
