/* SPDX-License-Identifier: Apache-2.0
 *
 * Dataset condensation with contrastive signals (Lee, Chun, Jung, Yun, Yoon, ICML 2022): after a class-wise warm-up,
 * the gradient of the loss over all classes is matched, in which what classes have in common cancels. With an
 * augmentation it is DSAC. Knows the engine. */
#include "method/gradmatch.h"

static const dd_option options[] = {
    DD_GRADMATCH_ROWS("matching steps per network; 0: as many as images per class, at most 50, but 10 for 1",
                      "epochs of the network on the set between them; 0: about 500 in all, 5 for 1 image per class"),
    {"warmup_iterations", DD_OPT_INT, offsetof(dd_gradmatch, warmup_iterations), "250", 0, 1e9, NULL,
     "iterations whose first matching steps are made class by class"},
    {"warmup_matches", DD_OPT_INT, offsetof(dd_gradmatch, warmup_matches), "10", 0, 10000, NULL,
     "how many matching steps of such an iteration are"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status dcc_settle(dd_run *r, void *state)
{
    dd_gradmatch *m = state;
    m->together = true;
    if (r->ipc == 1 && !m->outer_loop) m->outer_loop = 10; /* here the network is trained for one image, too */
    if (r->ipc == 1 && !m->inner_loop) m->inner_loop = 5;
    return dd_gradmatch_settle(r, m);
}

const dd_method dd_method_dcc = {
    .name = "dcc",
    .title = "Gradient matching with contrastive signals",
    .cite = "Lee, Chun, Jung, Yun, Yoon 2022",
    .cost = "as dsa, with a further pass over the set",
    .options = options,
    DD_GRADMATCH_METHOD(dcc_settle),
};
