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
    .options = options,
    .iterations = 10000,
    .rates = "lr_img, lr_lr or lr_label",
    .labels = "hard|soft|learned",
    DD_TRAJECTORY_METHOD(tesla_settle),
};
