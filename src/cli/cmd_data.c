/* SPDX-License-Identifier: Apache-2.0
 *
 * attar data: checks a data set and lists the known ones. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    dd_cli_data from;
    bool json;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_data_flags[] = {
    DD_CLI_DIR_ROW(flags, from),
    DD_CLI_FOLDER_ROWS(flags, from),
    DD_CLI_NORMALISE_ROW(flags, from),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print JSON"},
    {0},
};

static long long in_class(const dd_split *s, int64_t c)
{
    return s->n ? (long long)(s->class_first[c + 1] - s->class_first[c]) : 0;
}

static void print_data(const dd_dataset *d)
{
    printf("%-14s %s\n%-14s %s\n", "name", d->name, "source", d->source);
    printf("%-14s %lldx%lldx%lld\n", "images", (long long)d->c, (long long)d->h, (long long)d->w);
    printf("%-14s %lld training, %lld test\n", "count", (long long)d->train.n, (long long)d->test.n);
    for (int k = 0; k < 2; k++) {
        printf("%-14s", k ? "std" : "mean");
        for (int64_t i = 0; i < d->c; i++) printf(" %.6g", k ? d->std[i] : d->mean[i]);
        printf(" (%s)\n", d->normalisation);
    }
    printf("%-14s %s\n", "sha256", d->sha256);
    for (int64_t c = 0; c < d->classes; c++)
        printf("class %-8lld %-30s %8lld training %8lld test\n", (long long)c, d->class_names[c],
               in_class(&d->train, c), in_class(&d->test, c));
    if (d->warning[0]) printf("%-14s %s\n", "warning", d->warning);
}

static void json_reals(const double *x, int64_t n)
{
    putchar('[');
    for (int64_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", stdout);
        dd_json_number(stdout, x[i]);
    }
    putchar(']');
}

static void print_json(const dd_dataset *d)
{
    fputs("{\"name\": ", stdout);
    dd_json_text(stdout, d->name);
    fputs(", \"source\": ", stdout);
    dd_json_text(stdout, d->source);
    printf(", \"shape\": [%lld, %lld, %lld], \"train\": %lld, \"test\": %lld, \"mean\": ", (long long)d->c,
           (long long)d->h, (long long)d->w, (long long)d->train.n, (long long)d->test.n);
    json_reals(d->mean, d->c);
    fputs(", \"std\": ", stdout);
    json_reals(d->std, d->c);
    printf(", \"normalisation\": \"%s\", \"sha256\": \"%s\", \"classes\": [", d->normalisation, d->sha256);
    for (int64_t c = 0; c < d->classes; c++) {
        fputs(c ? ", {\"name\": " : "{\"name\": ", stdout);
        dd_json_text(stdout, d->class_names[c]);
        printf(", \"train\": %lld, \"test\": %lld}", in_class(&d->train, c), in_class(&d->test, c));
    }
    fputs("], \"warning\": ", stdout);
    dd_json_text(stdout, d->warning);
    puts("}");
}

static dd_status check(const flags *f, const char *path)
{
    dd_data_opts o;
    dd_dataset *d;
    DD_TRY(dd_cli_data_opts(&f->from, &o));
    DD_TRY(dd_dataset_open(&d, path, &o));
    if (f->json)
        print_json(d);
    else
        print_data(d);
    dd_dataset_close(d);
    return DD_OK;
}

static void list(bool json)
{
    if (json) putchar('[');
    for (int i = 0; i < dd_dataset_kind_count(); i++) {
        if (!json) {
            printf("%-16s %s\n", dd_dataset_kind_name(i), dd_dataset_kind_title(i));
            continue;
        }
        fputs(i ? ", {\"name\": " : "{\"name\": ", stdout);
        dd_json_text(stdout, dd_dataset_kind_name(i));
        fputs(", \"title\": ", stdout);
        dd_json_text(stdout, dd_dataset_kind_title(i));
        putchar('}');
    }
    if (json) puts("]");
}

dd_status dd_cmd_data(const dd_command *c, int argc, char **argv)
{
    static const char *const verbs[] = {"check", "list", NULL};
    flags f;
    dd_parsed p;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 2, true, argc, argv));
    if (p.nargs == 1 && strcmp(p.args[0], "list") == 0) {
        list(f.json);
        return DD_OK;
    }
    if (p.nargs == 2 && strcmp(p.args[0], "check") == 0) return check(&f, p.args[1]);
    const char *near = p.nargs ? dd_nearest(p.args[0], verbs) : NULL;
    if (near && strcmp(near, p.args[0]) != 0)
        return dd_fail(DD_EINVAL, "data: there is no \"%s\", did you mean \"%s\"?", p.args[0], near);
    return dd_fail(DD_EINVAL, "data: expected check PATH or list");
}
