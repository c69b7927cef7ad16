/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine of gradient matching. An iteration takes a fresh network and alternates matching steps (outer_loop) with
 * epochs on S (inner_loop). Real gradients are sums over chunks of images. A class of synthetic images that is not too
 * large goes through one program that holds gradient, distance and the distance's derivative by the images; more of
 * them take three: the gradient g, summed over parts; D and v = dD/dg; the derivative of <v, g> by the images of each
 * part, with v held constant. Knows graph, exec, nn, data, eval. */
#include "method/gradmatch.h"

#include "base/memory.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MOST_TOGETHER = 128, CALIBRATE = 16 }; /* synthetic images of a program; real ones a class for statistics */

/* --- programs --- */

typedef enum kind { GRADIENT, STATISTICS, MATCH, DISTANCE, MIXED } kind;

static void pass_fini(dd_gradpass *w)
{
    dd_program_free(w->p);
    dd_feed_fini(&w->in);
    dd_tensor_fini(&w->out);
    w->p = NULL;
}

static dd_val vector(dd_graph *g, const dd_run *r, const char *name)
{
    return dd_input(g, name, r->dtype, DD_SHAPE(dd_net_size(r->net)));
}

/* Gradient of the mean cross-entropy by theta. */
static dd_val gradient(dd_graph *g, const dd_run *r, const dd_fed *in)
{
    const int64_t s = dd_net_stats(r->net);
    const dd_val theta = vector(g, r, "theta"), frozen = s ? dd_input(g, "stats", r->dtype, DD_SHAPE(s)) : (dd_val){0};
    dd_val grad;
    dd_grad(g, dd_xent(g, dd_net_apply(g, r->net, theta, in->seen, frozen).logits, in->y), 1, &theta, &grad);
    return grad;
}

static void build_distance(dd_graph *g, const dd_run *r, const dd_gradmatch *m)
{
    const dd_val mine = vector(g, r, "mine");
    const dd_val loss = dd_gradient_distance(g, r->net, m->distance, vector(g, r, "target"), mine);
    dd_val direction;
    dd_grad(g, loss, 1, &mine, &direction);
    dd_output(g, "loss", loss);
    dd_output(g, "direction", direction);
}

static void build_graph(dd_graph *g, const dd_run *r, const dd_gradmatch *m, kind k, int64_t n)
{
    if (k == DISTANCE) {
        build_distance(g, r, m);
        return;
    }
    const dd_fed in = dd_feed_inputs(g, r, n, k != STATISTICS);
    if (k == STATISTICS) {
        dd_output(g, "out", dd_net_apply(g, r->net, vector(g, r, "theta"), in.seen, (dd_val){0}).stats);
        return;
    }
    dd_val out = gradient(g, r, &in), loss;
    if (k == MATCH) {
        loss = dd_gradient_distance(g, r->net, m->distance, vector(g, r, "target"), out);
        dd_grad(g, loss, 1, &in.x, &out);
        dd_output(g, "loss", loss);
    } else if (k == MIXED) {
        loss = dd_dot(g, dd_stop(g, vector(g, r, "direction")), out);
        dd_grad(g, loss, 1, &in.x, &out);
    }
    dd_output(g, "out", out);
}

static dd_status bind(const dd_run *r, dd_gradmatch *m, dd_gradpass *w, kind k)
{
    if (k != DISTANCE) {
        DD_TRY(dd_feed_bind(&w->in, r, w->p));
        DD_TRY(dd_bind(w->p, "theta", &m->theta));
        DD_TRY(dd_bind(w->p, "out", &w->out));
    }
    if (k != STATISTICS && k != DISTANCE && dd_net_stats(r->net)) DD_TRY(dd_bind(w->p, "stats", &m->stats));
    if (k == MATCH || k == DISTANCE) DD_TRY(dd_bind(w->p, "target", &m->target));
    if (k == MATCH || k == DISTANCE) DD_TRY(dd_bind(w->p, "loss", &m->loss));
    if (k == DISTANCE) DD_TRY(dd_bind(w->p, "mine", &m->mine));
    return k == DISTANCE || k == MIXED ? dd_bind(w->p, "direction", &m->direction) : DD_OK;
}

