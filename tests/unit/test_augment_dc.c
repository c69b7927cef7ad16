/* SPDX-License-Identifier: Apache-2.0
 *
 * The DC protocol's augmentation: draws against their ranges, changes against what they must leave or move, and its
 * place in the protocol and in an evaluation. tests/parity compares the numbers with scipy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/eval.h"
#include "base/memory.h"
#include "eval/augment_dc.h"

#include <math.h>
#include <string.h>

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != DD_OK) fail_msg("%s: %s", #call, dd_last_error());                                               \
    } while (0)

enum { C = 2, H = 8, W = 8, SIZE = C * H * W, BATCH = 3 };
static const dd_image image = {C, H, W};

static dd_dc_aug opened(const char *text)
{
    dd_dc_aug a;
    unsigned list;
    OK(dd_dc_aug_parse(&list, text));
    OK(dd_dc_aug_init(&a, list, image));
    a.mean[0] = 0.25;
    a.mean[1] = -3;
    return a;
}

static void fill(float *x, int64_t n, uint64_t seed)
{
    dd_key_fill_normal(dd_key_seed(seed), x, n, 0, 1);
}

/* `d` applied to a copy of x */
static void changed(dd_dc_draw d, const float *x, float *out)
{
    dd_dc_aug a = opened("dc:crop_scale_rotate_noise");
    memcpy(out, x, SIZE * sizeof *x);
    dd_dc_aug_change(&a, d, out);
    dd_dc_aug_fini(&a);
}

static float worst(const float *a, const float *b, int64_t n)
{
    float w = 0;
    for (int64_t i = 0; i < n; i++) w = fmaxf(w, fabsf(a[i] - b[i]));
    return w;
}

/* --- text --- */

static void lists_are_read(void **state)
{
    (void)state;
    unsigned list;
    OK(dd_dc_aug_parse(&list, "dc:crop_scale_rotate"));
    assert_int_equal(list, DD_DC_CROP | DD_DC_SCALE | DD_DC_ROTATE);
    OK(dd_dc_aug_parse(&list, "dc:noise_crop"));
    assert_int_equal(list, DD_DC_CROP | DD_DC_NOISE);
    assert_true(dd_dc_aug_named("dc:"));
    assert_false(dd_dc_aug_named("crop"));
    assert_false(dd_dc_aug_named("none"));
}

static void bad_lists_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"dc:crop_rotat", "did you mean rotate"},
        {"dc:crop_flip", "\"flip\" in augmentation"},
        {"dc:", "names none of"},
        {"dc:_", "names none of"},
        {"crop_scale", "starts with \"dc:\""},
        {"dc: crop", "did you mean crop"},
        {"dc:none", "is none of"},
        {"", "starts with"},
    };
    char text[100] = "dc:crop";
    unsigned list;
    for (size_t i = 0; i < DD_LEN(bad); i++) {
        assert_int_equal(dd_dc_aug_parse(&list, bad[i][0]), DD_EINVAL);
        if (!strstr(dd_last_error(), bad[i][1])) fail_msg("\"%s\": %s", bad[i][0], dd_last_error());
    }
    while (strlen(text) < 80) strcat(text, "_crop");
    assert_int_equal(dd_dc_aug_parse(&list, text), DD_EINVAL);
}

/* --- draws --- */

enum { DRAWS = 4000 };

static void draws_keep_their_ranges(void **state)
{
    (void)state;
    const unsigned all = DD_DC_CROP | DD_DC_SCALE | DD_DC_ROTATE | DD_DC_NOISE;
    int count[9] = {0}, lo = 99, hi = -99;
    int64_t window[8] = {0}, small = 99, large = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        const dd_dc_draw d = dd_dc_aug_draw(all, (dd_image){1, 28, 28}, dd_key_seed(i));
        count[d.strategy]++;
        if (d.strategy == DD_DC_CROP) {
            assert_in_range(d.y, 0, 7);
            assert_in_range(d.x, 0, 7);
            window[d.y]++;
        } else if (d.strategy == DD_DC_SCALE) {
            small = d.y < small ? d.y : small;
            large = d.x > large ? d.x : large;
            assert_true(d.y >= 22 && d.y <= 33 && d.x >= 22 && d.x <= 33);
        } else if (d.strategy == DD_DC_ROTATE) {
            lo = d.degrees < lo ? d.degrees : lo;
            hi = d.degrees > hi ? d.degrees : hi;
        }
    }
    for (unsigned s = 1; s <= 8; s *= 2) assert_in_range(count[s], DRAWS / 4 - 140, DRAWS / 4 + 140); /* 5 sigma */
    for (int i = 0; i < 8; i++) assert_in_range(window[i], 125 - 60, 125 + 60);
    assert_int_equal(lo, -45);
    assert_int_equal(hi, 44);
    assert_int_equal(small, 22);
    assert_int_equal(large, 33);
}

