/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run starts from: its options, the method with those of its own, data, network, backend and the first images.
 * Knows everything below method. */
#include "base/fs.h"
#include "method/driver_internal.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(dd_distill_opts, field)
static const dd_option driver_table[] = {
    {"method", DD_OPT_STRING, AT(method), "dm", 0, 0, NULL, "the method"},
    {"data", DD_OPT_STRING, AT(data), "", 0, 0, NULL, "a known data set, a folder or an .npz file"},
    {"out", DD_OPT_STRING, AT(out), "", 0, 0, NULL, "folder that receives the set"},
    {"ipc", DD_OPT_INT, AT(ipc), "1", 1, 10000, NULL, "synthetic images per class"},
    {"seed", DD_OPT_INT, AT(seed), "0", 0, 9007199254740991.0, NULL, "seed of every random choice"},
    {"iterations", DD_OPT_INT, AT(iterations), "-1", -1, 1e9, NULL, "iterations; -1 is the method's own number"},
    {"net", DD_OPT_STRING, AT(net), "auto", 0, 0, NULL, "network specification; auto is the method's own choice"},
    {"init", DD_OPT_CHOICE, AT(init), "auto", 0, 0, "auto|real|noise|herding|kcenter|kmeans",
     "what the images start as; auto is the method's own choice"},
    {"init_from", DD_OPT_STRING, AT(init_from), "", 0, 0, NULL, "a set whose images they start as, in place of init"},
    {"aug", DD_OPT_STRING, AT(aug), "auto", 0, 0, NULL, "differentiable augmentation of the method"},
    {"labels", DD_OPT_CHOICE, AT(labels), "auto", 0, 0, "auto|hard|soft|learned",
     "hard, those a network trained on the real data gives the first images, or learned; auto is the method's own"},
    {"eval_every", DD_OPT_INT, AT(eval_every), "0", 0, 1e9, NULL, "iterations between evaluations; 0: none"},
    {"eval_repeats", DD_OPT_INT, AT(eval_repeats), "3", 0, 64, NULL, "networks of the final evaluation; 0: none"},
    {"protocol", DD_OPT_STRING, AT(protocol), "auto", 0, 0, NULL,
     "how evaluation networks are trained; auto is the method's own choice"},
    {"eval_epochs", DD_OPT_INT, AT(eval_epochs), "-1", -1, 1e6, NULL, "their epochs; -1 is the protocol's number"},
    {"holdout", DD_OPT_REAL, AT(holdout), "0.1", 0, 0.5, NULL, "fraction of the training data held out for selection"},
    {"paper_compatible", DD_OPT_BOOL, AT(paper_compatible), "false", 0, 0, NULL, "select on the test data"},
    {"baselines", DD_OPT_BOOL, AT(baselines), "true", 0, 0, NULL, "evaluate random real images beside it"},
    {"checkpoint_every", DD_OPT_INT, AT(checkpoint_every), "50", 1, 1e9, NULL, "iterations between checkpoints"},
    {"backend", DD_OPT_STRING, AT(backend), "cpu", 0, 0, NULL, "cpu or ref"},
    {"threads", DD_OPT_INT, AT(threads), "0", 0, 4096, NULL, "threads; 0: all cores"},
    {"memory_limit", DD_OPT_INT, AT(memory_limit), "0", 0, 9007199254740991.0, NULL,
     "bytes of resident memory; 0: any"},
    {"precision", DD_OPT_CHOICE, AT(precision), "float32", 0, 0, "float32|bf16", "what lies between convolutions"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

const dd_option *dd_driver_options(void)
{
    return driver_table;
}

dd_status dd_distill_defaults(dd_distill_opts *o)
{
    memset(o, 0, sizeof *o);
    const dd_data_opts none = DD_DATA_OPTS_INIT;
    o->data_opts = none;
    return dd_options_defaults(driver_table, o);
}

/* "key=value" strings: the method's own keys first, then the driver's. */
static dd_status apply_sets(dd_driver *d)
{
    for (const char *const *s = d->o.sets; s && *s; s++) {
        const char *eq = strchr(*s, '=');
        char key[64];
        if (!eq || eq == *s || (size_t)(eq - *s) >= sizeof key)
            return dd_fail(DD_EINVAL, "\"%s\": expected key=value", *s);
        const size_t n = (size_t)(eq - *s);
        memcpy(key, *s, n);
        key[n] = 0;
        const bool own = dd_options_has(d->method->options, key), driver = !own && dd_options_has(driver_table, key);
        if (!own && !driver) return dd_options_unknown(d->method->options, driver_table, key);
        DD_TRY(
            dd_options_set(driver ? driver_table : d->method->options, driver ? (void *)&d->o : d->state, key, eq + 1));
    }
    return DD_OK;
}

/* Puts the method's own choice in place of "auto". */
static void choose(char *option, const char *own)
{
    if (own && strcmp(option, "auto") == 0) snprintf(option, DD_OPT_TEXT, "%s", own);
}

void dd_driver_choose(dd_distill_opts *o, const dd_method *m)
{
    const char *can = m->labels ? m->labels : "hard"; /* its own choice first */
    char first[16];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(can, "|"), can);
    choose(o->labels, first);
    choose(o->init, m->init ? m->init : "real");
    choose(o->protocol, m->protocol ? m->protocol : "dsa");
    choose(o->aug, m->aug);
    choose(o->net, m->net ? m->net : "convnet");
    if (!m->iterations)
        o->iterations = 0; /* a coreset: build makes the set */
    else if (o->iterations < 0)
        o->iterations = m->iterations;
}

/* What means nothing to the method, as far as the options tell. */
static dd_status check_meaning(const dd_driver *d)
{
    DD_TRY(dd_method_means(d->method, "labels", d->o.labels));
    DD_TRY(dd_method_means(d->method, "init", d->o.init));
    if (d->o.init_from[0] && !d->method->iterations)
        return dd_fail(DD_EUNSUPPORTED, "init_from means nothing to method %s: it chooses its images itself",
                       d->method->name);
    DD_TRY(dd_method_means(d->method, "precision", d->o.precision));
    return strcmp(d->o.aug, "auto") == 0 ? DD_OK : dd_method_means(d->method, "aug", d->o.aug);
}

/* The path from any folder of the set that a run begins from. It may be gone when a run is resumed. */
static dd_status name_origin(dd_driver *d)
{
    char full[PATH_MAX];
    if (!d->o.init_from[0] || !realpath(d->o.init_from, full)) return DD_OK;
    const size_t length = strlen(full);
    if (length >= sizeof d->o.init_from)
        return dd_fail(DD_EINVAL, "the path of init_from has %zu characters, at most %d fit", length, DD_OPT_TEXT - 1);
    memcpy(d->o.init_from, full, length + 1);
    return DD_OK;
}

static dd_status open_method(dd_driver *d)
{
    DD_TRY(dd_method_find(&d->method, d->o.method));
    d->state = dd_alloc(1, d->method->state_size);
    if (!d->state) return dd_fail(DD_ENOMEM, "out of memory for method %s", d->method->name);
    DD_TRY(dd_options_defaults(d->method->options, d->state));
    DD_TRY(dd_preset_state(d));
    DD_TRY(apply_sets(d));
    if (!d->method->iterations && d->o.iterations > 0 && d->o.log) {
        char line[160];
        snprintf(line, sizeof line, "method %s chooses images and does not iterate: iterations=%" PRId64 " is ignored",
                 d->method->name, d->o.iterations);
        d->o.log(d->o.self, line);
    }
    dd_driver_choose(&d->o, d->method);
    DD_TRY(check_meaning(d));
    DD_TRY(name_origin(d));
    if (d->allowed && d->allowed < d->o.iterations) d->o.iterations = d->allowed;
    return dd_preset_differs(d);
}

/* The name that opens the same data from any folder. */
static dd_status name_data(dd_driver *d)
{
    for (int i = 0; i < dd_dataset_kind_count(); i++) {
        if (strcmp(dd_dataset_kind_name(i), d->o.data) != 0) continue;
        snprintf(d->data_name, sizeof d->data_name, "%s", d->o.data);
        return DD_OK;
    }
    char *full = realpath(d->o.data, NULL);
    const char *from = full ? full : d->o.data;
    const size_t length = strlen(from);
    const bool fits = length < sizeof d->data_name;
    if (fits) snprintf(d->data_name, sizeof d->data_name, "%s", from);
    free(full);
    return fits
               ? DD_OK
               : dd_fail(DD_EINVAL, "the path of the data has %zu characters, at most %d fit", length, DD_OPT_TEXT - 1);
}

/* Files and what is made of them are in memory at once for a moment. */
static dd_status reading_fits(const dd_driver *d)
{
    const double mib = 1 << 20;
    const int64_t needs = dd_memory_most(false) + DD_MEMORY_REST;
    if (!d->o.memory_limit || needs <= d->o.memory_limit) return DD_OK;
    return dd_fail(DD_ENOMEM,
                   "reading the data takes %.1f MiB (%.0f of them for code and libraries), and the memory limit is "
                   "%.1f MiB: give %.0fM at least",
                   (double)needs / mib, (double)DD_MEMORY_REST / mib, (double)d->o.memory_limit / mib,
                   ceil((double)needs / mib));
}

static dd_status open_data(dd_driver *d)
{
    if (!d->o.data[0]) return dd_fail(DD_EINVAL, "no data set given; name one with --data");
    DD_TRY(name_data(d));
    DD_TRY(dd_dataset_open(&d->data, d->o.data, &d->o.data_opts));
    DD_TRY(reading_fits(d));
    if (d->data->warning[0] && d->o.log) d->o.log(d->o.self, d->data->warning);
    const double part = d->o.paper_compatible || !d->o.eval_every ? 0 : d->o.holdout;
    if (d->o.eval_every && !d->o.paper_compatible && part <= 0)
        return dd_fail(DD_EINVAL, "eval_every needs held-out data to select on: holdout > 0, or paper_compatible");
    d->held_out = part;
    return dd_data_holdout(d->data, part, dd_key_at(dd_key_seed((uint64_t)d->o.seed), "holdout", 0), &d->items,
                           &d->nitems, &d->val, &d->nval);
}

static dd_status sort_by_class(dd_driver *d)
{
    const int64_t classes = d->data->classes;
    const int32_t *label = dd_i32(&d->data->train.labels);
    int64_t *first = dd_alloc((size_t)classes + 1, sizeof *first);
    int32_t *sorted = dd_alloc((size_t)d->nitems, sizeof *sorted);
    d->r.class_first = first;
    d->r.class_items = sorted;
    d->r.scratch = dd_alloc((size_t)d->nitems, sizeof *d->r.scratch);
    if (!first || !sorted || !d->r.scratch)
        return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", d->nitems);
    int64_t n = 0;
    for (int64_t c = 0; c < classes; c++) {
        first[c] = n;
        for (int64_t i = 0; i < d->nitems; i++)
            if (label[d->items[i]] == c) sorted[n++] = d->items[i];
    }
    first[classes] = n;
    return DD_OK;
}

static dd_status open_aug(dd_driver *d)
{
    dd_protocol dsa;
    DD_TRY(dd_protocol_named(&dsa, "dsa", d->data, d->net));
    snprintf(d->aug, sizeof d->aug, "%s",
             strcmp(d->o.aug, "auto") != 0 ? d->o.aug
             : d->method->iterations       ? dsa.aug
                                           : "none");
    return dd_aug_parse(&d->r.aug, d->aug);
}

dd_status dd_driver_backend(const dd_driver *d, const char *precision, dd_backend **out)
{
    DD_TRY(dd_backend_open(out, d->o.backend, (int)d->o.threads));
    dd_backend_limit(*out, d->o.memory_limit);
    DD_TRY(dd_driver_tune(d, *out));
    return dd_backend_precision(*out, precision);
}

int dd_set_parts(dd_synset *s, dd_saved out[DD_PARTS])
{
    int n = 0;
    out[n++] = (dd_saved){"images", &s->images};
    if (s->soft_labels.data) out[n++] = (dd_saved){s->targets ? "targets" : "soft_labels", &s->soft_labels};
    if (s->lr.data) out[n++] = (dd_saved){"lr", &s->lr};
    return n;
}

void dd_softmax_row(float *x, int64_t n)
{
    double sum = 0;
    float most = x[0];
    for (int64_t i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < n; i++) sum += exp((double)(x[i] - most));
    for (int64_t i = 0; i < n; i++) x[i] = (float)(exp((double)(x[i] - most)) / sum);
}

dd_status dd_run_soften(dd_run *r)
{
    dd_synset *s = r->syn;
    DD_TRY(dd_tensor_init(&s->soft_labels, DD_F32, DD_SHAPE(s->m, s->classes)));
    memset(s->soft_labels.data, 0, dd_tensor_bytes(&s->soft_labels));
    for (int64_t i = 0; i < s->m; i++) dd_f32(&s->soft_labels)[i * s->classes + dd_i32(&s->labels)[i]] = 1;
    return DD_OK;
}

void dd_run_center(dd_run *r)
{
    dd_synset *s = r->syn;
    for (int64_t i = 0; i < s->m * s->classes; i++) dd_f32(&s->soft_labels)[i] -= 1.0f / (float)s->classes;
    s->targets = true;
}

static void tell(void *self, const char *line)
{
    const dd_driver *d = self;
    if (d->o.log) d->o.log(d->o.self, line);
}

/* Judged as the method would have it. */
static void own_kernel(dd_driver *d)
{
    if (!d->protocol.kernel[0] || !d->r.kernel[0]) return;
    snprintf(d->protocol.kernel, sizeof d->protocol.kernel, "%s", d->r.kernel);
    d->protocol.ridge = d->r.ridge;
}

static dd_status open_run(dd_driver *d)
{
    const dd_dataset *data = d->data;
    DD_TRY(dd_net_open(&d->net, d->o.net, (dd_image){data->c, data->h, data->w}, data->classes));
    if (dd_net_stats(d->net)) DD_TRY(dd_method_means(d->method, "net", "norm=batch"));
    DD_TRY(dd_protocol_named(&d->protocol, d->o.protocol, data, d->net));
    if (d->o.eval_epochs >= 0) d->protocol.epochs = d->o.eval_epochs;
    d->own_epochs = d->protocol.epochs;
    DD_TRY(open_aug(d));
    DD_TRY(sort_by_class(d));
    DD_TRY(dd_driver_backend(d, d->o.precision, &d->r.backend)); /* a precision is refused now rather than later */
    DD_TRY(dd_backend_precision(d->r.backend, "float32"));
    d->r.limited = d->o.memory_limit > 0;
    d->r.data = data;
    d->r.items = d->items;
    d->r.nitems = d->nitems;
    d->r.ipc = d->o.ipc;
    d->r.iterations = d->o.iterations;
    d->r.learned = strcmp(d->o.labels, "learned") == 0;
    d->r.dtype = DD_F32;
    d->r.going_on = dd_driver_going_on;
    d->r.tell = tell;
    d->r.self = d;
    d->r.net = d->net;
    d->r.key = dd_key_at(dd_key_seed((uint64_t)d->o.seed), "run", 0);
    DD_TRY(dd_synset_new(&d->r.syn, d->o.ipc * data->classes, data));
    for (int64_t i = 0; i < d->r.syn->m; i++) dd_i32(&d->r.syn->labels)[i] = (int32_t)(i / d->o.ipc);
    if (strcmp(d->o.labels, "hard") != 0) DD_TRY(dd_run_soften(&d->r));
    if (d->method->settle) DD_TRY(d->method->settle(&d->r, d->state));
    own_kernel(d);
    DD_TRY(dd_protocol_fit(&d->protocol, d->r.syn));
    if (d->protocol.in_steps) d->protocol.momentum = d->r.momentum;
    if (d->protocol.own_epochs && d->r.batch) d->protocol.batch = d->r.batch;
    if (d->protocol.in_steps && d->o.eval_epochs >= 0)
        return dd_fail(DD_EINVAL,
                       "protocol steps makes a step for each learned step size: leave eval_epochs=%" PRId64 " out",
                       d->o.eval_epochs);
    dd_saved part[DD_PARTS];
    for (int i = dd_set_parts(d->r.syn, part) - 1; i >= 0; i--)
        DD_TRY(dd_tensor_init(&d->best[i], DD_F32, part[i].tensor->shape));
    return DD_OK;
}

/* A set whose pixels mean what those of this run do, and whose images are as many of each class. */
static dd_status check_origin(const dd_synset *s, const dd_synset *own, const char *dir)
{
    char text[2][128], whitening[2][80] = {"none", "none"};
    if (!dd_shape_equal(s->images.shape, own->images.shape) || s->classes != own->classes)
        return dd_fail(DD_EINVAL, "%s holds images %s of %" PRId64 " classes, this run makes %s of %" PRId64, dir,
                       dd_shape_text(s->images.shape, text[0], sizeof text[0]), s->classes,
                       dd_shape_text(own->images.shape, text[1], sizeof text[1]), own->classes);
    for (int64_t i = 0; i < s->m && !s->targets; i++)
        if (dd_i32(&s->labels)[i] != dd_i32(&own->labels)[i])
            return dd_fail(DD_EINVAL,
                           "image %" PRId64 " of %s is of class %" PRId32 ", in this run it is of class %" PRId32, i,
                           dir, dd_i32(&s->labels)[i], dd_i32(&own->labels)[i]);
    for (int64_t i = 0; i < s->classes; i++)
        if (strcmp(s->class_names[i], own->class_names[i]) != 0)
            return dd_fail(DD_EINVAL, "class %" PRId64 " is \"%s\" in %s and \"%s\" in this run", i, s->class_names[i],
                           dir, own->class_names[i]);
    for (int64_t c = 0; c < s->c; c++)
        if (s->mean[c] != own->mean[c] || s->std[c] != own->std[c])
            return dd_fail(DD_EINVAL,
                           "%s is normalised by %g/%g in channel %" PRId64
                           ", this run by %g/%g: give the same --normalise",
                           dir, s->mean[c], s->std[c], c, own->mean[c], own->std[c]);
    if (s->whitening) dd_whitening_text(s->whitening, whitening[0], sizeof whitening[0]);
    if (own->whitening) dd_whitening_text(own->whitening, whitening[1], sizeof whitening[1]);
    return strcmp(whitening[0], whitening[1]) == 0
               ? DD_OK
               : dd_fail(DD_EINVAL, "%s has whitening %s, this run %s: give the same --normalise", dir, whitening[0],
                         whitening[1]);
}

static dd_status take_images(dd_driver *d)
{
    dd_synset *s;
    DD_TRY(dd_synset_load(&s, d->o.init_from));
    dd_status st = check_origin(s, d->r.syn, d->o.init_from);
    if (st == DD_OK) st = dd_tensor_copy(&d->r.syn->images, &s->images);
    dd_synset_free(s);
    return st;
}

/* resumed: a checkpoint has the images. */
static dd_status initialise(dd_driver *d, bool resumed)
{
    dd_tensor *images = &d->r.syn->images;
    const dd_key key = dd_key_at(d->r.key, "init", 0);
    if (!d->method->iterations) return DD_OK;
    if (d->o.init_from[0]) return resumed ? DD_OK : take_images(d);
    if (strcmp(d->o.init, "noise") == 0) {
        dd_key_fill_normal(key, dd_f32(images), dd_shape_count(images->shape), 0, 1);
        return DD_OK;
    }
    return dd_coreset_fill(&d->r, strcmp(d->o.init, "real") == 0 ? "random" : d->o.init, 5, key, images);
}

/* Softmax of what a network says to the first images, trained on the real ones. */
static dd_status soften_by_teacher(dd_driver *d)
{
    dd_train_opts o = DD_TRAIN_OPTS_INIT;
    dd_trainer *t = NULL;
    dd_synset *s = d->r.syn;
    dd_tensor theta = {0};
    if (strcmp(d->o.labels, "soft") != 0) return DD_OK;
    o.epochs = 5;
    DD_TRY(dd_train(&theta, NULL, d->r.backend, d->net, d->data, d->items, d->nitems, NULL, 0, &o,
                    dd_key_at(d->r.key, "teacher", 0), NULL, NULL));
    dd_status st = dd_trainer_new(&t, d->r.backend, d->net, &(dd_trainer_opts){0});
    if (st == DD_OK) st = dd_tensor_copy(dd_trainer_theta(t), &theta);
    if (st == DD_OK) st = dd_trainer_logits(t, dd_f32(&s->images), s->m, dd_f32(&s->soft_labels));
    for (int64_t i = 0; st == DD_OK && i < s->m; i++)
        dd_softmax_row(dd_f32(&s->soft_labels) + i * s->classes, s->classes);
    dd_trainer_free(t);
    dd_tensor_fini(&theta);
    return st;
}

void dd_driver_close(dd_driver *d)
{
    if (d->method && d->method->fini && d->state) d->method->fini(d->state);
    if (d->metrics) fclose(d->metrics);
    if (d->made) dd_remove_empty_path(d->o.out, d->kept); /* nothing was written: leave nothing */
    dd_unlock_dir(d->lock);
    dd_free(d->state);
    dd_free(d->r.class_first);
    dd_free(d->r.class_items);
    dd_free(d->r.scratch);
    dd_synset_free(d->r.syn);
    for (int i = 0; i < DD_PARTS; i++) dd_tensor_fini(&d->best[i]);
    dd_guard_free(d);
    dd_net_close(d->net);
    dd_backend_close(d->r.backend);
    dd_dataset_close(d->data);
    free(d->items);
    free(d->val);
    dd_free(d);
}

void dd_driver_init(dd_driver *d, const dd_distill_opts *o)
{
    d->o = *o;
    d->accuracy = d->best_accuracy = d->loss_deviation = d->step_deviation = -1;
    d->lock = -1;
    dd_memory_most(true);
}

dd_status dd_driver_open(dd_driver *d)
{
    DD_TRY(open_method(d));
    if (!d->data) DD_TRY(open_data(d));
    DD_TRY(open_run(d));
    return dd_record_check_names(d);
}

/* `before`: as a run that is resumed had it. */
static void tell_of_cut(const dd_driver *d, bool resumed, const int64_t *before)
{
    char line[200];
    int at = snprintf(line, sizeof line, "the memory limit cuts");
    bool any = false;
    for (int i = 0; i < DD_CUTS; i++) {
        if (d->r.cut[i] == before[i]) continue;
        at += snprintf(line + at, sizeof line - (size_t)at, "%s %s to %" PRId64, any ? "," : "", d->method->cuts[i],
                       d->r.cut[i]);
        any = true;
    }
    if (resumed) snprintf(line + at, sizeof line - (size_t)at, "; the run goes on, but not to the same bits");
    if (any && d->o.log) d->o.log(d->o.self, line);
}

/* What a method saves may be more than its images: a pool of networks, a matrix over pixels. */
static dd_status writing_fits(const dd_driver *d)
{
    const double mib = 1 << 20;
    const int64_t writing = dd_checkpoint_size(d) + dd_guard_size(d),
                  needs = dd_memory_held() + writing + DD_MEMORY_REST;
    if (!d->o.memory_limit || needs <= d->o.memory_limit) return DD_OK;
    return dd_fail(DD_ENOMEM,
                   "a checkpoint takes %.1f MiB as it is written, with the states to go back to, %.1f MiB with all "
                   "that is held then, and the memory "
                   "limit is %.1f MiB: give %.0fM at least",
                   (double)writing / mib, (double)needs / mib, (double)d->o.memory_limit / mib,
                   ceil((double)needs / mib));
}

/* Compiles the method beside the room that will be needed when it runs. */
static dd_status build(dd_driver *d, bool resumed)
{
    int64_t before[DD_CUTS];
    memcpy(before, d->r.cut, sizeof before);
    dd_memory_count(d->reserve);
    const dd_status s = d->method->build(&d->r, d->state);
    dd_memory_count(-d->reserve);
    if (s == DD_OK) tell_of_cut(d, resumed, before);
    return s == DD_OK ? writing_fits(d) : s;
}

dd_status dd_driver_build(dd_driver *d)
{
    const bool half = strcmp(d->o.precision, "bf16") == 0;
    if (d->o.baselines && d->o.eval_repeats)
        DD_TRY(dd_run_enough(&d->r, ", or leave out the random real images beside it by --no-baselines"));
    const bool resumed = d->o.resume && dd_checkpoint_facts(d);
    dd_key_fill_normal(dd_key_at(d->r.key, "plan", 1), dd_f32(&d->r.syn->images),
                       dd_shape_count(d->r.syn->images.shape), 0, 1); /* black images may have no kernel */
    if (!half) DD_TRY(dd_plan_fits(d));                               /* before the work of choosing images */
    DD_TRY(initialise(d, resumed));
    DD_TRY(soften_by_teacher(d));
    if (half) DD_TRY(dd_driver_probe(d)); /* before: the memory of its programs goes with them */
    if (half) DD_TRY(dd_plan_fits(d));
    if (half) DD_TRY(dd_backend_precision(d->r.backend, "bf16"));
    DD_TRY(build(d, resumed));
    return half ? dd_backend_precision(d->r.backend, "float32") : DD_OK; /* evaluations judge by the same measure */
}

void dd_take_profile(dd_driver *d, dd_profile_table *out)
{
    out->rows = dd_backend_profile_rows(d->r.backend, out->row, (int)DD_LEN(out->row));
    out->peak = dd_backend_peak(d->r.backend);
}
