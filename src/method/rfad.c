/* SPDX-License-Identifier: Apache-2.0
 *
 * Random features approximate dataset distillation (Loo, Hasani, Amini, Rus, NeurIPS 2022): kernel ridge regression
 * with the features of N networks of random weights, new ones in each step, in place of the kernel of an infinitely
 * wide one,
 *     K = 2 Phi Phi^T + 0.01,    Phi = (phi_1, .., phi_N) / sqrt(N F),
 *     P = K_ts (K_ss + ridge tr(K_ss)/n I)^-1 Y_s,
 * and the cross-entropy of softmax(e^tau P), tau learned, or the mean squared error. The images are M x with a matrix M
 * of all pixels by all pixels that is learned too. One network is at work at a time: its part of both kernels, the
 * regression, then its part of the gradient. Knows graph, exec, nn, data. */
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

#define W2 2.0 /* of the dense layer that the features lack: variance of its weights and of its biases */
#define B2 0.01

typedef struct rfad {
    /* options */
    char loss_kind[DD_OPT_TEXT], kernel_spec[DD_OPT_TEXT];
    double lr_img, lr_label, lr_temperature, lr_precondition, ridge;
    int64_t batch_real, networks, memory, chunk;
    bool precondition;
    /* the rest is its own */
    int64_t m;          /* real images of a step */
    int64_t kept;       /* networks whose features of the real images stay until the gradient; others make them twice */
    bool platt, taught; /* taught: labels are learned */
    dd_embed real;
    dd_features parts;
    dd_program *kernels, *algebra, *slope, *apply, *pull;
    dd_feed syn;
    dd_tensor yt;                                     /* [m,C] */
    dd_tensor theta, thetas, none;                    /* [P] [N,P]; no statistics */
    dd_tensor features, all;                          /* [m,F] [kept,m,F] */
    dd_tensor fs, fss, dfs;                           /* [n,F] [N,n,F] of the set, the second may be empty; [n,F] */
    dd_tensor kss, kst, part_ss, part_st, dkss, dkst; /* [n,n] [n,m] */
    dd_tensor loss, factor, tau;                      /* scalar; F64 scalar, the regulariser; scalar */
    dd_tensor part_dx, dx, dy, dtau;                  /* as the set's; scalar */
    dd_tensor raw, matrix, draw, dmatrix;             /* F32 [M,D] [D,D]: before M, and M; and their gradients */
    dd_tensor raw_moments, matrix_moments;            /* F32 [2,M,D] [2,D,D], of AdaBelief */
    dd_tensor label_moments, temperature;             /* F32 [2,M,classes]; F32 [3]: tau and its moments */
    dd_tensor images, dimages;                        /* F32 [M,D] views of the set's, and dx in that type */
    dd_tensor dlabels;                                /* F32 [M,classes] */
    dd_stream stream;
    double raised;
} rfad;

