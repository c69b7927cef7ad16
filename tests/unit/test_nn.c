/* SPDX-License-Identifier: Apache-2.0
 *
 * Networks and the trainer: sizes against the literature, derivatives against central differences in double on the
 * reference backend, training against its purpose. */
#include "nn/train_step.h"
#include "nn_tools.h"

/* --- sizes and specifications --- */

static void check_size(const char *spec, dd_image im, int64_t classes, int64_t size, int64_t features)
{
    dd_net *n = open_net(spec, im, classes);
    assert_int_equal(dd_net_size(n), size);
    assert_int_equal(dd_net_features(n), features);
    int64_t sum = 0;
    for (int i = 0; i < dd_net_params(n); i++) {
        assert_int_equal(dd_net_param(n, i)->offset, sum);
        sum += dd_shape_count(dd_net_param(n, i)->shape);
    }
    assert_int_equal(sum, size);
    dd_net_close(n);
}

static void sizes_match_the_literature(void **state)
{
    (void)state;
    check_size("convnet", (dd_image){1, 28, 28}, 10, 317706, 2048);
    check_size("ConvNet", (dd_image){3, 32, 32}, 10, 320010, 2048);
    check_size("ConvNetD3", (dd_image){3, 32, 32}, 100, 504420, 2048);
    check_size("ConvNetD4", (dd_image){3, 64, 64}, 200, 857160, 2048);
    check_size("MLP", (dd_image){1, 28, 28}, 10, 784 * 128 + 128 + 128 * 128 + 128 + 1290, 128);
    check_size("LeNet", (dd_image){1, 28, 28}, 10, 61706, 84);
    check_size("LeNet", (dd_image){3, 32, 32}, 10, 62006, 84);
    check_size("convnet:depth=2,width=8,norm=none", (dd_image){1, 8, 8}, 10, 80 + 584 + 330, 32);
    check_size("convnet:depth=1,width=8,norm=none,pool=none", (dd_image){1, 8, 8}, 10, 80 + 5130, 512);
}

static void specifications(void **state)
{
    (void)state;
    dd_net *n = open_net("ConvNetBN:depth=2", (dd_image){3, 8, 8}, 4);
    assert_string_equal(dd_net_spec(n), "convnet:depth=2,width=128,norm=batch,act=relu,pool=avg");
    assert_int_equal(dd_net_stats(n), 512);
    dd_net *again = open_net(dd_net_spec(n), (dd_image){3, 8, 8}, 4);
    assert_string_equal(dd_net_spec(n), dd_net_spec(again));
    assert_string_equal(dd_net_param(n, 0)->name, "conv1.w");
    assert_string_equal(dd_net_param(n, 9)->name, "linear.b");
    dd_net_close(n);
    dd_net_close(again);
    assert_int_equal(dd_net_open(&n, "convnt", (dd_image){1, 8, 8}, 4), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "convnet"));
    assert_int_equal(dd_net_open(&n, "convnet:dept=2", (dd_image){1, 8, 8}, 4), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "depth"));
    assert_int_equal(dd_net_open(&n, "convnet:depth", (dd_image){1, 8, 8}, 4), DD_EINVAL);
    assert_int_equal(dd_net_open(&n, "convnet:depth=9", (dd_image){1, 8, 8}, 4), DD_EINVAL);
    assert_int_equal(dd_net_open(&n, "convnet:depth=4", (dd_image){1, 8, 8}, 4), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "8x8"));
    assert_int_equal(dd_net_open(&n, "lenet", (dd_image){1, 8, 8}, 4), DD_EINVAL);
    assert_int_equal(dd_net_open(&n, "convnet:norm=group,width=6", (dd_image){1, 8, 8}, 4), DD_EINVAL);
    assert_null(n);
}

