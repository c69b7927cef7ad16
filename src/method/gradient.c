/* SPDX-License-Identifier: Apache-2.0
 *
 * One step of a method on numbers from a file, its loss and gradients into another: how anybody compares a method with
 * another implementation. A run is opened as the driver does, on a data set that is the file's real batch, with the
 * file's draws in place of its own. Knows what the driver knows. */
#include "method/gradient.h"

#include "base/fs.h"
#include "data/safetensors.h"
#include "method/driver_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dd_gradient_job {
    dd_driver *d;
    dd_tensor syn, real, theta, target, aug, index, labels, lr; /* as the file has them; empty where it does not */
    dd_given given;
};
typedef struct dd_gradient_job job;

/* A copy of the file's tensor: type and rank are checked, what is absent stays empty. */
static dd_status take(dd_tensor *out, const dd_st_file *f, const char *name, dd_dtype type, int rank, const char *path)
{
    const dd_tensor *t = dd_st_find(f, name);
    char shape[128];
    if (!t) return DD_OK;
    if (t->dtype != type || t->shape.rank != rank)
        return dd_fail(DD_EFORMAT, "%s: \"%s\" is %s %s, it must be %s of rank %d", path, name, dd_dtype_name(t->dtype),
                       dd_shape_text(t->shape, shape, sizeof shape), dd_dtype_name(type), rank);
    DD_TRY(dd_tensor_init(out, type, t->shape));
    return dd_tensor_copy(out, t);
}

/* A tensor that is not known may be one that is meant, misspelt. */
static dd_status check_names(const dd_st_file *f, const char *path)
{
    static const char *const known[] = {"syn", "real", "theta", "target", "aug", "index", "labels", "lr", NULL};
    for (int i = 0; i < f->n; i++) {
        int k = 0;
        while (known[k] && strcmp(known[k], f->e[i].name) != 0) k++;
        if (known[k]) continue;
        const char *near = dd_nearest(f->e[i].name, known);
        return dd_fail(DD_EFORMAT,
                       "%s holds a tensor \"%s\", and syn, real, theta, target, aug, index, labels and lr are read%s%s",
                       path, f->e[i].name, near ? "; did you mean " : "", near ? near : "");
    }
    return DD_OK;
}

static dd_status take_all(job *j, const dd_st_file *f, const char *path)
{
    DD_TRY(check_names(f, path));
    DD_TRY(take(&j->syn, f, "syn", DD_F32, 4, path));
    DD_TRY(take(&j->real, f, "real", DD_F32, 4, path));
    DD_TRY(take(&j->theta, f, "theta", DD_F32, 1, path));
    DD_TRY(take(&j->target, f, "target", DD_F32, 1, path));
    DD_TRY(take(&j->aug, f, "aug", DD_F32, 2, path));
    DD_TRY(take(&j->index, f, "index", DD_I32, 2, path));
    DD_TRY(take(&j->labels, f, "labels", DD_F32, 2, path));
    DD_TRY(take(&j->lr, f, "lr", DD_F32, 1, path));
    if (!j->syn.data) return dd_fail(DD_EFORMAT, "%s has no tensor \"syn\", the synthetic images [M,C,H,W]", path);
    if (j->aug.data && j->aug.shape.dim[1] != DD_AUG_PARAMS)
        return dd_fail(DD_EFORMAT, "%s: \"aug\" has rows of %" PRId64 " numbers, not %d", path, j->aug.shape.dim[1],
                       DD_AUG_PARAMS);
    j->given = (dd_given){j->theta.data ? &j->theta : NULL, j->target.data ? &j->target : NULL,
                          j->aug.data ? &j->aug : NULL, j->index.data ? &j->index : NULL};
    return DD_OK;
}

static dd_status read_file(job *j, const char *path)
{
    dd_st_file *f;
    DD_TRY(dd_st_load(&f, path));
    const dd_status s = take_all(j, f, path);
    dd_st_free(f);
    return s;
}

