/* SPDX-License-Identifier: Apache-2.0
 *
 * The coreset method "kmeans": real images, chosen once. Knows the rules of coreset.c. */
#include "method/method_internal.h"

static dd_status build(dd_run *r, void *state)
{
    return dd_coreset_fill(r, "kmeans", ((const dd_coreset *)state)->train_epochs, dd_key_at(r->key, "coreset", 0),
                           &r->syn->images);
}

const dd_method dd_method_kmeans = {
    .name = "kmeans",
    .title = "k-means: the image nearest to each centroid of the class's features",
    .cite = "Arthur, Vassilvitskii 2007",
    .cost = "training one network on the real data, once",
    .memory = "the features of a class",
    .options = dd_coreset_options,
    .state_size = sizeof(dd_coreset),
    .build = build,
};
