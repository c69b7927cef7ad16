/* SPDX-License-Identifier: Apache-2.0
 *
 * One fact out of set.json by a dotted key, so that callers need no JSON of their own. Knows json.h. */
#include "attar/data.h"
#include "data/json.h"
#include <stdio.h>
#include <string.h>

static const dd_json *walk(const dd_json *at, const char *key)
{
    char part[64];
    while (at && *key) {
        const size_t n = strcspn(key, ".");
        if (n >= sizeof part) return NULL;
        memcpy(part, key, n);
        part[n] = 0;
        at = dd_json_get(at, part);
        key += n + (key[n] == '.');
    }
    return at;
}

static dd_status write_value(const dd_json *v, const char *key, char *buf, size_t size)
{
    int64_t i;
    double x;
    int n;
    if (dd_json_string(v))
        n = snprintf(buf, size, "%s", dd_json_string(v));
    else if (dd_json_int(v, &i))
        n = snprintf(buf, size, "%lld", (long long)i);
    else if (dd_json_real(v, &x))
        n = snprintf(buf, size, "%.17g", x);
    else
        return dd_fail(DD_ENOTFOUND, "set.json has no text or number \"%s\"", key);
    if (n < 0 || (size_t)n >= size)
        return dd_fail(DD_EINVAL, "set.json: \"%s\" has %d characters, room is for %zu", key, n, size);
    return DD_OK;
}

dd_status dd_synset_fact(const dd_synset *s, const char *dotted_key, char *buf, size_t size)
{
    dd_json *doc;
    if (!size) return dd_fail(DD_EINVAL, "no room for \"%s\"", dotted_key);
    buf[0] = 0;
    DD_TRY(dd_json_parse(&doc, s->json, strlen(s->json), "set.json"));
    dd_status st = write_value(walk(doc, dotted_key), dotted_key, buf, size);
    if (st != DD_OK) buf[0] = 0;
    dd_json_free(doc);
    return st;
}
