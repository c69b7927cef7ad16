/* SPDX-License-Identifier: Apache-2.0
 *
 * The binary version of CIFAR-10: records of one label byte and 3,072 pixel bytes (red, green and blue planes of
 * 32 x 32), data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt with a class name a line.
 * Knows base, tensor and source.c. All five training batches are needed. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <stdio.h>
#include <string.h>

#define PIXELS 3072
#define RECORD (PIXELS + 1)
#define BATCHES 5

dd_status dd_cifar_records(const void *data, size_t size, const char *what, int64_t classes, int64_t at, dd_split *s)
{
    const uint8_t *p = data;
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    if (size % RECORD)
        return dd_fail(
            DD_EFORMAT,
            "%s: %zu bytes are no whole number of records of %d bytes, %zu are left over (truncated download?)", what,
            size, RECORD, size % RECORD);
    int64_t n = (int64_t)(size / RECORD);
    if (n > s->n - at)
        return dd_fail(DD_EFORMAT, "%s: %lld records, there is room for %lld", what, (long long)n,
                       (long long)(s->n - at));
    for (int64_t i = 0; i < n; i++, p += RECORD) {
        if (p[0] >= classes)
            return dd_fail(DD_EFORMAT, "%s: label %d of record %lld is out of range, there are %lld classes (0..%lld)",
                           what, p[0], (long long)i, (long long)classes, (long long)classes - 1);
        dd_i32(&s->labels)[at + i] = p[0];
        memcpy(dd_u8(&s->images) + (at + i) * PIXELS, p + 1, PIXELS);
    }
    return DD_OK;
}

bool dd_cifar_here(const char *dir)
{
    return dd_source_has(dir, "data_batch_1.bin");
}

static dd_status room(dd_split *s, int64_t n)
{
    s->n = n;
    DD_TRY(dd_tensor_init(&s->images, DD_U8, DD_SHAPE(n, 3, 32, 32)));
    return dd_tensor_init(&s->labels, DD_I32, DD_SHAPE(n));
}

static dd_status fill(const dd_bytes *b, int n, int64_t classes, dd_split *s)
{
    int64_t at = 0, total = 0;
    for (int i = 0; i < n; i++) total += (int64_t)(b[i].n / RECORD);
    if (total == 0)
        return dd_fail(DD_EFORMAT, "%s: %zu bytes are less than one record of %d bytes", b[0].path, b[0].n, RECORD);
    DD_TRY(room(s, total));
    for (int i = 0; i < n; i++) {
        DD_TRY(dd_cifar_records(b[i].p, b[i].n, b[i].path, classes, at, s));
        at += (int64_t)(b[i].n / RECORD);
    }
    return DD_OK;
}

static dd_status train_part(dd_dataset *d, const char *dir)
{
    dd_bytes b[BATCHES];
    int n = 0;
    dd_status st = DD_OK;
    for (; n < BATCHES && st == DD_OK; n++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", n + 1);
        st = dd_source_read(dir, name, &b[n]);
    }
    if (st == DD_OK) st = fill(b, n, d->classes, &d->train);
    for (int i = 0; i < n; i++) dd_bytes_fini(&b[i]);
    return st;
}

/* batches.meta.txt is optional; when there, it must name as many classes as the data set has. */
static dd_status names(dd_dataset *d, const char *dir)
{
    dd_bytes b;
    char *name[16] = {0};
    int64_t n = 0;
    if (!dd_source_has(dir, "batches.meta.txt")) return DD_OK;
    DD_TRY(dd_source_read(dir, "batches.meta.txt", &b));
    char *text = dd_alloc(b.n + 1, 1);
    if (!text) {
        dd_bytes_fini(&b);
        return dd_fail(DD_ENOMEM, "%s: out of memory", b.path);
    }
    memcpy(text, b.p, b.n);
    dd_bytes_fini(&b);
    char *save = NULL;
    for (char *t = strtok_r(text, "\r\n", &save); t; t = strtok_r(NULL, "\r\n", &save), n++) {
        if (n < 16) name[n] = t;
    }
    dd_status st = n == d->classes ? dd_class_names_copy(d, name)
                                   : dd_fail(DD_EFORMAT, "%s names %lld classes, expected %lld", b.path, (long long)n,
                                             (long long)d->classes);
    dd_free(text);
    return st;
}

dd_status dd_cifar_load(dd_dataset *d, const char *dir, const dd_data_opts *o)
{
    (void)o;
    dd_bytes b;
    if (!d->classes) d->classes = 10;
    DD_TRY(train_part(d, dir));
    DD_TRY(dd_source_read(dir, "test_batch.bin", &b));
    dd_status st = fill(&b, 1, d->classes, &d->test);
    dd_bytes_fini(&b);
    DD_TRY(st);
    return names(d, dir);
}
