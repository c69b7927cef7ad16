/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of the table of methods: a few iterations on the digits, and a stopped run that resumes to the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/experts.h"
#include "attar/method.h"
#include "base/fs.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct place {
    char dir[200];
} place;

static int make_place(void **state)
{
    static place p; /* the test's fixture */
    snprintf(p.dir, sizeof p.dir, "%s/attar-method-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    *state = &p;
    return mkdtemp(p.dir) ? 0 : -1;
}

static int clear_place(void **state)
{
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", ((place *)*state)->dir);
    return system(command);
}

static void options(dd_distill_opts *o, const place *p, const char *method, const char *name)
{
    assert_int_equal(dd_distill_defaults(o), DD_OK);
    snprintf(o->method, sizeof o->method, "%s", method);
    snprintf(o->data, sizeof o->data, "digits");
    snprintf(o->net, sizeof o->net, "convnet:depth=1,width=8");
    assert_int_equal(dd_path_join(o->out, sizeof o->out, p->dir, name), DD_OK);
    o->ipc = 2;
    o->iterations = 7;
    o->eval_repeats = 0;
    o->threads = 1;
    o->checkpoint_every = 2;
}

static void same_file(const dd_distill_opts *a, const dd_distill_opts *b, const char *name)
{
    char pa[600], pb[600];
    void *da, *db;
    size_t na, nb;
    dd_path_join(pa, sizeof pa, a->out, name);
    dd_path_join(pb, sizeof pb, b->out, name);
    assert_int_equal(dd_read_file(pa, SIZE_MAX / 2, &da, &na), DD_OK);
    assert_int_equal(dd_read_file(pb, SIZE_MAX / 2, &db, &nb), DD_OK);
    assert_int_equal(na, nb);
    assert_memory_equal(da, db, na);
    dd_free(da);
    dd_free(db);
}

static bool file_holds(const dd_distill_opts *o, const char *name, const char *text)
{
    char path[600];
    void *bytes;
    size_t n;
    dd_path_join(path, sizeof path, o->out, name);
    assert_int_equal(dd_read_file(path, SIZE_MAX / 2, &bytes, &n), DD_OK);
    const bool there = strstr(bytes, text) != NULL;
    dd_free(bytes);
    return there;
}

static int64_t count_lines(const dd_distill_opts *o, const char *name)
{
    char path[600];
    void *bytes;
    size_t n;
    int64_t lines = 0;
    dd_path_join(path, sizeof path, o->out, name);
    assert_int_equal(dd_read_file(path, SIZE_MAX / 2, &bytes, &n), DD_OK);
    for (size_t i = 0; i < n; i++) lines += ((const char *)bytes)[i] == '\n';
    dd_free(bytes);
    return lines;
}

static void damage(const dd_distill_opts *o, const char *name)
{
    char path[600];
    void *bytes;
    size_t n;
    dd_path_join(path, sizeof path, o->out, name);
    assert_int_equal(dd_read_file(path, SIZE_MAX / 2, &bytes, &n), DD_OK);
    ((char *)bytes)[n / 2] ^= 1;
    assert_int_equal(dd_write_file(path, bytes, n), DD_OK);
    dd_free(bytes);
}

static bool stop_at(void *self, const dd_progress *p)
{
    return p->iteration != *(int64_t *)self;
}

/* Stops a run after `at` iterations and lets a second one finish it. */
static void cut_and_resume(place *p, dd_distill_opts *o, const char *name, int64_t at)
{
    dd_distill_result r;
    assert_int_equal(dd_path_join(o->out, sizeof o->out, p->dir, name), DD_OK);
    o->progress = stop_at;
    o->self = &at;
    assert_int_equal(dd_distill(&r, o), DD_EINTERRUPTED);
    o->progress = NULL;
    o->resume = true;
    assert_int_equal(dd_distill(&r, o), DD_OK);
}

static bool takes(const char *method, const char *option)
{
    for (int i = 0; i < dd_method_count(); i++)
        for (const dd_option *t = dd_method_options(i); t->name && strcmp(dd_method_name(i), method) == 0; t++)
            if (strcmp(t->name, option) == 0) return true;
    return false;
}

/* Experts of the network that options() names; o: "experts=FOLDER". */
static void train_experts(const place *p, int64_t seed, int64_t n, char *o, size_t size)
{
    dd_experts_opts e = DD_EXPERTS_OPTS_INIT;
    dd_backend *b;
    dd_dataset *d;
    dd_net *net;
    char dir[300];
    e.experts = n;
    e.expert_epochs = 3;
    e.seed = seed;
    assert_int_equal(dd_path_join(dir, sizeof dir, p->dir, "experts"), DD_OK);
    assert_int_equal(dd_backend_open(&b, "cpu", 1), DD_OK);
    assert_int_equal(dd_dataset_open(&d, "digits", NULL), DD_OK);
    assert_int_equal(dd_net_open(&net, "convnet:depth=1,width=8", (dd_image){d->c, d->h, d->w}, d->classes), DD_OK);
    assert_int_equal(dd_experts_train(&e, b, net, d, dir, NULL, NULL), DD_OK);
    dd_net_close(net);
    dd_dataset_close(d);
    dd_backend_close(b);
    snprintf(o, size, "experts=%s", dir);
}

static void make_experts(const place *p, char *o, size_t size)
{
    train_experts(p, 0, 2, o, size);
}

/* Stops the second time it is asked after so many iterations: in the middle of the next. */
typedef struct inside {
    int64_t at;
    int asked;
} inside;

static bool stop_inside(void *self, const dd_progress *p)
{
    inside *s = self;
    s->asked += p->iteration == s->at;
    return s->asked < 2;
}

static void every_method_makes_a_set_and_resumes(void **state)
{
    char experts[320];
    const char *const sets[] = {"train_epochs=1", NULL};
    const char *const follow[] = {experts, "max_start_epoch=2", "syn_steps=3", "batch_syn=7", NULL};
    make_experts(*state, experts, sizeof experts);
    for (int i = 0; i < dd_method_count(); i++) {
        dd_distill_opts whole, cut;
        dd_distill_result r;
        dd_synset *s;
        char name[64];
        snprintf(name, sizeof name, "%s-whole", dd_method_name(i));
        options(&whole, *state, dd_method_name(i), name);
        if (takes(dd_method_name(i), "train_epochs")) whole.sets = sets;
        if (takes(dd_method_name(i), "experts")) whole.sets = follow;
        assert_int_equal(dd_distill(&r, &whole), DD_OK);
        assert_int_equal(dd_synset_load(&s, whole.out), DD_OK);
        assert_int_equal(s->m, 20);
        for (int64_t k = 0; k < dd_shape_count(s->images.shape); k++) assert_true(isfinite(dd_f32(&s->images)[k]));
        for (int64_t k = 0; k < s->m && !s->targets; k++) assert_int_equal(dd_i32(&s->labels)[k], k / 2);
        dd_synset_free(s);
        if (r.iterations == 0) continue; /* a coreset has nothing to resume */
        for (int64_t at = 1; at < 7; at += 2) {
            cut = whole;
            snprintf(name, sizeof name, "%s-%d", dd_method_name(i), (int)at);
            cut_and_resume(*state, &cut, name, at);
            same_file(&whole, &cut, "set.safetensors");
            same_file(&whole, &cut, "set.json");
            same_file(&whole, &cut, "metrics.jsonl");
            same_file(&whole, &cut, "grid.png");
        }
    }
}

/* KIP in many blocks. */
static const char *const in_blocks[] = {"kernel=conv:depth=2", "memory=1", "batch_real=20", NULL};

/* Nothing is lost but the iteration that was being made. */
static void a_stop_inside_an_iteration_keeps_the_rest(void **state)
{
    const char *const methods[] = {"dc", "cafe", "rfad", "mtt", "dd", "ld", "kip"};
    char experts[320];
    const char *const follow[] = {experts, "max_start_epoch=2", "syn_steps=3", "batch_syn=7", NULL};
    make_experts(*state, experts, sizeof experts);
    for (size_t i = 0; i < DD_LEN(methods); i++) {
        dd_distill_opts whole, cut;
        dd_distill_result r;
        char name[64];
        inside s = {.at = 3};
        snprintf(name, sizeof name, "%s-not-stopped", methods[i]);
        options(&whole, *state, methods[i], name);
        if (takes(methods[i], "experts")) whole.sets = follow;
        if (takes(methods[i], "kernel") && !takes(methods[i], "networks")) whole.sets = in_blocks;
        whole.checkpoint_every = 1000;
        assert_int_equal(dd_distill(&r, &whole), DD_OK);
        snprintf(name, sizeof name, "%s-stopped-inside", methods[i]);
        options(&cut, *state, methods[i], name);
        cut.sets = whole.sets;
        cut.checkpoint_every = 1000;
        cut.progress = stop_inside;
        cut.self = &s;
        assert_int_equal(dd_distill(&r, &cut), DD_EINTERRUPTED);
        assert_int_equal(r.iterations, 3);
        assert_non_null(strstr(dd_last_error(), "is of iteration 3"));
        cut.progress = NULL;
        cut.resume = true;
        assert_int_equal(dd_distill(&r, &cut), DD_OK);
        same_file(&whole, &cut, "set.safetensors");
        same_file(&whole, &cut, "metrics.jsonl");
    }
}

/* The images of a finished run of some iterations. */
static dd_synset *run_of(const place *p, const char *method, const char *name, int64_t iterations,
                         const char *const *sets)
{
    dd_distill_opts o;
    dd_distill_result r;
    dd_synset *s = NULL;
    options(&o, p, method, name);
    o.iterations = iterations;
    o.sets = sets;
    if (dd_distill(&r, &o) != DD_OK) fail_msg("%s: %s", name, dd_last_error());
    assert_int_equal(dd_synset_load(&s, o.out), DD_OK);
    return s;
}

static bool same_images(const dd_synset *a, const dd_synset *b)
{
    return memcmp(a->images.data, b->images.data, dd_tensor_bytes(&a->images)) == 0;
}

/* After the schedule lr_img is lr_floor of itself: with 0 the images stay as they are; with 1 nothing changes. */
static void the_cosine_ends_at_its_floor(void **state)
{
    char experts[320];
    make_experts(*state, experts, sizeof experts);
    for (int i = 0; i < 2; i++) {
        const char *const method = i ? "mtt" : "dc";
        const char *const follow[] = {i ? experts : "outer_loop=1", i ? "max_start_epoch=2" : "inner_loop=1",
                                      i ? "syn_steps=3" : "chunk=10", i ? "threshold=100" : "batch_real=10", NULL};
        const char *const falls[] = {follow[0], follow[1], follow[2], follow[3], "lr_floor=0", "schedule=1", NULL};
        const char *const stays[] = {follow[0], follow[1], follow[2], follow[3], "lr_floor=1", "schedule=1", NULL};
        dd_synset *const s[] = {
            run_of(*state, method, i ? "mtt-one" : "dc-one", 1, follow),
            run_of(*state, method, i ? "mtt-falls" : "dc-falls", 3, falls),
            run_of(*state, method, i ? "mtt-stays" : "dc-stays", 3, stays),
            run_of(*state, method, i ? "mtt-three" : "dc-three", 3, follow),
        };
        assert_true(same_images(s[0], s[1]) && same_images(s[2], s[3]) && !same_images(s[0], s[2]));
        for (size_t k = 0; k < DD_LEN(s); k++) dd_synset_free(s[k]);
    }
}

typedef struct losses {
    double at[64];
} losses;

static bool keep_loss(void *self, const dd_progress *p)
{
    if (!p->epochs && p->iteration > 0) ((losses *)self)->at[p->iteration - 1] = p->loss;
    return true;
}

/* What the last ten of fifty iterations lose less than the first ten. */
static double gain(const place *p, const char *name, const char *const *sets)
{
    dd_distill_opts o;
    dd_distill_result r;
    losses l = {{0}};
    double gained = 0;
    options(&o, p, "rfad", name);
    snprintf(o.net, sizeof o.net, "convnet:depth=1,width=16,norm=none,init=nngp");
    o.iterations = 50;
    o.progress = keep_loss;
    o.self = &l;
    o.sets = sets;
    if (dd_distill(&r, &o) != DD_OK) fail_msg("%s: %s", name, dd_last_error());
    for (int i = 0; i < 10; i++) gained += (l.at[i] - l.at[40 + i]) / 10;
    return gained;
}

/* Whatever RFAD learns lowers its loss by itself: images, labels, temperature, the matrix before the images. */
static void rfad_learns_each_of_its_parts(void **state)
{
    static const char *const learns[][6] = {
        {"lr_img=0.02", "lr_temperature=0", "precondition=false", "batch_real=300", "networks=2", NULL},
        {"lr_img=0", "lr_temperature=0", "lr_precondition=0.001", "batch_real=300", "networks=2", NULL},
        {"lr_img=0", "lr_temperature=0.05", "precondition=false", "batch_real=300", "networks=2", NULL},
        {"lr_img=0", "labels=learned", "lr_label=0.02", "lr_temperature=0", "precondition=false", NULL},
    };
    for (size_t i = 0; i < DD_LEN(learns); i++) {
        char name[32];
        snprintf(name, sizeof name, "rfad-learns-%zu", i);
        const double by = gain(*state, name, learns[i]);
        if (!(by > 0.003)) fail_msg("%s, %s, %s: the loss falls by %g", learns[i][0], learns[i][1], learns[i][2], by);
    }
}

/* A matrix that never leaves the identity is as good as none, to the bit. */
static void a_matrix_that_stays_is_none(void **state)
{
    static const char *const none[] = {"precondition=false", "networks=1", "memory=1", NULL};
    static const char *const stays[] = {"precondition=true", "lr_precondition=0", "networks=1", NULL};
    dd_synset *a = run_of(*state, "rfad", "no-matrix", 4, none), *b = run_of(*state, "rfad", "a-matrix", 4, stays);
    assert_true(same_images(a, b));
    dd_synset_free(a);
    dd_synset_free(b);
}

/* Steps keep what they computed, none, the last ones, all: the way back is the same but for rounding. */
static void what_steps_keep_does_not_matter(void **state)
{
    static const char *const keep[] = {"keep=0", "keep=1", "keep=512"};
    dd_synset *s[3];
    for (size_t i = 0; i < DD_LEN(keep); i++) {
        const char *const sets[] = {"distill_epochs=15", "batch_real=100", keep[i], NULL};
        dd_distill_opts o;
        dd_distill_result r;
        options(&o, *state, "dd", keep[i]);
        snprintf(o.net, sizeof o.net, "convnet:depth=2,width=32,act=swish");
        o.iterations = 2;
        o.sets = sets;
        if (dd_distill(&r, &o) != DD_OK) fail_msg("%s: %s", keep[i], dd_last_error());
        assert_int_equal(dd_synset_load(&s[i], o.out), DD_OK);
    }
    for (int64_t k = 0; k < dd_shape_count(s[0]->images.shape); k++) {
        const double a = (double)dd_f32(&s[0]->images)[k];
        assert_true(fabs((double)dd_f32(&s[1]->images)[k] - a) < 1e-3);
        assert_true(fabs((double)dd_f32(&s[2]->images)[k] - a) < 1e-3);
    }
    for (int i = 0; i < 3; i++) dd_synset_free(s[i]);
}

/* FRePo's set in parts, the last of which is smaller, with mirror images: one more pass, and the same images. */
static void what_passes_in_parts_does_not_matter(void **state)
{
    static const char *const frepo[] = {"batch_real=50", "flip=true", "lr_img=0.01", NULL};
    static const char *const frepo_parts[] = {"batch_real=50", "flip=true", "lr_img=0.01", "chunk=7", NULL};
    static const char *const rfad[] = {"batch_real=50", "networks=2", "lr_img=0.01", NULL};
    static const char *const rfad_parts[] = {"batch_real=50", "networks=2", "lr_img=0.01", "chunk=7", NULL};
    dd_synset *s[] = {run_of(*state, "frepo", "at-once", 4, frepo), run_of(*state, "frepo", "in-parts", 4, frepo_parts),
                      run_of(*state, "rfad", "once", 4, rfad), run_of(*state, "rfad", "parts", 4, rfad_parts)};
    for (int k = 0; k < 4; k += 2) {
        dd_synset *first = run_of(*state, k ? "rfad" : "frepo", k ? "rfad-first" : "frepo-first", 1, k ? rfad : frepo);
        double moved = 0;
        for (int64_t i = 0; i < dd_shape_count(s[k]->images.shape); i++) {
            const double x = (double)dd_f32(&s[k]->images)[i];
            assert_true(fabs(x - (double)dd_f32(&s[k + 1]->images)[i]) < 1e-4);
            moved = fmax(moved, fabs(x - (double)dd_f32(&first->images)[i]));
        }
        assert_true(moved > 1e-3); /* more than the parts may differ by */
        dd_synset_free(first);
    }
    for (int i = 0; i < 4; i++) dd_synset_free(s[i]);
}

/* Where memory is limited steps keep a MiB, which the set tells; a resumed run keeps no more. */
static void what_steps_keep_may_be_cut(void **state)
{
    static const char *const sets[] = {"distill_epochs=15", "batch_real=100", NULL};
    dd_distill_opts whole, cut;
    dd_distill_result r;
    int64_t at = 1;
    options(&whole, *state, "dd", "kept-less");
    snprintf(whole.net, sizeof whole.net, "convnet:depth=2,width=32");
    whole.iterations = 3;
    whole.sets = sets;
    whole.memory_limit = (int64_t)1 << 30;
    assert_int_equal(dd_distill(&r, &whole), DD_OK);
    assert_true(file_holds(&whole, "set.json", "\"cut_to\": {\"keep\": 1}"));
    cut = whole;
    assert_int_equal(dd_path_join(cut.out, sizeof cut.out, ((place *)*state)->dir, "kept-less-cut"), DD_OK);
    cut.progress = stop_at;
    cut.self = &at;
    assert_int_equal(dd_distill(&r, &cut), DD_EINTERRUPTED);
    cut.progress = NULL;
    cut.resume = true;
    cut.memory_limit = 0;
    assert_int_equal(dd_distill(&r, &cut), DD_OK);
    same_file(&whole, &cut, "set.safetensors");
    same_file(&whole, &cut, "set.json");
}

/* Iterations that make no update are counted, and a run of nothing else has failed. */
static void skipped_iterations_are_told(void **state)
{
    char experts[320];
    dd_distill_opts o;
    dd_distill_result r;
    const char *const never[] = {experts, "max_start_epoch=2", "syn_steps=3", "threshold=0", NULL};
    const char *const far[] = {experts, "max_start_epoch=2", "syn_steps=50", "lr_init=100", NULL};
    make_experts(*state, experts, sizeof experts);
    options(&o, *state, "mtt", "never");
    o.sets = never;
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_non_null(strstr(dd_last_error(), "none of the 7 iterations made an update"));
    assert_true(file_holds(&o, "metrics.jsonl", "\"skipped\": true}"));
    options(&o, *state, "mtt", "far");
    o.sets = far;
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_true(file_holds(&o, "metrics.jsonl", "\"loss\": null, \"skipped\": true}"));
}

static void other_experts_are_noticed(void **state)
{
    char experts[320], command[400];
    dd_distill_opts o;
    dd_distill_result r;
    int64_t at = 3;
    const char *const sets[] = {experts, "max_start_epoch=2", "syn_steps=3", NULL};
    make_experts(*state, experts, sizeof experts);
    options(&o, *state, "mtt", "swapped");
    o.sets = sets;
    o.progress = stop_at;
    o.self = &at;
    assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
    snprintf(command, sizeof command, "rm -r '%s'", strchr(experts, '=') + 1);
    assert_int_equal(system(command), 0);
    train_experts(*state, 7, 2, experts, sizeof experts);
    o.progress = NULL;
    o.resume = true;
    assert_int_equal(dd_distill(&r, &o), DD_EEXIST);
    assert_non_null(strstr(dd_last_error(), "other experts"));
    assert_int_equal(system(command), 0);
    train_experts(*state, 0, 3, experts, sizeof experts); /* one more does no harm, and is not used */
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_true(file_holds(&o, "set.json", "\"made_from\": \"2 experts, SHA-256 "));
}

static void the_best_set_is_kept_and_selection_resumes(void **state)
{
    dd_distill_opts whole, cut;
    dd_distill_result r;
    options(&whole, *state, "dm", "best");
    whole.eval_every = 2;
    whole.eval_epochs = 2;
    assert_int_equal(dd_distill(&r, &whole), DD_OK);
    cut = whole;
    cut_and_resume(*state, &cut, "best-cut", 4);
    same_file(&whole, &cut, "set.safetensors");
    same_file(&whole, &cut, "set.json");
    same_file(&whole, &cut, "metrics.jsonl");
}

static void distil_cafe(place *p, dd_synset **out, const char *name, const char *const *sets)
{
    dd_distill_opts o;
    dd_distill_result r;
    options(&o, p, "cafe", name);
    o.iterations = 2;
    o.sets = sets;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_int_equal(dd_synset_load(out, o.out), DD_OK);
}

/* Rules that are met as soon as their queues of 10 are full end both loops where a cap of 10 does, without measuring.
 */
static void cafe_ends_its_loops_by_rule_or_cap(void **state)
{
    const char *const rule[] = {"outer_max=12", "inner_max=12", "lambda1=1", "lambda2=0", NULL};
    const char *const never[] = {"outer_max=12", "inner_max=10", "lambda1=0", "lambda2=0", NULL};
    const char *const cap[] = {"outer_max=10", "inner_max=10", "lambda1=0", "lambda2=1", NULL};
    dd_synset *a, *b, *c;
    dd_distill_opts o;
    dd_distill_result r;
    distil_cafe(*state, &a, "cafe-rule", rule);
    distil_cafe(*state, &b, "cafe-cap", cap);
    distil_cafe(*state, &c, "cafe-never", never);
    assert_memory_equal(a->images.data, b->images.data, dd_tensor_bytes(&a->images));
    assert_memory_not_equal(a->images.data, c->images.data, dd_tensor_bytes(&a->images));
    dd_synset_free(a);
    dd_synset_free(b);
    dd_synset_free(c);
    options(&o, *state, "cafe", "refused");
    snprintf(o.net, sizeof o.net, "convnet:depth=1,width=8,norm=batch");
    assert_int_equal(dd_distill(&r, &o), DD_EUNSUPPORTED);
    /* its learning rate hangs on the length of the run, so a longer one is another run */
    options(&o, *state, "cafe", "cafe-cap");
    o.sets = cap;
    o.iterations = 4;
    o.resume = true;
    assert_int_equal(dd_distill(&r, &o), DD_EEXIST);
    assert_non_null(strstr(dd_last_error(), "schedule"));
}

static void refusals_say_what_to_do(void **state)
{
    dd_distill_opts o;
    dd_distill_result r;
    options(&o, *state, "dmm", "refused");
    assert_int_equal(dd_distill(&r, &o), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "\"dm\""));
    options(&o, *state, "dm", "refused");
    const char *const wrong[] = {"lr_imgs=1", NULL};
    o.sets = wrong;
    assert_int_equal(dd_distill(&r, &o), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "lr_img"));
    options(&o, *state, "dm", "refused");
    o.ipc = 1000;
    assert_int_equal(dd_distill(&r, &o), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "1000"));
    assert_false(dd_exists(o.out));
    options(&o, *state, "dm", "refused");
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    assert_int_equal(dd_distill(&r, &o), DD_EEXIST);
    o.resume = true;
    o.seed = 5;
    assert_int_equal(dd_distill(&r, &o), DD_EEXIST);
    assert_non_null(strstr(dd_last_error(), "seed=0"));
    options(&o, *state, "dm", "few");
    snprintf(o.init, sizeof o.init, "noise");
    o.ipc = 160;
    o.eval_repeats = 1;
    assert_int_equal(dd_distill(&r, &o), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "--no-baselines"));
    assert_int_equal(r.iterations, 0);
}

