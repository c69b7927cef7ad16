/* SPDX-License-Identifier: Apache-2.0
 *
 * Image folders: DIR/train/CLASS/NAME.png (or .jpg, .jpeg) with DIR/test or DIR/val beside it, or the class folders in
 * DIR itself. Knows base, tensor and image.c. Classes are in bytewise name order, as torchvision has it, unless a
 * classes file fixes it; items are in class order, then name order, so the result does not depend on the disk. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IMAGE_LIMIT ((size_t)1 << 28)

typedef struct item {
    dd_picture im;
    int32_t label;
} item;

/* One part while it is being read. first_path is the picture whose size the others must share. */
typedef struct part {
    item *v;
    size_t n, cap;
    char first_path[DD_PATH];
} part;

static bool picture_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (!dot || name[0] == '.') return false;
    return !strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg");
}

static bool subdir(const char *dir, const char *name, char path[DD_PATH])
{
    int n = snprintf(path, DD_PATH, "%s/%s", dir, name);
    return name[0] != '.' && n > 0 && n < DD_PATH && dd_is_dir(path);
}

static bool has_class_dirs(const char *dir)
{
    char **names, path[DD_PATH];
    size_t n;
    bool found = false;
    if (dd_list_dir(dir, &names, &n) != DD_OK) return false;
    for (size_t i = 0; i < n && !found; i++) {
        char **files;
        size_t m;
        if (!subdir(dir, names[i], path) || dd_list_dir(path, &files, &m) != DD_OK) continue;
        for (size_t k = 0; k < m && !found; k++) found = picture_name(files[k]);
        dd_list_free(files, m);
    }
    dd_list_free(names, n);
    return found;
}

bool dd_folder_here(const char *dir)
{
    char path[DD_PATH];
    return subdir(dir, "train", path) || has_class_dirs(dir);
}

static bool all_digits(const char *s)
{
    if (!*s) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
    }
    return true;
}

/* Names that are all integers sort as text, "10" before "2"; say so, for labels would silently be permuted. */
static void warn_order(dd_dataset *d)
{
    bool differs = false;
    for (int64_t i = 0; i < d->classes; i++) {
        if (!all_digits(d->class_names[i])) return;
        if (i && strtod(d->class_names[i - 1], NULL) > strtod(d->class_names[i], NULL)) differs = true;
    }
    if (differs)
        snprintf(
            d->warning, sizeof d->warning,
            "all class names are numbers and their text order (\"10\" before \"2\") is not their numeric order: class "
            "0 is \"%.40s\" and the last is \"%.40s\"; give a classes file to fix the order",
            d->class_names[0], d->class_names[d->classes - 1]);
}

static dd_status classes_from_dir(dd_dataset *d, const char *dir)
{
    char **names, path[DD_PATH];
    size_t n, m = 0;
    DD_TRY(dd_list_dir(dir, &names, &n));
    char **keep = dd_alloc(n + 1, sizeof *keep);
    for (size_t i = 0; keep && i < n; i++) {
        if (subdir(dir, names[i], path)) keep[m++] = names[i];
    }
    dd_status st;
    if (!keep)
        st = dd_fail(DD_ENOMEM, "%s: out of memory for %zu names", dir, n);
    else if (m == 0)
        st = dd_fail(DD_EFORMAT, "%s has no class folders; expected %s/CLASS/*.png", dir, dir);
    else {
        d->classes = (int64_t)m;
        st = dd_class_names_copy(d, keep);
    }
    dd_free(keep);
    dd_list_free(names, n);
    if (st == DD_OK) warn_order(d);
    return st;
}

static dd_status distinct(const dd_dataset *d, const char *file)
{
    for (int64_t i = 0; i < d->classes; i++)
        for (int64_t k = 0; k < i; k++)
            if (strcmp(d->class_names[i], d->class_names[k]) == 0)
                return dd_fail(DD_EFORMAT, "%s names class \"%s\" twice, on entries %lld and %lld", file,
                               d->class_names[i], (long long)k + 1, (long long)i + 1);
    return DD_OK;
}

