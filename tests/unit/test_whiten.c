/* SPDX-License-Identifier: Apache-2.0
 *
 * ZCA whitening: the covariance it leaves, the way back, its file, sets that lost or changed it, threads, and every
 * allocation failing once. */
#include "data_place.h"
#include "data/safetensors.h"
#include "data/whiten.h"
#include <math.h>
#include <omp.h>

enum { D = 64 };

static const char *const names[] = {"zca-mtt", "zca-kip", "zca-frepo", "zca-rfad"};

static dd_dataset *whitened(const char *how)
{
    dd_data_opts o = DD_DATA_OPTS_INIT;
    o.normalise = how;
    return must_open("digits", &o);
}

static float *all_of(const dd_dataset *d, const dd_split *s)
{
    int32_t *items = malloc((size_t)s->n * sizeof *items);
    float *x = malloc((size_t)(s->n * D) * sizeof *x);
    assert_non_null(items);
    assert_non_null(x);
    for (int64_t i = 0; i < s->n; i++) items[i] = (int32_t)i;
    dd_data_batch(d, s, items, s->n, x);
    free(items);
    return x;
}

/* Element (a,b) of U diag(s / (s + eps)) U^T, which whitening should leave of the covariance. */
static double left_over(const dd_whitening *w, int64_t a, int64_t b)
{
    double sum = 0;
    for (int64_t i = 0; i < D; i++)
        sum += (double)w->vectors[i * D + a] * (double)w->vectors[i * D + b] * w->values[i] / (w->values[i] + w->eps);
    return sum;
}

static void covariance_is_whitened(void **state)
{
    (void)state;
    for (size_t v = 0; v < DD_LEN(names); v++) {
        dd_dataset *d = whitened(names[v]);
        float *x = all_of(d, &d->train);
        const dd_whitening *w = d->whitening;
        const double n = (double)(w->kind->unbiased ? d->train.n - 1 : d->train.n);
        assert_string_equal(d->normalisation, names[v]);
        assert_true(w->eps > 0 && w->values[0] <= w->values[D - 1]);
        for (int64_t a = 0; a < D; a++) {
            for (int64_t b = 0; b < D; b++) {
                double sum = 0;
                for (int64_t i = 0; i < d->train.n; i++) sum += (double)x[i * D + a] * (double)x[i * D + b];
                assert_true(fabs(sum / n - left_over(w, a, b)) < 1e-5);
            }
        }
        free(x);
        dd_dataset_close(d);
    }
}

/* Test images too; KIP's per-image step cannot be undone but for its mean length. */
static void there_and_back(void **state)
{
    (void)state;
    for (size_t v = 0; v < DD_LEN(names); v++) {
        dd_dataset *d = whitened(names[v]);
        dd_whitening *w = d->whitening;
        float *white = all_of(d, &d->test), *back = malloc((size_t)(d->test.n * D) * sizeof *back), *plain;
        assert_int_equal(dd_unwhiten(w, white, d->test.n, back), DD_OK);
        d->whitening = NULL;
        plain = all_of(d, &d->test);
        d->whitening = w;
        dd_whiten_images(w->kind, plain, d->test.n, D);
        const double length = w->kind->per_image ? w->length : 1;
        assert_true(length > 0.9);
        for (int64_t i = 0; i < d->test.n * D; i++)
            assert_true(fabs((double)back[i] - length * (double)plain[i]) < 2e-5 * length);
        free(white);
        free(back);
        free(plain);
        dd_dataset_close(d);
    }
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    const int before = omp_get_max_threads();
    dd_dataset *d = whitened("zca-mtt");
    omp_set_num_threads(1);
    float *a = all_of(d, &d->train);
    omp_set_num_threads(3);
    float *b = all_of(d, &d->train);
    omp_set_num_threads(before);
    assert_memory_equal(a, b, (size_t)(d->train.n * D) * sizeof *a);
    free(a);
    free(b);
    dd_dataset_close(d);
}

static dd_synset *some_of(const dd_dataset *d)
{
    dd_synset *s;
    assert_int_equal(dd_synset_new(&s, 10, d), DD_OK);
    assert_ptr_equal(s->whitening, d->whitening);
    dd_data_batch(d, &d->train, d->train.class_index, 10, dd_f32(&s->images));
    return s;
}

