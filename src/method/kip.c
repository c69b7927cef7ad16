/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel inducing points (Nguyen, Chen, Lee, ICLR 2021; Nguyen, Novak, Xiao, Lee, NeurIPS 2021): the inner training is
 * ridge regression with the kernel of an infinitely wide network,
 *     L = 1/(2 m C) |K_ts (K_ss + ridge tr(K_ss)/n I)^-1 Y_s - Y_t|^2,
 * so images, and labels where they are learned, follow its gradient. Labels are one-hot less 1/C. What fits into
 * `memory` is one program; else kernels pass in blocks, forwards and once more backwards. Knows graph, exec, nn, data.
 */
#include "base/memory.h"
#include "method/feed.h"
#include "nn/krr.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct kip {
    /* options */
    char kernel_spec[DD_OPT_TEXT];
    double lr_img, lr_label, ridge;
    int64_t batch_real, memory;
    bool wide;
    /* the rest is its own */
    dd_run feeding; /* r with the type of the arithmetic */
    dd_kernel *kernel;
    dd_program *whole, *algebra; /* one of the two */
    dd_kernel_blocks *own, *between;
    dd_feed syn, real;                                  /* n and m images with their labels, one-hot less 1/C */
    dd_tensor kss, kst, dkss, dkst;                     /* [n,n] [n,m] */
    dd_tensor loss, factor, dx, dy;                     /* F64 factor: the regulariser; dx as syn.x, dy [n,C] */
    dd_tensor first, second, label_first, label_second; /* F32 Adam's */
    dd_tensor narrow, narrow_y;                         /* F32 of dx and dy */
    int32_t *items;                                     /* [m] */
    double raised;                                      /* what the regulariser had to be, the largest so far */
} kip;

