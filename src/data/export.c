/* SPDX-License-Identifier: Apache-2.0
 *
 * A synthetic set for other programs: numpy (.npz), torch (.pt) and anything that reads folders of PNG pictures.
 * Knows base, tensor, npy.c, zipstore.c and the PNG writer. A .pt file is a stored zip with a pickle that rebuilds
 * one tensor; the pickle is fixed but for type and sizes, so it is written by hand. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include "data/whiten.h"
#include <stdio.h>
#include <string.h>

static dd_status wide_labels(const dd_synset *s, dd_tensor *out)
{
    DD_TRY(dd_tensor_init(out, DD_I64, DD_SHAPE(s->m)));
    for (int64_t i = 0; i < s->m; i++) ((int64_t *)out->data)[i] = dd_i32(&s->labels)[i];
    return DD_OK;
}

/* Views of a whitening's arrays for (x - zca_mean) zca_w; empty without one. */
static void whitening_views(const dd_synset *s, dd_tensor *mean, dd_tensor *w)
{
    const dd_whitening *z = s->whitening;
    *mean = *w = (dd_tensor){0};
    if (!z) return;
    *mean = dd_tensor_view(DD_F64, DD_SHAPE(z->d), z->mean);
    *w = dd_tensor_view(DD_F32, DD_SHAPE(z->d, z->d), z->w);
}

static dd_status save_archive(const dd_zip_member *m, int n, const char *path)
{
    void *bytes;
    size_t size;
    DD_TRY(dd_zip_store(m, n, &bytes, &size));
    dd_status st = dd_write_file(path, bytes, size);
    dd_free(bytes);
    return st;
}

static dd_status export_npz(const dd_synset *s, const char *path)
{
    dd_tensor labels = {0}, zca_mean, zca_w;
    double stats[2][16];
    char heads[9][512];
    dd_zip_member m[9];
    int n = 0;
    memcpy(stats[0], s->mean, sizeof stats[0]);
    memcpy(stats[1], s->std, sizeof stats[1]);
    DD_TRY(wide_labels(s, &labels));
    const dd_tensor mean = dd_tensor_view(DD_F64, DD_SHAPE(s->c), stats[0]),
                    std = dd_tensor_view(DD_F64, DD_SHAPE(s->c), stats[1]);
    whitening_views(s, &zca_mean, &zca_w);
    const struct {
        const char *name;
        const dd_tensor *t;
    } arrays[] = {{"images.npy", &s->images},
                  {"labels.npy", &labels},
                  {s->targets ? "targets.npy" : "soft_labels.npy", &s->soft_labels},
                  {"lr.npy", &s->lr},
                  {"theta.npy", &s->theta},
                  {"mean.npy", &mean},
                  {"std.npy", &std},
                  {"zca_mean.npy", &zca_mean},
                  {"zca_w.npy", &zca_w}};
    for (size_t i = 0; i < DD_LEN(arrays); i++) {
        const dd_tensor *t = arrays[i].t;
        if (!t->data) continue;
        size_t head = dd_npy_header(heads[n], sizeof heads[n], t);
        m[n] = (dd_zip_member){arrays[i].name, {{heads[n], head}, {t->data, dd_tensor_bytes(t)}}};
        n++;
    }
    dd_status st = save_archive(m, n, path);
    dd_tensor_fini(&labels);
    return st;
}

/* Pickle opcodes of an integer below 2^63: BININT1, BININT2, BININT or LONG1. */
static uint8_t *pickle_int(uint8_t *p, int64_t v)
{
    int n = v < 256 ? 1 : v < 65536 ? 2 : v < 2147483648 ? 4 : 8;
    *p++ = n == 1 ? 'K' : n == 2 ? 'M' : n == 4 ? 'J' : 0x8a;
    if (n == 8) *p++ = 8;
    for (int i = 0; i < n; i++) *p++ = (uint8_t)((uint64_t)v >> (8 * i));
    return p;
}

static uint8_t *pickle_text(uint8_t *p, const char *s)
{
    size_t n = strlen(s);
    *p++ = 'X';
    for (int i = 0; i < 4; i++) *p++ = (uint8_t)(n >> (8 * i));
    memcpy(p, s, n);
    return p + n;
}

