/* SPDX-License-Identifier: Apache-2.0
 *
 * Evaluation and training on the digits: what is reproducible, what is counted, what is refused. That the protocol is
 * the field's is the business of tests/parity/eval.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET "convnet:depth=1,width=16"
enum { M = 40 };

typedef struct bench {
    dd_dataset *d;
    dd_backend *b;
    dd_tensor images, labels, soft;
    dd_protocol p;
} bench;

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static int setup(void **state)
{
    static bench k; /* the fixture */
    int32_t items[M];
    memset(&k, 0, sizeof k);
    *state = &k;
    if (dd_dataset_open(&k.d, "digits", NULL) != DD_OK || dd_backend_open(&k.b, "cpu", 1) != DD_OK) return -1;
    if (dd_protocol_named(&k.p, "dsa", k.d, NULL) != DD_OK) return -1;
    k.p.epochs = 12;
    ok(dd_tensor_init(&k.images, DD_F32, DD_SHAPE(M, 1, 8, 8)));
    ok(dd_tensor_init(&k.labels, DD_I32, DD_SHAPE(M)));
    ok(dd_tensor_init(&k.soft, DD_F32, DD_SHAPE(M, 10)));
    for (int i = 0; i < M; i++) {
        items[i] = k.d->train.class_index[k.d->train.class_first[i / 4] + i % 4];
        dd_i32(&k.labels)[i] = i / 4;
        dd_f32(&k.soft)[i * 10 + i / 4] = 1;
    }
    dd_data_batch(k.d, &k.d->train, items, M, dd_f32(&k.images));
    return 0;
}

static int teardown(void **state)
{
    bench *k = *state;
    dd_tensor_fini(&k->images);
    dd_tensor_fini(&k->labels);
    dd_tensor_fini(&k->soft);
    dd_backend_close(k->b);
    dd_dataset_close(k->d);
    return 0;
}

static dd_status evaluate(dd_eval_result *r, const bench *k, const dd_tensor *labels, int64_t repeats, uint64_t seed,
                          dd_train_fn fn, void *self)
{
    return dd_evaluate(r, k->b, NET, k->d, &k->images, labels, &k->d->test, NULL, 0, &k->p, repeats, dd_key_seed(seed),
                       fn, self);
}

static void the_key_decides_and_soft_labels_of_one_class_are_hard_ones(void **state)
{
    const bench *k = *state;
    dd_eval_result a, b, soft, other;
    ok(evaluate(&a, k, &k->labels, 3, 1, NULL, NULL));
    ok(evaluate(&b, k, &k->labels, 3, 1, NULL, NULL));
    ok(evaluate(&soft, k, &k->soft, 3, 1, NULL, NULL));
    ok(evaluate(&other, k, &k->labels, 3, 2, NULL, NULL));
    double sum = 0;
    bool differs = false;
    for (int i = 0; i < 3; i++) {
        assert_true(a.accuracy[i] > 0.3 && a.accuracy[i] <= 1);
        assert_memory_equal(&a.accuracy[i], &b.accuracy[i], sizeof a.accuracy[i]);
        assert_memory_equal(&a.accuracy[i], &soft.accuracy[i], sizeof a.accuracy[i]);
        differs = differs || a.accuracy[i] < other.accuracy[i] || a.accuracy[i] > other.accuracy[i];
        sum += a.accuracy[i];
    }
    assert_true(differs);
    assert_int_equal(a.repeats, 3);
    assert_float_equal(a.mean, sum / 3, 1e-12);
    assert_true(a.std > 0 && a.std < 0.5 && a.train_loss > 0);
}

/* The last of the epochs counted to each of two networks, and where to stop. */
typedef struct counter {
    int64_t calls, last, of, stop, networks, tests;
} counter;

static bool count(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    counter *c = self;
    (void)loss;
    if (c->networks && accuracy >= 0) { /* a network was tested, after its last epoch */
        assert_int_equal(epoch, ++c->tests * epochs / c->networks);
        return true;
    }
    c->calls++;
    c->last = epoch;
    c->of = epochs;
    return c->calls != c->stop;
}

