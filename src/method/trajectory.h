/* SPDX-License-Identifier: Apache-2.0
 *
 * Trajectory matching, the engine of mtt, tesla and datm (Cazenavette et al. 2022; Cui et al. 2023; Guo et al. 2024): a
 * student that starts where an expert was and trains on S for syn_steps should arrive where the expert was
 * expert_epochs later,
 *     L = |theta_N - theta*_{t+M}|^2 / |theta*_t - theta*_{t+M}|^2,
 * by learned images, step size and, if asked, labels. Seen by method/ only. */
#ifndef ATTAR_METHOD_TRAJECTORY_H
#define ATTAR_METHOD_TRAJECTORY_H
#include "attar/experts.h"
#include "method/unroll.h"

typedef struct dd_trajectory {
    /* options */
    char experts[DD_OPT_TEXT];
    double lr_img, lr_floor, momentum_img, lr_lr, momentum_lr, lr_init, lr_label, momentum_label, momentum, threshold;
    int64_t schedule, syn_steps, expert_epochs, batch_syn;
    int64_t keep;
    int64_t min_start_epoch, max_start_epoch, first_max_start_epoch, expansion;
    bool constant; /* tesla's estimator */
    /* the rest is the engine's */
    bool logits; /* labels are learned as logits: datm */
    dd_experts *store;
    dd_unroll *unroll;
    const dd_run *r;
    dd_key key;                             /* of the step at hand */
    dd_tensor theta, target, end;           /* [P] */
    dd_tensor start;                        /* F32 [P]: what is read from the store */
    dd_tensor grad, label_grad, lr_grad, y; /* [M,C,H,W]; [M,classes]; [1]; y F32 [M,classes]: logits */
    dd_tensor speed, label_speed, lr_speed; /* F32, likewise */
    int32_t *order, *permutation;           /* [N,batch] images of the steps; [M] */
    int32_t *list;                          /* [experts] the order of this round */
    double *alpha, *dalpha;                 /* [N] */
    dd_tensor known;                        /* F32 [1]: experts that the run goes by, however many there are later */
    dd_tensor experts_hash;                 /* I32 [16]: their fingerprint */
} dd_trajectory;

