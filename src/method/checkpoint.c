/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: everything the next iteration depends on in one safetensors file, replaced whole. Random numbers need no
 * place in it, since they are functions of (seed, iteration). Knows data and base. */
#include "base/fs.h"
#include "data/data_internal.h"
#include "data/safetensors.h"
#include "method/driver_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ITERATION,
    METRICS,
    BEST_AT,
    TRAIN_FOR,
    BEST_FOR,
    SKIPPED,
    ROW,
    CUT,
    FACTS = CUT + DD_CUTS,
    MOST = 16,
    HEX = 64
};
enum { BEST_ACCURACY, LOSS_DEVIATION, STEP_DEVIATION, FIRST_LOSS, FIGURES };

static void entry(dd_st_entry *e, int *n, const char *prefix, const char *name, const dd_tensor *t)
{
    snprintf(e[*n].name, sizeof e[*n].name, "%s%s", prefix, name);
    e[(*n)++].t = dd_tensor_view(t->dtype, t->shape, t->data);
}

/* The tensors of a checkpoint: facts, figures, the set's parts, those of the best, the method's own. */
static int entries(dd_driver *d, dd_tensor *facts, dd_tensor *figures, dd_st_entry *e)
{
    dd_saved own[8], part[DD_PARTS];
    const int k = d->method->saved ? d->method->saved(d->state, own) : 0, parts = dd_set_parts(d->r.syn, part);
    int n = 0;
    entry(e, &n, "", "facts", facts);
    entry(e, &n, "", "figures", figures);
    for (int i = 0; i < parts; i++) entry(e, &n, "", part[i].name, part[i].tensor);
    for (int i = 0; i < parts; i++) entry(e, &n, "best_", part[i].name, &d->best[i]);
    for (int i = 0; i < k; i++) entry(e, &n, "method.", own[i].name, own[i].tensor);
    return n;
}

int64_t dd_checkpoint_size(const dd_driver *d)
{
    dd_saved own[8], part[DD_PARTS];
    const int k = d->method->saved ? d->method->saved(d->state, own) : 0, parts = dd_set_parts(d->r.syn, part);
    int64_t n = 0;
    for (int i = 0; i < parts; i++) n += 2 * (int64_t)dd_tensor_bytes(part[i].tensor); /* it and the best */
    for (int i = 0; i < k; i++) n += (int64_t)dd_tensor_bytes(own[i].tensor);
    return n;
}

/* What the tensors hold, so that a flipped bit does not become another run. */
static void digest(const dd_st_entry *e, int n, char hex[HEX + 1])
{
    dd_chunk c[MOST];
    for (int i = 0; i < n; i++) c[i] = (dd_chunk){e[i].t.data, dd_tensor_bytes(&e[i].t)};
    dd_sha256_hex(c, n, hex);
}

/* The digest as a tensor of text: I32 [16]. */
static void digest_entry(dd_st_entry *e, char hex[HEX + 1])
{
    int n = 0;
    const dd_tensor t = dd_tensor_view(DD_I32, DD_SHAPE(HEX / (int)sizeof(int32_t)), hex);
    entry(e, &n, "", "sha256", &t);
}

static dd_status paths(const dd_driver *d, char *dir, char *now, char *prev, size_t size)
{
    DD_TRY(dd_path_join(dir, size, d->o.out, "checkpoint"));
    DD_TRY(dd_path_join(now, size, dir, "state.safetensors"));
    return dd_path_join(prev, size, dir, "state.prev.safetensors");
}

static dd_status kernels_path(const dd_driver *d, char *path, size_t size)
{
    return dd_path_join(path, size, d->o.out, "checkpoint/kernels.txt");
}

static dd_status remember_kernels(const dd_driver *d)
{
    char path[1024];
    DD_TRY(kernels_path(d, path, sizeof path));
    return dd_backend_remember(d->r.backend, path);
}

/* A processor without kernels to choose from goes by rules. */
static dd_status tune(dd_backend *b, const char *path)
{
    const dd_status s = dd_backend_tune(b, path);
    return s == DD_EUNSUPPORTED ? DD_OK : s;
}

dd_status dd_driver_tune(const dd_driver *d, dd_backend *b)
{
    char kernels[1024], dir[1024], now[1024], prev[1024];
    bool begun = false;
    if (d->o.resume) {
        DD_TRY(kernels_path(d, kernels, sizeof kernels));
        DD_TRY(paths(d, dir, now, prev, sizeof now));
        begun = dd_exists(now) || dd_exists(prev);
    }
    if (!begun) return d->o.tune[0] ? tune(b, d->o.tune) : DD_OK;
    if (!dd_exists(kernels)) return DD_OK; /* it began by rules */
    DD_TRY(tune(b, d->o.tune[0] ? d->o.tune : kernels));
    if (dd_backend_recall(b, kernels) == DD_OK) return DD_OK;
    if (d->o.log) d->o.log(d->o.self, dd_last_error()); /* goes on here, if not to the same bits */
    return d->o.tune[0] ? DD_OK : dd_backend_tune(b, NULL);
}

