/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches for the programs of methods, and the arithmetic on their tensors that is not worth a program. Knows graph,
 * exec, nn, data. */
#include "method/feed.h"

#include "attar/kernel.h"
#include "base/memory.h"
#include "exec/draft.h"
#include "nn/krr.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MANY = 1 << 18 }; /* pixels from which threads share the work */

static int64_t pixels(const dd_run *r)
{
    return r->data->c * r->data->h * r->data->w;
}

dd_status dd_feed_init(dd_feed *f, const dd_run *r, int64_t n, bool labels)
{
    const dd_dataset *d = r->data;
    int64_t most = pixels(r) > DD_AUG_PARAMS ? pixels(r) : DD_AUG_PARAMS;
    if (most < d->classes) most = d->classes; /* labels pass through the same rows */
    f->n = n;
    DD_TRY(dd_tensor_init(&f->x, r->dtype, DD_SHAPE(n, d->c, d->h, d->w)));
    DD_TRY(dd_tensor_init(&f->aug, r->dtype, DD_SHAPE(n, DD_AUG_PARAMS)));
    if (labels) DD_TRY(dd_tensor_init(&f->y, r->dtype, DD_SHAPE(n, d->classes)));
    if (r->dtype == DD_F32) return DD_OK;
    f->rows = dd_alloc((size_t)n, (size_t)most * sizeof *f->rows);
    return f->rows ? DD_OK : dd_fail(DD_ENOMEM, "out of memory for a batch in %s", dd_dtype_name(r->dtype));
}

void dd_feed_fini(dd_feed *f)
{
    dd_tensor_fini(&f->x);
    dd_tensor_fini(&f->aug);
    dd_tensor_fini(&f->y);
    dd_free(f->rows);
    f->rows = NULL;
}

dd_fed dd_feed_inputs(dd_graph *g, const dd_run *r, int64_t n, bool labels)
{
    const dd_dataset *d = r->data;
    dd_fed in = {.x = dd_input(g, "x", r->dtype, DD_SHAPE(n, d->c, d->h, d->w))};
    in.seen = in.x;
    if (r->aug.list) in.seen = dd_augment(g, r->aug, in.x, dd_input(g, "aug", r->dtype, DD_SHAPE(n, DD_AUG_PARAMS)));
    if (labels) in.y = dd_input(g, "y", r->dtype, DD_SHAPE(n, d->classes));
    return in;
}

dd_status dd_feed_bind(const dd_feed *f, const dd_run *r, dd_program *p)
{
    DD_TRY(dd_bind(p, "x", &f->x));
    if (r->aug.list) DD_TRY(dd_bind(p, "aug", &f->aug));
    return f->y.data ? dd_bind(p, "y", &f->y) : DD_OK;
}

/* Where to write rows of floats that are meant for row `row` of t; landed() brings them there. */
static float *landing(const dd_feed *f, const dd_tensor *t, int64_t row)
{
    return f->rows ? f->rows : dd_f32(t) + row * (dd_shape_count(t->shape) / f->n);
}

static void landed(const dd_feed *f, const dd_tensor *t, int64_t row, int64_t n)
{
    const int64_t size = dd_shape_count(t->shape) / f->n;
    if (!f->rows) return;
    double *to = dd_f64(t) + row * size;
    const float *from = f->rows;
    if (n * size < MANY) { /* a region of one thread would cost more than a label */
        for (int64_t i = 0; i < n * size; i++) to[i] = (double)from[i];
        return;
    }
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n * size; i++) to[i] = (double)from[i];
}

void dd_feed_items(dd_feed *f, const dd_run *r, int64_t row, const int32_t *items, int64_t n)
{
    const int64_t some = 2 * MANY / pixels(r) + 1,
                  part = f->rows && some < n ? some : n; /* stays in cache on its way */
    for (int64_t i = 0; i < n; i += part) {
        const int64_t count = n - i < part ? n - i : part;
        dd_data_batch(r->data, &r->data->train, items + i, count, landing(f, &f->x, row + i));
        landed(f, &f->x, row + i, count);
    }
}

