/* SPDX-License-Identifier: Apache-2.0
 *
 * Distribution matching (Zhao, Bilen, WACV 2023): in the feature space of a fresh random network, the mean embedding of
 * each class's synthetic images should equal that of its real ones,
 *     L = sum_c | mean f(A(x)) - mean f(A(s)) |^2,
 * with one augmentation drawn per class for both. Real images pass in chunks, so memory does not grow with batch_real;
 * synthetic images pass a few classes at a time. Knows graph, exec, nn, data. */
#include "base/memory.h"
#include "method/feed.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A compiled program for `groups` groups of `per` images each, and its tensors. */
typedef struct pass {
    dd_program *p;
    int64_t groups, per;
    dd_feed in;
    dd_tensor means, loss, grad; /* means [groups,F]: written by embed, read by match */
} pass;

typedef struct dm {
    double lr_img, momentum_img;
    int64_t batch_real, chunk, classes_per_run;
    bool siamese;
    pass embed, tail, match;
    dd_tensor theta, target, speed, grad; /* target [classes,F] */
    int32_t *items;                       /* [classes,batch_real] */
    float *params;                        /* [classes,DD_AUG_PARAMS] one draw a class */
} dm;

static const dd_option options[] = {
    {"lr_img", DD_OPT_REAL, offsetof(dm, lr_img), "1", 0, 1e9, NULL,
     "learning rate of the pixels; the paper takes 10 from 100 images per class on"},
    {"momentum_img", DD_OPT_REAL, offsetof(dm, momentum_img), "0.5", 0, 0.999, NULL, "momentum of the pixels"},
    {"batch_real", DD_OPT_INT, offsetof(dm, batch_real), "256", 1, 65536, NULL, "real images per class and iteration"},
    {"siamese", DD_OPT_BOOL, offsetof(dm, siamese), "true", 0, 0, NULL,
     "one augmentation per class for real and synthetic images alike; false: one per image"},
    {"chunk", DD_OPT_INT, offsetof(dm, chunk), "64", 1, 65536, NULL, "real images embedded at a time (memory, speed)"},
    {"classes_per_run", DD_OPT_INT, offsetof(dm, classes_per_run), "0", 0, 100000, NULL,
     "classes whose synthetic images are embedded at a time; 0: about 128 images"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static void pass_fini(pass *w)
{
    dd_program_free(w->p);
    dd_feed_fini(&w->in);
    dd_tensor_fini(&w->means);
    dd_tensor_fini(&w->loss);
    dd_tensor_fini(&w->grad);
}

/* Mean embedding of each group as [groups,F]; x receives the images. */
static dd_val mean_features(const dd_run *r, dd_graph *g, const pass *w, dd_val *x)
{
    const int64_t f = dd_net_features(r->net);
    const dd_val theta = dd_input(g, "theta", r->dtype, DD_SHAPE(dd_net_size(r->net)));
    const dd_fed in = dd_feed_inputs(g, r, w->groups * w->per, false);
    const dd_net_out out = dd_net_apply(g, r->net, theta, in.seen, (dd_val){0});
    *x = in.x;
    const dd_val grouped = dd_reshape(g, out.features, DD_SHAPE(w->groups, w->per, f));
    return dd_reshape(g, dd_mean(g, grouped, 2), DD_SHAPE(w->groups, f));
}

/* Before the program, whose memory is refused by what is held then. */
static dd_status pass_tensors(const dd_run *r, pass *w, bool match)
{
    DD_TRY(dd_feed_init(&w->in, r, w->groups * w->per, false));
    DD_TRY(dd_tensor_init(&w->means, r->dtype, DD_SHAPE(w->groups, dd_net_features(r->net))));
    if (!match) return DD_OK;
    DD_TRY(dd_tensor_init(&w->loss, r->dtype, DD_SCALAR));
    return dd_tensor_init(&w->grad, r->dtype, w->in.x.shape);
}

static dd_status pass_bind(const dd_run *r, const dm *m, pass *w, bool match)
{
    DD_TRY(dd_bind(w->p, "theta", &m->theta));
    DD_TRY(dd_feed_bind(&w->in, r, w->p));
    DD_TRY(dd_bind(w->p, "means", &w->means));
    if (!match) return DD_OK;
    DD_TRY(dd_bind(w->p, "loss", &w->loss));
    return dd_bind(w->p, "grad", &w->grad);
}

static dd_status pass_build(const dd_run *r, const dm *m, pass *w, bool match)
{
    DD_TRY(pass_tensors(r, w, match));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    dd_val x, grad;
    const dd_val mean = mean_features(r, g, w, &x);
    if (match) {
        const dd_val target = dd_input(g, "means", r->dtype, DD_SHAPE(w->groups, dd_net_features(r->net)));
        const dd_val loss = dd_sum_all(g, dd_square(g, dd_sub(g, target, mean)));
        dd_grad(g, loss, 1, &x, &grad);
        dd_output(g, "loss", loss);
        dd_output(g, "grad", grad);
    } else {
        dd_output(g, "means", mean);
    }
    DD_TRY(dd_compile_draft(&w->p, g, r->backend));
    return pass_bind(r, m, w, match);
}

/* The most classes a run may take: a divisor of their number with at most about 128 images. */
static int64_t classes_together(const dd_run *r, const dm *m)
{
    const int64_t classes = r->data->classes, limit = m->classes_per_run ? m->classes_per_run : 128 / r->ipc;
    int64_t best = 1;
    for (int64_t k = 1; k <= classes && k <= limit; k++)
        if (classes % k == 0) best = k;
    return best;
}

/* Empties a pass that did not fit. */
static void again(pass *w, int64_t per, int64_t groups)
{
    pass_fini(w);
    *w = (pass){.per = per, .groups = groups};
}

static int64_t divisor_below(int64_t n, int64_t k)
{
    for (k--; n % k;) k--;
    return k;
}

enum { CLASSES_TOGETHER, IMAGES_TOGETHER }; /* in r->cut */

/* Fewer classes at a time where memory is limited, where they do not have to pass together. */
static dd_status build_match(dd_run *r, dm *m, bool apart)
{
    pass *w = &m->match, least = {.per = 1, .groups = 1};
    /* What one real image needs is taken while the classes are cut, so that it is left for build_embed. */
    dd_status s = apart && r->limited ? pass_build(r, m, &least, false) : DD_OK;
    const int64_t asked = w->groups, before = r->cut[CLASSES_TOGETHER];
    while (apart && before > 0 && w->groups > before) w->groups = divisor_below(r->data->classes, w->groups);
    while (s == DD_OK) {
        s = pass_build(r, m, w, true);
        r->cut[CLASSES_TOGETHER] = w->groups < asked ? w->groups : 0;
        if (s != DD_ENOMEM || !apart || !r->limited || w->groups == 1) break;
        again(w, w->per, divisor_below(r->data->classes, w->groups));
        s = DD_OK;
    }
    pass_fini(&least);
    return s;
}

/* The same with real images. */
static dd_status build_embed(dd_run *r, dm *m, bool apart)
{
    const int64_t asked = m->embed.per, before = r->cut[IMAGES_TOGETHER];
    if (apart && before > 0 && before < asked) m->embed.per = before;
    for (;;) {
        dd_status s = pass_build(r, m, &m->embed, false);
        m->tail.per = m->batch_real % m->embed.per;
        if (s == DD_OK && m->tail.per) s = pass_build(r, m, &m->tail, false);
        r->cut[IMAGES_TOGETHER] = m->embed.per < asked ? m->embed.per : 0;
        if (s != DD_ENOMEM || !apart || !r->limited || m->embed.per == 1) return s;
        again(&m->embed, (m->embed.per + 1) / 2, m->embed.groups);
        again(&m->tail, 0, m->tail.groups);
    }
}

static dd_status dm_build(dd_run *r, void *state)
{
    dm *m = state;
    const int64_t classes = r->data->classes, f = dd_net_features(r->net);
    /* Batch statistics must mix classes, so a network with batch norm sees all of them in one batch. */
    const bool mixed = dd_net_stats(r->net) > 0;
    const int64_t chunk = mixed || m->chunk > m->batch_real ? m->batch_real : m->chunk;
    m->embed.groups = mixed ? classes : 1;
    m->embed.per = chunk;
    m->tail.groups = 1;
    m->match.groups = mixed ? classes : classes_together(r, m);
    m->match.per = r->ipc;
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, DD_SHAPE(dd_net_size(r->net))));
    DD_TRY(dd_tensor_init(&m->target, r->dtype, DD_SHAPE(classes, f)));
    DD_TRY(dd_tensor_init(&m->speed, DD_F32, r->syn->images.shape));
    DD_TRY(dd_tensor_init(&m->grad, r->dtype, r->syn->images.shape));
    m->items = dd_alloc((size_t)(classes * m->batch_real), sizeof *m->items);
    m->params = dd_alloc((size_t)classes * DD_AUG_PARAMS, sizeof *m->params);
    if (!m->items || !m->params)
        return dd_fail(DD_ENOMEM, "out of memory for the embeddings of %" PRId64 " classes", classes);
    DD_TRY(build_match(r, m, !mixed)); /* first: it needs more an image */
    return build_embed(r, m, !mixed);
}

