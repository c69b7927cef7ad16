/* SPDX-License-Identifier: Apache-2.0
 *
 * Label distillation (Bohdal, Yang, Hospedales 2020), second-order form: the images are fixed real ones, and their soft
 * labels are such that a network's step on them lowers its loss on real images,
 *     L = l(theta - alpha grad l(theta; X_b, Y_b); real batch),
 * or, in the first-order form, such that a ridge regression of them on the network's features does (ridge.h), along the
 * training of a network that begins anew when it gets no better; how long it took to get there is how long
 * networks should be trained. Knows graph, exec, nn, data. */
#include "base/memory.h"
#include "method/lossgrad.h"
#include "method/ridge.h"
#include "method/unroll.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { COUNTS = 3, STEPS = 0, BEST_STEP, BEST_MEAN, AGE, FOUND }; /* places in the memory, see below */

typedef struct ld {
    /* options */
    char form[DD_OPT_TEXT];
    double lr_label, lr_inner, lr_net, ridge, mix, lr_scale;
    int64_t batch_syn, batch_real, window, chunk, keep;
    /* the rest is its own */
    const dd_run *r;
    dd_key key;
    dd_unroll *unroll; /* of the one step */
    dd_lossgrad inner; /* the network's own training */
    dd_judge judge;
    dd_ridge regression; /* in place of these three */
    dd_stream real;
    dd_tensor theta, end, now;    /* [P]; now: what the judge looks at */
    dd_tensor head, scale;        /* F32 [F+1,classes] the classifier so far; [3] its scale and that one's Adam */
    dd_tensor net, first, second; /* F32 [P] the network at hand and its Adam */
    dd_tensor label_grad, l_first, l_second; /* [M,classes], F32 but for the gradient */
    /* F64: steps of the network at hand; the one with the least mean of the last `window` losses and that mean;
     * networks so far; the last COUNTS best steps; the losses themselves. */
    dd_tensor memory;
    int32_t *pick, *permutation; /* [batch] [M] */
} ld;

static const dd_option options[] = {
    {"form", DD_OPT_CHOICE, offsetof(ld, form), "second", 0, 0, "second|ridge",
     "second: through a step of the network; ridge: through a regression on its features"},
    {"ridge", DD_OPT_REAL, offsetof(ld, ridge), "1", 1e-9, 1e9, NULL, "regulariser of the regression"},
    {"mix", DD_OPT_REAL, offsetof(ld, mix), "0.01", 0, 1, NULL, "share of a batch's regression in the classifier"},
    {"lr_scale", DD_OPT_REAL, offsetof(ld, lr_scale), "0.01", 0, 100, NULL,
     "Adam's learning rate of the scale of the classifier's output"},
    {"lr_label", DD_OPT_REAL, offsetof(ld, lr_label), "0.001", 0, 1e3, NULL, "Adam's learning rate of the labels"},
    {"lr_inner", DD_OPT_REAL, offsetof(ld, lr_inner), "0.01", 1e-9, 100, NULL,
     "of the step through which labels are differentiated"},
    {"lr_net", DD_OPT_REAL, offsetof(ld, lr_net), "0.001", 0, 100, NULL, "Adam's learning rate of the network"},
    {"batch_syn", DD_OPT_INT, offsetof(ld, batch_syn), "0", 0, 1e6, NULL,
     "images of a step; 0: half of them from 50 images on, else 10 or as many as there are"},
    {"batch_real", DD_OPT_INT, offsetof(ld, batch_real), "1024", 1, 1e6, NULL, "real images of an iteration"},
    {"window", DD_OPT_INT, offsetof(ld, window), "0", 0, 10000, NULL,
     "steps over which losses are averaged, and without a better mean of which a new network begins; 0: 50, or 200 for "
     "more than 100 images"},
    DD_UNROLL_KEEP(ld, keep),
    {"chunk", DD_OPT_INT, offsetof(ld, chunk), "256", 1, 65536, NULL,
     "real images that pass at a time (memory, speed)"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static bool by_ridge(const ld *m)
{
    return strcmp(m->form, "ridge") == 0;
}

static dd_status ld_settle(dd_run *r, void *state)
{
    ld *m = state;
    const int64_t n = r->syn->m;
    if (!m->batch_syn) m->batch_syn = n >= 50 ? n / 2 : n > 10 ? 10 : n;
    if (m->batch_syn > n)
        return dd_fail(DD_EINVAL, "batch_syn is %" PRId64 " and the set has %" PRId64 " images", m->batch_syn, n);
    if (!m->window) m->window = n > 100 ? 200 : 50;
    if (m->batch_real > r->nitems) m->batch_real = r->nitems;
    r->batch = m->batch_syn;
    float *y = dd_f32(&r->syn->soft_labels); /* they know nothing at first */
    for (int64_t i = 0; i < n * r->syn->classes; i++) y[i] = 1.0f / (float)r->syn->classes;
    return DD_OK;
}

static dd_status allocate(dd_run *r, ld *m)
{
    const dd_shape p = DD_SHAPE(dd_net_size(r->net)), labels = r->syn->soft_labels.shape;
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->now, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->end, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->net, DD_F32, p));
    DD_TRY(dd_tensor_init(&m->first, DD_F32, p));
    DD_TRY(dd_tensor_init(&m->second, DD_F32, p));
    DD_TRY(dd_tensor_init(&m->label_grad, r->dtype, labels));
    DD_TRY(dd_tensor_init(&m->l_first, DD_F32, labels));
    DD_TRY(dd_tensor_init(&m->l_second, DD_F32, labels));
    DD_TRY(dd_tensor_init(&m->memory, DD_F64, DD_SHAPE(FOUND + COUNTS + m->window)));
    DD_TRY(dd_tensor_init(&m->head, DD_F32, DD_SHAPE(dd_net_features(r->net) + 1, r->data->classes)));
    DD_TRY(dd_tensor_init(&m->scale, DD_F32, DD_SHAPE(3)));
    dd_f32(&m->scale)[0] = 1;
    m->pick = dd_alloc((size_t)m->batch_syn, sizeof *m->pick);
    m->permutation = dd_alloc((size_t)r->syn->m, sizeof *m->permutation);
    return m->pick && m->permutation ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for image numbers");
}

