/* SPDX-License-Identifier: Apache-2.0
 *
 * The synthetic set in memory and as a folder: set.safetensors (images, labels, mean, std and, where there are any,
 * soft_labels or targets, lr and theta), whitening.safetensors of a whitened set, set.json (everything else, and the
 * hashes of the former) and grid.png. Knows base, tensor, safetensors.h, setjson.h and whiten.h. set.json is written
 * last: it vouches for the tensors. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include "data/safetensors.h"
#include "data/setjson.h"
#include "data/whiten.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static dd_status copy_names(dd_synset *s, char *const *names)
{
    s->class_names = dd_alloc((size_t)s->classes, sizeof *s->class_names);
    bool ok = s->class_names != NULL;
    for (int64_t i = 0; ok && i < s->classes; i++) ok = (s->class_names[i] = dd_strdup(names[i])) != NULL;
    return ok ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %lld class names", (long long)s->classes);
}

static dd_status fill_new(dd_synset *s, int64_t m, const dd_dataset *like)
{
    s->m = m;
    s->classes = like->classes;
    s->c = like->c;
    s->h = like->h;
    s->w = like->w;
    memcpy(s->mean, like->mean, sizeof s->mean);
    memcpy(s->std, like->std, sizeof s->std);
    s->whitening = dd_whitening_share(like->whitening);
    DD_TRY(dd_tensor_init(&s->images, DD_F32, DD_SHAPE(m, s->c, s->h, s->w)));
    DD_TRY(dd_tensor_init(&s->labels, DD_I32, DD_SHAPE(m)));
    for (int64_t i = 0; i < m; i++) dd_i32(&s->labels)[i] = (int32_t)(i * s->classes / m);
    s->json = dd_strdup("{}");
    if (!s->json) return dd_fail(DD_ENOMEM, "out of memory");
    return copy_names(s, like->class_names);
}

dd_status dd_synset_new(dd_synset **out, int64_t m, const dd_dataset *like)
{
    *out = NULL;
    if (m < like->classes || m > ((int64_t)1 << 31))
        return dd_fail(DD_EINVAL, "a synthetic set of %lld images cannot cover %lld classes", (long long)m,
                       (long long)like->classes);
    dd_synset *s = dd_alloc(1, sizeof *s);
    if (!s) return dd_fail(DD_ENOMEM, "out of memory");
    dd_status st = fill_new(s, m, like);
    if (st == DD_OK)
        *out = s;
    else
        dd_synset_free(s);
    return st;
}

void dd_synset_free(dd_synset *s)
{
    if (!s) return;
    dd_tensor_fini(&s->images);
    dd_tensor_fini(&s->labels);
    dd_tensor_fini(&s->soft_labels);
    dd_tensor_fini(&s->lr);
    dd_tensor_fini(&s->theta);
    for (int64_t i = 0; s->class_names && i < s->classes; i++) dd_free(s->class_names[i]);
    dd_free(s->class_names);
    dd_whitening_free(s->whitening);
    dd_free(s->json);
    dd_free(s);
}

static dd_status all_finite(const dd_tensor *t, const char *what, const char *name, dd_status code)
{
    int64_t n = t->data ? dd_shape_count(t->shape) : 0, rows = n ? t->shape.dim[0] : 1;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(dd_f32(t)[i]))
            return dd_fail(code, "%s: value %lld of row %lld of %s is %g, not a finite number", what,
                           (long long)(i % (n / rows)), (long long)(i / (n / rows)), name, (double)dd_f32(t)[i]);
    }
    return DD_OK;
}

static dd_status label_range(const dd_synset *s, const char *what, dd_status code)
{
    for (int64_t i = 0; i < s->m; i++) {
        int32_t y = dd_i32(&s->labels)[i];
        if (y < 0 || y >= s->classes)
            return dd_fail(code, "%s: label %d of row %lld is out of range, there are %lld classes (0..%lld)", what, y,
                           (long long)i, (long long)s->classes, (long long)s->classes - 1);
    }
    return DD_OK;
}

static dd_status check_values(const dd_synset *s, const char *what, dd_status not_finite, dd_status range)
{
    DD_TRY(all_finite(&s->images, what, "images", not_finite));
    DD_TRY(all_finite(&s->soft_labels, what, "soft_labels", not_finite));
    DD_TRY(all_finite(&s->lr, what, "lr", not_finite));
    DD_TRY(all_finite(&s->theta, what, "theta", not_finite));
    return label_range(s, what, range);
}

const dd_tensor *dd_synset_labels(const dd_synset *s, bool regression)
{
    return s->soft_labels.data && (regression || !s->targets) ? &s->soft_labels : &s->labels;
}

void dd_synset_classify(dd_synset *s)
{
    for (int64_t i = 0; s->targets && i < s->m; i++) {
        const float *y = dd_f32(&s->soft_labels) + i * s->classes;
        int32_t best = 0;
        for (int32_t c = 1; c < s->classes; c++) best = y[c] > y[best] ? c : best;
        dd_i32(&s->labels)[i] = best;
    }
}

static void entry(dd_st_entry *e, int *n, const char *name, dd_tensor t)
{
    snprintf(e[*n].name, sizeof e[*n].name, "%s", name);
    e[(*n)++].t = t;
}

/* The file's bytes; 8-byte elements come first so that all stay aligned. */
static dd_status tensors_bytes(const dd_synset *s, void **out, size_t *size)
{
    dd_st_entry e[7];
    int n = 0;
    double stats[2][16];
    dd_tensor labels = {0};
    DD_TRY(dd_tensor_init(&labels, DD_I64, DD_SHAPE(s->m)));
    for (int64_t i = 0; i < s->m; i++) ((int64_t *)labels.data)[i] = dd_i32(&s->labels)[i];
    memcpy(stats[0], s->mean, sizeof stats[0]);
    memcpy(stats[1], s->std, sizeof stats[1]);
    entry(e, &n, "labels", labels);
    entry(e, &n, "mean", dd_tensor_view(DD_F64, DD_SHAPE(s->c), stats[0]));
    entry(e, &n, "std", dd_tensor_view(DD_F64, DD_SHAPE(s->c), stats[1]));
    entry(e, &n, "images", s->images);
    if (s->soft_labels.data) entry(e, &n, s->targets ? "targets" : "soft_labels", s->soft_labels);
    if (s->lr.data) entry(e, &n, "lr", s->lr);
    if (s->theta.data) entry(e, &n, "theta", s->theta);
    dd_status st = dd_st_write(e, n, out, size);
    dd_tensor_fini(&labels);
    return st;
}

