/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads and completes set.json. Knows base and json.h. Keys are added to the text itself rather than by printing a
 * parsed document anew, which would respell the caller's numbers. */
#include "data/setjson.h"
#include "base/memory.h"
#include "data/json.h"
#include "data/whiten.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dd_status read_hash(char out[65], const dd_json *of, const char *name, const char *what)
{
    const char *s = dd_json_string(dd_json_get(of, "sha256"));
    if (!s || strlen(s) != 64 || strspn(s, "0123456789abcdef") != 64)
        return dd_fail(DD_EFORMAT, "%s: \"%s\" is %s, expected 64 hexadecimal digits", what, name,
                       s ? "malformed" : "missing");
    memcpy(out, s, 65);
    return DD_OK;
}

/* Whitened images without their transform would be evaluated against test images of another kind. */
static dd_status read_whitening(dd_setfacts *f, const dd_json *doc, const char *what)
{
    const dd_json *z = dd_json_get(doc, "whitening");
    const char *name = dd_json_string(dd_json_get(z, "variant")),
               *said = dd_json_string(dd_json_get(dd_json_get(doc, "data"), "normalisation"));
    if (!z && dd_whiten_kind_named(said))
        return dd_fail(DD_EFORMAT, "%s: the data were normalised by %s, but \"whitening\" is missing", what, said);
    if (!z) return DD_OK;
    if (!dd_whiten_kind_named(name))
        return dd_fail(DD_EFORMAT, "%s: \"whitening.variant\" is \"%.40s\", this version knows %s", what,
                       name ? name : "missing", dd_whiten_names());
    snprintf(f->whitening, sizeof f->whitening, "%s", name);
    return read_hash(f->whitening_sha256, z, "whitening.sha256", what);
}

static dd_status read_shape(dd_setfacts *f, const dd_json *doc, const char *what)
{
    const dd_json *a = dd_json_get(doc, "shape");
    if (dd_json_count(a) != 4)
        return dd_fail(DD_EFORMAT, "%s: \"shape\" has %zu entries, expected 4", what, dd_json_count(a));
    for (size_t i = 0; i < 4; i++) {
        if (!dd_json_int(dd_json_at(a, i), &f->shape[i]) || f->shape[i] < 1)
            return dd_fail(DD_EFORMAT, "%s: entry %zu of \"shape\" is no positive integer", what, i + 1);
    }
    if (f->shape[1] > 16)
        return dd_fail(DD_EFORMAT, "%s: \"shape\" has %lld channels, at most 16 are possible", what,
                       (long long)f->shape[1]);
    return DD_OK;
}

static dd_status read_reals(const dd_json *doc, const char *key, int64_t n, const char *what, double *out)
{
    const dd_json *a = dd_json_get(doc, key);
    if (dd_json_count(a) != (size_t)n)
        return dd_fail(DD_EFORMAT, "%s: \"%s\" has %zu entries for %lld channels", what, key, dd_json_count(a),
                       (long long)n);
    for (size_t i = 0; i < (size_t)n; i++) {
        if (!dd_json_real(dd_json_at(a, i), &out[i]) || !isfinite(out[i]))
            return dd_fail(DD_EFORMAT, "%s: entry %zu of \"%s\" is no number", what, i + 1, key);
    }
    return DD_OK;
}

static dd_status read_names(dd_setfacts *f, const dd_json *doc, const char *what)
{
    const dd_json *a = dd_json_get(doc, "class_names");
    size_t n = dd_json_count(a);
    if (n < 1 || n > 65536) return dd_fail(DD_EFORMAT, "%s: \"class_names\" has %zu entries", what, n);
    f->class_names = dd_alloc(n, sizeof *f->class_names);
    if (!f->class_names) return dd_fail(DD_ENOMEM, "out of memory for %zu class names", n);
    f->classes = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        const char *s = dd_json_string(dd_json_at(a, i));
        if (!s) return dd_fail(DD_EFORMAT, "%s: entry %zu of \"class_names\" is no text", what, i + 1);
        f->class_names[i] = dd_strdup(s);
        if (!f->class_names[i]) return dd_fail(DD_ENOMEM, "out of memory for %zu class names", n);
    }
    return DD_OK;
}

