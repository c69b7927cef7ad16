/* SPDX-License-Identifier: Apache-2.0
 *
 * numpy's .npz: a zip archive of .npy arrays, read through libzip (its only user). Knows base, tensor and npy.c.
 * The size an entry claims is checked against the limit and against what its packed bytes could possibly
 * inflate to before memory is taken, so that an archive bomb costs nothing. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#define DEFLATE_RATIO 1100 /* deflate packs at most 1032 to 1 */

typedef struct archive {
    zip_t *z;
    const char *what;
    size_t limit;
} archive;

/* Names in use, train images, train labels, test images, test labels; the first row whose train images exist wins. */
static const char *const name_sets[][4] = {{"x_train", "y_train", "x_test", "y_test"},
                                           {"train_images", "train_labels", "test_images", "test_labels"},
                                           {"X_train", "y_train", "X_test", "y_test"},
                                           {"X", "y", NULL, NULL},
                                           {"images", "labels", NULL, NULL}};

static bool locate(const archive *a, const char *name, zip_uint64_t *at)
{
    char file[80];
    if (!name) return false;
    snprintf(file, sizeof file, "%s.npy", name);
    zip_int64_t i = zip_name_locate(a->z, file, 0);
    if (i < 0) return false;
    *at = (zip_uint64_t)i;
    return true;
}

static dd_status entry_size(const archive *a, const char *name, zip_uint64_t at, size_t *size)
{
    zip_stat_t st;
    zip_stat_init(&st);
    if (zip_stat_index(a->z, at, 0, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) || !(st.valid & ZIP_STAT_COMP_SIZE))
        return dd_fail(DD_EFORMAT, "%s: the archive does not say how large %s.npy is", a->what, name);
    if (st.size > a->limit)
        return dd_fail(DD_EFORMAT, "%s: %s.npy has %llu bytes, more than the limit of %zu", a->what, name,
                       (unsigned long long)st.size, a->limit);
    if (st.size / DEFLATE_RATIO > st.comp_size + 64)
        return dd_fail(DD_EFORMAT, "%s: %s.npy claims %llu bytes out of %llu packed ones, which cannot be", a->what,
                       name, (unsigned long long)st.size, (unsigned long long)st.comp_size);
    *size = (size_t)st.size;
    return DD_OK;
}

/* Inflates one entry into *buf (dd_free). libzip checks the CRC when the last byte is read. */
static dd_status entry_read(const archive *a, const char *name, zip_uint64_t at, uint8_t **buf, size_t *size)
{
    *size = 0;
    DD_TRY(entry_size(a, name, at, size));
    *buf = dd_alloc(*size + 1, 1);
    if (!*buf) return dd_fail(DD_ENOMEM, "%s: out of memory for the %zu bytes of %s.npy", a->what, *size, name);
    zip_file_t *f = zip_fopen_index(a->z, at, 0);
    size_t got = 0;
    bool ok = f != NULL;
    while (ok && got <= *size) {
        zip_int64_t n = zip_fread(f, *buf + got, *size + 1 - got);
        ok = n >= 0;
        if (n <= 0) break;
        got += (size_t)n;
    }
    const char *why = ok ? "its size is wrong" : f ? zip_error_strerror(zip_file_get_error(f)) : zip_strerror(a->z);
    dd_status st = DD_OK;
    if (!ok || got != *size)
        st = dd_fail(DD_EFORMAT, "%s: cannot unpack %s.npy: %s (%zu of %zu bytes)", a->what, name, why, got, *size);
    if (f) zip_fclose(f);
    return st;
}

static bool channels(int64_t c)
{
    return c == 1 || c == 3 || c == 4;
}

