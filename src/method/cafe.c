/* SPDX-License-Identifier: Apache-2.0
 *
 * CAFE (Wang, Zhao et al., CVPR 2022): in every layer of a network that is trained on S, the mean map of each class's
 * synthetic images should equal that of its real ones, and the mean embeddings of S should tell real images apart,
 *     L = sum_k w_k sum_c | mean F_k(A(s)) - mean F_k(A(x)) |^2 + w_inner sum_i CE( [<F(x_i), mean F_c(s)>]_c, y_i ),
 * with k over the hidden layers before pooling, the last one after pooling, and the embedding F. Real images are
 * constants. The synthetic means are taken first, so that real images can pass in chunks and leave only their means and
 * what the cross-entropy pulls the synthetic means towards; synthetic images pass a second time for their gradient.
 * Knows graph, exec, nn, data, eval. */
#include "base/memory.h"
#include "eval/fit.h"
#include "method/feed.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LAYERS = DD_NET_MAPS + 1, QUEUE = 10, TEST_BATCH = 256 };

typedef enum kind { MEANS, REAL, BACK } kind;

/* A compiled program for `groups` classes of `per` images each, and its tensors. */
typedef struct pass {
    dd_program *p;
    int64_t groups, per;
    dd_feed in;
    dd_tensor layer[LAYERS]; /* [groups,size] mean maps; what BACK reads: their differences */
    dd_tensor pull;          /* REAL: [classes,F], of its images; BACK: [groups,F], for its classes */
    dd_tensor out;           /* REAL: summed cross-entropy; BACK: gradient of the images */
} pass;

typedef struct cafe {
    double lr_img, momentum_img, lr_net, weight_early, weight_last, weight_pool, weight_features, weight_inner;
    double lambda1, lambda2;
    int64_t batch_real, batch_train, test_real, outer_max, inner_max, schedule, chunk, chunk_syn;
    bool siamese;
    int layers; /* hidden ones, and the embedding after them */
    pass means, real, tail, back;
    dd_fit fit;                   /* trains the network on S */
    dd_tensor theta;              /* [P] */
    dd_tensor difference[LAYERS]; /* [classes,size] synthetic mean less real mean */
    dd_tensor centres, pull;      /* [classes,F] synthetic means; derivative of the cross-entropy by them */
    dd_tensor grad, speed;        /* of the images */
    int32_t *items;               /* [batch_real] or [classes,test_real] */
    float *draw;                  /* [classes,DD_AUG_PARAMS] */
} cafe;

/* The authors' loops have no bound, and measuring the network costs half of a matching step. 20 steps leave the first
 * rule its say after the 10 it waits for. The second cannot end a training before its 10th epoch; where that is the
 * last, nothing has to be measured, and a training costs next to nothing. 2000 iterations are then 20000 to 40000
 * steps, one to two times dm's, while a training that waits for the accuracy to move costs ten measurements at least
 * for each of them. */
