/* SPDX-License-Identifier: Apache-2.0
 *
 * One array in numpy's .npy format (versions 1 to 3): magic, header length, a Python dictionary literal with the
 * keys descr, fortran_order and shape, then the elements. Knows base and tensor. Little-endian, C order only. */
#include "data/data_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cursor {
    const char *p, *end;
} cursor;

static void blanks(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t')) c->p++;
}

static bool eat(cursor *c, char ch)
{
    blanks(c);
    if (c->p >= c->end || *c->p != ch) return false;
    c->p++;
    return true;
}

static bool quoted(cursor *c, char *buf, size_t cap)
{
    blanks(c);
    if (c->p >= c->end || (*c->p != '\'' && *c->p != '"')) return false;
    char q = *c->p++;
    size_t n = 0;
    while (c->p < c->end && *c->p != q) {
        if (n + 1 >= cap) return false;
        buf[n++] = *c->p++;
    }
    buf[n] = 0;
    return eat(c, q);
}

static bool word(cursor *c, const char *w)
{
    size_t n = strlen(w);
    blanks(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, w, n) != 0) return false;
    c->p += n;
    return true;
}

static bool number(cursor *c, int64_t *out)
{
    blanks(c);
    const char *start = c->p;
    int64_t v = 0;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        if (v > ((int64_t)1 << 40)) return false;
        v = v * 10 + (*c->p++ - '0');
    }
    *out = v;
    return c->p > start;
}

static bool tuple(cursor *c, dd_shape *sh)
{
    if (!eat(c, '(')) return false;
    for (sh->rank = 0; !eat(c, ')'); sh->rank++) {
        if (sh->rank == DD_MAX_RANK || !number(c, &sh->dim[sh->rank])) return false;
        if (!eat(c, ',')) {
            sh->rank++;
            return eat(c, ')');
        }
    }
    return true;
}

/* The three values; false if the text is no such dictionary. */
static bool dictionary(cursor *c, char *descr, size_t cap, bool *fortran, dd_shape *sh)
{
    int seen = 0;
    if (!eat(c, '{')) return false;
    while (!eat(c, '}')) {
        char key[32];
        if (!quoted(c, key, sizeof key) || !eat(c, ':')) return false;
        if (strcmp(key, "descr") == 0) {
            if (!quoted(c, descr, cap)) return false;
            seen |= 1;
        } else if (strcmp(key, "fortran_order") == 0) {
            *fortran = word(c, "True");
            if (!*fortran && !word(c, "False")) return false;
            seen |= 2;
        } else if (strcmp(key, "shape") == 0) {
            if (!tuple(c, sh)) return false;
            seen |= 4;
        } else {
            return false;
        }
        if (!eat(c, ',')) return eat(c, '}') && seen == 7;
    }
    return seen == 7;
}

static bool element_type(const char *descr, dd_npy *a)
{
    static const char *const known = "|u1 |i1 |b1 <u2 <i2 <u4 <i4 <u8 <i8 <f4 <f8 ";
    if (strlen(descr) != 3 || !strstr(known, descr)) return false;
    a->kind = descr[1];
    a->item = descr[2] - '0';
    return true;
}

static dd_status body(const uint8_t *p, size_t left, const char *what, dd_npy *a)
{
    uint64_t count = 1;
    for (int i = 0; i < a->shape.rank; i++) {
        uint64_t n = (uint64_t)a->shape.dim[i];
        if (n == 0) return dd_fail(DD_EFORMAT, "%s: the array is empty, size %d of its shape is 0", what, i + 1);
        if (count > ((uint64_t)1 << 40) / n)
            return dd_fail(DD_EFORMAT, "%s: the shape has more than 2^40 elements", what);
        count *= n;
    }
    if (count * (uint64_t)a->item != left)
        return dd_fail(DD_EFORMAT, "%s: %zu bytes of elements, the shape needs %llu (%s)", what, left,
                       (unsigned long long)(count * (uint64_t)a->item),
                       count * (uint64_t)a->item > left ? "truncated?" : "bytes too many");
    a->p = p;
    a->count = (int64_t)count;
    return DD_OK;
}

