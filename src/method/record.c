/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run writes down: config.json (resolved options), metrics.jsonl, set.json and run.json. Clocks and memory
 * figures go to run.json alone, so that everything else of a resumed run equals the uninterrupted one. Knows data and
 * base. */
#include "base/fs.h"
#include "base/utf8.h"
#include "data/json.h"
#include "method/driver_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

dd_status dd_record_check_names(const dd_driver *d)
{
    DD_TRY(dd_utf8_check("the path of the data", d->data_name));
    DD_TRY(dd_utf8_check("the folder of init_from", d->o.init_from));
    return dd_utf8_check("the path of the output folder", d->o.out);
}

static void pair(dd_str *s, const char *key, const char *value, const char *end)
{
    dd_str_quote(s, key);
    dd_str_add(s, ": ");
    dd_str_quote(s, value);
    dd_str_add(s, end);
}

/* Rows of a table as "key": "value" pairs with `indent`; `first` says whether none was written yet. */
static dd_status rows(dd_str *s, const dd_option *t, const void *src, const char *indent, bool first)
{
    char v[DD_OPT_TEXT + 8];
    for (; t->name; t++) {
        DD_TRY(dd_options_get(t, src, t->name, v, sizeof v));
        dd_str_addf(s, "%s\n%s", first ? "" : ",", indent);
        pair(s, t->name, v, "");
        first = false;
    }
    return DD_OK;
}

static dd_status finished(const dd_str *s)
{
    return s->failed ? dd_fail(DD_ENOMEM, "out of memory for a record") : DD_OK;
}

/* Shape and normalisation as the network sees them: "1x28x28 0.2861/0.353", and the whitening. */
static void seen_as(const dd_dataset *d, dd_str *out)
{
    dd_str_addf(out, "%" PRId64 "x%" PRId64 "x%" PRId64, d->c, d->h, d->w);
    for (int64_t i = 0; i < d->c; i++) dd_str_addf(out, "%s%.17g", i ? "," : " ", d->mean[i]);
    for (int64_t i = 0; i < d->c; i++) dd_str_addf(out, "%s%.17g", i ? "," : "/", d->std[i]);
    if (!d->whitening) return;
    char whitening[80];
    dd_whitening_text(d->whitening, whitening, sizeof whitening);
    dd_str_addf(out, " %s", whitening);
}

/* The preset and the budget that the options come from, each with what it led to. */
static void origin(const dd_driver *d, dd_str *s, const char *indent)
{
    const dd_preset *p = d->preset;
    if (p) {
        dd_str_add(s, indent);
        pair(s, "preset", p->name, ",\n  ");
        dd_str_addf(s, "\"expected\": {\"accuracy\": %.9g, \"tolerance\": %.9g, ", p->expected / 100,
                    p->tolerance / 100);
        pair(s, "source", p->source, ", ");
        pair(s, "differs", d->differs, *indent ? "},\n" : "},\n  ");
    }
    if (d->o.budget > 0)
        dd_str_addf(s, "%s\"budget\": {\"seconds\": %.9g, \"iterations\": %" PRId64 "},\n%s", indent, d->o.budget,
                    d->o.iterations, *indent ? "" : "  ");
}

dd_status dd_record_config(const dd_driver *d, dd_str *out)
{
    dd_str_add(out, "{\n  \"options\": {");
    DD_TRY(rows(out, dd_driver_options(), &d->o, "    ", true));
    dd_str_add(out, "\n  },\n  \"method_options\": {");
    DD_TRY(rows(out, d->method->options, d->state, "    ", true));
    dd_str_add(out, "\n  },\n  ");
    origin(d, out, "");
    pair(out, "net", dd_net_spec(d->net), ",\n  ");
    pair(out, "aug", d->aug, ",\n  ");
    pair(out, "data_sha256", d->data->sha256, ",\n  \"data_seen_as\": \"");
    seen_as(d->data, out);
    dd_str_add(out, "\"\n}\n");
    return finished(out);
}

