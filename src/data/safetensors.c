/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads and writes safetensors. Knows base, tensor and json.h. The reader trusts nothing: the byte ranges must tile
 * the data section exactly. The host is little-endian, as everywhere in this library's files. */
#include "data/safetensors.h"
#include "base/fs.h"
#include "base/memory.h"
#include "data/json.h"
#include <stdio.h>
#include <string.h>

#define HEADER_LIMIT ((uint64_t)100 << 20)

typedef struct range {
    uint64_t a, b;
} range;

static const struct {
    const char *name;
    dd_dtype t;
} types[] = {{"F32", DD_F32}, {"F64", DD_F64}, {"I32", DD_I32}, {"U8", DD_U8}, {"I64", DD_I64}, {"BF16", DD_BF16}};

static const char *type_name(dd_dtype t)
{
    for (size_t i = 0; i < DD_LEN(types); i++) {
        if (types[i].t == t) return types[i].name;
    }
    return "?";
}

static dd_status read_type(const dd_json *v, const char *what, const char *name, dd_dtype *out)
{
    const char *s = dd_json_string(dd_json_get(v, "dtype"));
    for (size_t i = 0; s && i < DD_LEN(types); i++) {
        if (strcmp(types[i].name, s) == 0) {
            *out = types[i].t;
            return DD_OK;
        }
    }
    return dd_fail(DD_EFORMAT, "%s: tensor %s has element type %s; F32, F64, BF16, I32, I64 and U8 are read", what,
                   name, s ? s : "(none)");
}

static dd_status read_shape(const dd_json *v, const char *what, const char *name, dd_shape *out)
{
    const dd_json *a = dd_json_get(v, "shape");
    size_t n = dd_json_count(a);
    if (!dd_json_is_array(a) || n > DD_MAX_RANK)
        return dd_fail(DD_EFORMAT, "%s: tensor %s has no shape of at most %d sizes", what, name, DD_MAX_RANK);
    out->rank = (int)n;
    int64_t count = 1;
    for (size_t i = 0; i < n; i++) {
        int64_t d;
        if (!dd_json_int(dd_json_at(a, i), &d) || d < 1 || d > ((int64_t)1 << 40) / count)
            return dd_fail(DD_EFORMAT, "%s: size %zu of tensor %s is no usable number", what, i + 1, name);
        out->dim[i] = d;
        count *= d;
    }
    return DD_OK;
}

static dd_status read_range(const dd_json *v, const char *what, const char *name, uint64_t room, range *out)
{
    const dd_json *o = dd_json_get(v, "data_offsets");
    int64_t a, b;
    if (dd_json_count(o) != 2 || !dd_json_int(dd_json_at(o, 0), &a) || !dd_json_int(dd_json_at(o, 1), &b) || a < 0 ||
        b < a)
        return dd_fail(DD_EFORMAT, "%s: tensor %s has no valid data_offsets", what, name);
    if ((uint64_t)b > room)
        return dd_fail(DD_EFORMAT, "%s: tensor %s ends at byte %lld of %llu (truncated?)", what, name, (long long)b,
                       (unsigned long long)room);
    out->a = (uint64_t)a;
    out->b = (uint64_t)b;
    return DD_OK;
}

static dd_status read_entry(dd_st_file *f, range *r, const char *name, const dd_json *v, const uint8_t *body,
                            uint64_t room, const char *what)
{
    dd_dtype t = DD_F32;
    dd_shape sh = {0};
    if (f->n == DD_ST_MAX) return dd_fail(DD_EFORMAT, "%s: more than %d tensors", what, DD_ST_MAX);
    if (strlen(name) >= sizeof f->e[0].name)
        return dd_fail(DD_EFORMAT, "%s: a tensor's name has %zu bytes", what, strlen(name));
    DD_TRY(read_type(v, what, name, &t));
    DD_TRY(read_shape(v, what, name, &sh));
    DD_TRY(read_range(v, what, name, room, &r[f->n]));
    uint64_t need = (uint64_t)dd_shape_count(sh) * dd_dtype_size(t), got = r[f->n].b - r[f->n].a;
    if (need != got)
        return dd_fail(DD_EFORMAT, "%s: tensor %s has %llu bytes, its shape needs %llu", what, name,
                       (unsigned long long)got, (unsigned long long)need);
    snprintf(f->e[f->n].name, sizeof f->e[0].name, "%s", name);
    /* A view is never written to; dd_tensor has no const data. */
    f->e[f->n].t = dd_tensor_view(t, sh, (void *)(uintptr_t)(body + r[f->n].a));
    f->n++;
    return DD_OK;
}

