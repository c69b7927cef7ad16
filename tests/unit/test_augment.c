/* SPDX-License-Identifier: Apache-2.0
 *
 * Augmentation against direct C on the reference backend: what moves pixels to the bit, what resamples and colours by
 * its definition. */
#include "nn/train_step.h"
#include "nn_tools.h"

enum { AN = 3, AC = 2, AH = 6, AW = 6, PIXELS = AC * AH * AW };

static void augment(dd_backend *b, const char *list, const dd_tensor *x, const float *params, dd_tensor *out)
{
    dd_aug a;
    OK(dd_aug_parse(&a, list));
    dd_graph *g = dd_graph_new();
    dd_tensor p = tensor(DD_F32, DD_SHAPE(AN, DD_AUG_PARAMS));
    memcpy(p.data, params, dd_tensor_bytes(&p));
    const dd_val vx = dd_input(g, "x", DD_F32, x->shape), vp = dd_input(g, "aug", DD_F32, p.shape);
    dd_output(g, "out", dd_augment(g, a, vx, vp));
    dd_program *prog = compile(g, b);
    OK(dd_bind(prog, "x", x));
    OK(dd_bind(prog, "aug", &p));
    OK(dd_bind(prog, "out", out));
    OK(dd_exec(prog));
    dd_program_free(prog);
    dd_tensor_fini(&p);
}

static void neutral_rows(float *p)
{
    memset(p, 0, AN * DD_AUG_PARAMS * sizeof *p);
    for (int i = 0; i < AN; i++, p += DD_AUG_PARAMS) p[0] = p[4] = p[7] = p[8] = 1;
}

static void neutral_draw_is_the_identity(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_tensor x = noise(DD_F32, DD_SHAPE(AN, AC, AH, AW), 7), out = tensor(DD_F32, x.shape);
    float p[AN * DD_AUG_PARAMS];
    neutral_rows(p);
    augment(b, ALL_DSA, &x, p, &out);
    assert_memory_equal(x.data, out.data, dd_tensor_bytes(&x));
    dd_tensor_fini(&x);
    dd_tensor_fini(&out);
    dd_backend_close(b);
}

static void lists_are_read_and_written(void **state)
{
    (void)state;
    dd_aug a;
    char text[128];
    OK(dd_aug_parse(&a, "rotate_color"));
    assert_int_equal(a.list, DD_AUG_COLOR | DD_AUG_ROTATE);
    assert_string_equal(dd_aug_text(a, text, sizeof text), "color_rotate");
    OK(dd_aug_parse(&a, "none"));
    assert_string_equal(dd_aug_text(a, text, sizeof text), "none");
    OK(dd_aug_parse(&a, "frepo:scale_color"));
    assert_true(a.frepo && a.list == (DD_AUG_COLOR | DD_AUG_SCALE));
    assert_string_equal(dd_aug_text(a, text, sizeof text), "frepo:color_scale");
    assert_int_equal(dd_aug_parse(&a, "color_flop"), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "flip"));
}

/* The narrower ranges of FRePo's students, and that they are reached. */
static void frepo_draws_from_its_ranges(void **state)
{
    const double e = exp(0.25), lo[] = {-0.25, 1 / e, 1 / e, 0.8}, hi[] = {0.25, e, e, 1.25};
    double least[] = {9, 9, 9, 9}, most[] = {-9, -9, -9, -9};
    float p[DD_AUG_PARAMS], hole = 0;
    dd_aug a;
    (void)state;
    for (uint64_t k = 0; k < 2000; k++) {
        OK(dd_aug_parse(&a, k % 2 ? "frepo:color" : "frepo:scale"));
        dd_aug_draw(a, (dd_image){3, 32, 32}, dd_key_at(dd_key_seed(1), "draw", k), false, 1, p);
        const double v[] = {(double)p[6], (double)p[7], (double)p[8], (double)p[0]};
        assert_true(p[0] >= p[4] && p[0] <= p[4]);
        for (int i = 0; i < 4; i++)
            if ((i < 3) == (k % 2 == 1)) {
                least[i] = fmin(least[i], v[i]);
                most[i] = fmax(most[i], v[i]);
            }
        OK(dd_aug_parse(&a, "frepo:cutout"));
        dd_aug_draw(a, (dd_image){3, 32, 32}, dd_key_at(dd_key_seed(2), "draw", k), false, 1, p);
        hole = fmaxf(hole, (p[10] - p[9]) * (p[12] - p[11]));
    }
    for (int i = 0; i < 4; i++) {
        assert_true(least[i] >= lo[i] - 1e-6 && least[i] < lo[i] + 0.01);
        assert_true(most[i] <= hi[i] + 1e-6 && most[i] > hi[i] - 0.01);
    }
    assert_true(hole > 63 && hole < 65); /* a quarter of 32 a side */
}

