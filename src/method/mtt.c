/* SPDX-License-Identifier: Apache-2.0
 *
 * Matching training trajectories (Cazenavette et al., CVPR 2022) by the exact gradient, whatever syn_steps. Knows the
 * engine. */
#include "method/trajectory.h"

static const dd_option options[] = {
    DD_TRAJECTORY_ROWS("0.01", "10", "50", "20"),
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_method dd_method_mtt = {
    .name = "mtt",
    .title = "Matching training trajectories",
    .cite = "Cazenavette, Wang, Torralba, Efros, Zhu 2022",
    .cost = "syn_steps gradients and as many second-order passes, batch_syn images each",
    .options = options,
    .iterations = 5000,
    .rates = "lr_img, lr_lr or lr_label",
    .labels = "hard|soft|learned",
    DD_TRAJECTORY_METHOD(dd_trajectory_settle),
};
