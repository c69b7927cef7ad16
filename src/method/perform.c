/* SPDX-License-Identifier: Apache-2.0
 *
 * Performance matching over the exact adjoint of unroll.c. Knows graph, exec, nn, data. */
#include "method/perform.h"

#include "base/memory.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* log(1 + e^x), which is x where e^x is no float any more. */
static float softplus(float x)
{
    return x > 80 ? x : (float)log1p(exp((double)x));
}

static int64_t steps_of(const dd_run *r, const dd_perform *m)
{
    return r->ipc * m->distill_epochs;
}

static bool fixed(const dd_perform *m)
{
    return strcmp(m->network, "fixed") == 0;
}

dd_status dd_perform_settle(dd_run *r, void *state)
{
    dd_perform *m = state;
    const int64_t steps = steps_of(r, m);
    r->momentum = m->momentum;
    if (fixed(m) && m->networks > 1)
        return dd_fail(DD_EINVAL, "networks=%" PRId64 " are all the same with network=fixed; give network=random or 1",
                       m->networks);
    if (m->batch_real > r->nitems) m->batch_real = r->nitems;
    if (!m->decay_every) m->decay_every = r->iterations > 10 ? r->iterations / 10 : 1;
    DD_TRY(dd_tensor_init(&r->syn->lr, DD_F32, DD_SHAPE(steps)));
    for (int64_t i = 0; i < steps; i++) dd_f32(&r->syn->lr)[i] = (float)m->lr_init;
    if (!fixed(m)) return DD_OK;
    DD_TRY(dd_tensor_init(&r->syn->theta, DD_F32, DD_SHAPE(dd_net_size(r->net))));
    return dd_net_init(r->net, &r->syn->theta, dd_key_at(r->key, "fixed network", 0));
}

/* --- programs and memory --- */

static dd_status adapt(const dd_run *r, dd_adapted *a, dd_shape shape)
{
    DD_TRY(dd_tensor_init(&a->grad, r->dtype, shape));
    DD_TRY(dd_tensor_init(&a->first, DD_F32, shape));
    return dd_tensor_init(&a->second, DD_F32, shape);
}

static dd_status allocate(dd_run *r, dd_perform *m)
{
    const int64_t steps = steps_of(r, m), p = dd_net_size(r->net);
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&m->end, r->dtype, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&m->raw, DD_F32, DD_SHAPE(steps)));
    DD_TRY(adapt(r, &m->images, r->syn->images.shape));
    DD_TRY(adapt(r, &m->rates, DD_SHAPE(steps)));
    if (r->learned) DD_TRY(adapt(r, &m->labels, r->syn->soft_labels.shape));
    for (int64_t i = 0; i < steps; i++) dd_f32(&m->raw)[i] = (float)log(expm1((double)dd_f32(&r->syn->lr)[i]));
    m->alpha = dd_alloc((size_t)steps, sizeof *m->alpha);
    m->dalpha = dd_alloc((size_t)steps, sizeof *m->dalpha);
    return m->alpha && m->dalpha ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " steps", steps);
}

dd_status dd_perform_build(dd_run *r, void *state)
{
    dd_perform *m = state;
    const int64_t n = r->given ? r->nitems : m->batch_real; /* all of a file's real images are the batch */
    const dd_unroll_opts o = {.steps = steps_of(r, m),
                              .batch = r->data->classes,
                              .momentum = m->momentum,
                              .keep = m->keep,
                              .labels = r->learned};
    m->r = r;
    DD_TRY(allocate(r, m));
    DD_TRY(dd_unroll_new(&m->unroll, r, &o));
    DD_TRY(dd_stream_init(&m->real, r, n));
    return dd_judge_init(&m->judge, r, n, m->chunk, &m->theta);
}

static void adapted_fini(dd_adapted *a)
{
    dd_tensor_fini(&a->grad);
    dd_tensor_fini(&a->first);
    dd_tensor_fini(&a->second);
}

void dd_perform_fini(void *state)
{
    dd_perform *m = state;
    dd_tensor *const all[] = {&m->theta, &m->end, &m->raw};
    dd_unroll_free(m->unroll);
    dd_judge_fini(&m->judge);
    dd_stream_fini(&m->real);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    adapted_fini(&m->images);
    adapted_fini(&m->rates);
    adapted_fini(&m->labels);
    dd_free(m->alpha);
    dd_free(m->dalpha);
}

int dd_perform_saved(void *state, dd_saved out[8])
{
    dd_perform *m = state;
    int n = 0;
    out[n++] = (dd_saved){"raw", &m->raw};
    out[n++] = (dd_saved){"images_first", &m->images.first};
    out[n++] = (dd_saved){"images_second", &m->images.second};
    out[n++] = (dd_saved){"rates_first", &m->rates.first};
    out[n++] = (dd_saved){"rates_second", &m->rates.second};
    if (!m->labels.grad.data) return n;
    out[n++] = (dd_saved){"labels_first", &m->labels.first};
    out[n++] = (dd_saved){"labels_second", &m->labels.second};
    return n;
}

