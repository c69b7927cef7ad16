/* SPDX-License-Identifier: Apache-2.0
 *
 * attar methods, nets, kernels and ops: the library's tables, for people, programs and documents. */
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

typedef struct methods_flags {
    flags shown;
    bool matrix;
} methods_flags;

const dd_option dd_methods_flags[] = {
    {"json", DD_OPT_BOOL, offsetof(methods_flags, shown.json), "false", 0, 0, NULL, "print JSON"},
    {"markdown", DD_OPT_BOOL, offsetof(methods_flags, shown.markdown), "false", 0, 0, NULL, "print Markdown"},
    {"matrix", DD_OPT_BOOL, offsetof(methods_flags, matrix), "false", 0, 0, NULL,
     "print which labels, first images, augmentations, networks and precisions each method can be combined with"},
    {0},
};

typedef struct entry {
    const char *name, *title, *cite;
    int order; /* of derivative; < 0: does not apply */
    const char *cost, *memory;
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

static const char *const orders[] = {"no", "first", "second"};

static void print_facts(const entry *e)
{
    char text[400];
    snprintf(text, sizeof text, "derivative: %s order", orders[e->order]);
    dd_wrap(stdout, text, 11, 0);
    snprintf(text, sizeof text, "a step: %s", e->cost);
    dd_wrap(stdout, text, 11, 0);
    snprintf(text, sizeof text, "memory: %s", e->memory);
    dd_wrap(stdout, text, 11, 0);
}

static void print_entry(const entry *e, const flags *f, bool first)
{
    if (f->json) {
        if (!first) fputs(", ", stdout);
        json_member("name", e->name, true);
        json_member("title", e->title, false);
        if (e->cite) json_member("cite", e->cite, false);
        if (e->order >= 0) printf(", \"order\": %d", e->order);
        if (e->cost) json_member("cost", e->cost, false);
        if (e->memory) json_member("memory", e->memory, false);
        fputs(", \"options\": ", stdout);
        dd_json_options(stdout, e->options);
        putchar('}');
    } else if (f->markdown) {
        printf("## %s\n\n%s%s%s\n\n", e->name, e->title, e->cite ? ". " : "", e->cite ? e->cite : "");
        if (e->cost)
            printf("Derivative of %s order. A step takes %s; memory grows with %s.\n\n", orders[e->order], e->cost,
                   e->memory);
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
        if (e->cost) print_facts(e);
        if (e->options) dd_help_options(stdout, e->options, "");
    }
}

/* A column of the matrix: its head is as wide as what stands below it. */
static void matrix_text(int only)
{
    printf("%-9s", "");
    for (int a = 0; dd_axis_name(a); a++) {
        int width = 0;
        for (int k = 0; dd_axis_value(a, k); k++) width += (int)strlen(dd_axis_value(a, k)) + 1;
        printf("| %-*s", width, dd_axis_name(a));
    }
    for (int i = -1; i < dd_method_count(); i++) {
        if (i >= 0 && only >= 0 && i != only) continue;
        printf("\n%-9s", i < 0 ? "" : dd_method_name(i));
        for (int a = 0; dd_axis_name(a); a++) {
            fputs("| ", stdout);
            for (int k = 0; dd_axis_value(a, k); k++) {
                const char *v = dd_axis_value(a, k);
                const bool can = i >= 0 && dd_method_takes(i, dd_axis_name(a), v) == DD_OK;
                printf("%-*s ", (int)strlen(v), i < 0 ? v : can ? "x" : "-");
            }
        }
    }
    putchar('\n');
}

static void markdown_row(int i)
{
    printf("| %s |", dd_method_name(i));
    for (int a = 0; dd_axis_name(a); a++)
        for (int k = 0; dd_axis_value(a, k); k++)
            fputs(dd_method_takes(i, dd_axis_name(a), dd_axis_value(a, k)) == DD_OK ? " yes |" : " |", stdout);
    putchar('\n');
}

static void matrix_markdown(int only)
{
    int columns = 1;
    fputs("| method |", stdout);
    for (int a = 0; dd_axis_name(a); a++)
        for (int k = 0; dd_axis_value(a, k); k++, columns++) printf(" %s %s |", dd_axis_name(a), dd_axis_value(a, k));
    fputs("\n|", stdout);
    for (int c = 0; c < columns; c++) fputs(" --- |", stdout);
    putchar('\n');
    for (int i = 0; i < dd_method_count(); i++)
        if (only < 0 || i == only) markdown_row(i);
}

/* {"dm": {"labels": {"hard": true, ...}, ...}, ...} */
static void matrix_json(int only)
{
    for (int i = 0; i < dd_method_count(); i++) {
        if (only >= 0 && i != only) continue;
        printf("%s\"%s\": {", i && only < 0 ? ", " : "{", dd_method_name(i));
        for (int a = 0; dd_axis_name(a); a++) {
            printf("%s\"%s\": ", a ? ", " : "", dd_axis_name(a));
            for (int k = 0; dd_axis_value(a, k); k++)
                printf("%s\"%s\": %s", k ? ", " : "{", dd_axis_value(a, k),
                       dd_method_takes(i, dd_axis_name(a), dd_axis_value(a, k)) == DD_OK ? "true" : "false");
            putchar('}');
        }
        putchar('}');
    }
    puts("}");
}

static void print_matrix(const flags *f, int only)
{
    if (f->json)
        matrix_json(only);
    else if (f->markdown)
        matrix_markdown(only);
    else
        matrix_text(only);
}

/* The row that the operand names; -1: none given, all. */
static dd_status chosen(const dd_parsed *p, const char *what, const char *(*name)(int), int *only)
{
    const char *names[64] = {NULL};
    *only = -1;
    if (!p->nargs) return DD_OK;
    for (int i = 0; name(i) && i + 1 < (int)(sizeof names / sizeof *names); i++) {
        names[i] = name(i);
        if (strcmp(names[i], p->args[0]) == 0) *only = i;
    }
    if (*only >= 0) return DD_OK;
    const char *near = dd_nearest(p->args[0], names);
    return dd_fail(DD_ENOTFOUND, "there is no %s \"%s\"%s%s; attar %ss lists them", what, p->args[0],
                   near ? ", did you mean " : "", near ? near : "", what);
}

dd_status dd_cmd_methods(const dd_command *c, int argc, char **argv)
{
    methods_flags f;
    dd_parsed p;
    int only;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, true, argc, argv));
    DD_TRY(chosen(&p, "method", dd_method_name, &only));
    if (f.matrix) {
        print_matrix(&f.shown, only);
        return DD_OK;
    }
    if (f.shown.json) putchar('[');
    for (int i = 0; i < dd_method_count(); i++) {
        if (only >= 0 && i != only) continue;
        const entry e = {dd_method_name(i), dd_method_title(i),  dd_method_cite(i),   dd_method_order(i),
                         dd_method_cost(i), dd_method_memory(i), dd_method_options(i)};
        print_entry(&e, &f.shown, i == 0 || only >= 0);
    }
    if (f.shown.json) puts("]");
    return DD_OK;
}

