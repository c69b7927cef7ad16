/* SPDX-License-Identifier: Apache-2.0
 *
 * attar experts: flags into dd_experts_opts, progress on stderr, Ctrl-C between two steps, one line of a table. */
#include "cli/cli.h"
#include <string.h>

typedef struct flags {
    dd_cli_data from;
    dd_cli_machine machine;
    char data[DD_OPT_TEXT], net[DD_OPT_TEXT], out[DD_OPT_TEXT], aug[DD_OPT_TEXT], store[DD_OPT_TEXT];
    int64_t experts, epochs, batch, epoch_steps, seed;
    double lr, momentum, weight_decay;
    bool json, quiet, profile;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_experts_flags[] = {
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, "NAME|PATH", "a known data set, a folder or an .npz file; required"},
    DD_CLI_DIR_ROW(flags, from),
    {"net", DD_OPT_STRING, AT(net), "convnet", 0, 0, "SPEC", "NAME or NAME:KEY=VALUE,...; attar nets lists them"},
    {"out", DD_OPT_STRING, AT(out), "", 0, 0, "DIR", "folder that receives the experts, or has some of them; required"},
    {"experts", DD_OPT_INT, AT(experts), "10", 1, 1000, NULL, "networks to train; MTT has 100"},
    {"expert-epochs", DD_OPT_INT, AT(epochs), "50", 1, 999, NULL, "epochs of each; one snapshot more is kept"},
    {"lr", DD_OPT_REAL, AT(lr), "0.01", 1e-9, 1000, NULL, "learning rate, the same throughout"},
    {"momentum", DD_OPT_REAL, AT(momentum), "0", 0, 1, NULL, "momentum of SGD; above 0 a stopped expert begins again"},
    {"weight-decay", DD_OPT_REAL, AT(weight_decay), "0", 0, 10, NULL, "weight decay"},
    {"batch", DD_OPT_INT, AT(batch), "256", 1, 65536, NULL, "images per step"},
    {"epoch-steps", DD_OPT_INT, AT(epoch_steps), "0", 0, 1e9, NULL,
     "steps of an epoch, so that snapshots lie closer: a part of the data, drawn anew each time; 0: all of it"},
    {"aug", DD_OPT_STRING, AT(aug), "auto", 0, 0, "LIST",
     "augmentation, such as color_crop_cutout, or none; auto is the data set's DSA list"},
    {"store", DD_OPT_CHOICE, AT(store), "float32", 0, 0, "float32|bf16",
     "how weights are kept; bf16 takes half the disk and rounds them, and a stopped expert begins again"},
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 9007199254740991.0, NULL, "seed of weights, batches and augmentation"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    DD_CLI_FOLDER_ROWS(flags, from),
    DD_CLI_NORMALISE_ROW(flags, from),
    DD_CLI_PROFILE_ROW(flags, profile),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of the table"},
    {"quiet", DD_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "no progress"},
    {0},
};

typedef struct watch {
    dd_cli_screen screen;
    double start;
} watch;

typedef struct summary {
    int64_t experts, snapshots, bytes;
    double loss, accuracy, seconds; /* mean of the last epochs; of the last expert, < 0: not measured */
} summary;

static bool on_progress(void *self, const dd_experts_progress *p)
{
    watch *w = self;
    char left[32], loss[32] = "", line[200];
    const double part = p->step < p->steps ? (double)p->step / (double)p->steps : 0;
    const double done = (double)p->done + part, took = dd_cli_clock() - w->start;
    if (dd_cli_due(&w->screen, p->done == p->total)) {
        dd_cli_left(left, sizeof left, done > 0 ? took * ((double)p->total - done) / done : 0);
        if (p->loss >= 0) snprintf(loss, sizeof loss, "loss %.4f  ", p->loss);
        snprintf(line, sizeof line, "expert %lld/%lld  epoch %lld/%lld  %s%s", (long long)p->expert + 1,
                 (long long)p->experts, (long long)p->epoch + 1, (long long)p->epochs, loss, done > 0 ? left : "");
        dd_cli_print_line(&w->screen, line);
    }
    return !dd_cli_stop_requested();
}

