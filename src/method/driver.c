/* SPDX-License-Identifier: Apache-2.0
 *
 * The one algorithm that carries all methods: initialise the synthetic set, iterate, evaluate every n, keep the best
 * and the last, checkpoint, and judge the result on the test set beside random real images. Knows everything below
 * method. */
#include "base/fs.h"
#include "data/safetensors.h"
#include "method/driver_internal.h"

#include <inttypes.h>
#include <string.h>

/* Whether the folder holds nothing but what an early kill of ours may leave. */
static dd_status folder_is_fresh(const char *dir, bool *fresh)
{
    char **names;
    size_t n;
    *fresh = true;
    DD_TRY(dd_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n; i++) *fresh = *fresh && strstr(names[i], ".tmp.") != NULL;
    dd_list_free(names, n);
    return DD_OK;
}

static dd_status claim_folder(dd_driver *d)
{
    char config[1024];
    bool fresh;
    if (!d->o.out[0]) return dd_fail(DD_EINVAL, "no output folder given; name one with --out");
    if (d->o.resume && !dd_exists(d->o.out))
        return dd_fail(DD_ENOTFOUND, "%s does not exist, so there is nothing to resume", d->o.out);
    if (dd_exists(d->o.out) && !dd_is_dir(d->o.out))
        return dd_fail(DD_EIO, "%s is a file, not a folder; choose another --out", d->o.out);
    d->made = !dd_exists(d->o.out);
    d->kept = dd_existing_part(d->o.out);
    DD_TRY(dd_make_dir(d->o.out));
    DD_TRY(dd_lock_dir(d->o.out, &d->lock));
    DD_TRY(dd_path_join(config, sizeof config, d->o.out, "config.json"));
    if (d->o.resume && dd_exists(config)) {
        DD_TRY(dd_record_check_config(d, config));
        dd_clear_temporary(d->o.out);
        return DD_OK;
    }
    if (dd_exists(config))
        return dd_fail(DD_EEXIST, "%s already holds a run; go on with it by --resume, or choose another --out",
                       d->o.out);
    DD_TRY(folder_is_fresh(d->o.out, &fresh));
    if (!fresh) return dd_fail(DD_EEXIST, "%s is not empty and holds no run; choose another --out", d->o.out);
    return DD_OK;
}

static dd_status write_config(dd_driver *d)
{
    char path[1024];
    dd_str s = {0};
    DD_TRY(dd_path_join(path, sizeof path, d->o.out, "config.json"));
    dd_status st = dd_record_config(d, &s);
    if (st == DD_OK) st = dd_write_file(path, s.p, s.len);
    dd_str_free(&s);
    d->made = d->made && st != DD_OK;
    return st;
}

static double eta(double done, double left, double seconds)
{
    return done > 0 && seconds > 0 ? left * seconds / done : 0;
}

bool dd_driver_report(dd_driver *d)
{
    const double gone = dd_now() - d->started, done = (double)(d->done - d->started_at);
    dd_progress p = {.iteration = d->done,
                     .iterations = d->o.iterations,
                     .loss = d->r.loss,
                     .rate = gone > 0 ? done / gone : 0,
                     .eta = eta(done, (double)(d->o.iterations - d->done), gone),
                     .accuracy = d->accuracy,
                     .epoch = d->eval_at,
                     .epochs = d->eval_of};
    if (d->eval_of) p.eta = eta((double)d->eval_at, (double)(d->eval_of - d->eval_at), dd_now() - d->eval_started);
    return !d->o.progress || d->o.progress(d->o.self, &p);
}

bool dd_driver_going_on(void *self)
{
    return dd_driver_report(self);
}

/* An evaluation of so many networks begins; 0: it is over. */
static void expect_epochs(dd_driver *d, int64_t networks)
{
    d->eval_started = dd_now();
    d->eval_at = d->eval_first = 0;
    d->eval_of = networks * dd_protocol_span(&d->protocol);
}

/* An evaluation asks the same question as an iteration: go on? */
static bool evaluating(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    dd_driver *d = self;
    (void)epochs, (void)loss, (void)accuracy;
    d->eval_at = d->eval_first + epoch;
    return dd_driver_report(d);
}