static const dd_option options[] = {
    {"lr_img", DD_OPT_REAL, offsetof(cafe, lr_img), "0.1", 0, 1e9, NULL,
     "learning rate of the pixels; halved after 60, 80 and 90 % of the schedule"},
    {"momentum_img", DD_OPT_REAL, offsetof(cafe, momentum_img), "0.5", 0, 0.999, NULL, "momentum of the pixels"},
    {"schedule", DD_OPT_INT, offsetof(cafe, schedule), "0", 0, 1e9, NULL,
     "iterations that the halvings are laid out on; 0: those of the run"},
    {"lr_net", DD_OPT_REAL, offsetof(cafe, lr_net), "0.01", 0, 1e3, NULL,
     "learning rate of the network that is trained on the set in between"},
    {"weight_early", DD_OPT_REAL, offsetof(cafe, weight_early), "0.1", 0, 1e9, NULL,
     "weight of the hidden layers but the last, before pooling"},
    {"weight_last", DD_OPT_REAL, offsetof(cafe, weight_last), "1", 0, 1e9, NULL,
     "weight of the last hidden layer before pooling"},
    {"weight_pool", DD_OPT_REAL, offsetof(cafe, weight_pool), "1", 0, 1e9, NULL, "weight of the same after pooling"},
    {"weight_features", DD_OPT_REAL, offsetof(cafe, weight_features), "1", 0, 1e9, NULL,
     "weight of the embedding, the same numbers once more"},
    {"weight_inner", DD_OPT_REAL, offsetof(cafe, weight_inner), "0.01", 0, 1e9, NULL,
     "weight of the cross-entropy of real images by the classes' mean embeddings"},
    {"lambda1", DD_OPT_REAL, offsetof(cafe, lambda1), "0.04", 0, 1, NULL,
     "a network is given up when its last 10 accuracies after matching lie within this; the paper says 0.05"},
    {"lambda2", DD_OPT_REAL, offsetof(cafe, lambda2), "0.03", 0, 1, NULL,
     "training on the set stops when its last 10 accuracies differ by more than this; the paper says 0.05"},
    {"outer_max", DD_OPT_INT, offsetof(cafe, outer_max), "20", 1, 100000, NULL,
     "matching steps per network at most; up to 10, nothing is measured"},
    {"inner_max", DD_OPT_INT, offsetof(cafe, inner_max), "10", 0, 100000, NULL,
     "epochs on the set between them at most; up to 10, nothing is measured"},
    {"test_real", DD_OPT_INT, offsetof(cafe, test_real), "128", 1, 65536, NULL,
     "real images per class that an accuracy is measured on"},
    {"batch_real", DD_OPT_INT, offsetof(cafe, batch_real), "256", 1, 65536, NULL,
     "real images per class and matching step"},
    {"batch_train", DD_OPT_INT, offsetof(cafe, batch_train), "256", 1, 65536, NULL,
     "synthetic images per step of the network's training"},
    {"siamese", DD_OPT_BOOL, offsetof(cafe, siamese), "true", 0, 0, NULL,
     "one augmentation per class for real and synthetic images alike; false: one per image"},
    {"chunk", DD_OPT_INT, offsetof(cafe, chunk), "64", 1, 65536, NULL,
     "real images that pass at a time (memory, speed)"},
    {"chunk_syn", DD_OPT_INT, offsetof(cafe, chunk_syn), "128", 1, 65536, NULL,
     "synthetic images that pass at a time at most"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

/* --- layers --- */

static int64_t layer_size(const dd_run *r, int k)
{
    return k < dd_net_maps(r->net) ? dd_net_map_size(r->net, k) : dd_net_features(r->net);
}

static double layer_weight(const cafe *m, int k)
{
    if (k + 1 == m->layers) return m->weight_pool + m->weight_features;
    return k + 2 == m->layers ? m->weight_last : m->weight_early;
}

static const char *layer_name(int k)
{
    static const char *const names[LAYERS] = {"layer1", "layer2", "layer3", "layer4", "layer5",
                                              "layer6", "layer7", "layer8", "layer9"};
    return names[k];
}

/* --- programs --- */

static void pass_fini(pass *w)
{
    dd_program_free(w->p);
    dd_feed_fini(&w->in);
    for (int k = 0; k < LAYERS; k++) dd_tensor_fini(&w->layer[k]);
    dd_tensor_fini(&w->pull);
    dd_tensor_fini(&w->out);
}

/* Means over the images of each class, [groups,size]. */
static void class_means(dd_graph *g, const dd_run *r, const cafe *m, const pass *w, const dd_net_out *o, dd_val *mean)
{
    for (int k = 0; k < m->layers; k++) {
        const int64_t size = layer_size(r, k);
        const dd_val map = k + 1 == m->layers ? o->features : o->maps[k];
        const dd_val grouped = dd_reshape(g, map, DD_SHAPE(w->groups, w->per, size));
        mean[k] = dd_reshape(g, dd_mean(g, grouped, 2), DD_SHAPE(w->groups, size));
    }
}

/* Cross-entropy of real images whose logits are inner products with the synthetic means, summed. */
static void build_inner(dd_graph *g, const dd_run *r, const pass *w, dd_val features, dd_val y)
{
    const int64_t n = w->groups * w->per;
    const dd_val centres = dd_input(g, "centres", r->dtype, DD_SHAPE(r->data->classes, dd_net_features(r->net)));
    const dd_val sum = dd_scale(g, dd_xent(g, dd_matmul(g, features, centres, false, true), y), (double)n);
    dd_val pull;
    dd_grad(g, sum, 1, &centres, &pull);
    dd_output(g, "out", sum);
    dd_output(g, "pull", pull);
}

/* The derivative of L by the means, which are known, times that of the means by the images. */
static void build_back(dd_graph *g, const dd_run *r, const cafe *m, const pass *w, const dd_val *mean, dd_val x)
{
    const int last = m->layers - 1;
    const dd_val pull = dd_input(g, "pull", r->dtype, DD_SHAPE(w->groups, layer_size(r, last)));
    dd_val along = dd_scale(g, dd_dot(g, pull, mean[last]), m->weight_inner), grad;
    for (int k = 0; k <= last; k++) {
        const dd_val d = dd_input(g, layer_name(k), r->dtype, DD_SHAPE(w->groups, layer_size(r, k)));
        along = dd_add(g, along, dd_scale(g, dd_dot(g, d, mean[k]), 2 * layer_weight(m, k)));
    }
    dd_grad(g, along, 1, &x, &grad);
    dd_output(g, "out", grad);
}

static void build_graph(dd_graph *g, const dd_run *r, const cafe *m, const pass *w, kind which)
{
    const dd_val theta = dd_input(g, "theta", r->dtype, DD_SHAPE(dd_net_size(r->net)));
    const dd_fed in = dd_feed_inputs(g, r, w->groups * w->per, which == REAL);
    const dd_net_out o = dd_net_apply(g, r->net, theta, in.seen, (dd_val){0});
    dd_val mean[LAYERS];
    class_means(g, r, m, w, &o, mean);
    if (which == BACK) {
        build_back(g, r, m, w, mean, in.x);
        return;
    }
    for (int k = 0; k < m->layers; k++) dd_output(g, layer_name(k), mean[k]);
    if (which == REAL) build_inner(g, r, w, o.features, in.y);
}

static dd_status allocate_pass(const dd_run *r, const cafe *m, pass *w, kind which)
{
    const int64_t f = dd_net_features(r->net);
    DD_TRY(dd_feed_init(&w->in, r, w->groups * w->per, which == REAL));
    for (int k = 0; k < m->layers; k++)
        DD_TRY(dd_tensor_init(&w->layer[k], r->dtype, DD_SHAPE(w->groups, layer_size(r, k))));
    if (which == MEANS) return DD_OK;
    DD_TRY(dd_tensor_init(&w->pull, r->dtype, DD_SHAPE(which == REAL ? r->data->classes : w->groups, f)));
    return dd_tensor_init(&w->out, r->dtype, which == REAL ? DD_SCALAR : w->in.x.shape);
}

static dd_status bind(const dd_run *r, const cafe *m, pass *w, kind which)
{
    DD_TRY(dd_feed_bind(&w->in, r, w->p));
    DD_TRY(dd_bind(w->p, "theta", &m->theta));
    for (int k = 0; k < m->layers; k++) DD_TRY(dd_bind(w->p, layer_name(k), &w->layer[k]));
    if (which == MEANS) return DD_OK;
    if (which == REAL) DD_TRY(dd_bind(w->p, "centres", &m->centres));
    DD_TRY(dd_bind(w->p, "pull", &w->pull));
    return dd_bind(w->p, "out", &w->out);
}

static dd_status build(const dd_run *r, const cafe *m, pass *w, kind which, int64_t groups, int64_t per)
{
    w->groups = groups;
    w->per = per;
    DD_TRY(allocate_pass(r, m, w, which));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    build_graph(g, r, m, w, which);
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    return bind(r, m, w, which);
}

/* --- life --- */

static dd_status cafe_settle(dd_run *r, void *state)
{
    cafe *m = state;
    /* A run that is made longer later must not change what its first iterations were: it keeps this number. */
    if (!m->schedule) m->schedule = r->iterations;
    m->layers = dd_net_maps(r->net) + 1;
    return DD_OK;
}

static dd_status open_fit(dd_run *r, cafe *m)
{
    const dd_trainer_opts o = {.aug = r->aug};
    const dd_fit_source src = {.images = &r->syn->images, .labels = &r->syn->labels, .n = r->syn->m};
    dd_trainer *t = NULL;
    DD_TRY(dd_trainer_new(&t, r->backend, r->net, &o));
    return dd_fit_init(&m->fit, t, r->data, src, r->data->c * r->data->h * r->data->w,
                       m->batch_train); /* takes the trainer in any case */
}

static dd_status allocate(dd_run *r, cafe *m)
{
    const int64_t classes = r->data->classes, f = dd_net_features(r->net), tests = classes * m->test_real;
    const int64_t items = tests > m->batch_real ? tests : m->batch_real;
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, DD_SHAPE(dd_net_size(r->net))));
    for (int k = 0; k < m->layers; k++)
        DD_TRY(dd_tensor_init(&m->difference[k], r->dtype, DD_SHAPE(classes, layer_size(r, k))));
    DD_TRY(dd_tensor_init(&m->centres, r->dtype, DD_SHAPE(classes, f)));
    DD_TRY(dd_tensor_init(&m->pull, r->dtype, DD_SHAPE(classes, f)));
    DD_TRY(dd_tensor_init(&m->grad, r->dtype, r->syn->images.shape));
    DD_TRY(dd_tensor_init(&m->speed, DD_F32, r->syn->images.shape));
    m->items = dd_alloc((size_t)items, sizeof *m->items);
    m->draw = dd_alloc((size_t)classes, DD_AUG_PARAMS * sizeof *m->draw);
    return m->items && m->draw ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", items);
}

