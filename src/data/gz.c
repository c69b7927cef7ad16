/* SPDX-License-Identifier: Apache-2.0
 *
 * gzip and CRC-32, the only user of zlib. Knows base. The output buffer grows as bytes arrive, so a file that
 * claims to be huge costs nothing until it really inflates, and stops at the limit. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <zlib.h>

#define GZ_STEP ((size_t)1 << 20)

bool dd_is_gzip(const void *data, size_t size)
{
    const uint8_t *p = data;
    return size >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

uint32_t dd_crc32(const void *data, size_t size)
{
    return (uint32_t)crc32_z(0, data, size);
}

static uInt clip(size_t n)
{
    return n > GZ_STEP ? (uInt)GZ_STEP : (uInt)n;
}

/* One member from *in onwards; advances *in and *got. */
static dd_status member(z_stream *z, const uint8_t *data, size_t size, size_t *in, size_t limit, const char *what,
                        void **out, size_t *cap, size_t *got)
{
    for (int rc = Z_OK; rc != Z_STREAM_END;) {
        if (*got > limit) return dd_fail(DD_EFORMAT, "%s: inflates to more than the limit of %zu bytes", what, limit);
        DD_TRY(dd_grow(out, cap, *got + GZ_STEP, 1));
        uInt avail = clip(size - *in);
        z->next_in = (z_const Bytef *)(uintptr_t)(data + *in);
        z->avail_in = avail;
        z->next_out = (Bytef *)*out + *got;
        z->avail_out = (uInt)GZ_STEP;
        rc = inflate(z, Z_NO_FLUSH);
        size_t took = avail - z->avail_in, gave = GZ_STEP - z->avail_out;
        *in += took;
        *got += gave;
        if (rc == Z_MEM_ERROR) return dd_fail(DD_ENOMEM, "%s: out of memory while inflating", what);
        if (rc == Z_BUF_ERROR || (rc == Z_OK && took == 0 && gave == 0))
            return dd_fail(DD_EFORMAT,
                           "%s: the gzip data end after %zu bytes in the middle of a member (truncated download?)",
                           what, size);
        if (rc != Z_OK && rc != Z_STREAM_END)
            return dd_fail(DD_EFORMAT, "%s: corrupt gzip data near byte %zu of %zu: %s", what, *in, size,
                           z->msg ? z->msg : "unknown error");
    }
    return DD_OK;
}

static dd_status members(z_stream *z, const uint8_t *data, size_t size, size_t limit, const char *what, void **out,
                         size_t *cap, size_t *got)
{
    size_t in = 0;
    while (in < size) {
        if (!dd_is_gzip(data + in, size - in))
            return dd_fail(DD_EFORMAT, "%s: %zu bytes that are no gzip data follow byte %zu", what, size - in, in);
        if (inflateReset(z) != Z_OK) return dd_fail(DD_EFORMAT, "%s: cannot start inflating", what);
        DD_TRY(member(z, data, size, &in, limit, what, out, cap, got));
    }
    if (*got > limit) return dd_fail(DD_EFORMAT, "%s: inflates to more than the limit of %zu bytes", what, limit);
    return DD_OK;
}

dd_status dd_gunzip(const void *data, size_t size, size_t limit, const char *what, void **out, size_t *out_size)
{
    z_stream z = {0};
    size_t cap = 0, got = 0;
    *out = NULL;
    *out_size = 0;
    if (inflateInit2(&z, 15 + 16) != Z_OK) return dd_fail(DD_ENOMEM, "%s: out of memory while inflating", what);
    dd_status st = members(&z, data, size, limit, what, out, &cap, &got);
    inflateEnd(&z);
    if (st != DD_OK) {
        dd_free(*out);
        *out = NULL;
        return st;
    }
    dd_shrink(out, got);
    *out_size = got;
    return DD_OK;
}
