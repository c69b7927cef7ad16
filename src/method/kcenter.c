/* SPDX-License-Identifier: Apache-2.0
 *
 * The coreset method "kcenter": real images, chosen once. Knows the rules of coreset.c. */
#include "method/method_internal.h"

static dd_status build(dd_run *r, void *state)
{
    return dd_coreset_fill(r, "kcenter", ((const dd_coreset *)state)->train_epochs, dd_key_at(r->key, "coreset", 0),
                           &r->syn->images);
}

const dd_method dd_method_kcenter = {
    .name = "kcenter",
    .title = "k-center greedy: images that cover the features of their class",
    .cite = "Sener, Savarese 2018",
    .cost = "training one network on the real data, once",
    .memory = "the features of a class",
    .options = dd_coreset_options,
    .state_size = sizeof(dd_coreset),
    .build = build,
};