static void initial_values(void **state)
{
    (void)state;
    dd_net *n = open_net("convnet:depth=1,width=4", (dd_image){3, 4, 4}, 3);
    dd_tensor a = tensor(DD_F32, DD_SHAPE(dd_net_size(n))), b = tensor(DD_F64, DD_SHAPE(dd_net_size(n)));
    OK(dd_net_init(n, &a, dd_key_seed(1)));
    OK(dd_net_init(n, &b, dd_key_seed(1)));
    const double bound = 1 / sqrt(27.0);
    for (int64_t i = 0; i < dd_net_size(n); i++) assert_true((double)dd_f32(&a)[i] == dd_f64(&b)[i]);
    for (int64_t i = 0; i < 108 + 4; i++) assert_true(fabs(dd_f64(&b)[i]) <= bound * 1.000001);
    for (int64_t i = 0; i < 8; i++) assert_true(dd_f64(&b)[112 + i] == (i < 4 ? 1.0 : 0.0));
    dd_tensor wrong = tensor(DD_F32, DD_SHAPE(3));
    assert_int_equal(dd_net_init(n, &wrong, dd_key_seed(1)), DD_EINVAL);
    dd_tensor_fini(&a);
    dd_tensor_fini(&b);
    dd_tensor_fini(&wrong);
    dd_net_close(n);
}

/* --- derivatives --- */

enum { N = 4, CLASSES = 3 };

/* loss of a net as a function of theta and x, its gradients, and on request the second and third directional ones */
typedef struct probe {
    dd_program *p;
    dd_tensor theta, x, y, loss, gt, gx, u, v, s, gs;
    bool third;
} probe;

/* s = <grad <grad loss, u>, v> and grad s, all with respect to theta */
static void third_order(dd_graph *g, dd_val loss, dd_val theta, dd_shape ps)
{
    const dd_val u = dd_input(g, "u", DD_F64, ps), v = dd_input(g, "v", DD_F64, ps);
    dd_val g1, g2, g3;
    dd_grad(g, loss, 1, &theta, &g1);
    dd_grad(g, dd_dot(g, g1, u), 1, &theta, &g2);
    const dd_val s = dd_dot(g, g2, v);
    dd_grad(g, s, 1, &theta, &g3);
    dd_output(g, "s", s);
    dd_output(g, "gs", g3);
}

static void probe_bind(probe *q)
{
    const struct {
        const char *name;
        dd_tensor *t;
        bool third;
    } rows[] = {{"theta", &q->theta, false}, {"x", &q->x, false},   {"y", &q->y, false}, {"loss", &q->loss, false},
                {"gt", &q->gt, false},       {"gx", &q->gx, false}, {"u", &q->u, true},  {"v", &q->v, true},
                {"s", &q->s, true},          {"gs", &q->gs, true}};
    for (size_t i = 0; i < DD_LEN(rows); i++)
        if (!rows[i].third || q->third) OK(dd_bind(q->p, rows[i].name, rows[i].t));
}

static probe probe_new(dd_backend *b, const dd_net *n, dd_image im, bool third)
{
    const dd_shape xs = DD_SHAPE(N, im.c, im.h, im.w), ps = DD_SHAPE(dd_net_size(n));
    probe q = {.third = third};
    dd_graph *g = dd_graph_new();
    const dd_val wrt[2] = {dd_input(g, "theta", DD_F64, ps), dd_input(g, "x", DD_F64, xs)};
    const dd_val y = dd_input(g, "y", DD_F64, DD_SHAPE(N, CLASSES));
    const dd_net_out o = dd_net_apply(g, n, wrt[0], wrt[1], (dd_val){0});
    assert_true(dd_shape_equal(dd_shape_of(g, o.logits), DD_SHAPE(N, CLASSES)));
    assert_true(dd_shape_equal(dd_shape_of(g, o.features), DD_SHAPE(N, dd_net_features(n))));
    assert_int_equal(o.stats.id != 0, dd_net_stats(n) != 0);
    assert_true(o.nmaps >= 1 && o.nmaps == dd_net_maps(n));
    for (int i = 0; i < o.nmaps; i++)
        assert_int_equal(dd_shape_count(dd_shape_of(g, o.maps[i])), N * dd_net_map_size(n, i));
    const dd_val loss = dd_xent(g, o.logits, y);
    dd_val grads[2];
    dd_grad(g, loss, 2, wrt, grads);
    dd_output(g, "loss", loss);
    dd_output(g, "gt", grads[0]);
    dd_output(g, "gx", grads[1]);
    if (third) third_order(g, loss, wrt[0], ps);
    q.p = compile(g, b);
    q.theta = tensor(DD_F64, ps);
    OK(dd_net_init(n, &q.theta, dd_key_seed(3)));
    q.x = noise(DD_F64, xs, 4);
    q.y = one_hot(DD_F64, N, CLASSES);
    q.loss = tensor(DD_F64, DD_SCALAR);
    q.gt = tensor(DD_F64, ps);
    q.gx = tensor(DD_F64, xs);
    q.u = noise(DD_F64, ps, 5);
    q.v = noise(DD_F64, ps, 6);
    q.s = tensor(DD_F64, DD_SCALAR);
    q.gs = tensor(DD_F64, ps);
    return q;
}

