/* SPDX-License-Identifier: Apache-2.0
 *
 * Trajectory matching over the exact adjoint of unroll.c. Knows graph, exec, nn, data, eval. */
#include "method/trajectory.h"

#include "base/memory.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int64_t batch_of(const dd_run *r, const dd_trajectory *m)
{
    return m->batch_syn > 0 && m->batch_syn < r->syn->m ? m->batch_syn : r->syn->m;
}

dd_status dd_trajectory_settle(dd_run *r, void *state)
{
    dd_trajectory *m = state;
    if (!m->schedule && m->lr_floor < 1) m->schedule = r->iterations;
    if (m->batch_syn > r->syn->m)
        return dd_fail(DD_EINVAL, "batch_syn is %" PRId64 " and the set has %" PRId64 " images; 0 takes all of them",
                       m->batch_syn, r->syn->m);
    if (m->min_start_epoch >= m->max_start_epoch)
        return dd_fail(DD_EINVAL, "no epoch is from min_start_epoch %" PRId64 " on and before max_start_epoch %" PRId64,
                       m->min_start_epoch, m->max_start_epoch);
    if (m->first_max_start_epoch &&
        (m->first_max_start_epoch <= m->min_start_epoch || m->first_max_start_epoch > m->max_start_epoch))
        return dd_fail(DD_EINVAL,
                       "first_max_start_epoch is %" PRId64 ", it must lie above min_start_epoch %" PRId64
                       " and be at most max_start_epoch %" PRId64 "; 0 leaves it out",
                       m->first_max_start_epoch, m->min_start_epoch, m->max_start_epoch);
    DD_TRY(dd_tensor_init(&r->syn->lr, DD_F32, DD_SHAPE(1)));
    dd_f32(&r->syn->lr)[0] = (float)m->lr_init;
    return DD_OK;
}

static dd_status open_store(const dd_run *r, dd_trajectory *m)
{
    const int64_t needs = m->max_start_epoch - 1 + m->expert_epochs;
    if (!m->experts[0])
        return dd_fail(DD_EINVAL, "no experts given; make some by attar experts and name their folder with --set "
                                  "experts=FOLDER");
    DD_TRY(dd_experts_open(&m->store, m->experts, r->data, r->net));
    m->list = dd_alloc((size_t)dd_experts_count(m->store), sizeof *m->list);
    if (!m->list) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " experts", dd_experts_count(m->store));
    if (dd_experts_epochs(m->store) >= needs) return DD_OK;
    return dd_fail(DD_EINVAL,
                   "%s holds %" PRId64 " epochs, and a start before epoch %" PRId64 " with %" PRId64
                   " more needs %" PRId64 "; lower max_start_epoch or train experts for longer",
                   m->experts, dd_experts_epochs(m->store), m->max_start_epoch, m->expert_epochs, needs);
}

/* Of the experts that the run goes by. */
static dd_status fingerprint(const dd_trajectory *m, char hex[65])
{
    const int64_t count = (int64_t)dd_f32(&m->known)[0];
    if (count > dd_experts_count(m->store))
        return dd_fail(DD_EEXIST, "the run began with %" PRId64 " experts, and %s holds %" PRId64 " finished ones",
                       count, m->experts, dd_experts_count(m->store));
    return dd_experts_fingerprint(m->store, count, hex);
}

static dd_status introduce_experts(dd_run *r, dd_trajectory *m)
{
    char hex[65];
    DD_TRY(fingerprint(m, hex));
    memcpy(m->experts_hash.data, hex, dd_tensor_bytes(&m->experts_hash));
    if (dd_experts_unfinished(m->store))
        snprintf(r->notice, sizeof r->notice,
                 "%.100s: %" PRId64 " experts lack snapshots and are left out, %" PRId64 " have all", m->experts,
                 dd_experts_unfinished(m->store), dd_experts_count(m->store));
    return DD_OK;
}

