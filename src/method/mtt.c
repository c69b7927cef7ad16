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
    .memory = "syn_steps x weights; batch_syn images at second order; keep MiB for what steps keep",
    .not_batch = "its running statistics cannot be unrolled",
    .options = options,
    .state_size = sizeof(dd_trajectory),
    .iterations = 5000,
    .order = 2,
    .protocol = "mtt",
    .rates = "lr_img or lr_lr",
    .labels = "hard|soft|learned",
    .settle = dd_trajectory_settle,
    .build = dd_trajectory_build,
    .iterate = dd_trajectory_iterate,
    .saved = dd_trajectory_saved,
    .gradient = dd_trajectory_gradient,
    .gradients = dd_trajectory_gradients,
    .made_from = dd_trajectory_made_from,
    .fini = dd_trajectory_fini,
};