static void probe_free(probe *q)
{
    dd_tensor *all[] = {&q->theta, &q->x, &q->y, &q->loss, &q->gt, &q->gx, &q->u, &q->v, &q->s, &q->gs};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_program_free(q->p);
}

static double shifted(probe *q, dd_tensor *at, const dd_tensor *d, double h, const dd_tensor *value)
{
    for (int64_t i = 0; i < dd_shape_count(d->shape); i++) dd_f64(at)[i] += h * dd_f64(d)[i];
    OK(dd_exec(q->p));
    for (int64_t i = 0; i < dd_shape_count(d->shape); i++) dd_f64(at)[i] -= h * dd_f64(d)[i];
    return *dd_f64(value);
}

/* <grad, d> against the central difference along d. With h = 1e-5 the difference has an error of about 1e-10 from
 * the third derivative and 1e-11 from rounding; 1e-6 leaves room for long directions. */
static void check_slope(probe *q, dd_tensor *at, const dd_tensor *grad, const dd_tensor *value, const char *what)
{
    const double h = 1e-5;
    for (uint64_t k = 0; k < 2; k++) {
        dd_tensor d = noise(DD_F64, at->shape, 100 + k);
        const double difference = (shifted(q, at, &d, h, value) - shifted(q, at, &d, -h, value)) / (2 * h);
        double slope = 0, size = 0;
        OK(dd_exec(q->p));
        for (int64_t i = 0; i < dd_shape_count(d.shape); i++) {
            slope += dd_f64(grad)[i] * dd_f64(&d)[i];
            size += fabs(dd_f64(grad)[i] * dd_f64(&d)[i]);
        }
        if (!(fabs(slope - difference) <= 1e-6 * (1e-3 + size)))
            fail_msg("%s: slope %.12g, difference %.12g", what, slope, difference);
        dd_tensor_fini(&d);
    }
}

static void check_net(dd_backend *b, const char *spec, dd_image im)
{
    dd_net *n = open_net(spec, im, CLASSES);
    probe q = probe_new(b, n, im, false);
    probe_bind(&q);
    check_slope(&q, &q.theta, &q.gt, &q.loss, spec);
    check_slope(&q, &q.x, &q.gx, &q.loss, spec);
    probe_free(&q);
    dd_net_close(n);
}

static void gradient_of_every_network(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    for (int i = 0; i < dd_net_kind_count(); i++) {
        char spec[128];
        const bool narrow = !strcmp(dd_net_kind_name(i), "lenet");
        snprintf(spec, sizeof spec, "%s%s", dd_net_kind_name(i), narrow ? "" : ":depth=2,width=4");
        assert_non_null(dd_net_kind_title(i));
        check_net(b, spec, narrow ? (dd_image){1, 12, 12} : (dd_image){2, 4, 4});
    }
    assert_null(dd_net_kind_name(dd_net_kind_count()));
    assert_null(dd_net_kind_options(-1));
    dd_backend_close(b);
}

/* Every choice in every network's table is in this test by that fact alone. */
static void check_choices(dd_backend *b, const char *kind, const dd_option *o)
{
    char choices[256], spec[256], *save = NULL;
    const bool conv = !strcmp(kind, "convnet"), lenet = !strcmp(kind, "lenet");
    snprintf(choices, sizeof choices, "%s", o->choices);
    for (char *c = strtok_r(choices, "|", &save); c; c = strtok_r(NULL, "|", &save)) {
        snprintf(spec, sizeof spec, "%s:%s%s=%s", kind, lenet ? "" : "depth=1,width=4,", o->name, c);
        check_net(b, spec, conv ? (dd_image){2, 4, 4} : lenet ? (dd_image){1, 12, 12} : (dd_image){1, 3, 3});
    }
}

static void gradient_of_every_choice(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    for (int i = 0; i < dd_net_kind_count(); i++)
        for (const dd_option *o = dd_net_kind_options(i); o->name; o++)
            if (o->type == DD_OPT_CHOICE) check_choices(b, dd_net_kind_name(i), o);
    dd_backend_close(b);
}

