/* SPDX-License-Identifier: Apache-2.0
 *
 * attar info and attar export: what can be done with a synthetic set without training. */
#include "cli/cli.h"
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct flags {
    char to[DD_OPT_TEXT], out[DD_OPT_TEXT];
    bool json, force;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_info_flags[] = {
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print the text of set.json"},
    {0},
};
const dd_option dd_export_flags[] = {
    {"to", DD_OPT_CHOICE, AT(to), "npz", 0, 0, "npz|pt|png", "the format"},
    {"out", DD_OPT_STRING, AT(out), "", 0, 0, "PATH", "a file for npz, a folder for the others; required"},
    {"force", DD_OPT_BOOL, AT(force), "false", 0, 0, NULL, "write over what is there"},
    {0},
};

static void print_fact(const dd_synset *s, const char *label, const char *key)
{
    char text[256];
    if (dd_synset_fact(s, key, text, sizeof text) == DD_OK) printf("%-14s %s\n", label, text);
}

static void print_info(const dd_synset *s)
{
    printf("%-14s %lld of %lldx%lldx%lld, %lld classes\n", "images", (long long)s->m, (long long)s->c, (long long)s->h,
           (long long)s->w, (long long)s->classes);
    print_fact(s, "method", "method");
    print_fact(s, "data", "data.name");
    print_fact(s, "network", "net");
    print_fact(s, "sha256", "sha256");
    print_fact(s, "whitening", "whitening.variant");
    printf("%-14s %s\n", "labels", s->targets ? "targets of a regression" : s->soft_labels.data ? "soft" : "hard");
    for (int k = 0; k < 2; k++) {
        printf("%-14s", k ? "std" : "mean");
        for (int64_t i = 0; i < s->c; i++) printf(" %.6g", k ? s->std[i] : s->mean[i]);
        putchar('\n');
    }
    for (int64_t c = 0; c < s->classes; c++) {
        long long n = 0;
        for (int64_t i = 0; i < s->m; i++) n += dd_i32(&s->labels)[i] == c;
        printf("class %-8lld %-30s %lld image%s\n", (long long)c, s->class_names[c], n, n == 1 ? "" : "s");
    }
}

dd_status dd_cmd_info(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_synset *s;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, false, argc, argv));
    DD_TRY(dd_synset_load(&s, p.args[0]));
    if (f.json) {
        const size_t n = strlen(s->json);
        printf("%s%s", s->json, n && s->json[n - 1] == '\n' ? "" : "\n");
    } else {
        print_info(s);
    }
    dd_synset_free(s);
    return DD_OK;
}

static bool same_file(const struct stat *a, const char *dir, const char *name)
{
    char path[DD_OPT_TEXT + 32];
    struct stat b;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* What must not be written over, with --force or without: links and devices, a folder by a file or the other way
 * round, the set itself. A folder that holds nothing may be filled. */
static dd_status may_write(const flags *f, const char *dir)
{
    static const char *const own[] = {".", "set.safetensors", "set.json", "grid.png", "config.json", "run.json"};
    const bool file = strcmp(f->to, "npz") == 0;
    struct stat st;
    if (lstat(f->out, &st) != 0) return DD_OK;
    if (file ? !S_ISREG(st.st_mode) : !S_ISDIR(st.st_mode))
        return dd_fail(DD_EEXIST, "export: %s is no regular %s; choose another --out", f->out,
                       file ? "file" : "folder");
    for (size_t i = 0; i < DD_LEN(own); i++)
        if (same_file(&st, dir, own[i]))
            return dd_fail(DD_EINVAL, "export: %s belongs to the set that is exported; choose another --out", f->out);
    if (f->force || (S_ISDIR(st.st_mode) && rmdir(f->out) == 0)) return DD_OK;
    return dd_fail(DD_EEXIST, "export: %s exists; choose another --out, or write over it with --force", f->out);
}

dd_status dd_cmd_export(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_synset *s;
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, false, argc, argv));
    if (!f.out[0]) return dd_fail(DD_EINVAL, "export: --out is required: a file for npz, a folder for pt and png");
    DD_TRY(may_write(&f, p.args[0]));
    DD_TRY(dd_synset_load(&s, p.args[0]));
    dd_status st = dd_synset_export(s, f.to, f.out);
    if (st == DD_OK) printf("%lld images written to %s as %s\n", (long long)s->m, f.out, f.to);
    dd_synset_free(s);
    return st;
}
