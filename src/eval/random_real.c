/* SPDX-License-Identifier: Apache-2.0
 *
 * The yardstick of every method: networks trained on as many random real images. Each network has images of its own, so
 * the deviation covers their choice. Knows data, tensor, base. */
#include "attar/eval.h"
#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

typedef struct draw {
    const dd_dataset *d;
    int64_t ipc;
    int64_t *first;              /* [classes+1] ranges in `item` */
    int32_t *item, *order, *set; /* allowed items by class; a permutation; [classes*ipc] */
    dd_tensor images, labels;
} draw;

static void draw_fini(draw *w)
{
    dd_free(w->first);
    dd_free(w->item);
    dd_free(w->order);
    dd_free(w->set);
    dd_tensor_fini(&w->images);
    dd_tensor_fini(&w->labels);
}

static dd_status sort_items(draw *w, const int32_t *items, int64_t n)
{
    const int32_t *label = dd_i32(&w->d->train.labels);
    int64_t at = 0;
    for (int64_t c = 0; c < w->d->classes; c++) {
        w->first[c] = at;
        for (int64_t i = 0; i < n; i++) {
            const int32_t k = items ? items[i] : (int32_t)i;
            if (label[k] == c) w->item[at++] = k;
        }
        if (at - w->first[c] < w->ipc)
            return dd_fail(DD_EINVAL,
                           "class %s has %" PRId64 " images to choose from, fewer than %" PRId64 ": lower ipc",
                           w->d->class_names[c], at - w->first[c], w->ipc);
    }
    w->first[w->d->classes] = at;
    return DD_OK;
}

static dd_status draw_init(draw *w, const int32_t *items, int64_t n)
{
    const int64_t m = w->ipc * w->d->classes;
    w->first = dd_alloc((size_t)w->d->classes + 1, sizeof *w->first);
    w->item = dd_alloc((size_t)n, sizeof *w->item);
    w->order = dd_alloc((size_t)n, sizeof *w->order);
    w->set = dd_alloc((size_t)m, sizeof *w->set);
    if (!w->first || !w->item || !w->order || !w->set)
        return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " random images", m);
    DD_TRY(sort_items(w, items, n));
    DD_TRY(dd_tensor_init(&w->images, DD_F32, DD_SHAPE(m, w->d->c, w->d->h, w->d->w)));
    DD_TRY(dd_tensor_init(&w->labels, DD_I32, DD_SHAPE(m)));
    for (int64_t i = 0; i < m; i++) dd_i32(&w->labels)[i] = (int32_t)(i / w->ipc);
    return DD_OK;
}

static void draw_images(draw *w, dd_key key)
{
    for (int64_t c = 0; c < w->d->classes; c++) {
        dd_key_permutation(dd_key_at(key, "class", (uint64_t)c), w->first[c + 1] - w->first[c], w->order);
        for (int64_t i = 0; i < w->ipc; i++) w->set[c * w->ipc + i] = w->item[w->first[c] + w->order[i]];
    }
    dd_data_batch(w->d, &w->d->train, w->set, w->ipc * w->d->classes, dd_f32(&w->images));
}

/* Progress of one network as that of all. */
typedef struct relay {
    dd_train_fn fn;
    void *self;
    int64_t done, repeats;
} relay;

static bool pass_on(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    const relay *r = self;
    return r->fn(r->self, r->done * epochs + epoch, r->repeats * epochs, loss, accuracy);
}

static dd_status all_networks(dd_eval_result *out, draw *w, dd_backend *b, const char *net, const dd_protocol *p,
                              dd_key key, relay *r)
{
    double sum = 0, squares = 0;
    const double n = (double)r->repeats;
    for (r->done = 0; r->done < r->repeats; r->done++) {
        dd_eval_result one;
        draw_images(w, dd_key_at(key, "random real", (uint64_t)r->done));
        DD_TRY(dd_evaluate(&one, b, net, w->d, &w->images, &w->labels, &w->d->test, NULL, 0, p, 1,
                           dd_key_at(key, "random network", (uint64_t)r->done), r->fn ? pass_on : NULL, r));
        out->accuracy[r->done] = one.mean;
        out->ridge = one.ridge > out->ridge ? one.ridge : out->ridge;
        snprintf(out->net, sizeof out->net, "%s", one.net);
        out->seconds += one.seconds;
        out->train_loss += one.train_loss / n;
        sum += one.mean;
    }
    out->kernel = p->kernel[0] != 0;
    out->repeats = r->repeats;
    out->mean = sum / n;
    for (int64_t i = 0; i < r->repeats; i++) squares += (out->accuracy[i] - out->mean) * (out->accuracy[i] - out->mean);
    out->std = sqrt(squares / n);
    return DD_OK;
}

dd_status dd_evaluate_random(dd_eval_result *out, dd_backend *b, const char *net, const dd_dataset *d,
                             const int32_t *items, int64_t nitems, int64_t ipc, const dd_protocol *p, int64_t repeats,
                             dd_key key, dd_train_fn fn, void *self)
{
    draw w = {.d = d, .ipc = ipc};
    relay r = {fn, self, 0, repeats};
    *out = (dd_eval_result){0};
    if (ipc < 1 || repeats < 1 || repeats > 64)
        return dd_fail(DD_EINVAL,
                       "random images need ipc >= 1 and 1 to 64 networks, not ipc %" PRId64 " and %" PRId64 " networks",
                       ipc, repeats);
    dd_status s = draw_init(&w, items, items ? nitems : d->train.n);
    if (s == DD_OK) s = all_networks(out, &w, b, net, p, key, &r);
    draw_fini(&w);
    return s;
}