static void third_derivative_of_a_block(void **state)
{
    (void)state;
    static const char *const specs[] = {"convnet:depth=1,width=2,norm=instance,act=swish,pool=avg",
                                        "convnet:depth=1,width=2,norm=none,act=relu,pool=avg",
                                        "convnet:depth=1,width=2,norm=instance,act=relu,pool=max"};
    const dd_image im = {1, 4, 4};
    dd_backend *b = open_ref();
    for (size_t i = 0; i < DD_LEN(specs); i++) {
        dd_net *n = open_net(specs[i], im, CLASSES);
        probe q = probe_new(b, n, im, true);
        probe_bind(&q);
        check_slope(&q, &q.theta, &q.gs, &q.s, specs[i]);
        probe_free(&q);
        dd_net_close(n);
    }
    dd_backend_close(b);
}

/* --- trainer --- */

enum { TOYS = 24, SIDE = 8 };

/* Three classes of 8x8 images: a bright row, column or diagonal at a varying place, in noise. */
static dd_tensor toys(void)
{
    dd_tensor x = noise(DD_F32, DD_SHAPE(TOYS, 1, SIDE, SIDE), 11);
    for (int n = 0; n < TOYS; n++) {
        float *img = dd_f32(&x) + n * SIDE * SIDE;
        for (int i = 0; i < SIDE * SIDE; i++) img[i] *= 0.2f;
        for (int i = 0; i < SIDE; i++) {
            const int at = 1 + n / 3 % 6;
            const int y = n % 3 == 0 ? at : i, z = n % 3 == 1 ? at : i;
            img[y * SIDE + z] += 2.0f;
        }
    }
    return x;
}

static int toys_right(dd_trainer *t, const dd_tensor *x)
{
    float z[TOYS * CLASSES];
    int right = 0;
    OK(dd_trainer_logits(t, dd_f32(x), TOYS, z));
    for (int n = 0; n < TOYS; n++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (z[n * CLASSES + c] > z[n * CLASSES + best]) best = c;
        right += best == n % CLASSES;
    }
    return right;
}

static void learn(dd_backend *b, const char *spec, const dd_trainer_opts *o, double lr)
{
    dd_net *n = open_net(spec, (dd_image){1, SIDE, SIDE}, CLASSES);
    dd_trainer *t = NULL;
    dd_tensor x = toys(), y = one_hot(DD_F32, TOYS, CLASSES);
    double first = 0, loss = 0;
    OK(dd_trainer_new(&t, b, n, o));
    OK(dd_trainer_reset(t, dd_key_seed(1)));
    for (uint64_t s = 0; s < 60; s++) {
        OK(dd_trainer_step(t, dd_f32(&x), dd_f32(&y), TOYS, lr, dd_key_at(dd_key_seed(2), "step", s), &loss));
        if (!s) first = loss;
    }
    if (!(loss < 0.5 * first)) fail_msg("%s: the loss went from %g to %g", spec, first, loss);
    assert_true(toys_right(t, &x) >= TOYS - 2);
    dd_trainer_free(t);
    dd_net_close(n);
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
}

static void training_learns(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_trainer_opts sgd = {.momentum = 0.9, .weight_decay = 5e-4}, adam = {.adam = true};
    learn(b, "convnet:depth=2,width=8", &sgd, 0.05);
    learn(b, "convnet:depth=2,width=8,norm=batch", &sgd, 0.05);
    learn(b, "mlp:width=16", &adam, 0.01);
    OK(dd_aug_parse(&sgd.aug, "crop"));
    learn(b, "convnet:depth=2,width=8", &sgd, 0.05);
    sgd.aug_all = true;
    learn(b, "convnet:depth=2,width=8", &sgd, 0.05);
    dd_backend_close(b);
}