static uint8_t *raw(uint8_t *p, const char *s)
{
    size_t n = strlen(s);
    memcpy(p, s, n);
    return p + n;
}

/* torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict()). Needs at most 400 bytes. */
static size_t pickle_tensor(uint8_t *start, const dd_tensor *t)
{
    int64_t stride[DD_MAX_RANK], step = 1;
    uint8_t *p = raw(start, "\x80\x02");
    p = raw(p, "ctorch._utils\n_rebuild_tensor_v2\n((");
    p = pickle_text(p, "storage");
    p = raw(p, t->dtype == DD_I64 ? "ctorch\nLongStorage\n" : "ctorch\nFloatStorage\n");
    p = pickle_text(p, "0");
    p = pickle_text(p, "cpu");
    p = raw(pickle_int(p, dd_shape_count(t->shape)), "tQ");
    p = raw(pickle_int(p, 0), "(");
    for (int i = 0; i < t->shape.rank; i++) p = pickle_int(p, t->shape.dim[i]);
    for (int i = t->shape.rank - 1; i >= 0; step *= t->shape.dim[i--]) stride[i] = step;
    p = raw(p, "t(");
    for (int i = 0; i < t->shape.rank; i++) p = pickle_int(p, stride[i]);
    p = raw(p, "t\x89");
    p = raw(p, "ccollections\nOrderedDict\n)RtR.");
    return (size_t)(p - start);
}

static dd_status export_tensor(const dd_tensor *t, const char *dir, const char *name)
{
    char path[DD_PATH];
    uint8_t pickle[400];
    DD_TRY(dd_path_join(path, sizeof path, dir, name));
    const dd_zip_member m[] = {{"archive/data.pkl", {{pickle, pickle_tensor(pickle, t)}, {NULL, 0}}},
                               {"archive/data/0", {{t->data, dd_tensor_bytes(t)}, {NULL, 0}}},
                               {"archive/version", {{"3\n", 2}, {NULL, 0}}}};
    return save_archive(m, 3, path);
}

static dd_status export_whitening(const dd_synset *s, const char *dir)
{
    dd_tensor mean, w, narrow = {0};
    whitening_views(s, &mean, &w);
    if (!w.data) return DD_OK;
    DD_TRY(export_tensor(&w, dir, "zca_w.pt"));
    DD_TRY(dd_tensor_init(&narrow, DD_F32, mean.shape));
    for (int64_t i = 0; i < s->whitening->d; i++) dd_f32(&narrow)[i] = (float)dd_f64(&mean)[i];
    dd_status st = export_tensor(&narrow, dir, "zca_mean.pt");
    dd_tensor_fini(&narrow);
    return st;
}

static dd_status export_pt(const dd_synset *s, const char *dir)
{
    dd_tensor labels = {0};
    DD_TRY(dd_make_dir(dir));
    DD_TRY(wide_labels(s, &labels));
    dd_status st = export_tensor(&s->images, dir, "images.pt");
    if (st == DD_OK) st = export_tensor(&labels, dir, "labels.pt");
    if (st == DD_OK) st = export_whitening(s, dir);
    if (st != DD_OK) dd_remove_empty(dir);
    dd_tensor_fini(&labels);
    return st;
}

/* Class names become folder names: a slash or a leading dot would leave the folder or hide it. */
static void folder_name(const char *name, int64_t k, char *out, size_t cap)
{
    if (!*name)
        snprintf(out, cap, "class-%lld", (long long)k);
    else
        snprintf(out, cap, "%.200s", name);
    for (char *p = out; *p; p++) {
        if (*p == '/') *p = '-';
    }
    if (out[0] == '.') out[0] = '_';
}