dd_status dd_checkpoint_save(dd_driver *d)
{
    char dir[1024], now[1024], prev[1024];
    dd_st_entry e[MOST + 1];
    char hex[HEX + 1];
    int64_t facts[FACTS] = {d->done, 0, d->best_at, d->r.epochs, d->best_epochs, d->skipped, d->row};
    memcpy(facts + CUT, d->r.cut, sizeof d->r.cut);
    void *bytes = NULL;
    size_t size = 0;
    DD_TRY(paths(d, dir, now, prev, sizeof now));
    DD_TRY(dd_record_flush(d, &facts[METRICS]));
    double figures[FIGURES] = {d->best_accuracy, d->loss_deviation, d->step_deviation, d->first_loss};
    dd_tensor f = dd_tensor_view(DD_I64, DD_SHAPE(FACTS), facts),
              a = dd_tensor_view(DD_F64, DD_SHAPE(FIGURES), figures);
    const int n = entries(d, &f, &a, e);
    DD_TRY(dd_make_dir(dir));
    DD_TRY(remember_kernels(d));
    digest(e, n, hex);
    digest_entry(&e[n], hex);
    DD_TRY(dd_st_write(e, n + 1, &bytes, &size));
    const bool worth = !d->damaged && !d->unsure;   /* what is replaced is worth keeping as the one before */
    if (dd_exists(now) && worth) rename(now, prev); /* losing the older one of two is no failure */
    const dd_status s = dd_write_file(now, bytes, size);
    dd_free(bytes);
    d->damaged = d->damaged && s != DD_OK;
    d->saved_at = dd_now();
    if (s == DD_OK) {
        d->saved = d->done;
        d->unsure = d->row > 0;
    }
    return s;
}

static bool all_finite(const dd_tensor *t)
{
    for (int64_t i = 0, n = dd_shape_count(t->shape); t->dtype == DD_F32 && i < n; i++)
        if (!isfinite(dd_f32(t)[i])) return false;
    return true;
}

static dd_status intact(const dd_st_file *file, const dd_st_entry *e, int n, const char *path)
{
    const dd_tensor *then = dd_st_find(file, "sha256");
    char now[HEX + 1];
    digest(e, n, now);
    if (!then || dd_tensor_bytes(then) != HEX)
        return dd_fail(DD_EFORMAT, "%s holds no digest of its contents: it is damaged", path);
    if (memcmp(then->data, now, HEX) != 0)
        return dd_fail(DD_EFORMAT, "%s: its contents do not have the SHA-256 that it records: it is damaged", path);
    return DD_OK;
}

/* What no run of ours writes; best_images is whatever lay there before the first evaluation. */
static dd_status plausible(const int64_t *facts, double accuracy, const dd_st_entry *e, int n, const char *path)
{
    const int64_t done = facts[ITERATION], best = facts[BEST_AT];
    if (done < 0 || done > 1000000000 || best < 0 || best > done || facts[METRICS] < 0)
        return dd_fail(DD_EFORMAT,
                       "%s claims iteration %" PRId64 ", the best at %" PRId64 ", %" PRId64
                       " bytes of metrics: it is damaged",
                       path, done, best, facts[METRICS]);
    if (!isfinite(accuracy) || accuracy > 1)
        return dd_fail(DD_EFORMAT, "%s claims a best accuracy of %g: it is damaged", path, accuracy);
    for (int i = 0; i < n; i++)
        if (!all_finite(&e[i].t))
            return dd_fail(DD_EFORMAT, "%s: \"%s\" holds numbers that are not finite: it is damaged", path, e[i].name);
    return DD_OK;
}

static dd_status restore(dd_driver *d, const char *path)
{
    dd_st_entry e[MOST];
    dd_st_file file;
    int64_t facts[FACTS] = {0};
    double figures[FIGURES] = {-1};
    void *bytes;
    size_t size;
    dd_tensor f = dd_tensor_view(DD_I64, DD_SHAPE(FACTS), facts),
              a = dd_tensor_view(DD_F64, DD_SHAPE(FIGURES), figures);
    const int n = entries(d, &f, &a, e);
    DD_TRY(dd_read_file(path, SIZE_MAX / 2, &bytes, &size));
    dd_status s = dd_st_parse(&file, bytes, size, path);
    for (int i = 0; i < n && s == DD_OK; i++) {
        const dd_tensor *t = dd_st_find(&file, e[i].name);
        if (!t)
            s = dd_fail(DD_EFORMAT, "%s holds no \"%s\"; it is a checkpoint of another method", path, e[i].name);
        else if (t->dtype != e[i].t.dtype || !dd_shape_equal(t->shape, e[i].t.shape))
            s = dd_fail(DD_EFORMAT, "%s: \"%s\" has another shape than this run", path, e[i].name);
    }
    for (int i = 0; i < n && s == DD_OK; i++) s = dd_tensor_copy(&e[i].t, dd_st_find(&file, e[i].name));
    if (s == DD_OK) s = intact(&file, e, n, path);
    dd_free(bytes);
    if (s == DD_OK) s = plausible(facts, figures[BEST_ACCURACY], e, n, path);
    DD_TRY(s);
    d->done = facts[ITERATION];
    d->best_at = facts[BEST_AT];
    d->r.epochs = facts[TRAIN_FOR];
    d->best_epochs = facts[BEST_FOR];
    d->skipped = facts[SKIPPED];
    d->row = facts[ROW];
    d->unsure = d->row > 0;
    d->best_accuracy = figures[BEST_ACCURACY];
    d->first_loss = figures[FIRST_LOSS];
    return dd_record_open(d, facts[METRICS]);
}