/* A centred network answers nothing at first, then what training has added. */
static void centred_networks_begin_at_nothing(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_net *n = open_net("convnet:depth=1,width=8,norm=none", (dd_image){1, SIDE, SIDE}, CLASSES);
    dd_trainer *t = NULL, *plain = NULL;
    dd_trainer_opts o = {.momentum = 0.9, .squared = true, .centred = true};
    dd_tensor x = toys(), y = one_hot(DD_F32, TOYS, CLASSES);
    float z[TOYS * CLASSES], first[TOYS * CLASSES], later[TOYS * CLASSES];
    double loss = 0;
    OK(dd_trainer_new(&t, b, n, &o));
    o.centred = false;
    OK(dd_trainer_new(&plain, b, n, &o));
    OK(dd_trainer_reset(t, dd_key_seed(1)));
    OK(dd_trainer_reset(plain, dd_key_seed(1)));
    OK(dd_trainer_logits(t, dd_f32(&x), TOYS, z));
    OK(dd_trainer_logits(plain, dd_f32(&x), TOYS, first));
    for (int i = 0; i < TOYS * CLASSES; i++) assert_true(z[i] == 0);
    for (uint64_t s = 0; s < 20; s++)
        OK(dd_trainer_step(t, dd_f32(&x), dd_f32(&y), TOYS, 0.05, dd_key_seed(2), s ? NULL : &loss));
    assert_true(fabs(loss - 0.5) < 1e-6); /* of one-hot targets and no answer */
    OK(dd_tensor_copy(dd_trainer_theta(plain), dd_trainer_theta(t)));
    OK(dd_trainer_logits(t, dd_f32(&x), TOYS, z));
    OK(dd_trainer_logits(plain, dd_f32(&x), TOYS, later));
    for (int i = 0; i < TOYS * CLASSES; i++) assert_true(fabsf(z[i] - (later[i] - first[i])) < 1e-5f);
    dd_trainer_free(t);
    dd_trainer_free(plain);
    dd_net_close(n);
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
    dd_backend_close(b);
}

/* Steps from one key are the same whatever was trained before, and the batch's size may change between steps. */
static void training_is_a_function_of_its_key(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_net *n = open_net("convnet:depth=1,width=4,norm=batch", (dd_image){1, SIDE, SIDE}, CLASSES);
    dd_trainer *t = NULL;
    dd_trainer_opts o = {.momentum = 0.9};
    dd_tensor x = toys(), y = one_hot(DD_F32, TOYS, CLASSES), kept = tensor(DD_F32, DD_SHAPE(dd_net_size(n)));
    OK(dd_aug_parse(&o.aug, ALL_DSA));
    OK(dd_trainer_new(&t, b, n, &o));
    for (int round = 0; round < 2; round++) {
        OK(dd_trainer_reset(t, dd_key_seed(1)));
        for (uint64_t s = 0; s < 4; s++)
            OK(dd_trainer_step(t, dd_f32(&x), dd_f32(&y), s % 2 ? 5 : 7, 0.05, dd_key_at(dd_key_seed(2), "step", s),
                               NULL));
        if (!round) OK(dd_tensor_copy(&kept, dd_trainer_theta(t)));
    }
    assert_memory_equal(kept.data, dd_trainer_theta(t)->data, dd_tensor_bytes(&kept));
    assert_int_equal(dd_trainer_step(t, dd_f32(&x), dd_f32(&y), 0, 0.05, dd_key_seed(1), NULL), DD_EINVAL);
    dd_trainer_free(t);
    dd_net_close(n);
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
    dd_tensor_fini(&kept);
    dd_backend_close(b);
}

static void host_sgd_follows_its_formula(void **state)
{
    (void)state;
    float x[2] = {1, -2}, v[2] = {0, 0};
    const float g[2] = {0.5f, 0.25f};
    dd_sgd_update(x, v, g, 2, 0.1, 0.9, 0.01);
    assert_true(fabsf(v[0] - 0.51f) < 1e-6f && fabsf(v[1] - 0.23f) < 1e-6f);
    assert_true(fabsf(x[0] - 0.949f) < 1e-6f && fabsf(x[1] + 2.023f) < 1e-6f);
    dd_sgd_update(x, v, g, 2, 0.1, 0.9, 0);
    assert_true(fabsf(v[0] - 0.959f) < 1e-6f && fabsf(x[0] - 0.8531f) < 1e-6f);
}

/* --- batch norm --- */