static dd_status write_grid(const dd_synset *s, const char *dir)
{
    char path[DD_PATH];
    DD_TRY(dd_path_join(path, sizeof path, dir, "grid.png"));
    dd_tensor shown = {0};
    dd_status st = dd_whiten_shown(s->whitening, &s->images, &shown);
    if (st == DD_OK) st = dd_grid_png(path, &shown, s->mean, s->std, (s->m + s->classes - 1) / s->classes);
    dd_tensor_fini(&shown);
    return st;
}

static dd_status write_bytes(const char *dir, const char *name, const dd_chunk *bytes)
{
    char path[DD_PATH];
    DD_TRY(dd_path_join(path, sizeof path, dir, name));
    return dd_write_file(path, bytes->p, bytes->n);
}

/* whitening.p NULL: the set is not whitened. */
static dd_status write_set(const dd_synset *s, const char *dir, const char *json, dd_chunk set, dd_chunk whitening)
{
    char path[DD_PATH], hash[65], hash2[65], *text;
    dd_sha256_hex(&set, 1, hash);
    if (whitening.p) dd_sha256_hex(&whitening, 1, hash2);
    DD_TRY(dd_setfacts_complete(&text, json, s, hash, whitening.p ? hash2 : NULL));
    dd_status st = dd_make_dir(dir);
    if (st == DD_OK) st = write_bytes(dir, "set.safetensors", &set);
    if (st == DD_OK && whitening.p) st = write_bytes(dir, "whitening.safetensors", &whitening);
    if (st == DD_OK) st = write_grid(s, dir);
    if (st == DD_OK) st = dd_path_join(path, sizeof path, dir, "set.json");
    if (st == DD_OK) st = dd_write_file(path, text, strlen(text));
    dd_free(text);
    return st;
}