static bool has_row(const dd_profile_table *t, const char *part)
{
    for (int i = 0; i < t->rows; i++)
        if (strstr(t->row[i].name, part)) return true;
    return false;
}

/* A checkpoint that cannot be read is never kept in place of the one before it. */
static void damaged_checkpoints_do_not_pile_up(void **state)
{
    dd_distill_opts whole, o;
    dd_distill_result r;
    int64_t at = 4;
    options(&whole, *state, "dm", "undamaged");
    assert_int_equal(dd_distill(&r, &whole), DD_OK);
    options(&o, *state, "dm", "damaged");
    o.progress = stop_at;
    o.self = &at;
    assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
    damage(&o, "checkpoint/state.safetensors");
    o.resume = true;
    at = 3;
    assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
    damage(&o, "checkpoint/state.safetensors");
    o.progress = NULL;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
    same_file(&whole, &o, "set.safetensors");
}

/* Fewer images pass at a time where memory is limited, a resumed run cuts its work as it did before, whatever its own
 * limit, and what cannot fit is refused with the numbers. */
static void memory_is_limited(void **state)
{
    static const char *const sets[] = {"chunk=512", "batch_real=512", NULL};
    dd_distill_opts o, cut;
    dd_distill_result wide, narrow, none;
    options(&o, *state, "dm", "wide");
    snprintf(o.net, sizeof o.net, "convnet:depth=2,width=128");
    o.ipc = 10;
    o.iterations = 3;
    o.sets = sets;
    o.profile = true;
    assert_int_equal(dd_distill(&wide, &o), DD_OK);
    assert_true(has_row(&wide.profile, "512"));
    assert_int_equal(dd_path_join(o.out, sizeof o.out, ((place *)*state)->dir, "narrow"), DD_OK);
    o.memory_limit = 48 << 20; /* of which 32 are the program's */
    assert_int_equal(dd_distill(&narrow, &o), DD_OK);
    assert_false(has_row(&narrow.profile, "512"));
    cut = o;
    int64_t at = 2;
    assert_int_equal(dd_path_join(cut.out, sizeof cut.out, ((place *)*state)->dir, "cut"), DD_OK);
    cut.progress = stop_at;
    cut.self = &at;
    assert_int_equal(dd_distill(&none, &cut), DD_EINTERRUPTED);
    cut.progress = NULL;
    cut.resume = true;
    cut.memory_limit = 0;
    assert_int_equal(dd_distill(&none, &cut), DD_OK);
    same_file(&o, &cut, "set.safetensors");
    same_file(&o, &cut, "set.json"); /* which says how to do without a limit */
    assert_true(file_holds(&o, "set.json", "\"cut_to\": {"));
    assert_int_equal(dd_path_join(o.out, sizeof o.out, ((place *)*state)->dir, "none"), DD_OK);
    o.memory_limit = 1 << 20;
    assert_int_equal(dd_distill(&none, &o), DD_ENOMEM);
    assert_non_null(strstr(dd_last_error(), "memory limit is 1.0 MiB"));
}