/* Rows that are opened by a specification. */
typedef struct kinds {
    const char *what;
    const char *(*name)(int), *(*title)(int);
    const dd_option *(*options)(int), *(*common)(void);
    const char *every; /* what the common options are */
} kinds;

static dd_status print_kinds(const kinds *k, const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    int only;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, true, argc, argv));
    DD_TRY(chosen(&p, k->what, k->name, &only));
    if (f.json) putchar('[');
    for (int i = 0; k->name(i); i++) {
        if (only >= 0 && i != only) continue;
        const entry e = {k->name(i), k->title(i), NULL, -1, NULL, NULL, k->options(i)};
        print_entry(&e, &f, i == 0 || only >= 0);
    }
    const entry any = {"any", k->every, NULL, -1, NULL, NULL, k->common()};
    if (!f.json) print_entry(&any, &f, false);
    if (f.json) puts("]");
    return DD_OK;
}

dd_status dd_cmd_nets(const dd_command *c, int argc, char **argv)
{
    static const kinds nets = {"net",
                               dd_net_kind_name,
                               dd_net_kind_title,
                               dd_net_kind_options,
                               dd_net_common_options,
                               "what every network takes beside its own"};
    return print_kinds(&nets, c, argc, argv);
}

dd_status dd_cmd_kernels(const dd_command *c, int argc, char **argv)
{
    static const kinds kernels = {"kernel",
                                  dd_kernel_kind_name,
                                  dd_kernel_kind_title,
                                  dd_kernel_kind_options,
                                  dd_kernel_common_options,
                                  "what every kernel takes beside its own"};
    return print_kinds(&kernels, c, argc, argv);
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
