/* SPDX-License-Identifier: Apache-2.0
 *
 * TESLA (Cui et al., ICML 2023): trajectory matching by an estimator that takes the student's networks for constants;
 * cheaper by a second-order product, and not the gradient of the loss. Knows the engine. */
#include "method/trajectory.h"

static const dd_option options[] = {
    DD_TRAJECTORY_ROWS("0.01", "10", "50", "20"),
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status tesla_settle(dd_run *r, void *state)
{
    ((dd_trajectory *)state)->constant = true;
    return dd_trajectory_settle(r, state);
}

const dd_method dd_method_tesla = {
    .name = "tesla",
    .title = "Trajectory matching by TESLA's estimator",
    .cite = "Cui, Wang, Si, Hsieh 2023",
    .cost = "syn_steps gradients and as many mixed products, batch_syn images each",
    .memory = "syn_steps x weights; batch_syn images at second order; keep MiB for what steps keep",
    .not_batch = "its running statistics cannot be unrolled",
    .options = options,
    .state_size = sizeof(dd_trajectory),
    .iterations = 10000,
    .order = 2,
    .protocol = "mtt",
    .rates = "lr_img or lr_lr",
    .labels = "hard|soft|learned",
    .settle = tesla_settle,
    .build = dd_trajectory_build,
    .iterate = dd_trajectory_iterate,
    .saved = dd_trajectory_saved,
    .gradient = dd_trajectory_gradient,
    .gradients = dd_trajectory_gradients,
    .made_from = dd_trajectory_made_from,
    .fini = dd_trajectory_fini,
};