/* The draw that images of class c share, if they do. */
static const float *shared(const dm *m, int64_t c)
{
    return m->siamese ? m->params + c * DD_AUG_PARAMS : NULL;
}

/* Runs w on `per` items from `at` on of each class c0 .. c0+groups-1 and adds their share to the class means. */
static dd_status embed_chunk(const dd_run *r, dm *m, pass *w, int64_t c0, int64_t at, dd_key key)
{
    for (int64_t k = 0; k < w->groups; k++) {
        const int64_t first = (c0 + k) * m->batch_real + at;
        dd_feed_items(&w->in, r, k * w->per, m->items + first, w->per);
        dd_feed_augment(&w->in, r, k * w->per, w->per, shared(m, c0 + k), key, "aug real", first);
    }
    DD_TRY(dd_exec(w->p));
    dd_tensor means = dd_tensor_rows(&m->target, c0, w->groups);
    dd_add_scaled(&means, (double)w->per / (double)m->batch_real, &w->means);
    return DD_OK;
}

static dd_status embed_real(const dd_run *r, dm *m, dd_key key)
{
    const int64_t classes = r->data->classes;
    dd_set_zero(&m->target);
    for (int64_t c = 0; c < classes; c++)
        dd_run_sample_class(r, c, m->batch_real, dd_key_at(key, "real", (uint64_t)c), m->items + c * m->batch_real);
    for (int64_t c = 0; c < classes; c += m->embed.groups) {
        int64_t at = 0;
        for (; at + m->embed.per <= m->batch_real; at += m->embed.per) DD_TRY(embed_chunk(r, m, &m->embed, c, at, key));
        if (m->tail.per) DD_TRY(embed_chunk(r, m, &m->tail, c, at, key));
    }
    return DD_OK;
}