static dd_status ld_build(dd_run *r, void *state)
{
    ld *m = state;
    const int64_t n = r->given ? r->nitems : m->batch_real;
    const dd_unroll_opts o = {.steps = 1, .batch = m->batch_syn, .labels = true, .keep = m->keep};
    m->r = r;
    DD_TRY(allocate(r, m));
    DD_TRY(dd_stream_init(&m->real, r, n));
    if (by_ridge(m)) {
        const dd_tensor *aug = r->given ? r->given->aug : NULL;
        if (aug && r->aug.list && aug->shape.dim[0] != m->batch_syn)
            return dd_fail(DD_EINVAL, "\"aug\" has %" PRId64 " rows, and a batch of %" PRId64 " images needs as many",
                           aug->shape.dim[0], m->batch_syn);
        m->regression.ridge = m->ridge;
        m->regression.mix = m->mix;
        return dd_ridge_init(&m->regression, r, m->batch_syn, n, m->chunk);
    }
    DD_TRY(dd_unroll_new(&m->unroll, r, &o));
    DD_TRY(dd_lossgrad_init(&m->inner, r, m->batch_syn, true, &m->theta));
    return dd_judge_init(&m->judge, r, n, m->chunk, &m->now);
}

static void ld_fini(void *state)
{
    ld *m = state;
    dd_tensor *const all[] = {&m->theta,      &m->end,     &m->now,      &m->net,    &m->first, &m->second,
                              &m->label_grad, &m->l_first, &m->l_second, &m->memory, &m->head,  &m->scale};
    dd_unroll_free(m->unroll);
    dd_lossgrad_fini(&m->inner);
    dd_judge_fini(&m->judge);
    dd_ridge_fini(&m->regression);
    dd_stream_fini(&m->real);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(m->pick);
    dd_free(m->permutation);
}

static int ld_saved(void *state, dd_saved out[8])
{
    ld *m = state;
    const dd_saved all[] = {{"net", &m->net},
                            {"net_first", &m->first},
                            {"net_second", &m->second},
                            {"label_first", &m->l_first},
                            {"label_second", &m->l_second},
                            {"memory", &m->memory},
                            {"head", &m->head},
                            {"scale", &m->scale}};
    memcpy(out, all, sizeof all);
    return (int)DD_LEN(all);
}

static int ld_gradients(void *state, dd_saved out[8])
{
    ld *m = state;
    out[0] = (dd_saved){"labels", &m->label_grad};
    return 1;
}

/* --- one step --- */

static void feed(void *self, int64_t step, dd_feed *f)
{
    const ld *m = self;
    for (int64_t i = 0; i < f->n; i++) {
        dd_feed_synthetic(f, m->r, i, m->pick[i], 1);
        dd_feed_labels(f, m->r, i, m->pick[i], 1);
    }
    dd_feed_augment_batch(f, m->r, dd_key_at(m->key, "aug", 0), step * f->n);
}

