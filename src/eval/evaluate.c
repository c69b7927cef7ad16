/* SPDX-License-Identifier: Apache-2.0
 *
 * How good is a small training set: train fresh networks on it by a protocol, test each once at the end.
 * Progress counts epochs over all networks. A network whose loss stops being a number is tested as it stands, so
 * that one bad start does not end a long run. Knows nn, data, tensor, base. */
#include "eval/fit.h"
#include "eval/krr.h"

#include "base/fs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct job {
    const dd_dataset *d;
    const dd_split *split;
    const int32_t *items;
    int64_t nitems;
    const dd_protocol *p;
    int64_t repeats;
    dd_key key;
    dd_train_fn fn;
    void *self;
    double rate;
    int64_t steps; /* of one network */
} job;

static double rate_now(const void *self, int64_t step)
{
    (void)step;
    return ((const job *)self)->rate;
}

/* A rise over the warm-up, then a cosine to a hundredth. */
static double rate_with_warmup(const void *self, int64_t step)
{
    const job *j = self;
    const double up = (double)j->p->warmup, at = (double)step, all = (double)j->steps;
    if (at < up) return j->rate * at / up;
    const double way = all > up ? (at - up) / (all - up) : 1;
    return j->rate * (0.99 * (1 + cos(3.14159265358979323846 * way)) / 2 + 0.01);
}

static dd_status check_labels(const dd_tensor *labels, int64_t m, int64_t classes)
{
    char text[128];
    const bool soft = labels->dtype == DD_F32 && dd_shape_equal(labels->shape, DD_SHAPE(m, classes));
    const bool hard = labels->dtype == DD_I32 && dd_shape_equal(labels->shape, DD_SHAPE(m));
    if (!soft && !hard)
        return dd_fail(DD_EINVAL,
                       "labels of %" PRId64 " images must be i32 [%" PRId64 "] or f32 [%" PRId64 ",%" PRId64
                       "], these are %s %s",
                       m, m, m, classes, dd_dtype_name(labels->dtype), dd_shape_text(labels->shape, text, sizeof text));
    for (int64_t i = 0; hard && i < m; i++)
        if (dd_i32(labels)[i] < 0 || dd_i32(labels)[i] >= classes)
            return dd_fail(DD_EINVAL, "label %" PRId32 " of image %" PRId64 " is outside 0..%" PRId64,
                           dd_i32(labels)[i], i, classes - 1);
    return DD_OK;
}

static dd_status check_steps(const dd_tensor *images, const job *j)
{
    const dd_tensor *r = j->p->rates;
    if (!r)
        return j->p->in_steps ? dd_fail(DD_EINVAL, "protocol %s needs the learning rates of a set", j->p->name) : DD_OK;
    if (images->shape.dim[0] % j->d->classes || j->p->epochs + 1 > dd_shape_count(r->shape))
        return dd_fail(DD_EINVAL,
                       "protocol %s makes at most %" PRId64
                       " steps, one for each learning rate of the set, on as many images "
                       "of each class; these are %" PRId64 " steps on %" PRId64 " images of %" PRId64 " classes",
                       j->p->name, dd_shape_count(r->shape), j->p->epochs + 1, images->shape.dim[0], j->d->classes);
    return DD_OK;
}

static dd_status check(const dd_tensor *images, const dd_tensor *labels, const job *j)
{
    char text[128];
    const dd_dataset *d = j->d;
    const dd_shape s = images->shape;
    if (images->dtype != DD_F32 || s.rank != 4 || s.dim[0] < 1 || s.dim[1] != d->c || s.dim[2] != d->h ||
        s.dim[3] != d->w)
        return dd_fail(DD_EINVAL, "images must be f32 [M,%" PRId64 ",%" PRId64 ",%" PRId64 "] as in %s, these are %s",
                       d->c, d->h, d->w, d->name, dd_shape_text(s, text, sizeof text));
    if (j->repeats < 1 || j->repeats > 64)
        return dd_fail(DD_EINVAL, "an evaluation trains 1 to 64 networks, not %" PRId64, j->repeats);
    if (j->p->epochs < 0 || j->p->batch < 1 || !(j->p->lr >= 0))
        return dd_fail(DD_EINVAL,
                       "protocol %s needs epochs >= 0, batch >= 1 and lr >= 0, not %" PRId64 ", %" PRId64 ", %g",
                       j->p->name, j->p->epochs, j->p->batch, j->p->lr);
    DD_TRY(check_steps(images, j));
    return check_labels(labels, s.dim[0], d->classes);
}