#define DD_TRAJECTORY_ROWS(lr_init_, threshold_, steps_, most_)                                                        \
    {"experts",                                                                                                        \
     DD_OPT_STRING,                                                                                                    \
     offsetof(dd_trajectory, experts),                                                                                 \
     "",                                                                                                               \
     0,                                                                                                                \
     0,                                                                                                                \
     NULL,                                                                                                             \
     "folder of expert trajectories, made by attar experts"},                                                          \
        {"syn_steps", DD_OPT_INT, offsetof(dd_trajectory, syn_steps), steps_, 1,                                       \
         10000,       NULL,       "steps of the student on the set"},                                                  \
        {"expert_epochs",                                                                                              \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_trajectory, expert_epochs),                                                                       \
         "2",                                                                                                          \
         1,                                                                                                            \
         1000,                                                                                                         \
         NULL,                                                                                                         \
         "epochs of the expert that these stand for"},                                                                 \
        {"min_start_epoch",                                                                                            \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_trajectory, min_start_epoch),                                                                     \
         "0",                                                                                                          \
         0,                                                                                                            \
         100000,                                                                                                       \
         NULL,                                                                                                         \
         "the student starts at this epoch of an expert at least"},                                                    \
        {"max_start_epoch",    DD_OPT_INT, offsetof(dd_trajectory, max_start_epoch), most_, 1, 100000, NULL,           \
         "and before this one"},                                                                                       \
        {"first_max_start_epoch",                                                                                      \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_trajectory, first_max_start_epoch),                                                               \
         "0",                                                                                                          \
         0,                                                                                                            \
         100000,                                                                                                       \
         NULL,                                                                                                         \
         "before this one at first, growing to max_start_epoch; 0: max_start_epoch at once"},                          \
        {"expansion", DD_OPT_INT, offsetof(dd_trajectory, expansion), "1000", 1,                                       \
         1e9,         NULL,       "iterations in which it grows"},                                                     \
        {"batch_syn", DD_OPT_INT, offsetof(dd_trajectory, batch_syn),  "0", 0,                                         \
         1e6,         NULL,       "images of a student's step; 0: all"},                                               \
        {"lr_img", DD_OPT_REAL, offsetof(dd_trajectory, lr_img), "100", 0, 1e9, NULL, "learning rate of the pixels"},  \
        {"lr_floor",                                                                                                   \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_trajectory, lr_floor),                                                                            \
         "1",                                                                                                          \
         0,                                                                                                            \
         1,                                                                                                            \
         NULL,                                                                                                         \
         "part of it, and of lr_label, that is left at the end; between lies a cosine"},                               \
        {"schedule",                                                                                                   \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_trajectory, schedule),                                                                            \
         "0",                                                                                                          \
         0,                                                                                                            \
         1e9,                                                                                                          \
         NULL,                                                                                                         \
         "iterations over which the cosine falls; 0: all of the run"},                                                 \
        {"momentum_img",          DD_OPT_REAL, offsetof(dd_trajectory, momentum_img), "0.5", 0, 0.999, NULL,           \
         "momentum of the pixels"},                                                                                    \
        {"lr_init",                                                                                                    \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_trajectory, lr_init),                                                                             \
         lr_init_,                                                                                                     \
         1e-9,                                                                                                         \
         100,                                                                                                          \
         NULL,                                                                                                         \
         "the student's step size at first (lr_teacher of the authors)"},                                              \
        {"lr_lr",                                                                                                      \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_trajectory, lr_lr),                                                                               \
         "1e-5",                                                                                                       \
         0,                                                                                                            \
         1e3,                                                                                                          \
         NULL,                                                                                                         \
         "learning rate of the step size; it stays positive, no update takes more than half of it"},                   \
        {"momentum_lr", DD_OPT_REAL, offsetof(dd_trajectory, momentum_lr), "0.5", 0,                                   \
         0.999,         NULL,        "momentum of the step size"},                                                     \
        {"lr_label", DD_OPT_REAL, offsetof(dd_trajectory, lr_label), "2", 0,                                           \
         1e6,        NULL,        "learning rate of learned labels"},                                                  \
        {"momentum_label",                                                                                             \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_trajectory, momentum_label),                                                                      \
         "0.9",                                                                                                        \
         0,                                                                                                            \
         0.999,                                                                                                        \
         NULL,                                                                                                         \
         "momentum of learned labels"},                                                                                \
        {"momentum", DD_OPT_REAL, offsetof(dd_trajectory, momentum), "0", 0, 0.999, NULL, "momentum of the student"},  \
        DD_UNROLL_KEEP(dd_trajectory, keep),                                                                           \
    {                                                                                                                  \
        "threshold", DD_OPT_REAL, offsetof(dd_trajectory, threshold), threshold_, 0, 1e9, NULL,                        \
            "no update where the loss is above this: 1 is a student that came no nearer"                               \
    }

/* What the rows of its methods have in common. */
#define DD_TRAJECTORY_METHOD(settle_)                                                                                  \
    .memory = "syn_steps x weights; batch_syn images at second order; keep MiB for what steps keep",                   \
    .not_batch = "its running statistics cannot be unrolled", .cuts = {"keep"}, .state_size = sizeof(dd_trajectory),   \
    .order = 2, .protocol = "mtt", .settle = settle_, .build = dd_trajectory_build, .iterate = dd_trajectory_iterate,  \
    .saved = dd_trajectory_saved, .gradient = dd_trajectory_gradient, .gradients = dd_trajectory_gradients,            \
    .made_from = dd_trajectory_made_from, .fini = dd_trajectory_fini

/* Row of a method: its state is a dd_trajectory. */
dd_status dd_trajectory_settle(dd_run *r, void *state);
dd_status dd_trajectory_build(dd_run *r, void *state);
dd_status dd_trajectory_iterate(dd_run *r, void *state, int64_t it);
dd_status dd_trajectory_gradient(dd_run *r, void *state, dd_key key);
int dd_trajectory_gradients(void *state, dd_saved out[8]);
int dd_trajectory_saved(void *state, dd_saved out[8]);
void dd_trajectory_made_from(const void *state, char *out, size_t size);
void dd_trajectory_fini(void *state);
#endif
