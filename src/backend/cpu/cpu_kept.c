/* SPDX-License-Identifier: Apache-2.0
 *
 * Transformed weights, least recently used. */
#include "backend/cpu/cpu_kept.h"

#include "base/memory.h"

#include <string.h>

/* Convolutions of one shape in a network, and the bytes they may take beyond the first: more only costs memory. */
enum { SAME_FORM = 4, SPARE_BYTES = 16 << 20, ALIGN = 16 /* floats */ };

struct dd_kept {
    dd_kept_weights **entry;
    size_t n, cap;
    uint64_t clock;
};

dd_kept *dd_kept_open(void)
{
    return dd_alloc(1, sizeof(dd_kept));
}

static void drop(dd_kept_weights *w)
{
    if (!w) return;
    dd_workspace_fini(&w->place);
    dd_free(w);
}

void dd_kept_close(dd_kept *k)
{
    if (!k) return;
    for (size_t i = 0; i < k->n; i++) drop(k->entry[i]);
    dd_free(k->entry);
    dd_free(k);
}

static bool same(const dd_kept_form *a, const dd_kept_form *b)
{
    return memcmp(a->number, b->number, sizeof a->number) == 0;
}

static dd_kept_weights *first_of(const dd_kept *k, const dd_kept_form *form)
{
    for (size_t i = 0; i < k->n; i++)
        if (same(&k->entry[i]->form, form)) return k->entry[i];
    return NULL;
}

void dd_kept_leave(dd_kept *k, const dd_kept_form *form, bool stays)
{
    dd_kept_weights *first = first_of(k, form);
    if (!first || --first->users > 0 || stays) return;
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++) {
        if (same(&k->entry[i]->form, form))
            drop(k->entry[i]);
        else
            k->entry[n++] = k->entry[i];
    }
    k->n = n;
}

dd_status dd_kept_reserve(dd_kept *k, const dd_kept_form *form, size_t floats, size_t room, int most)
{
    int there = 0;
    dd_kept_weights *first = first_of(k, form);
    for (size_t i = 0; i < k->n; i++) there += same(&k->entry[i]->form, form);
    if (first && first->users++ < there) return DD_OK;
    const size_t apart = (floats + ALIGN - 1) / ALIGN * ALIGN, bytes = (apart + room) * sizeof(float);
    if (there >= most || there == SAME_FORM || (size_t)there * bytes > SPARE_BYTES) return DD_OK;
    dd_kept_weights *w = dd_alloc(1, sizeof *w);
    dd_status st = w ? dd_workspace_init(&w->place, bytes)
                     : dd_fail(DD_ENOMEM, "no memory for %zu bytes of transformed weights", bytes);
    if (st == DD_OK) st = dd_grow((void **)&k->entry, &k->cap, k->n + 1, sizeof(void *));
    if (st != DD_OK) {
        drop(w);
        if (first) first->users--;
        return st;
    }
    w->form = *form;
    w->users = !first;
    w->floats = floats;
    w->weights = w->place.p;
    w->made = w->weights + apart;
    k->entry[k->n++] = w;
    return DD_OK;
}

dd_kept_weights *dd_kept_find(dd_kept *k, const dd_kept_form *form, const float *weights)
{
    dd_kept_weights *oldest = NULL;
    for (size_t i = 0; i < k->n; i++) {
        dd_kept_weights *w = k->entry[i];
        if (!same(&w->form, form)) continue;
        if (w->valid && memcmp(w->weights, weights, w->floats * sizeof *weights) == 0) {
            w->used = ++k->clock;
            return w;
        }
        if (!oldest || w->used < oldest->used) oldest = w;
    }
    if (oldest) {
        oldest->valid = false;
        oldest->used = ++k->clock;
    }
    return oldest;
}

void dd_kept_confirm(dd_kept_weights *w, const float *weights)
{
    memcpy(w->weights, weights, w->floats * sizeof *weights);
    w->valid = true;
}