/* The largest divisor of n that is at most `most`. */
static int64_t largest_part(int64_t n, int64_t most)
{
    int64_t k = n < most ? n : most;
    while (k > 1 && n % k) k--;
    return k > 0 ? k : 1;
}

static dd_status cafe_build(dd_run *r, void *state)
{
    cafe *m = state;
    const int64_t chunk = m->chunk < m->batch_real ? m->chunk : m->batch_real, rest = m->batch_real % chunk;
    const int64_t per = largest_part(r->ipc, m->chunk_syn);
    const int64_t groups = largest_part(r->data->classes, m->chunk_syn / r->ipc); /* 1 for a part of a class */
    DD_TRY(allocate(r, m));
    DD_TRY(open_fit(r, m));
    DD_TRY(build(r, m, &m->means, MEANS, groups, per));
    DD_TRY(build(r, m, &m->back, BACK, groups, per));
    DD_TRY(build(r, m, &m->real, REAL, 1, chunk));
    return rest ? build(r, m, &m->tail, REAL, 1, rest) : DD_OK;
}

static void cafe_fini(void *state)
{
    cafe *m = state;
    pass *const passes[] = {&m->means, &m->real, &m->tail, &m->back};
    dd_tensor *const tensors[] = {&m->theta, &m->centres, &m->pull, &m->grad, &m->speed};
    for (size_t i = 0; i < DD_LEN(passes); i++) pass_fini(passes[i]);
    for (size_t i = 0; i < DD_LEN(tensors); i++) dd_tensor_fini(tensors[i]);
    for (int k = 0; k < LAYERS; k++) dd_tensor_fini(&m->difference[k]);
    dd_fit_fini(&m->fit);
    dd_free(m->items);
    dd_free(m->draw);
}