static void epochs_plus_one_are_trained_and_a_caller_can_stop(void **state)
{
    const bench *k = *state;
    dd_eval_result r;
    counter c = {.networks = 2};
    ok(evaluate(&r, k, &k->labels, 2, 1, count, &c));
    assert_int_equal(c.calls, 2 * 13);
    assert_int_equal(c.tests, 2);
    assert_int_equal(c.last, 2 * 13);
    assert_int_equal(c.of, 2 * 13);
    c = (counter){.stop = 5};
    assert_int_equal(evaluate(&r, k, &k->labels, 2, 1, count, &c), DD_EINTERRUPTED);
    assert_int_equal(c.calls, 5);
    assert_non_null(strstr(dd_last_error(), "epoch 5 of network 1"));
}

static void refusals_give_the_numbers(void **state)
{
    bench k = **(bench **)state;
    dd_eval_result r;
    assert_int_equal(evaluate(&r, &k, &k.labels, 65, 1, NULL, NULL), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "65"));
    k.p.batch = 0;
    assert_int_equal(evaluate(&r, &k, &k.labels, 1, 1, NULL, NULL), DD_EINVAL);
    k = **(bench **)state;
    dd_i32(&k.labels)[3] = 10;
    assert_int_equal(evaluate(&r, &k, &k.labels, 1, 1, NULL, NULL), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "10"));
    dd_i32(&k.labels)[3] = 0;
    k.images.shape.dim[2] = 4;
    assert_int_equal(evaluate(&r, &k, &k.labels, 1, 1, NULL, NULL), DD_EINVAL);
    assert_int_equal(dd_protocol_named(&k.p, "dcc", k.d, NULL), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "did you mean dc"));
}

static void every_protocol_has_its_name(void **state)
{
    const bench *k = *state;
    char names[] = DD_PROTOCOLS, *rest = names;
    dd_protocol p;
    for (char *name = strsep(&rest, "|"); name; name = strsep(&rest, "|")) {
        ok(dd_protocol_named(&p, name, k->d, NULL));
        assert_string_equal(p.name, name);
    }
}

/* Squared error on scaled targets of a centred network, the whole set at once. */
static void rfad_students_learn(void **state)
{
    const bench *k = *state;
    dd_eval_result r;
    dd_protocol p;
    dd_synset set = {.m = M, .classes = 10};
    ok(dd_protocol_named(&p, "rfad", k->d, NULL));
    ok(dd_protocol_fit(&p, &set));
    assert_int_equal(p.batch, M);
    assert_true(p.lr == 0.001 && p.scale == 2); /* four images a class */
    p.epochs = 300;
    ok(dd_evaluate(&r, k->b, "convnet:depth=1,width=64,init=nngp", k->d, &k->images, &k->labels, &k->d->test, NULL, 0,
                   &p, 2, dd_key_seed(1), NULL, NULL));
    if (r.mean < 0.7) fail_msg("%g of the test images are right", r.mean);
}

static void real_training_reports_held_out_accuracy(void **state)
{
    const bench *k = *state;
    dd_train_opts o = DD_TRAIN_OPTS_INIT;
    dd_net *net = NULL;
    dd_tensor theta = {0};
    int32_t *train = NULL, *val = NULL;
    int64_t ntrain, nval;
    double accuracy = -1;
    counter c = {0};
    o.epochs = 3;
    ok(dd_net_open(&net, NET, (dd_image){1, 8, 8}, 10));
    ok(dd_data_holdout(k->d, 0.2, dd_key_seed(3), &train, &ntrain, &val, &nval));
    ok(dd_train(&theta, &accuracy, k->b, net, k->d, train, ntrain, val, nval, &o, dd_key_seed(4), count, &c));
    assert_int_equal(c.calls, 3);
    assert_true(accuracy > 0.8);
    assert_int_equal(dd_shape_count(theta.shape), dd_net_size(net));
    dd_tensor_fini(&theta);
    o.batch = 0;
    assert_int_equal(
        dd_train(&theta, &accuracy, k->b, net, k->d, train, ntrain, val, nval, &o, dd_key_seed(4), NULL, NULL),
        DD_EINVAL);
    free(train);
    free(val);
    dd_net_close(net);
}