static void a_batch_is_a_function_of_its_key(void **state)
{
    (void)state;
    float x[BATCH * SIZE], y[BATCH * SIZE], z[BATCH * SIZE];
    dd_dc_aug a = opened("dc:crop_scale_rotate_noise");
    fill(x, BATCH * SIZE, 1);
    memcpy(y, x, sizeof x);
    memcpy(z, x, sizeof x);
    dd_dc_aug_apply(&a, x, BATCH, dd_key_seed(2));
    dd_dc_aug_apply(&a, y, BATCH, dd_key_seed(2));
    dd_dc_aug_apply(&a, z, BATCH, dd_key_seed(3));
    assert_memory_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    dd_dc_aug_fini(&a);
}

/* --- changes --- */

static void neutral_draws_change_nothing(void **state)
{
    (void)state;
    float x[SIZE], out[SIZE];
    fill(x, SIZE, 4);
    changed((dd_dc_draw){.strategy = 0}, x, out);
    assert_memory_equal(x, out, sizeof x);
    changed((dd_dc_draw){.strategy = DD_DC_CROP, .y = 4, .x = 4}, x, out);
    assert_memory_equal(x, out, sizeof x);
    changed((dd_dc_draw){.strategy = DD_DC_SCALE, .y = H, .x = W}, x, out);
    assert_memory_equal(x, out, sizeof x);
    changed((dd_dc_draw){.strategy = DD_DC_ROTATE, .degrees = 0}, x, out);
    assert_true(worst(x, out, SIZE) < 1e-5f);
}

/* The fill is the mean of each channel over the whole batch as it came, not of what was changed already. */
static void crop_moves_the_window_and_fills_with_the_mean(void **state)
{
    (void)state;
    float x[BATCH * SIZE], out[BATCH * SIZE];
    double mean[C] = {0};
    dd_dc_aug a = opened("dc:crop");
    fill(x, BATCH * SIZE, 5);
    for (int i = 0; i < BATCH * SIZE; i++) mean[i / (H * W) % C] += (double)x[i] / (BATCH * H * W);
    const dd_key key = dd_key_seed(6);
    memcpy(out, x, sizeof x);
    dd_dc_aug_apply(&a, out, BATCH, key);
    for (int n = 0; n < BATCH; n++) {
        const dd_dc_draw d = dd_dc_aug_draw(DD_DC_CROP, image, dd_key_at(key, "image", (uint64_t)n));
        for (int k = 0; k < SIZE; k++) {
            const int c = k / (H * W), i = k / W % H + (int)d.y - 4, j = k % W + (int)d.x - 4;
            const bool in = i >= 0 && i < H && j >= 0 && j < W;
            const float want = in ? x[((n * C + c) * H + i) * W + j] : (float)mean[c];
            assert_true(fabsf(out[n * SIZE + k] - want) < 1e-6f);
        }
    }
    dd_dc_aug_fini(&a);
}

static void scale_pads_and_cuts_about_the_centre(void **state)
{
    (void)state;
    float x[SIZE], out[SIZE];
    fill(x, SIZE, 7);
    changed((dd_dc_draw){.strategy = DD_DC_SCALE, .y = 4, .x = 4}, x, out); /* every other pixel, two of border */
    for (int k = 0; k < SIZE; k++) {
        const int i = k / W % H - 2, j = k % W - 2;
        const bool in = i >= 0 && i < 4 && j >= 0 && j < 4;
        assert_true(out[k] == (in ? x[k / (H * W) * H * W + 2 * i * W + 2 * j] : 0));
    }
    changed((dd_dc_draw){.strategy = DD_DC_SCALE, .y = 16, .x = 16}, x,
            out); /* the inner half, each pixel four times */
    for (int k = 0; k < SIZE; k++) {
        const int i = k / W % H + 4, j = k % W + 4;
        assert_true(out[k] == x[k / (H * W) * H * W + i / 2 * W + j / 2]);
    }
    changed((dd_dc_draw){.strategy = DD_DC_SCALE, .y = 4, .x = 16}, x, out); /* one axis each way */
    for (int k = 0; k < SIZE; k++) {
        const int i = k / W % H - 2, j = k % W + 4;
        assert_true(out[k] == (i >= 0 && i < 4 ? x[k / (H * W) * H * W + 2 * i * W + j / 2] : 0));
    }
    /* On a canvas of 9 the image starts at 0, the 7 rows at 1, the 9 columns at 0. */
    changed((dd_dc_draw){.strategy = DD_DC_SCALE, .y = 7, .x = 9}, x, out);
    for (int k = 0; k < SIZE; k++) {
        const int i = k / W % H - 1, j = k % W;
        assert_true(out[k] == (i >= 0 ? x[k / (H * W) * H * W + i * 8 / 7 * W + j * 8 / 9] : 0));
    }
}

