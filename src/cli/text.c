/* SPDX-License-Identifier: Apache-2.0
 *
 * Small things commands print or read alike: JSON pieces, accuracies, sizes, time. */
#include "cli/cli.h"
#include <math.h>
#include <time.h>

void dd_json_text(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(f, "\\u%04x", (unsigned)*s);
        else
            fputc(*s, f);
    }
    fputc('"', f);
}

void dd_json_number(FILE *f, double x)
{
    if (isfinite(x))
        fprintf(f, "%.9g", x);
    else
        fputs("null", f);
}

static const char *type_name(const dd_option *o)
{
    static const char *const names[] = {"int", "real", "bool", "string", "choice"};
    return names[o->type];
}

void dd_json_options(FILE *f, const dd_option *table)
{
    fputc('[', f);
    for (const dd_option *o = table; o && o->name; o++) {
        fprintf(f, "%s{\"name\": ", o == table ? "" : ", ");
        dd_json_text(f, o->name);
        fprintf(f, ", \"type\": \"%s\", \"default\": ", type_name(o));
        dd_json_text(f, o->def ? o->def : "");
        if (o->type == DD_OPT_CHOICE) {
            fputs(", \"choices\": ", f);
            dd_json_text(f, o->choices);
        }
        if (o->min < o->max) fprintf(f, ", \"min\": %.9g, \"max\": %.9g", o->min, o->max);
        fputs(", \"help\": ", f);
        dd_json_text(f, o->help ? o->help : "");
        fputc('}', f);
    }
    fputc(']', f);
}

void dd_json_result(FILE *f, const dd_eval_result *r)
{
    if (r->repeats == 0) {
        fputs("null", f);
        return;
    }
    fputs("{\"mean\": ", f);
    dd_json_number(f, r->mean);
    fputs(", \"std\": ", f);
    dd_json_number(f, r->std);
    fputs(", \"accuracy\": [", f);
    for (int64_t i = 0; i < r->repeats; i++) {
        fputs(i ? ", " : "", f);
        dd_json_number(f, r->accuracy[i]);
    }
    if (r->kernel)
        fputs("], \"ridge\": ", f), dd_json_number(f, r->ridge);
    else
        fputs("], \"net\": ", f), dd_json_text(f, r->net);
    fputs(", \"train_loss\": ", f);
    dd_json_number(f, r->train_loss);
    fputs(", \"seconds\": ", f);
    dd_json_number(f, r->seconds);
    fputc('}', f);
}

void dd_mean_text(char *buf, size_t size, double mean, double std)
{
    snprintf(buf, size, "%.1f +- %.1f", 100 * mean, 100 * std);
}

double dd_cli_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads "HxW". */
static dd_status read_size(const char *text, dd_data_opts *o)
{
    long long h, w;
    int end = 0;
    if (!*text) return DD_OK;
    if (sscanf(text, "%lldx%lld%n", &h, &w, &end) != 2 || text[end])
        return dd_fail(DD_EINVAL, "--resize %s: expected HEIGHTxWIDTH, such as 32x32", text);
    if (h < 1 || w < 1 || h > 4096 || w > 4096)
        return dd_fail(DD_EINVAL, "--resize %s: sides must be between 1 and 4096", text);
    o->resize_h = h;
    o->resize_w = w;
    return DD_OK;
}

dd_status dd_cli_data_opts(const dd_cli_data *f, dd_data_opts *out)
{
    *out = (dd_data_opts)DD_DATA_OPTS_INIT;
    out->data_dir = f->dir[0] ? f->dir : NULL;
    out->classes_file = f->classes[0] ? f->classes : NULL;
    if (f->normalise[0]) out->normalise = f->normalise;
    out->channels = f->channels;
    return read_size(f->resize, out);
}

dd_status dd_cli_open(dd_cli_world *w, const char *command, const char *data, const dd_cli_data *from, const char *net,
                      const dd_cli_machine *machine)
{
    dd_data_opts o;
    *w = (dd_cli_world){0};
    if (!data[0])
        return dd_fail(DD_EINVAL, "%s: --data is required: a known data set (attar data list) or a path", command);
    DD_TRY(dd_cli_data_opts(from, &o));
    DD_TRY(dd_dataset_open(&w->data, data, &o));
    DD_TRY(dd_net_open(&w->net, net, (dd_image){w->data->c, w->data->h, w->data->w}, w->data->classes));
    return dd_cli_backend(&w->backend, machine);
}

void dd_cli_close(dd_cli_world *w)
{
    if (w->backend) dd_backend_close(w->backend);
    if (w->net) dd_net_close(w->net);
    if (w->data) dd_dataset_close(w->data);
}