/* A set of another program may lack the key. */
static dd_status read_format(const dd_json *doc, const char *what)
{
    const dd_json *v = dd_json_get(doc, "format");
    const char *s = dd_json_string(v);
    if (!v || (s && strcmp(s, "attar-set-1") == 0)) return DD_OK;
    return dd_fail(DD_EFORMAT, "%s: \"format\" is \"%.40s\", this version reads \"attar-set-1\"", what,
                   s ? s : "no text");
}

static dd_status check_ipc(const dd_setfacts *f, const dd_json *doc, const char *what)
{
    int64_t ipc;
    const dd_json *v = dd_json_get(doc, "ipc");
    if (!v || (dd_json_int(v, &ipc) && ipc >= 1 && ipc <= f->shape[0] && ipc * f->classes == f->shape[0])) return DD_OK;
    return dd_fail(DD_EFORMAT, "%s: \"ipc\" does not fit %lld images of %lld classes", what, (long long)f->shape[0],
                   (long long)f->classes);
}

dd_status dd_setfacts_parse(dd_setfacts *f, const char *text, size_t size, const char *what)
{
    dd_json *doc;
    memset(f, 0, sizeof *f);
    DD_TRY(dd_json_parse(&doc, text, size, what));
    dd_status st = read_format(doc, what);
    if (st == DD_OK) st = read_hash(f->sha256, doc, "sha256", what);
    if (st == DD_OK) st = read_whitening(f, doc, what);
    if (st == DD_OK) st = read_shape(f, doc, what);
    if (st == DD_OK) st = read_reals(doc, "mean", f->shape[1], what, f->mean);
    if (st == DD_OK) st = read_reals(doc, "std", f->shape[1], what, f->std);
    if (st == DD_OK) st = read_names(f, doc, what);
    if (st == DD_OK) st = check_ipc(f, doc, what);
    dd_json_free(doc);
    if (st != DD_OK) dd_setfacts_fini(f);
    return st;
}

void dd_setfacts_fini(dd_setfacts *f)
{
    for (int64_t i = 0; f->class_names && i < f->classes; i++) dd_free(f->class_names[i]);
    dd_free(f->class_names);
    f->class_names = NULL;
}

/* The shortest of 15, 16 or 17 digits that reads back as the same number. */
static void add_real(dd_str *o, double x)
{
    char text[40];
    for (int p = 15; p <= 17; p++) {
        snprintf(text, sizeof text, "%.*g", p, x);
        if (strtod(text, NULL) >= x && strtod(text, NULL) <= x) break;
    }
    dd_str_add(o, text);
}

static void add_reals(dd_str *o, const double *x, int64_t n)
{
    dd_str_add(o, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i) dd_str_add(o, ", ");
        add_real(o, x[i]);
    }
    dd_str_add(o, "]");
}

static void add_key(dd_str *o, bool *any, const char *key)
{
    dd_str_addf(o, "%s\n  \"%s\": ", *any ? "," : "", key);
    *any = true;
}

static void add_missing(dd_str *o, const dd_json *doc, const dd_synset *s, const char *hash, const char *whitening,
                        bool any)
{
    if (!dd_json_get(doc, "sha256")) {
        add_key(o, &any, "sha256");
        dd_str_quote(o, hash);
    }
    if (!dd_json_get(doc, "shape")) {
        add_key(o, &any, "shape");
        dd_str_addf(o, "[%lld, %lld, %lld, %lld]", (long long)s->m, (long long)s->c, (long long)s->h, (long long)s->w);
    }
    if (!dd_json_get(doc, "class_names")) {
        add_key(o, &any, "class_names");
        for (int64_t i = 0; i < s->classes; i++) {
            dd_str_add(o, i ? ", " : "[");
            dd_str_quote(o, s->class_names[i]);
        }
        dd_str_add(o, "]");
    }
    if (!dd_json_get(doc, "mean")) {
        add_key(o, &any, "mean");
        add_reals(o, s->mean, s->c);
    }
    if (!dd_json_get(doc, "std")) {
        add_key(o, &any, "std");
        add_reals(o, s->std, s->c);
    }
    if (whitening && !dd_json_get(doc, "whitening")) {
        add_key(o, &any, "whitening");
        dd_str_addf(o, "{\"variant\": \"%s\", \"sha256\": \"%s\"}", s->whitening->kind->name, whitening);
    }
}