static void siamese_rows_are_equal(void **state)
{
    (void)state;
    dd_aug a;
    float p[5 * DD_AUG_PARAMS], q[2 * DD_AUG_PARAMS];
    OK(dd_aug_parse(&a, ALL_DSA));
    int differ = 0;
    for (uint64_t k = 0; k < 50; k++) {
        const dd_key key = dd_key_at(dd_key_seed(1), "draw", k);
        dd_aug_draw(a, (dd_image){3, 32, 32}, key, true, 5, p);
        dd_aug_draw(a, (dd_image){3, 32, 32}, key, true, 2, q);
        for (int i = 1; i < 5; i++) assert_memory_equal(p, p + i * DD_AUG_PARAMS, DD_AUG_PARAMS * sizeof *p);
        assert_memory_equal(p, q, sizeof q);
        dd_aug_draw(a, (dd_image){3, 32, 32}, key, false, 2, q);
        differ += memcmp(q, q + DD_AUG_PARAMS, DD_AUG_PARAMS * sizeof *q) != 0;
    }
    assert_true(differ > 25);
}

/* Crop, flip and cutout move and clear whole pixels, so the direct computation agrees to the bit. */
static void moved(const float *x, const float *p, float *out)
{
    for (int c = 0; c < AC; c++)
        for (int i = 0; i < AH; i++)
            for (int j = 0; j < AW; j++) {
                const int flipped = p[4] < 0 ? AW - 1 - j : j;
                const int si = i + (int)p[2], sj = flipped + (int)p[5];
                const bool in = si >= 0 && si < AH && sj >= 0 && sj < AW;
                const bool cut = (float)i >= p[9] && (float)i < p[10] && (float)j >= p[11] && (float)j < p[12];
                out[(c * AH + i) * AW + j] = in && !cut ? x[(c * AH + si) * AW + sj] : 0.0f;
            }
}

/* Bilinear, corner-aligned in [-1,1] coordinates, straight from the definition; 6x6 is square. */
static double tap(const float *x, int i, int j)
{
    return i >= 0 && i < AH && j >= 0 && j < AW ? (double)x[i * AW + j] : 0.0;
}

static double bilinear(const float *x, double X, double Y)
{
    const double j = (X + 1) * (AW - 1) / 2, i = (Y + 1) * (AH - 1) / 2;
    const int i0 = (int)floor(i), j0 = (int)floor(j);
    const double a = i - i0, c = j - j0;
    return (1 - a) * ((1 - c) * tap(x, i0, j0) + c * tap(x, i0, j0 + 1)) +
           a * ((1 - c) * tap(x, i0 + 1, j0) + c * tap(x, i0 + 1, j0 + 1));
}

static void check_moves(dd_backend *b, const char *list, bool all, const dd_tensor *x, dd_tensor *out)
{
    dd_aug a;
    float p[AN * DD_AUG_PARAMS], want[PIXELS];
    OK(dd_aug_parse(&a, list));
    for (uint64_t k = 0; k < 12; k++) {
        const dd_key key = dd_key_at(dd_key_seed(2), list, k);
        if (all)
            dd_aug_draw_all(a, (dd_image){AC, AH, AW}, key, AN, p);
        else
            dd_aug_draw(a, (dd_image){AC, AH, AW}, key, false, AN, p);
        augment(b, list, x, p, out);
        for (int n = 0; n < AN; n++) {
            moved(dd_f32(x) + n * PIXELS, p + n * DD_AUG_PARAMS, want);
            for (int e = 0; e < PIXELS; e++) assert_true(dd_f32(out)[n * PIXELS + e] == want[e]);
        }
    }
}