/* A pool of networks is larger than the images, and a checkpoint holds it. */
static void a_checkpoint_has_to_fit(void **state)
{
    static const char *const sets[] = {"pool=100", "batch_real=20", NULL};
    dd_distill_opts o;
    dd_distill_result r;
    options(&o, *state, "frepo", "pool");
    snprintf(o.net, sizeof o.net, "convnet:depth=1,width=64,norm=none");
    o.sets = sets;
    o.iterations = 1;
    o.memory_limit = 52 << 20;
    assert_int_equal(dd_distill(&r, &o), DD_ENOMEM);
    assert_non_null(strstr(dd_last_error(), "a checkpoint takes"));
    o.memory_limit = 80 << 20;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
}

/* Whatever the limit, a run is refused before its first iteration or ends with its set judged: what an evaluation and
 * the random images beside it take is kept free while the method is compiled. */
static void find_limit(const place *p, const char *method, int64_t ipc, const char *const *sets, int64_t within)
{
    int64_t refused = 33 << 20, enough = 64 << 20;
    while (enough - refused > within) {
        const int64_t limit = refused + (enough - refused) / 2;
        dd_distill_opts o;
        dd_distill_result r;
        char name[40];
        snprintf(name, sizeof name, "%s-limit%d", method, (int)(limit >> 10));
        options(&o, p, method, name);
        o.sets = sets;
        snprintf(o.net, sizeof o.net, "convnet:depth=2,width=96");
        o.ipc = ipc;
        o.iterations = 2;
        o.eval_repeats = 1;
        o.eval_epochs = 1;
        o.eval_every = 2; /* on 143 images, tested on 360: other rests of a batch of 100 */
        o.baselines = true;
        o.memory_limit = limit;
        const dd_status s = dd_distill(&r, &o);
        if (s != DD_OK && (s != DD_ENOMEM || r.iterations)) fail_msg("%d KiB: %s", (int)(limit >> 10), dd_last_error());
        *(s == DD_OK ? &enough : &refused) = limit;
    }
    assert_true(refused > 33 << 20 && enough < 64 << 20);
}

