/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run will cost, measured on its own programs: everything is opened and compiled as for the run, a few
 * iterations are made and a network is trained for a few epochs, and the rest is multiplication. Memory is what the
 * process has used by then, for programs allocate nothing after their first run, or what will be held later: files that
 * are written, random images. Knows what the driver knows. */
#include "base/fs.h"
#include "eval/krr.h"
#include "method/driver_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITERATIONS = 8,
    MANY = 1000,
    EPOCHS = 12,
    FEW_BATCHES = 2,
    MORE_BATCHES = 10,
    MORE_ITEMS = 2000,
    METRICS_LINE = 48
};
static const double most_patience = 4; /* seconds for iterations, and again for epochs, after the first of each */

typedef struct stopwatch {
    dd_driver *d;
    double start, at[EPOCHS + 1]; /* at: the end of each epoch */
    int n;
    bool stopped; /* by the caller, not for the time it takes */
} stopwatch;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, by_value);
    return n ? t[n / 2] : 0;
}

/* What is measured is part of a budget, of which it should not take much. */
static double patience(const dd_driver *d)
{
    const double part = d->o.budget / 30;
    return d->o.budget > 0 && part < most_patience ? part : most_patience;
}

static dd_status time_iterations(dd_driver *d, dd_distill_plan *out)
{
    double t[ITERATIONS], spent = 0;
    const bool budget = d->o.budget > 0; /* asks for what they take on the whole, with what else the machine does */
    int n = 0;
    if (!d->o.iterations) return DD_OK;
    const double first = dd_now();
    DD_TRY(d->method->iterate(&d->r, d->state, 0)); /* memory is touched for the first time */
    out->per_iteration = dd_now() - first;
    /* one more is surer, as nothing is touched for the first time, unless it takes much of the budget */
    if (budget && !d->o.profile && out->per_iteration > d->o.budget / 20) return DD_OK;
    if (d->o.profile) DD_TRY(dd_backend_profile(d->r.backend, true));
    while (n < (budget ? MANY : ITERATIONS) && (n == 0 || spent < patience(d))) {
        const double start = dd_now();
        DD_TRY(d->method->iterate(&d->r, d->state, n + 1));
        const double took = dd_now() - start;
        if (n < ITERATIONS) t[n] = took;
        spent += took;
        n++;
    }
    if (d->o.profile) {
        dd_take_profile(d, &out->profile);
        DD_TRY(dd_backend_profile(d->r.backend, false));
        out->profile.wall = spent;
    }
    out->per_iteration = budget ? spent / n : median(t, n);
    return DD_OK;
}

static bool on_epoch(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    stopwatch *w = self;
    (void)epochs, (void)loss;
    if (accuracy >= 0) return true; /* the test, not an epoch */
    w->stopped = !dd_driver_report(w->d);
    if (!epoch) return !w->stopped; /* before the first part of a test by kernel */
    w->at[w->n++] = dd_now();
    return !w->stopped && w->n <= EPOCHS && (w->n < 3 || w->at[w->n - 1] - w->at[0] < patience(w->d));
}

/* One network of the protocol for `epochs` + 1 epochs, tested on the listed images of a split. */
static dd_status train_and_test(dd_driver *d, int64_t epochs, const dd_split *split, const int32_t *list, int64_t items,
                                stopwatch *w)
{
    dd_protocol p = d->protocol;
    dd_eval_result r;
    if (!p.rates || epochs < p.epochs) p.epochs = epochs; /* of few steps there are no more */
    *w = (stopwatch){.d = d, .start = dd_now()};
    const dd_status s = dd_evaluate(&r, d->r.backend, d->o.net, d->data, &d->r.syn->images,
                                    dd_synset_labels(d->r.syn, dd_protocol_regresses(&d->protocol)), split, list, items,
                                    &p, 1, dd_key_at(d->r.key, "plan", 0), on_epoch, w);
    return s == DD_EINTERRUPTED && !w->stopped ? DD_OK : s;
}

/* The same on the first `items` test images. */
static dd_status train_one(dd_driver *d, int64_t epochs, int64_t items, stopwatch *w)
{
    int32_t list[MORE_ITEMS];
    for (int32_t i = 0; i < items; i++) list[i] = i;
    return train_and_test(d, epochs, &d->data->test, list, items, w);
}

