/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic images as something to look at: back to natural colours, and many of them as one picture. Knows base,
 * tensor and the PNG writer. Small images are enlarged by whole factors, so that every pixel stays a square. */
#include "base/fs.h"
#include "base/memory.h"
#include "data/data_internal.h"
#include <math.h>
#include <string.h>

#define TARGET 64     /* enlarge until a side has about this many pixels */
#define MAX_SIDE 8192 /* unless the whole picture would pass this */
#define GAP 2
#define PAPER 255

void dd_natural(const float *x, int64_t c, int64_t h, int64_t w, const double *mean, const double *std, uint8_t *out)
{
    int64_t shown = c >= 3 ? 3 : 1, hw = h * w;
    for (int64_t k = 0; k < shown; k++) {
        for (int64_t i = 0; i < hw; i++) {
            double v = ((double)x[k * hw + i] * std[k] + mean[k]) * 255.0;
            out[i * shown + k] = (uint8_t)(v >= 255 ? 255 : v > 0 ? (int)(v + 0.5) : 0); /* NaN becomes 0 */
        }
    }
}

/* Copies one small picture, enlarged f times, to (x0, y0) of a sheet of `width` pixels. */
static void paste(uint8_t *sheet, int64_t width, const uint8_t *im, int64_t h, int64_t w, int64_t c, int64_t f,
                  int64_t x0, int64_t y0)
{
    for (int64_t y = 0; y < h * f; y++) {
        uint8_t *row = sheet + ((y0 + y) * width + x0) * c;
        for (int64_t x = 0; x < w * f; x++) memcpy(row + x * c, im + (y / f * w + x / f) * c, (size_t)c);
    }
}

static int64_t factor(int64_t side, int64_t count)
{
    int64_t f = TARGET / side;
    while (f > 1 && count * (side * f + GAP) > MAX_SIDE) f--;
    return f < 1 ? 1 : f;
}

dd_status dd_grid_png(const char *path, const dd_tensor *images, const double *mean, const double *std, int64_t per_row)
{
    const int64_t *n = images->shape.dim;
    if (images->dtype != DD_F32 || images->shape.rank != 4 || per_row < 1)
        return dd_fail(DD_EINVAL,
                       "a grid needs f32 images [M,C,H,W] and at least one a row, got rank %d and %lld a row",
                       images->shape.rank, (long long)per_row);
    int64_t cols = per_row < n[0] ? per_row : n[0], lines = (n[0] + per_row - 1) / per_row, c = n[1] >= 3 ? 3 : 1;
    int64_t side = n[2] > n[3] ? n[2] : n[3], f = factor(side, cols > lines ? cols : lines);
    int64_t width = cols * (n[3] * f + GAP) + GAP, height = lines * (n[2] * f + GAP) + GAP;
    uint8_t *sheet = dd_alloc((size_t)height, (size_t)(width * c)), *one = dd_alloc((size_t)(n[2] * n[3]), (size_t)c);
    void *png = NULL;
    size_t size = 0;
    dd_status st = sheet && one ? DD_OK
                                : dd_fail(DD_ENOMEM, "out of memory for a grid of %lld x %lld pixels", (long long)width,
                                          (long long)height);
    if (st == DD_OK) {
        memset(sheet, PAPER, (size_t)(height * width * c));
        for (int64_t i = 0; i < n[0]; i++) {
            dd_natural(dd_f32(images) + i * n[1] * n[2] * n[3], n[1], n[2], n[3], mean, std, one);
            paste(sheet, width, one, n[2], n[3], c, f, GAP + i % per_row * (n[3] * f + GAP),
                  GAP + i / per_row * (n[2] * f + GAP));
        }
        st = dd_png_encode(sheet, width, height, c, &png, &size);
    }
    if (st == DD_OK) st = dd_write_file(path, png, size);
    dd_free(png);
    dd_free(sheet);
    dd_free(one);
    return st;
}