void dd_trajectory_made_from(const void *state, char *out, size_t size)
{
    const dd_trajectory *m = state;
    snprintf(out, size, "%" PRId64 " experts, SHA-256 %.64s", (int64_t)dd_f32(&m->known)[0],
             (const char *)m->experts_hash.data);
}

/* A run that goes on has the tensors of its checkpoint by now. */
static dd_status same_experts(const dd_trajectory *m)
{
    char hex[65];
    DD_TRY(fingerprint(m, hex));
    if (memcmp(m->experts_hash.data, hex, dd_tensor_bytes(&m->experts_hash)) == 0) return DD_OK;
    return dd_fail(DD_EEXIST,
                   "the run began with other experts (%.12s) than %s holds now (%.12s): bring them back, or begin in "
                   "another folder",
                   (const char *)m->experts_hash.data, m->experts, hex);
}

static dd_status allocate(dd_run *r, dd_trajectory *m)
{
    const dd_shape p = DD_SHAPE(dd_net_size(r->net)), images = r->syn->images.shape;
    const size_t n = (size_t)m->syn_steps, batch = (size_t)batch_of(r, m);
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->target, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->end, r->dtype, p));
    DD_TRY(dd_tensor_init(&m->start, DD_F32, p));
    DD_TRY(dd_tensor_init(&m->grad, r->dtype, images));
    DD_TRY(dd_tensor_init(&m->speed, DD_F32, images));
    DD_TRY(dd_tensor_init(&m->lr_grad, r->dtype, DD_SHAPE(1)));
    DD_TRY(dd_tensor_init(&m->lr_speed, DD_F32, DD_SHAPE(1)));
    DD_TRY(dd_tensor_init(&m->known, DD_F32, DD_SHAPE(1)));
    DD_TRY(dd_tensor_init(&m->experts_hash, DD_I32, DD_SHAPE(16)));
    if (m->store) {
        dd_f32(&m->known)[0] = (float)dd_experts_count(m->store);
        DD_TRY(introduce_experts(r, m));
    }
    if (r->learned) {
        const dd_shape labels = r->syn->soft_labels.shape;
        DD_TRY(dd_tensor_init(&m->label_grad, r->dtype, labels));
        DD_TRY(dd_tensor_init(&m->label_speed, DD_F32, labels));
        DD_TRY(dd_tensor_init(&m->y, DD_F32, labels));
    }
    m->order = dd_alloc(n * batch, sizeof *m->order);
    m->permutation = dd_alloc((size_t)r->syn->m, sizeof *m->permutation);
    m->alpha = dd_alloc(n, sizeof *m->alpha);
    m->dalpha = dd_alloc(n, sizeof *m->dalpha);
    return m->order && m->permutation && m->alpha && m->dalpha
               ? DD_OK
               : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " steps", m->syn_steps);
}

/* --- labels as logits --- */

typedef struct teaching {
    dd_trainer *trainer;
    float *logits, *sum; /* [M,classes] */
    int32_t *times;      /* [M]: experts that were right */
} teaching;

/* Adds what one expert says at the end of its training to the sums of the images it is right about. */
static dd_status ask(const dd_run *r, dd_trajectory *m, teaching *t, int64_t expert)
{
    const dd_synset *s = r->syn;
    DD_TRY(dd_experts_read(m->store, expert, dd_experts_epochs(m->store), &m->start));
    DD_TRY(dd_tensor_copy(dd_trainer_theta(t->trainer), &m->start));
    DD_TRY(dd_trainer_logits(t->trainer, dd_f32(&s->images), s->m, t->logits));
    for (int64_t i = 0; i < s->m; i++) {
        const float *z = t->logits + i * s->classes;
        int64_t best = 0;
        for (int64_t c = 1; c < s->classes; c++) best = z[c] > z[best] ? c : best;
        if (best != dd_i32(&s->labels)[i]) continue;
        for (int64_t c = 0; c < s->classes; c++) t->sum[i * s->classes + c] += z[c];
        t->times[i]++;
    }
    return DD_OK;
}