dd_status dd_checkpoint_older(dd_driver *d, bool *found)
{
    char dir[1024], now[1024], prev[1024];
    DD_TRY(paths(d, dir, now, prev, sizeof now));
    *found = false;
    if (!dd_exists(prev)) return DD_OK;
    const int64_t done = d->before.done;
    if (restore(d, prev) != DD_OK) return DD_OK; /* a damaged one is none */
    *found = d->done < done;
    if (!*found) return DD_OK;
    return rename(prev, now) == 0 ? DD_OK : dd_fail(DD_EIO, "%s: cannot be renamed: %s", prev, strerror(errno));
}

/* All of a file but its digest, which is the last of it. */
static int contents(const dd_st_file *file, dd_st_entry *e)
{
    int n = 0;
    for (int i = 0; i < file->n && n < MOST; i++)
        if (strcmp(file->e[i].name, "sha256") != 0) e[n++] = file->e[i];
    return n;
}

/* False where there is none, or where dd_checkpoint_load will say what is wrong with it. */
static bool facts_of(dd_driver *d, const char *path)
{
    dd_st_file file;
    dd_st_entry e[MOST];
    void *bytes;
    size_t size;
    if (!dd_exists(path) || dd_read_file(path, SIZE_MAX / 2, &bytes, &size) != DD_OK) return false;
    bool there = dd_st_parse(&file, bytes, size, path) == DD_OK && intact(&file, e, contents(&file, e), path) == DD_OK;
    const dd_tensor *facts = there ? dd_st_find(&file, "facts") : NULL,
                    *figures = there ? dd_st_find(&file, "figures") : NULL;
    there = facts && figures && facts->dtype == DD_I64 && figures->dtype == DD_F64 &&
            dd_shape_equal(facts->shape, DD_SHAPE(FACTS)) && dd_shape_equal(figures->shape, DD_SHAPE(FIGURES));
    if (there) {
        memcpy(d->r.cut, (const int64_t *)facts->data + CUT, sizeof d->r.cut);
        d->loss_deviation = dd_f64(figures)[LOSS_DEVIATION];
        d->step_deviation = dd_f64(figures)[STEP_DEVIATION];
    }
    dd_free(bytes);
    return there;
}

bool dd_checkpoint_exists(const dd_driver *d)
{
    char dir[1024], now[1024], prev[1024];
    return paths(d, dir, now, prev, sizeof now) == DD_OK && (dd_exists(now) || dd_exists(prev));
}

bool dd_checkpoint_facts(dd_driver *d)
{
    char dir[1024], now[1024], prev[1024];
    return paths(d, dir, now, prev, sizeof now) == DD_OK && (facts_of(d, now) || facts_of(d, prev));
}

dd_status dd_checkpoint_load(dd_driver *d, bool *found)
{
    char dir[1024], now[1024], prev[1024], text[1400];
    *found = false;
    DD_TRY(paths(d, dir, now, prev, sizeof now));
    const bool has_prev = dd_exists(prev);
    if (!dd_exists(now) && !has_prev) return DD_OK;
    dd_status s = dd_exists(now) ? restore(d, now) : DD_EFORMAT;
    if (s != DD_OK && has_prev) {
        if (dd_exists(now) && d->o.log) {
            snprintf(text, sizeof text, "%.1000s; going on from the checkpoint before it", dd_last_error());
            d->o.log(d->o.self, text);
        }
        snprintf(text, sizeof text, "%.1000s", dd_exists(now) ? dd_last_error() : "");
        s = restore(d, prev);
        d->damaged = s == DD_OK;
        if (s != DD_OK && text[0]) {
            char also[1000];
            snprintf(also, sizeof also, "%.999s", dd_last_error());
            s = dd_fail(s, "%s; and the checkpoint before it: %s", text, also);
        }
    }
    *found = s == DD_OK;
    return s;
}
