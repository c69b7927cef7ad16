/* SPDX-License-Identifier: Apache-2.0
 *
 * Trains a network with programs that hold forward pass, gradient and optimiser step in one, compiled once per batch
 * size. theta and the optimiser's state are updated in place; batch norm's running statistics are kept on the host.
 * Knows exec, graph, tensor, base. */
#include "nn/net_internal.h"
#include "nn/step_internal.h"

#include "base/memory.h"
#include "exec/draft.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CACHE = 8, PART = 64 }; /* programs kept; images of a test at a time */
#define STAT_MOMENTUM 0.1f

typedef enum kind { STEP, LOGITS, FEATURES } kind;

typedef struct entry {
    kind kind;
    int64_t n;
    dd_program *program;
    dd_tensor x, y, out; /* views of the caller's memory during one call */
    dd_tensor aug;       /* owned, [n,DD_AUG_PARAMS] */
} entry;

struct dd_trainer {
    dd_backend *backend;
    const dd_net *net;
    dd_trainer_opts o;
    dd_tensor theta, v1, v2, running, batch; /* [P] [P] [P] [S] [S] */
    dd_tensor start;                         /* [P] if centred */
    dd_tensor lr, fix1, fix2, loss;          /* scalars */
    int64_t steps;
    entry cache[CACHE];
    int oldest;
};

/* --- graphs --- */

static dd_val theta_input(dd_graph *g, const dd_trainer *t, const char *name)
{
    return dd_input(g, name, DD_F32, DD_SHAPE(t->net->size));
}

static dd_val x_input(dd_graph *g, const dd_trainer *t, int64_t n)
{
    const dd_image im = t->net->image;
    return dd_input(g, "x", DD_F32, DD_SHAPE(n, im.c, im.h, im.w));
}

static dd_step_state next_state(dd_graph *g, const dd_trainer *t, dd_val theta, dd_val grad)
{
    dd_step_state s = {theta, theta_input(g, t, "v1"), {0}};
    const dd_val lr = dd_input(g, "lr", DD_F32, DD_SCALAR);
    if (!t->o.adam) return dd_step_sgd(g, s, grad, lr, t->o.momentum, t->o.weight_decay);
    s.v2 = theta_input(g, t, "v2");
    const dd_val fix1 = dd_input(g, "fix1", DD_F32, DD_SCALAR), fix2 = dd_input(g, "fix2", DD_F32, DD_SCALAR);
    return dd_step_adam(g, s, grad, lr, fix1, fix2, t->o.weight_decay);
}

/* What counts as the network's answer. */
static dd_val logits_of(dd_graph *g, const dd_trainer *t, dd_val x, dd_val logits)
{
    if (!t->o.centred) return logits;
    const dd_val first = dd_net_apply(g, t->net, theta_input(g, t, "start"), x, (dd_val){0}).logits;
    return dd_sub(g, logits, dd_stop(g, first));
}

static void build_step(dd_graph *g, const dd_trainer *t, int64_t n)
{
    const dd_val theta = theta_input(g, t, "theta");
    const dd_val y = dd_input(g, "y", DD_F32, DD_SHAPE(n, t->net->classes));
    dd_val x = x_input(g, t, n), grad;
    if (t->o.aug.list) x = dd_augment(g, t->o.aug, x, dd_input(g, "aug", DD_F32, DD_SHAPE(n, DD_AUG_PARAMS)));
    const dd_net_out o = dd_net_apply(g, t->net, theta, x, (dd_val){0});
    const dd_val logits = logits_of(g, t, x, o.logits);
    const dd_val loss = t->o.squared ? dd_scale(g, dd_sum_all(g, dd_square(g, dd_sub(g, logits, y))), 0.5 / (double)n)
                                     : dd_xent(g, logits, y);
    dd_grad(g, loss, 1, &theta, &grad);
    const dd_step_state s = next_state(g, t, theta, grad);
    dd_output(g, "loss", loss);
    dd_output(g, "theta'", s.theta);
    dd_output(g, "v1'", s.v1);
    if (s.v2.id) dd_output(g, "v2'", s.v2);
    if (o.stats.id) dd_output(g, "stats'", o.stats);
}

static void build_test(dd_graph *g, const dd_trainer *t, int64_t n, kind k)
{
    const dd_val theta = theta_input(g, t, "theta"), x = x_input(g, t, n);
    const dd_val stats = t->net->nstats ? dd_input(g, "stats", DD_F32, DD_SHAPE(t->net->nstats)) : (dd_val){0};
    const dd_net_out o = dd_net_apply(g, t->net, theta, x, stats);
    dd_output(g, "out", k == LOGITS ? logits_of(g, t, x, o.logits) : o.features);
}