static int cafe_gradients(void *state, dd_saved out[8])
{
    cafe *m = state;
    out[0] = (dd_saved){"images", &m->grad};
    return 1;
}

static int cafe_saved(void *state, dd_saved out[8])
{
    cafe *m = state;
    out[0] = (dd_saved){"speed", &m->speed};
    return 1;
}

/* --- a matching step --- */

static const float *shared(const cafe *m, int64_t c)
{
    return m->siamese ? m->draw + c * DD_AUG_PARAMS : NULL;
}

/* Adds `share` of what w computed to the differences of the classes from c on. */
static void add_means(cafe *m, const pass *w, int64_t c, double share)
{
    for (int k = 0; k < m->layers; k++) {
        dd_tensor to = dd_tensor_rows(&m->difference[k], c, w->groups);
        dd_add_scaled(&to, share, &w->layer[k]);
    }
}

/* Puts the synthetic images from number `at` on into a program. */
static void feed_part(const dd_run *r, const cafe *m, pass *w, int64_t at, dd_key key)
{
    for (int64_t i = 0; i < w->groups; i++)
        dd_feed_augment(&w->in, r, i * w->per, w->per, shared(m, at / r->ipc + i), key, "aug syn", at + i * w->per);
    dd_feed_synthetic(&w->in, r, 0, at, w->in.n);
}

