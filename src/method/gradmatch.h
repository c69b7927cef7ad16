/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradient matching, the engine of the methods dc, dsa and dcc: along short trainings of a network on S, the gradient
 * that synthetic images induce should point as that of real images does,
 *     L = D( grad l(theta; A(S_c)), grad l(theta; A(T_c)) ),
 * one class at a time (Zhao, Mopuri, Bilen 2021), or for all classes together (Lee et al. 2022). Seen by method/ only.
 */
#ifndef ATTAR_METHOD_GRADMATCH_H
#define ATTAR_METHOD_GRADMATCH_H
#include "eval/fit.h"
#include "method/feed.h"

/* A compiled program and what it reads and writes. */
typedef struct dd_gradpass {
    dd_program *p;
    dd_feed in;
    dd_tensor out; /* gradient of theta [P], of the images [n,C,H,W], or statistics [S] */
} dd_gradpass;

typedef struct dd_gradmatch {
    /* options */
    double lr_img, lr_floor, momentum_img, lr_net;
    int64_t schedule, batch_real, batch_train, outer_loop, inner_loop, chunk;
    int64_t warmup_iterations, warmup_matches; /* dcc */
    bool siamese;
    char distance[DD_OPT_TEXT];
    /* the rest is the engine's */
    bool together;    /* after a warm-up, all classes at a time */
    bool one_program; /* distance and gradient of the images of a class in one */
    dd_gradpass real, tail, calibrate, match, syn, mixed, apart;
    dd_fit fit;                               /* trains the network on S */
    dd_tensor theta, target, mine, direction; /* [P] network, real gradient, synthetic one, dD/dmine */
    dd_tensor loss, stats, grad, speed;       /* scalar; [S] batch norm's frozen statistics; of the images */
    int32_t *items;                           /* [batch_real], or more for the statistics */
    float *draw;                              /* [classes,DD_AUG_PARAMS] */
} dd_gradmatch;

#define DD_GRADMATCH_ROWS(outer, inner)                                                                                \
    {"lr_img", DD_OPT_REAL, offsetof(dd_gradmatch, lr_img), "0.1", 0, 1e9, NULL, "learning rate of the pixels"},       \
        {"lr_floor",                                                                                                   \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_gradmatch, lr_floor),                                                                             \
         "1",                                                                                                          \
         0,                                                                                                            \
         1,                                                                                                            \
         NULL,                                                                                                         \
         "part of it that is left at the end; between lies a cosine"},                                                 \
        {"schedule",                                                                                                   \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_gradmatch, schedule),                                                                             \
         "0",                                                                                                          \
         0,                                                                                                            \
         1e9,                                                                                                          \
         NULL,                                                                                                         \
         "iterations over which the cosine falls; 0: all of the run"},                                                 \
        {"momentum_img",          DD_OPT_REAL, offsetof(dd_gradmatch, momentum_img), "0.5", 0, 0.999, NULL,            \
         "momentum of the pixels"},                                                                                    \
        {"lr_net",                                                                                                     \
         DD_OPT_REAL,                                                                                                  \
         offsetof(dd_gradmatch, lr_net),                                                                               \
         "0.01",                                                                                                       \
         0,                                                                                                            \
         1e3,                                                                                                          \
         NULL,                                                                                                         \
         "learning rate of the network that is trained on the set in between"},                                        \
        {"outer_loop", DD_OPT_INT, offsetof(dd_gradmatch, outer_loop), "0", 0, 10000, NULL, outer},                    \
        {"inner_loop", DD_OPT_INT, offsetof(dd_gradmatch, inner_loop), "0", 0, 10000, NULL, inner},                    \
        {"batch_real", DD_OPT_INT, offsetof(dd_gradmatch, batch_real),       "256", 1,                                 \
         65536,        NULL,       "real images per class and matching step"},                                         \
        {"batch_train",                                                                                                \
         DD_OPT_INT,                                                                                                   \
         offsetof(dd_gradmatch, batch_train),                                                                          \
         "256",                                                                                                        \
         1,                                                                                                            \
         65536,                                                                                                        \
         NULL,                                                                                                         \
         "synthetic images per step of the network's training"},                                                       \
        {"distance",                                                                                                   \
         DD_OPT_CHOICE,                                                                                                \
         offsetof(dd_gradmatch, distance),                                                                             \
         "row_cosine",                                                                                                 \
         0,                                                                                                            \
         0,                                                                                                            \
         "row_cosine|l2|cosine",                                                                                       \
         "of gradients: one cosine for each filter or neuron, squared difference, one cosine for all"},                \
        {"siamese",                                                                                                    \
         DD_OPT_BOOL,                                                                                                  \
         offsetof(dd_gradmatch, siamese),                                                                              \
         "true",                                                                                                       \
         0,                                                                                                            \
         0,                                                                                                            \
         NULL,                                                                                                         \
         "one augmentation per class for real and synthetic images alike; false: one per image"},                      \
    {                                                                                                                  \
        "chunk", DD_OPT_INT, offsetof(dd_gradmatch, chunk), "64", 1, 65536, NULL,                                      \
            "real images whose gradient is taken at a time (memory, speed)"                                            \
    }

/* Row of a method: its state is a dd_gradmatch. */
dd_status dd_gradmatch_settle(dd_run *r, void *state);
dd_status dd_gradmatch_build(dd_run *r, void *state);
dd_status dd_gradmatch_iterate(dd_run *r, void *state, int64_t it);
dd_status dd_gradmatch_gradient(dd_run *r, void *state, dd_key key);
int dd_gradmatch_gradients(void *state, dd_saved out[8]);
int dd_gradmatch_saved(void *state, dd_saved out[8]);
void dd_gradmatch_fini(void *state);

/* What the rows of its methods have in common. */
#define DD_GRADMATCH_METHOD(settle_)                                                                                   \
    .memory = "images of a class (128 at most) at second order; chunk", .state_size = sizeof(dd_gradmatch),            \
    .iterations = 1000, .order = 2, .rates = "lr_img or lr_net", .labels = "hard|soft", .settle = settle_,             \
    .build = dd_gradmatch_build, .iterate = dd_gradmatch_iterate, .saved = dd_gradmatch_saved,                         \
    .gradient = dd_gradmatch_gradient, .gradients = dd_gradmatch_gradients, .fini = dd_gradmatch_fini

/* D of two gradients [P] of the network's parameters, rank 0; `a` counts as constant. row_cosine: 1 - cos summed over
 * the rows [out, the rest] of each tensor of rank 2 or more, others left out; l2: squared difference over everything;
 * cosine: 1 - cos over everything. */
dd_val dd_gradient_distance(dd_graph *g, const dd_net *net, const char *kind, dd_val a, dd_val b);
#endif