static dd_status report(const job *j, int64_t r, int64_t epoch, double loss, double accuracy)
{
    const int64_t span = dd_protocol_span(j->p), all = j->p->kernel[0] ? span : j->repeats * span;
    if (!j->fn || j->fn(j->self, r * span + epoch, all, loss, accuracy)) return DD_OK;
    if (j->p->kernel[0]) return dd_fail(DD_EINTERRUPTED, "the evaluation was stopped after %" PRId64 " %%", epoch);
    return dd_fail(DD_EINTERRUPTED, "the evaluation was stopped after epoch %" PRId64 " of network %" PRId64, epoch,
                   r + 1);
}

/* As the DD family trains: no shuffling, one learning rate a step. */
static dd_status few_steps(dd_fit *f, job *j, int64_t r, dd_key key, double *loss)
{
    const int64_t steps = j->p->epochs + 1, sets = f->src.n / j->d->classes;
    if (j->p->start) DD_TRY(dd_tensor_copy(dd_trainer_theta(f->trainer), j->p->start));
    for (int64_t t = 0; t < steps; t++) {
        DD_TRY(dd_fit_strided(f, t % sets, sets, (double)dd_f32(j->p->rates)[t], dd_key_at(key, "step", (uint64_t)t),
                              loss));
        DD_TRY(report(j, r, t + 1, *loss, -1));
        if (!isfinite(*loss)) break;
    }
    return DD_OK;
}

static dd_status epochs(dd_fit *f, job *j, int64_t r, dd_key key, double *loss)
{
    const dd_rate_fn rate = j->p->warmup > 0 ? rate_with_warmup : rate_now;
    j->steps = (j->p->epochs + 1) * dd_fit_steps(f);
    for (int64_t e = 0; e < j->p->epochs + 1; e++) {
        DD_TRY(dd_fit_epoch(f, e, rate, j, key, loss));
        DD_TRY(report(j, r, e + 1, *loss, -1));
        if (!isfinite(*loss)) break;
        if (e == j->p->epochs / 2 + 1 && !j->p->adam && !j->p->centred) {
            j->rate *= 0.1;
            dd_trainer_restart(f->trainer);
        }
    }
    return DD_OK;
}

static dd_status one_network(dd_fit *f, job *j, int64_t r, double *accuracy, double *loss)
{
    const dd_key key = dd_key_at(j->key, "network", (uint64_t)r);
    j->rate = j->p->lr;
    DD_TRY(dd_trainer_reset(f->trainer, dd_key_at(key, "theta", 0)));
    DD_TRY(j->p->rates ? few_steps(f, j, r, key, loss) : epochs(f, j, r, key, loss));
    DD_TRY(dd_fit_accuracy(f->trainer, j->d, j->split, j->items, j->nitems, j->p->test_batch, accuracy));
    return report(j, r, j->p->epochs + 1, *loss, *accuracy);
}

static void summarise(dd_eval_result *out, double losses)
{
    const double n = (double)out->repeats;
    double sum = 0, squares = 0;
    for (int64_t r = 0; r < out->repeats; r++) sum += out->accuracy[r];
    out->mean = sum / n;
    for (int64_t r = 0; r < out->repeats; r++)
        squares += (out->accuracy[r] - out->mean) * (out->accuracy[r] - out->mean);
    out->std = sqrt(squares / n);
    out->train_loss = losses / n;
}

static dd_status all_networks(dd_eval_result *out, dd_fit *f, job *j)
{
    double losses = 0;
    for (int64_t r = 0; r < j->repeats; r++) {
        double loss = 0;
        DD_TRY(one_network(f, j, r, &out->accuracy[r], &loss));
        losses += loss;
    }
    out->repeats = j->repeats;
    summarise(out, losses);
    return DD_OK;
}

static dd_status tested(void *self, int64_t done, int64_t all)
{
    return report(self, 0, done * (dd_protocol_span(((job *)self)->p) - 1) / all, 0, -1);
}

/* No network, so every repeat is the same. */
static dd_status by_kernel(dd_eval_result *out, dd_backend *b, const dd_tensor *images, const dd_tensor *labels, job *j)
{
    double accuracy;
    DD_TRY(dd_krr_accuracy(&accuracy, &out->ridge, b, j->d, images, labels, j->split, j->items, j->nitems, j->p, tested,
                           j));
    for (int64_t r = 0; r < j->repeats; r++) out->accuracy[r] = accuracy;
    DD_TRY(report(j, 0, dd_protocol_span(j->p), 0, accuracy));
    out->kernel = true;
    out->repeats = j->repeats;
    summarise(out, 0);
    return DD_OK;
}

