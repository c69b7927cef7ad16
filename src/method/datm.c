/* SPDX-License-Identifier: Apache-2.0
 *
 * Difficulty-aligned trajectory matching (Guo et al., ICLR 2024): learned labels, as logits that begin with what the
 * experts say, and a range of starts that grows. Knows the engine. */
#include "method/trajectory.h"

static const dd_option options[] = {
    DD_TRAJECTORY_ROWS("0.01", "1", "80", "20"),
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status datm_settle(dd_run *r, void *state)
{
    ((dd_trajectory *)state)->logits = true;
    return dd_trajectory_settle(r, state);
}

const dd_method dd_method_datm = {
    .name = "datm",
    .title = "Difficulty-aligned trajectory matching",
    .cite = "Guo, Wang, Cazenavette, Li, Zhang, You 2024",
    .cost = "syn_steps gradients and as many second-order passes, batch_syn images each",
    .memory = "syn_steps x weights; batch_syn images at second order; keep MiB for what steps keep",
    .not_batch = "its running statistics cannot be unrolled",
    .options = options,
    .state_size = sizeof(dd_trajectory),
    .iterations = 10000,
    .order = 2,
    .protocol = "mtt",
    .rates = "lr_img, lr_lr or lr_label",
    .labels = "learned|hard|soft",
    .settle = datm_settle,
    .build = dd_trajectory_build,
    .iterate = dd_trajectory_iterate,
    .saved = dd_trajectory_saved,
    .gradient = dd_trajectory_gradient,
    .gradients = dd_trajectory_gradients,
    .made_from = dd_trajectory_made_from,
    .fini = dd_trajectory_fini,
};
