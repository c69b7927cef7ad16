/* SPDX-License-Identifier: Apache-2.0
 *
 * Neural feature regression with pooling (Zhou, Nezhadarya, Ba, NeurIPS 2022): the last layer of a network is solved in
 * closed form, kernel ridge regression with the kernel F F^T of its features F,
 *     L = 1/m sum_i 1/2 |P_i - y_i|^2 + 1/n sum_j -min(top1(u_j) - top2(u_j), 1/C),
 * for a network out of a pool whose members are of all ages: after each step the network at hand makes one of its own
 * on the set, by squared error, or a fresh one takes its place. Knows graph, exec, nn, data. */
#include "base/memory.h"
#include "method/embed.h"
#include "method/features.h"
#include "method/lossgrad.h"
#include "nn/krr.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { AGE, STEPS, NOTES };          /* what the pool's notes hold of a network */
static const double too_much = 1000; /* a loss, of targets below 1 */

typedef struct frepo {
    /* options */
    double lr_img, lr_label, lr_floor, lr_net, ridge;
    int64_t batch_real, pool, max_age, batch_net, schedule, chunk;
    bool flip, margin, learned;
    /* the rest is its own */
    int64_t m; /* real images of a step */
    dd_trainer *trainer;
    dd_trainer_memory net; /* of the network at hand */
    dd_program *p;         /* of everything, or of all but the features */
    dd_features parts;
    dd_embed real;
    dd_feed syn;
    dd_tensor yt;                                   /* [m,C] */
    dd_tensor theta, stats, features;               /* [P] [S] [m,F] in the type of the arithmetic */
    dd_tensor fs, dfs;                              /* of the set where it passes in parts: [n,F], [2n,F] with flip */
    dd_tensor loss, factor, dx, dy;                 /* scalar; F64 scalar, the regulariser; as the set's */
    dd_tensor thetas, firsts, seconds, runs, notes; /* F32 [pool,P] three times, [pool,S]; F64 [pool,NOTES] */
    dd_tensor moments, label_moments;               /* F32 [2,M,C,H,W], [2,M,classes] of LAMB */
    dd_stream stream;
    int32_t *order; /* [M] */
    float *x, *y;   /* [batch of the network] images, labels */
    double raised;
    bool told;
} frepo;