static void crop_flip_and_cutout_move_pixels(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_tensor x = noise(DD_F32, DD_SHAPE(AN, AC, AH, AW), 8), out = tensor(DD_F32, x.shape);
    check_moves(b, "crop", false, &x, &out);
    check_moves(b, "flip", false, &x, &out);
    check_moves(b, "cutout", false, &x, &out);
    check_moves(b, "crop_flip", true, &x, &out);
    check_moves(b, "crop_cutout_flip", true, &x, &out);
    dd_tensor_fini(&x);
    dd_tensor_fini(&out);
    dd_backend_close(b);
}

static void check_warp(const char *list, const float *p, const float *x, const float *out)
{
    const double cosine = (double)p[0], sine = (double)p[1];
    const bool rotate = !strcmp(list, "rotate");
    for (int i = 0; i < AH; i++)
        for (int j = 0; j < AW; j++) {
            const double X = -1 + 2.0 * j / (AW - 1), Y = -1 + 2.0 * i / (AH - 1);
            const double sx = rotate ? X * cosine - Y * sine : X * (double)p[4];
            const double sy = rotate ? X * sine + Y * cosine : Y * (double)p[0];
            assert_true(fabs((double)out[i * AW + j] - bilinear(x, sx, sy)) < 2e-5);
        }
}

static void scale_and_rotate_resample(void **state)
{
    (void)state;
    static const char *const lists[] = {"scale", "rotate"};
    dd_backend *b = open_ref();
    dd_tensor x = noise(DD_F32, DD_SHAPE(AN, AC, AH, AW), 9), out = tensor(DD_F32, x.shape);
    float p[AN * DD_AUG_PARAMS];
    for (size_t k = 0; k < DD_LEN(lists); k++) {
        dd_aug a;
        OK(dd_aug_parse(&a, lists[k]));
        dd_aug_draw(a, (dd_image){AC, AH, AW}, dd_key_seed(k), false, AN, p);
        augment(b, lists[k], &x, p, &out);
        for (int n = 0; n < AN; n++) {
            const float *row = p + n * DD_AUG_PARAMS;
            if (k) assert_true(fabs(hypot((double)row[0], (double)row[1]) - 1) < 1e-6);
            if (k) assert_true((double)row[0] >= cos(0.2618) - 1e-4);
            if (!k) assert_true(row[0] > 0.833f && row[0] < 1.2001f && row[0] != row[4]);
            check_warp(lists[k], row, dd_f32(&x) + n * PIXELS, dd_f32(&out) + n * PIXELS);
        }
    }
    dd_tensor_fini(&x);
    dd_tensor_fini(&out);
    dd_backend_close(b);
}

static void check_color(const float *p, const float *x, const float *out)
{
    enum { PLANE = AH * AW };
    double y[PIXELS], mean = 0;
    for (int e = 0; e < PIXELS; e++) y[e] = (double)x[e] + (double)p[6];
    for (int e = 0; e < PLANE; e++) {
        const double m = (y[e] + y[PLANE + e]) / 2;
        y[e] = (y[e] - m) * (double)p[7] + m;
        y[PLANE + e] = (y[PLANE + e] - m) * (double)p[7] + m;
    }
    for (int e = 0; e < PIXELS; e++) mean += y[e] / PIXELS;
    for (int e = 0; e < PIXELS; e++) assert_true(fabs((double)out[e] - ((y[e] - mean) * (double)p[8] + mean)) < 1e-5);
}

static void color_follows_its_definition(void **state)
{
    (void)state;
    dd_backend *b = open_ref();
    dd_aug a;
    dd_tensor x = noise(DD_F32, DD_SHAPE(AN, AC, AH, AW), 10), out = tensor(DD_F32, x.shape);
    float p[AN * DD_AUG_PARAMS];
    OK(dd_aug_parse(&a, "color"));
    dd_aug_draw(a, (dd_image){AC, AH, AW}, dd_key_seed(5), false, AN, p);
    augment(b, "color", &x, p, &out);
    for (int n = 0; n < AN; n++) check_color(p + n * DD_AUG_PARAMS, dd_f32(&x) + n * PIXELS, dd_f32(&out) + n * PIXELS);
    dd_tensor_fini(&x);
    dd_tensor_fini(&out);
    dd_backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neutral_draw_is_the_identity),     cmocka_unit_test(lists_are_read_and_written),
        cmocka_unit_test(frepo_draws_from_its_ranges),      cmocka_unit_test(siamese_rows_are_equal),
        cmocka_unit_test(crop_flip_and_cutout_move_pixels), cmocka_unit_test(scale_and_rotate_resample),
        cmocka_unit_test(color_follows_its_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