/* Says what the caller finds in the folder. */
static dd_status interrupted(const dd_driver *d)
{
    char state[1024];
    if (dd_path_join(state, sizeof state, d->o.out, "checkpoint/state.safetensors") == DD_OK && dd_exists(state))
        return dd_fail(DD_EINTERRUPTED,
                       "interrupted after iteration %" PRId64 " of %" PRId64
                       "; the checkpoint in %s is of iteration %" PRId64 ", the same command with --resume goes on",
                       d->done, d->o.iterations, d->o.out, d->saved);
    return dd_fail(DD_EINTERRUPTED,
                   "interrupted before the first checkpoint; the same command with --resume begins again in %s",
                   d->o.out);
}

/* The protocol as the set and the method want it now. */
static dd_status fit_protocol(dd_driver *d)
{
    if (d->protocol.own_epochs && d->o.eval_epochs < 0)
        d->protocol.epochs = d->r.epochs > 0 ? d->r.epochs - 1 : d->own_epochs;
    dd_synset_classify(d->r.syn);
    return dd_protocol_fit(&d->protocol, d->r.syn);
}

/* The set as it is becomes the best one, or the other way round. */
static dd_status keep(dd_driver *d, bool best)
{
    dd_saved part[DD_PARTS];
    const int n = dd_set_parts(d->r.syn, part);
    if (best)
        d->best_epochs = d->r.epochs;
    else
        d->r.epochs = d->best_epochs;
    for (int i = 0; i < n; i++)
        DD_TRY(best ? dd_tensor_copy(&d->best[i], part[i].tensor) : dd_tensor_copy(part[i].tensor, &d->best[i]));
    return DD_OK;
}

static dd_status evaluate_now(dd_driver *d)
{
    dd_eval_result e;
    const bool test = d->o.paper_compatible;
    DD_TRY(fit_protocol(d));
    expect_epochs(d, 1);
    const dd_status s = dd_evaluate(&e, d->r.backend, d->o.net, d->data, &d->r.syn->images,
                                    dd_synset_labels(d->r.syn, dd_protocol_regresses(&d->protocol)),
                                    test ? &d->data->test : &d->data->train, test ? NULL : d->val, test ? 0 : d->nval,
                                    &d->protocol, 1, dd_key_at(d->r.key, "select", (uint64_t)d->done), evaluating, d);
    expect_epochs(d, 0);
    DD_TRY(s);
    d->accuracy = e.mean;
    dd_record_accuracy(d);
    if (e.mean <= d->best_accuracy) return DD_OK;
    d->best_accuracy = e.mean;
    d->best_at = d->done;
    return keep(d, true);
}

/* Between two iterations: what is there becomes a checkpoint, unless a wrong update may have led there. */
static dd_status rest(dd_driver *d)
{
    DD_TRY(dd_guard_rest(d));
    return d->done == d->saved ? DD_OK : dd_checkpoint_save(d);
}

/* In the middle of one: the same of what was there before it. */
static dd_status stopped(dd_driver *d)
{
    DD_TRY(dd_guard_stopped(d));
    DD_TRY(rest(d));
    return interrupted(d);
}

/* The same where the iteration ended with an error, a damaged file of an expert for example. */
static dd_status failed(dd_driver *d, dd_status why)
{
    char text[1000];
    snprintf(text, sizeof text, "%.999s", dd_last_error());
    if (d->method->brief) return why;
    if (dd_guard_stopped(d) != DD_OK || rest(d) != DD_OK || !d->saved) return dd_fail(why, "%s", text);
    return dd_fail(why, "%s; the checkpoint in %s is of iteration %" PRId64 ", --resume goes on from it", text,
                   d->o.out, d->done);
}

enum { WARM = 1, ENOUGH = 4, LOSS_SECONDS = 300 }; /* a kill costs no more than the last, or one iteration */

/* Iteration n of this process took so many seconds; tells what the run will cost once some are known, the first apart.
 */
static void announce(dd_driver *d, dd_distill_plan *p, int64_t n, double seconds)
{
    if (n > WARM && n <= ENOUGH) p->per_iteration += seconds / (ENOUGH - WARM);
    if (n != ENOUGH) return;
    dd_plan_finish(d, p);
    d->o.plan(d->o.self, p);
}