/* --- programs --- */

static dd_status bind_step(dd_trainer *t, entry *e)
{
    DD_TRY(dd_bind(e->program, "theta'", &t->theta));
    DD_TRY(dd_bind(e->program, "v1", &t->v1));
    DD_TRY(dd_bind(e->program, "v1'", &t->v1));
    DD_TRY(dd_bind(e->program, "lr", &t->lr));
    DD_TRY(dd_bind(e->program, "loss", &t->loss));
    if (t->net->nstats) DD_TRY(dd_bind(e->program, "stats'", &t->batch));
    if (t->o.aug.list) {
        DD_TRY(dd_tensor_init(&e->aug, DD_F32, DD_SHAPE(e->n, DD_AUG_PARAMS)));
        DD_TRY(dd_bind(e->program, "aug", &e->aug));
    }
    if (!t->o.adam) return DD_OK;
    DD_TRY(dd_bind(e->program, "v2", &t->v2));
    DD_TRY(dd_bind(e->program, "v2'", &t->v2));
    DD_TRY(dd_bind(e->program, "fix1", &t->fix1));
    return dd_bind(e->program, "fix2", &t->fix2);
}

static dd_status prepare(dd_trainer *t, entry *e)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    if (e->kind == STEP)
        build_step(g, t, e->n);
    else
        build_test(g, t, e->n, e->kind);
    DD_TRY(dd_compile_draft(&e->program, g, t->backend));
    DD_TRY(dd_bind(e->program, "theta", &t->theta));
    if (t->o.centred && e->kind != FEATURES) DD_TRY(dd_bind(e->program, "start", &t->start));
    if (e->kind == STEP) return bind_step(t, e);
    return t->net->nstats ? dd_bind(e->program, "stats", &t->running) : DD_OK;
}

static void drop(entry *e)
{
    dd_program_free(e->program);
    dd_tensor_fini(&e->aug);
    memset(e, 0, sizeof *e);
}

/* The program for a size, from the cache or compiled; the oldest one makes room. */
static dd_status obtain(dd_trainer *t, kind k, int64_t n, entry **out)
{
    if (n < 1) return dd_fail(DD_EINVAL, "a batch needs at least one image, not %" PRId64, n);
    for (int i = 0; i < CACHE; i++)
        if (t->cache[i].program && t->cache[i].kind == k && t->cache[i].n == n) {
            *out = &t->cache[i];
            return DD_OK;
        }
    entry *e = &t->cache[t->oldest];
    t->oldest = (t->oldest + 1) % CACHE;
    drop(e);
    e->kind = k;
    e->n = n;
    const dd_status st = prepare(t, e);
    if (st != DD_OK)
        drop(e);
    else
        *out = e;
    return st;
}

/* Inputs are only read, but a tensor's data pointer cannot say so. */
static void *readable(const float *p)
{
    union {
        const float *in;
        void *out;
    } u = {p};
    return u.out;
}

/* --- life --- */

static dd_status init(dd_trainer *t)
{
    const int64_t p = t->net->size, s = t->net->nstats ? t->net->nstats : 1;
    DD_TRY(dd_tensor_init(&t->theta, DD_F32, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&t->v1, DD_F32, DD_SHAPE(p)));
    if (t->o.adam) DD_TRY(dd_tensor_init(&t->v2, DD_F32, DD_SHAPE(p)));
    if (t->o.centred) DD_TRY(dd_tensor_init(&t->start, DD_F32, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&t->running, DD_F32, DD_SHAPE(s)));
    DD_TRY(dd_tensor_init(&t->batch, DD_F32, DD_SHAPE(s)));
    DD_TRY(dd_tensor_init(&t->lr, DD_F32, DD_SCALAR));
    DD_TRY(dd_tensor_init(&t->fix1, DD_F32, DD_SCALAR));
    DD_TRY(dd_tensor_init(&t->fix2, DD_F32, DD_SCALAR));
    DD_TRY(dd_tensor_init(&t->loss, DD_F32, DD_SCALAR));
    dd_net_stats_init(t->net, dd_f32(&t->running));
    return DD_OK;
}

dd_status dd_trainer_new(dd_trainer **out, dd_backend *b, const dd_net *net, const dd_trainer_opts *o)
{
    *out = NULL;
    dd_trainer *t = dd_alloc(1, sizeof *t);
    if (!t) return dd_fail(DD_ENOMEM, "out of memory for a trainer");
    t->backend = b;
    t->net = net;
    t->o = *o;
    const dd_status st = init(t);
    if (st == DD_OK)
        *out = t;
    else
        dd_trainer_free(t);
    return st;
}