/* Frozen statistics equal to the batch's own (with the variance made biased again) give the training mode's logits. */
static void frozen_statistics_agree_with_the_batch(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    const dd_image im = {2, 4, 4};
    dd_net *n = open_net("convnet:depth=1,width=3,norm=batch", im, CLASSES);
    const int64_t s = dd_net_stats(n);
    assert_int_equal(s, 6);
    dd_graph *g = dd_graph_new();
    const dd_val theta = dd_input(g, "theta", DD_F64, DD_SHAPE(dd_net_size(n)));
    const dd_val x = dd_input(g, "x", DD_F64, DD_SHAPE(N, im.c, im.h, im.w)),
                 st = dd_input(g, "st", DD_F64, DD_SHAPE(s));
    const dd_net_out live = dd_net_apply(g, n, theta, x, (dd_val){0}), frozen = dd_net_apply(g, n, theta, x, st);
    assert_int_equal(frozen.stats.id, 0);
    dd_output(g, "live", live.logits);
    dd_output(g, "frozen", frozen.logits);
    dd_output(g, "stats", live.stats);
    dd_program *p = compile(g, b);
    dd_tensor t = tensor(DD_F64, DD_SHAPE(dd_net_size(n))), tx = noise(DD_F64, DD_SHAPE(N, im.c, im.h, im.w), 12);
    dd_tensor in = tensor(DD_F64, DD_SHAPE(s)), out = tensor(DD_F64, DD_SHAPE(s));
    dd_tensor a = tensor(DD_F64, DD_SHAPE(N, CLASSES)), c = tensor(DD_F64, DD_SHAPE(N, CLASSES));
    OK(dd_net_init(n, &t, dd_key_seed(1)));
    const struct {
        const char *name;
        dd_tensor *t;
    } rows[] = {{"theta", &t}, {"x", &tx}, {"st", &in}, {"live", &a}, {"frozen", &c}, {"stats", &out}};
    for (size_t i = 0; i < DD_LEN(rows); i++) OK(dd_bind(p, rows[i].name, rows[i].t));
    OK(dd_exec(p));
    const double count = (double)(N * im.h * im.w);
    for (int64_t i = 0; i < s; i++) dd_f64(&in)[i] = dd_f64(&out)[i] * (i < s / 2 ? 1 : (count - 1) / count);
    OK(dd_exec(p));
    for (int64_t i = 0; i < N * CLASSES; i++) assert_true(fabs(dd_f64(&a)[i] - dd_f64(&c)[i]) < 1e-10);
    dd_tensor *all[] = {&t, &tx, &in, &out, &a, &c};
    for (size_t i = 0; i < DD_LEN(all); i++) dd_tensor_fini(all[i]);
    dd_program_free(p);
    dd_net_close(n);
    dd_backend_close(b);
}

/* With frozen statistics an image's logits and features do not depend on its company. */
static void testing_does_not_mix_images(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_net *n = open_net("convnet:depth=2,width=4,norm=batch", (dd_image){1, SIDE, SIDE}, CLASSES);
    dd_trainer *t = NULL;
    const dd_trainer_opts o = {.momentum = 0.9};
    dd_tensor x = toys(), y = one_hot(DD_F32, TOYS, CLASSES);
    float many[TOYS * CLASSES], one[CLASSES], f_many[TOYS * 16], f_one[16];
    assert_int_equal(dd_net_features(n), 16);
    OK(dd_trainer_new(&t, b, n, &o));
    OK(dd_trainer_reset(t, dd_key_seed(1)));
    for (uint64_t s = 0; s < 3; s++) OK(dd_trainer_step(t, dd_f32(&x), dd_f32(&y), TOYS, 0.05, dd_key_seed(s), NULL));
    OK(dd_trainer_logits(t, dd_f32(&x), TOYS, many));
    OK(dd_trainer_features(t, dd_f32(&x), TOYS, f_many));
    for (int i = 0; i < TOYS; i += 7) {
        OK(dd_trainer_logits(t, dd_f32(&x) + i * SIDE * SIDE, 1, one));
        OK(dd_trainer_features(t, dd_f32(&x) + i * SIDE * SIDE, 1, f_one));
        for (int c = 0; c < CLASSES; c++) assert_true(fabsf(one[c] - many[i * CLASSES + c]) < 1e-5f);
        for (int c = 0; c < 16; c++) assert_true(fabsf(f_one[c] - f_many[i * 16 + c]) < 1e-5f);
    }
    dd_trainer_free(t);
    dd_net_close(n);
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
    dd_backend_close(b);
}

/* --- no memory --- */

