/* SPDX-License-Identifier: Apache-2.0
 *
 * whiten_dump OUT.safetensors: made-up images, what every whitening variant makes of them, and its way back, so that
 * whiten_parity.py can compute them once more with numpy. */
#include "base/memory.h"
#include "data/data_internal.h"
#include "data/whiten.h"
#include "dump.h"

#include <stdio.h>
#include <string.h>

enum { PARTS = 3 };

static const char *const parts[PARTS] = {"pixels", "white", "back"};

/* With fewer images than values the relative variants keep the other directions' scale. */
static const struct {
    const char *name, *how;
    int64_t n, c, h, w;
} cases[] = {
    {"mtt", "zca-mtt", 700, 3, 9, 8},      {"kip", "zca-kip", 700, 3, 9, 8},
    {"frepo", "zca-frepo", 700, 3, 9, 8},  {"mtt-few", "zca-mtt", 50, 1, 12, 11},
    {"kip-few", "zca-kip", 50, 1, 12, 11}, {"frepo-few", "zca-frepo", 50, 1, 12, 11},
    {"rfad", "zca-rfad", 700, 3, 9, 8},    {"rfad-few", "zca-rfad", 50, 1, 12, 11},
};

/* Neighbours are alike, as in pictures, so that eigenvalues differ. */
static void smooth(float *x, int64_t n)
{
    for (int64_t i = 1; i < n; i++) x[i] += 0.8f * (x[i - 1] - 0.5f);
}

static dd_status whiten_all(dd_dataset *d, const char *how, dd_tensor *t)
{
    const int64_t n = d->train.n;
    int32_t *items = dd_alloc((size_t)n, sizeof *items);
    if (!items) return dd_fail(DD_ENOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) items[i] = (int32_t)i;
    dd_status s = dd_normalise(d, how, NULL, NULL);
    if (s == DD_OK) s = dd_whiten_as(d, how, NULL);
    if (s == DD_OK) {
        dd_data_batch(d, &d->train, items, n, dd_f32(&t[1]));
        s = dd_unwhiten(d->whitening, dd_f32(&t[1]), n, dd_f32(&t[2]));
    }
    dd_whitening_free(d->whitening);
    dd_free(items);
    return s;
}

static dd_status run_case(int k, dd_tensor *t)
{
    dd_dataset d = {.c = cases[k].c, .h = cases[k].h, .w = cases[k].w};
    const dd_shape shape = DD_SHAPE(cases[k].n, d.c, d.h, d.w);
    for (int i = 0; i < PARTS; i++) DD_TRY(dd_tensor_init(&t[i], DD_F32, shape));
    dd_key_fill_normal(dd_key_at(dd_key_seed(1), "case", (uint64_t)k), dd_f32(&t[0]), dd_shape_count(shape), 0.5, 0.1);
    smooth(dd_f32(&t[0]), dd_shape_count(shape));
    d.train.n = cases[k].n;
    d.train.images = t[0]; /* borrowed */
    return whiten_all(&d, cases[k].how, t);
}

static dd_status dump_all(dd_st_entry *e, const char *path)
{
    for (int k = 0; k < (int)DD_LEN(cases); k++) {
        dd_tensor t[PARTS] = {0};
        const dd_status s = run_case(k, t);
        for (int i = 0; i < PARTS; i++) {
            dd_st_entry *to = e + k * PARTS + i;
            snprintf(to->name, sizeof to->name, "%s/%s", cases[k].name, parts[i]);
            to->t = t[i];
        }
        DD_TRY(s);
    }
    return write_entries(e, (int)DD_LEN(cases) * PARTS, path);
}

int main(int argc, char **argv)
{
    static dd_st_entry e[DD_ST_MAX];
    if (argc != 2) {
        fputs("usage: whiten_dump OUT.safetensors\n", stderr);
        return 2;
    }
    const dd_status s = dump_all(e, argv[1]);
    if (s != DD_OK) fprintf(stderr, "whiten_dump: %s\n", dd_last_error());
    for (int i = 0; i < DD_ST_MAX; i++) dd_tensor_fini(&e[i].t);
    return s == DD_OK ? 0 : 1;
}