/* Begins to watch anew how much is held. */
static void watch(dd_driver *d)
{
    const int64_t most = dd_memory_most(true);
    if (most > d->most) d->most = most;
}

/* What random real images take beside an evaluation of them. */
static int64_t random_room(const dd_driver *d)
{
    enum { REST = 4096 }; /* the blocks themselves */
    const int64_t images = (int64_t)dd_tensor_bytes(&d->r.syn->images), m = d->r.syn->m;
    if (!d->o.baselines || !d->o.eval_repeats) return 0;
    return images + (2 * d->nitems + 2 * m) * (int64_t)sizeof(int32_t) +
           (d->data->classes + 1) * (int64_t)sizeof(int64_t) + REST;
}

/* Median of the epochs after the first, which touches memory. */
static double epoch_seconds(const stopwatch *w)
{
    double t[EPOCHS + 1];
    if (w->n < 2) return w->n ? w->at[0] - w->start : 0;
    for (int i = 1; i < w->n; i++) t[i - 1] = w->at[i] - w->at[i - 1];
    return median(t, w->n - 1);
}

int64_t dd_plan_judged(const dd_driver *d)
{
    const int64_t repeats = d->o.eval_repeats, random = d->o.baselines ? repeats : 0;
    return (d->protocol.kernel[0] && repeats ? 1 : repeats) + random;
}

/* Seconds of an evaluation by kernel: three parts of a test tell what one takes, and what comes before the first. */
static dd_status plan_kernel(dd_driver *d, dd_distill_plan *out)
{
    dd_kernel *k;
    stopwatch w;
    DD_TRY(dd_kernel_open(&k, d->protocol.kernel, (dd_image){d->data->c, d->data->h, d->data->w}));
    const int64_t part = dd_krr_tests(k), all = d->data->test.n, most = all < MORE_ITEMS ? all : MORE_ITEMS;
    dd_kernel_close(k);
    DD_TRY(train_one(d, 0, 3 * part < most ? 3 * part : most, &w));
    const double first = w.at[0] - w.start, rest = w.n > 1 ? (w.at[w.n - 1] - w.at[0]) / (double)(w.n - 1) : first;
    const double parts = (double)((all + part - 1) / part);
    out->per_network = first + (parts - 1) * rest;
    d->most_evaluating = dd_memory_most(false);
    return DD_OK;
}

/* Seconds of one network: its epochs and its test. The first run warms up, the next two tell what a test image costs.
 */
dd_status dd_plan_networks(dd_driver *d, dd_distill_plan *out)
{
    const int64_t batch = d->protocol.test_batch, tests = d->data->test.n < MORE_ITEMS ? d->data->test.n : MORE_ITEMS;
    const int64_t few = tests < FEW_BATCHES * batch ? tests : FEW_BATCHES * batch,
                  more = tests < MORE_BATCHES * batch ? tests : MORE_BATCHES * batch; /* whole batches: one program */
    stopwatch w;
    if (!d->o.eval_repeats && !d->o.eval_every) return DD_OK;
    watch(d);
    if (d->protocol.kernel[0]) return plan_kernel(d, out);
    DD_TRY(train_one(d, EPOCHS, few, &w));
    const double epoch = epoch_seconds(&w);
    DD_TRY(train_one(d, 0, few, &w));
    const double short_test = dd_now() - w.at[0];
    DD_TRY(train_one(d, 0, more, &w));
    const double long_test = dd_now() - w.at[0];
    const double image = more > few && long_test > short_test ? (long_test - short_test) / (double)(more - few)
                                                              : long_test / (double)more;
    d->most_evaluating = dd_memory_most(false);
    out->per_network = (double)(d->protocol.epochs + 1) * epoch + image * (double)d->data->test.n;
    return DD_OK;
}

/* Test images that make a whole batch and the rest of n images; any number takes the same by kernel. */
static int64_t whole_and_rest(const dd_driver *d, int64_t n, int64_t batch)
{
    if (d->protocol.kernel[0]) return n < 1 ? n : 1;
    const int64_t items = n < batch ? n : batch + n % batch;
    return items < MORE_ITEMS ? items : MORE_ITEMS;
}

/* What an evaluation takes beside the memory that programs share: its tensors, and images of its own for random ones.
 */