static const dd_option options[] = {
    {"loss", DD_OPT_CHOICE, offsetof(rfad, loss_kind), "platt", 0, 0, "platt|squared",
     "platt: cross-entropy of the predictions times a learned factor; squared: their mean squared error"},
    {"lr_img", DD_OPT_REAL, offsetof(rfad, lr_img), "0.001", 0, 1e3, NULL, "AdaBelief's learning rate of the pixels"},
    {"lr_label", DD_OPT_REAL, offsetof(rfad, lr_label), "0.001", 0, 1e3, NULL,
     "AdaBelief's learning rate of the labels, where they are learned"},
    {"lr_temperature", DD_OPT_REAL, offsetof(rfad, lr_temperature), "0.01", 0, 1e3, NULL,
     "AdaBelief's learning rate of the logarithm of platt's factor"},
    {"precondition", DD_OPT_BOOL, offsetof(rfad, precondition), "true", 0, 0, NULL,
     "the images are a learned matrix, pixels by pixels, times what is learned"},
    {"lr_precondition", DD_OPT_REAL, offsetof(rfad, lr_precondition), "5e-05", 0, 1e3, NULL,
     "AdaBelief's learning rate of that matrix"},
    {"networks", DD_OPT_INT, offsetof(rfad, networks), "8", 1, 1000, NULL, "random networks of an iteration"},
    {"batch_real", DD_OPT_INT, offsetof(rfad, batch_real), "5120", 1, 1e6, NULL, "real images of an iteration"},
    {"ridge", DD_OPT_REAL, offsetof(rfad, ridge), "0.005", 0, 1e6, NULL,
     "regulariser, relative to the mean of the kernel's diagonal"},
    {"kernel", DD_OPT_STRING, offsetof(rfad, kernel_spec), "auto", 0, 0, NULL,
     "what protocol krr judges the set by; auto: what the networks have at infinite width, or fc where there is none"},
    {"memory", DD_OPT_INT, offsetof(rfad, memory), "1024", 1, 1e6, NULL,
     "MiB that features of real images may take at once; those that do not fit are computed twice"},
    {"chunk", DD_OPT_INT, offsetof(rfad, chunk), "0", 0, 1e6, NULL, "images of the set that pass at a time; 0: all"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status rfad_settle(dd_run *r, void *state)
{
    rfad *m = state;
    if (m->batch_real > r->nitems) m->batch_real = r->nitems;
    if (r->learned) dd_run_center(r);
    if (strcmp(m->kernel_spec, "auto") == 0 && !dd_net_kernel(r->net, m->kernel_spec, sizeof m->kernel_spec))
        snprintf(m->kernel_spec, sizeof m->kernel_spec, "fc:kind=nngp");
    return dd_run_kernel(r, m->kernel_spec, m->ridge);
}

/* --- programs --- */

static int64_t pixels(const dd_run *r)
{
    return r->data->c * r->data->h * r->data->w;
}

/* A network's part of 2 Phi Phi^T, of the set, whose features are fs, with itself and with the real images. */
static void products(dd_graph *g, const dd_run *r, const rfad *m, dd_val fs, dd_val *kss, dd_val *kst)
{
    const double part = W2 / (double)(m->networks * dd_net_features(r->net));
    const dd_val ft = dd_input(g, "features", r->dtype, m->features.shape);
    const dd_val wide = dd_cast(g, fs, DD_F64); /* kernels of features are nearly of rank one */
    *kss = dd_scale(g, dd_matmul(g, wide, wide, false, true), part);
    *kst = dd_scale(g, dd_matmul(g, wide, dd_cast(g, ft, DD_F64), false, true), part);
}

static dd_status build_kernels(const dd_run *r, rfad *m)
{
    dd_graph *g;
    dd_val kss, kst;
    DD_TRY(dd_draft(&g));
    products(g, r, m, dd_input(g, "fs", r->dtype, m->fs.shape), &kss, &kst);
    dd_output(g, "kss", kss);
    dd_output(g, "kst", kst);
    DD_TRY(dd_compile_draft(&m->kernels, g, r->backend));
    DD_TRY(dd_bind(m->kernels, "fs", &m->fs));
    DD_TRY(dd_bind(m->kernels, "features", &m->features));
    DD_TRY(dd_bind(m->kernels, "kss", &m->part_ss));
    return dd_bind(m->kernels, "kst", &m->part_st);
}

/* A network's part of the gradient by the set's features: of <dkss, kss> + <dkst, kst>, both held constant. */
static dd_status build_slope(const dd_run *r, rfad *m)
{
    dd_graph *g;
    dd_val kss, kst, dfs;
    DD_TRY(dd_draft(&g));
    const dd_val fs = dd_input(g, "fs", r->dtype, m->fs.shape);
    products(g, r, m, fs, &kss, &kst);
    const dd_val along = dd_add(g, dd_dot(g, dd_stop(g, dd_input(g, "dkss", DD_F64, m->dkss.shape)), kss),
                                dd_dot(g, dd_stop(g, dd_input(g, "dkst", DD_F64, m->dkst.shape)), kst));
    dd_grad(g, along, 1, &fs, &dfs);
    dd_output(g, "dfs", dfs);
    DD_TRY(dd_compile_draft(&m->slope, g, r->backend));
    DD_TRY(dd_bind(m->slope, "fs", &m->fs));
    DD_TRY(dd_bind(m->slope, "features", &m->features));
    DD_TRY(dd_bind(m->slope, "dkss", &m->dkss));
    DD_TRY(dd_bind(m->slope, "dkst", &m->dkst));
    return dd_bind(m->slope, "dfs", &m->dfs);
}

static dd_status build_parts(dd_run *r, void *state, int64_t chunk)
{
    rfad *m = state;
    return dd_features_init(&m->parts, r, chunk, false, &m->theta, &m->none);
}

static void parts_fini(void *state)
{
    dd_features_fini(&((rfad *)state)->parts);
}

/* The regression and its loss. */
static dd_val objective(dd_graph *g, const dd_run *r, const rfad *m, const dd_val wrt[4])
{
    const double share = 1 / (double)r->data->classes;
    const dd_val yt = dd_input(g, "yt", r->dtype, m->yt.shape), ys = r->learned ? wrt[2] : dd_addc(g, wrt[2], -share);
    const dd_val w = dd_krr_weights(g, dd_addc(g, wrt[0], B2), ys, dd_input(g, "ridge", DD_F64, DD_SCALAR));
    const dd_val p = dd_cast(g, dd_krr_predict(g, dd_addc(g, wrt[1], B2), w), r->dtype);
    if (!m->platt) return dd_krr_loss(g, p, dd_addc(g, yt, -share), (double)(m->m * r->data->classes));
    return dd_xent(g, dd_mul(g, dd_expand(g, dd_exp(g, wrt[3]), m->yt.shape), p), yt);
}

static dd_status build_algebra(const dd_run *r, rfad *m)
{
    static const char *const in[] = {"kss", "kst", "ys", "tau"}, *const out[] = {"dkss", "dkst", "dy", "dtau"};
    dd_tensor *const at[] = {&m->kss, &m->kst, &m->syn.y, &m->tau}, *const to[] = {&m->dkss, &m->dkst, &m->dy,
                                                                                   &m->dtau};
    const int n = m->platt ? 4 : 3;
    dd_graph *g;
    dd_val wrt[4], d[4];
    DD_TRY(dd_draft(&g));
    for (int i = 0; i < n; i++) wrt[i] = dd_input(g, in[i], at[i]->dtype, at[i]->shape);
    const dd_val loss = objective(g, r, m, wrt);
    dd_grad(g, loss, n, wrt, d);
    dd_output(g, "loss", loss);
    for (int i = 0; i < n; i++) dd_output(g, out[i], d[i]);
    DD_TRY(dd_compile_draft(&m->algebra, g, r->backend));
    DD_TRY(dd_bind(m->algebra, "yt", &m->yt));
    DD_TRY(dd_bind(m->algebra, "ridge", &m->factor));
    DD_TRY(dd_bind(m->algebra, "loss", &m->loss));
    for (int i = 0; i < n; i++) {
        DD_TRY(dd_bind(m->algebra, in[i], at[i]));
        DD_TRY(dd_bind(m->algebra, out[i], to[i]));
    }
    return DD_OK;
}

/* images = raw M^T, and the gradients by both. */
static dd_status build_matrix(const dd_run *r, rfad *m)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    dd_output(g, "images",
              dd_matmul(g, dd_input(g, "raw", DD_F32, m->raw.shape), dd_input(g, "matrix", DD_F32, m->matrix.shape),
                        false, true));
    DD_TRY(dd_compile_draft(&m->apply, g, r->backend));
    DD_TRY(dd_draft(&g));
    const dd_val d = dd_input(g, "dimages", DD_F32, m->raw.shape);
    dd_output(g, "draw", dd_matmul(g, d, dd_input(g, "matrix", DD_F32, m->matrix.shape), false, false));
    dd_output(g, "dmatrix", dd_matmul(g, d, dd_input(g, "raw", DD_F32, m->raw.shape), true, false));
    DD_TRY(dd_compile_draft(&m->pull, g, r->backend));
    DD_TRY(dd_bind(m->apply, "raw", &m->raw));
    DD_TRY(dd_bind(m->apply, "matrix", &m->matrix));
    DD_TRY(dd_bind(m->apply, "images", &m->images));
    DD_TRY(dd_bind(m->pull, "raw", &m->raw));
    DD_TRY(dd_bind(m->pull, "matrix", &m->matrix));
    DD_TRY(dd_bind(m->pull, "dimages", &m->dimages));
    DD_TRY(dd_bind(m->pull, "draw", &m->draw));
    return dd_bind(m->pull, "dmatrix", &m->dmatrix);
}

/* --- life --- */

static dd_status allocate_step(const dd_run *r, rfad *m)
{
    const int64_t n = r->syn->m, classes = r->data->classes, p = dd_net_size(r->net), f = dd_net_features(r->net);
    const dd_shape own = DD_SHAPE(n, n), between = DD_SHAPE(n, m->m);
    const int64_t fit = r->limited ? 0 : (m->memory << 20) / (m->m * f * (int64_t)dd_dtype_size(r->dtype));
    m->kept = fit < m->networks ? fit : m->networks; /* what is kept changes no bit */
    DD_TRY(dd_feed_init(&m->syn, r, n, true));
    DD_TRY(dd_tensor_init(&m->yt, r->dtype, DD_SHAPE(m->m, classes)));
    DD_TRY(dd_tensor_init(&m->theta, r->dtype, DD_SHAPE(p)));
    DD_TRY(dd_tensor_init(&m->thetas, r->dtype, DD_SHAPE(m->networks, p)));
    DD_TRY(dd_tensor_init(&m->features, r->dtype, DD_SHAPE(m->m, f)));
    DD_TRY(dd_tensor_init(&m->fs, r->dtype, DD_SHAPE(n, f)));
    if (!r->limited) DD_TRY(dd_tensor_init(&m->fss, r->dtype, DD_SHAPE(m->networks, n, f)));
    DD_TRY(dd_tensor_init(&m->dfs, r->dtype, DD_SHAPE(n, f)));
    if (m->kept) DD_TRY(dd_tensor_init(&m->all, r->dtype, DD_SHAPE(m->kept, m->m, f)));
    DD_TRY(dd_tensor_init(&m->kss, DD_F64, own));
    DD_TRY(dd_tensor_init(&m->part_ss, DD_F64, own));
    DD_TRY(dd_tensor_init(&m->dkss, DD_F64, own));
    DD_TRY(dd_tensor_init(&m->kst, DD_F64, between));
    DD_TRY(dd_tensor_init(&m->part_st, DD_F64, between));
    DD_TRY(dd_tensor_init(&m->dkst, DD_F64, between));
    DD_TRY(dd_tensor_init(&m->loss, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->factor, DD_F64, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->tau, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->dtau, r->dtype, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->part_dx, r->dtype, m->syn.x.shape));
    DD_TRY(dd_tensor_init(&m->dx, r->dtype, m->syn.x.shape));
    return dd_tensor_init(&m->dy, r->dtype, m->syn.y.shape);
}

/* What is learned. A gradient alone (attar grad) is of the images as they are. */
static dd_status allocate_learned(const dd_run *r, rfad *m)
{
    const int64_t n = r->syn->m, d = pixels(r), classes = r->data->classes;
    DD_TRY(dd_tensor_init(&m->raw_moments, DD_F32, DD_SHAPE(2, n, d)));
    DD_TRY(dd_tensor_init(&m->label_moments, DD_F32, DD_SHAPE(2, n, classes)));
    DD_TRY(dd_tensor_init(&m->temperature, DD_F32, DD_SHAPE(3)));
    DD_TRY(dd_tensor_init(&m->dimages, DD_F32, DD_SHAPE(n, d)));
    DD_TRY(dd_tensor_init(&m->dlabels, DD_F32, DD_SHAPE(n, classes)));
    m->images = dd_tensor_view(DD_F32, DD_SHAPE(n, d), r->syn->images.data);
    if (!m->precondition) return DD_OK;
    DD_TRY(dd_tensor_init(&m->raw, DD_F32, DD_SHAPE(n, d)));
    DD_TRY(dd_tensor_init(&m->draw, DD_F32, DD_SHAPE(n, d)));
    DD_TRY(dd_tensor_init(&m->matrix, DD_F32, DD_SHAPE(d, d)));
    DD_TRY(dd_tensor_init(&m->dmatrix, DD_F32, DD_SHAPE(d, d)));
    DD_TRY(dd_tensor_init(&m->matrix_moments, DD_F32, DD_SHAPE(2, d, d)));
    return build_matrix(r, m);
}

static dd_status rfad_build(dd_run *r, void *state)
{
    rfad *m = state;
    m->m = r->given ? r->nitems : m->batch_real;
    m->taught = r->learned;
    m->platt = strcmp(m->loss_kind, "platt") == 0;
    DD_TRY(allocate_step(r, m));
    DD_TRY(dd_stream_init(&m->stream, r, m->m));
    DD_TRY(build_kernels(r, m));
    DD_TRY(build_algebra(r, m));
    DD_TRY(build_slope(r, m));
    DD_TRY(dd_embed_init(&m->real, r, m->m, &m->theta, &m->none));
    if (!r->given) DD_TRY(allocate_learned(r, m));
    return dd_run_fitting(r, m, m->chunk && m->chunk < r->syn->m ? m->chunk : r->syn->m, build_parts, parts_fini);
}

static void rfad_fini(void *state)
{
    rfad *m = state;
    dd_program *const programs[] = {m->kernels, m->algebra, m->slope, m->apply, m->pull};
    dd_tensor *const all[] = {&m->yt,
                              &m->theta,
                              &m->thetas,
                              &m->features,
                              &m->all,
                              &m->fs,
                              &m->fss,
                              &m->dfs,
                              &m->kss,
                              &m->kst,
                              &m->dkss,
                              &m->dkst,
                              &m->part_ss,
                              &m->part_st,
                              &m->loss,
                              &m->tau,
                              &m->factor,
                              &m->part_dx,
                              &m->dx,
                              &m->dy,
                              &m->dtau,
                              &m->raw,
                              &m->matrix,
                              &m->draw,
                              &m->dmatrix,
                              &m->raw_moments,
                              &m->matrix_moments,
                              &m->label_moments,
                              &m->dimages,
                              &m->temperature,
                              &m->dlabels};
    for (size_t i = 0; i < DD_LEN(programs); i++) dd_program_free(programs[i]);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    parts_fini(m);
    dd_feed_fini(&m->syn);
    dd_embed_fini(&m->real);
    dd_stream_fini(&m->stream);
}

/* --- one step --- */

static void copy(const dd_tensor *to, const dd_tensor *from)
{
    memcpy(to->data, from->data, dd_tensor_bytes(to));
}

static dd_status draw_networks(const dd_run *r, rfad *m, dd_key key)
{
    const dd_tensor *given = r->given ? r->given->theta : NULL;
    if (given) {
        const int64_t have = dd_shape_count(given->shape) / dd_net_size(r->net);
        if (have != m->networks)
            return dd_fail(DD_EINVAL, "\"theta\" holds %" PRId64 " networks, and networks is %" PRId64, have,
                           m->networks);
        dd_set_zero(&m->thetas);
        dd_add_scaled(&m->thetas, 1, given);
        return DD_OK;
    }
    for (int64_t k = 0; k < m->networks; k++) {
        DD_TRY(dd_net_init(r->net, &m->theta, dd_key_at(key, "network", (uint64_t)k)));
        const dd_tensor row = dd_tensor_rows(&m->thetas, k, 1);
        copy(&row, &m->theta);
    }
    return DD_OK;
}

/* Network k, with its features of the real images; again: it has been at work in this step. */
static dd_status turn_to(const dd_run *r, rfad *m, int64_t k, const int32_t *items, bool again)
{
    const dd_tensor row = dd_tensor_rows(&m->thetas, k, 1);
    dd_tensor slot = {0};
    DD_TRY(dd_run_asked(r));
    copy(&m->theta, &row);
    if (k < m->kept) {
        slot = dd_tensor_rows(&m->all, k, 1);
        if (again) {
            copy(&m->features, &slot);
            return DD_OK;
        }
    }
    DD_TRY(dd_embed_run(&m->real, r, items, &m->features, &m->yt));
    if (slot.data) memcpy(slot.data, m->features.data, dd_tensor_bytes(&m->features));
    return DD_OK;
}

/* Those of the set by network k, which is in place; they too are kept where memory is not limited. */
static dd_status own_features(const dd_run *r, rfad *m, int64_t k, bool again)
{
    dd_tensor row = {0};
    if (m->fss.data) row = dd_tensor_rows(&m->fss, k, 1);
    if (again && row.data)
        copy(&m->fs, &row);
    else
        DD_TRY(dd_features_run(&m->parts, r, &m->syn.x, &m->fs));
    if (!again && row.data) copy(&row, &m->fs);
    return DD_OK;
}

/* r->loss, dx, dy and dtau. */
static dd_status differentiate(dd_run *r, rfad *m, const int32_t *items, dd_key key)
{
    DD_TRY(draw_networks(r, m, key));
    dd_feed_synthetic(&m->syn, r, 0, 0, m->syn.n);
    dd_feed_labels(&m->syn, r, 0, 0, m->syn.n);
    dd_set_zero(&m->kss);
    dd_set_zero(&m->kst);
    dd_set_zero(&m->dx);
    for (int64_t k = 0; k < m->networks; k++) {
        DD_TRY(turn_to(r, m, k, items, false));
        DD_TRY(own_features(r, m, k, false));
        DD_TRY(dd_exec(m->kernels));
        dd_add_scaled(&m->kss, 1, &m->part_ss);
        dd_add_scaled(&m->kst, 1, &m->part_st);
    }
    DD_TRY(dd_regress(r, m->algebra, &m->factor, m->ridge, &m->raised));
    r->loss = dd_scalar(&m->loss);
    for (int64_t k = 0; k < m->networks; k++) {
        DD_TRY(turn_to(r, m, k, items, true));
        DD_TRY(own_features(r, m, k, true));
        DD_TRY(dd_exec(m->slope));
        DD_TRY(dd_features_slope(&m->parts, r, &m->syn.x, &m->dfs, &m->part_dx));
        dd_add_scaled(&m->dx, 1, &m->part_dx);
    }
    return DD_OK;
}

static dd_status rfad_gradient(dd_run *r, void *state, dd_key key)
{
    rfad *m = state;
    dd_set_zero(&m->tau);
    return differentiate(r, m, r->items, key);
}

static int rfad_gradients(void *state, dd_saved out[8])
{
    rfad *m = state;
    int n = 0;
    out[n++] = (dd_saved){"images", &m->dx};
    if (m->taught) out[n++] = (dd_saved){"labels", &m->dy};
    if (m->platt) out[n++] = (dd_saved){"temperature", &m->dtau};
    return n;
}

/* x's moments are the two halves of `moments`. */
static void step(dd_tensor *x, dd_tensor *moments, const dd_tensor *gradient, double lr, int64_t it)
{
    const int64_t n = dd_shape_count(x->shape);
    dd_adabelief_update(dd_f32(x), dd_f32(moments), dd_f32(moments) + n, dd_f32(gradient), n, lr, 0.9, 0.999, it + 1);
}

static void narrow(dd_tensor *to, const dd_tensor *from)
{
    dd_set_zero(to);
    dd_add_scaled(to, 1, from);
}

static dd_status step_images(rfad *m, int64_t it)
{
    narrow(&m->dimages, &m->dx);
    if (!m->precondition) {
        step(&m->images, &m->raw_moments, &m->dimages, m->lr_img, it);
        return DD_OK;
    }
    DD_TRY(dd_exec(m->pull));
    step(&m->raw, &m->raw_moments, &m->draw, m->lr_img, it);
    step(&m->matrix, &m->matrix_moments, &m->dmatrix, m->lr_precondition, it);
    return dd_exec(m->apply);
}

static void begin(rfad *m)
{
    const int64_t d = m->precondition ? m->matrix.shape.dim[0] : 0;
    if (d) copy(&m->raw, &m->images);
    for (int64_t i = 0; i < d; i++) dd_f32(&m->matrix)[i * d + i] = 1;
}

static dd_status rfad_iterate(dd_run *r, void *state, int64_t it)
{
    rfad *m = state;
    float *tau = dd_f32(&m->temperature);
    if (it == 0) begin(m);
    dd_stream_take(&m->stream, r, it);
    dd_f32(&m->tau)[0] = tau[0];
    DD_TRY(differentiate(r, m, m->stream.items, dd_key_at(r->key, "rfad", (uint64_t)it)));
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the set stays as it was */
    DD_TRY(step_images(m, it));
    narrow(&m->dlabels, &m->dy);
    if (r->learned) step(&r->syn->soft_labels, &m->label_moments, &m->dlabels, m->lr_label, it);
    if (m->platt)
        dd_adabelief_update(tau, tau + 1, tau + 2, dd_f32(&m->dtau), 1, m->lr_temperature, 0.9, 0.999, it + 1);
    return DD_OK;
}

static int rfad_saved(void *state, dd_saved out[8])
{
    rfad *m = state;
    int n = 0;
    out[n++] = (dd_saved){"raw_moments", &m->raw_moments};
    out[n++] = (dd_saved){"label_moments", &m->label_moments};
    out[n++] = (dd_saved){"temperature", &m->temperature};
    if (!m->precondition) return n;
    out[n++] = (dd_saved){"raw", &m->raw};
    out[n++] = (dd_saved){"matrix", &m->matrix};
    out[n++] = (dd_saved){"matrix_moments", &m->matrix_moments};
    return n;
}

const dd_method dd_method_rfad = {
    .name = "rfad",
    .title = "Random-feature kernel regression",
    .cite = "Loo, Hasani, Amini, Rus 2022",
    .cost = "batch_real images forward and the set forward twice and backward through each network, one solution",
    .memory =
        "chunk images of the set at first order, batch_real features up to memory, pixels squared with precondition",
    .options = options,
    .state_size = sizeof(rfad),
    .iterations = 100000,
    .order = 1,
    .brief = true,
    .net = "convnet:width=256,norm=none,init=nngp",
    .aug = "none",
    .not_aug = "its regression sees images as they are",
    .not_batch = "its networks are never trained, so they have no running statistics",
    .protocol = "krr",
    .labels = "hard|learned",
    .rates = "lr_img or lr_label",
    .networks = true,
    .cuts = {"chunk"},
    .settle = rfad_settle,
    .build = rfad_build,
    .iterate = rfad_iterate,
    .saved = rfad_saved,
    .gradient = rfad_gradient,
    .gradients = rfad_gradients,
    .fini = rfad_fini,
};