/* Where one limit is enough to compile for, so is each larger one: what did not fit is not held against what is tried
 * next. Whether a checkpoint fits beside it is found out later. */
static void a_larger_limit_does(void **state)
{
    static const char *const sets[] = {"batch_real=500", "kernel=conv:depth=1,pool=none", NULL};
    for (int64_t mib = 58; mib <= 70; mib += 4) {
        dd_distill_opts o;
        dd_distill_result r;
        char name[40];
        snprintf(name, sizeof name, "larger%d", (int)mib);
        options(&o, *state, "kip", name);
        o.sets = sets;
        o.ipc = 30;
        o.iterations = 1;
        o.eval_repeats = 0;
        o.memory_limit = mib << 20;
        if (dd_distill(&r, &o) != DD_OK && !strstr(dd_last_error(), "a checkpoint takes"))
            fail_msg("%d MiB: %s", (int)mib, dd_last_error());
    }
}

static void a_limit_refuses_early_or_never(void **state)
{
    static const char *const in_pairs[] = {"kernel=conv:depth=2", "batch_real=20", NULL};
    find_limit(*state, "dm", 20, NULL, 64 << 10);
    find_limit(*state, "kip", 1, in_pairs,
               512 << 10); /* whose pairs of images pass in blocks, as many at a time as fit */
}