/* The gradient of the batch's labels into the rows of all. */
static void take_labels(ld *m, const dd_tensor *dy)
{
    for (int64_t i = 0; i < m->batch_syn; i++) {
        dd_tensor to = dd_tensor_rows(&m->label_grad, m->pick[i], 1);
        const dd_tensor from = dd_tensor_rows(dy, i, 1);
        dd_add_scaled(&to, 1, &from);
    }
}

static void take(void *self, int64_t step, const dd_tensor *dx, const dd_tensor *dy)
{
    (void)step, (void)dx; /* the images stay */
    take_labels(self, dy);
}

static void put(dd_tensor *to, const dd_tensor *from)
{
    dd_set_zero(to);
    dd_add_scaled(to, 1, from);
}

static dd_status by_regression(dd_run *r, ld *m)
{
    dd_ridge *q = &m->regression;
    const dd_tensor scale = dd_tensor_view(DD_F32, DD_SCALAR, m->scale.data);
    put(&q->theta, &m->theta);
    put(&q->before, &m->head);
    put(&q->scale, &scale);
    feed(m, 0, &q->in);
    DD_TRY(dd_ridge_judge(q, r, m->real.items, &r->loss));
    dd_set_zero(&m->label_grad);
    take_labels(m, &q->dy);
    return DD_OK;
}

/* theta, pick and the real items are there: the loss, and its gradient by the labels. */
static dd_status differentiate(dd_run *r, ld *m)
{
    double dalpha;
    if (by_ridge(m)) return by_regression(r, m);
    DD_TRY(dd_unroll_forward(m->unroll, &m->theta, &m->lr_inner, feed, m));
    const dd_tensor after = dd_unroll_theta(m->unroll, 1);
    DD_TRY(dd_tensor_copy(&m->now, &after));
    DD_TRY(dd_judge_run(&m->judge, r, m->real.items, &r->loss, &m->end));
    dd_set_zero(&m->label_grad);
    return dd_unroll_backward(m->unroll, &m->end, &m->lr_inner, &dalpha, feed, take, m);
}

static dd_status ld_gradient(dd_run *r, void *state, dd_key key)
{
    ld *m = state;
    const dd_tensor *index = r->given->index;
    m->key = key;
    if (!index || dd_shape_count(index->shape) != m->batch_syn)
        return dd_fail(DD_EINVAL, "the file needs a tensor \"index\" [1,%" PRId64 "], the images of the step",
                       m->batch_syn);
    memcpy(m->pick, index->data, (size_t)m->batch_syn * sizeof *m->pick);
    memcpy(m->real.items, r->items, (size_t)r->nitems * sizeof *m->real.items);
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    return differentiate(r, m);
}

/* --- the network at hand --- */

static dd_status begin(dd_run *r, ld *m)
{
    double *note = dd_f64(&m->memory);
    DD_TRY(dd_net_init(r->net, &m->net, dd_key_at(r->key, "network", (uint64_t)note[AGE])));
    dd_set_zero(&m->first);
    dd_set_zero(&m->second);
    dd_set_zero(&m->head);
    note[AGE]++;
    note[STEPS] = note[BEST_STEP] = 0;
    note[BEST_MEAN] = HUGE_VAL;
    return DD_OK;
}

/* Steps at which the last networks were at their best, as epochs over the set. */
static void recommend(dd_run *r, const ld *m)
{
    const double *found = dd_f64(&m->memory) + FOUND;
    double sum = 0, n = 0;
    for (int i = 0; i < COUNTS; i++) {
        sum += found[i];
        n += found[i] > 0;
    }
    if (n > 0) r->epochs = (int64_t)ceil(sum / n * (double)m->batch_syn / (double)r->syn->m);
}

/* Watches the mean of the last losses; true: the network gets no better. */
static bool watch(dd_run *r, ld *m)
{
    double *note = dd_f64(&m->memory), *ring = note + FOUND + COUNTS, mean = 0;
    const int64_t step = (int64_t)note[STEPS]++;
    ring[step % m->window] = r->loss;
    if (step + 1 < m->window) return false;
    for (int64_t i = 0; i < m->window; i++) mean += ring[i] / (double)m->window;
    if (mean < note[BEST_MEAN]) {
        note[BEST_MEAN] = mean;
        note[BEST_STEP] = (double)step + 1;
    }
    if ((double)step + 1 - note[BEST_STEP] < (double)m->window) return false;
    memmove(note + FOUND, note + FOUND + 1, (COUNTS - 1) * sizeof *note);
    note[FOUND + COUNTS - 1] = note[BEST_STEP];
    recommend(r, m);
    return true;
}

