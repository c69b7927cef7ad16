/* SPDX-License-Identifier: Apache-2.0
 *
 * How many iterations fit a time. A driver of its own measures what `attar plan` measures, before the run is opened,
 * so that whatever a method lays out on the length of the run sees the number that was chosen. Knows what the driver
 * knows. */
#include "base/fs.h"
#include "method/driver_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* 90 -> "90 s", 1800 -> "30 min", 9000 -> "2.5 h". */
static const char *time_text(char *buf, size_t size, double seconds)
{
    if (seconds < 99)
        snprintf(buf, size, "%.2g s", seconds);
    else if (seconds < 7200)
        snprintf(buf, size, "%.3g min", seconds / 60);
    else
        snprintf(buf, size, "%.3g h", seconds / 3600);
    return buf;
}

static int64_t networks(const dd_driver *d, int64_t n)
{
    const int64_t every = d->o.eval_every, selecting = every ? n / every + (n % every != 0) : 0;
    return dd_plan_judged(d) + selecting;
}

static double seconds(const dd_driver *d, const dd_distill_plan *p, double fixed, int64_t n)
{
    return fixed + (double)n * p->per_iteration + (double)networks(d, n) * p->per_network;
}

static dd_status nothing_fits(const dd_driver *d, const dd_distill_plan *p, double fixed)
{
    char budget[24], opening[24], one[24], network[24], least[24];
    return dd_fail(DD_EINVAL,
                   "a budget of %s allows no iteration: measuring and opening take %s, %" PRId64
                   " networks of the evaluation %s each, an iteration %s; give %s at least, or have fewer networks "
                   "trained for fewer epochs",
                   time_text(budget, sizeof budget, d->o.budget), time_text(opening, sizeof opening, fixed),
                   networks(d, 1), time_text(network, sizeof network, p->per_network),
                   time_text(one, sizeof one, p->per_iteration),
                   time_text(least, sizeof least, ceil(seconds(d, p, fixed, 1))));
}

dd_status dd_budget_fit(const dd_driver *d, const dd_distill_plan *p, double fixed, int64_t n, int64_t *out)
{
    char budget[24], line[160];
    int64_t least = 0, most = n; /* the cost grows with n: what fits lies in least .. most */
    while (least < most) {
        const int64_t half = least + (most - least + 1) / 2;
        if (seconds(d, p, fixed, half) <= d->o.budget)
            least = half;
        else
            most = half - 1;
    }
    if (!least) return nothing_fits(d, p, fixed);
    time_text(budget, sizeof budget, d->o.budget);
    if (least < n)
        snprintf(line, sizeof line, "a budget of %s allows %" PRId64 " of %" PRId64 " iterations", budget, least, n);
    else
        snprintf(line, sizeof line, "a budget of %s allows all %" PRId64 " iterations", budget, n);
    if (d->o.log) d->o.log(d->o.self, line);
    *out = least;
    return DD_OK;
}

/* A run that measures, and ends where the budget does. */
typedef struct trial {
    const dd_distill_opts *o;
    double start;
    bool late;
} trial;

static bool on_progress(void *self, const dd_progress *p)
{
    trial *t = self;
    t->late = dd_now() - t->start > t->o->budget;
    return !t->late && (!t->o->progress || t->o->progress(t->o->self, p));
}

static dd_status too_late(const trial *t)
{
    char budget[24], spent[24];
    return dd_fail(DD_EINVAL,
                   "a budget of %s allows no iteration: after %s an iteration and some epochs of a network were not "
                   "measured yet; give more, or see attar plan without a budget",
                   time_text(budget, sizeof budget, t->o->budget), time_text(spent, sizeof spent, dd_now() - t->start));
}

static dd_status measure(dd_driver *d, dd_driver *m, trial *t)
{
    dd_distill_plan p = {0};
    double opened = 0, judging = 0;
    m->o.log = NULL; /* it says nothing that the run will not say */
    m->o.plan = NULL;
    m->o.profile = m->o.resume = false;
    m->o.progress = on_progress;
    m->o.self = t;
    const dd_status s = dd_plan_measure(m, &p, &opened, &judging);
    if (s == DD_EINTERRUPTED && t->late) return too_late(t);
    DD_TRY(s);
    m->o.log = d->o.log;
    m->o.self = d->o.self;
    const double spent = dd_now() - t->start;
    return m->o.iterations
               ? dd_budget_fit(m, &p, spent + opened + (d->o.plan ? judging : 0), m->o.iterations, &d->allowed)
               : DD_OK;
}

dd_status dd_budget_ask(dd_driver *d)
{
    char config[1024];
    trial t = {.o = &d->o, .start = dd_now()};
    if (!(d->o.budget > 0) || !d->o.out[0]) return DD_OK;
    DD_TRY(dd_path_join(config, sizeof config, d->o.out, "config.json"));
    if (dd_exists(config)) return d->o.resume ? dd_record_iterations(config, &d->allowed) : DD_OK; /* to be refused */
    dd_driver *m = dd_alloc(1, sizeof *m);
    if (!m) return dd_fail(DD_ENOMEM, "out of memory for a plan");
    dd_driver_init(m, &d->o);
    const dd_status s = measure(d, m, &t);
    dd_driver_close(m);
    return s;
}