static const dd_option options[] = {
    {"lr_img", DD_OPT_REAL, offsetof(frepo, lr_img), "0.0003", 0, 1e3, NULL,
     "LAMB's learning rate of the pixels: the part of their norm that a step makes"},
    {"lr_label", DD_OPT_REAL, offsetof(frepo, lr_label), "0.0003", 0, 1e3, NULL, "likewise of the labels"},
    {"lr_floor", DD_OPT_REAL, offsetof(frepo, lr_floor), "0.1", 0, 1, NULL,
     "part of both that is left at the end; between lies a cosine"},
    {"schedule", DD_OPT_INT, offsetof(frepo, schedule), "0", 0, 1e9, NULL,
     "iterations over which the cosine falls; 0: all of the run"},
    {"lr_net", DD_OPT_REAL, offsetof(frepo, lr_net), "0.0003", 0, 1e3, NULL, "Adam's learning rate of the networks"},
    {"batch_real", DD_OPT_INT, offsetof(frepo, batch_real), "1024", 1, 1e6, NULL, "real images of an iteration"},
    {"ridge", DD_OPT_REAL, offsetof(frepo, ridge), "1e-06", 0, 1e6, NULL,
     "regulariser, relative to the mean of the kernel's diagonal"},
    {"pool", DD_OPT_INT, offsetof(frepo, pool), "10", 1, 1000, NULL, "networks that take turns"},
    {"max_age", DD_OPT_INT, offsetof(frepo, max_age), "100", 0, 1e6, NULL,
     "steps after which a network gives way to a fresh one; a run of a few thousand iterations sees more of them by "
     "25"},
    {"batch_net", DD_OPT_INT, offsetof(frepo, batch_net), "1000", 1, 1e6, NULL,
     "images of the set in a step of a network, at most"},
    {"chunk", DD_OPT_INT, offsetof(frepo, chunk), "0", 0, 1e6, NULL,
     "images of the set that pass at a time, which costs one more pass forward; 0: all at once"},
    {"flip", DD_OPT_BOOL, offsetof(frepo, flip), "false", 0, 0, NULL,
     "the set's mirror images beside it in the regression; the paper's for CIFAR-10"},
    {"margin", DD_OPT_BOOL, offsetof(frepo, margin), "true", 0, 0, NULL,
     "push each learned label's largest entry 1/C above the next"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status frepo_settle(dd_run *r, void *state)
{
    frepo *m = state;
    if (m->batch_real > r->nitems) m->batch_real = r->nitems;
    if (m->batch_net > r->syn->m) m->batch_net = r->syn->m;
    if (!m->schedule) m->schedule = r->iterations;
    m->learned = r->learned;
    if (!r->learned) return DD_OK;
    dd_run_center(r);
    const float scale = (float)(1 / sqrt((double)r->syn->classes / 10));
    for (int64_t i = 0; i < r->syn->m * r->syn->classes; i++) dd_f32(&r->syn->soft_labels)[i] *= scale;
    return DD_OK;
}

/* --- the program --- */

/* 1/n sum_j -min(top1 - top2, 1/C) of labels [n,C]. */
static dd_val label_margin(dd_graph *g, dd_val y)
{
    const dd_shape s = dd_shape_of(g, y);
    const dd_val first = dd_maxr(g, y, 2u);
    const dd_val rest = dd_select(g, dd_eq(g, y, dd_expand(g, first, s)), dd_full(g, dd_dtype_of(g, y), s, -1e30), y);
    const dd_val gap = dd_sub(g, first, dd_maxr(g, rest, 2u));
    const dd_val most = dd_full(g, dd_dtype_of(g, y), dd_shape_of(g, gap), -1 / (double)s.dim[1]);
    return dd_scale(g, dd_sum_all(g, dd_max(g, dd_neg(g, gap), most)), 1 / (double)s.dim[0]);
}

/* Of the set's features fs and labels ys. */
static dd_val objective(dd_graph *g, const dd_run *r, const frepo *m, dd_val fs, dd_val ys)
{
    const double share = 1 / (double)r->data->classes;
    const dd_val ft = dd_input(g, "features", r->dtype, m->features.shape);
    const dd_val yt = dd_addc(g, dd_input(g, "yt", r->dtype, m->yt.shape), -share);
    const dd_val u = r->learned ? ys : dd_addc(g, ys, -share);
    const dd_val y2[] = {u, u}, y = m->flip ? dd_concat(g, 2, y2, 0) : u;
    const dd_val wide = dd_cast(g, fs, DD_F64); /* kernels of features are nearly of rank one */
    const dd_val w =
        dd_krr_weights(g, dd_matmul(g, wide, wide, false, true), y, dd_input(g, "ridge", DD_F64, DD_SCALAR));
    const dd_val loss = dd_krr_loss(g, dd_krr_predict(g, dd_matmul(g, wide, dd_cast(g, ft, DD_F64), false, true), w),
                                    dd_cast(g, yt, DD_F64), (double)m->m);
    return m->margin && r->learned ? dd_add(g, dd_cast(g, loss, r->dtype), label_margin(g, ys))
                                   : dd_cast(g, loss, r->dtype);
}

/* By the images, or in parts by their features. */
static dd_status build_program(const dd_run *r, frepo *m, bool parts)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val wrt[] = {parts ? dd_input(g, "fs", r->dtype, m->fs.shape)
                                : dd_input(g, "xs", r->dtype, m->syn.x.shape),
                          dd_input(g, "ys", r->dtype, m->syn.y.shape)};
    dd_val fs = wrt[0], d[2];
    if (!parts) {
        const dd_val theta = dd_input(g, "theta", r->dtype, m->theta.shape);
        const dd_val stats = m->stats.data ? dd_input(g, "stats", r->dtype, m->stats.shape) : (dd_val){0};
        fs = dd_features_of(g, r, theta, stats, wrt[0], m->flip);
    }
    const dd_val loss = objective(g, r, m, fs, wrt[1]);
    dd_grad(g, loss, 2, wrt, d);
    dd_output(g, "loss", loss);
    dd_output(g, parts ? "dfs" : "dx", d[0]);
    dd_output(g, "dy", d[1]);
    DD_TRY(dd_compile_draft(&m->p, g, r->backend));
    DD_TRY(parts ? dd_bind(m->p, "fs", &m->fs) : dd_bind(m->p, "xs", &m->syn.x));
    DD_TRY(dd_bind(m->p, "ys", &m->syn.y));
    DD_TRY(dd_bind(m->p, "yt", &m->yt));
    if (!parts) DD_TRY(dd_bind(m->p, "theta", &m->theta));
    if (!parts && m->stats.data) DD_TRY(dd_bind(m->p, "stats", &m->stats));
    DD_TRY(dd_bind(m->p, "features", &m->features));
    DD_TRY(dd_bind(m->p, "ridge", &m->factor));
    DD_TRY(dd_bind(m->p, "loss", &m->loss));
    DD_TRY(parts ? dd_bind(m->p, "dfs", &m->dfs) : dd_bind(m->p, "dx", &m->dx));
    return dd_bind(m->p, "dy", &m->dy);
}

static dd_status build_parts(dd_run *r, void *state, int64_t chunk)
{
    frepo *m = state;
    const bool parts = chunk < r->syn->m;
    const dd_shape f = DD_SHAPE(m->flip ? 2 * r->syn->m : r->syn->m, dd_net_features(r->net));
    if (parts) {
        DD_TRY(dd_tensor_init(&m->fs, r->dtype, f));
        DD_TRY(dd_tensor_init(&m->dfs, r->dtype, f));
        DD_TRY(dd_features_init(&m->parts, r, chunk, m->flip, &m->theta, &m->stats));
    }
    return build_program(r, m, parts);
}

static void parts_fini(void *state)
{
    frepo *m = state;
    dd_program_free(m->p);
    m->p = NULL;
    dd_features_fini(&m->parts);
    dd_tensor_fini(&m->fs);
    dd_tensor_fini(&m->dfs);
}

static dd_status allocate(const dd_run *r, frepo *m)
{
    const int64_t p = dd_net_size(r->net), s = dd_net_stats(r->net), n = r->syn->m, classes = r->data->classes;
    const dd_shape im = r->syn->images.shape;
    DD_TRY(dd_feed_init(&m->syn, r, n, true));
    DD_TRY(dd_tensor_init(&m->yt, r->dtype, DD_SHAPE(m->m, classes)));
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, DD_SHAPE(p)));
    if (s) DD_TRY(dd_tensor_init(&m->stats, r->dtype, DD_SHAPE(s)));
    DD_TRY(dd_tensor_init(&m->features, r->dtype, DD_SHAPE(m->m, dd_net_features(r->net))));
    DD_TRY(dd_tensor_init(&m->loss, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->factor, DD_F64, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->dx, r->dtype, im));
    DD_TRY(dd_tensor_init(&m->dy, r->dtype, DD_SHAPE(n, classes)));
    DD_TRY(dd_tensor_init(&m->thetas, DD_F32, DD_SHAPE(m->pool, p)));
    DD_TRY(dd_tensor_init(&m->firsts, DD_F32, DD_SHAPE(m->pool, p)));
    DD_TRY(dd_tensor_init(&m->seconds, DD_F32, DD_SHAPE(m->pool, p)));
    DD_TRY(dd_tensor_init(&m->runs, DD_F32, DD_SHAPE(m->pool, s ? s : 1)));
    DD_TRY(dd_tensor_init(&m->notes, DD_F64, DD_SHAPE(m->pool, NOTES)));
    DD_TRY(dd_tensor_init(&m->moments, DD_F32, DD_SHAPE(2, im.dim[0], im.dim[1], im.dim[2], im.dim[3])));
    DD_TRY(dd_tensor_init(&m->label_moments, DD_F32, DD_SHAPE(2, n, classes)));
    m->order = dd_alloc((size_t)n, sizeof *m->order);
    m->x = dd_alloc((size_t)m->batch_net, (size_t)(im.dim[1] * im.dim[2] * im.dim[3]) * sizeof *m->x);
    m->y = dd_alloc((size_t)m->batch_net, (size_t)classes * sizeof *m->y);
    return m->order && m->x && m->y ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a batch of the set");
}