static dd_status same_view(const dd_driver *d, const dd_json *doc, const char *path)
{
    dd_str now = {0};
    const char *then = dd_json_string(dd_json_get(doc, "data_seen_as"));
    seen_as(d->data, &now);
    dd_status s = finished(&now);
    if (s == DD_OK && (!then || strcmp(then, now.p) != 0))
        s = dd_fail(DD_EEXIST,
                    "%s was made from images of size and normalisation %s, now they are %s; give the same "
                    "resize, channels and normalise, or another --out",
                    path, then ? then : "unknown", now.p);
    dd_str_free(&now);
    return s;
}

/* These may differ between a run and its resumption; begun: a checkpoint has the images. */
static bool free_to_change(const char *key, bool begun)
{
    static const char *const keys[] = {
        "out",          "iterations", "threads", "resume", "checkpoint_every",
        "memory_limit", "data",       "experts", NULL}; /* of data and experts the contents are compared */
    for (int i = 0; keys[i]; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return begun && strcmp(key, "init_from") == 0;
}

static dd_status same_rows(const dd_json *was, const dd_option *t, const void *src, bool begun, const char *path)
{
    char now[DD_OPT_TEXT + 8];
    for (; t->name; t++) {
        const char *then = dd_json_string(dd_json_get(was, t->name));
        if (free_to_change(t->name, begun)) continue;
        DD_TRY(dd_options_get(t, src, t->name, now, sizeof now));
        if (!then) then = t->def; /* an option that came later */
        if (!then || strcmp(then, now) != 0)
            return dd_fail(
                DD_EEXIST,
                "%s has %s=%s, this run asks for %s, or they follow from its other options; give %s=%s here, too, or "
                "another --out",
                path, t->name, then ? then : "nothing", now, t->name, then ? then : "nothing");
    }
    return DD_OK;
}

dd_status dd_record_iterations(const char *path, int64_t *out)
{
    const dd_option row[2] = {{"iterations", DD_OPT_INT, 0, "0", 0, 1e9, NULL, NULL}, {0}};
    void *bytes;
    size_t size;
    dd_json *doc;
    DD_TRY(dd_read_file(path, 1 << 20, &bytes, &size));
    dd_status s = dd_json_parse(&doc, bytes, size, path);
    dd_free(bytes);
    DD_TRY(s);
    const char *n = dd_json_string(dd_json_get(dd_json_get(doc, "options"), "iterations"));
    s = n && dd_options_set(row, out, "iterations", n) == DD_OK
            ? DD_OK
            : dd_fail(DD_EFORMAT, "%s records no number of iterations: it is damaged", path);
    dd_json_free(doc);
    return s;
}

dd_status dd_record_check_config(const dd_driver *d, const char *path)
{
    void *bytes;
    size_t size;
    dd_json *doc;
    const bool begun = dd_checkpoint_exists(d);
    DD_TRY(dd_read_file(path, 1 << 20, &bytes, &size));
    dd_status s = dd_json_parse(&doc, bytes, size, path);
    dd_free(bytes);
    DD_TRY(s);
    const char *hash = dd_json_string(dd_json_get(doc, "data_sha256"));
    s = same_rows(dd_json_get(doc, "options"), dd_driver_options(), &d->o, begun, path);
    if (s == DD_OK) s = same_rows(dd_json_get(doc, "method_options"), d->method->options, d->state, begun, path);
    if (s == DD_OK && (!hash || strcmp(hash, d->data->sha256) != 0))
        s = dd_fail(DD_EEXIST, "%s was made from data with hash %.12s, this data has %.12s", path, hash ? hash : "none",
                    d->data->sha256);
    if (s == DD_OK) s = same_view(d, doc, path);
    dd_json_free(doc);
    return s;
}

static void accuracies(dd_str *s, const char *key, const dd_eval_result *e)
{
    dd_str_addf(s, ",\n  \"%s\": {\"mean\": %.17g, \"std\": %.17g, \"networks\": %" PRId64 ", \"accuracy\": [", key,
                e->mean, e->std, e->repeats);
    for (int64_t i = 0; i < e->repeats; i++) dd_str_addf(s, "%s%.17g", i ? ", " : "", e->accuracy[i]);
    dd_str_add(s, "], ");
    if (e->kernel)
        dd_str_addf(s, "\"ridge\": %.17g}", e->ridge);
    else
        pair(s, "net", e->net, "}");
}

static void protocol(dd_str *s, const dd_protocol *p)
{
    dd_str_addf(s,
                ",\n  \"protocol\": {\"name\": \"%s\", \"epochs\": %" PRId64 ", \"batch\": %" PRId64
                ", \"lr\": %.17g, \"momentum\": %.17g, \"weight_decay\": %.17g, \"aug\": \"%s\"",
                p->name, p->epochs, p->batch, p->lr, p->momentum, p->weight_decay, p->aug);
    if (p->kernel[0]) dd_str_addf(s, ", \"kernel\": \"%s\", \"ridge\": %.17g", p->kernel, p->ridge);
    dd_str_add(s, "}");
}

/* Options that a memory limit lowered: with these values the run repeats without one. */
static void cuts(const dd_driver *d, dd_str *out)
{
    bool any = false;
    for (int i = 0; i < DD_CUTS; i++) {
        if (!d->r.cut[i]) continue;
        dd_str_addf(out, "%s\"%s\": %" PRId64, any ? ", " : "  \"cut_to\": {", d->method->cuts[i], d->r.cut[i]);
        any = true;
    }
    if (any) dd_str_add(out, "},\n");
}

static dd_status set_facts(const dd_driver *d, dd_str *out)
{
    dd_str_addf(out, "{\n  \"format\": \"attar-set-1\",\n  \"attar\": \"%s\",\n  ", dd_version());
    pair(out, "method", d->method->name, ",\n  ");
    pair(out, "cite", d->method->cite, ",\n  ");
    pair(out, "net", dd_net_spec(d->net), ",\n  ");
    const char *init = d->o.init_from[0] ? d->o.init_from : d->o.init;
    pair(out, "init", d->method->iterations ? init : d->method->name, ",\n  ");
    pair(out, "labels", d->o.labels, ",\n  ");
    pair(out, "aug", d->aug, ",\n");
    if (d->method->made_from) {
        char text[120];
        d->method->made_from(d->state, text, sizeof text);
        dd_str_add(out, "  ");
        pair(out, "made_from", text, ",\n");
    }
    if (d->skipped) dd_str_addf(out, "  \"skipped_iterations\": %" PRId64 ",\n", d->skipped);
    dd_str_addf(out,
                "  \"seed\": %" PRId64 ",\n  \"ipc\": %" PRId64 ",\n  \"iterations\": %" PRId64
                ",\n  \"selected_iteration\": %" PRId64 ",\n  \"selected_on\": \"%s\",\n  \"holdout\": %.17g,\n",
                d->o.seed, d->o.ipc, d->done, d->best_accuracy >= 0 ? d->best_at : d->done,
                d->best_accuracy < 0    ? "last iteration"
                : d->o.paper_compatible ? "test"
                                        : "holdout",
                d->held_out);
    origin(d, out, "  ");
    if (strcmp(d->o.precision, "float32") != 0)
        dd_str_addf(out, "  \"precision\": {\"name\": \"%s\", \"loss_deviation\": %.9g, \"step_deviation\": %.9g},\n",
                    d->o.precision, d->loss_deviation, d->step_deviation);
    dd_str_add(out, "  \"method_options\": {");
    DD_TRY(rows(out, d->method->options, d->state, "    ", true));
    dd_str_add(out, "\n  },\n");
    cuts(d, out);
    dd_str_add(out, "  \"data\": {");
    pair(out, "name", d->data_name, ", ");
    pair(out, "title", d->data->name, ", ");
    pair(out, "sha256", d->data->sha256, ", ");
    pair(out, "normalisation", d->data->normalisation, "}");
    protocol(out, &d->protocol);
    if (d->result->distilled.repeats) accuracies(out, "result", &d->result->distilled);
    if (d->result->random.repeats) accuracies(out, "random_real", &d->result->random);
    dd_str_add(out, "\n}\n");
    return finished(out);
}

dd_status dd_record_set(dd_driver *d)
{
    dd_str json = {0};
    dd_synset_classify(d->r.syn);
    dd_status s = set_facts(d, &json);
    if (s == DD_OK) s = dd_synset_save(d->r.syn, d->o.out, json.p);
    dd_str_free(&json);
    return s;
}

dd_status dd_record_run(const dd_driver *d, dd_str *out)
{
    char host[256] = "", date[64] = "";
    const time_t now = time(NULL);
    struct tm tm;
    gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &tm)) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    dd_str_addf(out,
                "{\n  \"seconds\": %.3f,\n  \"iterations\": %" PRId64 ",\n  \"distil_seconds\": %.3f,\n"
                "  \"planning_seconds\": %.3f,\n  \"evaluation_seconds\": %.3f,\n  \"baseline_seconds\": %.3f,\n  "
                "\"peak_bytes\": %" PRId64 ",\n  \"threads\": %" PRId64 ",\n  ",
                d->result->seconds, d->done - d->started_at,
                d->result->seconds - d->planning - d->result->distilled.seconds - d->result->random.seconds,
                d->planning, d->result->distilled.seconds, d->result->random.seconds, d->result->peak_bytes,
                d->o.threads > 0 ? d->o.threads : (int64_t)sysconf(_SC_NPROCESSORS_ONLN));
    pair(out, "host", host, ",\n  ");
    pair(out, "finished", date, ",\n  ");
    pair(out, "build", dd_build_info(), "\n}\n");
    return finished(out);
}

