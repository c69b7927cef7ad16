/* SPDX-License-Identifier: Apache-2.0
 *
 * attar presets: published settings, for people and programs. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    bool json;
} flags;

const dd_option dd_presets_flags[] = {
    {"json", DD_OPT_BOOL, offsetof(flags, json), "false", 0, 0, NULL, "print JSON"},
    {0},
};

static void member(const char *key, const char *value, const char *end)
{
    printf("\"%s\": ", key);
    dd_json_text(stdout, value);
    fputs(end, stdout);
}

static void print_json(const dd_preset *p, int64_t iterations, bool first)
{
    fputs(first ? "{" : ",\n{", stdout);
    member("name", p->name, ", ");
    member("method", p->method, ", ");
    member("settings", p->settings, ", ");
    member("normalise", p->normalise, ", ");
    printf("\"iterations\": %lld, \"expected\": %.9g, \"tolerance\": %.9g, ", (long long)iterations, p->expected / 100,
           p->tolerance / 100);
    member("source", p->source, "}");
}

/* Whether it is the one named, or begins by that: whole words between slashes. */
static bool named(const dd_preset *p, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(p->name, name, n) == 0 && (p->name[n] == 0 || p->name[n] == '/');
}

static dd_status find(const char *name)
{
    const dd_preset *p;
    for (int i = 0; i < dd_preset_count(); i++)
        if (named(dd_preset_at(i), name)) return DD_OK;
    return dd_preset_find(&p, name); /* says what is near */
}

static void print_row(const dd_preset *p, int64_t iterations)
{
    const int n = printf("%-25s %6lld  %4.1f +- %g  ", p->name, (long long)iterations, p->expected, p->tolerance);
    dd_wrap(stdout, p->source, 46, n);
}

dd_status dd_cmd_presets(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, true, argc, argv));
    const char *name = p.nargs ? p.args[0] : NULL;
    if (name) DD_TRY(find(name));
    bool first = true;
    if (f.json)
        putchar('[');
    else
        printf("%-25s %6s  %-10s %s\n", "preset", "iter.", "expected %", "source");
    for (int i = 0; i < dd_preset_count(); i++) {
        dd_distill_opts o;
        if (name && !named(dd_preset_at(i), name)) continue;
        DD_TRY(dd_distill_defaults(&o));
        DD_TRY(dd_distill_preset(&o, dd_preset_at(i)->name));
        if (f.json)
            print_json(dd_preset_at(i), o.iterations, first);
        else
            print_row(dd_preset_at(i), o.iterations);
        if (!f.json && name && strcmp(dd_preset_at(i)->name, name) == 0) {
            dd_wrap(stdout, dd_preset_at(i)->settings, 2, printf("  normalise=%s", dd_preset_at(i)->normalise));
        }
        first = false;
    }
    if (f.json) puts("]");
    return DD_OK;
}