static dd_status name_classes(dd_dataset *d)
{
    d->class_names = dd_alloc((size_t)d->classes, sizeof *d->class_names);
    for (int64_t c = 0; d->class_names && c < d->classes; c++) {
        char name[24];
        snprintf(name, sizeof name, "%" PRId64, c);
        d->class_names[c] = dd_strdup(name);
        if (!d->class_names[c]) break;
    }
    return d->class_names && d->class_names[d->classes - 1]
               ? DD_OK
               : dd_fail(DD_ENOMEM, "out of memory for the names of %" PRId64 " classes", d->classes);
}

/* The real batch as a data set, in the space it is in; rows are class-major. */
static dd_status make_data(job *j, int64_t classes)
{
    const dd_tensor *x = j->real.data ? &j->real : &j->syn;
    const int64_t n = x->shape.dim[0];
    if (x->shape.dim[1] > (int64_t)DD_LEN(((dd_dataset *)0)->std))
        return dd_fail(DD_EINVAL, "the images have %" PRId64 " channels, at most %zu are possible", x->shape.dim[1],
                       DD_LEN(((dd_dataset *)0)->std));
    dd_dataset *d = j->d->data = dd_alloc(1, sizeof *d);
    if (!d) return dd_fail(DD_ENOMEM, "out of memory for a data set");
    *d = (dd_dataset){.c = x->shape.dim[1], .h = x->shape.dim[2], .w = x->shape.dim[3], .classes = classes};
    snprintf(d->name, sizeof d->name, "given");
    for (size_t c = 0; c < DD_LEN(d->std); c++) d->std[c] = 1;
    if (n % classes)
        return dd_fail(DD_EINVAL, "%" PRId64 " real images are no whole number for each of %" PRId64 " classes", n,
                       classes);
    d->train.n = n;
    d->train.images = dd_tensor_view(DD_F32, x->shape, x->data);
    DD_TRY(dd_tensor_init(&d->train.labels, DD_I32, DD_SHAPE(n)));
    for (int64_t i = 0; i < n; i++) dd_i32(&d->train.labels)[i] = (int32_t)(i / (n / classes));
    j->d->items = malloc((size_t)n * sizeof *j->d->items);
    if (!j->d->items) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", n);
    for (int64_t i = 0; i < n; i++) j->d->items[i] = (int32_t)i;
    j->d->nitems = n;
    return name_classes(d);
}

/* Draws of a file are one a class. */
static dd_status check_siamese(const job *j)
{
    char value[DD_OPT_TEXT];
    const dd_driver *d = j->d;
    if (!j->aug.data || !dd_options_has(d->method->options, "siamese")) return DD_OK;
    DD_TRY(dd_options_get(d->method->options, d->state, "siamese", value, sizeof value));
    if (strcmp(value, "true") == 0) return DD_OK;
    return dd_fail(DD_EINVAL, "\"aug\" has a row a class, and siamese=%s draws one an image; leave one of them out",
                   value);
}

static dd_status check_rates(const job *j)
{
    for (int64_t i = 0; j->lr.data && i < dd_shape_count(j->lr.shape); i++)
        if (!(dd_f32(&j->lr)[i] > 0) || !isfinite(dd_f32(&j->lr)[i]))
            return dd_fail(DD_EINVAL, "\"lr\" holds %g, a learned step size is above 0", (double)dd_f32(&j->lr)[i]);
    return DD_OK;
}

static dd_status check_index(const job *j)
{
    const int64_t m = j->syn.shape.dim[0];
    for (int64_t i = 0; j->index.data && i < dd_shape_count(j->index.shape); i++)
        if (dd_i32(&j->index)[i] < 0 || dd_i32(&j->index)[i] >= m)
            return dd_fail(DD_EINVAL, "\"index\" holds %d, and there are %" PRId64 " synthetic images",
                           dd_i32(&j->index)[i], m);
    return DD_OK;
}

