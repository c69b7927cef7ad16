/* SPDX-License-Identifier: Apache-2.0
 *
 * attar eval: repeats the evaluation of a synthetic set and compares it with the recorded one. */
#include "cli/cli.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct flags {
    dd_cli_data from;
    dd_cli_machine machine;
    char net[DD_OPT_TEXT], protocol[DD_OPT_TEXT], data[DD_OPT_TEXT], kernel[DD_OPT_TEXT];
    int64_t repeats, epochs, seed;
    double ridge;
    bool baselines, json;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_eval_flags[] = {
    {"net", DD_OPT_STRING, AT(net), "", 0, 0, "SPEC", "network; the recorded one unless given"},
    {"repeats", DD_OPT_INT, AT(repeats), "3", 1, 64, NULL, "networks trained"},
    {"protocol", DD_OPT_STRING, AT(protocol), "", 0, 0, DD_PROTOCOLS,
     "how they are trained, or krr: regression by kernel; as recorded unless given"},
    {"kernel", DD_OPT_STRING, AT(kernel), "", 0, 0, "SPEC",
     "kernel of protocol krr, such as fc:depth=1; as recorded unless given"},
    {"ridge", DD_OPT_REAL, AT(ridge), "-1", -1, 1e6, NULL,
     "its regulariser, relative to the mean of the kernel's diagonal; -1: as recorded, else 1e-6"},
    {"epochs", DD_OPT_INT, AT(epochs), "-1", -1, 1e6, NULL, "their epochs; -1: as recorded, else the protocol's"},
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, "NAME|PATH", "the real data; the recorded set unless given"},
    DD_CLI_DIR_ROW(flags, from),
    DD_CLI_FOLDER_ROWS(flags, from),
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 9007199254740991.0, NULL, "seed of weights, batches and augmentation"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    {"baselines", DD_OPT_BOOL, AT(baselines), "false", 0, 0, NULL, "evaluate as many random real images beside it"},
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of the table"},
    {0},
};

typedef struct job {
    dd_synset *set;
    dd_dataset *data;
    dd_backend *backend;
    dd_protocol protocol;
    dd_eval_result result, random;
    double mean, std;     /* recorded, fractions */
    bool recorded, alike; /* and by the same protocol, and network or kernel */
} job;

/* The first of the keys that set.json holds, unless the flag was given. */
static void recall(const dd_synset *s, char *dst, const char *key, const char *otherwise)
{
    if (!dst[0] && dd_synset_fact(s, key, dst, DD_OPT_TEXT) != DD_OK) snprintf(dst, DD_OPT_TEXT, "%s", otherwise);
}

static bool recall_real(const dd_synset *s, const char *key, double *out)
{
    char text[64], *end;
    if (dd_synset_fact(s, key, text, sizeof text) != DD_OK) return false;
    *out = strtod(text, &end);
    return end != text && *end == 0;
}

static dd_status open_data(job *j, flags *f)
{
    dd_data_opts o;
    char given[1024] = "";
    size_t n = 0;
    recall(j->set, f->data, "data.name", "");
    if (!f->data[0]) return dd_fail(DD_EINVAL, "set.json does not name the data set; give --data");
    /* The recorded numbers, so that real and synthetic images are normalised alike. */
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < j->set->c; i++)
            n += (size_t)snprintf(given + n, sizeof given - n, "%s%.17g",
                                  i   ? ","
                                  : k ? "/"
                                      : "",
                                  (k ? j->set->std : j->set->mean)[i]);
    DD_TRY(dd_cli_data_opts(&f->from, &o));
    o.normalise = given;
    o.whitening = j->set->whitening;
    if (!o.resize_h) { /* images of a folder become what the set's were made from */
        o.resize_h = j->set->h;
        o.resize_w = j->set->w;
    }
    if (!o.channels && (j->set->c == 1 || j->set->c == 3)) o.channels = j->set->c;
    if (!o.classes_file) {
        o.class_names = j->set->class_names;
        o.classes = j->set->classes;
    }
    return dd_dataset_open(&j->data, f->data, &o);
}

