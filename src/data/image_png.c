/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG through libpng's simplified interface, which reports errors as values and never jumps. The only user of
 * libpng. Knows base. Alpha is dropped, palettes and 16-bit samples become 8-bit grey or colour. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <png.h>
#include <string.h>

static dd_status pixels(png_image *im, const char *what, dd_picture *out)
{
    bool alpha = im->format & PNG_FORMAT_FLAG_ALPHA;
    out->c = im->format & PNG_FORMAT_FLAG_COLOR ? 3 : 1;
    out->w = im->width;
    out->h = im->height;
    im->format = (out->c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY) | (alpha ? PNG_FORMAT_FLAG_ALPHA : 0u);
    int64_t n = out->w * out->h, from = out->c + alpha;
    out->px = dd_alloc((size_t)n, (size_t)from);
    if (!out->px)
        return dd_fail(DD_ENOMEM, "%s: out of memory for %lld x %lld pixels", what, (long long)out->w,
                       (long long)out->h);
    if (!png_image_finish_read(im, NULL, out->px, 0, NULL)) {
        dd_picture_fini(out);
        return dd_fail(DD_EFORMAT, "%s: corrupt PNG picture: %s", what, im->message);
    }
    for (int64_t i = 1; alpha && i < n; i++) memmove(out->px + i * out->c, out->px + i * from, (size_t)out->c);
    return DD_OK;
}

dd_status dd_png_decode(const void *data, size_t size, const char *what, dd_picture *out)
{
    png_image im;
    memset(&im, 0, sizeof im);
    im.version = PNG_IMAGE_VERSION;
    if (!png_image_begin_read_from_memory(&im, data, size))
        return dd_fail(DD_EFORMAT, "%s: corrupt PNG picture: %s", what, im.message);
    dd_status st;
    if (im.width == 0 || im.height == 0 || (int64_t)im.width > DD_PIXEL_LIMIT / (int64_t)im.height)
        st = dd_fail(DD_EFORMAT, "%s: %u x %u pixels are more than the limit of %lld", what, im.width, im.height,
                     (long long)DD_PIXEL_LIMIT);
    else
        st = pixels(&im, what, out);
    png_image_free(&im);
    return st;
}

dd_status dd_png_encode(const uint8_t *px, int64_t w, int64_t h, int64_t c, void **out, size_t *size)
{
    png_image im;
    memset(&im, 0, sizeof im);
    im.version = PNG_IMAGE_VERSION;
    im.width = (png_uint_32)w;
    im.height = (png_uint_32)h;
    im.format = c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    if (w < 1 || h < 1 || w > 1000000 || h > 1000000)
        return dd_fail(DD_EINVAL, "a PNG picture of %lld x %lld pixels is too large", (long long)w, (long long)h);
    png_alloc_size_t n = PNG_IMAGE_PNG_SIZE_MAX(im);
    *out = dd_alloc(n, 1);
    if (!*out) return dd_fail(DD_ENOMEM, "out of memory for a PNG picture of %lld x %lld", (long long)w, (long long)h);
    if (!png_image_write_to_memory(&im, *out, &n, 0, px, 0, NULL)) {
        dd_free(*out);
        *out = NULL;
        return dd_fail(DD_EIO, "cannot write a PNG picture: %s", im.message);
    }
    *size = n;
    return DD_OK;
}