/* Loss and gradient on the synthetic images, a few classes at a time. */
static dd_status match_syn(dd_run *r, dm *m, dd_key key)
{
    pass *w = &m->match;
    double loss = 0;
    for (int64_t c = 0; c < r->data->classes; c += w->groups) {
        const int64_t first = c * r->ipc, n = w->groups * r->ipc;
        const dd_tensor means = dd_tensor_rows(&m->target, c, w->groups);
        dd_tensor grad = dd_tensor_rows(&m->grad, first, n);
        for (int64_t k = 0; k < w->groups; k++)
            dd_feed_augment(&w->in, r, k * r->ipc, r->ipc, shared(m, c + k), key, "aug syn", (c + k) * r->ipc);
        dd_feed_synthetic(&w->in, r, 0, first, n);
        DD_TRY(dd_tensor_copy(&w->means, &means));
        DD_TRY(dd_exec(w->p));
        DD_TRY(dd_tensor_copy(&grad, &w->grad));
        loss += dd_scalar(&w->loss);
    }
    r->loss = loss;
    return DD_OK;
}

static dd_status dm_gradient(dd_run *r, void *state, dd_key key)
{
    dm *m = state;
    DD_TRY(dd_draw_network(r, dd_key_at(key, "theta", 0), &m->theta));
    DD_TRY(dd_draw_classes(r, key, m->params));
    DD_TRY(embed_real(r, m, key));
    return match_syn(r, m, key);
}

static dd_status dm_iterate(dd_run *r, void *state, int64_t it)
{
    dm *m = state;
    DD_TRY(dm_gradient(r, m, dd_key_at(r->key, "dm", (uint64_t)it)));
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the images stay as they were */
    dd_sgd_update(dd_f32(&r->syn->images), dd_f32(&m->speed), dd_f32(&m->grad), dd_shape_count(m->grad.shape),
                  m->lr_img, m->momentum_img, 0);
    return DD_OK;
}

static int dm_gradients(void *state, dd_saved out[8])
{
    dm *m = state;
    out[0] = (dd_saved){"images", &m->grad};
    return 1;
}

static int dm_saved(void *state, dd_saved out[8])
{
    dm *m = state;
    out[0] = (dd_saved){"speed", &m->speed};
    return 1;
}

static void dm_fini(void *state)
{
    dm *m = state;
    pass_fini(&m->embed);
    pass_fini(&m->tail);
    pass_fini(&m->match);
    dd_tensor_fini(&m->theta);
    dd_tensor_fini(&m->target);
    dd_tensor_fini(&m->speed);
    dd_tensor_fini(&m->grad);
    dd_free(m->items);
    dd_free(m->params);
}

const dd_method dd_method_dm = {
    .name = "dm",
    .title = "Distribution matching",
    .cite = "Zhao, Bilen 2023",
    .cost = "batch_real images of each class forward, the set forward and backward",
    .memory = "chunk and classes_per_run x ipc, images at a time",
    .options = options,
    .state_size = sizeof(dm),
    .iterations = 20000,
    .order = 1,
    .cuts = {[CLASSES_TOGETHER] = "classes_per_run", [IMAGES_TOGETHER] = "chunk"},
    .build = dm_build,
    .iterate = dm_iterate,
    .saved = dm_saved,
    .gradient = dm_gradient,
    .gradients = dm_gradients,
    .fini = dm_fini,
};
