/* SPDX-License-Identifier: Apache-2.0
 *
 * Gradient matching with differentiable siamese augmentation (Zhao, Bilen, ICML 2021): one draw per class and step for
 * real and synthetic images alike, and images of its own for each in the training in between.
 * Knows the engine. */
#include "method/gradmatch.h"

static const dd_option options[] = {
    DD_GRADMATCH_ROWS("matching steps per network; 0: as many as images per class, at most 50",
                      "epochs of the network on the set between them; 0: about 500 in all, none for 1 image per class"),
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_method dd_method_dsa = {
    .name = "dsa",
    .title = "Gradient matching with siamese augmentation",
    .cite = "Zhao, Bilen 2021",
    .cost = "outer_loop gradients of batch_real images of each class, each with a second-order pass and inner_loop "
            "epochs on the set",
    .options = options,
    DD_GRADMATCH_METHOD(dd_gradmatch_settle),
};