static dd_status build(const dd_run *r, dd_gradmatch *m, dd_gradpass *w, kind k, int64_t n)
{
    if (k != DISTANCE) DD_TRY(dd_feed_init(&w->in, r, n, k != STATISTICS));
    if (k == GRADIENT) DD_TRY(dd_tensor_init(&w->out, r->dtype, DD_SHAPE(dd_net_size(r->net))));
    if (k == STATISTICS) DD_TRY(dd_tensor_init(&w->out, r->dtype, DD_SHAPE(dd_net_stats(r->net))));
    if (k == MATCH || k == MIXED) DD_TRY(dd_tensor_init(&w->out, r->dtype, w->in.x.shape));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    build_graph(g, r, m, k, n);
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    return bind(r, m, w, k);
}

/* --- life --- */

/* The authors' loops: as many matching steps as images a class, at most 50, and some 500 epochs on S in all. */
dd_status dd_gradmatch_settle(dd_run *r, void *state)
{
    dd_gradmatch *m = state;
    const int64_t outer = r->ipc < 50 ? r->ipc : 50;
    if (!m->schedule && m->lr_floor < 1) m->schedule = r->iterations;
    if (!m->outer_loop) m->outer_loop = outer;
    if (!m->inner_loop) m->inner_loop = r->ipc == 1 ? 1 : r->ipc == 30 ? 20 : r->ipc == 40 ? 15 : 500 / outer;
    return DD_OK;
}

static dd_status open_fit(dd_run *r, dd_gradmatch *m)
{
    const dd_trainer_opts o = {.aug = r->aug};
    const dd_fit_source src = {.images = &r->syn->images, .labels = dd_synset_labels(r->syn, false), .n = r->syn->m};
    dd_trainer *t = NULL;
    DD_TRY(dd_trainer_new(&t, r->backend, r->net, &o));
    return dd_fit_init(&m->fit, t, r->data, src, r->data->c * r->data->h * r->data->w,
                       m->batch_train); /* takes the trainer in any case */
}

static dd_status allocate(dd_run *r, dd_gradmatch *m)
{
    const dd_shape p = DD_SHAPE(dd_net_size(r->net));
    const int64_t classes = r->data->classes, stats = dd_net_stats(r->net);
    const int64_t items = m->batch_real > CALIBRATE ? m->batch_real : CALIBRATE;
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->target, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->mine, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->direction, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->loss, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->grad, r->dtype, r->syn->images.shape));
    DD_TRY(dd_tensor_init(&m->speed, DD_F32, r->syn->images.shape));
    if (stats) DD_TRY(dd_tensor_init(&m->stats, r->dtype, DD_SHAPE(stats)));
    m->items = dd_alloc((size_t)items, sizeof *m->items);
    m->draw = dd_alloc((size_t)classes, DD_AUG_PARAMS * sizeof *m->draw);
    return m->items && m->draw ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", items);
}

static int64_t largest_part(int64_t n)
{
    int64_t k = n < MOST_TOGETHER ? n : MOST_TOGETHER;
    while (n % k) k--;
    return k;
}

dd_status dd_gradmatch_build(dd_run *r, void *state)
{
    dd_gradmatch *m = state;
    const int64_t part = largest_part(r->ipc), chunk = m->chunk < m->batch_real ? m->chunk : m->batch_real;
    const int64_t classes = r->data->classes;
    m->one_program = part == r->ipc;
    DD_TRY(allocate(r, m));
    DD_TRY(open_fit(r, m));
    if (m->one_program) DD_TRY(build(r, m, &m->match, MATCH, part));
    if (!m->one_program || m->together) {
        DD_TRY(build(r, m, &m->syn, GRADIENT, part));
        DD_TRY(build(r, m, &m->apart, DISTANCE, 0));
        DD_TRY(build(r, m, &m->mixed, MIXED, part));
    }
    DD_TRY(build(r, m, &m->real, GRADIENT, chunk));
    if (m->batch_real % chunk) DD_TRY(build(r, m, &m->tail, GRADIENT, m->batch_real % chunk));
    return dd_net_stats(r->net) ? build(r, m, &m->calibrate, STATISTICS, CALIBRATE * classes) : DD_OK;
}

