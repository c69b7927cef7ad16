/* SPDX-License-Identifier: Apache-2.0
 *
 * Performance matching by unrolling, the engine of dd and sldd (Wang, Zhu, Torralba, Efros 2018; Sucholutsky, Schonlau
 * 2019): after a few plain steps on S, each with a learned step size, the loss on real images should be small,
 *     min over X, alpha[, Y]  E l(theta_T; real batch),  theta_{i+1} = theta_i - alpha_i grad l(theta_i; X_{i mod S},
 * Y), where the steps are as many batches as there are images a class, in turn, distill_epochs times. Seen by method/
 * only.
 */
#ifndef ATTAR_METHOD_PERFORM_H
#define ATTAR_METHOD_PERFORM_H
#include "method/lossgrad.h"
#include "method/unroll.h"

/* Adam's two moments of something, and its gradient. */
typedef struct dd_adapted {
    dd_tensor grad;          /* r->dtype */
    dd_tensor first, second; /* F32 */
} dd_adapted;

typedef struct dd_perform {
    /* options */
    double lr, lr_init, momentum, beta1, decay;
    int64_t distill_epochs, batch_real, networks, decay_every, chunk, keep;
    char network[DD_OPT_TEXT];
    /* the rest is the engine's */
    const dd_run *r;
    dd_key key; /* of the step at hand */
    dd_unroll *unroll;
    dd_judge judge;
    dd_stream real;
    dd_tensor theta, end;             /* [P] */
    dd_tensor raw;                    /* F32 [T]: alpha = log(1 + exp(raw)) */
    dd_adapted images, rates, labels; /* labels only where they are learned */
    double *alpha, *dalpha;           /* [T] */
} dd_perform;

#define DD_PERFORM_ROWS                                                                                                \
    {"lr",                                                                                                             \
     DD_OPT_REAL,                                                                                                      \
     offsetof(dd_perform, lr),                                                                                         \
     "0.01",                                                                                                           \
     0,                                                                                                                \
     1e3,                                                                                                              \
     NULL,                                                                                                             \
     "Adam's learning rate of the images, step sizes and labels"},                                                     \
        {"decay_every",                                                                                                \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_perform, decay_every),                                                                            \
         "0",                                                                                                          \
         0,                                                                                                            \
         1e9,                                                                                                          \
         NULL,                                                                                                         \
         "iterations after which it is multiplied by decay; 0: ten times in a run"},                                   \
        {"decay", DD_OPT_REAL, offsetof(dd_perform, decay), "0.5", 0, 1, NULL, "see decay_every"},                     \
        {"beta1",                                                                                                      \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_perform, beta1),                                                                                  \
         "0.5",                                                                                                        \
         0,                                                                                                            \
         0.999,                                                                                                        \
         NULL,                                                                                                         \
         "Adam's first decay; the second is 0.999"},                                                                   \
        {"lr_init", DD_OPT_REAL, offsetof(dd_perform, lr_init), "0.02", 1e-9, 100, NULL, "the step sizes at first"},   \
        {"distill_epochs",                                                                                             \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_perform, distill_epochs),                                                                         \
         "3",                                                                                                          \
         1,                                                                                                            \
         1000,                                                                                                         \
         NULL,                                                                                                         \
         "times that a network passes over the set"},                                                                  \
        {"network",                                                                                                    \
         DD_OPT_CHOICE,                                                                                                \
         offsetof(dd_perform, network),                                                                                \
         "fixed",                                                                                                      \
         0,                                                                                                            \
         0,                                                                                                            \
         "fixed|random",                                                                                               \
         "fixed: the set is for one initial network, which is stored with it; random: for any"},                       \
        {"networks",                                                                                                   \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_perform, networks),                                                                               \
         "1",                                                                                                          \
         1,                                                                                                            \
         64,                                                                                                           \
         NULL,                                                                                                         \
         "random networks whose gradients are averaged in an iteration"},                                              \
        {"momentum",                                                                                                   \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_perform, momentum),                                                                               \
         "0",                                                                                                          \
         0,                                                                                                            \
         0.999,                                                                                                        \
         NULL,                                                                                                         \
         "momentum of the network's steps (Deng, Russakovsky 2022)"},                                                  \
        {"batch_real", DD_OPT_INT, offsetof(dd_perform, batch_real),           "1024", 1,                              \
         1e6,          NULL,       "real images that the network is judged on"},                                       \
        DD_UNROLL_KEEP(dd_perform, keep),                                                                              \
    {                                                                                                                  \
        "chunk", DD_OPT_INT, offsetof(dd_perform, chunk), "256", 1, 65536, NULL,                                       \
            "real images that pass at a time (memory, speed)"                                                          \
    }

/* What the rows of its methods have in common. */
#define DD_PERFORM_METHOD(settle_)                                                                                     \
    .cost = "a gradient and a second-order pass for each of ipc x distill_epochs steps, batch_real images once",       \
    .memory = "ipc x distill_epochs x weights; one image a class at second order; keep MiB for what steps keep",       \
    .not_batch = "its running statistics cannot be unrolled", .cuts = {"keep"}, .state_size = sizeof(dd_perform),      \
    .iterations = 23200 /* 400 epochs of MNIST */, .order = 2, .init = "noise", .aug = "none", .protocol = "steps",    \
    .net = "lenet:init=xavier", .rates = "lr or lr_init", .settle = settle_, .build = dd_perform_build,                \
    .iterate = dd_perform_iterate, .saved = dd_perform_saved, .gradient = dd_perform_gradient,                         \
    .gradients = dd_perform_gradients, .fini = dd_perform_fini

/* Row of a method: its state is a dd_perform. */
dd_status dd_perform_settle(dd_run *r, void *state);
dd_status dd_perform_build(dd_run *r, void *state);
dd_status dd_perform_iterate(dd_run *r, void *state, int64_t it);
dd_status dd_perform_gradient(dd_run *r, void *state, dd_key key);
int dd_perform_gradients(void *state, dd_saved out[8]);
int dd_perform_saved(void *state, dd_saved out[8]);
void dd_perform_fini(void *state);
#endif
