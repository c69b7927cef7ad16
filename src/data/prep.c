/* SPDX-License-Identifier: Apache-2.0
 *
 * What every loader's result goes through: class names, label checks, normalisation, hash, batches. Knows base and
 * tensor. */
#include "base/memory.h"
#include "data/data_internal.h"
#include "data/whiten.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1 << 18 }; /* pixels from which threads share the work */

dd_status dd_class_names_copy(dd_dataset *d, char *const *names)
{
    if (d->class_names) {
        for (int64_t i = 0; i < d->classes; i++) dd_free(d->class_names[i]);
        dd_free(d->class_names);
    }
    d->class_names = dd_alloc((size_t)d->classes, sizeof *d->class_names);
    bool ok = d->class_names != NULL;
    for (int64_t i = 0; ok && i < d->classes; i++) ok = (d->class_names[i] = dd_strdup(names[i])) != NULL;
    return ok ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %lld class names", (long long)d->classes);
}

dd_status dd_class_names_numbered(dd_dataset *d)
{
    d->class_names = dd_alloc((size_t)d->classes, sizeof *d->class_names);
    bool ok = d->class_names != NULL;
    for (int64_t i = 0; ok && i < d->classes; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)i);
        ok = (d->class_names[i] = dd_strdup(text)) != NULL;
    }
    return ok ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %lld class names", (long long)d->classes);
}

static int64_t largest_label(const dd_split *s, int64_t *item)
{
    int64_t top = -1;
    for (int64_t i = 0; i < s->n; i++) {
        if (dd_i32(&s->labels)[i] > top) {
            top = dd_i32(&s->labels)[i];
            *item = i;
        }
    }
    return top;
}

dd_status dd_check_labels(dd_dataset *d, int64_t classes)
{
    int64_t item = 0, top = largest_label(&d->train, &item);
    if (!classes) {
        if (top >= d->train.n)
            return dd_fail(DD_EFORMAT,
                           "%s: label %lld of item %lld is out of range, %lld items can have at most %lld classes",
                           d->source, (long long)top, (long long)item, (long long)d->train.n, (long long)d->train.n);
        classes = top + 1;
    }
    if (top >= classes)
        return dd_fail(DD_EFORMAT, "%s: label %lld of item %lld is out of range, there are %lld classes", d->source,
                       (long long)top, (long long)item, (long long)classes);
    if (classes > 65536)
        return dd_fail(DD_EFORMAT, "%s: %lld classes, at most 65536 are read", d->source, (long long)classes);
    if (classes < 2) return dd_fail(DD_EFORMAT, "%s has only one class; at least two are needed", d->source);
    d->classes = classes;
    top = largest_label(&d->test, &item);
    if (top >= classes)
        return dd_fail(DD_EFORMAT,
                       "%s: label %lld of test item %lld is out of range, the training part has %lld classes",
                       d->source, (long long)top, (long long)item, (long long)classes);
    return DD_OK;
}

static double pixel(const dd_tensor *t, int64_t i)
{
    return t->dtype == DD_U8 ? (double)dd_u8(t)[i] / 255.0 : (double)dd_f32(t)[i];
}

/* Mean and population deviation of one channel over the training part; a constant channel gets deviation 1. */
static void channel_stats(const dd_dataset *d, int64_t k, double *mean, double *std)
{
    int64_t hw = d->h * d->w, n = d->train.n * hw;
    double sum = 0, sq = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < d->train.n; i++) {
            double part = 0;
            for (int64_t p = 0; p < hw; p++) {
                double x = pixel(&d->train.images, (i * d->c + k) * hw + p);
                part += pass ? (x - sum) * (x - sum) : x;
            }
            *(pass ? &sq : &sum) += part;
        }
        if (!pass) sum /= (double)n;
    }
    sq = sqrt(sq / (double)n);
    *mean = sum;
    *std = sq > 1e-12 ? sq : 1;
}

/* "a" or "a,b,c" up to `end`; one value serves all channels. */
static bool numbers(const char *p, const char *end, int64_t c, double *out)
{
    int64_t n = 0;
    while (p < end) {
        char *stop;
        if (n == c) return false;
        out[n] = strtod(p, &stop);
        if (stop == p || stop > end || !isfinite(out[n])) return false;
        n++;
        if (stop < end && *stop != ',') return false;
        p = stop + (stop < end);
        if (stop < end && p == end) return false;
    }
    for (int64_t i = 1; n == 1 && i < c; i++) out[i] = out[0];
    return n == 1 || n == c;
}

static dd_status given(dd_dataset *d, const char *how)
{
    const char *slash = strchr(how, '/');
    bool ok = slash && numbers(how, slash, d->c, d->mean) && numbers(slash + 1, how + strlen(how), d->c, d->std);
    if (!ok)
        return dd_fail(DD_EINVAL,
                       "normalisation \"%s\" is none of auto, computed, none, %s, MEAN[,MEAN..]/STD[,STD..] with %s "
                       "finite value%s each",
                       how, dd_whiten_names(), d->c > 1 ? "one or as many as channels of" : "1", d->c > 1 ? "s" : "");
    for (int64_t k = 0; k < d->c; k++) {
        if (d->std[k] <= 0)
            return dd_fail(DD_EINVAL, "normalisation \"%s\": deviation %g is not above 0", how, d->std[k]);
    }
    return DD_OK;
}