void dd_gradmatch_fini(void *state)
{
    dd_gradmatch *m = state;
    dd_gradpass *const passes[] = {&m->real, &m->tail, &m->calibrate, &m->match, &m->syn, &m->mixed, &m->apart};
    dd_tensor *const tensors[] = {&m->theta, &m->target, &m->mine, &m->direction,
                                  &m->loss,  &m->stats,  &m->grad, &m->speed};
    for (size_t i = 0; i < DD_LEN(passes); i++) pass_fini(passes[i]);
    for (size_t i = 0; i < DD_LEN(tensors); i++) dd_tensor_fini(tensors[i]);
    dd_fit_fini(&m->fit);
    dd_free(m->items);
    dd_free(m->draw);
}

int dd_gradmatch_gradients(void *state, dd_saved out[8])
{
    dd_gradmatch *m = state;
    out[0] = (dd_saved){"images", &m->grad};
    return 1;
}

int dd_gradmatch_saved(void *state, dd_saved out[8])
{
    dd_gradmatch *m = state;
    out[0] = (dd_saved){"speed", &m->speed};
    return 1;
}

/* --- a matching step --- */

static const float *shared(const dd_gradmatch *m, int64_t c)
{
    return m->siamese ? m->draw + c * DD_AUG_PARAMS : NULL;
}

/* Batch norm's statistics for this step: those of one batch that mixes real images of all classes. */
static dd_status calibrate(const dd_run *r, dd_gradmatch *m, dd_key key)
{
    if (!m->calibrate.p) return DD_OK;
    for (int64_t c = 0; c < r->data->classes; c++) {
        dd_run_sample_class(r, c, CALIBRATE, dd_key_at(key, "statistics", (uint64_t)c), m->items);
        dd_feed_items(&m->calibrate.in, r, c * CALIBRATE, m->items, CALIBRATE);
        dd_feed_augment(&m->calibrate.in, r, c * CALIBRATE, CALIBRATE, shared(m, c), key, "aug statistics",
                        c * CALIBRATE);
    }
    DD_TRY(dd_exec(m->calibrate.p));
    return dd_tensor_copy(&m->stats, &m->calibrate.out);
}

/* Adds `share` of the mean gradient on batch_real fresh images of class c to the target. */
static dd_status add_real(const dd_run *r, dd_gradmatch *m, int64_t c, double share, dd_key key)
{
    dd_run_sample_class(r, c, m->batch_real, dd_key_at(key, "real", (uint64_t)c), m->items);
    for (int64_t at = 0; at < m->batch_real;) {
        dd_gradpass *w = m->batch_real - at < m->real.in.n ? &m->tail : &m->real;
        dd_feed_items(&w->in, r, 0, m->items + at, w->in.n);
        dd_feed_class(&w->in, 0, c, w->in.n);
        dd_feed_augment(&w->in, r, 0, w->in.n, shared(m, c), key, "aug real", c * m->batch_real + at);
        DD_TRY(dd_exec(w->p));
        dd_add_scaled(&m->target, share * (double)w->in.n / (double)m->batch_real, &w->out);
        at += w->in.n;
    }
    return DD_OK;
}

/* Puts the synthetic images from number `at` on into a program. */
static void feed_part(const dd_run *r, const dd_gradmatch *m, dd_gradpass *w, int64_t at, dd_key key)
{
    dd_feed_synthetic(&w->in, r, 0, at, w->in.n);
    dd_feed_labels(&w->in, r, 0, at, w->in.n);
    dd_feed_augment(&w->in, r, 0, w->in.n, shared(m, at / r->ipc), key, "aug syn", at);
}

/* `share` of what w computed by its images into their rows of the gradient. */
static void take_part(dd_gradmatch *m, const dd_gradpass *w, int64_t at, double share)
{
    dd_tensor to = dd_tensor_rows(&m->grad, at, w->in.n);
    dd_set_zero(&to);
    dd_add_scaled(&to, share, &w->out);
}

