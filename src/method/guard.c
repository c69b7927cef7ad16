/* SPDX-License-Identifier: Apache-2.0
 *
 * What an iteration that went wrong, or was stopped in its middle, leaves behind: the last good state. A state is good
 * when an iteration began from it and its loss was none to stop at, so two are kept: the one before the iteration at
 * hand, and the one before the last update. Knows what the driver knows. */
#include "method/driver_internal.h"

#include <inttypes.h>
#include <math.h>

enum {
    EXPLODED = 10000, /* times the first loss: no method comes back from there */
    ROW = 50,         /* iterations without an update in a row, where they are rare: the last update was a wrong one */
    MOST_ROW = 100    /* where they are not */
};
static const float most_pixel = 1e6f, most_rate = 1e3f, least_rate = 1e-12f;

static int all_parts(const dd_driver *d, dd_saved out[DD_PARTS + 8])
{
    const int n = dd_set_parts(d->r.syn, out);
    return n + (d->method->saved ? d->method->saved(d->state, out + n) : 0);
}

/* Both at once, before the first iteration, so that memory does not end later. */
static dd_status allocate(dd_driver *d)
{
    dd_saved part[DD_PARTS + 8];
    const int n = all_parts(d, part);
    for (int i = 0; i < n; i++) {
        DD_TRY(dd_tensor_init(&d->before.part[i], part[i].tensor->dtype, part[i].tensor->shape));
        DD_TRY(dd_tensor_init(&d->good.part[i], part[i].tensor->dtype, part[i].tensor->shape));
    }
    return DD_OK;
}

dd_status dd_guard_before(dd_driver *d)
{
    dd_saved part[DD_PARTS + 8];
    if (d->method->brief) return DD_OK;
    const int n = all_parts(d, part);
    if (!d->before.part[0].data) DD_TRY(allocate(d));
    if (!d->row) { /* what was before is before an update now */
        const dd_moment m = d->good;
        d->good = d->before;
        d->before = m;
    }
    for (int i = 0; i < n; i++) DD_TRY(dd_tensor_copy(&d->before.part[i], part[i].tensor));
    d->before.there = true;
    d->before.done = d->done;
    d->before.skipped = d->skipped;
    d->before.row = d->row;
    d->before.epochs = d->r.epochs;
    d->before.metrics = dd_record_length(d);
    return DD_OK;
}

static dd_status go_back(dd_driver *d, const dd_moment *m)
{
    dd_saved part[DD_PARTS + 8];
    const int n = all_parts(d, part);
    for (int i = 0; i < n; i++) DD_TRY(dd_tensor_copy(part[i].tensor, &m->part[i]));
    d->done = m->done;
    d->skipped = m->skipped;
    d->row = m->row;
    d->r.epochs = m->epochs;
    d->unsure = d->unsure || d->saved > d->done; /* a checkpoint of what is left is not kept as the one before */
    if (d->best_at > d->done) {
        d->best_accuracy = -1;
        d->best_at = 0;
    }
    return dd_record_open(d, m->metrics);
}

dd_status dd_guard_stopped(dd_driver *d)
{
    return d->before.there ? go_back(d, &d->before) : DD_OK; /* the iteration of a brief method changed nothing */
}

dd_status dd_guard_rest(dd_driver *d)
{
    return d->row && d->good.there ? go_back(d, &d->good) : DD_OK;
}

int64_t dd_guard_size(const dd_driver *d)
{
    dd_saved part[DD_PARTS + 8];
    const int n = d->method->brief || d->before.part[0].data ? 0 : all_parts(d, part);
    int64_t bytes = 0;
    for (int i = 0; i < n; i++) bytes += 2 * (int64_t)dd_tensor_bytes(part[i].tensor);
    return bytes;
}

void dd_guard_free(dd_driver *d)
{
    for (size_t i = 0; i < DD_LEN(d->before.part); i++) {
        dd_tensor_fini(&d->before.part[i]);
        dd_tensor_fini(&d->good.part[i]);
    }
}

/* --- what can be wrong --- */

/* The least and the largest magnitude in t; *most is what is no number, where there is such a thing. */
static void magnitudes(const dd_tensor *t, float *least, float *most)
{
    *least = INFINITY;
    *most = 0;
    for (int64_t i = 0, n = dd_shape_count(t->shape); i < n && isfinite(*most); i++) {
        const float x = fabsf(dd_f32(t)[i]);
        if (!(x <= *most)) *most = x;
        if (x < *least) *least = x;
    }
}

