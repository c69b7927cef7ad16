/* SPDX-License-Identifier: Apache-2.0
 *
 * whitening.safetensors: the transform that a synthetic set's images were whitened with. Vectors and values are kept
 * rather than the matrix, because pictures need its inverse too. Knows base, tensor and safetensors.h. */
#include "base/memory.h"
#include "data/safetensors.h"
#include "data/whiten.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct part {
    const char *name;
    dd_tensor t;
} part;

/* 8-byte elements first, so that all stay aligned. */
static int parts(dd_whitening *w, part *p)
{
    const dd_shape row = DD_SHAPE(w->d), one = DD_SHAPE(1), square = DD_SHAPE(w->d, w->d);
    p[0] = (part){"mean", dd_tensor_view(DD_F64, row, w->mean)};
    p[1] = (part){"eigenvalues", dd_tensor_view(DD_F64, row, w->values)};
    p[2] = (part){"eps", dd_tensor_view(DD_F64, one, &w->eps)};
    p[3] = (part){"length", dd_tensor_view(DD_F64, one, &w->length)};
    p[4] = (part){"eigenvectors", dd_tensor_view(DD_F32, square, w->vectors)};
    return 5;
}

dd_status dd_whitening_bytes(const dd_whitening *w, void **out, size_t *size)
{
    dd_whitening same = *w; /* views are of memory that may be written */
    part p[5];
    dd_st_entry e[5];
    const int n = parts(&same, p);
    for (int i = 0; i < n; i++) {
        snprintf(e[i].name, sizeof e[i].name, "%s", p[i].name);
        e[i].t = p[i].t;
    }
    return dd_st_write(e, n, out, size);
}

static dd_status all_finite(const part *p, const char *what)
{
    const int64_t n = dd_shape_count(p->t.shape);
    for (int64_t i = 0; i < n; i++) {
        const double v = p->t.dtype == DD_F64 ? dd_f64(&p->t)[i] : (double)dd_f32(&p->t)[i];
        if (!isfinite(v))
            return dd_fail(DD_EFORMAT, "%s: value %lld of %s is %g, not a finite number", what, (long long)i, p->name,
                           v);
    }
    return DD_OK;
}

static dd_status fill(const part *p, const dd_st_file *f, const char *what)
{
    char a[128], b[128];
    const dd_tensor *t = dd_st_find(f, p->name);
    if (!t) return dd_fail(DD_EFORMAT, "%s has no tensor %s", what, p->name);
    bool same = t->dtype == p->t.dtype && t->shape.rank == p->t.shape.rank;
    for (int i = 0; same && i < t->shape.rank; i++) same = t->shape.dim[i] == p->t.shape.dim[i];
    if (!same)
        return dd_fail(DD_EFORMAT, "%s: tensor %s is %s %s, the set's images need %s %s", what, p->name,
                       dd_dtype_name(t->dtype), dd_shape_text(t->shape, a, sizeof a), dd_dtype_name(p->t.dtype),
                       dd_shape_text(p->t.shape, b, sizeof b));
    memcpy(p->t.data, t->data, dd_tensor_bytes(t));
    return all_finite(p, what);
}

/* Numbers that keep the matrix finite. */
static dd_status plausible(const dd_whitening *w, const char *what)
{
    if (!(w->eps > 0)) return dd_fail(DD_EFORMAT, "%s: eps is %g, it must be above 0", what, w->eps);
    if (w->kind->per_image && !(w->length > 0))
        return dd_fail(DD_EFORMAT, "%s: length is %g, %s needs it above 0", what, w->length, w->kind->name);
    for (int64_t i = 0; i < w->d; i++) {
        const float *v = w->vectors + i * w->d;
        const double sum = w->values[i] + w->eps;
        double length = 0;
        if (!(sum > 1e-30 && sum < 1e30))
            return dd_fail(DD_EFORMAT, "%s: eigenvalue %lld is %g; with eps, %g, it must be from 1e-30 to 1e30", what,
                           (long long)i, w->values[i], w->eps);
        for (int64_t k = 0; k < w->d; k++) length += (double)v[k] * (double)v[k];
        if (!(fabs(length - 1) < 1e-3))
            return dd_fail(DD_EFORMAT, "%s: eigenvector %lld has length %g, it must be 1", what, (long long)i,
                           sqrt(length));
    }
    return DD_OK;
}

static dd_status read_all(dd_whitening *w, const void *data, size_t size, const char *what)
{
    part p[5];
    const int n = parts(w, p);
    dd_st_file *f = dd_alloc(1, sizeof *f);
    dd_status st = f ? dd_st_parse(f, data, size, what) : dd_fail(DD_ENOMEM, "out of memory");
    for (int i = 0; st == DD_OK && i < n; i++) st = fill(&p[i], f, what);
    dd_free(f);
    if (st == DD_OK) st = plausible(w, what);
    return st == DD_OK ? dd_whitening_matrix(w) : st;
}

dd_status dd_whitening_parse(dd_whitening **out, const dd_whiten_kind *kind, int64_t d, const void *data, size_t size,
                             const char *what)
{
    DD_TRY(dd_whitening_new(out, kind, d));
    const dd_status st = read_all(*out, data, size, what);
    if (st != DD_OK) {
        dd_whitening_free(*out);
        *out = NULL;
    }
    return st;
}
