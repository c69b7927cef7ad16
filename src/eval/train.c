/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordinary training on real data: the upper bound a synthetic set is measured against, and the source of trained
 * networks. Augmentation gives every image all strategies of the list at once ("crop_flip" shifts and mirrors), not
 * one a batch as DSA does. Knows nn, data, tensor, base. */
#include "eval/fit.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct schedule {
    const dd_train_opts *o;
    int64_t steps; /* of the whole training */
} schedule;

static double rate_at(const void *self, int64_t step)
{
    const schedule *s = self;
    const double part = (double)step / (double)s->steps;
    if (!strcmp(s->o->schedule, "cosine")) return s->o->lr * 0.5 * (1 + cos(3.14159265358979323846 * part));
    if (!strcmp(s->o->schedule, "step")) return s->o->lr * (part < 0.5 ? 1 : part < 0.75 ? 0.1 : 0.01);
    return s->o->lr;
}

static bool one_of(const char *word, const char *a, const char *b, const char *c)
{
    return !strcmp(word, a) || !strcmp(word, b) || !strcmp(word, c);
}

static dd_status check(const dd_train_opts *o, int64_t n)
{
    if (n < 1) return dd_fail(DD_EINVAL, "training needs at least one image");
    if (o->epochs < 1 || o->batch < 1 || !(o->lr >= 0))
        return dd_fail(DD_EINVAL,
                       "training needs epochs >= 1, batch >= 1 and lr >= 0, not %" PRId64 ", %" PRId64 ", %g",
                       o->epochs, o->batch, o->lr);
    if (!one_of(o->optimiser, "sgd", "adam", "adam"))
        return dd_fail(DD_EINVAL, "the optimiser is sgd or adam, not \"%s\"", o->optimiser);
    if (!one_of(o->schedule, "cosine", "step", "constant"))
        return dd_fail(DD_EINVAL, "the schedule is cosine, step or constant, not \"%s\"", o->schedule);
    return DD_OK;
}

typedef struct job {
    const dd_train_opts *o;
    const int32_t *val;
    int64_t nval;
    dd_key key;
    dd_train_fn fn;
    void *self;
} job;

static dd_status report(dd_fit *f, const job *j, int64_t epoch, double loss)
{
    double accuracy = -1;
    if (!isfinite(loss))
        return dd_fail(DD_ENUMERIC,
                       "the training loss is no number in epoch %" PRId64 "; lower the learning rate from %g",
                       epoch + 1, j->o->lr);
    if (!j->fn) return DD_OK;
    if (j->val && j->nval > 0) DD_TRY(dd_fit_accuracy(f->trainer, f->d, &f->d->train, j->val, j->nval, 256, &accuracy));
    if (j->fn(j->self, epoch + 1, j->o->epochs, loss, accuracy)) return DD_OK;
    return dd_fail(DD_EINTERRUPTED, "the training was stopped after epoch %" PRId64 " of %" PRId64, epoch + 1,
                   j->o->epochs);
}

static dd_status fit_all(dd_fit *f, const job *j, dd_tensor *theta, double *accuracy)
{
    const schedule s = {j->o, j->o->epochs * dd_fit_steps(f)};
    const dd_dataset *d = f->d;
    DD_TRY(dd_trainer_reset(f->trainer, dd_key_at(j->key, "theta", 0)));
    for (int64_t e = 0; e < j->o->epochs; e++) {
        double loss = 0;
        DD_TRY(dd_fit_epoch(f, e, rate_at, &s, j->key, &loss));
        DD_TRY(report(f, j, e, loss));
    }
    if (accuracy) DD_TRY(dd_fit_accuracy(f->trainer, d, &d->test, NULL, d->test.n, 256, accuracy));
    return dd_tensor_copy(theta, dd_trainer_theta(f->trainer));
}

static dd_status run(dd_tensor *theta, double *accuracy, dd_backend *b, const dd_net *net, const dd_dataset *d,
                     dd_fit_source src, const job *j)
{
    dd_trainer_opts o = {.adam = !strcmp(j->o->optimiser, "adam"),
                         .momentum = j->o->momentum,
                         .weight_decay = j->o->weight_decay,
                         .aug_all = true};
    dd_trainer *t = NULL;
    dd_fit f = {0};
    DD_TRY(dd_aug_parse(&o.aug, j->o->aug));
    DD_TRY(dd_trainer_new(&t, b, net, &o));
    dd_status st = dd_fit_init(&f, t, d, src, d->c * d->h * d->w, j->o->batch);
    if (st == DD_OK) st = fit_all(&f, j, theta, accuracy);
    dd_fit_fini(&f);
    return st;
}

dd_status dd_train(dd_tensor *theta, double *accuracy, dd_backend *b, const dd_net *net, const dd_dataset *d,
                   const int32_t *items, int64_t nitems, const int32_t *val, int64_t nval, const dd_train_opts *o,
                   dd_key key, dd_train_fn fn, void *self)
{
    const dd_fit_source src = {NULL, NULL, items, items ? nitems : d->train.n};
    const job j = {o, val, nval, key, fn, self};
    memset(theta, 0, sizeof *theta);
    DD_TRY(check(o, src.n));
    DD_TRY(dd_fit_check_net(net, d));
    DD_TRY(dd_tensor_init(theta, DD_F32, DD_SHAPE(dd_net_size(net))));
    const dd_status st = run(theta, accuracy, b, net, d, src, &j);
    if (st != DD_OK) dd_tensor_fini(theta);
    return st;
}