dd_status dd_synset_save(const dd_synset *s, const char *dir, const char *json)
{
    void *bytes = NULL, *bytes2 = NULL;
    size_t size, size2 = 0;
    DD_TRY(check_values(s, dir, DD_ENUMERIC, DD_EINVAL));
    DD_TRY(tensors_bytes(s, &bytes, &size));
    dd_status st = s->whitening ? dd_whitening_bytes(s->whitening, &bytes2, &size2) : DD_OK;
    if (st == DD_OK) st = write_set(s, dir, json ? json : "{}", (dd_chunk){bytes, size}, (dd_chunk){bytes2, size2});
    dd_free(bytes);
    dd_free(bytes2);
    return st;
}

/* Copies an entry after checking its type and shape; sizes of -1 in `want` are free. */
static dd_status take(const dd_st_file *f, const char *what, const char *name, dd_dtype type, dd_shape want,
                      dd_tensor *out)
{
    char a[128], b[128];
    const dd_tensor *t = dd_st_find(f, name);
    if (!t) return dd_fail(DD_EFORMAT, "%s has no tensor %s", what, name);
    bool ok = t->dtype == type && t->shape.rank == want.rank;
    for (int i = 0; ok && i < want.rank; i++) {
        if (want.dim[i] < 0) want.dim[i] = t->shape.dim[i];
        ok = want.dim[i] == t->shape.dim[i];
    }
    if (!ok)
        return dd_fail(DD_EFORMAT, "%s: tensor %s is %s %s, set.json asks for %s %s", what, name,
                       dd_dtype_name(t->dtype), dd_shape_text(t->shape, a, sizeof a), dd_dtype_name(type),
                       dd_shape_text(want, b, sizeof b));
    DD_TRY(dd_tensor_init(out, type, t->shape));
    memcpy(out->data, t->data, dd_tensor_bytes(out));
    return DD_OK;
}

static dd_status take_labels(dd_synset *s, const dd_st_file *f, const char *what)
{
    dd_tensor wide = {0};
    DD_TRY(take(f, what, "labels", DD_I64, DD_SHAPE(s->m), &wide));
    dd_status st = dd_tensor_init(&s->labels, DD_I32, DD_SHAPE(s->m));
    for (int64_t i = 0; st == DD_OK && i < s->m; i++) {
        int64_t y = ((const int64_t *)wide.data)[i];
        if (y < 0 || y >= s->classes)
            st = dd_fail(DD_EFORMAT, "%s: label %lld of row %lld is out of range, there are %lld classes (0..%lld)",
                         what, (long long)y, (long long)i, (long long)s->classes, (long long)s->classes - 1);
        else
            dd_i32(&s->labels)[i] = (int32_t)y;
    }
    dd_tensor_fini(&wide);
    return st;
}

static dd_status take_stats(const dd_st_file *f, const char *what, const char *name, int64_t c, const double *json,
                            double *out)
{
    dd_tensor t = {0};
    DD_TRY(take(f, what, name, DD_F64, DD_SHAPE(c), &t));
    dd_status st = DD_OK;
    for (int64_t i = 0; i < c && st == DD_OK; i++) {
        out[i] = dd_f64(&t)[i];
        if (!(out[i] >= json[i] && out[i] <= json[i]))
            st = dd_fail(DD_EFORMAT, "%s: %s of channel %lld is %.17g, set.json says %.17g", what, name, (long long)i,
                         out[i], json[i]);
    }
    dd_tensor_fini(&t);
    return st;
}

static dd_status from_file(dd_synset *s, const dd_setfacts *j, const dd_st_file *f, const char *what)
{
    DD_TRY(take(f, what, "images", DD_F32, DD_SHAPE(s->m, s->c, s->h, s->w), &s->images));
    DD_TRY(take_labels(s, f, what));
    DD_TRY(take_stats(f, what, "mean", s->c, j->mean, s->mean));
    DD_TRY(take_stats(f, what, "std", s->c, j->std, s->std));
    if (dd_st_find(f, "soft_labels") && !dd_st_find(f, "targets"))
        DD_TRY(take(f, what, "soft_labels", DD_F32, DD_SHAPE(s->m, s->classes), &s->soft_labels));
    s->targets = dd_st_find(f, "targets") != NULL;
    if (s->targets) DD_TRY(take(f, what, "targets", DD_F32, DD_SHAPE(s->m, s->classes), &s->soft_labels));
    if (dd_st_find(f, "lr")) DD_TRY(take(f, what, "lr", DD_F32, DD_SHAPE(-1), &s->lr));
    if (dd_st_find(f, "theta")) DD_TRY(take(f, what, "theta", DD_F32, DD_SHAPE(-1), &s->theta));
    return check_values(s, what, DD_EFORMAT, DD_EFORMAT);
}