static dd_status check_match(const dd_synset *s, const dd_dataset *d)
{
    char hash[80];
    if (s->c != d->c || s->h != d->h || s->w != d->w)
        return dd_fail(DD_EINVAL, "the set holds %lldx%lldx%lld images, %s has %lldx%lldx%lld", (long long)s->c,
                       (long long)s->h, (long long)s->w, d->name, (long long)d->c, (long long)d->h, (long long)d->w);
    if (s->classes != d->classes)
        return dd_fail(DD_EINVAL, "the set has %lld classes, %s has %lld", (long long)s->classes, d->name,
                       (long long)d->classes);
    for (int64_t i = 0; i < d->classes; i++)
        if (strcmp(s->class_names[i], d->class_names[i]) != 0)
            return dd_fail(DD_EINVAL, "class %lld is \"%s\" in the set and \"%s\" in %s", (long long)i,
                           s->class_names[i], d->class_names[i], d->name);
    if (dd_synset_fact(s, "data.sha256", hash, sizeof hash) == DD_OK && strcmp(hash, d->sha256) != 0)
        fprintf(stderr, "note: %s has hash %.12s..., the set was made from %.12s...\n", d->name, d->sha256, hash);
    return DD_OK;
}

static bool recorded_at(const dd_synset *s, const char *key)
{
    char text[DD_OPT_TEXT];
    return dd_synset_fact(s, key, text, sizeof text) == DD_OK;
}

static bool recorded_as(const dd_synset *s, const char *key, const char *what)
{
    char text[DD_OPT_TEXT];
    return dd_synset_fact(s, key, text, sizeof text) == DD_OK && strcmp(text, what) == 0;
}

/* Whether the network has batch norm decides over augmentation in some protocols. */
static dd_status find_protocol(job *j, const flags *f)
{
    const dd_dataset *d = j->data;
    dd_net *net;
    DD_TRY(dd_net_open(&net, f->net, (dd_image){d->c, d->h, d->w}, d->classes));
    const dd_status st = dd_protocol_named(&j->protocol, f->protocol, d, net);
    j->alike = recorded_as(j->set, "net", dd_net_spec(net)) || recorded_as(j->set, "net", f->net);
    dd_net_close(net);
    return st;
}

/* A number of the recorded protocol; false: none is recorded. DD_EFORMAT: it is none. */
static dd_status recorded(const dd_synset *s, const char *dir, const char *key, double least, double most, double *out,
                          bool *found)
{
    char text[64];
    *found = dd_synset_fact(s, key, text, sizeof text) == DD_OK;
    if (!*found) return DD_OK;
    if (recall_real(s, key, out) && *out >= least && *out <= most) return DD_OK;
    return dd_fail(DD_EFORMAT,
                   "%s/set.json: %s is \"%s\", it must be a number from %.9g to %.9g; correct it or name another "
                   "protocol",
                   dir, key, text, least, most);
}

/* The recorded protocol is the named one, but for its epochs; what an edit made of it is said. */
static dd_status check_protocol(job *j, const flags *f, const char *dir)
{
    const dd_protocol *p = &j->protocol;
    const struct {
        const char *key;
        double named;
    } rows[] = {{"protocol.batch", (double)p->batch},
                {"protocol.lr", p->lr},
                {"protocol.momentum", p->momentum},
                {"protocol.weight_decay", p->weight_decay}};
    double v = 0;
    bool found;
    for (size_t i = 0; i < DD_LEN(rows); i++) {
        DD_TRY(recorded(j->set, dir, rows[i].key, 0, 1e9, &v, &found));
        if (found && v != rows[i].named)
            fprintf(stderr, "note: set.json records %s %g, protocol %s has %g and is used\n", rows[i].key, v, p->name,
                    rows[i].named);
    }
    DD_TRY(recorded(j->set, dir, "protocol.epochs", 0, 1e6, &v, &found));
    if (f->epochs >= 0)
        j->protocol.epochs = f->epochs;
    else if (found)
        j->protocol.epochs = (int64_t)v;
    return DD_OK;
}