/* [N,H,W], [N,C,H,W] or [N,H,W,C]; when both readings fit, channels come last if the last size is 1 or 3. */
static dd_status layout(const dd_npy *a, const char *what, bool *last, dd_shape *out)
{
    const int64_t *n = a->shape.dim;
    char text[128];
    *last = false;
    if (a->shape.rank == 3) {
        *out = DD_SHAPE(n[0], 1, n[1], n[2]);
        return DD_OK;
    }
    if (a->shape.rank != 4 || (!channels(n[1]) && !channels(n[3])))
        return dd_fail(DD_EFORMAT, "%s: shape %s is none of [N,H,W], [N,C,H,W], [N,H,W,C] with 1, 3 or 4 channels",
                       what, dd_shape_text(a->shape, text, sizeof text));
    *last = channels(n[3]) && (!channels(n[1]) || n[3] != 4);
    *out = *last ? DD_SHAPE(n[0], n[3], n[1], n[2]) : a->shape;
    return DD_OK;
}

/* Source element of output element i when channels are last. */
static int64_t from_last(const dd_shape *sh, int64_t i)
{
    int64_t c = sh->dim[1], hw = sh->dim[2] * sh->dim[3], item = i / (c * hw), rest = i % (c * hw);
    return item * c * hw + rest % hw * c + rest / hw;
}

static dd_status images(const dd_npy *a, const char *what, dd_tensor *out)
{
    bool last;
    dd_shape sh;
    if (a->kind != 'f' && !(a->kind == 'u' && a->item == 1))
        return dd_fail(DD_EFORMAT, "%s: images must be uint8, float32 or float64", what);
    DD_TRY(layout(a, what, &last, &sh));
    DD_TRY(dd_tensor_init(out, a->kind == 'f' ? DD_F32 : DD_U8, sh));
    for (int64_t i = 0; i < a->count; i++) {
        int64_t from = last ? from_last(&sh, i) : i;
        if (a->kind != 'f') {
            dd_u8(out)[i] = a->p[from];
            continue;
        }
        double x = dd_npy_real(a, from);
        if (!isfinite(x) || fabs(x) > 1e30)
            return dd_fail(DD_EFORMAT, "%s: pixel %lld of image %lld is %g, not a usable number", what,
                           (long long)(from % (a->count / sh.dim[0])), (long long)(from / (a->count / sh.dim[0])), x);
        dd_f32(out)[i] = (float)x;
    }
    return DD_OK;
}

static dd_status labels(const dd_npy *a, const char *what, int64_t n, dd_tensor *out)
{
    if (a->shape.rank < 1 || a->count != a->shape.dim[0])
        return dd_fail(DD_EFORMAT, "%s: labels must be one number an item, shape [N] or [N,1]", what);
    if (a->count != n)
        return dd_fail(DD_EFORMAT, "%s has %lld labels for %lld images", what, (long long)a->count, (long long)n);
    DD_TRY(dd_tensor_init(out, DD_I32, DD_SHAPE(n)));
    for (int64_t i = 0; i < n; i++) DD_TRY(dd_npy_label(a, i, what, dd_i32(out) + i));
    return DD_OK;
}

/* `want_images` or labels of s->n items. */
static dd_status array(const archive *a, const char *name, bool want_images, dd_split *s)
{
    zip_uint64_t at;
    char what[DD_PATH + 80];
    uint8_t *buf = NULL;
    size_t size = 0;
    dd_npy npy;
    if (!locate(a, name, &at)) return dd_fail(DD_EFORMAT, "%s has no array %s", a->what, name);
    snprintf(what, sizeof what, "%s: %s", a->what, name);
    dd_status st = entry_read(a, name, at, &buf, &size);
    if (st == DD_OK) st = dd_npy_parse(buf, size, what, &npy);
    if (st == DD_OK) st = want_images ? images(&npy, what, &s->images) : labels(&npy, what, s->n, &s->labels);
    if (st == DD_OK && want_images) s->n = s->images.shape.dim[0];
    dd_free(buf);
    return st;
}

static double largest(const dd_tensor *t, double *least)
{
    double hi = -HUGE_VAL;
    *least = HUGE_VAL;
    for (int64_t i = 0; i < dd_shape_count(t->shape); i++) {
        hi = fmax(hi, (double)dd_f32(t)[i]);
        *least = fmin(*least, (double)dd_f32(t)[i]);
    }
    return hi;
}

