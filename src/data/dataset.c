/* SPDX-License-Identifier: Apache-2.0
 *
 * dd_dataset_open: from a name or a path to a checked data set. Knows base, tensor and the loaders; the names are
 * rows of datasets.def. */
#include "base/fs.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "data/data_internal.h"
#include "data/whiten.h"
#include "attar/options.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum layout { embedded, idx, cifar, folder, npz, unknown } layout;

typedef struct kind {
    const char *name, *title;
    int64_t c, h, w, classes;
    const double *mean, *std; /* NULL: none published */
    const char *class_names, *aliases;
    layout how;
    const char *get;
} kind;

#define NONE NULL
#define LIST(...) ((const double[]){__VA_ARGS__})
static const kind kinds[] = {
#define DATASET(id, name, title, c, h, w, classes, mean, std, names, aliases, how, get)                                \
    {name, title, c, h, w, classes, mean, std, names, aliases, how, get},
#include "data/datasets.def"
#undef DATASET
};
#undef NONE
#undef LIST
#define KINDS ((int)DD_LEN(kinds))

int dd_dataset_kind_count(void)
{
    return KINDS;
}
const char *dd_dataset_kind_name(int i)
{
    return i >= 0 && i < KINDS ? kinds[i].name : NULL;
}
const char *dd_dataset_kind_title(int i)
{
    return i >= 0 && i < KINDS ? kinds[i].title : NULL;
}