static dd_status open_and_step(dd_backend *b, const float *x, const float *y)
{
    const dd_trainer_opts o = {.adam = true, .aug = {DD_AUG_FLIP}};
    dd_net *n = NULL;
    dd_trainer *t = NULL;
    float z[2 * CLASSES];
    dd_status st = dd_net_open(&n, "convnet:depth=1,width=2,norm=batch", (dd_image){1, SIDE, SIDE}, CLASSES);
    if (st == DD_OK) st = dd_trainer_new(&t, b, n, &o);
    if (st == DD_OK) st = dd_trainer_reset(t, dd_key_seed(1));
    if (st == DD_OK) st = dd_trainer_step(t, x, y, 2, 0.1, dd_key_seed(2), NULL);
    if (st == DD_OK) st = dd_trainer_logits(t, x, 2, z);
    dd_trainer_free(t);
    dd_net_close(n);
    return st;
}

/* LeCun's weights: variance 1/fan_in, none beyond two standard deviations of the uncut normal; biases 0. */
static void lecun_has_its_variance(void **state)
{
    const double kept = 0.87962566103423978;
    dd_net *n = NULL;
    (void)state;
    OK(dd_net_open(&n, "widening:depth=2,width=32,init=lecun", (dd_image){3, 8, 8}, 10));
    dd_tensor theta = tensor(DD_F32, DD_SHAPE(dd_net_size(n)));
    OK(dd_net_init(n, &theta, dd_key_seed(4)));
    for (int i = 0; i < dd_net_params(n); i++) {
        const dd_param_info *p = dd_net_param(n, i);
        const int64_t count = dd_shape_count(p->shape), fan_in = p->shape.rank > 1 ? count / p->shape.dim[0] : 0;
        const float *x = dd_f32(&theta) + p->offset;
        double squares = 0, most = 0;
        for (int64_t k = 0; k < count; k++) {
            squares += (double)x[k] * (double)x[k];
            most = fmax(most, fabs((double)x[k]));
        }
        if (fan_in) {
            assert_true(fabs(squares / (double)count * (double)fan_in - 1) < 0.15);
            assert_true(most * sqrt((double)fan_in) <= 2 / kept + 1e-6);
        } else {
            assert_true(squares < 1e-30);
        }
    }
    dd_tensor_fini(&theta);
    dd_net_close(n);
}

/* As kernels of infinite width have them: weights of variance 2/fan_in, biases of 0.01. */
static void nngp_has_its_variance(void **state)
{
    dd_net *n = NULL;
    (void)state;
    OK(dd_net_open(&n, "convnet:depth=2,width=256,norm=none,init=nngp", (dd_image){3, 8, 8}, 200));
    dd_tensor theta = tensor(DD_F32, DD_SHAPE(dd_net_size(n)));
    OK(dd_net_init(n, &theta, dd_key_seed(4)));
    for (int i = 0; i < dd_net_params(n); i++) {
        const dd_param_info *p = dd_net_param(n, i);
        const int64_t count = dd_shape_count(p->shape);
        const double want = p->shape.rank > 1 ? 2 / (double)(count / p->shape.dim[0]) : 0.01;
        const float *x = dd_f32(&theta) + p->offset;
        double squares = 0, sum = 0;
        for (int64_t k = 0; k < count; k++) {
            squares += (double)x[k] * (double)x[k];
            sum += (double)x[k];
        }
        assert_true(fabs(squares / (double)count / want - 1) < 5 / sqrt((double)count));
        assert_true(fabs(sum / (double)count) < 4 * sqrt(want / (double)count));
    }
    dd_tensor_fini(&theta);
    dd_net_close(n);
}

/* The second moment is of the gradient's distance from the first: where that is steady, steps grow. */
static void adabelief_follows_its_formula(void **state)
{
    float x[] = {1, 2}, m[2] = {0}, v[2] = {0};
    double y[] = {1, 2}, first[2] = {0}, second[2] = {0};
    (void)state;
    for (int64_t t = 1; t <= 3; t++) {
        const float g[] = {0.5f, (float)t};
        dd_adabelief_update(x, m, v, g, 2, 0.01, 0.9, 0.999, t);
        for (int i = 0; i < 2; i++) {
            first[i] += 0.1 * ((double)g[i] - first[i]);
            const double off = (double)g[i] - first[i];
            second[i] = 0.999 * second[i] + 0.001 * off * off + 1e-16;
            y[i] -=
                0.01 * first[i] / (1 - pow(0.9, (double)t)) / (sqrt(second[i] / (1 - pow(0.999, (double)t))) + 1e-16);
            assert_true(fabs((double)x[i] - y[i]) < 1e-6);
        }
    }
}

