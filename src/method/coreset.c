/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing real images: at random, or by herding, k-center greedy or k-means on the embedding of a network trained on
 * the run's items, class by class with l2 distance. Used as methods and as initial images. Knows nn, data, base. */
#include "method/method_internal.h"

#include "base/memory.h"
#include "nn/train_step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define TRAIN_BATCH 256
#define TRAIN_LR 0.01
#define LLOYD_ROUNDS 50

const dd_option dd_coreset_options[] = {
    {"train_epochs", DD_OPT_INT, offsetof(dd_coreset, train_epochs), "5", 0, 10000, NULL,
     "Epochs on the real data of the network whose features choose; 0: an untrained one."},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL}};

void dd_run_sample_class(const dd_run *r, int64_t c, int64_t n, dd_key key, int32_t *items)
{
    const int64_t first = r->class_first[c], have = r->class_first[c + 1] - first;
    for (int64_t done = 0; done < n; done += have) {
        dd_key_permutation(dd_key_at(key, "sample", (uint64_t)done), have, r->scratch);
        for (int64_t i = 0; i < have && done + i < n; i++) items[done + i] = r->class_items[first + r->scratch[i]];
    }
}

/* Buffers for one class at a time. n images at most, F features. */
typedef struct pool {
    dd_trainer *trainer;
    int64_t most, width, pixels;
    int32_t *order, *batch; /* [nitems] [TRAIN_BATCH] */
    float *x, *y;           /* [TRAIN_BATCH,pixels] [TRAIN_BATCH,classes] */
    float *f;               /* [most,F] embeddings of the class */
    double *near;           /* [most] */
    float *centre;          /* [ipc+1,F] */
    int32_t *owner;         /* [most] */
    int32_t *picked;        /* [ipc] positions inside the class */
    double *sum;            /* [F] */
    uint8_t *used;          /* [most] */
} pool;

/* --- features --- */

static dd_status pool_new(pool *p, const dd_run *r)
{
    const size_t n = (size_t)p->most + 1, w = (size_t)p->width, k = (size_t)r->ipc;
    p->order = dd_alloc((size_t)r->nitems + 1, sizeof *p->order);
    p->batch = dd_alloc(TRAIN_BATCH, sizeof *p->batch);
    p->x = dd_alloc(TRAIN_BATCH, (size_t)p->pixels * sizeof *p->x);
    p->y = dd_alloc(TRAIN_BATCH, (size_t)r->data->classes * sizeof *p->y);
    p->f = dd_alloc(n, w * sizeof *p->f);
    p->near = dd_alloc(n, sizeof *p->near);
    p->centre = dd_alloc(k + 1, w * sizeof *p->centre);
    p->owner = dd_alloc(n, sizeof *p->owner);
    p->picked = dd_alloc(k, sizeof *p->picked);
    p->sum = dd_alloc(w, sizeof *p->sum);
    p->used = dd_alloc(n, 1);
    if (p->order && p->batch && p->x && p->y && p->f && p->near && p->centre && p->owner && p->picked && p->sum &&
        p->used)
        return DD_OK;
    return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " embeddings of %" PRId64 " numbers", p->most, p->width);
}

static void pool_fini(pool *p)
{
    dd_trainer_free(p->trainer);
    void *all[] = {p->order, p->batch, p->x, p->y, p->f, p->near, p->centre, p->owner, p->picked, p->sum, p->used};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_free(all[i]);
}

static dd_status train_batch(pool *p, const dd_run *r, int64_t first, int64_t n, dd_key key)
{
    const int64_t classes = r->data->classes;
    memset(p->y, 0, (size_t)(n * classes) * sizeof *p->y);
    for (int64_t i = 0; i < n; i++) {
        p->batch[i] = r->items[p->order[first + i]];
        p->y[i * classes + dd_i32(&r->data->train.labels)[p->batch[i]]] = 1;
    }
    dd_data_batch(r->data, &r->data->train, p->batch, n, p->x);
    return dd_trainer_step(p->trainer, p->x, p->y, n, TRAIN_LR, key, NULL);
}

