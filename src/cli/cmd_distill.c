/* SPDX-License-Identifier: Apache-2.0
 *
 * attar distill: flags into dd_distill_opts, progress on stderr, Ctrl-C into a checkpoint, a table at the end. attar
 * plan and attar profile take the same flags and say what the run would cost and where its time would go. */
#include "cli/cli.h"
#include <ctype.h>
#include <string.h>

typedef struct flags {
    dd_distill_opts d;
    dd_cli_data from;
    dd_cli_machine machine;
    bool no_baselines, json, quiet;
    const char *command;
    char set[DD_OPT_TEXT], limit[DD_OPT_TEXT], budget[DD_OPT_TEXT];
} flags;

#define AT(field) offsetof(flags, field)
const dd_option dd_distill_flags[] = {
    {"method", DD_OPT_STRING, AT(d.method), "dm", 0, 0, "NAME", "the method; attar methods lists them"},
    {"data", DD_OPT_STRING, AT(d.data), "", 0, 0, "NAME|PATH", "a known data set, a folder or an .npz file; required"},
    DD_CLI_DIR_ROW(flags, from),
    {"preset", DD_OPT_STRING, AT(d.preset), "", 0, 0, "NAME",
     "a published setting, such as dsa/cifar10/10, in place of the defaults (attar presets lists them); what is given "
     "beside it stands"},
    {"ipc", DD_OPT_INT, AT(d.ipc), "1", 1, 10000, NULL, "synthetic images per class"},
    {"out", DD_OPT_STRING, AT(d.out), "", 0, 0, "DIR",
     "folder that receives the set; required, but not by plan and profile"},
    {"seed", DD_OPT_INT, AT(d.seed), "0", 0, 9007199254740991.0, NULL, "seed of every random choice"},
    {"iterations", DD_OPT_INT, AT(d.iterations), "-1", -1, 1e9, NULL, "iterations; -1 is the method's own number"},
    {"budget", DD_OPT_STRING, AT(budget), "", 0, 0, "TIME",
     "time that everything may take, evaluation included, such as 90s, 30m or 1h30m: where it does not do, fewer "
     "iterations are made; \"\": any"},
    {"net", DD_OPT_STRING, AT(d.net), "auto", 0, 0, "SPEC",
     "NAME or NAME:KEY=VALUE,...; attar nets lists them; auto is the method's own"},
    {"init", DD_OPT_CHOICE, AT(d.init), "auto", 0, 0, "auto|real|noise|herding|kcenter|kmeans",
     "what the images start as; auto is the method's own choice"},
    {"init-from", DD_OPT_STRING, AT(d.init_from), "", 0, 0, "DIR",
     "a set whose images they start as, in place of init; its labels are left behind"},
    {"aug", DD_OPT_STRING, AT(d.aug), "auto", 0, 0, "LIST",
     "differentiable augmentation, such as color_crop_cutout, or none; auto fits the method and the data set"},
    {"eval-every", DD_OPT_INT, AT(d.eval_every), "0", 0, 1e9, NULL,
     "iterations between evaluations; 0: only at the end"},
    {"eval-repeats", DD_OPT_INT, AT(d.eval_repeats), "3", 1, 64, NULL, "networks trained for the final evaluation"},
    {"protocol", DD_OPT_CHOICE, AT(d.protocol), "auto", 0, 0, "auto|" DD_PROTOCOLS,
     "how evaluation networks are trained; auto is the method's own choice"},
    {"eval-epochs", DD_OPT_INT, AT(d.eval_epochs), "-1", -1, 1e6, NULL, "their epochs; -1 is the protocol's number"},
    {"holdout", DD_OPT_REAL, AT(d.holdout), "0.1", 0, 0.5, NULL,
     "fraction of the training data kept aside to choose the best set"},
    {"paper-compatible", DD_OPT_BOOL, AT(d.paper_compatible), "false", 0, 0, NULL,
     "choose the best set on the test data and hold nothing out, as papers do"},
    {"no-baselines", DD_OPT_BOOL, AT(no_baselines), "false", 0, 0, NULL,
     "do not evaluate random real images beside it"},
    {"checkpoint-every", DD_OPT_INT, AT(d.checkpoint_every), "50", 1, 1e9, NULL, "iterations between checkpoints"},
    DD_CLI_MACHINE_ROWS(flags, machine),
    {"precision", DD_OPT_CHOICE, AT(d.precision), "float32", 0, 0, "float32|bf16",
     "how the method holds what lies between convolutions; bf16 takes half the memory, says by how much it is off, and "
     "leaves evaluations as they are"},
    {"memory-limit", DD_OPT_STRING, AT(limit), "", 0, 0, "SIZE",
     "resident memory that the run may take, such as 500M or 4G: fewer images pass and less is kept at a time; \"\": "
     "any"},
    {"resume", DD_OPT_BOOL, AT(d.resume), "false", 0, 0, NULL, "go on from the checkpoint in the output folder"},
    {"set", DD_OPT_STRING, AT(set), "", 0, 0, "KEY=VALUE",
     "an option of the method, or labels=hard|soft|learned; may be repeated"},
    DD_CLI_FOLDER_ROWS(flags, from),
    DD_CLI_NORMALISE_ROW(flags, from),
    {"profile", DD_OPT_BOOL, AT(d.profile), "false", 0, 0, NULL, "show where the time went, by kind of instruction"},
    {"json", DD_OPT_BOOL, AT(json), "false", 0, 0, NULL, "print one JSON object instead of the table"},
    {"quiet", DD_OPT_BOOL, AT(quiet), "false", 0, 0, NULL, "no progress"},
    {0},
};

