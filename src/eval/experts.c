/* SPDX-License-Identifier: Apache-2.0
 *
 * Training of experts. The snapshots that are there are the checkpoint: with momentum 0 the weights after an epoch are
 * all that the next one depends on, so an expert goes on from its last snapshot to the same bits. With momentum, or
 * where snapshots are rounded to bf16, they are not; an unfinished expert then begins again, and comes to the same bits
 * that way. Knows nn, data, tensor, base. */
#include "base/fs.h"
#include "eval/expert_store.h"
#include "eval/fit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct job {
    const dd_experts_opts *o;
    dd_expert_store s;
    dd_backend *b;
    const dd_net *net;
    dd_fit fit;
    dd_key key; /* of the expert at work */
    dd_experts_progress now;
    dd_experts_fn fn;
    void *self;
} job;

static dd_status check(const dd_experts_opts *o, const dd_dataset *d)
{
    if (d->train.n < 1) return dd_fail(DD_EINVAL, "training needs at least one image");
    if (o->experts < 1 || o->experts > DD_EXPERTS_MOST || o->expert_epochs < 1 ||
        o->expert_epochs > DD_EXPERT_EPOCHS_MOST)
        return dd_fail(DD_EINVAL, "experts are 1..%d, their epochs 1..%d, not %" PRId64 " and %" PRId64,
                       DD_EXPERTS_MOST, DD_EXPERT_EPOCHS_MOST, o->experts, o->expert_epochs);
    if (o->epoch_steps < 0 || o->epoch_steps > 1000000000)
        return dd_fail(DD_EINVAL, "epoch_steps is %" PRId64 ", it must be 0 for all batches, or 1..1000000000",
                       o->epoch_steps);
    if (o->batch < 1 || o->batch > 1000000000 || o->seed < 0)
        return dd_fail(DD_EINVAL,
                       "experts need 1..1000000000 images a batch and a seed >= 0, not %" PRId64 ", %" PRId64, o->batch,
                       o->seed);
    if (!(o->lr > 0) || !(o->momentum >= 0 && o->momentum <= 0.999) || !(o->weight_decay >= 0) || !isfinite(o->lr) ||
        !isfinite(o->weight_decay))
        return dd_fail(DD_EINVAL, "experts need lr > 0, momentum in 0..0.999 and weight_decay >= 0, not %g, %g, %g",
                       o->lr, o->momentum, o->weight_decay);
    if (strcmp(o->store, "float32") != 0 && strcmp(o->store, "bf16") != 0)
        return dd_fail(DD_EINVAL, "experts are stored as float32 or bf16, not \"%s\"", o->store);
    return DD_OK;
}

static dd_status augmentation(const job *j, const dd_dataset *d, dd_aug *out)
{
    dd_protocol p;
    if (strcmp(j->o->aug, "auto") != 0) return dd_aug_parse(out, j->o->aug);
    DD_TRY(dd_protocol_named(&p, "dsa", d, j->net));
    return dd_aug_parse(out, p.aug);
}

static dd_status describe(job *j, const dd_dataset *d, dd_aug aug)
{
    dd_expert_facts *f = &j->s.facts;
    DD_TRY(dd_expert_facts_of(f, d, j->net));
    snprintf(f->optimiser, sizeof f->optimiser, "sgd");
    f->lr = j->o->lr;
    f->momentum = j->o->momentum;
    f->weight_decay = j->o->weight_decay;
    f->batch = j->o->batch;
    f->epoch_steps = j->o->epoch_steps;
    dd_aug_text(aug, f->aug, sizeof f->aug);
    f->seed = j->o->seed;
    snprintf(f->store, sizeof f->store, "%s", j->o->store);
    f->expert_epochs = j->o->expert_epochs;
    return dd_expert_identity(f, j->s.identity);
}

/* Whether a snapshot is the whole state of training. */
static bool goes_on(const job *j)
{
    return !(j->o->momentum > 0) && strcmp(j->o->store, "float32") == 0;
}

static dd_status check_epochs(const job *j, int64_t then)
{
    const int64_t now = j->o->expert_epochs;
    if (now == then || (now > then && goes_on(j))) return DD_OK;
    return dd_fail(DD_EEXIST,
                   "%s holds experts with expert_epochs=%" PRId64 ", this call asks for %" PRId64
                   "; epochs may only grow, and only with momentum 0 and store float32: give the same value or another "
                   "--out",
                   j->s.dir, then, now);
}