/* The loss, by which the state before the iteration is judged. */
static bool wrong_loss(const dd_driver *d, char *why, size_t size)
{
    const int64_t others = d->done - d->row, skipped = d->skipped - d->row;
    if (d->r.skipped) {
        if (others == skipped || d->row < (4 * skipped <= others ? ROW : MOST_ROW)) return false;
        snprintf(why, size, "%" PRId64 " in a row had made no update, the last loss is %.3g", d->row, d->r.loss);
        return true;
    }
    if (isnan(d->r.loss))
        snprintf(why, size, "the loss is no number");
    else if (!isfinite(d->r.loss) || (fabs(d->first_loss) > 0 && fabs(d->r.loss) > EXPLODED * fabs(d->first_loss)))
        snprintf(why, size, "the loss is %.3g, and was %.3g at first", d->r.loss, d->first_loss);
    else
        return false;
    return true;
}

/* The set, by which the update is judged. */
static bool wrong_set(const dd_driver *d, char *why, size_t size)
{
    dd_saved part[DD_PARTS];
    const int n = dd_set_parts(d->r.syn, part);
    for (int i = 0; i < n; i++) {
        const bool rate = part[i].tensor == &d->r.syn->lr;
        float least, most;
        magnitudes(part[i].tensor, &least, &most);
        const bool large = !(most <= (rate ? most_rate : most_pixel));
        if (!large && (!rate || least >= least_rate)) continue;
        const char *what = i ? "a label" : "a pixel";
        snprintf(why, size, "%s is %.3g", rate ? "a step size" : what, (double)(large ? most : least));
        return true;
    }
    return false;
}

/* Back to a state that was good, which becomes the checkpoint and the set. Where none is in memory, since the method is
 * brief or the run went on with a wrong state, that of a checkpoint: the last one, or the one before that state. */
static dd_status diverged(dd_driver *d, const char *why, const dd_moment *to)
{
    const int64_t at = d->done;
    const char *rates = d->method->rates ? d->method->rates : "lr_img";
    bool found = false;
    if (!to->there && !d->method->brief) DD_TRY(dd_checkpoint_older(d, &found));
    if (!to->there && d->method->brief) DD_TRY(dd_checkpoint_load(d, &found));
    if (!found && !to->there) to = &d->before; /* there is no better one */
    if (!found && to->there) {
        DD_TRY(go_back(d, to));
        DD_TRY(dd_checkpoint_save(d));
        found = true;
    }
    if (!found)
        return dd_fail(DD_ENUMERIC,
                       "after iteration %" PRId64 " %s, and no checkpoint was written yet: try a smaller %s in another "
                       "folder",
                       at, why, rates);
    d->best_accuracy = -1; /* the set is the one to go on from, not the best */
    DD_TRY(dd_record_set(d));
    return dd_fail(DD_ENUMERIC,
                   "after iteration %" PRId64 " %s; %s keeps the checkpoint and the set of iteration %" PRId64
                   ", not evaluated: try a smaller %s in another folder",
                   at, why, d->o.out, d->done, rates);
}

dd_status dd_guard_after(dd_driver *d)
{
    char why[128];
    d->row = d->r.skipped ? d->row + 1 : 0;
    d->skipped += d->r.skipped;
    if (!d->r.skipped && d->done - d->skipped == 1) d->first_loss = d->r.loss;
    if (wrong_loss(d, why, sizeof why)) return diverged(d, why, &d->good);
    if (!d->r.skipped && wrong_set(d, why, sizeof why)) return diverged(d, why, &d->before);
    return d->row == MOST_ROW ? dd_guard_end(d) : DD_OK;
}

dd_status dd_guard_end(const dd_driver *d)
{
    char line[160];
    if (!d->skipped) return DD_OK;
    if (d->skipped == d->done)
        return dd_fail(DD_ENUMERIC,
                       "none of the %" PRId64 " iterations made an update, their loss was too large or no number: the "
                       "set is as it was at first; lower lr_init or syn_steps, or raise threshold, in another folder",
                       d->done);
    snprintf(line, sizeof line, "%" PRId64 " of %" PRId64 " iterations made no update: loss too large or no number",
             d->skipped, d->done);
    if (d->o.log) d->o.log(d->o.self, line);
    return DD_OK;
}