/* y: the mean of the logits of all experts that are right about an image, of the label alone where none is. */
static dd_status first_logits(dd_run *r, dd_trajectory *m)
{
    const int64_t n = r->syn->m, classes = r->syn->classes;
    const size_t count = (size_t)(n * classes);
    teaching t = {NULL, dd_alloc(count, sizeof(float)), dd_alloc(count, sizeof(float)),
                  dd_alloc((size_t)n, sizeof(int32_t))};
    dd_status s = t.logits && t.sum && t.times ? dd_trainer_new(&t.trainer, r->backend, r->net, &(dd_trainer_opts){0})
                                               : dd_fail(DD_ENOMEM, "out of memory for labels");
    for (int64_t e = 0; s == DD_OK && e < dd_experts_count(m->store); e++) s = ask(r, m, &t, e);
    for (int64_t i = 0; s == DD_OK && i < n; i++)
        for (int64_t c = 0; c < classes; c++) {
            const float sure = c == dd_i32(&r->syn->labels)[i] ? 10.0f : 0.0f;
            dd_f32(&m->y)[i * classes + c] = t.times[i] ? t.sum[i * classes + c] / (float)t.times[i] : sure;
        }
    dd_trainer_free(t.trainer);
    dd_free(t.logits);
    dd_free(t.sum);
    dd_free(t.times);
    return s;
}

/* The set holds labels that anybody may train by: probabilities where y are logits. */
static void publish_labels(dd_run *r, dd_trajectory *m)
{
    const int64_t classes = r->syn->classes;
    float *to = dd_f32(&r->syn->soft_labels);
    memcpy(to, m->y.data, dd_tensor_bytes(&m->y));
    for (int64_t i = 0; m->logits && i < r->syn->m; i++) dd_softmax_row(to + i * classes, classes);
}

static dd_status first_labels(dd_run *r, dd_trajectory *m)
{
    if (!r->learned) return DD_OK;
    if (!m->logits || r->given) return dd_tensor_copy(&m->y, &r->syn->soft_labels);
    DD_TRY(first_logits(r, m));
    publish_labels(r, m);
    return DD_OK;
}

dd_status dd_trajectory_build(dd_run *r, void *state)
{
    dd_trajectory *m = state;
    const dd_unroll_opts o = {.steps = m->syn_steps,
                              .batch = batch_of(r, m),
                              .momentum = m->momentum,
                              .constant = m->constant,
                              .keep = m->keep,
                              .labels = r->learned,
                              .logits = r->learned && m->logits};
    m->r = r;
    if (!r->given) DD_TRY(open_store(r, m));
    DD_TRY(allocate(r, m));
    DD_TRY(dd_unroll_new(&m->unroll, r, &o));
    return first_labels(r, m);
}

void dd_trajectory_fini(void *state)
{
    dd_trajectory *m = state;
    dd_tensor *const all[] = {&m->theta,      &m->target,  &m->end,         &m->start, &m->grad,
                              &m->label_grad, &m->lr_grad, &m->y,           &m->speed, &m->label_speed,
                              &m->lr_speed,   &m->known,   &m->experts_hash};
    dd_unroll_free(m->unroll);
    dd_experts_close(m->store);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(m->order);
    dd_free(m->permutation);
    dd_free(m->list);
    dd_free(m->alpha);
    dd_free(m->dalpha);
}

int dd_trajectory_saved(void *state, dd_saved out[8])
{
    dd_trajectory *m = state;
    int n = 0;
    out[n++] = (dd_saved){"speed", &m->speed};
    out[n++] = (dd_saved){"lr_speed", &m->lr_speed};
    out[n++] = (dd_saved){"known", &m->known};
    out[n++] = (dd_saved){"experts", &m->experts_hash};
    if (m->y.data) out[n++] = (dd_saved){"label_speed", &m->label_speed};
    if (m->y.data) out[n++] = (dd_saved){"y", &m->y};
    return n;
}

