/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that is going to be written as JSON. Knows the C library only. */
#include "base/utf8.h"

/* Length of the UTF-8 character at p; 0: none starts there (RFC 3629). */
static size_t utf8_at(const unsigned char *p)
{
    const size_t n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    if (*p >= 0x80 && *p < 0xc2) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    const bool overlong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90);
    const bool outside = (*p == 0xed && p[1] >= 0xa0) || (*p == 0xf4 && p[1] >= 0x90);
    return overlong || outside ? 0 : n;
}

dd_status dd_utf8_check(const char *what, const char *v)
{
    const unsigned char *p = (const unsigned char *)v;
    for (size_t n; *p; p += n)
        if (!(n = utf8_at(p)))
            return dd_fail(DD_EINVAL, "%s is not UTF-8: byte 0x%02x at position %zu; rename it", what, (unsigned)*p,
                           (size_t)(p - (const unsigned char *)v) + 1);
    return DD_OK;
}