static dd_status take_synthetic(const dd_run *r, cafe *m, dd_key key)
{
    pass *w = &m->means;
    for (int k = 0; k < m->layers; k++) dd_set_zero(&m->difference[k]);
    for (int64_t at = 0; at < r->syn->m; at += w->in.n) {
        feed_part(r, m, w, at, key);
        DD_TRY(dd_exec(w->p));
        add_means(m, w, at / r->ipc, (double)w->per / (double)r->ipc);
    }
    return dd_tensor_copy(&m->centres, &m->difference[m->layers - 1]);
}

/* batch_real fresh images of class c; adds their cross-entropy to *loss. */
static dd_status take_real(const dd_run *r, cafe *m, int64_t c, dd_key key, double *loss)
{
    dd_run_sample_class(r, c, m->batch_real, dd_key_at(key, "real", (uint64_t)c), m->items);
    for (int64_t at = 0; at < m->batch_real;) {
        pass *w = m->batch_real - at < m->real.per ? &m->tail : &m->real;
        dd_feed_items(&w->in, r, 0, m->items + at, w->per);
        dd_feed_class(&w->in, 0, c, w->per);
        dd_feed_augment(&w->in, r, 0, w->per, shared(m, c), key, "aug real", c * m->batch_real + at);
        DD_TRY(dd_exec(w->p));
        add_means(m, w, c, -(double)w->per / (double)m->batch_real);
        dd_add_scaled(&m->pull, 1, &w->pull);
        *loss += m->weight_inner * dd_scalar(&w->out);
        at += w->per;
    }
    return DD_OK;
}

static dd_status take_gradient(const dd_run *r, cafe *m, dd_key key)
{
    pass *w = &m->back;
    for (int64_t at = 0; at < r->syn->m; at += w->in.n) {
        const int64_t c = at / r->ipc;
        const double share = (double)w->per / (double)r->ipc;
        dd_tensor grad = dd_tensor_rows(&m->grad, at, w->in.n);
        for (int k = 0; k < m->layers; k++) {
            const dd_tensor d = dd_tensor_rows(&m->difference[k], c, w->groups);
            DD_TRY(dd_tensor_copy(&w->layer[k], &d));
        }
        const dd_tensor pull = dd_tensor_rows(&m->pull, c, w->groups);
        DD_TRY(dd_tensor_copy(&w->pull, &pull));
        feed_part(r, m, w, at, key);
        DD_TRY(dd_exec(w->p));
        dd_set_zero(&grad);
        dd_add_scaled(&grad, share, &w->out);
    }
    return DD_OK;
}

/* L and its gradient by the images. */
static dd_status step(const dd_run *r, cafe *m, dd_key key, double *loss)
{
    *loss = 0;
    DD_TRY(dd_draw_classes(r, key, m->draw));
    DD_TRY(take_synthetic(r, m, key));
    dd_set_zero(&m->pull);
    for (int64_t c = 0; c < r->data->classes; c++) DD_TRY(take_real(r, m, c, key, loss));
    for (int k = 0; k < m->layers; k++) *loss += layer_weight(m, k) * dd_sum_squares(&m->difference[k]);
    return take_gradient(r, m, key);
}

static dd_status cafe_gradient(dd_run *r, void *state, dd_key key)
{
    cafe *m = state;
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    return step(r, m, key, &r->loss);
}

/* --- the network between steps --- */

/* The last accuracies of a network. */
typedef struct queue {
    double value[QUEUE];
    int n;
} queue;

/* Measures the network on fresh real images. */
static dd_status measure(const dd_run *r, cafe *m, queue *q, dd_key key)
{
    const int64_t classes = r->data->classes;
    if (q->n == QUEUE) memmove(q->value, q->value + 1, (size_t)--q->n * sizeof *q->value);
    for (int64_t c = 0; c < classes; c++)
        dd_run_sample_class(r, c, m->test_real, dd_key_at(key, "test", (uint64_t)c), m->items + c * m->test_real);
    return dd_fit_accuracy(m->fit.trainer, r->data, &r->data->train, m->items, classes * m->test_real, TEST_BATCH,
                           &q->value[q->n++]);
}