static void print_progress(dd_cli_screen *s, const dd_progress *p)
{
    char acc[32] = "", left[32], line[200];
    dd_cli_left(left, sizeof left, p->eta);
    if (p->accuracy >= 0) snprintf(acc, sizeof acc, "  accuracy %.1f %%", 100 * p->accuracy);
    if (p->epochs)
        snprintf(line, sizeof line, "evaluating: %lld of %lld  %s", (long long)p->epoch, (long long)p->epochs, left);
    else if (p->rate <= 0)
        snprintf(line, sizeof line, "preparing");
    else
        snprintf(line, sizeof line, "%lld/%lld  loss %.5g%s  %.3g it/s  %s", (long long)p->iteration,
                 (long long)p->iterations, p->loss, acc, p->rate, left);
    dd_cli_print_line(s, line);
}

static bool on_progress(void *self, const dd_progress *p)
{
    dd_cli_screen *s = self;
    if (dd_cli_due(s, p->iteration == p->iterations)) print_progress(s, p);
    return !dd_cli_stop_requested();
}

static void on_log(void *self, const char *line)
{
    dd_cli_screen *s = self;
    dd_cli_end_line(s);
    fprintf(stderr, "%s\n", line);
}

static void duration(char *buf, size_t size, double seconds)
{
    if (seconds < 99)
        snprintf(buf, size, "%.2g s", seconds);
    else if (seconds < 7200)
        snprintf(buf, size, "%.0f min", seconds / 60);
    else
        snprintf(buf, size, "%.1f h", seconds / 3600);
}

static void plan_text(char *buf, size_t size, const dd_distill_plan *p)
{
    char whole[24], one[24], network[24];
    duration(whole, sizeof whole, p->seconds);
    duration(one, sizeof one, p->per_iteration);
    duration(network, sizeof network, p->per_network);
    snprintf(buf, size, "about %s: %lld iterations of %s, %lld networks of %s; memory %.0f MiB, disk %.1f MiB", whole,
             (long long)p->iterations, one, (long long)p->networks, network, (double)p->peak_bytes / 1048576,
             (double)p->disk_bytes / 1048576);
}

static void on_plan(void *self, const dd_distill_plan *p)
{
    char text[200];
    plan_text(text, sizeof text, p);
    on_log(self, text);
}

static void upper(char *dst, size_t size, const char *src)
{
    size_t i = 0;
    for (; src[i] && i + 1 < size; i++) dst[i] = (char)toupper((unsigned char)src[i]);
    dst[i] = 0;
}

/* What the preset expects, beside the result. */
static void print_expected(const flags *f, const dd_distill_result *r)
{
    static const char *const verdicts[] = {"below it", "within the tolerance", "above it"};
    const dd_preset *p;
    if (!f->d.preset[0] || !r->distilled.repeats || dd_preset_find(&p, f->d.preset) != DD_OK) return;
    printf("%s expects %.1f within %g: the result is %+.1f points off, %s\n", p->name, p->expected, p->tolerance,
           100 * r->distilled.mean - p->expected, verdicts[dd_preset_judge(p, &r->distilled) + 1]);
    printf("(%s)\n", p->source);
    if (r->differs[0]) printf("the run was made otherwise: %s\n", r->differs);
}

