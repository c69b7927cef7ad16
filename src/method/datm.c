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
    .options = options,
    .iterations = 10000,
    .rates = "lr_img, lr_lr or lr_label",
    .labels = "learned|hard|soft",
    DD_TRAJECTORY_METHOD(datm_settle),
};