/* The ranges must cover 0..room once each: follow them from 0. Few tensors, so quadratic is fine. */
static dd_status check_tiling(const range *r, int n, uint64_t room, const char *what)
{
    uint64_t at = 0;
    for (int done = 0; done < n; done++) {
        int k = 0;
        while (k < n && r[k].a != at) k++;
        if (k == n || r[k].b == r[k].a)
            return dd_fail(DD_EFORMAT, "%s: no tensor starts at byte %llu of the data, so there is a gap or an overlap",
                           what, (unsigned long long)at);
        at = r[k].b;
    }
    if (at != room)
        return dd_fail(DD_EFORMAT, "%s: the tensors end at byte %llu, the data at %llu", what, (unsigned long long)at,
                       (unsigned long long)room);
    return DD_OK;
}

static dd_status read_entries(dd_st_file *f, const dd_json *doc, const uint8_t *body, uint64_t room, const char *what)
{
    range r[DD_ST_MAX];
    for (void *it = dd_json_next(doc, NULL); it; it = dd_json_next(doc, it)) {
        if (strcmp(dd_json_key(it), "__metadata__") == 0) continue;
        DD_TRY(read_entry(f, r, dd_json_key(it), dd_json_value(it), body, room, what));
    }
    return check_tiling(r, f->n, room, what);
}

dd_status dd_st_parse(dd_st_file *f, const void *data, size_t size, const char *what)
{
    const uint8_t *p = data;
    uint64_t head = 0;
    f->n = 0;
    f->bytes = NULL;
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    if (size < 10) return dd_fail(DD_EFORMAT, "%s: %zu bytes are too short for a safetensors file", what, size);
    for (int i = 7; i >= 0; i--) head = head << 8 | p[i];
    if (head > HEADER_LIMIT)
        return dd_fail(DD_EFORMAT, "%s: the header claims %llu bytes, at most %llu are read (no safetensors file?)",
                       what, (unsigned long long)head, (unsigned long long)HEADER_LIMIT);
    if (head > size - 8)
        return dd_fail(DD_EFORMAT, "%s: the header claims %llu bytes, %zu are left (truncated?)", what,
                       (unsigned long long)head, size - 8);
    dd_json *doc;
    DD_TRY(dd_json_parse(&doc, (const char *)p + 8, (size_t)head, what));
    dd_status st = read_entries(f, doc, p + 8 + head, size - 8 - head, what);
    dd_json_free(doc);
    return st;
}

const dd_tensor *dd_st_find(const dd_st_file *f, const char *name)
{
    for (int i = 0; i < f->n; i++) {
        if (strcmp(f->e[i].name, name) == 0) return &f->e[i].t;
    }
    return NULL;
}

static void header_text(dd_str *s, const dd_st_entry *e, int n)
{
    size_t at = 0;
    dd_str_add(s, "{");
    for (int i = 0; i < n; i++) {
        const dd_tensor *t = &e[i].t;
        dd_str_addf(s, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", e[i].name, type_name(t->dtype));
        for (int k = 0; k < t->shape.rank; k++) dd_str_addf(s, k ? ",%lld" : "%lld", (long long)t->shape.dim[k]);
        dd_str_addf(s, "],\"data_offsets\":[%zu,%zu]}", at, at + dd_tensor_bytes(t));
        at += dd_tensor_bytes(t);
    }
    dd_str_add(s, "}");
    while (!s->failed && s->len % 8) dd_str_add(s, " ");
}

dd_status dd_st_write(const dd_st_entry *e, int n, void **out, size_t *size)
{
    dd_str s = {0};
    header_text(&s, e, n);
    *size = 8 + s.len;
    for (int i = 0; i < n; i++) *size += dd_tensor_bytes(&e[i].t);
    uint8_t *p = s.failed ? NULL : dd_alloc(*size, 1);
    *out = p;
    if (p) {
        for (int i = 0; i < 8; i++) p[i] = (uint8_t)((uint64_t)s.len >> (8 * i));
        memcpy(p + 8, s.p, s.len);
        p += 8 + s.len;
        for (int i = 0; i < n; i++) {
            memcpy(p, e[i].t.data, dd_tensor_bytes(&e[i].t));
            p += dd_tensor_bytes(&e[i].t);
        }
    }
    dd_str_free(&s);
    return *out ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a safetensors file of %zu bytes", *size);
}

dd_status dd_st_load(dd_st_file **out, const char *path)
{
    size_t size;
    dd_st_file *f = dd_alloc(1, sizeof *f);
    *out = NULL;
    if (!f) return dd_fail(DD_ENOMEM, "out of memory for %s", path);
    void *bytes = NULL;
    dd_status s = dd_read_file(path, SIZE_MAX / 2, &bytes, &size);
    if (s == DD_OK) s = dd_st_parse(f, bytes, size, path);
    f->bytes = bytes;
    if (s == DD_OK)
        *out = f;
    else
        dd_st_free(f);
    return s;
}

void dd_st_free(dd_st_file *f)
{
    if (!f) return;
    dd_free(f->bytes);
    dd_free(f);
}