static void print_table(const flags *f, const dd_distill_result *r)
{
    char name[40], text[40];
    const dd_eval_result *any = r->distilled.repeats ? &r->distilled : &r->random;
    printf("%-24s %16lld\n", "images per class", (long long)f->d.ipc);
    if (r->random.repeats) {
        dd_mean_text(text, sizeof text, r->random.mean, r->random.std);
        printf("%-24s %16s\n", "random real", text);
    }
    upper(name, sizeof name, f->d.method);
    if (r->distilled.repeats) {
        dd_mean_text(text, sizeof text, r->distilled.mean, r->distilled.std);
        printf("%-24s %16s\n", name, text);
    }
    if (any->kernel)
        printf("test accuracy in %% by kernel regression%s\n",
               r->random.repeats ? ", random real over several draws" : "");
    else if (any->repeats)
        printf("test accuracy in %%, mean +- standard deviation over %lld network%s\n", (long long)any->repeats,
               any->repeats == 1 ? "" : "s");
    print_expected(f, r);
    printf("set      %s/set.safetensors\nimages   %s/grid.png\n", f->d.out, f->d.out);
    printf("%lld iterations, %.1f s, peak memory %.0f MiB\n", (long long)r->iterations, r->seconds,
           (double)r->peak_bytes / 1048576);
}

static void json_preset(const flags *f, const dd_distill_result *r)
{
    const dd_preset *p;
    if (!f->d.preset[0] || dd_preset_find(&p, f->d.preset) != DD_OK) return;
    fputs(", \"preset\": {\"name\": ", stdout);
    dd_json_text(stdout, p->name);
    printf(", \"expected\": %.9g, \"tolerance\": %.9g", p->expected / 100, p->tolerance / 100);
    if (r->distilled.repeats) printf(", \"within\": %s", dd_preset_judge(p, &r->distilled) == 0 ? "true" : "false");
    fputs(", \"differs\": ", stdout);
    dd_json_text(stdout, r->differs);
    putchar('}');
}

static void print_json(const flags *f, const dd_distill_result *r)
{
    fputs("{\"method\": ", stdout);
    dd_json_text(stdout, f->d.method);
    fputs(", \"data\": ", stdout);
    dd_json_text(stdout, f->d.data);
    fputs(", \"out\": ", stdout);
    dd_json_text(stdout, f->d.out);
    printf(", \"ipc\": %lld, \"iterations\": %lld, \"distilled\": ", (long long)f->d.ipc, (long long)r->iterations);
    dd_json_result(stdout, &r->distilled);
    fputs(", \"random\": ", stdout);
    dd_json_result(stdout, &r->random);
    json_preset(f, r);
    printf(", \"seconds\": %.3f, \"peak_bytes\": %lld", r->seconds, (long long)r->peak_bytes);
    if (f->d.profile) {
        fputs(", \"profile\": ", stdout);
        dd_json_profile(stdout, &r->profile);
    }
    puts("}");
}

/* "500M": bytes, or those times a power of 1024. */
static dd_status read_size(const char *text, int64_t *out)
{
    static const char units[] = "KMGT";
    char unit = 0, more = 0;
    double n = 0;
    *out = 0;
    if (!text[0]) return DD_OK;
    const int got = sscanf(text, "%lf%c%c", &n, &unit, &more);
    const char *at = got == 2 && unit ? strchr(units, toupper((unsigned char)unit)) : NULL;
    if (got < 1 || got > 2 || (got == 2 && !at) || !(n > 0)) n = 0;
    for (const char *u = units; at && u <= at; u++) n *= 1024;
    if (!(n >= 1 && n < 9e15)) return dd_fail(DD_EINVAL, "--memory-limit %s: give a size such as 500M or 4G", text);
    *out = (int64_t)n;
    return DD_OK;
}

/* "1h30m": seconds. */
static dd_status read_time(const char *text, double *out)
{
    static const char units[] = "hms";
    static const double length[] = {3600, 60, 1};
    const char *at = text, *least = units;
    double sum = 0;
    while (*at) {
        double n;
        char unit;
        int end = 0;
        if (sscanf(at, "%lf%c%n", &n, &unit, &end) != 2 || !(n >= 0 && n < 1e9)) break;
        const char *u = strchr(least, unit);
        if (!u) break;
        sum += n * length[u - units];
        least = u + 1;
        at += end;
    }
    if (*at || (*text && !(sum > 0)))
        return dd_fail(DD_EINVAL, "--budget %s: give a time such as 90s, 30m or 1h30m", text);
    *out = sum;
    return DD_OK;
}