static dd_status check_fresh(const char *dir)
{
    char **names;
    size_t n;
    bool fresh = true;
    DD_TRY(dd_list_dir(dir, &names, &n));
    for (size_t i = 0; i < n; i++) fresh = fresh && strstr(names[i], ".tmp.");
    dd_list_free(names, n);
    return fresh ? DD_OK : dd_fail(DD_EEXIST, "%s is not empty and holds no experts; choose another --out", dir);
}

/* experts.json: compared if it is there, written if it is not or if the epochs grow. */
static dd_status claim(const job *j)
{
    dd_expert_facts then;
    if (!dd_expert_facts_here(j->s.dir)) {
        DD_TRY(check_fresh(j->s.dir));
        return dd_expert_facts_write(&j->s.facts, j->s.dir);
    }
    DD_TRY(dd_expert_facts_read(&then, j->s.dir));
    DD_TRY(dd_expert_facts_same(&then, &j->s.facts, j->s.dir));
    DD_TRY(check_epochs(j, then.expert_epochs));
    return DD_OK; /* more epochs are written down when all experts have them, so that others can read meanwhile */
}

static dd_status kernels_path(const job *j, char *path, size_t size)
{
    return dd_path_join(path, size, j->s.dir, "kernels.txt");
}

/* All experts of a folder have the kernels that the first of them began with, where this processor has them. */
static dd_status recall_kernels(const job *j)
{
    char path[1100];
    DD_TRY(kernels_path(j, path, sizeof path));
    if (dd_exists(path))
        (void)dd_backend_recall(j->b, path); /* made on another machine: it goes on here, if not to the same bits */
    else if (dd_expert_have(&j->s, 0) > 1)
        (void)dd_backend_tune(j->b, NULL); /* it began by rules */
    return DD_OK;
}

/* Once an epoch has measured what there is to measure. */
static dd_status remember_kernels(const job *j)
{
    char path[1100];
    DD_TRY(kernels_path(j, path, sizeof path));
    return dd_exists(path) ? DD_OK : dd_backend_remember(j->b, path);
}

/* --- one expert --- */

static double rate_at(const void *self, int64_t step)
{
    (void)step;
    return ((const job *)self)->o->lr;
}

static bool before_step(void *self, int64_t step)
{
    job *j = self;
    j->now.step = step;
    return !j->fn || j->fn(j->self, &j->now);
}

static dd_status stopped(const job *j)
{
    const dd_experts_progress *p = &j->now;
    const int64_t behind = p->epoch + (p->step == p->steps);
    char how[64] = "begins this expert again";
    if (behind == p->epochs)
        snprintf(how, sizeof how, "goes on with the next expert");
    else if (goes_on(j))
        snprintf(how, sizeof how, "goes on after epoch %" PRId64, behind);
    return dd_fail(DD_EINTERRUPTED,
                   "stopped in epoch %" PRId64 " of %" PRId64 " of expert %" PRId64 " of %" PRId64
                   "; the same command %s",
                   p->epoch + 1, p->epochs, p->expert + 1, p->experts, how);
}

static dd_status train_epoch(job *j)
{
    dd_experts_progress *p = &j->now;
    double loss = 0;
    p->step = 0;
    const dd_status st = dd_fit_epoch(&j->fit, p->epoch, rate_at, j, j->key, &loss);
    if (st == DD_EINTERRUPTED) return stopped(j);
    DD_TRY(st);
    if (!isfinite(loss))
        return dd_fail(DD_ENUMERIC,
                       "the training loss of expert %" PRId64 " is no number in epoch %" PRId64
                       "; lower the learning rate from %g",
                       p->expert + 1, p->epoch + 1, j->o->lr);
    DD_TRY(remember_kernels(j));
    DD_TRY(dd_expert_write(&j->s, p->expert, p->epoch + 1, dd_trainer_theta(j->fit.trainer), loss));
    p->loss = loss;
    p->step = p->steps;
    p->done++;
    const bool on = !j->fn || j->fn(j->self, p);
    return on || p->done == p->total ? DD_OK : stopped(j);
}

/* Snapshots that stand: none of an expert that begins again. */
static int64_t standing(const job *j, int64_t expert)
{
    const int64_t have = dd_expert_have(&j->s, expert);
    return goes_on(j) || have > j->o->expert_epochs ? have : 0;
}

