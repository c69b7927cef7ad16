/* SPDX-License-Identifier: Apache-2.0
 *
 * The coreset method "random": real images, chosen once. Knows the rules of coreset.c. */
#include "method/method_internal.h"

static const dd_option none[] = {{NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

static dd_status build(dd_run *r, void *state)
{
    (void)state;
    return dd_coreset_fill(r, "random", 0, dd_key_at(r->key, "coreset", 0), &r->syn->images);
}

const dd_method dd_method_random = {
    .name = "random",
    .title = "Random real images",
    .cite = "Zhao, Mopuri, Bilen 2021, baseline",
    .cost = "nothing: images are drawn",
    .memory = "the images",
    .options = none,
    .state_size = sizeof(dd_coreset),
    .build = build,
};
