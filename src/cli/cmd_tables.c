/* SPDX-License-Identifier: Apache-2.0
 *
 * attar methods, nets and ops: the library's tables, for people, programs and documents. */
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>

typedef struct flags {
    bool json, markdown;
} flags;

const dd_option dd_table_flags[] = {
    {"json", DD_OPT_BOOL, offsetof(flags, json), "false", 0, 0, NULL, "print JSON"},
    {"markdown", DD_OPT_BOOL, offsetof(flags, markdown), "false", 0, 0, NULL, "print Markdown"},
    {0},
};

typedef struct entry {
    const char *name, *title, *cite;
    const dd_option *options;
} entry;

static void json_member(const char *key, const char *value, bool first)
{
    printf("%s\"%s\": ", first ? "{" : ", ", key);
    dd_json_text(stdout, value);
}

/* Text in a table cell: a bar would end it. */
static void cell(const char *s)
{
    fputs(" ", stdout);
    for (; *s; s++) {
        if (*s == '|') putchar('\\');
        putchar(*s);
    }
    fputs(" |", stdout);
}

static void print_entry(const entry *e, const flags *f, bool first)
{
    if (f->json) {
        if (!first) fputs(", ", stdout);
        json_member("name", e->name, true);
        json_member("title", e->title, false);
        if (e->cite) json_member("cite", e->cite, false);
        fputs(", \"options\": ", stdout);
        dd_json_options(stdout, e->options);
        putchar('}');
    } else if (f->markdown) {
        printf("## %s\n\n%s%s%s\n\n", e->name, e->title, e->cite ? ". " : "", e->cite ? e->cite : "");
        if (e->options && e->options->name) puts("| option | default | meaning |\n| --- | --- | --- |");
        for (const dd_option *o = e->options; o && o->name; o++) {
            putchar('|');
            cell(o->name);
            cell(o->def ? o->def : "");
            cell(o->help ? o->help : "");
            putchar('\n');
        }
        putchar('\n');
    } else {
        printf("%s%-10s ", first ? "" : "\n", e->name);
        dd_wrap(stdout, e->title, 11, 11);
        if (e->cite) dd_wrap(stdout, e->cite, 11, 0);
        if (e->options) dd_help_options(stdout, e->options, "");
    }
}

dd_status dd_cmd_methods(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    if (f.json) putchar('[');
    for (int i = 0; i < dd_method_count(); i++) {
        const entry e = {dd_method_name(i), dd_method_title(i), dd_method_cite(i), dd_method_options(i)};
        print_entry(&e, &f, i == 0);
    }
    if (f.json) puts("]");
    return DD_OK;
}

dd_status dd_cmd_nets(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    if (f.json) putchar('[');
    for (int i = 0; i < dd_net_kind_count(); i++) {
        const entry e = {dd_net_kind_name(i), dd_net_kind_title(i), NULL, dd_net_kind_options(i)};
        print_entry(&e, &f, i == 0);
    }
    const entry any = {"any", "what every network takes beside its own", NULL, dd_net_common_options()};
    if (!f.json) print_entry(&any, &f, false);
    if (f.json) puts("]");
    return DD_OK;
}

static void print_op(const dd_op_info *op, const flags *f, bool first)
{
    if (f->json) {
        if (!first) fputs(", ", stdout);
        json_member("name", op->name, true);
        json_member("family", op->family, false);
        json_member("shapes", op->shapes, false);
        json_member("vjp", op->vjp, false);
        putchar('}');
    } else if (f->markdown) {
        putchar('|');
        cell(op->name);
        cell(op->family);
        cell(op->shapes);
        cell(op->vjp);
        putchar('\n');
    } else {
        printf("%-12s %-15s %s\n%28s gradient: %s\n", op->name, op->family, op->shapes, "", op->vjp);
    }
}

dd_status dd_cmd_ops(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    bool first = true;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    if (f.json) putchar('[');
    if (f.markdown) puts("| op | family | shapes | gradient |\n| --- | --- | --- | --- |");
    for (int i = 0; i < dd_op_count(); i++) {
        const dd_op_info *op = dd_op_at(i);
        if (!op || strcmp(op->name, "POISON") == 0) continue;
        print_op(op, &f, first);
        first = false;
    }
    if (f.json) puts("]");
    return DD_OK;
}