static void travels_with_a_set(void **state)
{
    char a[DD_PATH], b[DD_PATH], text[80], text2[80];
    copy(a, at(state, "a"));
    copy(b, at(state, "b"));
    for (size_t v = 0; v < DD_LEN(names); v++) {
        dd_dataset *d = whitened(names[v]), *e;
        dd_synset *s = some_of(d), *t;
        assert_int_equal(dd_synset_save(s, a, "{\"method\": \"dm\"}"), DD_OK);
        assert_int_equal(dd_synset_load(&t, a), DD_OK);
        assert_memory_equal(t->whitening->w, d->whitening->w, D * D * sizeof(float));
        dd_whitening_text(d->whitening, text, sizeof text);
        dd_whitening_text(t->whitening, text2, sizeof text2);
        assert_string_equal(text, text2);
        assert_int_equal(dd_synset_fact(t, "whitening.variant", text, sizeof text), DD_OK);
        assert_string_equal(text, names[v]);
        assert_int_equal(dd_synset_save(t, b, t->json), DD_OK);
        dd_synset_free(s);
        assert_int_equal(dd_synset_load(&s, b), DD_OK);
        /* real images opened with the set's own transform are the same */
        dd_data_opts o = DD_DATA_OPTS_INIT;
        snprintf(text, sizeof text, "%.17g/%.17g", t->mean[0], t->std[0]);
        o.normalise = text;
        o.whitening = t->whitening;
        e = must_open("digits", &o);
        float *x = all_of(d, &d->test), *y = all_of(e, &e->test);
        assert_memory_equal(x, y, (size_t)(d->test.n * D) * sizeof *x);
        assert_string_equal(e->normalisation, names[v]);
        free(x);
        free(y);
        dd_synset_free(s);
        dd_synset_free(t);
        dd_dataset_close(d);
        dd_dataset_close(e);
    }
}

static void pictures_are_natural(void **state)
{
    dd_dataset *d = whitened("zca-frepo"), *plain = whitened("none");
    dd_synset *s = some_of(d);
    dd_picture im;
    void *data;
    size_t n;
    assert_int_equal(dd_synset_export(s, "png", at(state, "png")), DD_OK);
    assert_int_equal(dd_read_file(at(state, "png/0/000.png"), 1 << 20, &data, &n), DD_OK);
    assert_int_equal(dd_png_decode(data, n, "png", &im), DD_OK);
    float x[D];
    dd_data_batch(plain, &plain->train, plain->train.class_index, 1, x);
    for (int i = 0; i < D; i++) assert_true(fabs((double)im.px[i] - 255 * (double)x[i]) <= 0.51);
    dd_picture_fini(&im);
    dd_free(data);
    dd_synset_free(s);
    dd_dataset_close(d);
    dd_dataset_close(plain);
}

static void refused(const char *dir, dd_status st, const char *part)
{
    dd_synset *s = NULL;
    assert_int_equal(dd_synset_load(&s, dir), st);
    assert_null(s);
    says(part);
}

static void lost_or_changed(void **state)
{
    dd_dataset *d = whitened("zca-mtt");
    dd_synset *s = some_of(d);
    char dir[DD_PATH];
    void *data;
    size_t n;
    copy(dir, at(state, "a"));
    assert_int_equal(dd_synset_save(s, dir, "{\"data\": {\"normalisation\": \"zca-mtt\"}}"), DD_OK);
    assert_int_equal(dd_read_file(at(state, "a/whitening.safetensors"), 1 << 20, &data, &n), DD_OK);
    ((uint8_t *)data)[n - 3] ^= 1;
    put(state, "a/whitening.safetensors", data, n);
    refused(dir, DD_EFORMAT, "set.json records");
    put(state, "a/whitening.safetensors", data, n - 4);
    refused(dir, DD_EFORMAT, "whitening.safetensors");
    dd_free(data);
    assert_int_equal(remove(at(state, "a/whitening.safetensors")), 0);
    refused(dir, DD_ENOTFOUND, "the images are whitened by zca-mtt");
    /* a text that says nothing of the whitening, or another's */
    assert_int_equal(dd_synset_save(s, dir, "{\"whitening\": 3}"), DD_EINVAL);
    says("reserved");
    dd_whitening *kept = s->whitening;
    s->whitening = NULL;
    assert_int_equal(dd_synset_save(s, dir, "{\"data\": {\"normalisation\": \"zca-mtt\"}}"), DD_OK);
    refused(dir, DD_EFORMAT, "\"whitening\" is missing");
    s->whitening = kept;
    dd_synset_free(s);
    dd_dataset_close(d);
}