/* A preset comes before the flags, whatever their order. */
static dd_status parse(const dd_command *c, flags *f, dd_parsed *p, int argc, char **argv)
{
    char name[DD_OPT_TEXT];
    memset(f, 0, sizeof *f);
    DD_TRY(dd_distill_defaults(&f->d));
    DD_TRY(dd_cli_parse(c, f, p, 0, false, argc, argv));
    f->command = c->name;
    if (!f->d.preset[0]) return DD_OK;
    snprintf(name, sizeof name, "%s", f->d.preset);
    DD_TRY(dd_distill_preset(&f->d, name));
    snprintf(f->from.normalise, sizeof f->from.normalise, "%s", f->d.data_opts.normalise);
    return dd_cli_read(c, f, p, 0, false, argc, argv);
}

static dd_status complete(flags *f, const dd_parsed *p, dd_cli_screen *s)
{
    if (!f->d.data[0])
        return dd_fail(DD_EINVAL, "%s: --data is required: a known data set (attar data list) or a path", f->command);
    f->d.baselines = !f->no_baselines;
    f->d.threads = f->machine.threads;
    snprintf(f->d.backend, sizeof f->d.backend, "%s", f->machine.backend);
    dd_cli_tune_path(&f->machine, f->d.tune, sizeof f->d.tune);
    f->d.sets = p->sets;
    DD_TRY(dd_cli_data_opts(&f->from, &f->d.data_opts));
    DD_TRY(read_size(f->limit, &f->d.memory_limit));
    DD_TRY(read_time(f->budget, &f->d.budget));
    *s = dd_cli_screen_new(f->quiet);
    f->d.progress = on_progress;
    f->d.log = on_log;
    if (!f->quiet) f->d.plan = on_plan;
    f->d.self = s;
    return DD_OK;
}

dd_status dd_cmd_distill(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_cli_screen s;
    dd_distill_result r;
    memset(&r, 0, sizeof r);
    DD_TRY(parse(c, &f, &p, argc, argv));
    DD_TRY(complete(&f, &p, &s));
    if (!f.d.out[0]) return dd_fail(DD_EINVAL, "distill: --out is required: the folder that receives the set");
    dd_cli_catch_signals();
    dd_status st = dd_distill(&r, &f.d);
    dd_cli_end_line(&s);
    if (st != DD_OK) return st;
    if (f.json)
        print_json(&f, &r);
    else
        print_table(&f, &r);
    if (f.d.profile && !f.json) dd_print_profile(stdout, &r.profile);
    return DD_OK;
}

static void plan_json(const flags *f, const dd_distill_plan *p)
{
    printf("{\"iterations\": %lld, \"networks\": %lld, \"seconds_per_iteration\": %.6g, \"seconds_per_network\": %.6g, "
           "\"seconds\": %.6g, \"peak_bytes\": %lld, \"disk_bytes\": %lld",
           (long long)p->iterations, (long long)p->networks, p->per_iteration, p->per_network, p->seconds,
           (long long)p->peak_bytes, (long long)p->disk_bytes);
    if (f->d.profile) {
        fputs(", \"profile\": ", stdout);
        dd_json_profile(stdout, &p->profile);
    }
    puts("}");
}

/* profile is plan with the table of instructions. */
dd_status dd_cmd_plan(const dd_command *c, int argc, char **argv)
{
    flags f;
    dd_parsed p;
    dd_cli_screen s;
    dd_distill_plan plan;
    char text[200];
    DD_TRY(parse(c, &f, &p, argc, argv));
    f.d.profile = f.d.profile || strcmp(c->name, "profile") == 0;
    DD_TRY(complete(&f, &p, &s));
    f.d.progress = NULL;
    DD_TRY(dd_distill_estimate(&plan, &f.d));
    if (f.json) {
        plan_json(&f, &plan);
        return DD_OK;
    }
    plan_text(text, sizeof text, &plan);
    puts(text);
    if (f.d.profile) dd_print_profile(stdout, &plan.profile);
    return DD_OK;
}