static dd_status frepo_build(dd_run *r, void *state)
{
    frepo *m = state;
    const dd_trainer_opts o = {.adam = true, .squared = true, .running = 0.9};
    m->m = r->given ? r->nitems : m->batch_real;
    DD_TRY(allocate(r, m));
    DD_TRY(dd_stream_init(&m->stream, r, m->m));
    DD_TRY(dd_embed_init(&m->real, r, m->m, &m->theta, &m->stats));
    DD_TRY(dd_trainer_new(&m->trainer, r->backend, r->net, &o));
    m->net = dd_trainer_state(m->trainer);
    return dd_run_fitting(r, m, m->chunk && m->chunk < r->syn->m ? m->chunk : r->syn->m, build_parts, parts_fini);
}

static void frepo_fini(void *state)
{
    frepo *m = state;
    dd_tensor *const all[] = {&m->theta,   &m->stats, &m->features, &m->loss,    &m->factor,
                              &m->dx,      &m->dy,    &m->yt,       &m->thetas,  &m->firsts,
                              &m->seconds, &m->runs,  &m->notes,    &m->moments, &m->label_moments};
    parts_fini(m);
    dd_trainer_free(m->trainer);
    dd_feed_fini(&m->syn);
    dd_embed_fini(&m->real);
    dd_stream_fini(&m->stream);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(m->order);
    dd_free(m->x);
    dd_free(m->y);
}