static double spread(const queue *q)
{
    double low = q->value[0], high = q->value[0];
    for (int i = 1; i < q->n; i++) {
        low = fmin(low, q->value[i]);
        high = fmax(high, q->value[i]);
    }
    return high - low;
}

static double rate(const void *self, int64_t at)
{
    (void)at;
    return ((const cafe *)self)->lr_net;
}

/* On the set, until the accuracy has moved. */
static dd_status train(const dd_run *r, cafe *m, dd_key key)
{
    queue q = {.n = 0};
    double loss;
    for (int64_t e = 0; e < m->inner_max; e++) {
        DD_TRY(dd_run_asked(r));
        DD_TRY(dd_fit_epoch(&m->fit, e, rate, m, key, &loss));
        if (m->inner_max <= QUEUE || e + 1 == m->inner_max) continue; /* the cap comes first */
        DD_TRY(measure(r, m, &q, dd_key_at(key, "accuracy", (uint64_t)e)));
        if (q.n == QUEUE && spread(&q) > m->lambda2) break;
    }
    return DD_OK;
}

/* Whether the accuracy of the network has stopped moving; and if not, what comes before its next matching step. */
static dd_status go_on(const dd_run *r, cafe *m, queue *q, dd_key key, bool *over)
{
    if (m->outer_max > QUEUE) DD_TRY(measure(r, m, q, dd_key_at(key, "accuracy", 0)));
    *over = q->n == QUEUE && spread(q) < m->lambda1;
    return *over ? DD_OK : train(r, m, dd_key_at(key, "train", 0));
}

static double lr_img(const cafe *m, int64_t it)
{
    const int64_t tenths = m->schedule > 0 ? 10 * it / m->schedule : 0;
    return m->lr_img / (tenths >= 9 ? 8 : tenths >= 8 ? 4 : tenths >= 6 ? 2 : 1);
}

static dd_status cafe_iterate(dd_run *r, void *state, int64_t it)
{
    cafe *m = state;
    const dd_key run = dd_key_at(r->key, "cafe", (uint64_t)it);
    dd_tensor *const theta = dd_trainer_theta(m->fit.trainer);
    queue q = {.n = 0};
    double sum = 0, loss;
    bool over = false;
    DD_TRY(dd_trainer_reset(m->fit.trainer, dd_key_at(run, "theta", 0)));
    for (int64_t o = 0; o < m->outer_max && !over; o++) {
        const dd_key key = dd_key_at(run, "step", (uint64_t)o);
        DD_TRY(dd_run_asked(r));
        DD_TRY(dd_tensor_copy(&m->theta, theta));
        DD_TRY(step(r, m, key, &loss));
        sum += loss;
        r->loss = sum / (double)(o + 1);
        if (!isfinite(loss)) return DD_OK; /* the driver says what happened; the images stay as they were */
        dd_sgd_update(dd_f32(&r->syn->images), dd_f32(&m->speed), dd_f32(&m->grad), dd_shape_count(m->grad.shape),
                      lr_img(m, it), m->momentum_img, 0);
        if (o + 1 < m->outer_max) DD_TRY(go_on(r, m, &q, key, &over));
    }
    return DD_OK;
}

const dd_method dd_method_cafe = {
    .name = "cafe",
    .title = "Aligning features of all layers",
    .cite = "Wang, Zhao et al. 2022",
    .cost = "up to outer_max steps like dm's at all layers, each followed by epochs on the set",
    .memory = "chunk and chunk_syn, images at a time, and their maps",
    .not_batch = "means are taken class by class, and it normalises a batch by what its classes have together",
    .options = options,
    .state_size = sizeof(cafe),
    .iterations = 2000,
    .order = 1,
    .init = "noise",
    .aug = "none",
    .protocol = "dc",
    .settle = cafe_settle,
    .build = cafe_build,
    .iterate = cafe_iterate,
    .saved = cafe_saved,
    .gradient = cafe_gradient,
    .gradients = cafe_gradients,
    .fini = cafe_fini,
};
