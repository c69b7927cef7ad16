/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads and writes specifications by option tables. Knows base. */
#include "base/spec.h"

#include <string.h>
#include <strings.h>

enum { MOST_NAMES = 64 };

static dd_status unknown(const char *name, const char *what, const char *const *names, const dd_spec_alias *aliases)
{
    const char *all[MOST_NAMES + 1] = {NULL};
    dd_str list = {0};
    int n = 0;
    for (int i = 0; names[i] && n < MOST_NAMES; i++) {
        all[n++] = names[i];
        dd_str_addf(&list, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " and ", names[i]);
    }
    for (; aliases->alias && n < MOST_NAMES; aliases++) all[n++] = aliases->alias;
    const char *near = dd_nearest(name, all);
    const dd_status s =
        near ? dd_fail(DD_ENOTFOUND, "there is no %s \"%s\"; did you mean %s?", what, name, near)
             : dd_fail(DD_ENOTFOUND, "there is no %s \"%s\"; the %ss are %s", what, name, what, list.p ? list.p : "");
    dd_str_free(&list);
    return s;
}

static int place(const char *name, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (!strcasecmp(names[i], name)) return i;
    return -1;
}

dd_status dd_spec_find(int *row, const char **options, const char *spec, const char *what, const char *const *names,
                       const dd_spec_alias *aliases)
{
    char name[DD_OPT_TEXT];
    const size_t length = strcspn(spec, ":");
    if (strlen(spec) >= sizeof name)
        return dd_fail(DD_EINVAL, "a %s specification has at most %zu characters, this one %zu", what, sizeof name - 1,
                       strlen(spec));
    memcpy(name, spec, length);
    name[length] = 0;
    *row = place(name, names);
    *options = "";
    for (const dd_spec_alias *a = aliases; *row < 0 && a->alias; a++)
        if (!strcasecmp(a->alias, name)) {
            *row = place(a->name, names);
            *options = a->options;
        }
    return *row < 0 ? unknown(name, what, names, aliases) : DD_OK;
}

/* Cuts `text` up as it goes. */
static dd_status set(const dd_spec_part *part, int n, const char *what, const char *name, char *text)
{
    char *save = NULL;
    for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(word, '=');
        if (!eq)
            return dd_fail(DD_EINVAL, "%s option \"%s\" has no value; write %s:KEY=VALUE[,KEY=VALUE...]", what, word,
                           name);
        *eq = 0;
        int i = n - 1;
        while (i > 0 && !dd_options_has(part[i].table, word)) i--; /* of an unknown key the first says so */
        DD_TRY(dd_options_set(part[i].table, part[i].dst, word, eq + 1));
    }
    return DD_OK;
}

dd_status dd_spec_set(const dd_spec_part *part, int n, const char *what, const char *name, const char *text)
{
    char *copy = dd_strdup(text);
    if (!copy) return dd_fail(DD_ENOMEM, "out of memory while opening %s %s", what, name);
    const dd_status s = set(part, n, what, name, copy);
    dd_free(copy);
    return s;
}

static dd_status write_options(dd_str *s, const dd_spec_part *part, int n)
{
    char value[DD_OPT_TEXT], separator = ':';
    for (int i = 0; i < n; i++)
        for (const dd_option *o = part[i].table; o->name; o++) {
            DD_TRY(dd_options_get(part[i].table, part[i].dst, o->name, value, sizeof value));
            if (part[i].sparse && strcmp(value, o->def) == 0) continue;
            dd_str_addf(s, "%c%s=%s", separator, o->name, value);
            separator = ',';
        }
    return DD_OK;
}

dd_status dd_spec_canonical(char **out, const dd_spec_part *part, int n, const char *name)
{
    dd_str s = {0};
    *out = NULL;
    dd_str_add(&s, name);
    const dd_status st = write_options(&s, part, n);
    if (st == DD_OK && !s.failed) *out = dd_strdup(s.p);
    dd_str_free(&s);
    if (st != DD_OK) return st;
    return *out ? DD_OK : dd_fail(DD_ENOMEM, "out of memory while opening %s", name);
}