static dd_status train(const dd_cli_world *w, const flags *f)
{
    dd_experts_opts o = {f->experts,      f->epochs, f->batch, f->epoch_steps, f->seed, f->lr, f->momentum,
                         f->weight_decay, "",        ""};
    watch seen = {dd_cli_screen_new(f->quiet), dd_cli_clock()};
    if (strlen(f->aug) >= sizeof o.aug)
        return dd_fail(DD_EINVAL, "--aug is longer than %zu characters", sizeof o.aug - 1);
    snprintf(o.aug, sizeof o.aug, "%.63s", f->aug);
    snprintf(o.store, sizeof o.store, "%.15s", f->store);
    dd_cli_catch_signals();
    const dd_status st = dd_experts_train(&o, w->backend, w->net, w->data, f->out, on_progress, &seen);
    dd_cli_end_line(&seen.screen);
    return st;
}

static dd_status sum_up(summary *s, const dd_cli_world *w, const dd_experts *e)
{
    const int64_t last = dd_experts_epochs(e);
    s->experts = dd_experts_count(e);
    s->snapshots = s->experts * (last + 1);
    s->bytes = dd_experts_bytes(e);
    for (int64_t i = 0; i < s->experts; i++) {
        double loss;
        DD_TRY(dd_experts_loss(e, i, last, &loss));
        s->loss += loss / (double)s->experts;
    }
    return dd_experts_accuracy(e, w->backend, s->experts - 1, last, &s->accuracy);
}

static dd_status summarise(summary *s, const dd_cli_world *w, const flags *f)
{
    dd_experts *e;
    DD_TRY(dd_experts_open(&e, f->out, w->data, w->net));
    const dd_status st = sum_up(s, w, e);
    dd_experts_close(e);
    return st;
}

static void print_table(const summary *s)
{
    char accuracy[32] = "-";
    if (s->accuracy >= 0) snprintf(accuracy, sizeof accuracy, "%.1f %%", 100 * s->accuracy);
    printf("experts  snapshots        disk  last loss  test accuracy\n");
    printf("%7lld  %9lld  %6.1f MiB  %9.4f  %13s\n", (long long)s->experts, (long long)s->snapshots,
           (double)s->bytes / 1048576, s->loss, accuracy);
}

static void print_json(const summary *s, const dd_cli_world *w, const flags *f)
{
    fputs("{\"data\": ", stdout);
    dd_json_text(stdout, w->data->name);
    fputs(", \"net\": ", stdout);
    dd_json_text(stdout, dd_net_spec(w->net));
    fputs(", \"out\": ", stdout);
    dd_json_text(stdout, f->out);
    printf(", \"experts\": %lld, \"snapshots\": %lld, \"bytes\": %lld, \"last_loss\": ", (long long)s->experts,
           (long long)s->snapshots, (long long)s->bytes);
    dd_json_number(stdout, s->loss);
    fputs(", \"test_accuracy\": ", stdout);
    if (s->accuracy >= 0)
        dd_json_number(stdout, s->accuracy);
    else
        fputs("null", stdout);
    printf(", \"seconds\": %.3f}\n", s->seconds);
}

static dd_status run(dd_cli_world *w, const flags *f)
{
    summary s = {0};
    const double start = dd_cli_clock();
    if (f->profile) DD_TRY(dd_backend_profile(w->backend, true));
    const dd_status st = train(w, f);
    s.seconds = dd_cli_clock() - start;
    dd_cli_end_profile(w->backend, s.seconds);
    DD_TRY(st);
    DD_TRY(summarise(&s, w, f));
    if (f->json)
        print_json(&s, w, f);
    else
        print_table(&s);
    return DD_OK;
}

dd_status dd_cmd_experts(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_cli_world w = {0};
    memset(&f, 0, sizeof f);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    if (f.data[0] && !f.out[0])
        return dd_fail(DD_EINVAL, "experts: --out is required: the folder that receives the experts");
    dd_status st = dd_cli_open(&w, "experts", f.data, &f.from, f.net, &f.machine);
    if (st == DD_OK) st = run(&w, &f);
    dd_cli_close(&w);
    return st;
}
