/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser of long options, driven by the same rows that help, manual page and completion print. Knows the public
 * option tables: values are read by dd_options_set, so ranges and choices are worded in one place. */
#include "cli/cli.h"
#include <string.h>

const char *dd_cli_value_word(const dd_option *o)
{
    switch (o->type) {
    case DD_OPT_BOOL: return "";
    case DD_OPT_INT: return "N";
    case DD_OPT_REAL: return "X";
    case DD_OPT_STRING:
    case DD_OPT_CHOICE: break;
    }
    return o->choices ? o->choices : "TEXT";
}

static const dd_option *find(const dd_option *table, const char *name, size_t n)
{
    for (; table->name; table++)
        if (strlen(table->name) == n && memcmp(table->name, name, n) == 0) return table;
    return NULL;
}

static dd_status unknown(const dd_command *c, const char *name, size_t n)
{
    const char *names[64];
    char word[64];
    int count = 0;
    for (const dd_option *o = c->options; o->name && count < 62; o++) names[count++] = o->name;
    names[count++] = "help";
    names[count] = NULL;
    snprintf(word, sizeof word, "%.*s", n < 63 ? (int)n : 63, name);
    const char *near = dd_nearest(word, names);
    if (near) return dd_fail(DD_EINVAL, "%s: there is no option --%s, did you mean --%s?", c->name, word, near);
    return dd_fail(DD_EINVAL, "%s: there is no option --%s; see attar help %s", c->name, word, c->name);
}

static dd_status assign(const dd_option *o, void *dst, dd_parsed *out, const char *value)
{
    if (strcmp(o->name, "set") == 0) {
        if (!strchr(value, '=')) return dd_fail(DD_EINVAL, "--set %s: expected KEY=VALUE", value);
        if (out->nsets == DD_CLI_SETS) return dd_fail(DD_EINVAL, "--set is given more than %d times", DD_CLI_SETS);
        out->sets[out->nsets++] = value;
        return DD_OK;
    }
    char why[400];
    const dd_option row[2] = {*o, {0}};
    dd_status st = dd_options_set(row, dst, o->name, value);
    if (st == DD_OK) return st;
    snprintf(why, sizeof why, "%.399s", dd_last_error());
    return dd_fail(DD_EINVAL, "--%s", why);
}

/* Reads argv[*i], an option, and its value. */
static dd_status read_option(const dd_command *c, void *dst, dd_parsed *out, int *i, int argc, char **argv)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    const size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const dd_option *o = find(c->options, name, n);
    if (!o) return unknown(c, name, n);
    if (o->type == DD_OPT_BOOL) {
        if (equals) return dd_fail(DD_EINVAL, "--%s is a flag and takes no value", o->name);
        return assign(o, dst, out, "true");
    }
    if (equals) return assign(o, dst, out, equals + 1);
    if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)
        return dd_fail(DD_EINVAL, "--%s needs a value: --%s %s", o->name, o->name, dd_cli_value_word(o));
    return assign(o, dst, out, argv[++*i]);
}

dd_status dd_cli_parse(const dd_command *c, void *dst, dd_parsed *out, int nargs, bool optional, int argc, char **argv)
{
    DD_TRY(dd_options_defaults(c->options, dst));
    return dd_cli_read(c, dst, out, nargs, optional, argc, argv);
}

dd_status dd_cli_read(const dd_command *c, void *dst, dd_parsed *out, int nargs, bool optional, int argc, char **argv)
{
    bool only_args = false;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < argc; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && strncmp(argv[i], "--", 2) == 0) {
            DD_TRY(read_option(c, dst, out, &i, argc, argv));
        } else if (!only_args && argv[i][0] == '-' && argv[i][1]) {
            return dd_fail(DD_EINVAL, "%s: there is no option %s; options are long ones, see attar help %s", c->name,
                           argv[i], c->name);
        } else if (out->nargs == nargs) {
            return dd_fail(DD_EINVAL, "%s: \"%s\" is one argument too many", c->name, argv[i]);
        } else {
            out->args[out->nargs++] = argv[i];
        }
    }
    if (!optional && out->nargs < nargs)
        return dd_fail(DD_EINVAL, "%s: expected %s; see attar help %s", c->name, c->args, c->name);
    return DD_OK;
}