static dd_status try_evaluation(dd_driver *d)
{
    const int64_t batch = d->protocol.test_batch, random = random_room(d);
    stopwatch w;
    watch(d);
    dd_memory_count(random);
    dd_status s = train_one(d, 0, whole_and_rest(d, d->data->test.n, batch), &w);
    if (s == DD_OK && d->o.eval_every && d->nval)
        s = train_and_test(d, 0, &d->data->train, d->val, whole_and_rest(d, d->nval, batch), &w);
    const int64_t taken = dd_memory_most(false) - dd_memory_held() + random;
    dd_memory_count(-random);
    if (taken > d->reserve) d->reserve = taken;
    return s;
}

dd_status dd_plan_fits(dd_driver *d)
{
    char why[300];
    if (!d->o.memory_limit) return DD_OK;
    d->reserve = 6 * (int64_t)dd_tensor_bytes(&d->r.syn->images); /* states to go back to, a checkpoint being written */
    if (!d->o.eval_repeats && !d->o.eval_every) return DD_OK;
    const dd_status s = try_evaluation(d);
    if (s != DD_ENOMEM) return s;
    snprintf(why, sizeof why, "%.299s", dd_last_error());
    if (d->o.resume) return dd_fail(DD_ENOMEM, "the evaluation does not fit: %s", why);
    return dd_fail(DD_ENOMEM,
                   "the evaluation does not fit: %s, or distil with --set eval_repeats=0%s and evaluate "
                   "elsewhere",
                   why, d->o.eval_every ? " --set eval_every=0" : "");
}

/* Evaluations that choose the best set, from here on. */
static int64_t selections(const dd_driver *d)
{
    const int64_t every = d->o.eval_every, n = d->o.iterations;
    return every ? n / every - d->done / every + (n % every != 0) : 0;
}

/* Resident memory of the run: what it was so far, or with what will be held later. */
static int64_t peak(dd_driver *d)
{
    const int64_t writing = dd_memory_held() + dd_checkpoint_size(d) + dd_guard_size(d),
                  random = d->most_evaluating ? d->most_evaluating + random_room(d) : 0;
    watch(d);
    const int64_t later = (writing > random ? writing : random) - d->most;
    return dd_peak_memory() + (later > 0 ? later : 0);
}

void dd_plan_finish(dd_driver *d, dd_distill_plan *out)
{
    const int64_t count = dd_shape_count(d->r.syn->images.shape);
    out->iterations = d->o.iterations - d->done;
    out->networks = dd_plan_judged(d) + selections(d);
    out->seconds = (double)out->iterations * out->per_iteration + (double)out->networks * out->per_network;
    out->peak_bytes = peak(d);
    out->disk_bytes = 2 * dd_checkpoint_size(d) + METRICS_LINE * out->iterations +
                      count * (int64_t)(sizeof(float) + 1) + (d->o.eval_every ? count * (int64_t)sizeof(float) : 0);
}

dd_status dd_plan_measure(dd_driver *d, dd_distill_plan *out, double *opened, double *judging)
{
    const double start = dd_now();
    DD_TRY(dd_driver_open(d));
    DD_TRY(dd_driver_build(d));
    *opened = dd_now() - start;
    DD_TRY(time_iterations(d, out));
    const double before = dd_now();
    DD_TRY(dd_plan_networks(d, out));
    *judging = dd_now() - before;
    return DD_OK;
}

/* What was measured is part of a budget, and the run opens everything once more. */
static dd_status measure(dd_driver *d, dd_distill_plan *out)
{
    const double start = dd_now();
    double opened, judging, fixed;
    DD_TRY(dd_plan_measure(d, out, &opened, &judging));
    fixed = dd_now() - start + opened + judging;
    if (d->o.budget > 0 && d->o.iterations) DD_TRY(dd_budget_fit(d, out, fixed, d->o.iterations, &d->o.iterations));
    dd_plan_finish(d, out);
    out->seconds += d->o.budget > 0 ? fixed : opened;
    return DD_OK;
}

dd_status dd_distill_estimate(dd_distill_plan *out, const dd_distill_opts *o)
{
    memset(out, 0, sizeof *out);
    if (o->resume) return dd_fail(DD_EINVAL, "a plan is that of a whole run: leave resume out");
    dd_driver *d = dd_alloc(1, sizeof *d);
    if (!d) return dd_fail(DD_ENOMEM, "out of memory for a plan");
    dd_driver_init(d, o);
    const dd_status s = measure(d, out);
    dd_driver_close(d);
    return s;
}
