/* SPDX-License-Identifier: Apache-2.0
 *
 * The mean cross-entropy of a batch and its gradient by the network, and the same over many real images in chunks.
 * Seen by method/ only. */
#ifndef ATTAR_METHOD_LOSSGRAD_H
#define ATTAR_METHOD_LOSSGRAD_H
#include "method/feed.h"

typedef struct dd_lossgrad {
    dd_program *p;
    dd_feed in;
    dd_tensor loss, out; /* scalar, [P] */
} dd_lossgrad;

/* Of n images; augmented where the run augments and `aug` asks for it. theta [P] is bound and borrowed. */
dd_status dd_lossgrad_init(dd_lossgrad *w, const dd_run *r, int64_t n, bool aug, const dd_tensor *theta);
void dd_lossgrad_fini(dd_lossgrad *w);

/* Of n real images, without augmentation, `chunk` at a time. */
typedef struct dd_judge {
    int64_t n;
    dd_lossgrad part, tail;
} dd_judge;
dd_status dd_judge_init(dd_judge *j, const dd_run *r, int64_t n, int64_t chunk, const dd_tensor *theta);
void dd_judge_fini(dd_judge *j);
/* end [P] receives the gradient on the training items [n]. */
dd_status dd_judge_run(dd_judge *j, const dd_run *r, const int32_t *items, double *loss, dd_tensor *end);

/* The real batch of an iteration: slices of one permutation an epoch; what is left over waits for another epoch. */
typedef struct dd_stream {
    int64_t batch, epoch;         /* epoch: whose permutation is there; -1: none */
    int32_t *permutation, *items; /* [nitems] [batch] */
} dd_stream;
dd_status dd_stream_init(dd_stream *s, const dd_run *r, int64_t batch);
void dd_stream_fini(dd_stream *s);
void dd_stream_take(dd_stream *s, const dd_run *r, int64_t it);
#endif