static void divergence_keeps_the_checkpoint(void **state)
{
    dd_distill_opts o;
    dd_distill_result r;
    const char *const wild[] = {"lr_img=1e9", NULL};
    options(&o, *state, "dm", "diverges");
    o.sets = wild;
    o.iterations = 60;
    /* without a norm the features grow with the pixels, so the first huge step feeds itself */
    snprintf(o.net, sizeof o.net, "convnet:depth=1,width=8,norm=none");
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_non_null(strstr(dd_last_error(), "lr_img"));
    /* MTT with steps of the student that explode some iterations after a checkpoint */
    char experts[320];
    dd_synset *s;
    const char *const far[] = {experts, "max_start_epoch=2", "syn_steps=3", "threshold=1e9", "lr_lr=0.3", NULL};
    make_experts(*state, experts, sizeof experts);
    options(&o, *state, "mtt", "explodes");
    o.sets = far;
    o.iterations = 60;
    o.checkpoint_every = 1;
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_non_null(strstr(dd_last_error(), "lr_lr"));
    assert_int_equal(dd_synset_load(&s, o.out), DD_OK);
    assert_true(isfinite(dd_f32(&s->lr)[0]) && dd_f32(&s->lr)[0] > 0);
    dd_synset_free(s);
}

/* A run that goes wrong by its next update, without a checkpoint: the set is the one before that update. */
static void divergence_keeps_the_set_before_it(void **state)
{
    char experts[320];
    dd_distill_opts o;
    dd_distill_result r;
    dd_synset *s;
    const char *const step[] = {experts, "max_start_epoch=2", "syn_steps=3", "lr_lr=0.02", NULL};
    const char *const labels[] = {experts, "max_start_epoch=2", "syn_steps=3", "labels=learned", "lr_label=1000", NULL};
    const char *const wild[] = {"lr_img=1e9", NULL}, *const nothing[] = {"lr=30", NULL};
    const struct {
        const char *method, *net, *const *sets, *says;
        float least, most; /* of a step size of the set that stays */
    } run[] = {{"mtt", "convnet:depth=1,width=8", step, "50 in a row had made no update", 0.009f, 0.011f},
               {"mtt", "convnet:depth=1,width=8", labels, "50 in a row had made no update", 0.009f, 0.011f},
               {"dm", "convnet:depth=1,width=8,norm=none", wild, "a pixel is", 0, 0},
               {"dd", "mlp", nothing, "a step size is", 0.019f, 0.021f}};
    make_experts(*state, experts, sizeof experts);
    for (size_t i = 0; i < DD_LEN(run); i++) {
        char name[24];
        snprintf(name, sizeof name, "before-%zu", i);
        options(&o, *state, run[i].method, name);
        snprintf(o.net, sizeof o.net, "%s", run[i].net);
        o.sets = run[i].sets;
        o.iterations = 60;
        o.checkpoint_every = 1000;
        assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
        if (!strstr(dd_last_error(), run[i].says)) fail_msg("%s: %s", run[i].method, dd_last_error());
        assert_int_equal(dd_synset_load(&s, o.out), DD_OK);
        for (int64_t k = 0; k < dd_shape_count(s->images.shape); k++) assert_true(fabsf(dd_f32(&s->images)[k]) < 100);
        if (run[i].most > 0) assert_true(dd_f32(&s->lr)[0] > run[i].least && dd_f32(&s->lr)[0] < run[i].most);
        dd_synset_free(s);
        assert_int_equal(count_lines(&o, "metrics.jsonl"), r.iterations);
        assert_true(file_holds(&o, "set.json", "\"selected_on\": \"last iteration\""));
        o.resume = true; /* and the run goes on from there, to the same end */
        assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
        assert_non_null(strstr(dd_last_error(), run[i].says));
        assert_int_equal(count_lines(&o, "metrics.jsonl"), r.iterations);
    }
}