/* The classes c0 .. c0+k-1 against the target; adds to *loss. */
static dd_status match(const dd_run *r, dd_gradmatch *m, int64_t c0, int64_t k, dd_key key, double *loss)
{
    if (k == 1 && m->one_program) {
        feed_part(r, m, &m->match, c0 * r->ipc, key);
        DD_TRY(dd_exec(m->match.p));
        take_part(m, &m->match, c0 * r->ipc, 1);
        *loss += dd_scalar(&m->loss);
        return DD_OK;
    }
    const int64_t part = m->syn.in.n, first = c0 * r->ipc, end = (c0 + k) * r->ipc;
    const double share = (double)part / (double)(k * r->ipc);
    dd_set_zero(&m->mine);
    for (int64_t at = first; at < end; at += part) {
        feed_part(r, m, &m->syn, at, key);
        DD_TRY(dd_exec(m->syn.p));
        dd_add_scaled(&m->mine, share, &m->syn.out);
    }
    DD_TRY(dd_exec(m->apart.p));
    *loss += dd_scalar(&m->loss);
    for (int64_t at = first; at < end; at += part) {
        feed_part(r, m, &m->mixed, at, key);
        DD_TRY(dd_exec(m->mixed.p));
        take_part(m, &m->mixed, at, share);
    }
    return DD_OK;
}

/* Distance, summed over classes that are matched one by one, and its gradient by the images. */
static dd_status step(const dd_run *r, dd_gradmatch *m, bool together, dd_key key, double *loss)
{
    const int64_t classes = r->data->classes, k = together ? classes : 1;
    *loss = 0;
    DD_TRY(dd_draw_classes(r, key, m->draw));
    DD_TRY(calibrate(r, m, key));
    for (int64_t c = 0; c < classes; c += k) {
        dd_set_zero(&m->target);
        for (int64_t i = c; i < c + k; i++) DD_TRY(add_real(r, m, i, 1.0 / (double)k, key));
        DD_TRY(match(r, m, c, k, key, loss));
    }
    return DD_OK;
}

dd_status dd_gradmatch_gradient(dd_run *r, void *state, dd_key key)
{
    dd_gradmatch *m = state;
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    return step(r, m, m->together, key, &r->loss);
}

static double rate(const void *self, int64_t at)
{
    (void)at;
    return ((const dd_gradmatch *)self)->lr_net;
}

static dd_status train(const dd_run *r, dd_gradmatch *m, dd_key key)
{
    double loss;
    for (int64_t e = 0; e < m->inner_loop; e++) {
        DD_TRY(dd_run_asked(r));
        DD_TRY(dd_fit_epoch(&m->fit, e, rate, m, key, &loss));
    }
    return DD_OK;
}

dd_status dd_gradmatch_iterate(dd_run *r, void *state, int64_t it)
{
    dd_gradmatch *m = state;
    const dd_key key = dd_key_at(r->key, "gradient matching", (uint64_t)it);
    dd_tensor *const theta = dd_trainer_theta(m->fit.trainer);
    double sum = 0, loss;
    DD_TRY(dd_trainer_reset(m->fit.trainer, dd_key_at(key, "theta", 0)));
    for (int64_t o = 0; o < m->outer_loop; o++) {
        const bool together = m->together && (it >= m->warmup_iterations || o >= m->warmup_matches);
        DD_TRY(dd_tensor_copy(&m->theta, theta));
        DD_TRY(step(r, m, together, dd_key_at(key, "match", (uint64_t)o), &loss));
        sum += loss;
        r->loss = sum / (double)(o + 1);
        if (!isfinite(loss)) return DD_OK; /* the driver says what happened; the images stay as they were */
        dd_sgd_update(dd_f32(&r->syn->images), dd_f32(&m->speed), dd_f32(&m->grad), dd_shape_count(m->grad.shape),
                      dd_cosine(it, m->schedule, m->lr_floor) * m->lr_img, m->momentum_img, 0);
        if (o + 1 < m->outer_loop) DD_TRY(train(r, m, dd_key_at(key, "train", (uint64_t)o)));
    }
    return DD_OK;
}
