/* SPDX-License-Identifier: Apache-2.0
 *
 * Label solve (Nguyen, Chen, Lee, ICLR 2021): the images stay, and their labels are those with which kernel ridge
 * regression fits the real ones best, all of them at once: with W = A^-1 Y_s, A = K_ss + ridge tr(K_ss)/n I, the least
 * squares of K_ts W = Y_t have the solution G^-1 R, G = K_st K_ts, R = K_st Y_t, and Y_s = A W. In double, a part of
 * the real images at a time. Knows graph, exec, nn, data. */
#include "base/memory.h"
#include "method/feed.h"
#include "nn/krr.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PART = 1000 };
static const double least = 1e-14; /* regulariser of G, relative to the mean of its diagonal */

typedef struct ls {
    /* options */
    char kernel_spec[DD_OPT_TEXT];
    double ridge;
    int64_t memory;
    /* the rest is its own; all F64 */
    dd_run feeding;
    dd_kernel *kernel;
    dd_kernel_blocks *own, *between;
    dd_program *add, *solve;
    dd_feed syn, real;                /* n images; PART real ones, those beyond the last without a label */
    dd_tensor kss, kst, gram, right;  /* [n,n] [n,PART] [n,n] [n,C] */
    dd_tensor ridges, labels, fitted; /* [2] of K_ss, of G; [n,C] Y_s; scalar: tr(W^T G W) - 2 tr(W^T R) */
} ls;