/* DC's own augmentation changes batches on the host, DSA is part of the training graph: a protocol has one or none. */
static dd_status parse_aug(const char *text, dd_aug *dsa, unsigned *dc)
{
    dsa->list = *dc = 0;
    return dd_dc_aug_named(text) ? dd_dc_aug_parse(dc, text) : dd_aug_parse(dsa, text);
}

static dd_status run(dd_eval_result *out, dd_backend *b, const dd_net *net, dd_fit_source src, job *j)
{
    dd_trainer_opts o = {.adam = j->p->adam,
                         .squared = j->p->squared,
                         .centred = j->p->centred,
                         .momentum = j->p->momentum,
                         .weight_decay = j->p->weight_decay};
    dd_trainer *t = NULL;
    dd_fit f = {0};
    unsigned dc;
    DD_TRY(parse_aug(j->p->aug, &o.aug, &dc));
    DD_TRY(dd_trainer_new(&t, b, net, &o));
    dd_status st = dd_fit_init(&f, t, j->d, src, j->d->c * j->d->h * j->d->w, j->p->batch);
    if (st == DD_OK) st = dd_dc_aug_init(&f.dc, dc, dd_net_image(net));
    if (st == DD_OK) st = all_networks(out, &f, j);
    dd_fit_fini(&f);
    return st;
}

/* A protocol that regresses trains a network of batch norm without it, as FRePo's authors do. */
static dd_status open_net(dd_net **out, const char *spec, const dd_dataset *d, const dd_protocol *p)
{
    const dd_image im = {d->c, d->h, d->w};
    char plain[DD_OPT_TEXT];
    DD_TRY(dd_net_open(out, spec, im, d->classes));
    if (!p->squared || !dd_net_stats(*out)) return DD_OK;
    dd_net_close(*out);
    *out = NULL;
    if (snprintf(plain, sizeof plain, "%s%cnorm=none", spec, strchr(spec, ':') ? ',' : ':') >= (int)sizeof plain)
        return dd_fail(DD_EINVAL,
                       "the network's name is too long for norm=none in it, with which protocol %s trains it", p->name);
    return dd_net_open(out, plain, im, d->classes);
}

/* Targets of a regression, times `scale`: those that the set has, or of hard labels one-hot less 1/C. */
static dd_status targets(dd_tensor *out, const dd_tensor *labels, int64_t n, int64_t classes, double scale)
{
    const bool hard = labels->dtype == DD_I32;
    DD_TRY(dd_tensor_init(out, DD_F32, DD_SHAPE(n, classes)));
    for (int64_t i = 0; i < n * classes; i++) {
        const double y = hard ? (double)(dd_i32(labels)[i / classes] == i % classes) - 1 / (double)classes
                              : (double)dd_f32(labels)[i];
        dd_f32(out)[i] = (float)(scale * y);
    }
    return DD_OK;
}

dd_status dd_evaluate(dd_eval_result *out, dd_backend *b, const char *net, const dd_dataset *d, const dd_tensor *images,
                      const dd_tensor *labels, const dd_split *split, const int32_t *items, int64_t nitems,
                      const dd_protocol *p, int64_t repeats, dd_key key, dd_train_fn fn, void *self)
{
    job j = {d, split, items, items ? nitems : split->n, p, repeats, key, fn, self, 0, 0};
    const double start = dd_now();
    dd_net *n = NULL;
    memset(out, 0, sizeof *out);
    DD_TRY(check(images, labels, &j));
    if (p->kernel[0]) {
        const dd_status judged = by_kernel(out, b, images, labels, &j);
        out->seconds = dd_now() - start;
        return judged;
    }
    DD_TRY(open_net(&n, net, d, p));
    snprintf(out->net, sizeof out->net, "%s", dd_net_spec(n));
    if (p->start && dd_shape_count(p->start->shape) != dd_net_size(n)) {
        const int64_t size = dd_net_size(n);
        dd_net_close(n);
        return dd_fail(DD_EINVAL, "the set was made for a network of %" PRId64 " parameters, %s has %" PRId64,
                       dd_shape_count(p->start->shape), net, size);
    }
    const int64_t m = images->shape.dim[0];
    dd_tensor own = {0};
    dd_status st = p->squared ? targets(&own, labels, m, d->classes, p->scale) : DD_OK;
    const dd_fit_source src = {images, own.data ? &own : labels, NULL, m};
    if (st == DD_OK) st = run(out, b, n, src, &j);
    dd_tensor_fini(&own);
    dd_net_close(n);
    out->seconds = dd_now() - start;
    return st;
}