static off_t to_end(FILE *f)
{
    return fseeko(f, 0, SEEK_END) == 0 ? ftello(f) : -1;
}

dd_status dd_record_open(dd_driver *d, int64_t length)
{
    char path[1024];
    DD_TRY(dd_path_join(path, sizeof path, d->o.out, "metrics.jsonl"));
    if (d->metrics) fclose(d->metrics);
    d->metrics = fopen(path, "ab");
    if (!d->metrics) return dd_fail(DD_EIO, "%s: cannot be written: %s", path, strerror(errno));
    const off_t size = to_end(d->metrics);
    if (size >= 0 && size < (off_t)length) {
        char line[1200];
        snprintf(line, sizeof line, "%s has %jd bytes where the checkpoint knew %" PRId64 "; lines are missing in it",
                 path, (intmax_t)size, length);
        if (d->o.log) d->o.log(d->o.self, line);
        return DD_OK;
    }
    /* lines after the checkpoint will be written again */
    if (ftruncate(fileno(d->metrics), (off_t)length) != 0)
        return dd_fail(DD_EIO, "%s: cannot be cut to %" PRId64 " bytes: %s", path, length, strerror(errno));
    to_end(d->metrics); /* it would tell the old length until something is written */
    return DD_OK;
}

void dd_record_loss(dd_driver *d)
{
    fprintf(d->metrics, "{\"iteration\": %" PRId64 ", \"loss\": ", d->done);
    if (isfinite(d->r.loss))
        fprintf(d->metrics, "%.9g", d->r.loss);
    else
        fputs("null", d->metrics);
    fputs(d->r.skipped ? ", \"skipped\": true}\n" : "}\n", d->metrics);
}

void dd_record_accuracy(dd_driver *d)
{
    fprintf(d->metrics, "{\"iteration\": %" PRId64 ", \"accuracy\": %.9g, \"on\": \"%s\"}\n", d->done, d->accuracy,
            d->o.paper_compatible ? "test" : "holdout");
}

int64_t dd_record_length(dd_driver *d)
{
    return (int64_t)ftello(d->metrics);
}

dd_status dd_record_flush(dd_driver *d, int64_t *length)
{
    if (fflush(d->metrics) != 0 || ferror(d->metrics) || fsync(fileno(d->metrics)) != 0)
        return dd_fail(DD_EIO, "%s/metrics.jsonl: writing failed: %s", d->o.out, strerror(errno));
    *length = dd_record_length(d);
    return *length >= 0 ? DD_OK : dd_fail(DD_EIO, "%s/metrics.jsonl: %s", d->o.out, strerror(errno));
}