static const dd_option options[] = {
    {"kernel", DD_OPT_STRING, offsetof(ls, kernel_spec), "fc:depth=1", 0, 0, NULL,
     "the infinitely wide network: NAME or NAME:KEY=VALUE,..; attar kernels lists them"},
    {"ridge", DD_OPT_REAL, offsetof(ls, ridge), "1e-06", 0, 1e6, NULL,
     "regulariser, relative to the mean of the kernel's diagonal"},
    {"memory", DD_OPT_INT, offsetof(ls, memory), "1024", 1, 1e6, NULL, "MiB that pairs of images may take at once"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static dd_status ls_settle(dd_run *r, void *state)
{
    ls *m = state;
    dd_run_center(r);
    return dd_run_kernel(r, m->kernel_spec, m->ridge);
}

/* G and R with a part more. */
static dd_status build_add(const dd_run *r, ls *m)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val k = dd_input(g, "k", DD_F64, m->kst.shape), y = dd_input(g, "y", DD_F64, m->real.y.shape);
    const dd_val gram = dd_input(g, "gram", DD_F64, m->gram.shape),
                 right = dd_input(g, "right", DD_F64, m->right.shape);
    dd_output(g, "gram'", dd_add(g, gram, dd_matmul(g, k, k, false, true)));
    dd_output(g, "right'", dd_add(g, right, dd_matmul(g, k, y, false, false)));
    DD_TRY(dd_compile_draft(&m->add, g, r->backend));
    DD_TRY(dd_bind(m->add, "k", &m->kst));
    DD_TRY(dd_bind(m->add, "y", &m->real.y));
    DD_TRY(dd_bind(m->add, "gram", &m->gram));
    DD_TRY(dd_bind(m->add, "right", &m->right));
    DD_TRY(dd_bind(m->add, "gram'", &m->gram));
    return dd_bind(m->add, "right'", &m->right);
}

static dd_status build_solve(const dd_run *r, ls *m)
{
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    const dd_val kss = dd_input(g, "kss", DD_F64, m->kss.shape), gram = dd_input(g, "gram", DD_F64, m->gram.shape);
    const dd_val right = dd_input(g, "right", DD_F64, m->right.shape),
                 both = dd_input(g, "ridges", DD_F64, DD_SHAPE(2));
    const int64_t one = 1, zero = 0;
    const dd_val ridge = dd_reshape(g, dd_slice(g, both, &zero, &one, &one), DD_SHAPE(1, 1));
    const dd_val other = dd_reshape(g, dd_slice(g, both, &one, &one, &one), DD_SCALAR);
    const dd_val w = dd_krr_weights(g, gram, right, other), eye = dd_eye(g, DD_F64, m->syn.n);
    const dd_val mean = dd_scale(g, dd_sum(g, dd_mul(g, kss, eye), 1u | 2u), 1 / (double)m->syn.n);
    const dd_val a = dd_add(g, kss, dd_mul(g, eye, dd_mul(g, ridge, mean)));
    dd_output(g, "labels", dd_matmul(g, a, w, false, false));
    dd_output(g, "fitted",
              dd_sub(g, dd_dot(g, w, dd_matmul(g, gram, w, false, false)), dd_scale(g, dd_dot(g, w, right), 2)));
    DD_TRY(dd_compile_draft(&m->solve, g, r->backend));
    DD_TRY(dd_bind(m->solve, "kss", &m->kss));
    DD_TRY(dd_bind(m->solve, "gram", &m->gram));
    DD_TRY(dd_bind(m->solve, "right", &m->right));
    DD_TRY(dd_bind(m->solve, "ridges", &m->ridges));
    DD_TRY(dd_bind(m->solve, "labels", &m->labels));
    return dd_bind(m->solve, "fitted", &m->fitted);
}

static dd_status build_blocks(dd_run *r, void *state, int64_t mib)
{
    ls *m = state;
    const int64_t n = r->syn->m;
    DD_TRY(dd_kernel_blocks_new(&m->own, r->backend, m->kernel, DD_F64, n, 0, mib << 20, false));
    DD_TRY(dd_kernel_blocks_new(&m->between, r->backend, m->kernel, DD_F64, n, PART, mib << 20, false));
    dd_run_watch(r, m->own);
    dd_run_watch(r, m->between);
    return DD_OK;
}

static void blocks_fini(void *state)
{
    ls *m = state;
    dd_kernel_blocks_free(m->own);
    dd_kernel_blocks_free(m->between);
    m->own = m->between = NULL;
}

static dd_status ls_build(dd_run *r, void *state)
{
    ls *m = state;
    const int64_t n = r->syn->m, classes = r->data->classes;
    m->feeding = *r;
    m->feeding.dtype = DD_F64;
    DD_TRY(dd_kernel_open(&m->kernel, m->kernel_spec, (dd_image){r->data->c, r->data->h, r->data->w}));
    DD_TRY(dd_feed_init(&m->syn, &m->feeding, n, true));
    DD_TRY(dd_feed_init(&m->real, &m->feeding, PART, true));
    DD_TRY(dd_tensor_init(&m->kss, DD_F64, DD_SHAPE(n, n)));
    DD_TRY(dd_tensor_init(&m->kst, DD_F64, DD_SHAPE(n, PART)));
    DD_TRY(dd_tensor_init(&m->gram, DD_F64, DD_SHAPE(n, n)));
    DD_TRY(dd_tensor_init(&m->right, DD_F64, DD_SHAPE(n, classes)));
    DD_TRY(dd_tensor_init(&m->ridges, DD_F64, DD_SHAPE(2)));
    DD_TRY(dd_tensor_init(&m->labels, DD_F64, DD_SHAPE(n, classes)));
    DD_TRY(dd_tensor_init(&m->fitted, DD_F64, DD_SCALAR));
    DD_TRY(build_add(r, m));
    DD_TRY(build_solve(r, m));
    return dd_run_fitting(r, m, m->memory, build_blocks, blocks_fini);
}

static void ls_fini(void *state)
{
    ls *m = state;
    dd_tensor *const all[] = {&m->kss, &m->kst, &m->gram, &m->right, &m->ridges, &m->labels, &m->fitted};
    dd_program_free(m->add);
    dd_program_free(m->solve);
    blocks_fini(m);
    dd_kernel_close(m->kernel);
    dd_feed_fini(&m->syn);
    dd_feed_fini(&m->real);
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
}

/* `n` real items; columns of the kernel beyond them count for nothing. */
static dd_status add_part(ls *m, const int32_t *items, int64_t n)
{
    const int64_t classes = m->right.shape.dim[1];
    const int32_t *label = dd_i32(&m->feeding.data->train.labels);
    dd_feed_items(&m->real, &m->feeding, 0, items, n);
    for (int64_t i = 0; i < n; i++) {
        dd_feed_class(&m->real, i, label[items[i]], 1);
        for (int64_t c = 0; c < classes; c++) dd_f64(&m->real.y)[i * classes + c] -= 1 / (double)classes;
    }
    DD_TRY(dd_kernel_blocks_run(m->between, &m->syn.x, &m->real.x, &m->kst));
    for (int64_t i = 0; n < PART && i < m->syn.n; i++)
        memset(dd_f64(&m->kst) + i * PART + n, 0, (size_t)(PART - n) * sizeof(double));
    return dd_exec(m->add);
}

static dd_status solve(dd_run *r, ls *m)
{
    char line[160];
    dd_f64(&m->ridges)[0] = m->ridge;
    double *other = dd_f64(&m->ridges) + 1;
    DD_TRY(dd_krr_exec(m->solve, other, least));
    if (*other <= least) return DD_OK;
    snprintf(line, sizeof line, "the images are nearly alike to the kernel: solved with a regulariser of %.0e", *other);
    dd_run_tell(r, line);
    return DD_OK;
}

static dd_status ls_iterate(dd_run *r, void *state, int64_t it)
{
    ls *m = state;
    const double classes = (double)r->data->classes;
    (void)it;
    dd_set_zero(&m->gram);
    dd_set_zero(&m->right);
    dd_feed_synthetic(&m->syn, &m->feeding, 0, 0, m->syn.n);
    DD_TRY(dd_kernel_blocks_run(m->own, &m->syn.x, NULL, &m->kss));
    for (int64_t at = 0; at < r->nitems; at += PART) {
        DD_TRY(add_part(m, r->items + at, r->nitems - at < PART ? r->nitems - at : PART));
    }
    DD_TRY(solve(r, m));
    dd_set_zero(&r->syn->soft_labels);
    dd_add_scaled(&r->syn->soft_labels, 1, &m->labels);
    /* |Y_t|^2 = 1 - 1/C an image */
    r->loss = (dd_scalar(&m->fitted) / (double)r->nitems + 1 - 1 / classes) / (2 * classes);
    return DD_OK;
}

const dd_method dd_method_ls = {
    .name = "ls",
    .title = "Label solve",
    .cite = "Nguyen, Chen, Lee 2021",
    .cost = "the kernel of the set and all real images, once",
    .memory = "pairs of images times pixels (squared where the kernel pools), up to memory",
    .options = options,
    .state_size = sizeof(ls),
    .iterations = 1,
    .aug = "none",
    .not_aug = "the kernel sees images as they are",
    .protocol = "krr",
    .labels = "learned",
    .cuts = {"memory"},
    .settle = ls_settle,
    .build = ls_build,
    .iterate = ls_iterate,
    .fini = ls_fini,
};
