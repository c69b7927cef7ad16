/* SPDX-License-Identifier: Apache-2.0
 *
 * A temporary folder for each test of the data layer, and files in it. Included by the test programs only, so its
 * functions are static; each program uses all of them. */
#ifndef ATTAR_TEST_DATA_PLACE_H
#define ATTAR_TEST_DATA_PLACE_H
#include "attar/data.h"
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct place {
    char dir[64];
} place;

static int drop(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

static int setup(void **state)
{
    place *p = calloc(1, sizeof *p);
    if (!p) return -1;
    strcpy(p->dir, "/tmp/attar-data-XXXXXX");
    if (!mkdtemp(p->dir)) return -1;
    unsetenv("ATTAR_DATA");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    place *p = *state;
    nftw(p->dir, drop, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

/* DIR/name; four results may be alive at once. */
static const char *at(void **state, const char *name)
{
    static _Thread_local char buf[4][DD_PATH];
    static _Thread_local int turn;
    char *b = buf[turn++ & 3];
    snprintf(b, DD_PATH, "%s/%s", ((place *)*state)->dir, name);
    return b;
}

/* Keeps a path beyond the next four. */
static void copy(char buf[DD_PATH], const char *path)
{
    snprintf(buf, DD_PATH, "%s", path);
}

static void put(void **state, const char *name, const void *data, size_t size)
{
    char dir[DD_PATH];
    snprintf(dir, sizeof dir, "%s", at(state, name));
    *strrchr(dir, '/') = 0;
    assert_int_equal(dd_make_dir(dir), DD_OK);
    assert_int_equal(dd_write_file(at(state, name), data, size), DD_OK);
}

static void says(const char *part)
{
    if (!strstr(dd_last_error(), part)) fail_msg("expected \"%s\" in: %s", part, dd_last_error());
}

static dd_dataset *must_open(const char *path, const dd_data_opts *o)
{
    dd_dataset *d = NULL;
    if (dd_dataset_open(&d, path, o) != DD_OK) fail_msg("%s: %s", path, dd_last_error());
    return d;
}

static void put_png(void **state, const char *name, int64_t w, int64_t h, int64_t c, int value)
{
    uint8_t px[3 * 64 * 64];
    void *png;
    size_t n;
    memset(px, value, sizeof px);
    assert_int_equal(dd_png_encode(px, w, h, c, &png, &n), DD_OK);
    put(state, name, png, n);
    dd_free(png);
}

static void picture_folder(void **state)
{
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "pics/train/%s/%d.png", k ? "dog" : "cat", i);
            put_png(state, name, 16, 16, 1, k * 100 + i);
            snprintf(name, sizeof name, "pics/val/%s/%d.png", k ? "dog" : "cat", i);
            put_png(state, name, 16, 16, 3, 7);
        }
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