/* A tensor that the method does not read would be left out of the comparison unnoticed. */
static dd_status check_meaning(const job *j)
{
    const dd_driver *d = j->d;
    const dd_option *o = d->method->options;
    const struct {
        const char *name, *why;
        const dd_tensor *t;
        bool read;
    } check[] = {
        {"target", "which follows no expert", &j->target, dd_options_has(o, "experts")},
        {"index", "whose steps choose no images", &j->index, dd_options_has(o, "batch_syn")},
        {"real", "which sees experts in place of real images", &j->real, dd_options_has(o, "batch_real")},
        {"theta", "whose kernel has no network", &j->theta, d->method->networks || !dd_options_has(o, "kernel")},
        {"aug", "which augments nothing by these options (--aug)", &j->aug, d->r.aug.list != 0}};
    for (size_t i = 0; i < DD_LEN(check); i++)
        if (check[i].t->data && !check[i].read)
            return dd_fail(DD_EINVAL, "\"%s\" means nothing to method %s, %s; leave it out", check[i].name,
                           d->method->name, check[i].why);
    return d->o.init_from[0] ? dd_fail(DD_EINVAL, "the file's \"syn\" are the images; leave init_from out") : DD_OK;
}

static dd_status check_vector(const dd_tensor *t, const char *name, const dd_net *net, bool several)
{
    const int64_t p = dd_net_size(net), have = t->data ? dd_shape_count(t->shape) : p;
    if (have == p || (several && have > 0 && have % p == 0)) return DD_OK;
    return dd_fail(DD_EINVAL, "\"%s\" has %" PRId64 " numbers, and %s has %" PRId64 " parameters", name, have,
                   dd_net_spec(net), p);
}

/* The real images that are given make a step's batch, all of them. */
static dd_status take_whole_batch(const job *j)
{
    const dd_driver *d = j->d;
    char n[24];
    snprintf(n, sizeof n, "%" PRId64, d->nitems / d->data->classes);
    return j->real.data && dd_options_has(d->method->options, "batch_real")
               ? dd_options_set(d->method->options, d->state, "batch_real", n)
               : DD_OK;
}

/* What the file says of a part of the set, if it does. */
static dd_status put(dd_tensor *to, const dd_tensor *given, const char *name, const char *method)
{
    char a[128], b[128];
    if (!given->data) return DD_OK;
    if (!to->data)
        return dd_fail(DD_EINVAL, "\"%s\" means nothing to method %s with these options; leave it out", name, method);
    if (!dd_shape_equal(to->shape, given->shape))
        return dd_fail(DD_EINVAL, "\"%s\" is %s, it must be %s", name, dd_shape_text(given->shape, a, sizeof a),
                       dd_shape_text(to->shape, b, sizeof b));
    return dd_tensor_copy(to, given);
}

static dd_status build(job *j, dd_dtype type)
{
    dd_driver *d = j->d;
    const int64_t m = j->syn.shape.dim[0];
    char shape[128];
    if (m % d->o.ipc)
        return dd_fail(DD_EINVAL, "%" PRId64 " synthetic images are no whole number of classes of %" PRId64, m,
                       d->o.ipc);
    DD_TRY(make_data(j, m / d->o.ipc));
    DD_TRY(dd_driver_open(d));
    if (!d->method->gradient) return dd_fail(DD_EUNSUPPORTED, "method %s makes no gradient", d->method->name);
    if (!dd_shape_equal(d->r.syn->images.shape, j->syn.shape))
        return dd_fail(DD_EINVAL, "\"syn\" has images %s, and \"real\" has %" PRId64 "x%" PRId64 "x%" PRId64,
                       dd_shape_text(j->syn.shape, shape, sizeof shape), d->data->c, d->data->h, d->data->w);
    DD_TRY(check_meaning(j));
    DD_TRY(check_vector(&j->theta, "theta", d->net, d->method->networks));
    DD_TRY(check_vector(&j->target, "target", d->net, false));
    DD_TRY(check_rates(j));
    DD_TRY(check_index(j));
    DD_TRY(check_siamese(j));
    DD_TRY(take_whole_batch(j));
    DD_TRY(dd_tensor_copy(&d->r.syn->images, &j->syn));
    DD_TRY(put(&d->r.syn->soft_labels, &j->labels, "labels", d->method->name));
    DD_TRY(put(&d->r.syn->lr, &j->lr, "lr", d->method->name));
    d->r.dtype = type;
    d->r.given = &j->given;
    return d->method->build(&d->r, d->state);
}