/* The kernel of protocol krr, if it is that, and its regulariser: as the set was judged, else as it was made. named: a
 * network was. */
static dd_status find_kernel(job *j, flags *f, bool named)
{
    dd_kernel *k;
    if (f->ridge < 0 && f->ridge > -1)
        return dd_fail(DD_EINVAL, "--ridge=%g: a regulariser is 0 or more; -1 stands for the recorded one", f->ridge);
    if (!j->protocol.kernel[0] && (f->kernel[0] || f->ridge >= 0))
        return dd_fail(DD_EINVAL,
                       "--kernel and --ridge are for --protocol krr, this is protocol %s, which trains networks",
                       f->protocol);
    if (!j->protocol.kernel[0]) return DD_OK;
    if (f->epochs >= 0 || named)
        return dd_fail(
            DD_EINVAL,
            "--net and --epochs are for networks, and protocol krr trains none; add a protocol that does, such "
            "as --protocol dsa, or leave them out");
    const char *from = recorded_at(j->set, "protocol.kernel") ? "protocol" : "method_options";
    char key[2][64];
    snprintf(key[0], sizeof key[0], "%s.kernel", from);
    snprintf(key[1], sizeof key[1], "%s.ridge", from);
    if (f->ridge >= 0)
        j->protocol.ridge = f->ridge;
    else if (recorded_at(j->set, key[0]))
        (void)recall_real(j->set, key[1], &j->protocol.ridge);
    recall(j->set, f->kernel, key[0], j->protocol.kernel);
    DD_TRY(dd_kernel_open(&k, f->kernel, (dd_image){j->data->c, j->data->h, j->data->w}));
    snprintf(j->protocol.kernel, sizeof j->protocol.kernel, "%s", dd_kernel_spec(k));
    double then;
    j->alike = recorded_as(j->set, "protocol.kernel", j->protocol.kernel) &&
               recall_real(j->set, "protocol.ridge", &then) && then == j->protocol.ridge;
    dd_kernel_close(k);
    return DD_OK;
}

static dd_status prepare(job *j, flags *f, const char *dir)
{
    DD_TRY(dd_synset_load(&j->set, dir));
    DD_TRY(open_data(j, f));
    DD_TRY(check_match(j->set, j->data));
    const bool named = f->net[0] != 0;
    recall(j->set, f->net, "net", "convnet");
    recall(j->set, f->protocol, "protocol.name", "dsa");
    const bool same = recorded_as(j->set, "protocol.name", f->protocol);
    DD_TRY(find_protocol(j, f));
    double batch;
    if (same && j->protocol.own_epochs && recall_real(j->set, "protocol.batch", &batch) && batch >= 1 && batch <= 1e6)
        j->protocol.batch = (int64_t)batch;
    if (same && j->protocol.in_steps) (void)recall_real(j->set, "protocol.momentum", &j->protocol.momentum);
    DD_TRY(find_kernel(j, f, named));
    DD_TRY(dd_protocol_fit(&j->protocol, j->set));
    if (same)
        DD_TRY(check_protocol(j, f, dir));
    else if (f->epochs >= 0)
        j->protocol.epochs = f->epochs;
    j->alike = j->alike && same;
    j->recorded = recall_real(j->set, "result.mean", &j->mean) && recall_real(j->set, "result.std", &j->std);
    return dd_cli_backend(&j->backend, &f->machine);
}

/* As many random real images per class as the set holds on average, normalised like all others. */
static dd_status random_real(job *j, const flags *f, dd_key key)
{
    const int64_t ipc = j->set->m / j->data->classes > 0 ? j->set->m / j->data->classes : 1;
    return dd_evaluate_random(&j->random, j->backend, f->net, j->data, NULL, 0, ipc, &j->protocol, f->repeats,
                              dd_key_at(key, "baseline", 0), NULL, NULL);
}