/* Costs other than those of iterations, before the clock of the run starts. */
static dd_status prepare(dd_driver *d, dd_distill_plan *p)
{
    const double start = dd_now();
    d->started = start;
    d->started_at = d->done;
    if (d->o.plan && d->done < d->o.iterations) {
        const dd_status s = dd_plan_networks(d, p);
        if (s == DD_EINTERRUPTED) return interrupted(d);
        DD_TRY(s);
    }
    d->planning = dd_now() - start;
    return d->o.profile ? dd_backend_profile(d->r.backend, true) : DD_OK;
}

static dd_status iterate(dd_driver *d)
{
    dd_distill_plan plan = {0};
    DD_TRY(prepare(d, &plan));
    d->started = d->saved_at = dd_now();
    d->started_at = d->saved = d->done;
    while (d->done < d->o.iterations) {
        const double start = dd_now();
        DD_TRY(dd_guard_before(d));
        const dd_status made = d->method->iterate(&d->r, d->state, d->done);
        if (made == DD_EINTERRUPTED) return stopped(d);
        if (made != DD_OK) return failed(d, made);
        const double took = dd_now() - start;
        d->done++;
        DD_TRY(dd_guard_after(d));
        dd_record_loss(d);
        const bool last = d->done == d->o.iterations;
        if (d->o.eval_every && (d->done % d->o.eval_every == 0 || last)) {
            const dd_status s = evaluate_now(d);
            if (s == DD_EINTERRUPTED) return d->method->brief ? interrupted(d) : stopped(d); /* resumes before it */
            if (s != DD_OK) return failed(d, s);
        }
        if (d->o.plan) announce(d, &plan, d->done - d->started_at, took);
        const bool go_on = dd_driver_report(d);
        const double since = dd_now() - d->saved_at; /* where time is short, not all of it goes to the disk */
        const bool due =
            (d->done % d->o.checkpoint_every == 0 && (d->o.budget <= 0 || since > 2)) || since > LOSS_SECONDS;
        const bool sure = !d->row; /* a row without an update may turn out to begin with a wrong one */
        if (go_on && (last || (due && sure))) DD_TRY(dd_checkpoint_save(d));
        if (go_on) continue;
        DD_TRY(rest(d));
        return interrupted(d);
    }
    return dd_guard_end(d);
}

static dd_status judge(dd_driver *d)
{
    const dd_key key = dd_key_at(d->r.key, "final", 0);
    if (!d->o.eval_repeats) return DD_OK;
    DD_TRY(fit_protocol(d));
    expect_epochs(d, dd_plan_judged(d));
    DD_TRY(dd_evaluate(&d->result->distilled, d->r.backend, d->o.net, d->data, &d->r.syn->images,
                       dd_synset_labels(d->r.syn, dd_protocol_regresses(&d->protocol)), &d->data->test, NULL, 0,
                       &d->protocol, d->o.eval_repeats, key, evaluating, d));
    if (d->result->distilled.ridge > d->protocol.ridge) {
        char line[160];
        snprintf(line, sizeof line, "the kernel of the set has no factor with ridge %g: judged with %g",
                 d->protocol.ridge, d->result->distilled.ridge);
        dd_run_tell(&d->r, line);
    }
    if (!d->o.baselines) return DD_OK;
    d->eval_first = d->eval_of - d->o.eval_repeats * dd_protocol_span(&d->protocol);
    return dd_evaluate_random(&d->result->random, d->r.backend, d->o.net, d->data, d->items, d->nitems, d->o.ipc,
                              &d->protocol, d->o.eval_repeats, key, evaluating, d);
}

static dd_status write_text(const dd_driver *d, const char *name, dd_status (*make)(const dd_driver *, dd_str *))
{
    char path[1024];
    dd_str s = {0};
    dd_status st = make(d, &s);
    if (st == DD_OK) st = dd_path_join(path, sizeof path, d->o.out, name);
    if (st == DD_OK) st = dd_write_file(path, s.p, s.len);
    dd_str_free(&s);
    return st;
}

