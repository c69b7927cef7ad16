/* SPDX-License-Identifier: Apache-2.0
 *
 * Whitening transforms and what is done with one. The variants of the literature do not agree on what precedes the
 * matrix and on what is added to the eigenvalues, and a set whitened by one is noise to a network that sees test
 * images whitened by another; hence named variants. Knows base and tensor. */
#include "data/whiten.h"
#include "base/linear.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROWS 256 /* images whitened at a time */
#define COLS 256 /* columns of W a thread takes: fixed, so that threads change no bit */

/* MTT, TESLA, HaBa, DATM and DataDAM; KIP, whose code leaves the last 5000 training images out of the statistics,
 * which nothing here does; FRePo, whose published channel statistics are the computed ones to four decimals; RFAD,
 * which is KIP's without the step for each image. */
static const dd_whiten_kind kinds[] = {
    {"zca-mtt", DD_WHITEN_PLAIN, false, true, true, 0.1, false},
    {"zca-kip", DD_WHITEN_COMPUTED, true, false, false, 0.1, true},
    {"zca-frepo", DD_WHITEN_ROUNDED, false, true, false, 0.1, true},
    {"zca-rfad", DD_WHITEN_COMPUTED, false, false, false, 0.1, true},
};

const dd_whiten_kind *dd_whiten_kind_named(const char *name)
{
    for (size_t i = 0; name && i < DD_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    }
    return NULL;
}

const char *dd_whiten_names(void)
{
    return "zca-mtt, zca-kip, zca-frepo, zca-rfad";
}

dd_status dd_whitening_new(dd_whitening **out, const dd_whiten_kind *kind, int64_t d)
{
    *out = NULL;
    if (d > DD_WHITEN_MOST)
        return dd_fail(DD_EINVAL,
                       "%s needs a %lld x %lld matrix for images of %lld values, at most %d (3x64x64) are possible; "
                       "resize the images or normalise them otherwise",
                       kind->name, (long long)d, (long long)d, (long long)d, DD_WHITEN_MOST);
    dd_whitening *w = dd_alloc(1, sizeof *w);
    if (!w) return dd_fail(DD_ENOMEM, "out of memory");
    const size_t n = (size_t)d;
    w->kind = kind;
    w->d = d;
    w->refs = 1;
    w->mean = dd_alloc(n, sizeof *w->mean);
    w->values = dd_alloc(n, sizeof *w->values);
    w->vectors = dd_alloc(n * n, sizeof *w->vectors);
    w->w = dd_alloc(n * n, sizeof *w->w);
    w->scratch = dd_alloc(ROWS * n, sizeof *w->scratch);
    if (!w->mean || !w->values || !w->vectors || !w->w || !w->scratch) {
        dd_whitening_free(w);
        return dd_fail(DD_ENOMEM, "out of memory for whitening images of %lld values", (long long)d);
    }
    *out = w;
    return DD_OK;
}

dd_whitening *dd_whitening_share(dd_whitening *w)
{
    if (w) w->refs++;
    return w;
}

void dd_whitening_free(dd_whitening *w)
{
    if (!w || --w->refs > 0) return;
    dd_free(w->mean);
    dd_free(w->values);
    dd_free(w->vectors);
    dd_free(w->w);
    dd_free(w->scratch);
    dd_free(w);
}

void dd_whitening_text(const dd_whitening *w, char *buf, size_t size)
{
    double sum = 0;
    for (int64_t i = 0; i < w->d; i++) sum += w->values[i];
    snprintf(buf, size, "%s of variance %.6g", w->kind->name, sum);
}

dd_status dd_whitening_matrix(dd_whitening *w)
{
    const int64_t d = w->d;
    double *v = dd_alloc((size_t)(d * d), sizeof *v), *g = dd_alloc((size_t)(d * d), sizeof *g);
    if (v && g) {
        /* the Gram matrix of rows (s + eps)^-1/4 u */
        for (int64_t i = 0; i < d; i++) {
            const double f = 1 / sqrt(sqrt(w->values[i] + w->eps));
            for (int64_t k = 0; k < d; k++) v[i * d + k] = f * (double)w->vectors[i * d + k];
        }
        dd_linear_gram(d, d, v, g);
        for (int64_t i = 0; i < d; i++) {
            for (int64_t k = i; k < d; k++) w->w[i * d + k] = w->w[k * d + i] = (float)g[i * d + k];
        }
    }
    const bool fits = v && g;
    dd_free(v);
    dd_free(g);
    return fits ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a %lld x %lld matrix", (long long)d, (long long)d);
}

double dd_whiten_images(const dd_whiten_kind *kind, float *x, int64_t n, int64_t d)
{
    double lengths = 0;
    for (int64_t i = 0; kind->per_image && i < n; i++) {
        float *y = x + i * d;
        double sum = 0, sq = 0;
        for (int64_t k = 0; k < d; k++) sum += (double)y[k];
        sum /= (double)d;
        for (int64_t k = 0; k < d; k++) sq += ((double)y[k] - sum) * ((double)y[k] - sum);
        sq = sqrt(sq);
        lengths += sq;
        /* an image of one colour has no direction and becomes 0 */
        for (int64_t k = 0; k < d; k++) y[k] = sq > 1e-9 ? (float)(((double)y[k] - sum) / sq) : 0;
    }
    return lengths;
}

void dd_whiten(const dd_whitening *w, float *x, int64_t n)
{
    const int64_t d = w->d;
    dd_whiten_images(w->kind, x, n, d);
    for (int64_t row = 0; row < n; row += ROWS) {
        const int64_t m = n - row < ROWS ? n - row : ROWS;
        float *y = x + row * d;
        for (int64_t i = 0; i < m; i++) {
            for (int64_t k = 0; k < d; k++) w->scratch[i * d + k] = (float)((double)y[i * d + k] - w->mean[k]);
        }
        /* inside a parallel region BLAS keeps to one thread */
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < d; k += COLS)
            dd_linear_product(m, d - k < COLS ? d - k : COLS, d, w->scratch, d, w->w + k, d, false, y + k, d);
    }
}

dd_status dd_unwhiten(const dd_whitening *w, const float *x, int64_t n, float *y)
{
    const int64_t d = w->d;
    float *part = dd_alloc((size_t)(n * d), sizeof *part);
    if (!part) return dd_fail(DD_ENOMEM, "out of memory for %lld images", (long long)n);
    dd_linear_product(n, d, d, x, d, w->vectors, d, true, part, d);
    for (int64_t k = 0; k < d; k++) {
        const double f = sqrt(w->values[k] + w->eps);
        for (int64_t i = 0; i < n; i++) part[i * d + k] = (float)(f * (double)part[i * d + k]);
    }
    dd_linear_product(n, d, d, part, d, w->vectors, d, false, y, d);
    dd_free(part);
    const double length = w->kind->per_image ? w->length : 1;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < d; k++) y[i * d + k] = (float)(((double)y[i * d + k] + w->mean[k]) * length);
    }
    return DD_OK;
}

dd_status dd_whiten_shown(const dd_whitening *w, const dd_tensor *images, dd_tensor *out)
{
    DD_TRY(dd_tensor_init(out, DD_F32, images->shape));
    if (w) return dd_unwhiten(w, dd_f32(images), images->shape.dim[0], dd_f32(out));
    memcpy(out->data, images->data, dd_tensor_bytes(images));
    return DD_OK;
}
