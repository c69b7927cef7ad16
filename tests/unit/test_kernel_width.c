/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels of infinitely wide networks against finite ones of growing width: what the features of a network and the
 * gradients of its output say of pairs of images scatters about nngp and ntk, four times less with sixteen times the
 * width. */
#include "attar/kernel.h"
#include "attar/program.h"
#include "nn/train_step.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 5, PAIRS = IMAGES * IMAGES, NETWORKS = 32 };
static dd_image image;

static void ok(dd_status s)
{
    if (s != DD_OK) fail_msg("%s", dd_last_error());
}

static dd_tensor tensor(dd_shape s)
{
    dd_tensor x;
    ok(dd_tensor_init(&x, DD_F32, s));
    return x;
}

static dd_shape images(int64_t n)
{
    return DD_SHAPE(n, image.c, image.h, image.w);
}

static void kernel(dd_backend *b, const char *spec, const dd_tensor *x, double out[PAIRS])
{
    dd_kernel *k = NULL;
    dd_program *p = NULL;
    dd_tensor m = tensor(DD_SHAPE(IMAGES, IMAGES));
    ok(dd_kernel_open(&k, spec, image));
    dd_graph *g = dd_graph_new();
    const dd_val v = dd_input(g, "x", DD_F32, images(IMAGES));
    dd_output(g, "k", dd_kernel_apply(g, k, v, v));
    ok(dd_compile(&p, g, b));
    ok(dd_bind(p, "x", x));
    ok(dd_bind(p, "k", &m));
    ok(dd_exec(p));
    for (int i = 0; i < PAIRS; i++) out[i] = (double)dd_f32(&m)[i];
    dd_program_free(p);
    dd_graph_free(g);
    dd_kernel_close(k);
    dd_tensor_fini(&m);
}

/* A network at one image: its features [F] and the gradient of its first output by theta [P]. */
typedef struct narrow_net {
    dd_net *net;
    dd_program *p;
    dd_tensor x, theta, features, slope;
} narrow_net;

static void open_narrow_net(narrow_net *f, dd_backend *b, const char *spec)
{
    ok(dd_net_open(&f->net, spec, image, 2));
    f->x = tensor(images(1));
    f->theta = tensor(DD_SHAPE(dd_net_size(f->net)));
    f->slope = tensor(DD_SHAPE(dd_net_size(f->net)));
    f->features = tensor(DD_SHAPE(1, dd_net_features(f->net)));
    const int64_t start[] = {0, 0}, count[] = {1, 1}, stride[] = {1, 1};
    dd_graph *g = dd_graph_new();
    const dd_val theta = dd_input(g, "theta", DD_F32, f->theta.shape);
    const dd_net_out o = dd_net_apply(g, f->net, theta, dd_input(g, "x", DD_F32, f->x.shape), (dd_val){0});
    dd_val slope;
    dd_grad(g, dd_sum_all(g, dd_slice(g, o.logits, start, count, stride)), 1, &theta, &slope);
    dd_output(g, "features", o.features);
    dd_output(g, "slope", slope);
    ok(dd_compile(&f->p, g, b));
    dd_graph_free(g);
    ok(dd_bind(f->p, "x", &f->x));
    ok(dd_bind(f->p, "theta", &f->theta));
    ok(dd_bind(f->p, "features", &f->features));
    ok(dd_bind(f->p, "slope", &f->slope));
}

static void close_narrow_net(narrow_net *f)
{
    dd_program_free(f->p);
    dd_net_close(f->net);
    dd_tensor_fini(&f->x);
    dd_tensor_fini(&f->theta);
    dd_tensor_fini(&f->features);
    dd_tensor_fini(&f->slope);
}

/* Gradients by weights of variance 1, which is how the ntk counts them. */
static void scale_slope(const narrow_net *f)
{
    for (int i = 0; i < dd_net_params(f->net); i++) {
        const dd_param_info *p = dd_net_param(f->net, i);
        const int64_t count = dd_shape_count(p->shape);
        const double by = p->shape.rank > 1 ? sqrt(2 / (double)(count / p->shape.dim[0])) : 0.1;
        for (int64_t k = 0; k < count; k++) dd_f32(&f->slope)[p->offset + k] *= (float)by;
    }
}

