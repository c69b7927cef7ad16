/* SPDX-License-Identifier: Apache-2.0
 *
 * How good is a small set for the kernel of an infinitely wide network: ridge regression on it, the largest prediction
 * decides. Knows nn, data, tensor, base. */
#include "eval/krr.h"

#include "base/memory.h"
#include "exec/draft.h"
#include "nn/kernel_blocks.h"
#include "nn/krr.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MEMORY = 512 << 20, LIMITED = 8 << 20, LEAST = 1 << 20, TESTS = 1000, FEWEST = 8, CELLS = 1 << 22 };

typedef struct krr {
    const dd_dataset *d;
    const dd_protocol *p;
    dd_backend *b;
    dd_kernel *kernel;
    int64_t m, classes, tests;
    dd_status (*told)(void *self, int64_t done, int64_t all);
    void *self;
    dd_tensor wide, y, kss, weights, ridge; /* F64 [m,C,H,W] [m,classes] [m,m] [m,classes] scalar */
} krr;

static void close_all(krr *j)
{
    dd_tensor *const all[] = {&j->wide, &j->y, &j->kss, &j->weights, &j->ridge};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_kernel_close(j->kernel);
}

static dd_status allocate(krr *j, const dd_tensor *images)
{
    DD_TRY(dd_tensor_init(&j->wide, DD_F64, images->shape));
    DD_TRY(dd_tensor_init(&j->y, DD_F64, DD_SHAPE(j->m, j->classes)));
    DD_TRY(dd_tensor_init(&j->kss, DD_F64, DD_SHAPE(j->m, j->m)));
    DD_TRY(dd_tensor_init(&j->weights, DD_F64, j->y.shape));
    return dd_tensor_init(&j->ridge, DD_F64, DD_SCALAR);
}

/* Hard labels become one-hot less 1/C. Of what is given as numbers, a constant would change no decision. */
static void targets(krr *j, const dd_tensor *labels)
{
    for (int64_t i = 0; i < j->m; i++)
        for (int64_t c = 0; c < j->classes; c++)
            dd_f64(&j->y)[i * j->classes + c] = labels->dtype == DD_F32
                                                    ? (double)dd_f32(labels)[i * j->classes + c]
                                                    : (double)(dd_i32(labels)[i] == c) - 1 / (double)j->classes;
}

static dd_status solve(krr *j)
{
    dd_graph *g;
    dd_program *p = NULL;
    DD_TRY(dd_draft(&g));
    dd_output(g, "w",
              dd_krr_weights(g, dd_input(g, "k", DD_F64, j->kss.shape), dd_input(g, "y", DD_F64, j->y.shape),
                             dd_input(g, "ridge", DD_F64, DD_SCALAR)));
    dd_status s = dd_compile_draft(&p, g, j->b);
    if (s == DD_OK) s = dd_bind(p, "k", &j->kss);
    if (s == DD_OK) s = dd_bind(p, "y", &j->y);
    if (s == DD_OK) s = dd_bind(p, "ridge", &j->ridge);
    if (s == DD_OK) s = dd_bind(p, "w", &j->weights);
    if (s == DD_OK) s = dd_krr_exec(p, dd_f64(&j->ridge), j->p->ridge);
    dd_program_free(p);
    return s;
}

static dd_status still_wanted(void *self)
{
    const krr *j = self;
    return j->told(j->self, 0, 1);
}

/* In smaller blocks where memory is limited, so that it is left for what follows. m 0: of the set with itself. */
static dd_status open_blocks(dd_kernel_blocks **out, const krr *j, dd_dtype t, int64_t m)
{
    const dd_exec_room room = dd_exec_room_of(j->b);
    for (int64_t memory = dd_backend_limited(j->b) ? LIMITED : MEMORY;; memory /= 2) {
        const dd_status s = dd_kernel_blocks_new(out, j->b, j->kernel, t, j->m, m, memory, false);
        if (s != DD_ENOMEM || memory <= LEAST) return s;
        DD_TRY(dd_exec_shrink(j->b, room));
    }
}

static dd_status fit(krr *j, const dd_tensor *images, const dd_tensor *labels)
{
    dd_kernel_blocks *e = NULL;
    DD_TRY(dd_kernel_open(&j->kernel, j->p->kernel, (dd_image){j->d->c, j->d->h, j->d->w}));
    j->tests = dd_krr_tests(j->kernel);
    DD_TRY(allocate(j, images));
    for (int64_t i = 0; i < dd_shape_count(images->shape); i++) dd_f64(&j->wide)[i] = (double)dd_f32(images)[i];
    targets(j, labels);
    DD_TRY(open_blocks(&e, j, DD_F64, 0));
    dd_kernel_blocks_watch(e, still_wanted, j);
    const dd_status s = dd_kernel_blocks_run(e, &j->wide, NULL, &j->kss);
    dd_kernel_blocks_free(e);
    DD_TRY(s);
    return solve(j);
}