/* --- the pool --- */

static dd_status fresh(const dd_run *r, frepo *m, int64_t i, dd_key key)
{
    dd_tensor row = dd_tensor_rows(&m->thetas, i, 1), first = dd_tensor_rows(&m->firsts, i, 1);
    dd_tensor second = dd_tensor_rows(&m->seconds, i, 1), run = dd_tensor_rows(&m->runs, i, 1);
    dd_set_zero(&first);
    dd_set_zero(&second);
    dd_net_stats_init(r->net, dd_f32(&run));
    dd_f64(&m->notes)[i * NOTES + AGE] = dd_f64(&m->notes)[i * NOTES + STEPS] = 0;
    return dd_net_init(r->net, &row, key);
}

/* All of different ages, so that they do not give way at once. */
static dd_status fill_pool(const dd_run *r, frepo *m)
{
    for (int64_t i = 0; i < m->pool; i++) {
        DD_TRY(fresh(r, m, i, dd_key_at(r->key, "pool", (uint64_t)i)));
        dd_f64(&m->notes)[i * NOTES + AGE] = (double)(i * m->max_age / m->pool);
    }
    return DD_OK;
}

static void copy(dd_tensor *to, const dd_tensor *from)
{
    memcpy(to->data, from->data, dd_tensor_bytes(to));
}