static dd_status same_hash(const void *data, size_t size, const char *path, const char *recorded)
{
    char hash[65];
    const dd_chunk all = {data, size};
    dd_sha256_hex(&all, 1, hash);
    if (strcmp(hash, recorded) == 0) return DD_OK;
    return dd_fail(DD_EFORMAT,
                   "%s has SHA-256 %s, set.json records %s: the files do not belong together or were edited", path,
                   hash, recorded);
}

static dd_status read_tensors(dd_synset *s, const dd_setfacts *j, const char *dir)
{
    char path[DD_PATH];
    void *data;
    size_t size;
    DD_TRY(dd_path_join(path, sizeof path, dir, "set.safetensors"));
    DD_TRY(dd_read_file(path, DD_FILE_LIMIT, &data, &size));
    dd_st_file *f = dd_alloc(1, sizeof *f);
    dd_status st = f ? dd_st_parse(f, data, size, path) : dd_fail(DD_ENOMEM, "out of memory");
    if (st == DD_OK) st = from_file(s, j, f, path);
    if (st == DD_OK) st = same_hash(data, size, path, j->sha256);
    dd_free(f);
    dd_free(data);
    return st;
}

static dd_status read_whitening(dd_synset *s, const dd_setfacts *j, const char *dir)
{
    char path[DD_PATH];
    void *data;
    size_t size;
    if (!j->whitening[0]) return DD_OK;
    DD_TRY(dd_path_join(path, sizeof path, dir, "whitening.safetensors"));
    if (!dd_exists(path))
        return dd_fail(DD_ENOTFOUND,
                       "%s is missing: the images are whitened by %s and mean nothing without it; bring it back", path,
                       j->whitening);
    DD_TRY(dd_read_file(path, DD_FILE_LIMIT, &data, &size));
    dd_status st = same_hash(data, size, path, j->whitening_sha256);
    if (st == DD_OK)
        st =
            dd_whitening_parse(&s->whitening, dd_whiten_kind_named(j->whitening), s->c * s->h * s->w, data, size, path);
    dd_free(data);
    return st;
}

static dd_status read_set(dd_synset *s, const char *dir)
{
    char path[DD_PATH];
    void *text;
    size_t size;
    dd_setfacts j;
    DD_TRY(dd_path_join(path, sizeof path, dir, "config.json"));
    const bool begun = dd_exists(path);
    DD_TRY(dd_path_join(path, sizeof path, dir, "set.json"));
    if (!dd_exists(path) && begun)
        return dd_fail(DD_ENOTFOUND, "%s holds an unfinished run and no set yet; resume it first", dir);
    if (!dd_exists(path)) return dd_fail(DD_ENOTFOUND, "%s holds no synthetic set: there is no set.json in it", dir);
    DD_TRY(dd_read_file(path, (size_t)64 << 20, &text, &size));
    s->json = text;
    DD_TRY(dd_setfacts_parse(&j, text, size, path));
    s->m = j.shape[0];
    s->c = j.shape[1];
    s->h = j.shape[2];
    s->w = j.shape[3];
    s->classes = j.classes;
    dd_status st = read_tensors(s, &j, dir);
    if (st == DD_OK) st = read_whitening(s, &j, dir);
    s->class_names = j.class_names;
    return st;
}

dd_status dd_synset_load(dd_synset **out, const char *dir)
{
    *out = NULL;
    dd_synset *s = dd_alloc(1, sizeof *s);
    if (!s) return dd_fail(DD_ENOMEM, "out of memory");
    dd_status st = read_set(s, dir);
    if (st == DD_OK)
        *out = s;
    else
        dd_synset_free(s);
    return st;
}