void dd_trainer_free(dd_trainer *t)
{
    if (!t) return;
    for (int i = 0; i < CACHE; i++) drop(&t->cache[i]);
    dd_tensor *all[] = {&t->theta, &t->v1, &t->v2,   &t->running, &t->batch,
                        &t->start, &t->lr, &t->fix1, &t->fix2,    &t->loss};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(t);
}

void dd_trainer_restart(dd_trainer *t)
{
    memset(t->v1.data, 0, dd_tensor_bytes(&t->v1));
    if (t->o.adam) memset(t->v2.data, 0, dd_tensor_bytes(&t->v2));
    t->steps = 0;
}

dd_status dd_trainer_reset(dd_trainer *t, dd_key key)
{
    dd_trainer_restart(t);
    dd_net_stats_init(t->net, dd_f32(&t->running));
    DD_TRY(dd_net_init(t->net, &t->theta, key));
    return t->o.centred ? dd_tensor_copy(&t->start, &t->theta) : DD_OK;
}

dd_tensor *dd_trainer_theta(dd_trainer *t)
{
    return &t->theta;
}

dd_trainer_memory dd_trainer_state(dd_trainer *t)
{
    return (dd_trainer_memory){&t->theta, &t->v1, &t->v2, &t->running, &t->steps};
}

/* --- work --- */

static void draw_augmentation(dd_trainer *t, entry *e, dd_key key)
{
    float *rows = dd_f32(&e->aug);
    if (t->o.aug_all)
        dd_aug_draw_all(t->o.aug, t->net->image, key, e->n, rows);
    else
        dd_aug_draw(t->o.aug, t->net->image, key, false, e->n, rows);
}

static void update_running(dd_trainer *t)
{
    float *r = dd_f32(&t->running);
    const float *b = dd_f32(&t->batch);
    const float share = t->o.running > 0 ? (float)t->o.running : STAT_MOMENTUM;
    for (int64_t i = 0; i < t->net->nstats; i++) r[i] += share * (b[i] - r[i]);
}

static dd_status bind_x(dd_trainer *t, entry *e, const float *x)
{
    const dd_image im = t->net->image;
    e->x = dd_tensor_view(DD_F32, DD_SHAPE(e->n, im.c, im.h, im.w), readable(x));
    return dd_bind(e->program, "x", &e->x);
}

dd_status dd_trainer_step(dd_trainer *t, const float *x, const float *y, int64_t n, double lr, dd_key key, double *loss)
{
    entry *e = NULL;
    DD_TRY(obtain(t, STEP, n, &e));
    DD_TRY(bind_x(t, e, x));
    e->y = dd_tensor_view(DD_F32, DD_SHAPE(n, t->net->classes), readable(y));
    DD_TRY(dd_bind(e->program, "y", &e->y));
    t->steps++;
    *dd_f32(&t->lr) = (float)lr;
    *dd_f32(&t->fix1) = (float)(1 / (1 - pow(DD_ADAM_BETA1, (double)t->steps)));
    *dd_f32(&t->fix2) = (float)(1 / (1 - pow(DD_ADAM_BETA2, (double)t->steps)));
    if (t->o.aug.list) draw_augmentation(t, e, key);
    DD_TRY(dd_exec(e->program));
    if (t->net->nstats) update_running(t);
    if (loss) *loss = (double)*dd_f32(&t->loss);
    return DD_OK;
}

static dd_status test_part(dd_trainer *t, kind k, const float *x, int64_t n, int64_t width, float *out)
{
    entry *e = NULL;
    DD_TRY(obtain(t, k, n, &e));
    DD_TRY(bind_x(t, e, x));
    e->out = dd_tensor_view(DD_F32, DD_SHAPE(n, width), out);
    DD_TRY(dd_bind(e->program, "out", &e->out));
    return dd_exec(e->program);
}

/* A test treats every image alone, so a large batch goes in even parts whose activations stay in cache. */
static dd_status test(dd_trainer *t, kind k, const float *x, int64_t n, int64_t width, float *out)
{
    const dd_image im = t->net->image;
    const int64_t parts = (n + PART - 1) / PART, size = im.c * im.h * im.w;
    if (n < 1) return test_part(t, k, x, n, width, out);
    for (int64_t i = 0; i < parts; i++) {
        const int64_t from = n * i / parts, to = n * (i + 1) / parts;
        DD_TRY(test_part(t, k, x + from * size, to - from, width, out + from * width));
    }
    return DD_OK;
}

dd_status dd_trainer_logits(dd_trainer *t, const float *x, int64_t n, float *logits)
{
    return test(t, LOGITS, x, n, t->net->classes, logits);
}

dd_status dd_trainer_features(dd_trainer *t, const float *x, int64_t n, float *features)
{
    return test(t, FEATURES, x, n, t->net->features, features);
}
