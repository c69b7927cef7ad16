/* SPDX-License-Identifier: Apache-2.0
 *
 * Shuffling, batching and counting hits. Every random choice hangs on (key, epoch, batch) and nothing else, so a
 * result is a pure function of the key and the inputs. Knows nn, data, tensor, base. */
#include "eval/fit.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

dd_status dd_fit_check_net(const dd_net *net, const dd_dataset *d)
{
    const dd_image im = dd_net_image(net);
    if (im.c == d->c && im.h == d->h && im.w == d->w && dd_net_classes(net) == d->classes) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "the network was opened for %" PRId64 "x%" PRId64 "x%" PRId64 " and %" PRId64
                   " classes, %s has %" PRId64 "x%" PRId64 "x%" PRId64 " and %" PRId64,
                   im.c, im.h, im.w, dd_net_classes(net), d->name, d->c, d->h, d->w, d->classes);
}

dd_status dd_fit_init(dd_fit *f, dd_trainer *t, const dd_dataset *d, dd_fit_source src, int64_t pixels, int64_t batch)
{
    *f = (dd_fit){.trainer = t, .d = d, .src = src, .pixels = pixels, .classes = d->classes};
    f->batch = batch < src.n ? batch : src.n;
    f->order = dd_alloc((size_t)src.n, sizeof *f->order);
    f->picked = dd_alloc((size_t)f->batch, sizeof *f->picked);
    f->x = dd_alloc((size_t)f->batch, (size_t)pixels * sizeof *f->x);
    f->y = dd_alloc((size_t)f->batch, (size_t)d->classes * sizeof *f->y);
    if (f->order && f->picked && f->x && f->y) return DD_OK;
    dd_fit_fini(f);
    return dd_fail(DD_ENOMEM, "out of memory for batches of %" PRId64 " images", batch);
}

void dd_fit_fini(dd_fit *f)
{
    dd_trainer_free(f->trainer);
    dd_free(f->order);
    dd_free(f->picked);
    dd_free(f->x);
    dd_free(f->y);
    dd_dc_aug_fini(&f->dc);
    memset(f, 0, sizeof *f);
}

int64_t dd_fit_steps(const dd_fit *f)
{
    const int64_t all = (f->src.n + f->batch - 1) / f->batch;
    return f->epoch_steps > 0 && f->epoch_steps < all ? f->epoch_steps : all;
}

/* Row i of y from labels and their row j; labels were checked before. */
static void label_row(const dd_fit *f, const dd_tensor *labels, int64_t i, int64_t j)
{
    float *row = f->y + i * f->classes;
    if (labels->dtype == DD_F32) {
        memcpy(row, dd_f32(labels) + j * f->classes, (size_t)f->classes * sizeof *row);
        return;
    }
    memset(row, 0, (size_t)f->classes * sizeof *row);
    row[dd_i32(labels)[j]] = 1.0f;
}

static void fetch_memory(const dd_fit *f, const int32_t *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float *from = dd_f32(f->src.images) + rows[i] * f->pixels;
        memcpy(f->x + i * f->pixels, from, (size_t)f->pixels * sizeof *from);
        label_row(f, f->src.labels, i, rows[i]);
    }
}

static void fetch_items(const dd_fit *f, const int32_t *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        f->picked[i] = f->src.items ? f->src.items[rows[i]] : rows[i];
        label_row(f, &f->d->train.labels, i, f->picked[i]);
    }
    dd_data_batch(f->d, &f->d->train, f->picked, n, f->x);
}

/* Batch s of the epoch whose key is ke, into x and y. */
static void fetch(dd_fit *f, int64_t s, int64_t n, dd_key ke)
{
    const int32_t *rows = f->order + s * f->batch;
    if (f->src.images)
        fetch_memory(f, rows, n);
    else
        fetch_items(f, rows, n);
    dd_dc_aug_apply(&f->dc, f->x, n, dd_key_at(ke, "dc augmentation", (uint64_t)s));
}

