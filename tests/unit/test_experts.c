/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert trajectories of the digits: that a stopped call goes on to the same bytes, what a folder refuses, and what
 * reading believes. */
#include "attar/experts.h"
#include "base/fs.h"
#include "base/memory.h"

#include <ftw.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NET "convnet:depth=1,width=4"
enum { EXPERTS = 2, EPOCHS = 3, STEPS = 6 }; /* 1,438 digits in batches of 256 */

typedef struct bench {
    dd_dataset *d;
    dd_backend *b;
    dd_net *net;
    char dir[64];
} bench;

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static void refused(dd_status is, dd_status want, const char *words)
{
    assert_int_equal(is, want);
    if (!strstr(dd_last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", dd_last_error(), words);
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st;
    (void)flag;
    (void)f;
    return remove(path);
}

static int setup(void **state)
{
    bench *k = calloc(1, sizeof *k);
    if (!k) return -1;
    *state = k;
    strcpy(k->dir, "/tmp/attar-experts-XXXXXX");
    if (!mkdtemp(k->dir)) return -1;
    if (dd_dataset_open(&k->d, "digits", NULL) != DD_OK || dd_backend_open(&k->b, "cpu", 1) != DD_OK) return -1;
    return dd_net_open(&k->net, NET, (dd_image){1, 8, 8}, 10) == DD_OK ? 0 : -1;
}

static int teardown(void **state)
{
    bench *k = *state;
    dd_net_close(k->net);
    dd_backend_close(k->b);
    dd_dataset_close(k->d);
    nftw(k->dir, drop, 16, FTW_DEPTH | FTW_PHYS);
    free(k);
    return 0;
}

/* DIR/name; four results may be alive at once. */
static const char *at(const bench *k, const char *name)
{
    static char buf[4][200];
    static int turn;
    char *b = buf[turn++ & 3];
    snprintf(b, sizeof buf[0], "%s/%s", k->dir, name);
    return b;
}

static dd_experts_opts opts(const char *store)
{
    dd_experts_opts o = DD_EXPERTS_OPTS_INIT;
    o.experts = EXPERTS;
    o.expert_epochs = EPOCHS;
    o.lr = 0.1;
    snprintf(o.store, sizeof o.store, "%s", store);
    return o;
}

static dd_status train(const bench *k, const char *name, const dd_experts_opts *o)
{
    return dd_experts_train(o, k->b, k->net, k->d, at(k, name), NULL, NULL);
}

typedef struct stopper {
    int64_t calls, stop, snapshots;
    dd_experts_progress last;
} stopper;

static bool stop_at(void *self, const dd_experts_progress *p)
{
    stopper *s = self;
    s->last = *p;
    s->snapshots += p->step == p->steps;
    return ++s->calls != s->stop;
}

/* --- files --- */

static const char *snapshot(const bench *k, const char *name, int expert, int epoch)
{
    char part[100];
    snprintf(part, sizeof part, "%s/%03d/%03d.safetensors", name, expert, epoch);
    return at(k, part);
}

static size_t size_of(const char *path)
{
    void *p;
    size_t n;
    ok(dd_read_file(path, 1 << 20, &p, &n));
    dd_free(p);
    return n;
}

static void same_file(const char *a, const char *b)
{
    void *p, *q;
    size_t n, m;
    ok(dd_read_file(a, 1 << 20, &p, &n));
    ok(dd_read_file(b, 1 << 20, &q, &m));
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    dd_free(p);
    dd_free(q);
}

static void same_folder(const bench *k, const char *a, const char *b, int experts, int epochs)
{
    char x[100], y[100];
    snprintf(x, sizeof x, "%s/experts.json", a);
    snprintf(y, sizeof y, "%s/experts.json", b);
    same_file(at(k, x), at(k, y));
    for (int e = 0; e < experts; e++) {
        for (int i = 0; i <= epochs; i++) same_file(snapshot(k, a, e, i), snapshot(k, b, e, i));
        assert_false(dd_exists(snapshot(k, a, e, epochs + 1)));
    }
}

static void flip(const char *path, size_t from_end)
{
    void *p;
    size_t n;
    ok(dd_read_file(path, 1 << 20, &p, &n));
    ((unsigned char *)p)[n - from_end] ^= 1;
    ok(dd_write_file(path, p, n));
    dd_free(p);
}

/* --- training --- */

/* Every place where a call can stop, one after the other: each goes on from what the one before left. */
static void stop_everywhere(const bench *k, const dd_experts_opts *o, const char *name, const char *how)
{
    dd_status st = DD_EINTERRUPTED;
    for (int64_t stop = 1; st == DD_EINTERRUPTED; stop += 4) {
        stopper s = {.stop = stop};
        assert_true(stop < 100);
        st = dd_experts_train(o, k->b, k->net, k->d, at(k, name), stop_at, &s);
        if (st == DD_EINTERRUPTED) refused(st, DD_EINTERRUPTED, stop == 1 ? how : "the same command");
    }
    ok(st);
}

static void stopped_and_gone_on_is_not_stopped(void **state)
{
    static const char *const stores[] = {"float32", "bf16", "float32"};
    for (int i = 0; i < 3; i++) {
        const bench *k = *state;
        char whole[16], parts[16];
        dd_experts_opts o = opts(stores[i]);
        if (i == 2) o.momentum = 0.9;
        snprintf(whole, sizeof whole, "whole%d", i);
        snprintf(parts, sizeof parts, "parts%d", i);
        ok(train(k, whole, &o));
        stop_everywhere(k, &o, parts, i ? "begins this expert again" : "goes on after epoch 0");
        same_folder(k, whole, parts, EXPERTS, EPOCHS);
    }
}

static void progress_counts_what_is_left(void **state)
{
    const bench *k = *state;
    const dd_experts_opts o = opts("float32");
    stopper s = {.stop = 2 * (STEPS + 1)}; /* after the second snapshot */
    refused(dd_experts_train(&o, k->b, k->net, k->d, at(k, "x"), stop_at, &s), DD_EINTERRUPTED,
            "goes on after epoch 2");
    assert_int_equal(s.snapshots, 2);
    assert_int_equal(s.last.done, 2);
    assert_int_equal(s.last.total, EXPERTS * EPOCHS);
    assert_true(s.last.loss > 0);
    s = (stopper){0};
    ok(dd_experts_train(&o, k->b, k->net, k->d, at(k, "x"), stop_at, &s));
    assert_int_equal(s.snapshots, EXPERTS * EPOCHS - 2);
    assert_int_equal(s.last.done, s.last.total);
    assert_int_equal(s.last.total, EXPERTS * EPOCHS - 2);
    s = (stopper){0};
    ok(dd_experts_train(&o, k->b, k->net, k->d, at(k, "x"), stop_at, &s));
    assert_int_equal(s.calls, 0);
}

static void a_folder_may_grow(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32"), half = opts("bf16");
    o.experts = 1;
    o.expert_epochs = 1;
    ok(train(k, "grown", &o));
    o = opts("float32");
    ok(train(k, "grown", &o));
    ok(train(k, "at once", &o));
    same_folder(k, "grown", "at once", EXPERTS, EPOCHS);
    half.experts = 1;
    ok(train(k, "half", &half));
    half.experts = 2;
    ok(train(k, "half", &half));
    half.expert_epochs = EPOCHS + 1;
    refused(train(k, "half", &half), DD_EEXIST, "expert_epochs=3, this call asks for 4");
    o.expert_epochs = EPOCHS - 1;
    refused(train(k, "grown", &o), DD_EEXIST, "expert_epochs=3, this call asks for 2");
}

/* A folder whose experts get more epochs is read as it was until all of them have them. */
static void growing_epochs_spoil_nothing(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32");
    dd_experts *e;
    char before[65], after[65];
    ok(train(k, "x", &o));
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    ok(dd_experts_fingerprint(e, EXPERTS, before));
    dd_experts_close(e);
    o.expert_epochs = EPOCHS + 2;
    stopper s = {.stop = 3};
    assert_int_equal(dd_experts_train(&o, k->b, k->net, k->d, at(k, "x"), stop_at, &s), DD_EINTERRUPTED);
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    assert_int_equal(dd_experts_epochs(e), EPOCHS);
    assert_int_equal(dd_experts_count(e), EXPERTS);
    assert_int_equal(dd_experts_unfinished(e), 0);
    ok(dd_experts_fingerprint(e, EXPERTS, after));
    assert_string_equal(before, after);
    refused(dd_experts_fingerprint(e, EXPERTS + 1, after), DD_EINVAL, "finished experts");
    dd_experts_close(e);
    ok(train(k, "x", &o));
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    assert_int_equal(dd_experts_epochs(e), EPOCHS + 2);
    dd_experts_close(e);
}

/* Weights of one expert after some epochs. */
static void weights(const bench *k, const char *name, int64_t epoch, dd_tensor *theta)
{
    dd_experts *e;
    ok(dd_experts_open(&e, at(k, name), k->d, k->net));
    ok(dd_tensor_init(theta, DD_F32, DD_SHAPE(dd_net_size(k->net))));
    ok(dd_experts_read(e, 0, epoch, theta));
    dd_experts_close(e);
}

/* An epoch of fewer steps ends elsewhere than a whole one; one of more is whole. */
static void epochs_may_be_short(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32"), more = o;
    stopper s = {0};
    dd_tensor whole, part, all;
    o.epoch_steps = STEPS - 2;
    more.epoch_steps = STEPS + 1;
    ok(dd_experts_train(&o, k->b, k->net, k->d, at(k, "short"), stop_at, &s));
    assert_int_equal(s.last.steps, STEPS - 2);
    assert_int_equal(s.snapshots, EXPERTS * EPOCHS);
    assert_int_equal(s.calls, EXPERTS * EPOCHS * (STEPS - 1));
    stop_everywhere(k, &o, "parts", "goes on after epoch 0");
    same_folder(k, "short", "parts", EXPERTS, EPOCHS);
    ok(train(k, "more", &more));
    o.epoch_steps = 0;
    refused(train(k, "short", &o), DD_EEXIST, "epoch_steps=4, this call asks for 0");
    ok(train(k, "whole", &o));
    weights(k, "whole", 1, &whole);
    weights(k, "short", 1, &part);
    weights(k, "more", 1, &all);
    assert_memory_equal(whole.data, all.data, dd_tensor_bytes(&whole));
    assert_memory_not_equal(whole.data, part.data, dd_tensor_bytes(&whole));
    o.epoch_steps = -1;
    refused(train(k, "whole", &o), DD_EINVAL, "epoch_steps is -1");
    dd_tensor_fini(&whole);
    dd_tensor_fini(&part);
    dd_tensor_fini(&all);
}

static void other_options_are_refused_by_name(void **state)
{
    bench *k = *state;
    dd_experts_opts o = opts("float32");
    o.expert_epochs = 1;
    ok(train(k, "x", &o));
    const dd_experts_opts first = o;
    o.lr = 0.2;
    refused(train(k, "x", &o), DD_EEXIST, "lr=0.1, this call asks for 0.2");
    o = first;
    o.seed = 7;
    refused(train(k, "x", &o), DD_EEXIST, "seed=0, this call asks for 7");
    o = first;
    strcpy(o.aug, "none");
    refused(train(k, "x", &o), DD_EEXIST, "aug=color_crop_cutout_scale_rotate, this call asks for none");
    o = first;
    strcpy(o.store, "bf16");
    refused(train(k, "x", &o), DD_EEXIST, "store=float32, this call asks for bf16");
    strcpy(o.store, "f16");
    refused(train(k, "x", &o), DD_EINVAL, "not \"f16\"");
    o = first;
    o.experts = 0;
    refused(train(k, "x", &o), DD_EINVAL, "not 0 and 1");
    o = first;
    strcpy(k->d->sha256, "0123456789");
    refused(train(k, "x", &o), DD_EEXIST, "this call asks for 0123456789");
    ok(dd_make_dir(at(k, "taken")));
    ok(dd_write_file(at(k, "taken/notes.txt"), "x", 1));
    refused(train(k, "taken", &o), DD_EEXIST, "is not empty and holds no experts");
}

static void a_loss_that_is_no_number_is_said(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32");
    o.lr = 1e30;
    refused(train(k, "x", &o), DD_ENUMERIC, "lower the learning rate from 1e+30");
}

/* --- reading --- */

static dd_tensor read_theta(const dd_experts *e, const bench *k, int64_t expert, int64_t epoch)
{
    dd_tensor t;
    ok(dd_tensor_init(&t, DD_F32, DD_SHAPE(dd_net_size(k->net))));
    ok(dd_experts_read(e, expert, epoch, &t));
    return t;
}

static void snapshots_differ_and_the_loss_falls(void **state)
{
    const bench *k = *state;
    const dd_experts_opts o = opts("float32");
    dd_experts *e;
    double loss, last = 0, accuracy;
    ok(train(k, "x", &o));
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    assert_int_equal(dd_experts_count(e), EXPERTS);
    assert_int_equal(dd_experts_epochs(e), EPOCHS);
    assert_int_equal(dd_experts_bytes(e), EXPERTS * (EPOCHS + 1) * (int64_t)size_of(snapshot(k, "x", 1, EPOCHS)));
    dd_tensor was = read_theta(e, k, 0, 0), start = read_theta(e, k, 1, 0), first;
    ok(dd_tensor_init(&first, DD_F32, was.shape));
    ok(dd_net_init(k->net, &first, dd_key_at(dd_key_at(dd_key_seed(0), "expert", 0), "theta", 0)));
    assert_memory_equal(first.data, was.data, dd_tensor_bytes(&was));
    assert_memory_not_equal(start.data, was.data, dd_tensor_bytes(&was));
    dd_tensor_fini(&start);
    dd_tensor_fini(&first);
    ok(dd_experts_loss(e, 0, 0, &loss));
    assert_float_equal(loss, -1, 0);
    for (int i = 1; i <= EPOCHS; i++) {
        dd_tensor now = read_theta(e, k, 0, i);
        assert_memory_not_equal(now.data, was.data, dd_tensor_bytes(&was));
        dd_tensor_fini(&was);
        was = now;
        ok(dd_experts_loss(e, 0, i, &loss));
        assert_true(loss > 0 && (i == 1 || loss < last));
        last = loss;
    }
    dd_tensor_fini(&was);
    ok(dd_experts_accuracy(e, k->b, 0, EPOCHS, &accuracy));
    assert_true(accuracy > 0.2 && accuracy <= 1);
    dd_experts_close(e);
}

static void bf16_halves_the_file_and_rounds_to_nearest(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32"), half = opts("bf16");
    dd_experts *e, *h;
    o.expert_epochs = half.expert_epochs = 1;
    ok(train(k, "x", &o));
    ok(train(k, "half", &half));
    const int64_t saved = (int64_t)size_of(snapshot(k, "x", 0, 0)) - (int64_t)size_of(snapshot(k, "half", 0, 0));
    assert_in_range(saved, 2 * dd_net_size(k->net) - 16, 2 * dd_net_size(k->net) + 16); /* headers differ in length */
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    ok(dd_experts_open(&h, at(k, "half"), k->d, k->net));
    dd_tensor a = read_theta(e, k, 1, 1), b = read_theta(h, k, 1, 1);
    for (int64_t i = 0; i < dd_net_size(k->net); i++)
        assert_true(fabsf(dd_f32(&a)[i] - dd_f32(&b)[i]) <= fabsf(dd_f32(&a)[i]) / 256);
    assert_memory_not_equal(a.data, b.data, dd_tensor_bytes(&a));
    dd_tensor_fini(&a);
    dd_tensor_fini(&b);
    dd_experts_close(e);
    dd_experts_close(h);
}

static void damaged_and_misplaced_files_are_refused(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("float32");
    dd_experts *e;
    dd_tensor t;
    void *p;
    size_t n;
    ok(train(k, "x", &o));
    ok(train(k, "whole", &o));
    ok(dd_tensor_init(&t, DD_F32, DD_SHAPE(dd_net_size(k->net))));
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    flip(snapshot(k, "x", 0, 1), 1000); /* in theta */
    refused(dd_experts_read(e, 0, 1, &t), DD_EFORMAT, "x/000/001.safetensors: its contents do not have the SHA-256");
    flip(snapshot(k, "x", 0, 2), 1); /* in the digest */
    refused(dd_experts_read(e, 0, 2, &t), DD_EFORMAT, "damaged");
    ok(dd_read_file(snapshot(k, "x", 1, 1), 1 << 20, &p, &n));
    ok(dd_write_file(snapshot(k, "x", 0, 3), p, n));
    refused(dd_experts_read(e, 0, 3, &t), DD_EFORMAT, "is expert 1 after 1 epochs");
    ok(dd_write_file(snapshot(k, "x", 1, 2), p, n / 2));
    refused(dd_experts_read(e, 1, 2, &t), DD_EFORMAT, "x/001/002.safetensors");
    dd_free(p);
    refused(dd_experts_read(e, 2, 0, &t), DD_EINVAL, "experts 0..1 and snapshots 0..3");
    dd_experts_close(e);
    dd_tensor_fini(&t);
    for (int i = 1; i <= EPOCHS; i++) assert_int_equal(remove(snapshot(k, "x", 0, i)), 0);
    assert_int_equal(remove(snapshot(k, "x", 1, 2)), 0);
    ok(train(k, "x", &o)); /* the way out that the sentence names */
    same_folder(k, "x", "whole", EXPERTS, EPOCHS);
}

static void foreign_experts_are_refused(void **state)
{
    bench *k = *state;
    dd_experts_opts o = opts("float32");
    dd_experts *e;
    dd_net *other;
    dd_tensor t;
    void *p;
    size_t n;
    o.expert_epochs = 1;
    ok(train(k, "x", &o));
    ok(dd_net_open(&other, "convnet:depth=1,width=8", (dd_image){1, 8, 8}, 10));
    refused(dd_experts_open(&e, at(k, "x"), k->d, other), DD_EINVAL, "width=4");
    assert_non_null(strstr(dd_last_error(), "width=8"));
    dd_net_close(other);
    const double mean = k->d->mean[0];
    k->d->mean[0] = 0.25;
    refused(dd_experts_open(&e, at(k, "x"), k->d, k->net), DD_EINVAL, "seen_as");
    k->d->mean[0] = mean;
    o.seed = 1;
    ok(train(k, "y", &o));
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    ok(dd_tensor_init(&t, DD_F32, DD_SHAPE(dd_net_size(k->net))));
    ok(dd_read_file(snapshot(k, "y", 0, 1), 1 << 20, &p, &n));
    ok(dd_write_file(snapshot(k, "x", 0, 1), p, n));
    dd_free(p);
    refused(dd_experts_read(e, 0, 1, &t), DD_EFORMAT, "of other experts");
    dd_tensor_fini(&t);
    dd_experts_close(e);
    strcpy(k->d->sha256, "0123456789");
    refused(dd_experts_open(&e, at(k, "x"), k->d, k->net), DD_EINVAL, "data_sha256");
    refused(dd_experts_open(&e, at(k, "nowhere"), k->d, k->net), DD_ENOTFOUND, "attar experts trains them");
}

static void unfinished_experts_do_not_count(void **state)
{
    const bench *k = *state;
    const dd_experts_opts o = opts("float32");
    dd_experts *e;
    dd_tensor t;
    ok(train(k, "x", &o));
    ok(dd_tensor_init(&t, DD_F32, DD_SHAPE(dd_net_size(k->net))));
    assert_int_equal(remove(snapshot(k, "x", 0, 1)), 0);
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    assert_int_equal(dd_experts_count(e), 1);
    assert_int_equal(dd_experts_unfinished(e), 1);
    ok(dd_experts_read(e, 0, EPOCHS, &t)); /* expert 1 by its file's own word */
    dd_experts_close(e);
    dd_tensor_fini(&t);
    assert_int_equal(remove(snapshot(k, "x", 0, 0)), 0); /* the first is no less missed than another */
    ok(dd_experts_open(&e, at(k, "x"), k->d, k->net));
    assert_int_equal(dd_experts_unfinished(e), 1);
    dd_experts_close(e);
    assert_int_equal(remove(snapshot(k, "x", 1, EPOCHS)), 0);
    refused(dd_experts_open(&e, at(k, "x"), k->d, k->net), DD_ENOTFOUND, "all of its 4 snapshots, at most 3");
    ok(dd_write_file(at(k, "x/experts.json"), "{\"format\": \"attar-experts-9\"}", 29));
    refused(dd_experts_open(&e, at(k, "x"), k->d, k->net), DD_EFORMAT, "attar-experts-9");
    ok(dd_write_file(at(k, "x/experts.json"), "{}", 2));
    refused(dd_experts_open(&e, at(k, "x"), k->d, k->net), DD_EFORMAT, "no text \"format\"");
}

static void memory_may_end_anywhere(void **state)
{
    const bench *k = *state;
    dd_experts_opts o = opts("bf16");
    o.experts = o.expert_epochs = 1;
    dd_status st = DD_ENOMEM;
    long n = 1;
    for (; st == DD_ENOMEM; n++) {
        dd_alloc_fail_after(n);
        st = train(k, "x", &o);
        dd_alloc_fail_after(0);
    }
    ok(st);
    assert_true(n > 10);
    st = DD_ENOMEM;
    for (n = 1; st == DD_ENOMEM; n++) {
        dd_experts *e;
        dd_alloc_fail_after(n);
        st = dd_experts_open(&e, at(k, "x"), k->d, k->net);
        dd_alloc_fail_after(0);
        dd_experts_close(e);
    }
    ok(st);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stopped_and_gone_on_is_not_stopped),
        TEST(progress_counts_what_is_left),
        TEST(a_folder_may_grow),
        TEST(growing_epochs_spoil_nothing),
        TEST(epochs_may_be_short),
        TEST(other_options_are_refused_by_name),
        TEST(a_loss_that_is_no_number_is_said),
        TEST(snapshots_differ_and_the_loss_falls),
        TEST(bf16_halves_the_file_and_rounds_to_nearest),
        TEST(damaged_and_misplaced_files_are_refused),
        TEST(foreign_experts_are_refused),
        TEST(unfinished_experts_do_not_count),
        TEST(memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