dd_status dd_gradient_write(const dd_gradient_job *j, const char *path)
{
    dd_saved g[8];
    dd_st_entry e[9];
    void *bytes;
    size_t size;
    double loss = j->d->r.loss;
    const int n = j->d->method->gradients(j->d->state, g);
    snprintf(e[0].name, sizeof e[0].name, "loss");
    e[0].t = dd_tensor_view(DD_F64, DD_SCALAR, &loss);
    for (int i = 0; i < n; i++) {
        snprintf(e[i + 1].name, sizeof e[i + 1].name, "%s", g[i].name);
        e[i + 1].t = *g[i].tensor;
    }
    DD_TRY(dd_st_write(e, n + 1, &bytes, &size));
    const dd_status s = dd_write_file(path, bytes, size);
    dd_free(bytes);
    return s;
}

static dd_status open_job(job *j, const dd_distill_opts *o, const char *path, dd_dtype type)
{
    j->d = dd_alloc(1, sizeof *j->d);
    if (!j->d) return dd_fail(DD_ENOMEM, "out of memory for a run");
    dd_driver_init(j->d, o);
    j->d->o.eval_every = j->d->o.eval_repeats = 0;
    DD_TRY(read_file(j, path));
    return build(j, type);
}

dd_status dd_gradient_open(dd_gradient_job **out, const dd_distill_opts *o, const char *path, dd_dtype type)
{
    *out = NULL;
    job *j = dd_alloc(1, sizeof *j);
    if (!j) return dd_fail(DD_ENOMEM, "out of memory for a run");
    const dd_status s = open_job(j, o, path, type);
    if (s == DD_OK)
        *out = j;
    else
        dd_gradient_close(j);
    return s;
}

dd_status dd_gradient_compute(dd_gradient_job *j, double *loss)
{
    const dd_status s = j->d->method->gradient(&j->d->r, j->d->state, j->d->r.key);
    *loss = j->d->r.loss;
    return s;
}

void dd_gradient_close(dd_gradient_job *j)
{
    if (!j) return;
    if (j->d) dd_driver_close(j->d);
    dd_tensor *const all[] = {&j->syn, &j->real, &j->theta, &j->target, &j->aug, &j->index, &j->labels, &j->lr};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_free(j);
}

dd_status dd_gradient(double *loss, const dd_distill_opts *o, const char *from, const char *to, const char *type)
{
    dd_gradient_job *j;
    const bool wide = strcmp(type, "float64") == 0;
    if (!wide && strcmp(type, "float32") != 0)
        return dd_fail(DD_EINVAL, "\"%s\" is no type to compute in; there are float32 and float64", type);
    DD_TRY(dd_check_writable(to));
    if (dd_same_file(from, to))
        return dd_fail(DD_EINVAL, "%s is read, so the gradients cannot go there: name another file", to);
    DD_TRY(dd_gradient_open(&j, o, from, wide ? DD_F64 : DD_F32));
    dd_status s = dd_gradient_compute(j, loss);
    if (s == DD_OK) s = dd_gradient_write(j, to);
    if (s == DD_OK && !isfinite(*loss)) s = dd_fail(DD_ENUMERIC, "the loss is no number; gradients are in %s", to);
    dd_gradient_close(j);
    return s;
}