static dd_status train_network(pool *p, const dd_run *r, int64_t epochs, dd_key key)
{
    DD_TRY(dd_trainer_reset(p->trainer, dd_key_at(key, "theta", 0)));
    for (int64_t e = 0; e < epochs; e++) {
        dd_key_permutation(dd_key_at(key, "epoch", (uint64_t)e), r->nitems, p->order);
        for (int64_t first = 0; first < r->nitems; first += TRAIN_BATCH) {
            const int64_t left = r->nitems - first;
            DD_TRY(dd_run_asked(r));
            DD_TRY(train_batch(p, r, first, left < TRAIN_BATCH ? left : TRAIN_BATCH, key));
        }
    }
    return DD_OK;
}

/* Embeddings of class c into p->f. One batch at a time. */
static dd_status embed_class(pool *p, const dd_run *r, int64_t c)
{
    const int32_t *of_class = r->class_items + r->class_first[c];
    const int64_t n = r->class_first[c + 1] - r->class_first[c];
    for (int64_t first = 0; first < n; first += TRAIN_BATCH) {
        const int64_t count = n - first < TRAIN_BATCH ? n - first : TRAIN_BATCH;
        dd_data_batch(r->data, &r->data->train, of_class + first, count, p->x);
        DD_TRY(dd_trainer_features(p->trainer, p->x, count, p->f + first * p->width));
    }
    for (int64_t i = 0; i < n * p->width; i++)
        if (!isfinite(p->f[i]))
            return dd_fail(DD_ENUMERIC,
                           "the network that chooses images has features that are not finite in class %s; "
                           "train it for fewer epochs or choose at random",
                           r->data->class_names[c]);
    return DD_OK;
}

/* --- rules: n embeddings, ipc of them into p->picked --- */

static double distance(const float *a, const float *b, int64_t w)
{
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = 0; i < w; i++) s += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)s;
}

static void class_mean(pool *p, int64_t n, float *mean)
{
    memset(p->sum, 0, (size_t)p->width * sizeof *p->sum);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < p->width; i++) p->sum[i] += (double)p->f[j * p->width + i];
    for (int64_t i = 0; i < p->width; i++) mean[i] = (float)(p->sum[i] / (double)n);
}

/* The unused embedding nearest to `to`; the first of ties. */
static int32_t nearest_unused(pool *p, int64_t n, const float *to)
{
    int64_t best = -1;
    double least = 0;
    for (int64_t j = 0; j < n; j++) {
        if (p->used[j]) continue;
        const double d = distance(p->f + j * p->width, to, p->width);
        if (best < 0 || d < least) {
            best = j;
            least = d;
        }
    }
    p->used[best] = 1;
    return (int32_t)best;
}

/* k-th pick: the j least in || k mu - sum of the picked - f_j || */
static void herding(pool *p, int64_t n, int64_t ipc, dd_key key)
{
    const int64_t w = p->width;
    float *mean = p->centre, *want = p->centre + w;
    (void)key;
    class_mean(p, n, mean);
    memset(p->sum, 0, (size_t)w * sizeof *p->sum);
    for (int64_t k = 0; k < ipc; k++) {
        for (int64_t i = 0; i < w; i++) want[i] = (float)((double)(k + 1) * (double)mean[i] - p->sum[i]);
        p->picked[k] = nearest_unused(p, n, want);
        for (int64_t i = 0; i < w; i++) p->sum[i] += (double)p->f[p->picked[k] * w + i];
    }
}

/* Lowers p->near by the distances to one more centre. */
static void approach(pool *p, int64_t n, const float *centre, bool first)
{
    for (int64_t j = 0; j < n; j++) {
        const double d = distance(p->f + j * p->width, centre, p->width);
        if (first || d < p->near[j]) p->near[j] = d;
    }
}