/* Files whose hash would be right, but whose numbers are not. */
static void numbers_are_checked(void **state)
{
    (void)state;
    dd_dataset *d = whitened("zca-kip");
    dd_whitening *w = d->whitening, *t;
    const double eps = w->eps, value = w->values[5], length = w->length;
    const struct {
        double *at, bad;
        const char *says;
    } rows[] = {{&w->eps, 0, "eps is 0"},
                {&w->values[5], -1, "eigenvalue 5 is -1"},
                {&w->length, 0, "length is 0"},
                {&w->mean[3], NAN, "value 3 of mean is nan"}};
    void *bytes;
    size_t n;
    for (size_t i = 0; i < DD_LEN(rows); i++) {
        *rows[i].at = rows[i].bad;
        assert_int_equal(dd_whitening_bytes(w, &bytes, &n), DD_OK);
        assert_int_equal(dd_whitening_parse(&t, w->kind, D, bytes, n, "w"), DD_EFORMAT);
        assert_null(t);
        says(rows[i].says);
        dd_free(bytes);
        w->eps = eps;
        w->values[5] = value;
        w->length = length;
    }
    w->mean[3] = 0;
    w->vectors[D] += 2;
    assert_int_equal(dd_whitening_bytes(w, &bytes, &n), DD_OK);
    assert_int_equal(dd_whitening_parse(&t, w->kind, D, bytes, n, "w"), DD_EFORMAT);
    says("eigenvector 1 has length");
    w->vectors[D] -= 2;
    dd_free(bytes);
    assert_int_equal(dd_whitening_bytes(w, &bytes, &n), DD_OK);
    assert_int_equal(dd_whitening_parse(&t, w->kind, D + 1, bytes, n, "w"), DD_EFORMAT);
    says("mean is f64 [64], the set's images need f64 [65]");
    assert_int_equal(dd_whitening_parse(&t, w->kind, D, bytes, n, "w"), DD_OK);
    dd_whitening_free(t);
    dd_free(bytes);
    assert_int_equal(dd_whitening_new(&t, w->kind, 3 * 128 * 128), DD_EINVAL);
    says("images of 49152 values, at most 12288 (3x64x64)");
    dd_dataset_close(d);
}

/* Six pictures of one colour each and 256 pixels. */
static void few_images(void **state)
{
    dd_data_opts o = DD_DATA_OPTS_INIT;
    dd_dataset *d = NULL;
    const int32_t items[] = {0, 5};
    float x[512];
    picture_folder(state);
    o.channels = 1;
    o.normalise = "zca-mtt";
    d = must_open(at(state, "pics"), &o);
    dd_data_batch(d, &d->train, items, 2, x);
    assert_true(x[0] < 0 && x[511] > 0 && fabs((double)(x[0] - x[255])) < 1e-5);
    dd_dataset_close(d);
    o.normalise = "zca-kip"; /* takes the colour of each away */
    assert_int_equal(dd_dataset_open(&d, at(state, "pics"), &o), DD_EINVAL);
    says("the 6 training images of pics do not vary");
}

static void out_of_memory(void **state)
{
    dd_data_opts o = DD_DATA_OPTS_INIT;
    dd_dataset *d = NULL;
    dd_synset *s, *t = NULL;
    char dir[DD_PATH];
    copy(dir, at(state, "a"));
    o.normalise = "zca-kip";
    dd_status st = DD_ENOMEM;
    for (long n = 1; st != DD_OK; n++) {
        assert_true(n < 500);
        dd_alloc_fail_after(n);
        st = dd_dataset_open(&d, "digits", &o);
        dd_alloc_fail_after(0);
    }
    s = some_of(d);
    st = DD_ENOMEM;
    for (long n = 1; st != DD_OK; n++) {
        assert_true(n < 500);
        dd_alloc_fail_after(n);
        st = dd_synset_save(s, dir, "{}");
        dd_alloc_fail_after(0);
    }
    st = DD_ENOMEM;
    for (long n = 1; st != DD_OK; n++) {
        assert_true(n < 500);
        dd_alloc_fail_after(n);
        st = dd_synset_load(&t, dir);
        dd_alloc_fail_after(0);
    }
    dd_synset_free(t);
    dd_synset_free(s);
    dd_dataset_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(covariance_is_whitened), T(there_and_back),       T(threads_change_no_bit),
        T(travels_with_a_set),     T(pictures_are_natural), T(lost_or_changed),
        T(numbers_are_checked),    T(few_images),           T(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
