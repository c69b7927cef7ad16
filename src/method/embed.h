/* SPDX-License-Identifier: Apache-2.0
 *
 * Embeddings of many real images by a network, some at a time. Seen by method/ only. */
#ifndef ATTAR_METHOD_EMBED_H
#define ATTAR_METHOD_EMBED_H
#include "method/feed.h"

/* A program for some of the images. */
typedef struct dd_embed_part {
    dd_program *p;
    dd_feed in;
    dd_tensor out; /* [n,F] */
} dd_embed_part;

typedef struct dd_embed {
    int64_t n;
    dd_embed_part part[2]; /* some at a time, and the rest */
} dd_embed;

/* Of n images. theta [P] and stats [S], empty without batch norm, are bound and borrowed. */
dd_status dd_embed_init(dd_embed *e, const dd_run *r, int64_t n, const dd_tensor *theta, const dd_tensor *stats);
void dd_embed_fini(dd_embed *e);
/* Training items [n]: features [n,F], and their one-hot labels y [n,classes]; y may be NULL. Both of r->dtype. */
dd_status dd_embed_run(dd_embed *e, const dd_run *r, const int32_t *items, dd_tensor *features, dd_tensor *y);
#endif
