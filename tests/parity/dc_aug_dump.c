/* SPDX-License-Identifier: Apache-2.0
 *
 * dc_aug_dump OUT.safetensors: batches before and after the DC protocol's augmentation and the draws between them, so
 * that dc_aug_parity.py can make the change again with scipy. */
#include "base/memory.h"
#include "dump.h"
#include "eval/augment_dc.h"

#include <stdio.h>

enum { PARTS = 3, DRAW = 4 };

static const char *const parts[PARTS] = {"before", "after", "draws"};

/* MNIST's size, many images, for every angle; colour; oblong; odd sides; tiny. */
static const struct {
    const char *name, *list;
    dd_image image;
    int64_t n;
} cases[] = {
    {"angles", "dc:rotate", {1, 28, 28}, 700},           {"mnist", "dc:crop_scale_rotate", {1, 28, 28}, 200},
    {"colour", "dc:crop_scale_rotate", {3, 32, 32}, 60}, {"oblong", "dc:crop_scale_rotate", {2, 28, 21}, 60},
    {"odd", "dc:crop_scale_rotate", {1, 15, 15}, 60},    {"tiny", "dc:crop_scale_rotate", {1, 3, 3}, 60},
};

/* A row of draws: strategy, y, x, degrees. */
static void write_draw(float *row, dd_dc_draw d)
{
    row[0] = (float)d.strategy;
    row[1] = (float)d.y;
    row[2] = (float)d.x;
    row[3] = (float)d.degrees;
}

static dd_status run_case(int k, dd_tensor *t)
{
    const dd_image im = cases[k].image;
    const int64_t n = cases[k].n;
    const dd_key key = dd_key_at(dd_key_seed(1), "case", (uint64_t)k);
    dd_dc_aug a;
    unsigned list;
    DD_TRY(dd_dc_aug_parse(&list, cases[k].list));
    DD_TRY(dd_tensor_init(&t[0], DD_F32, DD_SHAPE(n, im.c, im.h, im.w)));
    DD_TRY(dd_tensor_init(&t[1], DD_F32, t[0].shape));
    DD_TRY(dd_tensor_init(&t[2], DD_F32, DD_SHAPE(n, DRAW)));
    DD_TRY(dd_dc_aug_init(&a, list, im));
    dd_key_fill_normal(dd_key_at(key, "pixels", 0), dd_f32(&t[0]), dd_shape_count(t[0].shape), 0.5, 1);
    const dd_status s = dd_tensor_copy(&t[1], &t[0]);
    dd_dc_aug_apply(&a, dd_f32(&t[1]), n, key);
    for (int64_t i = 0; i < n; i++)
        write_draw(dd_f32(&t[2]) + i * DRAW, dd_dc_aug_draw(list, im, dd_key_at(key, "image", (uint64_t)i)));
    dd_dc_aug_fini(&a);
    return s;
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
        fputs("usage: dc_aug_dump OUT.safetensors\n", stderr);
        return 2;
    }
    const dd_status s = dump_all(e, argv[1]);
    if (s != DD_OK) fprintf(stderr, "dc_aug_dump: %s\n", dd_last_error());
    for (int i = 0; i < DD_ST_MAX; i++) dd_tensor_fini(&e[i].t);
    return s == DD_OK ? 0 : 1;
}