static const dd_option options[] = {
    {"kernel", DD_OPT_STRING, offsetof(kip, kernel_spec), "fc:depth=1", 0, 0, NULL,
     "the infinitely wide network: NAME or NAME:KEY=VALUE,..; attar kernels lists them"},
    {"lr_img", DD_OPT_REAL, offsetof(kip, lr_img), "0.04", 0, 1e9, NULL, "Adam's learning rate of the pixels"},
    {"lr_label", DD_OPT_REAL, offsetof(kip, lr_label), "0.04", 0, 1e9, NULL,
     "Adam's learning rate of the labels, where they are learned"},
    {"ridge", DD_OPT_REAL, offsetof(kip, ridge), "1e-06", 0, 1e6, NULL,
     "regulariser, relative to the mean of the kernel's diagonal"},
    {"batch_real", DD_OPT_INT, offsetof(kip, batch_real), "5000", 1, 1e6, NULL,
     "real images of an iteration, as many of each class: at least one, and no rest"},
    {"memory", DD_OPT_INT, offsetof(kip, memory), "1024", 1, 1e6, NULL,
     "MiB that pairs of images may take at once; more pairs pass in blocks, which costs a half more time"},
    {"double", DD_OPT_BOOL, offsetof(kip, wide), "false", 0, 0, NULL,
     "all arithmetic in double; else the regression alone"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status kip_settle(dd_run *r, void *state)
{
    kip *m = state;
    const int64_t classes = r->data->classes;
    if (m->batch_real > r->nitems) m->batch_real = r->nitems;
    m->batch_real = m->batch_real < classes ? classes : m->batch_real - m->batch_real % classes;
    if (r->learned) dd_run_center(r);
    return dd_run_kernel(r, m->kernel_spec, m->ridge);
}

/* --- programs --- */

typedef struct inputs {
    dd_val ys, yt, ridge; /* labels less 1/C */
} inputs;

static inputs label_inputs(dd_graph *g, const kip *m, dd_val *raw)
{
    const dd_dtype t = m->feeding.dtype;
    const double share = 1.0 / (double)m->feeding.data->classes;
    *raw = dd_input(g, "ys", t, m->syn.y.shape);
    return (inputs){m->feeding.learned ? *raw : dd_addc(g, *raw, -share),
                    dd_addc(g, dd_input(g, "yt", t, m->real.y.shape), -share), dd_input(g, "ridge", DD_F64, DD_SCALAR)};
}

static dd_val objective(dd_graph *g, const kip *m, dd_val kss, dd_val kst, const inputs *in)
{
    const dd_val p = dd_krr_predict(g, kst, dd_krr_weights(g, kss, in->ys, in->ridge));
    return dd_krr_loss(g, p, in->yt, (double)(m->real.n * m->feeding.data->classes));
}

static dd_status bind_labels(const kip *m, dd_program *p)
{
    DD_TRY(dd_bind(p, "ys", &m->syn.y));
    DD_TRY(dd_bind(p, "yt", &m->real.y));
    DD_TRY(dd_bind(p, "ridge", &m->factor));
    DD_TRY(dd_bind(p, "loss", &m->loss));
    return dd_bind(p, "dy", &m->dy);
}

static dd_status build_whole(const dd_run *r, kip *m)
{
    const dd_dtype t = m->feeding.dtype;
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    dd_val wrt[2], d[2];
    const inputs in = label_inputs(g, m, &wrt[1]);
    wrt[0] = dd_input(g, "xs", t, m->syn.x.shape);
    const dd_val xt = dd_input(g, "xt", t, m->real.x.shape);
    const dd_val loss =
        objective(g, m, dd_kernel_apply(g, m->kernel, wrt[0], wrt[0]), dd_kernel_apply(g, m->kernel, wrt[0], xt), &in);
    dd_grad(g, loss, 2, wrt, d);
    dd_output(g, "loss", loss);
    dd_output(g, "dx", d[0]);
    dd_output(g, "dy", d[1]);
    DD_TRY(dd_compile_draft(&m->whole, g, r->backend));
    DD_TRY(dd_bind(m->whole, "xs", &m->syn.x));
    DD_TRY(dd_bind(m->whole, "xt", &m->real.x));
    DD_TRY(dd_bind(m->whole, "dx", &m->dx));
    return bind_labels(m, m->whole);
}

/* The regression alone, between blocks of kernels. */
static dd_status build_algebra(dd_run *r, kip *m, int64_t mib)
{
    const dd_dtype t = m->feeding.dtype;
    const int64_t n = m->syn.n, targets = m->real.n, bytes = mib << 20;
    DD_TRY(dd_kernel_blocks_new(&m->own, r->backend, m->kernel, t, n, 0, bytes, true));
    DD_TRY(dd_kernel_blocks_new(&m->between, r->backend, m->kernel, t, n, targets, bytes, true));
    dd_run_watch(r, m->own);
    dd_run_watch(r, m->between);
    DD_TRY(dd_tensor_init(&m->kss, t, DD_SHAPE(n, n)));
    DD_TRY(dd_tensor_init(&m->dkss, t, DD_SHAPE(n, n)));
    DD_TRY(dd_tensor_init(&m->kst, t, DD_SHAPE(n, targets)));
    DD_TRY(dd_tensor_init(&m->dkst, t, DD_SHAPE(n, targets)));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    dd_val wrt[3], d[3];
    const inputs in = label_inputs(g, m, &wrt[2]);
    wrt[0] = dd_input(g, "kss", t, m->kss.shape);
    wrt[1] = dd_input(g, "kst", t, m->kst.shape);
    const dd_val loss = objective(g, m, wrt[0], wrt[1], &in);
    dd_grad(g, loss, 3, wrt, d);
    dd_output(g, "loss", loss);
    dd_output(g, "dkss", d[0]);
    dd_output(g, "dkst", d[1]);
    dd_output(g, "dy", d[2]);
    DD_TRY(dd_compile_draft(&m->algebra, g, r->backend));
    DD_TRY(dd_bind(m->algebra, "kss", &m->kss));
    DD_TRY(dd_bind(m->algebra, "kst", &m->kst));
    DD_TRY(dd_bind(m->algebra, "dkss", &m->dkss));
    DD_TRY(dd_bind(m->algebra, "dkst", &m->dkst));
    return bind_labels(m, m->algebra);
}

static dd_status allocate(const dd_run *r, kip *m)
{
    const dd_dtype t = m->feeding.dtype;
    const int64_t n = r->syn->m, classes = r->data->classes, targets = r->given ? r->nitems : m->batch_real;
    DD_TRY(dd_feed_init(&m->syn, &m->feeding, n, true));
    DD_TRY(dd_feed_init(&m->real, &m->feeding, targets, true));
    DD_TRY(dd_tensor_init(&m->loss, t, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->factor, DD_F64, DD_SCALAR));
    DD_TRY(dd_tensor_init(&m->dx, t, m->syn.x.shape));
    DD_TRY(dd_tensor_init(&m->dy, t, m->syn.y.shape));
    DD_TRY(dd_tensor_init(&m->first, DD_F32, m->syn.x.shape));
    DD_TRY(dd_tensor_init(&m->second, DD_F32, m->syn.x.shape));
    DD_TRY(dd_tensor_init(&m->label_first, DD_F32, DD_SHAPE(n, classes)));
    DD_TRY(dd_tensor_init(&m->label_second, DD_F32, DD_SHAPE(n, classes)));
    DD_TRY(dd_tensor_init(&m->narrow, DD_F32, m->syn.x.shape));
    DD_TRY(dd_tensor_init(&m->narrow_y, DD_F32, m->syn.y.shape));
    m->items = dd_alloc((size_t)targets, sizeof *m->items);
    return m->items ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", targets);
}

static dd_status build_in(dd_run *r, void *state, int64_t mib)
{
    kip *m = state;
    enum { LIVE = 30 }; /* tensors of all pairs that a gradient holds, about */
    const double pairs = (double)m->syn.n * (double)(m->syn.n + m->real.n) * (double)dd_kernel_cells(m->kernel);
    const bool fits = pairs * LIVE * (double)dd_dtype_size(m->feeding.dtype) <= (double)mib * 1048576;
    return fits ? build_whole(r, m) : build_algebra(r, m, mib);
}

static void programs_fini(void *state)
{
    kip *m = state;
    dd_tensor *const all[] = {&m->kss, &m->kst, &m->dkss, &m->dkst};
    dd_program_free(m->whole);
    dd_program_free(m->algebra);
    dd_kernel_blocks_free(m->own);
    dd_kernel_blocks_free(m->between);
    m->whole = m->algebra = NULL;
    m->own = m->between = NULL;
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

static dd_status kip_build(dd_run *r, void *state)
{
    kip *m = state;
    m->feeding = *r;
    if (m->wide) m->feeding.dtype = DD_F64;
    DD_TRY(dd_kernel_open(&m->kernel, m->kernel_spec, (dd_image){r->data->c, r->data->h, r->data->w}));
    DD_TRY(allocate(r, m));
    return dd_run_fitting(r, m, m->memory, build_in, programs_fini);
}

static void kip_fini(void *state)
{
    kip *m = state;
    dd_tensor *const all[] = {&m->loss,   &m->factor,      &m->dx,           &m->dy,     &m->first,
                              &m->second, &m->label_first, &m->label_second, &m->narrow, &m->narrow_y};
    programs_fini(m);
    dd_kernel_close(m->kernel);
    dd_feed_fini(&m->syn);
    dd_feed_fini(&m->real);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(m->items);
}

/* --- one step --- */

static dd_status differentiate(dd_run *r, kip *m)
{
    dd_feed_synthetic(&m->syn, &m->feeding, 0, 0, m->syn.n);
    dd_feed_labels(&m->syn, &m->feeding, 0, 0, m->syn.n);
    if (m->whole) {
        DD_TRY(dd_regress(r, m->whole, &m->factor, m->ridge, &m->raised));
    } else {
        DD_TRY(dd_kernel_blocks_run(m->own, &m->syn.x, NULL, &m->kss));
        DD_TRY(dd_kernel_blocks_run(m->between, &m->syn.x, &m->real.x, &m->kst));
        DD_TRY(dd_regress(r, m->algebra, &m->factor, m->ridge, &m->raised));
        dd_set_zero(&m->dx);
        DD_TRY(dd_kernel_blocks_slope(m->own, &m->syn.x, NULL, &m->dkss, &m->dx));
        DD_TRY(dd_kernel_blocks_slope(m->between, &m->syn.x, &m->real.x, &m->dkst, &m->dx));
    }
    r->loss = dd_scalar(&m->loss);
    return DD_OK;
}

static dd_status kip_gradient(dd_run *r, void *state, dd_key key)
{
    kip *m = state;
    (void)key;
    dd_feed_real(&m->real, &m->feeding, r->items);
    return differentiate(r, m);
}

/* Adam on x by a gradient of either type. */
static void step(dd_tensor *x, dd_tensor *first, dd_tensor *second, const dd_tensor *d, dd_tensor *narrow, double lr,
                 int64_t it)
{
    dd_set_zero(narrow);
    dd_add_scaled(narrow, 1, d);
    dd_adam_update(dd_f32(x), dd_f32(first), dd_f32(second), dd_f32(narrow), dd_shape_count(x->shape), lr, 0.9, 0.999,
                   it + 1);
}

static dd_status kip_iterate(dd_run *r, void *state, int64_t it)
{
    kip *m = state;
    const int64_t classes = r->data->classes, each = m->batch_real / classes;
    const dd_key key = dd_key_at(r->key, "kip", (uint64_t)it);
    for (int64_t c = 0; c < classes; c++)
        dd_run_sample_class(r, c, each, dd_key_at(key, "real", (uint64_t)c), m->items + c * each);
    dd_feed_real(&m->real, &m->feeding, m->items);
    DD_TRY(differentiate(r, m));
    if (!isfinite(r->loss)) return DD_OK; /* the driver says what happened; the set stays as it was */
    step(&r->syn->images, &m->first, &m->second, &m->dx, &m->narrow, m->lr_img, it);
    if (r->learned)
        step(&r->syn->soft_labels, &m->label_first, &m->label_second, &m->dy, &m->narrow_y, m->lr_label, it);
    return DD_OK;
}

static int kip_gradients(void *state, dd_saved out[8])
{
    kip *m = state;
    out[0] = (dd_saved){"images", &m->dx};
    out[1] = (dd_saved){"labels", &m->dy};
    return m->feeding.learned ? 2 : 1;
}

static int kip_saved(void *state, dd_saved out[8])
{
    kip *m = state;
    const dd_saved all[] = {{"first", &m->first},
                            {"second", &m->second},
                            {"label_first", &m->label_first},
                            {"label_second", &m->label_second}};
    memcpy(out, all, sizeof all);
    return (int)DD_LEN(all);
}

const dd_method dd_method_kip = {
    .name = "kip",
    .title = "Kernel inducing points",
    .cite = "Nguyen, Chen, Lee 2021",
    .cost = "the kernel of the set and batch_real images, forward and backward, and one solution",
    .memory = "pairs of images times pixels (squared where the kernel pools), up to memory",
    .options = options,
    .state_size = sizeof(kip),
    .iterations = 1000,
    .order = 1,
    .aug = "none",
    .not_aug = "the kernel sees images as they are",
    .protocol = "krr",
    .labels = "hard|learned",
    .rates = "lr_img or lr_label",
    .cuts = {"memory"},
    .settle = kip_settle,
    .build = kip_build,
    .iterate = kip_iterate,
    .saved = kip_saved,
    .gradient = kip_gradient,
    .gradients = kip_gradients,
    .fini = kip_fini,
};