/* Network i of the pool into the trainer, or back. */
static void turn(frepo *m, int64_t i, bool out)
{
    dd_tensor *const in[] = {m->net.theta, m->net.v1, m->net.v2, m->net.running};
    const dd_tensor *const all[] = {&m->thetas, &m->firsts, &m->seconds, &m->runs};
    double *steps = dd_f64(&m->notes) + i * NOTES + STEPS;
    for (size_t k = 0; k < DD_LEN(in); k++) {
        dd_tensor row = dd_tensor_rows(all[k], i, 1);
        if (out)
            copy(&row, in[k]);
        else
            copy(in[k], &row);
    }
    if (out)
        *steps = (double)*m->net.steps;
    else
        *m->net.steps = (int64_t)*steps;
}

/* A network whose numbers became too large gives way, and is not met again in a checkpoint. */
static dd_status give_up(const dd_run *r, frepo *m, int64_t i, dd_key key)
{
    char line[200];
    snprintf(line, sizeof line,
             "a network of the pool had numbers too large or none after %.0f steps, and a fresh one takes its place; a "
             "smaller lr_net than %g keeps them",
             dd_f64(&m->notes)[i * NOTES + STEPS], m->lr_net);
    if (!m->told) dd_run_tell(r, line);
    m->told = true;
    return fresh(r, m, i, dd_key_at(key, "fresh", 0));
}

/* Whether all that the pool keeps of a network are numbers. */
static bool sound(const frepo *m, int64_t i)
{
    const dd_tensor *const all[] = {&m->thetas, &m->firsts, &m->seconds, &m->runs};
    for (size_t k = 0; k < DD_LEN(all); k++) {
        const dd_tensor row = dd_tensor_rows(all[k], i, 1);
        if (!isfinite(dd_sum_squares(&row))) return false;
    }
    return true;
}

/* The network's own step on the set, or a fresh one in its place. */
static dd_status grow(dd_run *r, frepo *m, int64_t i, dd_key key)
{
    const int64_t n = r->syn->m, b = m->batch_net, pixels = r->data->c * r->data->h * r->data->w, c = r->data->classes;
    double *age = dd_f64(&m->notes) + i * NOTES + AGE;
    if (*age > (double)m->max_age) return fresh(r, m, i, dd_key_at(key, "fresh", 0));
    dd_key_permutation(dd_key_at(key, "batch", 0), n, m->order);
    for (int64_t k = 0; k < b; k++) {
        const int64_t at = b < n ? m->order[k] : k;
        memcpy(m->x + k * pixels, dd_f32(&r->syn->images) + at * pixels, (size_t)pixels * sizeof *m->x);
        for (int64_t j = 0; j < c; j++)
            m->y[k * c + j] = r->learned ? dd_f32(&r->syn->soft_labels)[at * c + j]
                                         : (float)((double)(dd_i32(&r->syn->labels)[at] == j) - 1 / (double)c);
    }
    double loss;
    DD_TRY(dd_trainer_step(m->trainer, m->x, m->y, b, m->lr_net, key, &loss));
    turn(m, i, true);
    if (!isfinite(loss) || !sound(m, i)) return give_up(r, m, i, key);
    *age += 1;
    return DD_OK;
}

/* --- one step --- */

/* With the network in place: r->loss, m->dx and m->dy. */
static dd_status differentiate(dd_run *r, frepo *m, const int32_t *items)
{
    DD_TRY(dd_embed_run(&m->real, r, items, &m->features, &m->yt));
    dd_feed_synthetic(&m->syn, r, 0, 0, m->syn.n);
    dd_feed_labels(&m->syn, r, 0, 0, m->syn.n);
    if (m->fs.data) DD_TRY(dd_features_run(&m->parts, r, &m->syn.x, &m->fs));
    DD_TRY(dd_regress(r, m->p, &m->factor, m->ridge, &m->raised));
    if (m->fs.data) DD_TRY(dd_features_slope(&m->parts, r, &m->syn.x, &m->dfs, &m->dx));
    r->loss = dd_scalar(&m->loss);
    return DD_OK;
}