static dd_status measure(job *j, const flags *f)
{
    const dd_key key = dd_key_seed((uint64_t)f->seed);
    const dd_tensor *labels = dd_synset_labels(j->set, dd_protocol_regresses(&j->protocol));
    DD_TRY(dd_evaluate(&j->result, j->backend, f->net, j->data, &j->set->images, labels, &j->data->test, NULL, 0,
                       &j->protocol, f->repeats, dd_key_at(key, "eval", 0), NULL, NULL));
    return f->baselines ? random_real(j, f, key) : DD_OK;
}

/* Two standard errors of the difference, and never less than one percent point: stds of few networks are rough. */
static bool agrees(const job *j)
{
    const double n = (double)j->result.repeats;
    const double noise = 2 * sqrt((j->result.std * j->result.std + j->std * j->std) / n);
    return fabs(j->result.mean - j->mean) <= (noise > 0.01 ? noise : 0.01);
}

static void print_row(const char *name, double mean, double std)
{
    char text[40];
    dd_mean_text(text, sizeof text, mean, std);
    printf("%-24s %16s\n", name, text);
}

static void print_judge(const job *j)
{
    const dd_eval_result *r = &j->result;
    if (!r->kernel) {
        printf(
            "test accuracy on %s in %%, mean +- standard deviation over %lld network%s\n%s, protocol %s, %lld epochs, "
            "%.1f s\n",
            j->data->name, (long long)r->repeats, r->repeats == 1 ? "" : "s", r->net, j->protocol.name,
            (long long)j->protocol.epochs, r->seconds);
        return;
    }
    printf("test accuracy on %s in %% by kernel regression\n%s, ridge %g, %.1f s\n", j->data->name, j->protocol.kernel,
           r->ridge, r->seconds);
    if (r->ridge > j->protocol.ridge)
        printf("(with ridge %g, which was asked for, the kernel of the set has no factor)\n", j->protocol.ridge);
}

static void print_table(const job *j)
{
    printf("%-24s %16lld\n", "images", (long long)j->set->m);
    if (j->random.repeats) print_row("random real", j->random.mean, j->random.std);
    if (j->recorded) print_row("recorded", j->mean, j->std);
    print_row("measured", j->result.mean, j->result.std);
    print_judge(j);
    if (!j->recorded)
        puts("set.json records no result to compare with");
    else if (!j->alike)
        puts("the recorded result is by another protocol, network or kernel");
    else
        puts(agrees(j) ? "matches the recorded result within the noise"
                       : "differs from the recorded result by more than the noise");
}

static void print_json(const job *j)
{
    fputs("{\"data\": ", stdout);
    dd_json_text(stdout, j->data->name);
    if (!j->result.kernel) {
        fputs(", \"net\": ", stdout);
        dd_json_text(stdout, j->result.net);
    } else {
        fputs(", \"kernel\": ", stdout);
        dd_json_text(stdout, j->protocol.kernel);
    }
    printf(", \"protocol\": \"%s\", \"epochs\": %lld, \"measured\": ", j->protocol.name, (long long)j->protocol.epochs);
    dd_json_result(stdout, &j->result);
    fputs(", \"random\": ", stdout);
    dd_json_result(stdout, &j->random);
    fputs(", \"recorded\": ", stdout);
    if (j->recorded) {
        fputs("{\"mean\": ", stdout);
        dd_json_number(stdout, j->mean);
        fputs(", \"std\": ", stdout);
        dd_json_number(stdout, j->std);
        fputs("}", stdout);
    } else {
        fputs("null", stdout);
    }
    printf(", \"matches\": %s}\n", !j->recorded || !j->alike ? "null" : agrees(j) ? "true" : "false");
}

dd_status dd_cmd_eval(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    job j;
    memset(&f, 0, sizeof f);
    memset(&j, 0, sizeof j);
    DD_TRY(dd_cli_parse(c, &f, &p, 1, false, argc, argv));
    dd_status st = prepare(&j, &f, p.args[0]);
    if (st == DD_OK) st = measure(&j, &f);
    if (st == DD_OK && f.json)
        print_json(&j);
    else if (st == DD_OK)
        print_table(&j);
    if (j.backend) dd_backend_close(j.backend);
    if (j.data) dd_dataset_close(j.data);
    dd_synset_free(j.set);
    return st;
}