int dd_trajectory_gradients(void *state, dd_saved out[8])
{
    dd_trajectory *m = state;
    int n = 0;
    out[n++] = (dd_saved){"images", &m->grad};
    out[n++] = (dd_saved){"lr", &m->lr_grad};
    if (m->y.data) out[n++] = (dd_saved){"labels", &m->label_grad};
    return n;
}

/* --- one step --- */

/* Batches are equal slices of a stream of permutations of S. */
static dd_status choose_order(const dd_run *r, dd_trajectory *m)
{
    const int64_t n = r->syn->m, batch = batch_of(r, m), count = m->syn_steps * batch;
    const dd_tensor *given = r->given ? r->given->index : NULL;
    if (given && !dd_shape_equal(given->shape, DD_SHAPE(m->syn_steps, batch)))
        return dd_fail(DD_EINVAL,
                       "index has %" PRId64 " steps of %" PRId64 " images, syn_steps and batch_syn say %" PRId64
                       " of %" PRId64,
                       given->shape.dim[0], given->shape.dim[1], m->syn_steps, batch);
    for (int64_t k = 0; k < count; k++) {
        if (!given && k % n == 0) dd_key_permutation(dd_key_at(m->key, "order", (uint64_t)(k / n)), n, m->permutation);
        m->order[k] = given ? dd_i32(given)[k] : m->permutation[k % n];
    }
    return DD_OK;
}

static void feed(void *self, int64_t step, dd_feed *f)
{
    const dd_trajectory *m = self;
    const int32_t *order = m->order + step * f->n;
    for (int64_t i = 0; i < f->n; i++) {
        dd_feed_synthetic(f, m->r, i, order[i], 1);
        if (m->y.data)
            dd_feed_label_rows(f, &m->y, i, order[i], 1);
        else
            dd_feed_labels(f, m->r, i, order[i], 1);
    }
    dd_feed_augment_batch(f, m->r, dd_key_at(m->key, "aug", (uint64_t)step), step * f->n);
}

static void take(void *self, int64_t step, const dd_tensor *dx, const dd_tensor *dy)
{
    dd_trajectory *m = self;
    const int64_t n = dx->shape.dim[0];
    for (int64_t i = 0; i < n; i++) {
        const int64_t image = m->order[step * n + i];
        dd_tensor to = dd_tensor_rows(&m->grad, image, 1);
        const dd_tensor from = dd_tensor_rows(dx, i, 1);
        dd_add_scaled(&to, 1, &from);
        if (!dy) continue;
        dd_tensor label = dd_tensor_rows(&m->label_grad, image, 1);
        const dd_tensor by = dd_tensor_rows(dy, i, 1);
        dd_add_scaled(&label, 1, &by);
    }
}

/* theta and target are there: the loss and all gradients. */
static dd_status match(dd_run *r, dd_trajectory *m)
{
    double before, sum = 0;
    DD_TRY(choose_order(r, m));
    for (int64_t i = 0; i < m->syn_steps; i++) m->alpha[i] = (double)dd_f32(&r->syn->lr)[0];
    DD_TRY(dd_unroll_forward(m->unroll, &m->theta, m->alpha, feed, m));
    DD_TRY(dd_tensor_copy(&m->end, &m->theta));
    dd_add_scaled(&m->end, -1, &m->target);
    before = dd_sum_squares(&m->end);
    if (before <= 0) return dd_fail(DD_ENUMERIC, "the expert did not move: theta and target are the same");
    const dd_tensor last = dd_unroll_theta(m->unroll, m->syn_steps);
    DD_TRY(dd_tensor_copy(&m->end, &last));
    dd_add_scaled(&m->end, -1, &m->target);
    r->loss = dd_sum_squares(&m->end) / before;
    dd_scale_by(&m->end, 2 / before);
    dd_set_zero(&m->grad);
    if (m->y.data) dd_set_zero(&m->label_grad);
    DD_TRY(dd_unroll_backward(m->unroll, &m->end, m->alpha, m->dalpha, feed, take, m));
    for (int64_t i = 0; i < m->syn_steps; i++) sum += m->dalpha[i];
    const dd_tensor one = dd_tensor_view(DD_F64, DD_SHAPE(1), &sum);
    dd_set_zero(&m->lr_grad);
    dd_add_scaled(&m->lr_grad, 1, &one);
    return DD_OK;
}