void dd_feed_synthetic(dd_feed *f, const dd_run *r, int64_t row, int64_t from, int64_t n)
{
    const int64_t size = pixels(r);
    memcpy(landing(f, &f->x, row), dd_f32(&r->syn->images) + from * size, (size_t)(n * size) * sizeof(float));
    landed(f, &f->x, row, n);
}

void dd_feed_class(dd_feed *f, int64_t row, int64_t c, int64_t n)
{
    const int64_t classes = f->y.shape.dim[1];
    float *y = landing(f, &f->y, row);
    memset(y, 0, (size_t)(n * classes) * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i * classes + c] = 1;
    landed(f, &f->y, row, n);
}

void dd_feed_augment(dd_feed *f, const dd_run *r, int64_t row, int64_t n, const float *shared, dd_key key,
                     const char *purpose, int64_t first)
{
    const dd_image im = {r->data->c, r->data->h, r->data->w};
    const dd_tensor *given = r->given ? r->given->aug : NULL;
    float *aug = landing(f, &f->aug, row);
    if (!r->aug.list) return;
    for (int64_t i = 0; i < n; i++, aug += DD_AUG_PARAMS)
        if (shared || given)
            memcpy(aug, shared ? shared : dd_f32(given) + (first + i) * DD_AUG_PARAMS, DD_AUG_PARAMS * sizeof *aug);
        else
            dd_aug_draw(r->aug, im, dd_key_at(key, purpose, (uint64_t)(first + i)), false, 1, aug);
    landed(f, &f->aug, row, n);
}

void dd_feed_real(dd_feed *f, const dd_run *r, const int32_t *items)
{
    const int32_t *label = dd_i32(&r->data->train.labels);
    dd_feed_items(f, r, 0, items, f->n);
    for (int64_t i = 0; i < f->n; i++) dd_feed_class(f, i, label[items[i]], 1);
}

void dd_feed_label_rows(dd_feed *f, const dd_tensor *labels, int64_t row, int64_t from, int64_t n)
{
    const int64_t classes = f->y.shape.dim[1];
    memcpy(landing(f, &f->y, row), dd_f32(labels) + from * classes, (size_t)(n * classes) * sizeof(float));
    landed(f, &f->y, row, n);
}

void dd_feed_labels(dd_feed *f, const dd_run *r, int64_t row, int64_t from, int64_t n)
{
    if (r->syn->soft_labels.data)
        dd_feed_label_rows(f, &r->syn->soft_labels, row, from, n);
    else
        for (int64_t i = 0; i < n; i++) dd_feed_class(f, row + i, dd_i32(&r->syn->labels)[from + i], 1);
}

void dd_feed_augment_batch(dd_feed *f, const dd_run *r, dd_key key, int64_t first)
{
    const dd_image im = {r->data->c, r->data->h, r->data->w};
    const dd_tensor *given = r->given ? r->given->aug : NULL;
    float *aug = landing(f, &f->aug, 0);
    if (!r->aug.list) return;
    if (given)
        memcpy(aug, dd_f32(given) + first * DD_AUG_PARAMS, (size_t)(f->n * DD_AUG_PARAMS) * sizeof *aug);
    else
        dd_aug_draw(r->aug, im, key, false, f->n, aug);
    landed(f, &f->aug, 0, f->n);
}

dd_status dd_draw_classes(const dd_run *r, dd_key key, float *rows)
{
    const dd_image im = {r->data->c, r->data->h, r->data->w};
    const dd_tensor *given = r->given ? r->given->aug : NULL;
    const int64_t classes = r->data->classes;
    if (given && given->shape.dim[0] != classes)
        return dd_fail(DD_EINVAL, "aug has %" PRId64 " rows, and a step needs one for each of %" PRId64 " classes",
                       given->shape.dim[0], classes);
    if (given) memcpy(rows, given->data, (size_t)(classes * DD_AUG_PARAMS) * sizeof *rows);
    for (int64_t c = 0; !given && c < classes && r->aug.list; c++)
        dd_aug_draw(r->aug, im, dd_key_at(key, "aug", (uint64_t)c), true, 1, rows + c * DD_AUG_PARAMS);
    return DD_OK;
}

dd_status dd_draw_network(const dd_run *r, dd_key key, dd_tensor *theta)
{
    const dd_tensor *given = r->given ? r->given->theta : NULL;
    if (!given) return dd_net_init(r->net, theta, key);
    dd_set_zero(theta);
    dd_add_scaled(theta, 1, given);
    return DD_OK;
}

