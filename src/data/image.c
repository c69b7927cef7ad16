/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures once decoded: which decoder to ask, resizing, grey and colour. Knows base; no picture library. */
#include "data/data_internal.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

dd_status dd_picture_decode(const void *data, size_t size, const char *what, dd_picture *out)
{
    const uint8_t *p = data;
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    if (size >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0) return dd_png_decode(data, size, what, out);
    if (size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff) return dd_jpeg_decode(data, size, what, out);
    return dd_fail(DD_EFORMAT, "%s: %zu bytes that start neither like a PNG nor like a JPEG picture", what, size);
}

/* One axis: n_in samples at stride `si` to n_out at stride `so`. Shrinking averages the covered interval, growing
 * interpolates between sample centres. */
static void resample(const float *in, int64_t n_in, int64_t si, float *out, int64_t n_out, int64_t so)
{
    double s = (double)n_in / (double)n_out;
    for (int64_t o = 0; o < n_out; o++) {
        double sum = 0;
        if (s > 1) {
            double a = (double)o * s, b = (double)(o + 1) * s;
            for (int64_t i = (int64_t)a; i < n_in && (double)i < b; i++) {
                double lo = fmax(a, (double)i), hi = fmin(b, (double)(i + 1));
                if (hi > lo) sum += (hi - lo) * (double)in[i * si];
            }
            sum /= s;
        } else {
            double x = fmin(fmax(((double)o + 0.5) * s - 0.5, 0), (double)(n_in - 1));
            int64_t i = (int64_t)x, j = i + 1 < n_in ? i + 1 : i;
            double f = x - (double)i;
            sum = (1 - f) * (double)in[i * si] + f * (double)in[j * si];
        }
        out[o * so] = (float)sum;
    }
}

dd_status dd_picture_resize(dd_picture *im, int64_t h, int64_t w)
{
    if (im->h == h && im->w == w) return DD_OK;
    int64_t c = im->c, row = im->w * c;
    if (h < 1 || w < 1 || h > DD_PIXEL_LIMIT / w)
        return dd_fail(DD_EINVAL, "cannot resize to %lld x %lld", (long long)w, (long long)h);
    float *src = dd_alloc((size_t)(im->h * row), sizeof *src),
          *mid = dd_alloc((size_t)im->h, (size_t)(w * c) * sizeof *mid);
    float *dst = dd_alloc((size_t)h, (size_t)(w * c) * sizeof *dst);
    uint8_t *px = dd_alloc((size_t)h, (size_t)(w * c));
    dd_status st = src && mid && dst && px ? DD_OK : dd_fail(DD_ENOMEM, "out of memory while resizing");
    if (st == DD_OK) {
        for (int64_t i = 0; i < im->h * row; i++) src[i] = im->px[i];
        for (int64_t y = 0; y < im->h; y++)
            for (int64_t k = 0; k < c; k++) resample(src + y * row + k, im->w, c, mid + y * w * c + k, w, c);
        for (int64_t k = 0; k < w * c; k++) resample(mid + k, im->h, w * c, dst + k, h, w * c);
        for (int64_t i = 0; i < h * w * c; i++) px[i] = (uint8_t)lrintf(fminf(fmaxf(dst[i], 0), 255));
        dd_free(im->px);
        im->px = px;
        im->h = h;
        im->w = w;
        px = NULL;
    }
    dd_free(src);
    dd_free(mid);
    dd_free(dst);
    dd_free(px);
    return st;
}

dd_status dd_picture_channels(dd_picture *im, int64_t c)
{
    if (im->c == c) return DD_OK;
    int64_t n = im->h * im->w;
    uint8_t *px = dd_alloc((size_t)n, (size_t)c);
    if (!px) return dd_fail(DD_ENOMEM, "out of memory for a picture of %lld pixels", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        if (c == 3) {
            memset(px + 3 * i, im->px[i], 3);
        } else {
            const uint8_t *p = im->px + 3 * i;
            px[i] = (uint8_t)((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
        }
    }
    dd_free(im->px);
    im->px = px;
    im->c = c;
    return DD_OK;
}

void dd_picture_planes(const dd_picture *im, uint8_t *out)
{
    int64_t n = im->h * im->w;
    for (int64_t k = 0; k < im->c; k++)
        for (int64_t i = 0; i < n; i++) out[k * n + i] = im->px[i * im->c + k];
}
