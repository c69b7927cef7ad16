/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG through libjpeg, the only user of it. Knows base. libjpeg reports errors by a callback that must not
 * return; the jump it takes here ends in decode(), never outside. A picture that ends early is refused: libjpeg
 * would fill the rest with grey. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>
#include <setjmp.h>
#include <string.h>

/* A progressive file can hold thousands of tiny scans over a large picture; real ones have about ten. */
#define SCAN_LIMIT 200

typedef struct catcher {
    struct jpeg_error_mgr mgr; /* first: libjpeg hands back a pointer to it */
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
    struct jpeg_progress_mgr progress;
} catcher;

static void on_error(j_common_ptr c)
{
    catcher *k = (catcher *)(void *)c->err;
    c->err->format_message(c, k->text);
    longjmp(k->back, 1);
}

/* Level -1 is a warning: the data are damaged but libjpeg would go on. */
static void on_message(j_common_ptr c, int level)
{
    if (level == -1 && (c->err->msg_code == JWRN_JPEG_EOF || c->err->msg_code == JWRN_HIT_MARKER)) on_error(c);
}

static void quiet(j_common_ptr c)
{
    (void)c;
}

static void on_progress(j_common_ptr c)
{
    if (((j_decompress_ptr)c)->input_scan_number <= SCAN_LIMIT) return;
    catcher *k = (catcher *)(void *)c->err;
    snprintf(k->text, sizeof k->text, "more than %d scans", SCAN_LIMIT);
    longjmp(k->back, 1);
}

static void rows(j_decompress_ptr c, dd_picture *out)
{
    jpeg_start_decompress(c);
    while (c->output_scanline < c->output_height) {
        JSAMPROW row = out->px + (int64_t)c->output_scanline * out->w * out->c;
        jpeg_read_scanlines(c, &row, 1);
    }
    jpeg_finish_decompress(c);
}

/* Everything that may jump. `out` is the caller's, so its members survive the jump. */
static dd_status decode(j_decompress_ptr c, catcher *k, const void *data, size_t size, const char *what,
                        dd_picture *out)
{
    if (setjmp(k->back)) return dd_fail(DD_EFORMAT, "%s: corrupt JPEG picture of %zu bytes: %s", what, size, k->text);
    jpeg_create_decompress(c);
    c->progress = &k->progress;
    jpeg_mem_src(c, data, (unsigned long)size);
    jpeg_read_header(c, TRUE);
    c->out_color_space = c->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    out->c = c->jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    out->w = c->image_width;
    out->h = c->image_height;
    if (out->w < 1 || out->h < 1 || out->w > DD_PIXEL_LIMIT / out->h)
        return dd_fail(DD_EFORMAT, "%s: %lld x %lld pixels are more than the limit of %lld", what, (long long)out->w,
                       (long long)out->h, (long long)DD_PIXEL_LIMIT);
    out->px = dd_alloc((size_t)(out->w * out->h), (size_t)out->c);
    if (!out->px)
        return dd_fail(DD_ENOMEM, "%s: out of memory for %lld x %lld pixels", what, (long long)out->w,
                       (long long)out->h);
    rows(c, out);
    return DD_OK;
}

dd_status dd_jpeg_decode(const void *data, size_t size, const char *what, dd_picture *out)
{
    struct jpeg_decompress_struct c;
    catcher k;
    memset(&c, 0, sizeof c);
    memset(&k, 0, sizeof k);
    memset(out, 0, sizeof *out);
    if (size == 0) return dd_fail(DD_EFORMAT, "%s is empty (0 bytes)", what);
    c.err = jpeg_std_error(&k.mgr);
    k.mgr.error_exit = on_error;
    k.mgr.emit_message = on_message;
    k.mgr.output_message = quiet;
    k.progress.progress_monitor = on_progress;
    dd_status st = decode(&c, &k, data, size, what, out);
    jpeg_destroy_decompress(&c);
    if (st != DD_OK) dd_picture_fini(out);
    return st;
}