/* As many pixels as scipy's larger output has more than the image; odd: the image lies half a pixel off the centre. */
static int growth(int degrees)
{
    const double t = degrees * 0.017453292519943295;
    return (int)floor(H * (cos(t) + sin(t)) + 0.5) - H;
}

static void opposite_rotations_are_mirror_images(void **state)
{
    (void)state;
    static const int degrees[] = {1, 7, 10, 20, 30, 44, 45};
    int odd = 0;
    for (size_t k = 0; k < DD_LEN(degrees); k++) {
        float x[SIZE], m[SIZE], plus[SIZE], minus[SIZE];
        const int off = growth(degrees[k]) % 2;
        fill(x, SIZE, 8 + k);
        for (int i = 0; i < SIZE; i++) m[i / W * W + W - 1 - i % W] = x[i];
        changed((dd_dc_draw){.strategy = DD_DC_ROTATE, .degrees = degrees[k]}, x, plus);
        changed((dd_dc_draw){.strategy = DD_DC_ROTATE, .degrees = -degrees[k]}, m, minus);
        for (int i = 0; i < SIZE; i++) {
            const int j = W - 1 + off - i % W;
            if (j < W) assert_true(fabsf(plus[i] - minus[i / W * W + j]) < 1e-5f);
        }
        odd += off;
    }
    assert_in_range(odd, 1, DD_LEN(degrees) - 1);
}

/* A right angle is never drawn, but says which way is positive: the image turns counter-clockwise, as seen. */
static void rotate_turns_the_right_way(void **state)
{
    (void)state;
    float x[SIZE], out[SIZE];
    fill(x, SIZE, 20);
    changed((dd_dc_draw){.strategy = DD_DC_ROTATE, .degrees = 90}, x, out);
    for (int c = 0; c < C; c++)
        for (int i = 1; i < H - 1; i++)
            for (int j = 1; j < W - 1; j++)
                assert_true(fabsf(out[(c * H + i) * W + j] - x[(c * H + j) * W + W - 1 - i]) < 1e-5f);
}

static void rotate_fills_corners_with_the_mean(void **state)
{
    (void)state;
    float x[SIZE], out[SIZE];
    for (int i = 0; i < SIZE; i++) x[i] = 5;
    changed((dd_dc_draw){.strategy = DD_DC_ROTATE, .degrees = -37}, x, out);
    assert_true(out[0] == 0.25f && out[H * W] == -3);
    assert_true(fabsf(out[4 * W + 4] - 5) < 1e-5f && fabsf(out[H * W + 4 * W + 4] - 5) < 1e-5f);
}

static void noise_is_small(void **state)
{
    (void)state;
    float x[SIZE], out[SIZE];
    double square = 0;
    fill(x, SIZE, 9);
    for (uint64_t k = 0; k < 50; k++) {
        changed((dd_dc_draw){.strategy = DD_DC_NOISE, .noise = dd_key_seed(k)}, x, out);
        for (int i = 0; i < SIZE; i++) square += pow((double)(out[i] - x[i]), 2);
    }
    assert_true(fabs(sqrt(square / (50 * SIZE)) - 0.001) < 3e-5); /* 3.4 sigma of 6400 draws */
}

static void thin_images_survive(void **state)
{
    (void)state;
    static const dd_image thin[] = {{1, 1, 1}, {1, 1, 7}, {1, 9, 1}, {2, 2, 2}, {1, 40, 3}};
    for (size_t k = 0; k < DD_LEN(thin); k++) {
        dd_dc_aug a;
        OK(dd_dc_aug_init(&a, DD_DC_CROP | DD_DC_SCALE | DD_DC_ROTATE, thin[k]));
        for (uint64_t i = 0; i < 200; i++) {
            float x[120] = {0};
            fill(x, thin[k].c * thin[k].h * thin[k].w, i);
            dd_dc_aug_apply(&a, x, 1, dd_key_seed(i));
            for (int j = 0; j < 120; j++) assert_true(isfinite(x[j]));
        }
        dd_dc_aug_fini(&a);
    }
}

/* --- protocol and evaluation --- */