/* Floats on 0..255 are common; they become 0..1, and the data set says so. */
static void unit_range(dd_dataset *d)
{
    double lo;
    if (d->train.images.dtype != DD_F32) return;
    double hi = largest(&d->train.images, &lo);
    if (lo < 0 && hi <= 1 && lo >= -1) {
        snprintf(d->warning, sizeof d->warning,
                 "the float pixels run from %g to %g; colours are on 0..1 here, so what is below 0 will look black", lo,
                 hi);
        return;
    }
    if (lo < 0 || hi <= 1 || hi > 255) return;
    dd_tensor *part[] = {&d->train.images, &d->test.images};
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; part[k]->data && i < dd_shape_count(part[k]->shape); i++) dd_f32(part[k])[i] /= 255.0f;
    }
    snprintf(d->warning, sizeof d->warning,
             "the float pixels reach %g, so they were taken as 0..255 and divided by 255", hi);
}

static dd_status same_kind(const dd_dataset *d, const char *what)
{
    char a[128], b[128];
    const dd_tensor *x = &d->train.images, *y = &d->test.images;
    if (x->dtype == y->dtype && x->shape.dim[1] == y->shape.dim[1] && x->shape.dim[2] == y->shape.dim[2] &&
        x->shape.dim[3] == y->shape.dim[3])
        return DD_OK;
    return dd_fail(DD_EFORMAT, "%s: training images %s %s and test images %s %s differ in kind", what,
                   dd_dtype_name(x->dtype), dd_shape_text(x->shape, a, sizeof a), dd_dtype_name(y->dtype),
                   dd_shape_text(y->shape, b, sizeof b));
}

static dd_status arrays(dd_dataset *d, const archive *a)
{
    zip_uint64_t at;
    for (size_t k = 0; k < DD_LEN(name_sets); k++) {
        const char *const *n = name_sets[k];
        if (!locate(a, n[0], &at)) continue;
        DD_TRY(array(a, n[0], true, &d->train));
        DD_TRY(array(a, n[1], false, &d->train));
        if (locate(a, n[2], &at) || locate(a, n[3], &at)) {
            DD_TRY(array(a, n[2], true, &d->test));
            DD_TRY(array(a, n[3], false, &d->test));
            DD_TRY(same_kind(d, a->what));
        }
        unit_range(d);
        return DD_OK;
    }
    for (size_t i = 0; i < DD_LEN(name_sets); i++) /* one of a pair says which is meant */
        if (locate(a, name_sets[i][1], &at))
            return dd_fail(DD_EFORMAT, "%s has an array %s but no %s", a->what, name_sets[i][1], name_sets[i][0]);
    return dd_fail(
        DD_EFORMAT,
        "%s: no known pair of arrays; expected x_train and y_train (with x_test and y_test), train_images and "
        "train_labels, X and y, or images and labels",
        a->what);
}

dd_status dd_npz_parse(dd_dataset *d, const void *data, size_t size, size_t limit, const char *what)
{
    zip_error_t e;
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    zip_error_init(&e);
    archive a = {NULL, what, limit};
    zip_source_t *src = zip_source_buffer_create(data, size, 0, &e);
    if (src) {
        a.z = zip_open_from_source(src, ZIP_RDONLY | ZIP_CHECKCONS, &e);
        if (!a.z) zip_source_free(src);
    }
    dd_status st = a.z ? arrays(d, &a)
                       : dd_fail(DD_EFORMAT, "%s: %zu bytes that are no readable npz archive: %s (truncated?)", what,
                                 size, zip_error_strerror(&e));
    if (a.z) zip_discard(a.z);
    zip_error_fini(&e);
    return st;
}

dd_status dd_npz_load(dd_dataset *d, const char *path, const dd_data_opts *o)
{
    void *data;
    size_t size;
    (void)o;
    DD_TRY(dd_read_file(path, DD_FILE_LIMIT, &data, &size));
    dd_status st = dd_npz_parse(d, data, size, DD_FILE_LIMIT, path);
    dd_free(data);
    return st;
}