static void kcenter(pool *p, int64_t n, int64_t ipc, dd_key key)
{
    (void)key;
    class_mean(p, n, p->centre);
    p->picked[0] = nearest_unused(p, n, p->centre);
    for (int64_t k = 1; k < ipc; k++) {
        approach(p, n, p->f + p->picked[k - 1] * p->width, k == 1);
        int64_t far = -1;
        for (int64_t j = 0; j < n; j++)
            if (!p->used[j] && (far < 0 || p->near[j] > p->near[far])) far = j;
        p->used[far] = 1;
        p->picked[k] = (int32_t)far;
    }
}

/* k-means++ seeding: the next centre with probability proportional to the squared distance to the chosen ones. */
static void seed_centres(pool *p, int64_t n, int64_t k, dd_key key)
{
    const size_t row = (size_t)p->width * sizeof *p->centre;
    int64_t pick = (int64_t)dd_key_below(key, 0, (uint64_t)n);
    for (int64_t c = 0; c < k; c++) {
        double total = 0;
        if (c) {
            approach(p, n, p->centre + (c - 1) * p->width, c == 1);
            for (int64_t j = 0; j < n; j++) total += p->near[j];
            double left = dd_key_uniform(key, (uint64_t)c) * total;
            for (pick = 0; pick < n - 1 && left >= p->near[pick]; pick++) left -= p->near[pick];
        }
        memcpy(p->centre + c * p->width, p->f + pick * p->width, row);
    }
}

static bool assign(pool *p, int64_t n, int64_t k)
{
    bool moved = false;
    for (int64_t j = 0; j < n; j++) {
        int32_t best = 0;
        double least = distance(p->f + j * p->width, p->centre, p->width);
        for (int64_t c = 1; c < k; c++) {
            const double d = distance(p->f + j * p->width, p->centre + c * p->width, p->width);
            if (d < least) {
                least = d;
                best = (int32_t)c;
            }
        }
        moved = moved || p->owner[j] != best;
        p->owner[j] = best;
    }
    return moved;
}

/* Centres move to the means of what they own; one that owns nothing stays. */
static void move_centres(pool *p, int64_t n, int64_t k)
{
    const int64_t w = p->width;
    for (int64_t c = 0; c < k; c++) {
        int64_t count = 0;
        memset(p->sum, 0, (size_t)w * sizeof *p->sum);
        for (int64_t j = 0; j < n; j++) {
            if (p->owner[j] != c) continue;
            count++;
            for (int64_t i = 0; i < w; i++) p->sum[i] += (double)p->f[j * w + i];
        }
        for (int64_t i = 0; count && i < w; i++) p->centre[c * w + i] = (float)(p->sum[i] / (double)count);
    }
}

static void kmeans(pool *p, int64_t n, int64_t ipc, dd_key key)
{
    seed_centres(p, n, ipc, key);
    for (int64_t j = 0; j < n; j++) p->owner[j] = -1;
    for (int round = 0; round < LLOYD_ROUNDS && assign(p, n, ipc); round++) move_centres(p, n, ipc);
    for (int64_t c = 0; c < ipc; c++) p->picked[c] = nearest_unused(p, n, p->centre + c * p->width);
}

/* --- public --- */

typedef void (*rule_fn)(pool *p, int64_t n, int64_t ipc, dd_key key);

static dd_status find_rule(const char *name, rule_fn *out)
{
    static const struct {
        const char *name;
        rule_fn fn;
    } rules[] = {{"random", NULL}, {"herding", herding}, {"kcenter", kcenter}, {"kmeans", kmeans}};
    for (size_t i = 0; i < DD_LEN(rules); i++)
        if (!strcmp(name, rules[i].name)) {
            *out = rules[i].fn;
            return DD_OK;
        }
    return dd_fail(DD_ENOTFOUND,
                   "there is no rule \"%s\" to choose images by; the rules are random, herding, kcenter and "
                   "kmeans",
                   name);
}