/* The last set, when the best one is another. */
static dd_status write_last(const dd_driver *d)
{
    char path[1024];
    void *bytes;
    size_t size;
    dd_saved part[DD_PARTS];
    dd_st_entry e[DD_PARTS];
    const int n = dd_set_parts(d->r.syn, part);
    for (int i = 0; i < n; i++) {
        snprintf(e[i].name, sizeof e[i].name, "%s", part[i].name);
        e[i].t = dd_tensor_view(DD_F32, part[i].tensor->shape, part[i].tensor->data);
    }
    DD_TRY(dd_path_join(path, sizeof path, d->o.out, "last.safetensors"));
    DD_TRY(dd_st_write(e, n, &bytes, &size));
    const dd_status s = dd_write_file(path, bytes, size);
    dd_free(bytes);
    return s;
}

static dd_status finish(dd_driver *d)
{
    const bool best_is_older = d->best_accuracy >= 0 && d->best_at != d->done;
    char why[1000];
    if (best_is_older)
        DD_TRY(write_last(d));
    else if (dd_path_join(why, sizeof why, d->o.out, "last.safetensors") == DD_OK)
        dd_remove_file(why); /* of a shorter run that this one went on with */
    if (d->best_accuracy >= 0) DD_TRY(keep(d, false));
    const dd_status judged = judge(d);
    if (judged == DD_EINTERRUPTED) return interrupted(d);
    snprintf(why, sizeof why, "%.999s", judged == DD_OK ? "" : dd_last_error());
    DD_TRY(dd_record_set(d)); /* what was distilled is not lost with its judgement */
    return judged == DD_OK ? DD_OK
                           : dd_fail(judged, "%s; the set is in %s all the same, attar eval judges it", why, d->o.out);
}

/* A finished set must not be replaced by a run that begins again. */
static dd_status nothing_to_lose(const dd_driver *d)
{
    char set[1024];
    DD_TRY(dd_path_join(set, sizeof set, d->o.out, "set.safetensors"));
    if (!d->o.iterations || !dd_exists(set)) return DD_OK;
    return dd_fail(DD_EEXIST, "%s holds a finished set but no checkpoint to go on from; choose another --out",
                   d->o.out);
}

static dd_status run(dd_driver *d)
{
    bool found = false;
    DD_TRY(dd_budget_ask(d));
    DD_TRY(dd_driver_open(d));
    DD_TRY(claim_folder(d));
    const dd_status built = dd_driver_build(d);
    if (built == DD_EINTERRUPTED) {
        DD_TRY(write_config(d)); /* so that --resume finds its folder */
        return interrupted(d);
    }
    DD_TRY(built);
    if (d->o.resume) DD_TRY(dd_checkpoint_load(d, &found));
    if (d->r.notice[0] && d->o.log) d->o.log(d->o.self, d->r.notice);
    if (d->o.resume && !found) DD_TRY(nothing_to_lose(d));
    if (d->done > d->o.iterations)
        return dd_fail(DD_EINVAL,
                       "%s has %" PRId64 " iterations behind it, more than the %" PRId64
                       " asked for; ask for at least as many, or begin in another folder",
                       d->o.out, d->done, d->o.iterations);
    DD_TRY(write_config(d)); /* the iterations asked for may be others now */
    if (!found) DD_TRY(dd_record_open(d, 0));
    DD_TRY(iterate(d));
    return finish(d);
}

/* Resuming a finished run costs nothing, and must not put that in place of what the run cost. */
static bool worth_recording(const dd_driver *d)
{
    char path[1024];
    if (d->done > d->started_at || !d->o.resume) return true;
    return dd_path_join(path, sizeof path, d->o.out, "run.json") != DD_OK || !dd_exists(path);
}

dd_status dd_distill(dd_distill_result *out, const dd_distill_opts *o)
{
    memset(out, 0, sizeof *out);
    dd_driver *d = dd_alloc(1, sizeof *d);
    if (!d) return dd_fail(DD_ENOMEM, "out of memory for a run");
    const double start = dd_now();
    dd_driver_init(d, o);
    d->result = out;
    dd_status s = run(d);
    out->iterations = d->done;
    out->seconds = dd_now() - start;
    out->peak_bytes = dd_peak_memory();
    if (s == DD_OK && worth_recording(d)) s = write_text(d, "run.json", dd_record_run);
    if (s == DD_OK && d->o.profile) dd_take_profile(d, &out->profile);
    snprintf(out->differs, sizeof out->differs, "%s", d->differs);
    out->profile.wall = out->seconds;
    dd_driver_close(d);
    return s;
}