/* Weights at the last of `have` snapshots, which are checked also where nothing is left to do. */
static dd_status begin(job *j, int64_t expert, int64_t have)
{
    dd_tensor *theta = dd_trainer_theta(j->fit.trainer);
    size_t bytes;
    DD_TRY(dd_trainer_reset(j->fit.trainer, dd_key_at(j->key, "theta", 0)));
    for (int64_t e = 0; e < have; e++) DD_TRY(dd_expert_read(&j->s, expert, e, theta, NULL, &bytes));
    if (have > 0) return DD_OK;
    return dd_expert_write(&j->s, expert, 0, theta, -1);
}

static dd_status train_expert(job *j, int64_t expert)
{
    const int64_t have = standing(j, expert);
    j->key = dd_key_at(dd_key_seed((uint64_t)j->o->seed), "expert", (uint64_t)expert);
    j->now.expert = expert;
    DD_TRY(begin(j, expert, have));
    for (int64_t e = have > 1 ? have - 1 : 0; e < j->o->expert_epochs; e++) {
        j->now.epoch = e;
        DD_TRY(train_epoch(j));
    }
    return DD_OK;
}

/* --- all of them --- */

static dd_status train_all(job *j)
{
    const int64_t n = j->o->experts, epochs = j->o->expert_epochs;
    j->fit.epoch_steps = j->o->epoch_steps;
    j->fit.going_on = before_step;
    j->fit.self = j;
    j->now = (dd_experts_progress){.experts = n, .epochs = epochs, .steps = dd_fit_steps(&j->fit), .loss = -1};
    for (int64_t e = 0; e < n; e++) {
        const int64_t have = standing(j, e);
        j->now.total += epochs - (have > 1 ? have - 1 : 0);
    }
    for (int64_t e = 0; e < n; e++) DD_TRY(train_expert(j, e));
    return DD_OK;
}

static dd_status run(job *j, const dd_dataset *d, dd_aug aug)
{
    const dd_trainer_opts o = {.momentum = j->o->momentum, .weight_decay = j->o->weight_decay, .aug = aug};
    const dd_fit_source all = {NULL, NULL, NULL, d->train.n};
    dd_trainer *t = NULL;
    DD_TRY(claim(j));
    dd_clear_temporary(j->s.dir);
    DD_TRY(recall_kernels(j));
    DD_TRY(dd_trainer_new(&t, j->b, j->net, &o));
    dd_status st = dd_fit_init(&j->fit, t, d, all, d->c * d->h * d->w, j->o->batch);
    if (st == DD_OK) st = train_all(j);
    if (st == DD_OK) st = dd_expert_facts_write(&j->s.facts, j->s.dir);
    dd_fit_fini(&j->fit);
    return st;
}

dd_status dd_experts_train(const dd_experts_opts *o, dd_backend *b, const dd_net *net, const dd_dataset *d,
                           const char *dir, dd_experts_fn fn, void *self)
{
    job j = {.o = o, .b = b, .net = net, .fn = fn, .self = self};
    dd_aug aug = {0};
    int lock = -1;
    DD_TRY(check(o, d));
    DD_TRY(dd_fit_check_net(net, d));
    if (dd_net_stats(net))
        return dd_fail(DD_EUNSUPPORTED,
                       "%s: no method can follow an expert with batch norm's running statistics; choose another norm, "
                       "instance for example",
                       dd_net_spec(net));
    DD_TRY(augmentation(&j, d, &aug));
    DD_TRY(dd_expert_store_at(&j.s, dir));
    DD_TRY(describe(&j, d, aug));
    DD_TRY(dd_make_dir(dir));
    DD_TRY(dd_lock_dir(dir, &lock));
    const dd_status st = run(&j, d, aug);
    dd_unlock_dir(lock);
    return st;
}

/* --- how good they are --- */

static dd_status test(const dd_experts *e, dd_trainer *t, int64_t expert, int64_t epoch, double *accuracy)
{
    DD_TRY(dd_experts_read(e, expert, epoch, dd_trainer_theta(t)));
    return dd_fit_accuracy(t, e->d, &e->d->test, NULL, e->d->test.n, 256, accuracy);
}

dd_status dd_experts_accuracy(const dd_experts *e, dd_backend *b, int64_t expert, int64_t epoch, double *accuracy)
{
    const dd_trainer_opts o = {0};
    dd_trainer *t = NULL;
    *accuracy = -1;
    if (dd_net_stats(e->net) > 0) return DD_OK;
    DD_TRY(dd_trainer_new(&t, b, e->net, &o));
    const dd_status st = test(e, t, expert, epoch, accuracy);
    dd_trainer_free(t);
    return st;
}
