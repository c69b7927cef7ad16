/* SPDX-License-Identifier: Apache-2.0
 *
 * Option tables: defaults, parsing with the range in the message, and the nearest right name. Knows the C library. */
#include "attar/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Damerau-Levenshtein distance (optimal string alignment), case ignored. */
static size_t distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    size_t d[3][MAX_WORD + 1];
    if (n > MAX_WORD || m > MAX_WORD) return SIZE_MAX; /* near nothing */
    for (size_t j = 0; j <= m; j++) d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            row[j] = least(least(row[j - 1], up[j]) + 1, up[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
                row[j] = least(row[j], up2[j - 2] + 1);
        }
    }
    return d[n % 3][m];
}

const char *dd_nearest(const char *word, const char *const *names)
{
    const char *best = NULL;
    size_t limit = strlen(word) / 3 + 2;
    for (; *names; names++) {
        const size_t k = distance(word, *names);
        if (k < limit) {
            limit = k;
            best = *names;
        }
    }
    return best;
}

static const dd_option *find(const dd_option *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0) return table;
    return NULL;
}

dd_status dd_options_unknown(const dd_option *table, const dd_option *also, const char *name)
{
    const char *names[128];
    const size_t most = sizeof names / sizeof *names - 1;
    size_t n = 0, all;
    for (; table->name && n < most; table++) names[n++] = table->name;
    for (all = n; also && also->name && all < most; also++) names[all++] = also->name;
    names[all] = NULL;
    const char *near = dd_nearest(name, names);
    if (near) return dd_fail(DD_ENOTFOUND, "unknown key \"%s\"; did you mean \"%s\"?", name, near);
    char list[1024] = "";
    size_t at = 0;
    for (size_t i = 0; i < all && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s",
                               i == 0   ? ""
                               : i == n ? "; for every method: "
                                        : ", ",
                               names[i]);
    return dd_fail(DD_ENOTFOUND, "unknown key \"%s\"; %s%s", name, all ? "there are: " : "no keys are taken here",
                   list);
}

static bool ranged(const dd_option *o)
{
    return o->min < o->max || o->max < 0 || o->min > 0;
}

static dd_status set_int(const dd_option *o, int64_t *dst, const char *value)
{
    char *end;
    errno = 0;
    const long long v = strtoll(value, &end, 10);
    if (end == value || *end) return dd_fail(DD_EINVAL, "%s=%s: expected an integer", o->name, value);
    if (errno || (ranged(o) && ((double)v < o->min || (double)v > o->max)))
        return dd_fail(DD_EINVAL, "%s=%s: must be between %.0f and %.0f", o->name, value, ranged(o) ? o->min : -0x1p63,
                       ranged(o) ? o->max : 0x1p63);
    *dst = v;
    return DD_OK;
}

static dd_status set_real(const dd_option *o, double *dst, const char *value)
{
    char *end;
    const double v = strtod(value, &end);
    if (end == value || *end || !(v - v == 0)) /* rejects NaN and infinity too */
        return dd_fail(DD_EINVAL, "%s=%s: expected a finite number", o->name, value);
    if (ranged(o) && (v < o->min || v > o->max))
        return dd_fail(DD_EINVAL, "%s=%s: must be between %g and %g", o->name, value, o->min, o->max);
    *dst = v;
    return DD_OK;
}

static dd_status set_bool(const dd_option *o, bool *dst, const char *value)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *dst = strcmp(value, yes[i]) == 0;
            return DD_OK;
        }
    }
    return dd_fail(DD_EINVAL, "%s=%s: expected true or false", o->name, value);
}

static bool is_choice(const char *choices, const char *value)
{
    const size_t n = strlen(value);
    for (const char *p = choices; n && p && *p;) {
        const size_t k = strcspn(p, "|");
        if (k == n && strncmp(p, value, n) == 0) return true;
        p += k + (p[k] == '|');
    }
    return false;
}

static dd_status set_text(const dd_option *o, char *dst, const char *value)
{
    if (o->type == DD_OPT_CHOICE && !is_choice(o->choices, value))
        return dd_fail(DD_EINVAL, "%s=%s: must be one of %s", o->name, value, o->choices);
    if (strlen(value) >= DD_OPT_TEXT)
        return dd_fail(DD_EINVAL, "%s: %zu characters, at most %d fit", o->name, strlen(value), DD_OPT_TEXT - 1);
    snprintf(dst, DD_OPT_TEXT, "%s", value);
    return DD_OK;
}

static dd_status set_row(const dd_option *o, void *dst, const char *value)
{
    void *at = (char *)dst + o->offset;
    switch (o->type) {
    case DD_OPT_INT: return set_int(o, at, value);
    case DD_OPT_REAL: return set_real(o, at, value);
    case DD_OPT_BOOL: return set_bool(o, at, value);
    case DD_OPT_STRING:
    case DD_OPT_CHOICE: return set_text(o, at, value);
    }
    return dd_fail(DD_EINVAL, "%s: the table has no such type", o->name);
}

dd_status dd_options_defaults(const dd_option *table, void *dst)
{
    for (; table->name; table++) DD_TRY(set_row(table, dst, table->def ? table->def : ""));
    return DD_OK;
}

dd_status dd_options_set(const dd_option *table, void *dst, const char *name, const char *value)
{
    const dd_option *o = find(table, name);
    return o ? set_row(o, dst, value) : dd_options_unknown(table, NULL, name);
}

/* The shortest of 15 to 17 digits that reads back as the same number. */
static void real_text(double v, char *buf, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, size, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) return;
    }
}

dd_status dd_options_get(const dd_option *table, const void *src, const char *name, char *buf, size_t size)
{
    const dd_option *o = find(table, name);
    if (!o) return dd_options_unknown(table, NULL, name);
    const char *at = (const char *)src + o->offset;
    switch (o->type) {
    case DD_OPT_INT: {
        int64_t v;
        memcpy(&v, at, sizeof v);
        snprintf(buf, size, "%" PRId64, v);
        break;
    }
    case DD_OPT_REAL: {
        double v;
        memcpy(&v, at, sizeof v);
        real_text(v, buf, size);
        break;
    }
    case DD_OPT_BOOL: {
        bool v;
        memcpy(&v, at, sizeof v);
        snprintf(buf, size, "%s", v ? "true" : "false");
        break;
    }
    case DD_OPT_STRING:
    case DD_OPT_CHOICE: snprintf(buf, size, "%s", at); break;
    }
    return DD_OK;
}

bool dd_options_has(const dd_option *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0) return true;
    return false;
}