/* A step moves all of x by lr times its norm, along Adam's direction. */
static void lamb_moves_by_its_norm(void **state)
{
    float x[] = {3, -4, 0}, m[3] = {0}, v[3] = {0};
    const float g[] = {2, -0.5f, 1e-3f};
    (void)state;
    dd_lamb_update(x, m, v, g, 3, 0.1, 0.9, 0.999, 1);
    /* in the first step the direction is g/(|g| + 1e-6), nearly (1, -1, 1) */
    const double u[] = {2 / (2 + 1e-6), -0.5 / (0.5 + 1e-6), 1e-3 / (1e-3 + 1e-6)};
    const double along = 0.1 * 5 / sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
    const double want[] = {3 - along * u[0], -4 - along * u[1], -along * u[2]};
    for (int i = 0; i < 3; i++) assert_true(fabs((double)x[i] - want[i]) < 1e-5);
}

/* Three steps, in which moments and their corrections matter; what is 0 has no norm and moves by lr times the
 * direction. */
static void lamb_follows_its_formula(void **state)
{
    (void)state;
    for (int zero = 0; zero < 2; zero++) {
        float x[] = {zero ? 0.0f : 3.0f, zero ? 0.0f : -4.0f}, m[2] = {0}, v[2] = {0};
        double y[] = {(double)x[0], (double)x[1]}, first[2] = {0}, second[2] = {0};
        for (int64_t t = 1; t <= 3; t++) {
            const float g[] = {0.5f, (float)(t * t)};
            double u[2], squares = 0;
            dd_lamb_update(x, m, v, g, 2, 0.01, 0.9, 0.999, t);
            for (int i = 0; i < 2; i++) {
                first[i] = 0.9 * first[i] + 0.1 * (double)g[i];
                second[i] = 0.999 * second[i] + 0.001 * (double)g[i] * (double)g[i];
                u[i] = first[i] / (1 - pow(0.9, (double)t)) / (sqrt(second[i] / (1 - pow(0.999, (double)t))) + 1e-6);
                squares += u[i] * u[i];
            }
            const double size = sqrt(y[0] * y[0] + y[1] * y[1]), along = size > 0 ? 0.01 * size / sqrt(squares) : 0.01;
            for (int i = 0; i < 2; i++) y[i] -= along * u[i];
            for (int i = 0; i < 2; i++) assert_true(fabs((double)x[i] - y[i]) < 2e-6);
        }
    }
}

/* Whichever allocation fails, the failure is reported and nothing leaks (the sanitizer build sees to that). */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_tensor x = toys(), y = one_hot(DD_F32, TOYS, CLASSES);
    dd_status st = DD_ENOMEM;
    long k = 0;
    while (st != DD_OK && k < 5000) {
        dd_alloc_fail_after(++k);
        st = open_and_step(b, dd_f32(&x), dd_f32(&y));
        dd_alloc_fail_after(0);
        if (st != DD_OK && st != DD_ENOMEM) fail_msg("allocation %ld: %s", k, dd_last_error());
    }
    assert_int_equal(st, DD_OK);
    assert_true(k > 20);
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
    dd_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_match_the_literature),
        cmocka_unit_test(specifications),
        cmocka_unit_test(initial_values),
        cmocka_unit_test(gradient_of_every_network),
        cmocka_unit_test(gradient_of_every_choice),
        cmocka_unit_test(third_derivative_of_a_block),
        cmocka_unit_test(training_learns),
        cmocka_unit_test(centred_networks_begin_at_nothing),
        cmocka_unit_test(training_is_a_function_of_its_key),
        cmocka_unit_test(host_sgd_follows_its_formula),
        cmocka_unit_test(frozen_statistics_agree_with_the_batch),
        cmocka_unit_test(testing_does_not_mix_images),
        cmocka_unit_test(lecun_has_its_variance),
        cmocka_unit_test(lamb_moves_by_its_norm),
        cmocka_unit_test(lamb_follows_its_formula),
        cmocka_unit_test(nngp_has_its_variance),
        cmocka_unit_test(adabelief_follows_its_formula),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