/* The same where it is stopped, or killed, among the iterations without an update, and sets are judged on the way. */
static void divergence_is_seen_by_a_resumed_run(void **state)
{
    char experts[320];
    dd_distill_opts o;
    dd_distill_result r;
    dd_synset *s;
    int64_t at;
    const char *const sets[] = {experts, "max_start_epoch=2", "syn_steps=3", "lr_lr=0.02", NULL};
    const int64_t stops[] = {2, 20};
    make_experts(*state, experts, sizeof experts);
    options(&o, *state, "mtt", "stopped");
    o.sets = sets;
    o.iterations = 80;
    o.checkpoint_every = 1;
    o.eval_every = 5;
    o.eval_epochs = 1;
    o.progress = stop_at;
    o.self = &at;
    for (size_t i = 0; i < DD_LEN(stops); i++) {
        at = stops[i];
        assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
        o.resume = true;
    }
    o.progress = NULL;
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_non_null(strstr(dd_last_error(), "50 in a row had made no update"));
    assert_int_equal(dd_synset_load(&s, o.out), DD_OK);
    assert_true(dd_f32(&s->lr)[0] > 0.009f && dd_f32(&s->lr)[0] < 0.011f);
    assert_true(file_holds(&o, "set.json", "\"selected_on\": \"last iteration\""));
    assert_int_equal(count_lines(&o, "metrics.jsonl"), r.iterations);
    dd_synset_free(s);
}