/* The network's step, and the scale's; the classifier is the one that the labels were judged by. */
static dd_status train_regression(dd_run *r, ld *m, int64_t it)
{
    dd_ridge *q = &m->regression;
    float *scale = dd_f32(&m->scale);
    feed(m, 0, &q->in);
    DD_TRY(dd_ridge_train(q));
    dd_adam_update(dd_f32(&m->net), dd_f32(&m->first), dd_f32(&m->second), dd_f32(&q->set.dtheta), dd_net_size(r->net),
                   m->lr_net, 0.9, 0.999, (int64_t)dd_f64(&m->memory)[STEPS] + 1);
    dd_adam_update(scale, scale + 1, scale + 2, dd_f32(&q->set.dscale), 1, m->lr_scale, 0.9, 0.999, it + 1);
    return dd_tensor_copy(&m->head, &q->w);
}

static dd_status train(dd_run *r, ld *m, int64_t it)
{
    if (by_ridge(m)) return train_regression(r, m, it);
    DD_TRY(dd_tensor_copy(&m->theta, &m->net));
    feed(m, 0, &m->inner.in); /* labels as they are now */
    DD_TRY(dd_exec(m->inner.p));
    dd_adam_update(dd_f32(&m->net), dd_f32(&m->first), dd_f32(&m->second), dd_f32(&m->inner.out), dd_net_size(r->net),
                   m->lr_net, 0.9, 0.999, (int64_t)dd_f64(&m->memory)[STEPS] + 1);
    return DD_OK;
}

/* Onto the probabilities, as the authors do it: cut to [0,1], then scaled. */
static void project(float *y, int64_t rows, int64_t classes)
{
    for (int64_t i = 0; i < rows; i++, y += classes) {
        float sum = 0;
        for (int64_t c = 0; c < classes; c++) {
            y[c] = y[c] < 0 ? 0 : y[c] > 1 ? 1 : y[c];
            sum += y[c];
        }
        for (int64_t c = 0; c < classes; c++) y[c] = sum > 0 ? y[c] / sum : 1.0f / (float)classes;
    }
}

static void choose(const dd_run *r, ld *m, int64_t it)
{
    const int64_t slices = r->syn->m / m->batch_syn;
    dd_key_permutation(dd_key_at(r->key, "base", (uint64_t)(it / slices)), r->syn->m, m->permutation);
    memcpy(m->pick, m->permutation + it % slices * m->batch_syn, (size_t)m->batch_syn * sizeof *m->pick);
}

static dd_status ld_iterate(dd_run *r, void *state, int64_t it)
{
    ld *m = state;
    dd_tensor *y = &r->syn->soft_labels;
    m->key = dd_key_at(r->key, "labels", (uint64_t)it);
    if (it == 0) DD_TRY(begin(r, m));
    choose(r, m, it);
    dd_stream_take(&m->real, r, it);
    DD_TRY(dd_tensor_copy(&m->theta, &m->net));
    DD_TRY(differentiate(r, m));
    if (!isfinite(dd_sum_squares(&m->label_grad))) r->loss = (double)NAN;
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the labels stay as they were */
    dd_adam_update(dd_f32(y), dd_f32(&m->l_first), dd_f32(&m->l_second), dd_f32(&m->label_grad),
                   dd_shape_count(y->shape), m->lr_label, 0.9, 0.999, it + 1);
    project(dd_f32(y), r->syn->m, r->syn->classes);
    DD_TRY(train(r, m, it));
    return watch(r, m) ? begin(r, m) : DD_OK;
}

const dd_method dd_method_ld = {
    .name = "ld",
    .title = "Label distillation",
    .cite = "Bohdal, Yang, Hospedales 2020",
    .cost = "batch_real images once, and one step at second order or one regression",
    .not_batch = "its running statistics cannot be unrolled",
    .memory = "batch_syn images at second order; chunk; keep MiB for what the step keeps",
    .cuts = {"keep"},
    .options = options,
    .state_size = sizeof(ld),
    .iterations = 23200, /* 400 epochs of MNIST */
    .order = 2,
    .aug = "none",
    .protocol = "adam",
    .net = "lenet",
    .rates = "lr_net or lr_label",
    .labels = "learned",
    .settle = ld_settle,
    .build = ld_build,
    .iterate = ld_iterate,
    .saved = ld_saved,
    .gradient = ld_gradient,
    .gradients = ld_gradients,
    .fini = ld_fini,
};