dd_status dd_fit_epoch(dd_fit *f, int64_t epoch, dd_rate_fn rate, const void *self, dd_key key, double *loss)
{
    const dd_key ke = dd_key_at(key, "epoch", (uint64_t)epoch);
    const int64_t steps = dd_fit_steps(f);
    double sum = 0;
    int64_t seen = 0;
    dd_key_permutation(dd_key_at(ke, "shuffle", 0), f->src.n, f->order);
    for (int64_t s = 0; s < steps; s++) {
        const int64_t left = f->src.n - s * f->batch, n = left < f->batch ? left : f->batch;
        double l = 0;
        if (f->going_on && !f->going_on(f->self, s))
            return dd_fail(DD_EINTERRUPTED, "stopped before step %" PRId64 " of %" PRId64 " of an epoch", s + 1, steps);
        fetch(f, s, n, ke);
        DD_TRY(dd_trainer_step(f->trainer, f->x, f->y, n, rate(self, epoch * steps + s),
                               dd_key_at(ke, "batch", (uint64_t)s), &l));
        sum += l * (double)n;
        seen += n;
        if (!isfinite(l)) break;
    }
    *loss = sum / (double)seen;
    return DD_OK;
}

dd_status dd_fit_strided(dd_fit *f, int64_t first, int64_t stride, double rate, dd_key key, double *loss)
{
    int64_t n = 0;
    for (int64_t i = first; i < f->src.n && n < f->batch; i += stride) f->order[n++] = (int32_t)i;
    fetch(f, 0, n, key);
    return dd_trainer_step(f->trainer, f->x, f->y, n, rate, dd_key_at(key, "batch", 0), loss);
}

static int64_t hits(const float *logits, const int32_t *labels, const int32_t *items, int64_t n, int64_t classes)
{
    int64_t right = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *z = logits + i * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            if (z[c] > z[best]) best = c;
        right += best == labels[items[i]];
    }
    return right;
}

typedef struct test_buffers {
    int32_t *items;
    float *x, *logits;
} test_buffers;

static dd_status count_hits(dd_trainer *t, const dd_dataset *d, const dd_split *split, const int32_t *items, int64_t n,
                            int64_t batch, test_buffers *b, int64_t *right)
{
    for (int64_t first = 0; first < n; first += batch) {
        const int64_t count = n - first < batch ? n - first : batch;
        for (int64_t i = 0; i < count; i++) b->items[i] = items ? items[first + i] : (int32_t)(first + i);
        dd_data_batch(d, split, b->items, count, b->x);
        DD_TRY(dd_trainer_logits(t, b->x, count, b->logits));
        *right += hits(b->logits, dd_i32(&split->labels), b->items, count, d->classes);
    }
    return DD_OK;
}

dd_status dd_fit_accuracy(dd_trainer *t, const dd_dataset *d, const dd_split *split, const int32_t *items, int64_t n,
                          int64_t batch, double *accuracy)
{
    if (n < 1) return dd_fail(DD_EINVAL, "there is no image to test on in %s", d->name);
    if (batch < 1 || batch > n) batch = n < 256 ? n : 256;
    test_buffers b = {dd_alloc((size_t)batch, sizeof(int32_t)),
                      dd_alloc((size_t)batch, (size_t)(d->c * d->h * d->w) * sizeof(float)),
                      dd_alloc((size_t)batch, (size_t)d->classes * sizeof(float))};
    int64_t right = 0;
    dd_status st;
    if (b.items && b.x && b.logits)
        st = count_hits(t, d, split, items, n, batch, &b, &right);
    else
        st = dd_fail(DD_ENOMEM, "out of memory for test batches of %" PRId64 " images", batch);
    dd_free(b.items);
    dd_free(b.x);
    dd_free(b.logits);
    *accuracy = (double)right / (double)n;
    return st;
}
