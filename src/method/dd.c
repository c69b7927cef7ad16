/* SPDX-License-Identifier: Apache-2.0
 *
 * Dataset distillation (Wang, Zhu, Torralba, Efros 2018): images and step sizes through unrolled training. Knows the
 * engine. */
#include "method/perform.h"

static const dd_option options[] = {
    DD_PERFORM_ROWS,
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_method dd_method_dd = {
    .name = "dd",
    .title = "Dataset distillation by unrolling",
    .cite = "Wang, Zhu, Torralba, Efros 2018",
    .cost = "a gradient and a second-order pass for each of ipc x distill_epochs steps, batch_real images once",
    .memory = "ipc x distill_epochs x weights; one image a class at second order; keep MiB for what steps keep",
    .not_batch = "its running statistics cannot be unrolled",
    .options = options,
    .state_size = sizeof(dd_perform),
    .iterations = 23200, /* 400 epochs of MNIST */
    .order = 2,
    .init = "noise",
    .aug = "none",
    .protocol = "steps",
    .net = "lenet:init=xavier",
    .rates = "lr or lr_init",
    .labels = "hard|soft|learned",
    .settle = dd_perform_settle,
    .build = dd_perform_build,
    .iterate = dd_perform_iterate,
    .saved = dd_perform_saved,
    .gradient = dd_perform_gradient,
    .gradients = dd_perform_gradients,
    .fini = dd_perform_fini,
};