int dd_perform_gradients(void *state, dd_saved out[8])
{
    dd_perform *m = state;
    int n = 0;
    out[n++] = (dd_saved){"images", &m->images.grad};
    out[n++] = (dd_saved){"lr", &m->rates.grad};
    if (m->labels.grad.data) out[n++] = (dd_saved){"labels", &m->labels.grad};
    return n;
}

/* --- one step --- */

/* Step i takes image i mod ipc of every class. */
static int64_t image_of(const dd_run *r, int64_t step, int64_t c)
{
    return c * r->ipc + step % r->ipc;
}

static void feed(void *self, int64_t step, dd_feed *f)
{
    const dd_perform *m = self;
    for (int64_t c = 0; c < f->n; c++) {
        dd_feed_synthetic(f, m->r, c, image_of(m->r, step, c), 1);
        dd_feed_labels(f, m->r, c, image_of(m->r, step, c), 1);
    }
    dd_feed_augment_batch(f, m->r, dd_key_at(m->key, "aug", (uint64_t)step), step * f->n);
}

static void add_row(dd_tensor *to, int64_t row, const dd_tensor *from, int64_t i, double share)
{
    dd_tensor t = dd_tensor_rows(to, row, 1);
    const dd_tensor f = dd_tensor_rows(from, i, 1);
    dd_add_scaled(&t, share, &f);
}

static void take(void *self, int64_t step, const dd_tensor *dx, const dd_tensor *dy)
{
    dd_perform *m = self;
    const double share = 1.0 / (double)m->networks;
    for (int64_t c = 0; c < dx->shape.dim[0]; c++) {
        add_row(&m->images.grad, image_of(m->r, step, c), dx, c, share);
        if (dy) add_row(&m->labels.grad, image_of(m->r, step, c), dy, c, share);
    }
}

/* Adds one network's share of loss and gradients. */
static dd_status through(dd_run *r, dd_perform *m, double *sum)
{
    const int64_t steps = steps_of(r, m);
    double loss;
    DD_TRY(dd_unroll_forward(m->unroll, &m->theta, m->alpha, feed, m));
    const dd_tensor last = dd_unroll_theta(m->unroll, steps);
    DD_TRY(dd_tensor_copy(&m->theta, &last));
    DD_TRY(dd_judge_run(&m->judge, r, m->real.items, &loss, &m->end));
    *sum += loss / (double)m->networks;
    DD_TRY(dd_unroll_backward(m->unroll, &m->end, m->alpha, m->dalpha, feed, take, m));
    const dd_tensor rates = dd_tensor_view(DD_F64, DD_SHAPE(steps), m->dalpha);
    dd_add_scaled(&m->rates.grad, 1.0 / (double)m->networks, &rates);
    return DD_OK;
}

static dd_status network(const dd_run *r, dd_perform *m, int64_t i)
{
    if (!fixed(m) || r->given) return dd_draw_network(r, dd_key_at(m->key, "theta", (uint64_t)i), &m->theta);
    return dd_tensor_copy(&m->theta, &r->syn->theta);
}

/* r->loss and the gradients by images, step sizes and labels; the real batch is chosen. */
static dd_status differentiate(dd_run *r, dd_perform *m)
{
    const int64_t steps = steps_of(r, m);
    double loss = 0;
    for (int64_t i = 0; i < steps; i++) m->alpha[i] = (double)dd_f32(&r->syn->lr)[i];
    dd_set_zero(&m->images.grad);
    dd_set_zero(&m->rates.grad);
    if (m->labels.grad.data) dd_set_zero(&m->labels.grad);
    for (int64_t i = 0; i < m->networks; i++) {
        DD_TRY(network(r, m, i));
        DD_TRY(through(r, m, &loss));
    }
    r->loss = loss;
    return DD_OK;
}

dd_status dd_perform_gradient(dd_run *r, void *state, dd_key key)
{
    dd_perform *m = state;
    m->key = key;
    memcpy(m->real.items, r->items, (size_t)r->nitems * sizeof *m->real.items);
    return differentiate(r, m);
}

static void update(const dd_perform *m, dd_tensor *x, dd_adapted *a, double lr, int64_t it)
{
    dd_adam_update(dd_f32(x), dd_f32(&a->first), dd_f32(&a->second), dd_f32(&a->grad), dd_shape_count(x->shape), lr,
                   m->beta1, 0.999, it + 1);
}

dd_status dd_perform_iterate(dd_run *r, void *state, int64_t it)
{
    dd_perform *m = state;
    const double lr = m->lr * pow(m->decay, (double)(it / m->decay_every));
    m->key = dd_key_at(r->key, "unrolled", (uint64_t)it);
    dd_stream_take(&m->real, r, it);
    DD_TRY(differentiate(r, m));
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the set stays as it was */
    float *g = dd_f32(&m->rates.grad), *raw = dd_f32(&m->raw), *rate = dd_f32(&r->syn->lr);
    for (int64_t i = 0; i < steps_of(r, m); i++) g[i] /= 1 + expf(-raw[i]); /* by raw now */
    update(m, &r->syn->images, &m->images, lr, it);
    update(m, &m->raw, &m->rates, lr, it);
    if (r->learned) update(m, &r->syn->soft_labels, &m->labels, lr, it);
    for (int64_t i = 0; i < steps_of(r, m); i++) rate[i] = softplus(raw[i]);
    return DD_OK;
}