int64_t dd_krr_tests(const dd_kernel *k)
{
    const int64_t n = CELLS / dd_kernel_cells(k);
    return n > TESTS ? TESTS : n < FEWEST ? FEWEST : n;
}

/* Says of some test images what the classes are worth, in double. */
typedef struct oracle {
    dd_kernel_blocks *e;
    dd_program *p;
    dd_tensor x, k, says; /* F32 [tests,C,H,W] [m,tests]; F64 [tests,classes] */
} oracle;

static void oracle_close(oracle *o)
{
    dd_kernel_blocks_free(o->e);
    dd_program_free(o->p);
    dd_tensor_fini(&o->x);
    dd_tensor_fini(&o->k);
    dd_tensor_fini(&o->says);
}

static dd_status oracle_open(oracle *o, const krr *j)
{
    DD_TRY(dd_tensor_init(&o->x, DD_F32, DD_SHAPE(j->tests, j->d->c, j->d->h, j->d->w)));
    DD_TRY(dd_tensor_init(&o->k, DD_F32, DD_SHAPE(j->m, j->tests)));
    DD_TRY(dd_tensor_init(&o->says, DD_F64, DD_SHAPE(j->tests, j->classes)));
    dd_graph *g;
    DD_TRY(dd_draft(&g));
    dd_output(g, "says",
              dd_krr_predict(g, dd_cast(g, dd_input(g, "k", DD_F32, o->k.shape), DD_F64),
                             dd_input(g, "w", DD_F64, j->weights.shape)));
    DD_TRY(dd_compile_draft(&o->p, g, j->b));
    DD_TRY(dd_bind(o->p, "k", &o->k));
    DD_TRY(dd_bind(o->p, "w", &j->weights));
    DD_TRY(dd_bind(o->p, "says", &o->says));
    return open_blocks(&o->e, j, DD_F32, j->tests); /* last: they take what is left */
}

/* Adds the images of the listed n that are decided right. */
static dd_status right(const krr *j, const dd_split *split, const int32_t *items, int64_t n, const oracle *o,
                       int64_t *count)
{
    for (int64_t t = 0; t < n; t++) {
        const double *p = dd_f64(&o->says) + t * j->classes;
        int64_t best = 0;
        double sum = 0;
        for (int64_t c = 0; c < j->classes; c++) {
            best = p[c] > p[best] ? c : best;
            sum += p[c];
        }
        if (!isfinite(sum))
            return dd_fail(DD_ENUMERIC,
                           "kernel %s predicts numbers too large or none of test image %" PRId32
                           ": take smaller scales w_std and b_std, or fewer layers",
                           j->p->kernel, items[t]);
        *count += dd_i32(&split->labels)[items[t]] == best;
    }
    return DD_OK;
}

static dd_status test(const krr *j, oracle *o, const dd_tensor *images, const dd_split *split, const int32_t *items,
                      int64_t nitems, double *accuracy)
{
    int32_t list[TESTS];
    int64_t count = 0;
    for (int64_t at = 0; at < nitems; at += j->tests) {
        const int64_t n = nitems - at < j->tests ? nitems - at : j->tests;
        for (int64_t i = 0; i < n; i++) list[i] = items ? items[at + i] : (int32_t)(at + i);
        dd_data_batch(j->d, split, list, n, dd_f32(&o->x));
        DD_TRY(dd_kernel_blocks_run(o->e, images, &o->x, &o->k));
        DD_TRY(dd_exec(o->p));
        DD_TRY(right(j, split, list, n, o, &count));
        DD_TRY(j->told(j->self, at + n, nitems));
    }
    *accuracy = (double)count / (double)nitems;
    return DD_OK;
}

static dd_status judge(krr *j, const dd_tensor *images, const dd_split *split, const int32_t *items, int64_t nitems,
                       double *accuracy)
{
    oracle o = {0};
    dd_status s = oracle_open(&o, j);
    if (s == DD_OK) s = test(j, &o, images, split, items, nitems, accuracy);
    oracle_close(&o);
    return s;
}

dd_status dd_krr_accuracy(double *accuracy, double *ridge, dd_backend *b, const dd_dataset *d, const dd_tensor *images,
                          const dd_tensor *labels, const dd_split *split, const int32_t *items, int64_t nitems,
                          const dd_protocol *p, dd_status (*told)(void *self, int64_t done, int64_t all), void *self)
{
    krr j = {.d = d, .p = p, .b = b, .m = images->shape.dim[0], .classes = d->classes, .told = told, .self = self};
    dd_status s = fit(&j, images, labels);
    if (s == DD_OK) *ridge = *dd_f64(&j.ridge);
    if (s == DD_OK) s = judge(&j, images, split, items, nitems, accuracy);
    close_all(&j);
    return s;
}
