/* SPDX-License-Identifier: Apache-2.0
 *
 * Which items belong to which class, and cutting a part in two: the stratified validation part and the fixed test
 * part of data sets that come without one. Knows base and tensor. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <stdlib.h>
#include <string.h>

dd_status dd_split_index(const dd_dataset *d, dd_split *s)
{
    s->class_first = dd_alloc((size_t)d->classes + 1, sizeof *s->class_first);
    s->class_index = dd_alloc((size_t)s->n + 1, sizeof *s->class_index);
    int64_t *at = dd_alloc((size_t)d->classes + 1, sizeof *at);
    if (!s->class_first || !s->class_index || !at) {
        dd_free(at);
        return dd_fail(DD_ENOMEM, "out of memory for the class index of %lld items", (long long)s->n);
    }
    for (int64_t i = 0; i < s->n; i++) s->class_first[dd_i32(&s->labels)[i] + 1]++;
    for (int64_t k = 0; k < d->classes; k++) s->class_first[k + 1] += s->class_first[k];
    memcpy(at, s->class_first, (size_t)d->classes * sizeof *at);
    for (int64_t i = 0; i < s->n; i++) s->class_index[at[dd_i32(&s->labels)[i]]++] = (int32_t)i;
    dd_free(at);
    return DD_OK;
}

void dd_split_fini(dd_split *s)
{
    dd_tensor_fini(&s->images);
    dd_tensor_fini(&s->labels);
    dd_free(s->class_first);
    dd_free(s->class_index);
    memset(s, 0, sizeof *s);
}

/* The marked (or unmarked) items of `s`, in their order. */
static dd_status take(const dd_split *s, const uint8_t *mark, uint8_t want, dd_split *out)
{
    dd_shape sh = s->images.shape;
    size_t item = dd_tensor_bytes(&s->images) / (size_t)s->n;
    out->n = 0;
    for (int64_t i = 0; i < s->n; i++) out->n += mark[i] == want;
    sh.dim[0] = out->n;
    DD_TRY(dd_tensor_init(&out->images, s->images.dtype, sh));
    DD_TRY(dd_tensor_init(&out->labels, DD_I32, DD_SHAPE(out->n)));
    int64_t to = 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (mark[i] != want) continue;
        memcpy((char *)out->images.data + (size_t)to * item, (const char *)s->images.data + (size_t)i * item, item);
        dd_i32(&out->labels)[to++] = dd_i32(&s->labels)[i];
    }
    return DD_OK;
}

dd_status dd_split_fifth(dd_dataset *d)
{
    dd_split all = d->train, train = {0}, test = {0};
    if (all.n < 5)
        return dd_fail(DD_EFORMAT, "%s: %lld items without a test part are too few to hold a fifth out", d->source,
                       (long long)all.n);
    uint8_t *mark = dd_alloc((size_t)all.n, 1);
    dd_status st =
        mark ? dd_split_index(d, &all) : dd_fail(DD_ENOMEM, "out of memory for %lld items", (long long)all.n);
    for (int64_t i = 0; st == DD_OK && i < all.n; i += 5) mark[all.class_index[i]] = 1;
    if (st == DD_OK) st = take(&all, mark, 0, &train);
    if (st == DD_OK) st = take(&all, mark, 1, &test);
    dd_free(mark);
    if (st == DD_OK) {
        dd_split_fini(&all);
        d->train = train;
        d->test = test;
        return DD_OK;
    }
    d->train = all;
    dd_split_fini(&train);
    dd_split_fini(&test);
    return st;
}

/* Marks round(fraction * size) items of every class, at least one and never all, chosen by key. */
static dd_status mark_part(const dd_dataset *d, double fraction, dd_key key, uint8_t *mark)
{
    const dd_split *s = &d->train;
    int32_t *perm = dd_alloc((size_t)s->n, sizeof *perm);
    if (!perm) return dd_fail(DD_ENOMEM, "out of memory for %lld items", (long long)s->n);
    for (int64_t k = 0; k < d->classes; k++) {
        int64_t n = s->class_first[k + 1] - s->class_first[k];
        int64_t m = fraction > 0 ? (int64_t)(fraction * (double)n + 0.5) : 0;
        if (fraction > 0 && m == 0) m = 1;
        if (m >= n) m = n - 1;
        if (n > 0) dd_key_permutation(dd_key_at(key, "holdout", (uint64_t)k), n, perm);
        for (int64_t i = 0; i < m; i++) mark[s->class_index[s->class_first[k] + perm[i]]] = 1;
    }
    dd_free(perm);
    return DD_OK;
}

dd_status dd_data_holdout(const dd_dataset *d, double fraction, dd_key key, int32_t **train, int64_t *ntrain,
                          int32_t **val, int64_t *nval)
{
    *train = *val = NULL;
    *ntrain = *nval = 0;
    if (!(fraction >= 0 && fraction <= 0.5))
        return dd_fail(DD_EINVAL, "a held-out fraction of %g is outside 0..0.5", fraction);
    int64_t n = d->train.n;
    /* the caller's to free, so not from our heap */
    int32_t *a = malloc((size_t)n * sizeof *a + 1), *b = malloc((size_t)n * sizeof *b + 1);
    uint8_t *mark = dd_alloc((size_t)n, 1);
    const dd_status st = a && b && mark ? mark_part(d, fraction, key, mark)
                                        : dd_fail(DD_ENOMEM, "out of memory for %lld items", (long long)n);
    if (st == DD_OK) {
        *train = a;
        *val = b;
        for (int64_t i = 0; i < n; i++) {
            if (mark[i])
                (*val)[(*nval)++] = (int32_t)i;
            else
                (*train)[(*ntrain)++] = (int32_t)i;
        }
    } else {
        free(a);
        free(b);
    }
    dd_free(mark);
    return st;
}
