/* SPDX-License-Identifier: Apache-2.0
 *
 * attar train: ordinary training on the whole real data set, with a curve. */
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

enum { CURVE_WIDTH = 60, CURVE_HEIGHT = 10 };

typedef struct flags {
    dd_cli_data from;
    dd_cli_machine machine;
    char data[DD_OPT_TEXT], net[DD_OPT_TEXT], optimiser[DD_OPT_TEXT], schedule[DD_OPT_TEXT], aug[DD_OPT_TEXT];
    int64_t epochs, batch, seed;
    double lr, momentum, weight_decay, holdout;
    bool json, quiet, profile;
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_train_flags[] = {
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, "NAME|PATH", "a known data set, a folder or an .npz file; required"},
    DD_CLI_DIR_ROW(flags, from),
    {"net", DD_OPT_STRING, AT(net), "convnet", 0, 0, "SPEC", "NAME or NAME:KEY=VALUE,...; attar nets lists them"},
    {"epochs", DD_OPT_INT, AT(epochs), "15", 1, 1e6, NULL, "passes over the training data"},
    {"batch", DD_OPT_INT, AT(batch), "128", 1, 65536, NULL, "images per step"},
    {"lr", DD_OPT_REAL, AT(lr), "0.05", 1e-9, 1000, NULL, "learning rate"},
    {"momentum", DD_OPT_REAL, AT(momentum), "0.9", 0, 1, NULL, "momentum of SGD"},
    {"weight-decay", DD_OPT_REAL, AT(weight_decay), "5e-4", 0, 10, NULL, "weight decay"},
    {"optimiser", DD_OPT_CHOICE, AT(optimiser), "sgd", 0, 0, "sgd|adam", "how steps are made"},
    {"schedule", DD_OPT_CHOICE, AT(schedule), "cosine", 0, 0, "cosine|step|constant", "how the learning rate falls"},
    {"aug", DD_OPT_STRING, AT(aug), "none", 0, 0, "LIST", "augmentation, such as crop_flip"},
    {"holdout", DD_OPT_REAL, AT(holdout), "0.1", 0, 0.5, NULL, "fraction kept aside for the accuracy of each epoch"},
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 9007199254740991.0, NULL, "seed of weights, batches and augmentation"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    DD_CLI_FOLDER_ROWS(flags, from),
    DD_CLI_NORMALISE_ROW(flags, from),
    DD_CLI_PROFILE_ROW(flags, profile),
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object at the end and nothing else"},
    {"quiet", DD_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "print the test accuracy only"},
    {0},
};

typedef struct job {
    dd_cli_world w;
    int32_t *train, *val;
    int64_t ntrain, nval, n;
    double *loss, *accuracy; /* per epoch */
    double test, seconds;
    bool talk;
} job;

static bool on_epoch(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    job *j = self;
    if (j->n >= epochs) return true;
    j->loss[j->n] = loss;
    j->accuracy[j->n++] = accuracy;
    if (!j->talk) return true;
    printf("epoch %lld/%lld  loss %.4f", (long long)epoch + (epoch < j->n), (long long)epochs, loss);
    if (accuracy >= 0) printf("  held-out accuracy %.1f %%", 100 * accuracy);
    putchar('\n');
    fflush(stdout);
    return true;
}

/* One column per epoch, or per group of epochs where there are many; '*' marks the value's row. */
static void print_curve(const char *title, const double *y, int64_t n, double scale)
{
    const int64_t width = n < CURVE_WIDTH ? n : CURVE_WIDTH;
    double lo = y[0], hi = y[0];
    for (int64_t i = 1; i < n; i++) {
        lo = y[i] < lo ? y[i] : lo;
        hi = y[i] > hi ? y[i] : hi;
    }
    printf("\n%s\n", title);
    for (int row = CURVE_HEIGHT - 1; row >= 0; row--) {
        if (row == CURVE_HEIGHT - 1 || row == 0)
            printf("%9.3f |", scale * (row ? hi : lo));
        else
            printf("%9s |", "");
        for (int64_t x = 0; x < width; x++) {
            const double v = y[width > 1 ? x * (n - 1) / (width - 1) : 0];
            const int at = hi > lo ? (int)((v - lo) / (hi - lo) * (CURVE_HEIGHT - 1) + 0.5) : 0;
            putchar(at == row ? '*' : ' ');
        }
        putchar('\n');
    }
    printf("%9s +", "");
    for (int64_t x = 0; x < width; x++) putchar('-');
    printf("\n%9s  epoch 1 to %lld\n", "", (long long)n);
}