/* The older checkpoint, to which such a run would go back, may be damaged: the run ends by its own sentence. */
static void divergence_survives_a_damaged_checkpoint(void **state)
{
    char experts[320];
    dd_distill_opts o;
    dd_distill_result r;
    int64_t at;
    const char *const sets[] = {experts, "max_start_epoch=2", "syn_steps=3", "lr_lr=0.02", NULL};
    make_experts(*state, experts, sizeof experts);
    options(&o, *state, "mtt", "damaged older");
    o.sets = sets;
    o.iterations = 80;
    o.checkpoint_every = 1;
    o.progress = stop_at;
    o.self = &at;
    for (at = 1; at <= 2; at++) {
        assert_int_equal(dd_distill(&r, &o), DD_EINTERRUPTED);
        o.resume = true;
    }
    o.progress = NULL;
    damage(&o, "checkpoint/state.prev.safetensors");
    assert_int_equal(dd_distill(&r, &o), DD_ENUMERIC);
    assert_non_null(strstr(dd_last_error(), "50 in a row had made no update"));
}

/* An error in the middle of a run loses none of the iterations before it. */
static void an_error_leaves_a_checkpoint(void **state)
{
    char experts[320], text[1200];
    dd_distill_opts o, folder;
    dd_distill_result r;
    const char *const sets[] = {experts, "max_start_epoch=1", "syn_steps=2", "expert_epochs=1", NULL};
    make_experts(*state, experts, sizeof experts);
    snprintf(folder.out, sizeof folder.out, "%s", strchr(experts, '=') + 1);
    options(&o, *state, "mtt", "cut short");
    o.sets = sets;
    o.iterations = 30;
    o.checkpoint_every = 1000;
    damage(&folder, "001/001.safetensors");
    assert_int_equal(dd_distill(&r, &o), DD_EFORMAT);
    snprintf(text, sizeof text, "the checkpoint in %s is of iteration %d", o.out, (int)r.iterations);
    assert_true(r.iterations > 0);
    assert_non_null(strstr(dd_last_error(), text));
    damage(&folder, "001/001.safetensors"); /* mends it */
    o.resume = true;
    assert_int_equal(dd_distill(&r, &o), DD_OK);
}

