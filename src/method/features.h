/* SPDX-License-Identifier: Apache-2.0
 *
 * Features of the synthetic set by a network, some images at a time, and what follows for the images from the slope of
 * something by the features, for which each part is computed once more. Seen by method/ only. */
#ifndef ATTAR_METHOD_FEATURES_H
#define ATTAR_METHOD_FEATURES_H
#include "method/feed.h"

typedef struct dd_features {
    int64_t part;
    bool mirrored;
    dd_program *run, *slope;
    dd_tensor x, f, d, dx; /* of a part: [part,C,H,W]; [part,F], or with mirror images [2 part,F]; as f; as x */
} dd_features;

/* The features of images x; mirrored: and below them those of their mirror images. */
dd_val dd_features_of(dd_graph *g, const dd_run *r, dd_val theta, dd_val stats, dd_val x, bool mirrored);
/* Of `part` images at a time. theta [P] and stats [S], empty without batch norm, are bound and borrowed. */
dd_status dd_features_init(dd_features *e, const dd_run *r, int64_t part, bool mirrored, const dd_tensor *theta,
                           const dd_tensor *stats);
void dd_features_fini(dd_features *e);
/* Of x [n,C,H,W] into f [n,F] or [2n,F]. DD_EINTERRUPTED: the run shall stop. */
dd_status dd_features_run(dd_features *e, const dd_run *r, const dd_tensor *x, dd_tensor *f);
/* d, as f: the gradient of something by f. That by x into dx, as x. */
dd_status dd_features_slope(dd_features *e, const dd_run *r, const dd_tensor *x, const dd_tensor *d, dd_tensor *dx);
#endif