static double inner(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* What one network says of all pairs. */
static void ask(narrow_net *f, const dd_tensor *x, uint64_t seed, double nngp[PAIRS], double ntk[PAIRS])
{
    const int64_t n = dd_net_features(f->net), p = dd_net_size(f->net);
    float *features = malloc((size_t)(IMAGES * n) * sizeof *features),
          *slopes = malloc((size_t)(IMAGES * p) * sizeof *slopes);
    assert_true(features && slopes);
    ok(dd_net_init(f->net, &f->theta, dd_key_seed(seed)));
    for (int i = 0; i < IMAGES; i++) {
        const dd_tensor row = dd_tensor_rows(x, i, 1);
        memcpy(f->x.data, row.data, dd_tensor_bytes(&f->x));
        ok(dd_exec(f->p));
        scale_slope(f);
        memcpy(features + i * n, f->features.data, dd_tensor_bytes(&f->features));
        memcpy(slopes + i * p, f->slope.data, dd_tensor_bytes(&f->slope));
    }
    for (int i = 0; i < PAIRS; i++) {
        const int64_t a = i / IMAGES, b = i % IMAGES;
        nngp[i] = 2 * inner(features + a * n, features + b * n, n) / (double)n + 0.01;
        ntk[i] = inner(slopes + a * p, slopes + b * p, p);
    }
    free(features);
    free(slopes);
}

static double off(const double a[PAIRS], const double b[PAIRS])
{
    double miss = 0, size = 0;
    for (int i = 0; i < PAIRS; i++) {
        miss += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    return sqrt(miss / size);
}

/* Networks about one kernel: how far off one of them is, in the mean square, and how far off their mean is. */
typedef struct scatter {
    double each, mean, sum[PAIRS];
} scatter;

static void add(scatter *s, const double says[PAIRS], const double kernel_says[PAIRS])
{
    const double miss = off(says, kernel_says);
    s->each += miss * miss;
    for (int i = 0; i < PAIRS; i++) s->sum[i] += says[i] / NETWORKS;
}

static void end(scatter *s, const double kernel_says[PAIRS])
{
    s->each = sqrt(s->each / NETWORKS);
    s->mean = off(s->sum, kernel_says);
}

static void wide_one(char *spec, size_t size, const char *net, const char *kind)
{
    dd_net *n = NULL;
    ok(dd_net_open(&n, net, image, 2));
    assert_true(dd_net_kernel(n, spec, size));
    dd_net_close(n);
    char *at = strstr(spec, "kind=nngp");
    assert_non_null(at);
    snprintf(at, size - (size_t)(at - spec), "kind=%s", kind);
}

/* A network of some widths and the one it says it becomes. */
static void narrows(const char *net, dd_image im)
{
    static const int width[] = {16, 256};
    static const char *const kinds[] = {"nngp", "ntk"};
    double want[2][PAIRS];
    scatter s[2][2] = {0};
    char spec[100];
    dd_backend *b = NULL;
    image = im;
    dd_tensor x = tensor(images(IMAGES));
    ok(dd_backend_open(&b, "cpu", 0));
    dd_key_fill_normal(dd_key_seed(5), dd_f32(&x), dd_shape_count(x.shape), 0, 1);
    for (int64_t i = 0; i < dd_shape_count(images(1)); i++) /* two of them alike */
        dd_f32(&x)[i] += 2 * dd_f32(&x)[dd_shape_count(images(1)) + i];
    for (int k = 0; k < 2; k++) {
        wide_one(spec, sizeof spec, net, kinds[k]);
        kernel(b, spec, &x, want[k]);
    }
    for (int w = 0; w < 2; w++) {
        narrow_net f = {0};
        snprintf(spec, sizeof spec, "%s,width=%d,init=nngp", net, width[w]);
        open_narrow_net(&f, b, spec);
        for (uint64_t i = 0; i < NETWORKS; i++) {
            double says[2][PAIRS];
            ask(&f, &x, i, says[0], says[1]);
            for (int k = 0; k < 2; k++) add(&s[k][w], says[k], want[k]);
        }
        close_narrow_net(&f);
        for (int k = 0; k < 2; k++) {
            end(&s[k][w], want[k]);
            print_message("%s of width %3d: %4s %.4f off, the mean of %d %.4f\n", net, width[w], kinds[k], s[k][w].each,
                          NETWORKS, s[k][w].mean);
        }
    }
    for (int k = 0; k < 2; k++) {
        const double times = s[k][0].each / s[k][1].each;
        assert_true(times > 2.5 && times < 7);
        assert_true(s[k][1].mean < 3 * s[k][1].each / sqrt(NETWORKS));
    }
    dd_tensor_fini(&x);
    dd_backend_close(b);
}

static void fully_connected(void **state)
{
    (void)state;
    narrows("mlp:depth=2", (dd_image){3, 8, 8});
}

static void convolutional(void **state)
{
    (void)state;
    narrows("convnet:depth=2,norm=none", (dd_image){3, 8, 8});
}

static void without_pools(void **state)
{
    (void)state;
    narrows("convnet:depth=2,norm=none,pool=none", (dd_image){3, 8, 8});
}

/* 28x28 become 32x32 in the network, and so they do in the kernel. */
static void framed(void **state)
{
    (void)state;
    narrows("convnet:depth=3,norm=none", (dd_image){1, 28, 28});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fully_connected), cmocka_unit_test(convolutional),
                                       cmocka_unit_test(without_pools), cmocka_unit_test(framed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