static void each_network_has_random_images_of_its_own(void **state)
{
    const bench *k = *state;
    dd_eval_result a, b;
    counter c = {.networks = 4};
    ok(dd_evaluate_random(&a, k->b, NET, k->d, NULL, 0, 1, &k->p, 4, dd_key_seed(1), count, &c));
    assert_int_equal(c.calls, 4 * 13);
    assert_int_equal(c.last, c.of);
    assert_int_equal(a.repeats, 4);
    assert_true(a.std > 0.005); /* images differ, not only weights */
    ok(dd_evaluate_random(&b, k->b, NET, k->d, NULL, 0, 1, &k->p, 4, dd_key_seed(1), NULL, NULL));
    assert_memory_equal(a.accuracy, b.accuracy, sizeof a.accuracy);
    const int32_t few[3] = {0, 1, 2};
    assert_int_equal(dd_evaluate_random(&a, k->b, NET, k->d, few, 3, 1, &k->p, 1, dd_key_seed(1), NULL, NULL),
                     DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "lower ipc"));
    assert_int_equal(dd_evaluate_random(&a, k->b, NET, k->d, NULL, 0, 1, &k->p, 0, dd_key_seed(1), NULL, NULL),
                     DD_EINVAL);
}

typedef struct heard {
    int64_t last, times, most;
    double accuracy;
} heard;

static bool hear(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy)
{
    heard *h = self;
    (void)loss;
    assert_true(epoch >= h->last && epoch <= epochs);
    h->last = epoch;
    h->accuracy = accuracy;
    return ++h->times < h->most;
}

/* By kernel the parts of the test are told, to a hundred, and the evaluation ends when it is told to. */
static void a_test_by_kernel_is_told_and_ends(void **state)
{
    bench *k = *state;
    dd_protocol p;
    dd_eval_result r;
    heard h = {.most = 100}, few = {.most = 2};
    ok(dd_protocol_named(&p, "krr", k->d, NULL));
    snprintf(p.kernel, sizeof p.kernel, "conv:depth=1");
    ok(dd_evaluate(&r, k->b, NET, k->d, &k->images, &k->labels, &k->d->test, NULL, 0, &p, 3, dd_key_seed(1), hear, &h));
    assert_true(r.repeats == 3 && r.accuracy[2] > 0.5 && r.accuracy[2] == r.accuracy[0]);
    assert_int_equal(h.last, dd_protocol_span(&p));
    assert_true(h.times >= 3 && h.accuracy == r.accuracy[0]);
    assert_int_equal(dd_evaluate(&r, k->b, NET, k->d, &k->images, &k->labels, &k->d->test, NULL, 0, &p, 3,
                                 dd_key_seed(1), hear, &few),
                     DD_EINTERRUPTED);
    assert_int_equal(few.times, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_test_by_kernel_is_told_and_ends),
                                       cmocka_unit_test(the_key_decides_and_soft_labels_of_one_class_are_hard_ones),
                                       cmocka_unit_test(epochs_plus_one_are_trained_and_a_caller_can_stop),
                                       cmocka_unit_test(refusals_give_the_numbers),
                                       cmocka_unit_test(every_protocol_has_its_name),
                                       cmocka_unit_test(rfad_students_learn),
                                       cmocka_unit_test(real_training_reports_held_out_accuracy),
                                       cmocka_unit_test(each_network_has_random_images_of_its_own)};
    return cmocka_run_group_tests_name("eval", tests, setup, teardown);
}