static void all_channels(dd_dataset *d, bool computed)
{
    for (int64_t k = 0; k < d->c; k++) {
        d->mean[k] = 0;
        d->std[k] = 1;
        if (computed) channel_stats(d, k, &d->mean[k], &d->std[k]);
    }
}

/* What a whitening variant wants of the channels before its matrix. */
static void before_whitening(dd_dataset *d, const dd_whiten_kind *z)
{
    all_channels(d, z->stats != DD_WHITEN_PLAIN);
    for (int64_t k = 0; k < d->c && z->stats == DD_WHITEN_ROUNDED; k++) {
        const double std = round(d->std[k] * 1e4) / 1e4;
        d->mean[k] = round(d->mean[k] * 1e4) / 1e4;
        if (std > 0) d->std[k] = std;
    }
}

dd_status dd_normalise(dd_dataset *d, const char *how, const double *mean, const double *std)
{
    const char *kind = "given";
    const dd_whiten_kind *z = dd_whiten_kind_named(how);
    if (!how || strcmp(how, "auto") == 0) how = mean ? "published" : "computed";
    if (z) {
        before_whitening(d, z);
        kind = how;
    } else if (strcmp(how, "published") == 0 && mean) {
        memcpy(d->mean, mean, (size_t)d->c * sizeof *mean);
        memcpy(d->std, std, (size_t)d->c * sizeof *std);
        kind = how;
    } else if (strcmp(how, "computed") == 0 || strcmp(how, "none") == 0) {
        kind = how;
        all_channels(d, how[0] == 'c');
    } else {
        DD_TRY(given(d, how));
    }
    snprintf(d->normalisation, sizeof d->normalisation, "%s", kind);
    return DD_OK;
}

dd_status dd_whiten_as(dd_dataset *d, const char *how, dd_whitening *given)
{
    const dd_whiten_kind *z = dd_whiten_kind_named(how);
    const int64_t pixels = d->c * d->h * d->w;
    if (!given) return z ? dd_whiten_fit(d, z) : DD_OK;
    if (given->d != pixels)
        return dd_fail(DD_EINVAL, "the whitening is of images of %lld values, those of %s have %lld",
                       (long long)given->d, d->name, (long long)pixels);
    d->whitening = dd_whitening_share(given);
    snprintf(d->normalisation, sizeof d->normalisation, "%s", given->kind->name);
    return DD_OK;
}

void dd_dataset_hash(dd_dataset *d)
{
    dd_chunk c[4];
    const dd_tensor *t[4] = {&d->train.images, &d->train.labels, &d->test.images, &d->test.labels};
    for (int i = 0; i < 4; i++) {
        c[i].p = t[i]->data;
        c[i].n = t[i]->data ? dd_tensor_bytes(t[i]) : 0;
    }
    dd_sha256_hex(c, 4, d->sha256);
}

/* A table of 256 serves bytes: one division each would be most of the cost of a batch. */
static void batch_u8(const dd_dataset *d, const dd_split *s, const int32_t *items, int64_t n, float *out)
{
    int64_t hw = d->h * d->w;
    for (int64_t k = 0; k < d->c; k++) {
        float table[256];
        for (int v = 0; v < 256; v++) table[v] = (float)(((double)v / 255.0 - d->mean[k]) / d->std[k]);
#pragma omp parallel for schedule(static) if (n * hw >= MANY)
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *x = dd_u8(&s->images) + (items[i] * d->c + k) * hw;
            float *y = out + (i * d->c + k) * hw;
            for (int64_t p = 0; p < hw; p++) y[p] = table[x[p]];
        }
    }
}

static void standardise(const dd_dataset *d, const dd_split *s, const int32_t *items, int64_t n, float *out)
{
    int64_t hw = d->h * d->w;
    if (s->images.dtype == DD_U8) {
        batch_u8(d, s, items, n, out);
        return;
    }
#pragma omp parallel for schedule(static) if (n * d->c * hw >= MANY)
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < d->c; k++) {
            const float *x = dd_f32(&s->images) + (items[i] * d->c + k) * hw;
            float *y = out + (i * d->c + k) * hw;
            const double mean = d->mean[k], std = d->std[k];
            if (mean == 0 && std == 1)
                memcpy(y, x, (size_t)hw * sizeof *y);
            else
                for (int64_t p = 0; p < hw; p++) y[p] = (float)(((double)x[p] - mean) / std);
        }
    }
}

void dd_data_batch(const dd_dataset *d, const dd_split *s, const int32_t *items, int64_t n, float *out)
{
    standardise(d, s, items, n, out);
    if (d->whitening) dd_whiten(d->whitening, out, n);
}
