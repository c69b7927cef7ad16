/* SPDX-License-Identifier: Apache-2.0
 *
 * attar baseline: networks trained on random real images, the yardstick of every method and of the harness itself. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    dd_cli_data from;
    dd_cli_machine machine;
    char data[DD_OPT_TEXT], net[DD_OPT_TEXT], protocol[DD_OPT_TEXT];
    int64_t ipc, repeats, epochs, seed;
    bool json, quiet, profile;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_baseline_flags[] = {
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, "NAME|PATH", "a known data set, a folder or an .npz file; required"},
    DD_CLI_DIR_ROW(flags, from),
    {"ipc", DD_OPT_INT, AT(ipc), "1", 1, 10000, NULL, "random images per class"},
    {"net", DD_OPT_STRING, AT(net), "convnet", 0, 0, "SPEC", "NAME or NAME:KEY=VALUE,...; attar nets lists them"},
    {"repeats", DD_OPT_INT, AT(repeats), "5", 1, 64, NULL, "networks trained, each on images of its own"},
    {"protocol", DD_OPT_CHOICE, AT(protocol), "dsa", 0, 0, "dc|dsa", "how they are trained"},
    {"epochs", DD_OPT_INT, AT(epochs), "-1", -1, 1e6, NULL, "their epochs; -1 is the protocol's number"},
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 9007199254740991.0, NULL, "seed of images, weights and augmentation"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    DD_CLI_FOLDER_ROWS(flags, from),
    DD_CLI_NORMALISE_ROW(flags, from),
    DD_CLI_PROFILE_ROW(flags, profile),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of the table"},
    {"quiet", DD_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "no line for each network"},
    {0},
};

typedef struct job {
    dd_cli_world w;
    dd_protocol protocol;
    dd_eval_result result;
    double start;
    bool talk;
} job;

/* One line a network, when it has been tested. */
static bool on_epoch(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    const job *j = self;
    const int64_t each = dd_protocol_span(&j->protocol);
    if (j->talk && accuracy >= 0)
        fprintf(stderr, "network %lld of %lld: %.2f %%, loss %.4g, %.1f s\n", (long long)(epoch / each),
                (long long)(epochs / each), 100 * accuracy, loss, dd_cli_clock() - j->start);
    return true;
}

static dd_status prepare(job *j, const flags *f)
{
    DD_TRY(dd_cli_open(&j->w, "baseline", f->data, &f->from, f->net, &f->machine));
    DD_TRY(dd_protocol_named(&j->protocol, f->protocol, j->w.data, j->w.net));
    if (f->epochs >= 0) j->protocol.epochs = f->epochs;
    j->talk = !f->quiet && !f->json;
    j->start = dd_cli_clock();
    return DD_OK;
}

static void print_json(const job *j, const flags *f)
{
    fputs("{\"data\": ", stdout);
    dd_json_text(stdout, j->w.data->name);
    fputs(", \"net\": ", stdout);
    dd_json_text(stdout, f->net);
    printf(", \"ipc\": %lld, \"protocol\": \"%s\", \"epochs\": %lld, \"aug\": \"%s\", \"random\": ", (long long)f->ipc,
           j->protocol.name, (long long)j->protocol.epochs, j->protocol.aug);
    dd_json_result(stdout, &j->result);
    puts("}");
}

static void print_table(const job *j, const flags *f)
{
    char text[40];
    dd_mean_text(text, sizeof text, j->result.mean, j->result.std);
    printf("%-24s %16lld\n%-24s %16s\n", "images per class", (long long)f->ipc, "random real", text);
    printf("test accuracy on %s in %%, mean +- standard deviation over %lld network%s\n%s, protocol %s, %lld epochs, "
           "augmentation %s, %.1f s\n",
           j->w.data->name, (long long)j->result.repeats, j->result.repeats == 1 ? "" : "s", j->result.net,
           j->protocol.name, (long long)j->protocol.epochs, j->protocol.aug, j->result.seconds);
}

dd_status dd_cmd_baseline(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    job j;
    memset(&f, 0, sizeof f);
    memset(&j, 0, sizeof j);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    dd_status st = prepare(&j, &f);
    if (st == DD_OK && f.profile) st = dd_backend_profile(j.w.backend, true);
    if (st == DD_OK)
        st = dd_evaluate_random(&j.result, j.w.backend, f.net, j.w.data, NULL, 0, f.ipc, &j.protocol, f.repeats,
                                dd_key_seed((uint64_t)f.seed), on_epoch, &j);
    if (st == DD_OK && f.json)
        print_json(&j, &f);
    else if (st == DD_OK)
        print_table(&j, &f);
    dd_cli_end_profile(j.w.backend, j.result.seconds);
    dd_cli_close(&j.w);
    return st;
}