dd_status dd_run_enough(const dd_run *r, const char *way_out)
{
    const bool held = r->nitems < r->data->train.n;
    for (int64_t c = 0; c < r->data->classes; c++) {
        const int64_t n = r->class_first[c + 1] - r->class_first[c];
        if (n < r->ipc)
            return dd_fail(DD_EINVAL,
                           "class %s has %" PRId64 " training images%s, fewer than the %" PRId64
                           " per class asked for; lower ipc%s%s",
                           r->data->class_names[c], n, held ? " beside the held-out ones" : "", r->ipc,
                           held ? " or the holdout" : "", way_out);
    }
    return DD_OK;
}

static void select_random(const dd_run *r, dd_key key, int32_t *items)
{
    for (int64_t c = 0; c < r->data->classes; c++)
        dd_run_sample_class(r, c, r->ipc, dd_key_at(key, "class", (uint64_t)c), items + c * r->ipc);
}

/* Everything once that will be compiled, so that what does not fit is refused before the work. */
static dd_status rehearse(pool *p, const dd_run *r, int64_t epochs, dd_key key)
{
    const int64_t whole = r->nitems < TRAIN_BATCH ? r->nitems : TRAIN_BATCH, rest = r->nitems % TRAIN_BATCH;
    for (int64_t i = 0; i < whole; i++) p->order[i] = (int32_t)i;
    DD_TRY(dd_trainer_reset(p->trainer, key));
    if (epochs) DD_TRY(train_batch(p, r, 0, whole, key));
    if (epochs && rest) DD_TRY(train_batch(p, r, 0, rest, key));
    return embed_class(p, r, 0);
}

static dd_status select_by(pool *p, const dd_run *r, rule_fn rule, int64_t epochs, dd_key key, int32_t *items)
{
    const dd_trainer_opts o = {.momentum = 0.9, .weight_decay = 5e-4};
    DD_TRY(pool_new(p, r));
    DD_TRY(dd_trainer_new(&p->trainer, r->backend, r->net, &o));
    if (r->limited) DD_TRY(rehearse(p, r, epochs, key));
    DD_TRY(train_network(p, r, epochs, key));
    for (int64_t c = 0; c < r->data->classes; c++) {
        const int64_t first = r->class_first[c], n = r->class_first[c + 1] - first;
        memset(p->used, 0, (size_t)n);
        DD_TRY(embed_class(p, r, c));
        rule(p, n, r->ipc, dd_key_at(key, "class", (uint64_t)c));
        for (int64_t k = 0; k < r->ipc; k++) items[c * r->ipc + k] = r->class_items[first + p->picked[k]];
    }
    return DD_OK;
}

dd_status dd_coreset_select(const dd_run *r, const char *rule, int64_t train_epochs, dd_key key, int32_t *items)
{
    rule_fn fn = NULL;
    DD_TRY(find_rule(rule, &fn));
    DD_TRY(dd_run_enough(r, ""));
    if (!fn) {
        select_random(r, key, items);
        return DD_OK;
    }
    pool p = {.width = dd_net_features(r->net), .pixels = r->data->c * r->data->h * r->data->w};
    for (int64_t c = 0; c < r->data->classes; c++) {
        const int64_t n = r->class_first[c + 1] - r->class_first[c];
        if (n > p.most) p.most = n;
    }
    const dd_status st = select_by(&p, r, fn, train_epochs, key, items);
    pool_fini(&p);
    return st;
}

dd_status dd_coreset_fill(const dd_run *r, const char *rule, int64_t train_epochs, dd_key key, dd_tensor *images)
{
    const int64_t m = r->ipc * r->data->classes;
    int32_t *items = dd_alloc((size_t)m, sizeof *items);
    if (!items) return dd_fail(DD_ENOMEM, "out of memory for %" PRId64 " item numbers", m);
    const dd_status st = dd_coreset_select(r, rule, train_epochs, key, items);
    if (st == DD_OK) dd_data_batch(r->data, &r->data->train, items, m, dd_f32(images));
    dd_free(items);
    return st;
}