dd_status dd_trajectory_gradient(dd_run *r, void *state, dd_key key)
{
    dd_trajectory *m = state;
    const dd_tensor *target = r->given ? r->given->target : NULL;
    if (!target) return dd_fail(DD_EINVAL, "the file has no tensor \"target\" [P], where the expert went from theta");
    m->key = key;
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    dd_set_zero(&m->target);
    dd_add_scaled(&m->target, 1, target);
    return match(r, m);
}

/* The epoch before which students start in iteration `it`. */
static int64_t most_start(const dd_trajectory *m, int64_t it)
{
    const int64_t first = m->first_max_start_epoch, last = m->max_start_epoch;
    if (!first || it >= m->expansion) return last;
    return first + (last - first) * it / m->expansion;
}

static dd_status read_expert(dd_trajectory *m, int64_t it)
{
    const int64_t count = (int64_t)dd_f32(&m->known)[0], span = most_start(m, it) - m->min_start_epoch;
    DD_TRY(same_experts(m));
    dd_key_permutation(dd_key_at(m->r->key, "experts", (uint64_t)(it / count)), count, m->list);
    const int64_t expert = m->list[it % count],
                  epoch = m->min_start_epoch +
                          (int64_t)dd_key_below(dd_key_at(m->key, "epoch", 0), 0, (uint64_t)(span > 0 ? span : 1));
    DD_TRY(dd_experts_read(m->store, expert, epoch, &m->start));
    DD_TRY(dd_tensor_copy(&m->theta, &m->start));
    DD_TRY(dd_experts_read(m->store, expert, epoch + m->expert_epochs, &m->start));
    return dd_tensor_copy(&m->target, &m->start);
}

/* The step size keeps its sign: no update takes more than half of it. */
static void update_lr(dd_run *r, dd_trajectory *m)
{
    float *lr = dd_f32(&r->syn->lr);
    const float before = *lr;
    dd_sgd_update(lr, dd_f32(&m->lr_speed), dd_f32(&m->lr_grad), 1, m->lr_lr, m->momentum_lr, 0);
    if (*lr < before / 2) *lr = before / 2;
}

static bool finite_gradients(const dd_trajectory *m)
{
    return isfinite(dd_sum_squares(&m->grad)) && isfinite(dd_sum_squares(&m->lr_grad)) &&
           (!m->y.data || isfinite(dd_sum_squares(&m->label_grad)));
}

dd_status dd_trajectory_iterate(dd_run *r, void *state, int64_t it)
{
    dd_trajectory *m = state;
    m->key = dd_key_at(r->key, "trajectory", (uint64_t)it);
    DD_TRY(read_expert(m, it));
    DD_TRY(match(r, m));
    r->skipped = !(r->loss <= m->threshold) || !finite_gradients(m);
    if (r->skipped) return DD_OK;
    const double rate = dd_cosine(it, m->schedule, m->lr_floor);
    update_lr(r, m);
    dd_sgd_update(dd_f32(&r->syn->images), dd_f32(&m->speed), dd_f32(&m->grad), dd_shape_count(m->grad.shape),
                  rate * m->lr_img, m->momentum_img, 0);
    if (!r->learned) return DD_OK;
    dd_sgd_update(dd_f32(&m->y), dd_f32(&m->label_speed), dd_f32(&m->label_grad), dd_shape_count(m->y.shape),
                  rate * m->lr_label, m->momentum_label, 0);
    publish_labels(r, m);
    return DD_OK;
}
