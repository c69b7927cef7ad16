/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes zip archives whose members are stored, not packed: what numpy's .npz and torch's .pt need. Dates are fixed
 * (1 January 1980), so the bytes are a pure function of the members. Knows base and gz.c's CRC. No zip64: members and
 * archive stay below 4 GiB. */
#include "base/memory.h"
#include "data/data_internal.h"
#include <string.h>

#define LOCAL 30
#define CENTRAL 46
#define END 22
#define DATE_1980 0x0021

static uint8_t *u16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static uint8_t *u32(uint8_t *p, size_t v)
{
    return u16(u16(p, v & 0xffff), v >> 16 & 0xffff);
}

static size_t bytes(const dd_zip_member *m)
{
    return m->part[0].n + m->part[1].n;
}

/* The 26 bytes that the local and the central header share. */
static uint8_t *common(uint8_t *p, const dd_zip_member *m, uint32_t crc)
{
    p = u16(p, 20); /* version needed */
    p = u32(p, 0);  /* flags, method: stored */
    p = u16(p, 0);  /* time */
    p = u16(p, DATE_1980);
    p = u32(p, crc);
    p = u32(p, bytes(m));
    p = u32(p, bytes(m));
    p = u16(p, strlen(m->name));
    return u16(p, 0); /* extra field */
}

static uint8_t *put(uint8_t *p, const void *src, size_t n)
{
    if (n) memcpy(p, src, n);
    return p + n;
}

static uint8_t *central(uint8_t *p, const dd_zip_member *m, uint32_t crc, size_t at)
{
    p = u32(p, 0x02014b50);
    p = u16(p, 20); /* made by */
    p = common(p, m, crc);
    p = u32(u32(p, 0), 0); /* comment, disk, internal attributes; two bytes of external ones */
    p = u16(p, 0);
    p = u32(p, at);
    return put(p, m->name, strlen(m->name));
}

dd_status dd_zip_store(const dd_zip_member *m, int n, void **out, size_t *size)
{
    size_t body = 0, dir = 0, at[64];
    uint32_t crc[64];
    *out = NULL;
    for (int i = 0; i < n; i++) {
        body += LOCAL + strlen(m[i].name) + bytes(&m[i]);
        dir += CENTRAL + strlen(m[i].name);
    }
    *size = body + dir + END;
    if (n > 64 || *size > 0xfffffffeu)
        return dd_fail(DD_EUNSUPPORTED, "an archive of %zu bytes is beyond 4 GiB", *size);
    uint8_t *p = dd_alloc(*size, 1), *start = p;
    if (!p) return dd_fail(DD_ENOMEM, "out of memory for an archive of %zu bytes", *size);
    for (int i = 0; i < n; i++) {
        at[i] = (size_t)(p - start);
        uint8_t *h = p;
        p = put(p + LOCAL, m[i].name, strlen(m[i].name));
        uint8_t *data = p;
        p = put(put(p, m[i].part[0].p, m[i].part[0].n), m[i].part[1].p, m[i].part[1].n);
        crc[i] = dd_crc32(data, bytes(&m[i]));
        common(u32(h, 0x04034b50), &m[i], crc[i]);
    }
    for (int i = 0; i < n; i++) p = central(p, &m[i], crc[i], at[i]);
    p = u32(u32(p, 0x06054b50), 0);
    p = u16(u16(p, (size_t)n), (size_t)n);
    u16(u32(u32(p, dir), body), 0);
    *out = start;
    return DD_OK;
}