static dd_status classes_from_file(dd_dataset *d, const char *file)
{
    void *text;
    size_t size, n = 0;
    DD_TRY(dd_read_file(file, (size_t)1 << 20, &text, &size));
    char **names = dd_alloc(size / 2 + 2, sizeof *names), *save = NULL;
    for (char *t = names ? strtok_r(text, "\r\n", &save) : NULL; t; t = strtok_r(NULL, "\r\n", &save)) {
        t[strcspn(t, "\t")] = 0; /* lists as "n02124075<tab>Egyptian cat": the folder's name is the first column */
        names[n++] = t;
    }
    dd_status st;
    if (!names)
        st = dd_fail(DD_ENOMEM, "%s: out of memory", file);
    else if (n == 0)
        st = dd_fail(DD_EFORMAT, "%s names no class", file);
    else {
        d->classes = (int64_t)n;
        st = dd_class_names_copy(d, names);
    }
    dd_free(names);
    dd_free(text);
    return st == DD_OK ? distinct(d, file) : st;
}

/* A folder that the classes file leaves out would be dropped without a word; refuse it. */
static dd_status no_strangers(const dd_dataset *d, const char *dir, const char *hint)
{
    char **names, path[DD_PATH];
    size_t n;
    dd_status st = DD_OK;
    DD_TRY(dd_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n && st == DD_OK; i++) {
        bool known = !subdir(dir, names[i], path);
        for (int64_t k = 0; k < d->classes && !known; k++) known = strcmp(names[i], d->class_names[k]) == 0;
        if (!known)
            st = dd_fail(DD_EFORMAT, "%s has a folder \"%s\" that is none of the %lld classes of %s", dir, names[i],
                         (long long)d->classes, hint);
    }
    dd_list_free(names, n);
    return st;
}

static dd_status same_size(const dd_dataset *d, const part *p, const dd_picture *im, const char *path)
{
    if (p->n == 0 && d->h == 0) return DD_OK;
    int64_t h = d->h ? d->h : p->v[0].im.h, w = d->w ? d->w : p->v[0].im.w;
    if (im->h == h && im->w == w) return DD_OK;
    return dd_fail(DD_EFORMAT,
                   "%s is %lldx%lld (HxW) where %s is %lldx%lld; bring all to one size with resize, %lldx%lld say",
                   path, (long long)im->h, (long long)im->w, p->n ? p->first_path : "the training part", (long long)h,
                   (long long)w, (long long)h, (long long)w);
}

static dd_status read_picture(dd_dataset *d, part *p, const char *path, int32_t label, const dd_data_opts *o)
{
    void *data, *v = p->v;
    size_t size;
    dd_picture im = {0};
    DD_TRY(dd_read_file(path, IMAGE_LIMIT, &data, &size));
    dd_status st = dd_picture_decode(data, size, path, &im);
    dd_free(data);
    if (st == DD_OK && o->resize_h) st = dd_picture_resize(&im, o->resize_h, o->resize_w);
    if (st == DD_OK && o->channels) st = dd_picture_channels(&im, o->channels);
    if (st == DD_OK) st = same_size(d, p, &im, path);
    if (st == DD_OK) st = dd_grow(&v, &p->cap, p->n + 1, sizeof(item));
    p->v = v;
    if (st != DD_OK) {
        dd_picture_fini(&im);
        return st;
    }
    if (p->n == 0) snprintf(p->first_path, sizeof p->first_path, "%s", path);
    p->v[p->n].im = im;
    p->v[p->n++].label = label;
    return DD_OK;
}