static dd_status export_one(const dd_synset *s, const dd_tensor *shown, int64_t i, int64_t number, const char *dir,
                            uint8_t *px)
{
    char name[256], folder[DD_PATH], file[32], path[DD_PATH];
    void *png;
    size_t size;
    int32_t k = dd_i32(&s->labels)[i];
    folder_name(s->class_names[k], k, name, sizeof name);
    DD_TRY(dd_path_join(folder, sizeof folder, dir, name));
    if (number == 0) DD_TRY(dd_make_dir(folder));
    snprintf(file, sizeof file, "%03lld.png", (long long)number);
    DD_TRY(dd_path_join(path, sizeof path, folder, file));
    dd_natural(dd_f32(shown) + i * s->c * s->h * s->w, s->c, s->h, s->w, s->mean, s->std, px);
    DD_TRY(dd_png_encode(px, s->w, s->h, s->c >= 3 ? 3 : 1, &png, &size));
    dd_status st = dd_write_file(path, png, size);
    if (st != DD_OK) dd_remove_empty(folder);
    dd_free(png);
    return st;
}

/* Two classes in one folder would overwrite each other's pictures. */
static dd_status distinct_folders(const dd_synset *s)
{
    char a[256], b[256];
    for (int64_t i = 0; i < s->classes; i++) {
        folder_name(s->class_names[i], i, a, sizeof a);
        for (int64_t k = 0; k < i; k++) {
            folder_name(s->class_names[k], k, b, sizeof b);
            if (strcmp(a, b) == 0)
                return dd_fail(DD_EINVAL, "classes %lld and %lld would both be written to a folder \"%s\"; rename one",
                               (long long)k, (long long)i, a);
        }
    }
    return DD_OK;
}

/* Another set's pictures must not stand among these. */
static dd_status only_our_folders(const dd_synset *s, const char *dir)
{
    char **names, ours[256];
    size_t n;
    dd_status st = DD_OK;
    if (!dd_is_dir(dir)) return DD_OK;
    DD_TRY(dd_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n && st == DD_OK; i++) {
        bool known = false;
        for (int64_t k = 0; k < s->classes && !known; k++) {
            folder_name(s->class_names[k], k, ours, sizeof ours);
            known = strcmp(names[i], ours) == 0;
        }
        if (!known)
            st = dd_fail(DD_EEXIST, "%s holds \"%s\", which is none of this set's classes; choose another folder", dir,
                         names[i]);
    }
    dd_list_free(names, n);
    return st;
}

/* An earlier export may have written more pictures of a class. */
static dd_status drop_older(const dd_synset *s, const char *dir, const int64_t *seen)
{
    char name[256], folder[DD_PATH], file[32], path[DD_PATH];
    for (int64_t k = 0; k < s->classes; k++) {
        folder_name(s->class_names[k], k, name, sizeof name);
        DD_TRY(dd_path_join(folder, sizeof folder, dir, name));
        for (int64_t i = seen[k];; i++) {
            snprintf(file, sizeof file, "%03lld.png", (long long)i);
            DD_TRY(dd_path_join(path, sizeof path, folder, file));
            if (remove(path) != 0) break;
        }
    }
    return DD_OK;
}

static dd_status export_png(const dd_synset *s, const char *dir)
{
    DD_TRY(distinct_folders(s));
    DD_TRY(only_our_folders(s, dir));
    uint8_t *px = dd_alloc((size_t)(s->h * s->w), 3);
    int64_t *seen = dd_alloc((size_t)s->classes, sizeof *seen);
    dd_tensor shown = {0};
    dd_status st = px && seen ? dd_make_dir(dir) : dd_fail(DD_ENOMEM, "out of memory for a picture");
    if (st == DD_OK) st = dd_whiten_shown(s->whitening, &s->images, &shown);
    for (int64_t i = 0; i < s->m && st == DD_OK; i++)
        st = export_one(s, &shown, i, seen[dd_i32(&s->labels)[i]]++, dir, px);
    if (st == DD_OK) st = drop_older(s, dir, seen);
    if (st != DD_OK) dd_remove_empty(dir);
    dd_tensor_fini(&shown);
    dd_free(seen);
    dd_free(px);
    return st;
}

dd_status dd_synset_export(const dd_synset *s, const char *format, const char *path)
{
    if (strcmp(format, "npz") == 0) return export_npz(s, path);
    if (strcmp(format, "pt") == 0) return export_pt(s, path);
    if (strcmp(format, "png") == 0) return export_png(s, path);
    return dd_fail(DD_EINVAL, "unknown format \"%s\"; npz, pt and png are possible", format);
}