/* The i-th of "a|b|c" into buf; false when there is none. */
static bool piece(const char *list, int i, char *buf, size_t cap)
{
    for (; i > 0; i--) {
        list = strchr(list, '|');
        if (!list) return false;
        list++;
    }
    size_t n = strcspn(list, "|");
    if (n == 0 || n >= cap) return false;
    memcpy(buf, list, n);
    buf[n] = 0;
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The row a name or alias belongs to. */
static const kind *kind_of(const char *name)
{
    char a[64];
    for (int k = 0; k < KINDS; k++) {
        if (strcmp(kinds[k].name, name) == 0) return &kinds[k];
        for (int i = 0; piece(kinds[k].aliases, i, a, sizeof a); i++) {
            if (strcmp(a, name) == 0) return &kinds[k];
        }
    }
    return NULL;
}

static layout layout_of(const char *path)
{
    size_t n = strlen(path);
    if (!dd_is_dir(path)) return n > 4 && strcmp(path + n - 4, ".npz") == 0 && dd_exists(path) ? npz : unknown;
    if (dd_idx_here(path)) return idx;
    if (dd_cifar_here(path)) return cifar;
    return dd_folder_here(path) ? folder : unknown;
}

/* The search path: bases in order, and the text of where it looked. */
typedef struct search {
    char base[32][DD_PATH];
    int n;
    bool direct[32]; /* the user named it, so the files may lie in it directly */
    dd_str looked;
    char packed[DD_PATH]; /* a folder that holds only .xz files */
} search;

static void base_add(search *s, const char *dir, size_t len, const char *tail, bool direct)
{
    if (len == 0 || s->n == 32 || len + strlen(tail) + 1 > DD_PATH) return;
    snprintf(s->base[s->n], DD_PATH, "%.*s%s", (int)len, dir, tail);
    s->direct[s->n++] = direct;
}

static void bases(search *s, const char *data_dir)
{
    const char *env = getenv("ATTAR_DATA"), *home = getenv("XDG_DATA_HOME"), *dirs = getenv("XDG_DATA_DIRS");
    if (data_dir) base_add(s, data_dir, strlen(data_dir), "", true);
    if (env) base_add(s, env, strlen(env), "", true);
    if (home && *home)
        base_add(s, home, strlen(home), "/datasets", false);
    else if (getenv("HOME"))
        base_add(s, getenv("HOME"), strlen(getenv("HOME")), "/.local/share/datasets", false);
    for (const char *p = dirs; p && *p;) {
        size_t n = strcspn(p, ":");
        base_add(s, p, n, "/datasets", false);
        p += n + (p[n] == ':');
    }
    base_add(s, "/usr/local/share/datasets", 25, "", false);
    base_add(s, "/usr/share/datasets", 19, "", false);
}

static bool fits(search *s, const kind *k, const char *path)
{
    char xz[DD_PATH + 32];
    layout l = layout_of(path);
    if (l != unknown && (!k || l == k->how || l == folder)) return true;
    snprintf(xz, sizeof xz, "%s/data_batch_1.bin.xz", path);
    if (!s->packed[0] && k && k->how == cifar && dd_exists(xz)) snprintf(s->packed, sizeof s->packed, "%s", path);
    return false;
}

static bool try_under(search *s, const char *base, const char *name, const kind *k, char path[DD_PATH])
{
    int n = snprintf(path, DD_PATH, "%s/%s", base, name);
    return n > 0 && n < DD_PATH && fits(s, k, path);
}

static bool find_in(search *s, int i, const char *name, const kind *k, char path[DD_PATH])
{
    char alias[64];
    dd_str_addf(&s->looked, "%s%s", i ? ", " : "", s->base[i]);
    if (try_under(s, s->base[i], k ? k->name : name, k, path)) return true;
    for (int a = 0; k && piece(k->aliases, a, alias, sizeof alias); a++) {
        if (try_under(s, s->base[i], alias, k, path)) return true;
    }
    if (!s->direct[i] || !k) return false;
    const kind *other = kind_of(base_name(s->base[i]));
    if (other && other != k) return false; /* .../fashion-mnist must not pass for mnist */
    snprintf(path, DD_PATH, "%s", s->base[i]);
    return fits(s, k, path) && layout_of(path) == k->how; /* not any folder of folders with pictures */
}

static dd_status no_such(search *s, const char *name, const kind *k)
{
    const char *names[KINDS + 1];
    for (int i = 0; i < KINDS; i++) names[i] = kinds[i].name;
    names[KINDS] = NULL;
    if (s->packed[0])
        return dd_fail(
            DD_ENOTFOUND,
            "data set %s: %s holds only .xz files, which are not read directly; unpack them with xz -dk %s/*.xz", name,
            s->packed, s->packed);
    const char *looked = s->looked.p ? s->looked.p : "";
    if (k)
        return dd_fail(DD_ENOTFOUND, "data set %s was not found in %s; %s, or name another folder", name, looked,
                       k->get);
    const char *near = dd_nearest(name, names);
    dd_str known = {0};
    for (int i = 0; i < KINDS; i++) dd_str_addf(&known, "%s%s", i ? ", " : "", names[i]);
    dd_status st = dd_fail(DD_ENOTFOUND, "%s is neither a known data set (%s) nor a folder or .npz file%s%s%s", name,
                           known.p ? known.p : "", near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    dd_str_free(&known);
    return st;
}

/* From the user's word to a row (or NULL) and a path. */
static dd_status find(const char *word, const dd_data_opts *o, const kind **k, char path[DD_PATH])
{
    const bool is_path = strchr(word, '/') != NULL;
    *k = is_path ? NULL : kind_of(word);
    if (strlen(word) >= DD_PATH - 64) return dd_fail(DD_EINVAL, "a path of %zu bytes is too long", strlen(word));
    if (!*k && dd_exists(word)) {
        snprintf(path, DD_PATH, "%s", word);
        return DD_OK;
    }
    search *s = dd_alloc(1, sizeof *s);
    if (!s) return dd_fail(DD_ENOMEM, "out of memory");
    bool found = false;
    if (!is_path) bases(s, o->data_dir);
    for (int i = 0; i < s->n && !found; i++) found = find_in(s, i, word, *k, path);
    dd_status st = found ? DD_OK : no_such(s, word, *k);
    dd_str_free(&s->looked);
    dd_free(s);
    return st;
}

static dd_status readable(const char *dir)
{
    char **names;
    size_t n;
    DD_TRY(dd_list_dir(dir, &names, &n));
    dd_list_free(names, n);
    return DD_OK;
}

static dd_status load_path(dd_dataset *d, const char *path, const dd_data_opts *o)
{
    char xz[DD_PATH + 32];
    switch (layout_of(path)) {
    case idx: return dd_idx_load(d, path, o);
    case cifar: return dd_cifar_load(d, path, o);
    case folder: return dd_folder_load(d, path, o);
    case npz: return dd_npz_load(d, path, o);
    default: break;
    }
    if (!dd_is_dir(path)) return dd_fail(DD_EFORMAT, "%s is neither a folder nor an .npz file", path);
    DD_TRY(readable(path));
    snprintf(xz, sizeof xz, "%s/data_batch_1.bin.xz", path);
    if (dd_exists(xz))
        return dd_fail(DD_ENOTFOUND,
                       "%s holds only .xz files, which are not read directly; unpack them with xz -dk %s/*.xz", path,
                       path);
    return dd_fail(
        DD_EFORMAT,
        "%s holds no data set: expected train-images-idx3-ubyte[.gz], data_batch_1.bin[.gz], train/CLASS/*.png "
        "or CLASS/*.png",
        path);
}

static dd_status row_names(dd_dataset *d, const kind *k)
{
    char store[16][32], *names[16];
    for (int i = 0; i < 16 && piece(k->class_names, i, store[i], sizeof store[i]); i++) names[i] = store[i];
    return dd_class_names_copy(d, names);
}

static int64_t in_class(const dd_split *s, int64_t k)
{
    return s->class_first[k + 1] - s->class_first[k];
}

static void warn(dd_dataset *d, const char *text)
{
    const size_t at = strlen(d->warning);
    snprintf(d->warning + at, sizeof d->warning - at, "%s%s", at ? "; " : "", text);
}

static dd_status names_are_text(const dd_dataset *d)
{
    char what[64];
    for (int64_t k = 0; k < d->classes; k++) {
        snprintf(what, sizeof what, "the name of class %lld", (long long)k);
        DD_TRY(dd_utf8_check(what, d->class_names[k]));
    }
    return DD_OK;
}

/* fifth: the test items were taken from the only part there is. */
static dd_status no_empty_class(dd_dataset *d, bool fifth)
{
    char text[160];
    int64_t untested = 0, first = 0;
    for (int64_t k = 0; k < d->classes; k++) {
        if (in_class(&d->test, k) == 0 && untested++ == 0) first = k;
        if (in_class(&d->train, k)) continue;
        if (fifth && in_class(&d->test, k))
            return dd_fail(DD_EFORMAT,
                           "%s: class %lld, \"%s\", has one item, which the fifth held out for testing took; give it "
                           "more, or a test part of its own",
                           d->source, (long long)k, d->class_names[k]);
        return dd_fail(DD_EFORMAT, "%s: class %lld, \"%s\", has no training items", d->source, (long long)k,
                       d->class_names[k]);
    }
    if (!untested) return DD_OK;
    snprintf(text, sizeof text, "%lld of %lld classes have no test items, the first is \"%.60s\"", (long long)untested,
             (long long)d->classes, d->class_names[first]);
    warn(d, text);
    return DD_OK;
}

/* Says once more what the user should know about a test part that was not there. */
static dd_status test_part(dd_dataset *d, bool own_split)
{
    const int64_t all = d->train.n;
    char text[160];
    if (d->test.n) return DD_OK;
    DD_TRY(dd_split_fifth(d));
    snprintf(text, sizeof text,
             "no test part was found: every fifth item in class order, %lld of %lld, is held out for testing",
             (long long)d->test.n, (long long)all);
    if (!own_split) warn(d, text);
    return DD_OK;
}

static bool row_fits(const dd_dataset *d, const kind *k)
{
    return k && d->c == k->c && d->h == k->h && d->w == k->w && d->classes == k->classes;
}

/* Only folders of pictures can be resized, coloured or ordered; what is asked for beyond that is said. */
static dd_status as_asked(const dd_dataset *d, const dd_data_opts *o)
{
    if (o->resize_h && (d->h != o->resize_h || d->w != o->resize_w))
        return dd_fail(DD_EINVAL, "%s has images of %lldx%lld; only image folders are resized, to %lldx%lld here",
                       d->name, (long long)d->h, (long long)d->w, (long long)o->resize_h, (long long)o->resize_w);
    if (o->channels && d->c != o->channels)
        return dd_fail(DD_EINVAL, "%s has images of %lld channels; only those of image folders are changed to %lld",
                       d->name, (long long)d->c, (long long)o->channels);
    if (o->classes_file && layout_of(d->source) != folder)
        return dd_fail(DD_EINVAL, "%s has its class order in itself; %s can order image folders only", d->name,
                       o->classes_file);
    return DD_OK;
}

/* Extreme numbers by hand would only fail once a network sees them. */
static dd_status finite_pixels(const dd_dataset *d)
{
    for (int64_t k = 0; k < d->c; k++) {
        const double low = -d->mean[k] / d->std[k], high = (1 - d->mean[k]) / d->std[k];
        if (!(fabs(low) < 1e6 && fabs(high) < 1e6))
            return dd_fail(DD_EINVAL, "mean %g and deviation %g of channel %lld put pixels at %g to %g; give others",
                           d->mean[k], d->std[k], (long long)k, low, high);
    }
    return DD_OK;
}

static dd_status finish(dd_dataset *d, const kind *k, bool by_name, const dd_data_opts *o)
{
    const dd_shape *sh = &d->train.images.shape;
    d->c = sh->dim[1];
    d->h = sh->dim[2];
    d->w = sh->dim[3];
    DD_TRY(as_asked(d, o));
    DD_TRY(dd_check_labels(d, d->classes));
    if (by_name && !row_fits(d, k))
        return dd_fail(DD_EFORMAT, "%s: images of %lldx%lldx%lld in %lld classes, but %s has %lldx%lldx%lld in %lld",
                       d->source, (long long)d->c, (long long)d->h, (long long)d->w, (long long)d->classes, k->name,
                       (long long)k->c, (long long)k->h, (long long)k->w, (long long)k->classes);
    if (!row_fits(d, k)) k = NULL;
    if (!d->class_names) DD_TRY(k ? row_names(d, k) : dd_class_names_numbered(d));
    const bool fifth = d->test.n == 0;
    DD_TRY(test_part(d, k && k->how == embedded));
    DD_TRY(dd_split_index(d, &d->train));
    DD_TRY(dd_split_index(d, &d->test));
    DD_TRY(no_empty_class(d, fifth));
    DD_TRY(names_are_text(d));
    DD_TRY(dd_normalise(d, o->normalise, k ? k->mean : NULL, k ? k->std : NULL));
    DD_TRY(finite_pixels(d));
    DD_TRY(dd_whiten_as(d, o->normalise, o->whitening));
    dd_dataset_hash(d);
    return DD_OK;
}

static void set_name(dd_dataset *d, const char *path)
{
    char copy[DD_PATH];
    snprintf(copy, sizeof copy, "%s", path);
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--) copy[n - 1] = 0;
    const kind *k = kind_of(base_name(copy));
    snprintf(d->name, sizeof d->name, "%.63s", k ? k->name : base_name(copy));
}

static dd_status open_word(dd_dataset *d, const char *word, const dd_data_opts *o)
{
    const kind *k = kind_of(word);
    char path[DD_PATH] = "";
    if (k && k->how == embedded) {
        snprintf(d->name, sizeof d->name, "%s", k->name);
        snprintf(d->source, sizeof d->source, "embedded");
        DD_TRY(dd_digits_load(d, "", o));
        return finish(d, k, true, o);
    }
    DD_TRY(find(word, o, &k, path));
    bool by_name = k != NULL;
    if (by_name)
        snprintf(d->name, sizeof d->name, "%s", k->name);
    else
        set_name(d, path);
    snprintf(d->source, sizeof d->source, "%.1023s", path);
    if (!by_name) k = kind_of(d->name);
    if (k && k->how != embedded && layout_of(path) == k->how) d->classes = k->classes;
    DD_TRY(load_path(d, path, o));
    return finish(d, k, by_name, o);
}

static dd_status check_opts(const dd_data_opts *o)
{
    if (o->data_dir && !dd_is_dir(o->data_dir))
        return dd_fail(DD_ENOTFOUND, "there is no folder %s to look for data in", o->data_dir);
    if (o->channels != 0 && o->channels != 1 && o->channels != 3)
        return dd_fail(DD_EINVAL, "channels is %lld; 0 (as they are), 1 (grey) and 3 (colour) are possible",
                       (long long)o->channels);
    if (o->resize_h < 0 || o->resize_w < 0 || (o->resize_h == 0) != (o->resize_w == 0) || o->resize_h > 4096 ||
        o->resize_w > 4096)
        return dd_fail(DD_EINVAL, "resizing to %lld x %lld is impossible; both sides must be 1 to 4096",
                       (long long)o->resize_w, (long long)o->resize_h);
    return DD_OK;
}

dd_status dd_dataset_open(dd_dataset **out, const char *name_or_path, const dd_data_opts *opts)
{
    const dd_data_opts plain = DD_DATA_OPTS_INIT;
    *out = NULL;
    if (!opts) opts = &plain;
    if (!name_or_path || !*name_or_path) return dd_fail(DD_EINVAL, "no data set was named");
    DD_TRY(check_opts(opts));
    dd_dataset *d = dd_alloc(1, sizeof *d);
    if (!d) return dd_fail(DD_ENOMEM, "out of memory");
    dd_status st = open_word(d, name_or_path, opts);
    if (st != DD_OK) {
        dd_dataset_close(d);
        return st;
    }
    *out = d;
    return DD_OK;
}

void dd_dataset_close(dd_dataset *d)
{
    if (!d) return;
    dd_split_fini(&d->train);
    dd_split_fini(&d->test);
    for (int64_t i = 0; d->class_names && i < d->classes; i++) dd_free(d->class_names[i]);
    dd_free(d->class_names);
    dd_whitening_free(d->whitening);
    dd_free(d);
}