static dd_status frepo_gradient(dd_run *r, void *state, dd_key key)
{
    frepo *m = state;
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    dd_net_stats_init(r->net, dd_f32(m->net.running));
    if (m->stats.data) {
        dd_set_zero(&m->stats);
        dd_add_scaled(&m->stats, 1, m->net.running);
    }
    return differentiate(r, m, r->items);
}

static int frepo_gradients(void *state, dd_saved out[8])
{
    frepo *m = state;
    out[0] = (dd_saved){"images", &m->dx};
    out[1] = (dd_saved){"labels", &m->dy};
    return m->learned ? 2 : 1;
}

static dd_status frepo_iterate(dd_run *r, void *state, int64_t it)
{
    frepo *m = state;
    const dd_key key = dd_key_at(r->key, "frepo", (uint64_t)it);
    const int64_t i = (int64_t)dd_key_below(dd_key_at(key, "turn", 0), 0, (uint64_t)m->pool);
    const double rate = dd_cosine(it, m->schedule, m->lr_floor);
    const int64_t pixels = dd_shape_count(m->dx.shape), labels = dd_shape_count(m->dy.shape);
    if (it == 0) DD_TRY(fill_pool(r, m));
    r->skipped = false;
    turn(m, i, false);
    copy(&m->theta, m->net.theta);
    if (m->stats.data) copy(&m->stats, m->net.running);
    dd_stream_take(&m->stream, r, it);
    const dd_status s = differentiate(r, m, m->stream.items);
    if (s == DD_ENUMERIC) r->loss = (double)NAN;
    const bool trained = dd_f64(&m->notes)[i * NOTES + STEPS] > 0; /* of a fresh one the set is at fault */
    if (trained && (s == DD_OK || s == DD_ENUMERIC) && !(fabs(r->loss) < too_much)) {
        r->skipped = true;
        return give_up(r, m, i, key);
    }
    DD_TRY(s);
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the set stays as it was */
    dd_lamb_update(dd_f32(&r->syn->images), dd_f32(&m->moments), dd_f32(&m->moments) + pixels, dd_f32(&m->dx), pixels,
                   rate * m->lr_img, 0.9, 0.999, it + 1);
    if (r->learned)
        dd_lamb_update(dd_f32(&r->syn->soft_labels), dd_f32(&m->label_moments), dd_f32(&m->label_moments) + labels,
                       dd_f32(&m->dy), labels, rate * m->lr_label, 0.9, 0.999, it + 1);
    return grow(r, m, i, key);
}

static int frepo_saved(void *state, dd_saved out[8])
{
    frepo *m = state;
    const dd_saved all[] = {{"thetas", &m->thetas},
                            {"firsts", &m->firsts},
                            {"seconds", &m->seconds},
                            {"running", &m->runs},
                            {"notes", &m->notes},
                            {"moments", &m->moments},
                            {"label_moments", &m->label_moments}};
    memcpy(out, all, sizeof all);
    return (int)DD_LEN(all);
}

const dd_method dd_method_frepo = {
    .name = "frepo",
    .title = "Neural feature regression with pooling",
    .cite = "Zhou, Nezhadarya, Ba 2022",
    .cost = "batch_real images forward, the set forward and backward, one solution, a network's step on the set",
    .memory = "chunk images of the set at first order, batch_real features, pool networks with their optimisers",
    .options = options,
    .state_size = sizeof(frepo),
    .iterations = 500000,
    .order = 1,
    .brief = true,
    .net = "widening:norm=batch,init=lecun",
    .aug = "none",
    .not_aug = "its regression sees images as they are, and their mirror images with flip=true",
    .protocol = "frepo",
    .labels = "learned|hard",
    .rates = "lr_img or lr_label",
    .cuts = {"chunk"},
    .settle = frepo_settle,
    .build = frepo_build,
    .iterate = frepo_iterate,
    .saved = frepo_saved,
    .gradient = frepo_gradient,
    .gradients = frepo_gradients,
    .fini = frepo_fini,
};