static void print_json(const job *j, const flags *f)
{
    fputs("{\"data\": ", stdout);
    dd_json_text(stdout, j->w.data->name);
    fputs(", \"net\": ", stdout);
    dd_json_text(stdout, dd_net_spec(j->w.net));
    printf(", \"epochs\": %lld, \"loss\": [", (long long)f->epochs);
    for (int64_t i = 0; i < j->n; i++) {
        fputs(i ? ", " : "", stdout);
        dd_json_number(stdout, j->loss[i]);
    }
    fputs("], \"holdout_accuracy\": [", stdout);
    for (int64_t i = 0; i < j->n && j->nval; i++) {
        fputs(i ? ", " : "", stdout);
        dd_json_number(stdout, j->accuracy[i]);
    }
    fputs("], \"test_accuracy\": ", stdout);
    dd_json_number(stdout, j->test);
    printf(", \"seconds\": %.3f}\n", j->seconds);
}

static dd_status prepare(job *j, const flags *f)
{
    DD_TRY(dd_cli_open(&j->w, "train", f->data, &f->from, f->net, &f->machine));
    DD_TRY(dd_data_holdout(j->w.data, f->holdout, dd_key_at(dd_key_seed((uint64_t)f->seed), "holdout", 0), &j->train,
                           &j->ntrain, &j->val, &j->nval));
    j->loss = calloc((size_t)f->epochs, sizeof *j->loss);
    j->accuracy = calloc((size_t)f->epochs, sizeof *j->accuracy);
    if (!j->loss || !j->accuracy) return dd_fail(DD_ENOMEM, "out of memory for %lld epochs", (long long)f->epochs);
    return DD_OK;
}

static dd_status train(job *j, const flags *f)
{
    dd_train_opts o = DD_TRAIN_OPTS_INIT;
    dd_tensor theta = {0};
    const double start = dd_cli_clock();
    o.epochs = f->epochs;
    o.batch = f->batch;
    o.lr = f->lr;
    o.momentum = f->momentum;
    o.weight_decay = f->weight_decay;
    snprintf(o.optimiser, sizeof o.optimiser, "%.15s", f->optimiser);
    snprintf(o.schedule, sizeof o.schedule, "%.15s", f->schedule);
    if (strlen(f->aug) >= sizeof o.aug)
        return dd_fail(DD_EINVAL, "--aug is longer than %zu characters", sizeof o.aug - 1);
    snprintf(o.aug, sizeof o.aug, "%.63s", f->aug);
    j->talk = !f->json && !f->quiet;
    dd_status st = dd_train(&theta, &j->test, j->w.backend, j->w.net, j->w.data, j->train, j->ntrain, j->val, j->nval,
                            &o, dd_key_seed((uint64_t)f->seed), on_epoch, j);
    j->seconds = dd_cli_clock() - start;
    dd_tensor_fini(&theta);
    return st;
}

static void print_end(const job *j)
{
    if (j->talk && j->n > 1) print_curve("loss", j->loss, j->n, 1);
    if (j->talk && j->n > 1 && j->nval) print_curve("held-out accuracy in %", j->accuracy, j->n, 100);
    printf("%stest accuracy %.1f %% after %lld epochs, %.1f s\n", j->talk ? "\n" : "", 100 * j->test, (long long)j->n,
           j->seconds);
}

dd_status dd_cmd_train(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    job j;
    memset(&f, 0, sizeof f);
    memset(&j, 0, sizeof j);
    DD_TRY(dd_cli_parse(c, &f, &p, 0, false, argc, argv));
    dd_status st = prepare(&j, &f);
    if (st == DD_OK && f.profile) st = dd_backend_profile(j.w.backend, true);
    if (st == DD_OK) st = train(&j, &f);
    if (st == DD_OK && f.json)
        print_json(&j, &f);
    else if (st == DD_OK)
        print_end(&j);
    dd_cli_end_profile(j.w.backend, j.seconds);
    free(j.loss);
    free(j.accuracy);
    free(j.train);
    free(j.val);
    dd_cli_close(&j.w);
    return st;
}