dd_status dd_npy_parse(const void *data, size_t size, const char *what, dd_npy *out)
{
    const uint8_t *p = data;
    char descr[64];
    bool fortran = false;
    memset(out, 0, sizeof *out);
    if (size < 12 || memcmp(p, "\x93NUMPY", 6) != 0)
        return dd_fail(DD_EFORMAT, "%s: %zu bytes that do not start with numpy's magic", what, size);
    if (p[6] < 1 || p[6] > 3) return dd_fail(DD_EFORMAT, "%s: npy version %d, versions 1 to 3 are read", what, p[6]);
    size_t pre = p[6] == 1 ? 10 : 12, n = (size_t)p[8] | (size_t)p[9] << 8;
    if (p[6] > 1) n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (n > size - pre)
        return dd_fail(DD_EFORMAT, "%s: the header claims %zu bytes, %zu are left (truncated?)", what, n, size - pre);
    cursor c = {(const char *)p + pre, (const char *)p + pre + n};
    if (!dictionary(&c, descr, sizeof descr, &fortran, &out->shape))
        return dd_fail(DD_EFORMAT,
                       "%s: the npy header is not a dictionary of descr, fortran_order and shape (rank at most %d)",
                       what, DD_MAX_RANK);
    if (!element_type(descr, out))
        return dd_fail(DD_EFORMAT, "%s: element type '%s' is not read; save as uint8, float32, float64, int32 or int64",
                       what, descr);
    if (fortran && out->shape.rank > 1)
        return dd_fail(DD_EFORMAT, "%s: the array is in Fortran order; save numpy.ascontiguousarray(x)", what);
    return body(p + pre + n, size - pre - n, what, out);
}

static int64_t integer(const dd_npy *a, int64_t i)
{
    const uint8_t *p = a->p + i * a->item;
    uint64_t v = 0;
    memcpy(&v, p, (size_t)a->item);
    if (a->kind != 'i' || a->item == 8) return (int64_t)v;
    uint64_t sign = (uint64_t)1 << (8 * a->item - 1);
    return (int64_t)((v ^ sign) - sign);
}

double dd_npy_real(const dd_npy *a, int64_t i)
{
    const uint8_t *p = a->p + i * a->item;
    if (a->kind != 'f') return (double)integer(a, i);
    if (a->item == 4) {
        float f;
        memcpy(&f, p, 4);
        return (double)f;
    }
    double x;
    memcpy(&x, p, 8);
    return x;
}

dd_status dd_npy_label(const dd_npy *a, int64_t i, const char *what, int32_t *out)
{
    double x = dd_npy_real(a, i);
    if (!(x >= 0 && x <= 2147483647.0 && x == floor(x)))
        return dd_fail(DD_EFORMAT, "%s: label %g of item %lld is out of range, labels are 0, 1, 2, ...", what, x,
                       (long long)i);
    *out = (int32_t)x;
    return DD_OK;
}

size_t dd_npy_header(char *buf, size_t cap, const dd_tensor *t)
{
    static const char *const descr[] = {"", "<f4", "<f8", "<i4", "|u1", "<i8"};
    char shape[160] = "";
    size_t n = 0;
    for (int i = 0; i < t->shape.rank; i++)
        n += (size_t)snprintf(shape + n, sizeof shape - n, i ? ", %lld" : "%lld", (long long)t->shape.dim[i]);
    char dict[300];
    size_t len = (size_t)snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (%s%s), }",
                                  descr[t->dtype], shape, t->shape.rank == 1 ? "," : "");
    size_t total = (10 + len + 1 + 63) / 64 * 64;
    if (total > cap || len >= sizeof dict) return 0;
    memset(buf, ' ', total);
    memcpy(buf, "\x93NUMPY\x01\x00", 8);
    buf[8] = (char)((total - 10) & 255);
    buf[9] = (char)((total - 10) >> 8);
    memcpy(buf + 10, dict, len);
    buf[total - 1] = '\n';
    return total;
}