/* Overwrites the old hash where the text spells it after its key; the length is the same. */
static void replace_hash(char *text, const char *old, const char *hash)
{
    for (char *p = strstr(text, "\"sha256\""); p; p = strstr(p + 1, "\"sha256\"")) {
        char *q = p + 8 + strspn(p + 8, " \t\r\n:");
        if (*q == '"' && strncmp(q + 1, old, 64) == 0 && q[65] == '"') memcpy(q + 1, hash, 64);
    }
}

/* What the text says of a whitening must be what the set has. */
static dd_status same_whitening(const dd_json *doc, const dd_synset *s, const char **hash)
{
    const dd_json *z = dd_json_get(doc, "whitening");
    const char *name = dd_json_string(dd_json_get(z, "variant")),
               *has = s->whitening ? s->whitening->kind->name : "none";
    *hash = dd_json_string(dd_json_get(z, "sha256"));
    if (!z || (s->whitening && name && strcmp(name, has) == 0 && *hash && strlen(*hash) == 64)) return DD_OK;
    return dd_fail(DD_EINVAL, "set.json: \"whitening\" is reserved for the set's own, which is %s", has);
}

static dd_status complete(char **out, const char *json, const dd_json *doc, const dd_synset *s, const char *hash,
                          const char *whitening)
{
    const char *old = dd_json_string(dd_json_get(doc, "sha256")), *old_whitening;
    if (dd_json_get(doc, "sha256") && (!old || strlen(old) != 64 || strspn(old, "0123456789abcdef") != 64))
        return dd_fail(DD_EINVAL, "set.json: \"sha256\" is reserved for the hash of set.safetensors");
    DD_TRY(same_whitening(doc, s, &old_whitening));
    size_t n = strlen(json);
    while (n && json[n - 1] != '}') n--;
    size_t cut = n - 1;
    while (cut && strchr(" \t\r\n", json[cut - 1])) cut--;
    dd_str o = {0};
    char *head = dd_strdup(json);
    if (head) head[cut] = 0;
    dd_str_add(&o, head ? head : "");
    dd_free(head);
    size_t before = o.len;
    add_missing(&o, doc, s, hash, whitening, dd_json_next(doc, NULL) != NULL);
    dd_str_add(&o, o.len > before ? "\n" : "");
    dd_str_add(&o, o.len > before ? "}\n" : json + cut);
    char *text = o.failed || !head ? NULL : dd_strdup(o.p);
    dd_str_free(&o);
    if (!text) return dd_fail(DD_ENOMEM, "out of memory for set.json");
    if (old) replace_hash(text, old, hash);
    if (old_whitening && whitening) replace_hash(text, old_whitening, whitening);
    *out = text;
    return DD_OK;
}

dd_status dd_setfacts_complete(char **out, const char *json, const dd_synset *s, const char *hash,
                               const char *whitening)
{
    dd_json *doc;
    *out = NULL;
    if (dd_json_parse(&doc, json, strlen(json), "set.json") != DD_OK) {
        char why[400];
        snprintf(why, sizeof why, "%.399s", dd_last_error());
        return dd_fail(DD_EINVAL, "%s", why);
    }
    dd_status st = complete(out, json, doc, s, hash, whitening);
    dd_json_free(doc);
    return st;
}
