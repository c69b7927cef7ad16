/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights in the form a kernel wants, kept from one launch to the next: a network that embeds thousands of images in
 * small batches transforms its weights once. What is kept is found by comparing the weights themselves, all of them, so
 * nobody has to say that they changed and no result depends on what was kept. One launch at a time. */
#ifndef ATTAR_BACKEND_CPU_KEPT_H
#define ATTAR_BACKEND_CPU_KEPT_H
#include "base/workspace.h"

#include <stdint.h>

typedef struct dd_kept dd_kept;

/* What a transformation is: the numbers that tell one from every other. */
typedef struct dd_kept_form {
    int64_t number[4];
} dd_kept_form;

typedef struct dd_kept_weights {
    dd_kept_form form;
    size_t floats; /* of the weights */
    bool valid;
    uint64_t used;
    int users;             /* in the first of its form: instructions prepared with it */
    float *weights, *made; /* in place.p, one behind the other */
    dd_workspace place;
} dd_kept_weights;

dd_kept *dd_kept_open(void); /* NULL: out of memory */
void dd_kept_close(dd_kept *k);
/* While preparing: one more user of the form. Makes room for it, up to `most` of the same form and to a few. DD_ENOMEM.
 */
dd_status dd_kept_reserve(dd_kept *k, const dd_kept_form *form, size_t floats, size_t room, int most);
/* One user less. The room stays for the next, or goes with the last user. */
void dd_kept_leave(dd_kept *k, const dd_kept_form *form, bool stays);
/* While running: these weights in the form (->valid), or the place of those used longest ago, to be filled into ->made
 * and confirmed. There is one for every form that was reserved. */
dd_kept_weights *dd_kept_find(dd_kept *k, const dd_kept_form *form, const float *weights);
void dd_kept_confirm(dd_kept_weights *w, const float *weights);
#endif