static double element(const dd_tensor *t, int64_t i)
{
    return t->dtype == DD_F32 ? (double)dd_f32(t)[i] : dd_f64(t)[i];
}

void dd_add_scaled(dd_tensor *to, double a, const dd_tensor *from)
{
    const int64_t n = dd_shape_count(to->shape);
    if (to->dtype == DD_F32 && from->dtype == DD_F32) {
        float *t = dd_f32(to);
        const float *f = dd_f32(from), s = (float)a;
        for (int64_t i = 0; i < n; i++) t[i] += s * f[i];
    } else if (to->dtype == DD_F32) {
        for (int64_t i = 0; i < n; i++) dd_f32(to)[i] += (float)(a * element(from, i));
    } else {
        for (int64_t i = 0; i < n; i++) dd_f64(to)[i] += a * element(from, i);
    }
}

double dd_sum_squares(const dd_tensor *t)
{
    double sum = 0;
    for (int64_t i = 0, n = dd_shape_count(t->shape); i < n; i++) {
        const double v = element(t, i);
        sum += v * v;
    }
    return sum;
}

void dd_scale_by(dd_tensor *t, double a)
{
    for (int64_t i = 0, n = dd_shape_count(t->shape); i < n; i++)
        if (t->dtype == DD_F32)
            dd_f32(t)[i] = (float)(a * (double)dd_f32(t)[i]);
        else
            dd_f64(t)[i] *= a;
}

void dd_set_zero(dd_tensor *t)
{
    memset(t->data, 0, dd_tensor_bytes(t));
}

double dd_cosine(int64_t it, int64_t n, double floor)
{
    const double pi = 3.14159265358979323846, way = it < n ? (double)it / (double)n : 1;
    return (1 - floor) * (1 + cos(pi * way)) / 2 + floor;
}

double dd_scalar(const dd_tensor *t)
{
    return element(t, 0);
}

dd_status dd_regress(const dd_run *r, dd_program *p, dd_tensor *factor, double ridge, double *raised)
{
    char line[160];
    double *f = dd_f64(factor);
    const dd_status s = dd_krr_exec(p, f, ridge);
    if (s == DD_ENUMERIC)
        return dd_fail(s,
                       "the kernel of the set has no factor with any ridge from %g to %g: its numbers are too large or "
                       "none; try smaller learning rates",
                       ridge, *f);
    DD_TRY(s);
    if (*f <= ridge || *f <= *raised) return DD_OK;
    *raised = *f;
    snprintf(line, sizeof line,
             "the kernel of the set has no factor with ridge %g, as where images are alike; with %g it has", ridge,
             *raised);
    dd_run_tell(r, line);
    return DD_OK;
}

dd_status dd_run_fitting(dd_run *r, void *m, int64_t asked, dd_status (*make)(dd_run *r, void *m, int64_t n),
                         void (*undo)(void *m))
{
    const int64_t before = r->cut[0];
    const dd_exec_room room = dd_exec_room_of(r->backend);
    for (int64_t n = before > 0 && before < asked ? before : asked;; n = (n + 1) / 2) {
        const dd_status s = make(r, m, n);
        r->cut[0] = n < asked ? n : 0;
        if (s != DD_ENOMEM || !r->limited || n == 1) return s;
        undo(m);
        DD_TRY(dd_exec_shrink(r->backend, room));
    }
}

static dd_status asked(void *run)
{
    return dd_run_asked(run);
}

void dd_run_watch(dd_run *r, dd_kernel_blocks *e)
{
    dd_kernel_blocks_watch(e, asked, r);
}

dd_status dd_run_kernel(dd_run *r, char *spec, double ridge)
{
    dd_kernel *k;
    DD_TRY(dd_kernel_open(&k, spec, (dd_image){r->data->c, r->data->h, r->data->w}));
    snprintf(spec, DD_OPT_TEXT, "%s", dd_kernel_spec(k));
    dd_kernel_close(k);
    snprintf(r->kernel, sizeof r->kernel, "%s", spec);
    r->ridge = ridge;
    return DD_OK;
}