/* Every third allocation in turn; the run is short, so that the sweep is. */
static void memory_may_end_anywhere(void **state)
{
    char experts[320];
    const char *const follow[] = {experts, "max_start_epoch=1", "syn_steps=2", "expert_epochs=1", NULL};
    const char *const methods[] = {"dc", "cafe", "mtt", "sldd", "ld", "kip", "ls", "frepo", "rfad"};
    make_experts(*state, experts, sizeof experts);
    for (size_t i = 0; i < DD_LEN(methods); i++) {
        dd_status st = DD_ENOMEM;
        for (long n = 1; st == DD_ENOMEM; n += 3) {
            dd_distill_opts o;
            dd_distill_result r;
            char name[64];
            snprintf(name, sizeof name, "sweep-%s-%ld", methods[i], n);
            options(&o, *state, methods[i], name);
            o.ipc = o.iterations = 1;
            if (takes(methods[i], "experts")) o.sets = follow;
            dd_alloc_fail_after(n);
            st = dd_distill(&r, &o);
            dd_alloc_fail_after(0);
        }
        assert_int_equal(st, DD_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_makes_a_set_and_resumes),
        cmocka_unit_test(a_stop_inside_an_iteration_keeps_the_rest),
        cmocka_unit_test(the_cosine_ends_at_its_floor),
        cmocka_unit_test(rfad_learns_each_of_its_parts),
        cmocka_unit_test(a_matrix_that_stays_is_none),
        cmocka_unit_test(what_steps_keep_does_not_matter),
        cmocka_unit_test(what_steps_keep_may_be_cut),
        cmocka_unit_test(what_passes_in_parts_does_not_matter),
        cmocka_unit_test(skipped_iterations_are_told),
        cmocka_unit_test(other_experts_are_noticed),
        cmocka_unit_test(cafe_ends_its_loops_by_rule_or_cap),
        cmocka_unit_test(the_best_set_is_kept_and_selection_resumes),
        cmocka_unit_test(refusals_say_what_to_do),
        cmocka_unit_test(damaged_checkpoints_do_not_pile_up),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(a_checkpoint_has_to_fit),
        cmocka_unit_test(a_larger_limit_does),
        cmocka_unit_test(a_limit_refuses_early_or_never),
        cmocka_unit_test(divergence_keeps_the_checkpoint),
        cmocka_unit_test(divergence_keeps_the_set_before_it),
        cmocka_unit_test(divergence_is_seen_by_a_resumed_run),
        cmocka_unit_test(divergence_survives_a_damaged_checkpoint),
        cmocka_unit_test(an_error_leaves_a_checkpoint),
        cmocka_unit_test(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, make_place, clear_place);
}