static void check_protocol(const char *name, const char *data, const char *net, int64_t epochs, const char *aug)
{
    dd_dataset d = {.c = 1, .h = 28, .w = 28, .classes = 10};
    dd_protocol p;
    dd_net *n = NULL;
    strcpy(d.name, data);
    OK(dd_net_open(&n, net, (dd_image){1, 28, 28}, 10));
    OK(dd_protocol_named(&p, name, &d, n));
    assert_int_equal(p.epochs, epochs);
    assert_string_equal(p.aug, aug);
    dd_net_close(n);
}

static void protocols_name_their_augmentation(void **state)
{
    (void)state;
    check_protocol("dc", "mnist", "convnet", 1000, "dc:crop_scale_rotate");
    check_protocol("dc", "mnist", "ConvNetBN", 1000, "dc:crop_noise");
    check_protocol("dc", "fashion-mnist", "ConvNetBN", 300, "dc:crop_noise");
    check_protocol("dc", "fashion-mnist", "convnet", 300, "none");
    check_protocol("dc", "digits", "MLP", 300, "none");
    check_protocol("dsa", "mnist", "ConvNetBN", 1000, "color_crop_cutout_scale_rotate");
    check_protocol("frepo", "cifar10", "convnet", -1, "frepo:color_crop_cutout_flip_scale_rotate");
    check_protocol("frepo", "fashion-mnist", "convnet", -1, "frepo:color_crop_cutout_scale_rotate");
    dd_protocol p;
    OK(dd_protocol_named(&p, "dc", NULL, NULL));
    assert_string_equal(p.aug, "none");
    assert_int_equal(dd_protocol_named(&p, "dcs", NULL, NULL), DD_ENOTFOUND);
}

static dd_status trained(const dd_dataset *d, dd_backend *b, const char *aug, double *loss)
{
    dd_protocol p;
    dd_eval_result r;
    dd_tensor x = {0}, y = {0};
    DD_TRY(dd_protocol_named(&p, "dc", d, NULL));
    strcpy(p.aug, aug);
    p.epochs = 1;
    dd_status s = dd_tensor_init(&x, DD_F32, DD_SHAPE(20, 1, 8, 8));
    if (s == DD_OK) s = dd_tensor_init(&y, DD_I32, DD_SHAPE(20));
    if (s == DD_OK) dd_data_batch(d, &d->train, d->train.class_index, 20, dd_f32(&x));
    if (s == DD_OK)
        s = dd_evaluate(&r, b, "convnet:depth=1,width=4", d, &x, &y, &d->test, NULL, 0, &p, 1, dd_key_seed(1), NULL,
                        NULL);
    *loss = s == DD_OK ? r.train_loss : -1;
    dd_tensor_fini(&x);
    dd_tensor_fini(&y);
    return s;
}

static void evaluations_use_it(void **state)
{
    (void)state;
    dd_dataset *d;
    dd_backend *b;
    double none, one, two;
    OK(dd_dataset_open(&d, "digits", NULL));
    OK(dd_backend_open(&b, "ref", 1));
    OK(trained(d, b, "none", &none));
    OK(trained(d, b, "dc:crop_scale_rotate", &one));
    OK(trained(d, b, "dc:crop_scale_rotate", &two));
    assert_true(one == two);
    assert_true(one != none);
    assert_int_equal(trained(d, b, "dc:crop_scal", &one), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "did you mean scale"));
    dd_backend_close(b);
    dd_dataset_close(d);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    dd_dc_aug a;
    for (long k = 1; k <= 3; k++) {
        dd_alloc_fail_after(k);
        assert_int_equal(dd_dc_aug_init(&a, DD_DC_CROP, image), DD_ENOMEM);
        dd_alloc_fail_after(0);
        assert_null(a.source);
    }
    OK(dd_dc_aug_init(&a, 0, image));
    dd_dc_aug_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(bad_lists_are_refused),
        cmocka_unit_test(draws_keep_their_ranges),
        cmocka_unit_test(a_batch_is_a_function_of_its_key),
        cmocka_unit_test(neutral_draws_change_nothing),
        cmocka_unit_test(crop_moves_the_window_and_fills_with_the_mean),
        cmocka_unit_test(scale_pads_and_cuts_about_the_centre),
        cmocka_unit_test(opposite_rotations_are_mirror_images),
        cmocka_unit_test(rotate_turns_the_right_way),
        cmocka_unit_test(rotate_fills_corners_with_the_mean),
        cmocka_unit_test(noise_is_small),
        cmocka_unit_test(thin_images_survive),
        cmocka_unit_test(protocols_name_their_augmentation),
        cmocka_unit_test(evaluations_use_it),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