static dd_status read_class(dd_dataset *d, part *p, const char *dir, int32_t label, const dd_data_opts *o)
{
    char **names, folder[DD_PATH], path[DD_PATH];
    size_t n;
    if (!subdir(dir, d->class_names[label], folder)) return DD_OK;
    DD_TRY(dd_list_dir(folder, &names, &n));
    dd_status st = DD_OK;
    for (size_t i = 0; i < n && st == DD_OK; i++) {
        if (!picture_name(names[i])) continue;
        st = dd_path_join(path, sizeof path, folder, names[i]);
        if (st == DD_OK) st = read_picture(d, p, path, label, o);
    }
    dd_list_free(names, n);
    return st;
}

/* Grey pictures among colour ones are copied to three channels, which the user may not have meant. */
static void warn_mixture(dd_dataset *d, const part *p)
{
    size_t grey = 0;
    for (size_t i = 0; i < p->n; i++) grey += p->v[i].im.c == 1;
    const size_t at = strlen(d->warning);
    if (d->c == 3 && grey)
        snprintf(d->warning + at, sizeof d->warning - at, "%s%zu of %zu pictures are grey and count as colour ones",
                 at ? "; " : "", grey, p->n);
}

static dd_status pack(dd_dataset *d, part *p, const char *dir, dd_split *s)
{
    if (p->n == 0) return dd_fail(DD_EFORMAT, "%s has no .png, .jpg or .jpeg pictures in its class folders", dir);
    if (d->h == 0) {
        d->h = p->v[0].im.h;
        d->w = p->v[0].im.w;
        d->c = 1;
        for (size_t i = 0; i < p->n; i++) d->c = p->v[i].im.c == 3 ? 3 : d->c;
        warn_mixture(d, p);
    }
    s->n = (int64_t)p->n;
    DD_TRY(dd_tensor_init(&s->images, DD_U8, DD_SHAPE(s->n, d->c, d->h, d->w)));
    DD_TRY(dd_tensor_init(&s->labels, DD_I32, DD_SHAPE(s->n)));
    for (int64_t i = 0; i < s->n; i++) {
        DD_TRY(dd_picture_channels(&p->v[i].im, d->c));
        dd_picture_planes(&p->v[i].im, dd_u8(&s->images) + i * d->c * d->h * d->w);
        dd_picture_fini(&p->v[i].im);
        dd_i32(&s->labels)[i] = p->v[i].label;
    }
    return DD_OK;
}

static dd_status read_part(dd_dataset *d, const char *dir, const dd_data_opts *o, dd_split *s)
{
    part p = {0};
    dd_status st = DD_OK;
    for (int32_t k = 0; k < d->classes && st == DD_OK; k++) st = read_class(d, &p, dir, k, o);
    if (st == DD_OK) st = pack(d, &p, dir, s);
    for (size_t i = 0; i < p.n; i++) dd_picture_fini(&p.v[i].im);
    dd_free(p.v);
    return st;
}

dd_status dd_folder_load(dd_dataset *d, const char *dir, const dd_data_opts *o)
{
    char train[DD_PATH], test[DD_PATH];
    bool parts = subdir(dir, "train", train);
    if (!parts) snprintf(train, sizeof train, "%s", dir);
    bool tested = parts && (subdir(dir, "test", test) || subdir(dir, "val", test));
    const bool given = o->classes_file || o->class_names;
    const char *of = o->classes_file ? o->classes_file : o->class_names ? "the list of classes" : train;
    if (o->classes_file) {
        DD_TRY(classes_from_file(d, o->classes_file));
    } else if (o->class_names) {
        d->classes = o->classes;
        DD_TRY(dd_class_names_copy(d, o->class_names));
    } else {
        DD_TRY(classes_from_dir(d, train));
    }
    if (d->classes > 65536)
        return dd_fail(DD_EFORMAT, "%s has %lld classes, at most 65536 are read", of, (long long)d->classes);
    if (given) DD_TRY(no_strangers(d, train, of));
    if (tested) DD_TRY(no_strangers(d, test, of));
    DD_TRY(read_part(d, train, o, &d->train));
    return tested ? read_part(d, test, o, &d->test) : DD_OK;
}
