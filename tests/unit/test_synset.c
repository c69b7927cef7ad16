/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic sets: saving, loading, exports, the picture of them, sets edited by hand, and every allocation of an open,
 * a save and a load failing once. */
#include "data_place.h"
#include <math.h>

static dd_synset *make_set(int64_t m)
{
    dd_dataset *d = must_open("digits", NULL);
    dd_synset *s;
    assert_int_equal(dd_synset_new(&s, 5, d), DD_EINVAL);
    says("5 images cannot cover 10 classes");
    assert_int_equal(dd_synset_new(&s, m, d), DD_OK);
    dd_key_fill_normal(dd_key_seed(3), dd_f32(&s->images), dd_shape_count(s->images.shape), 0, 1);
    dd_dataset_close(d);
    return s;
}

static void same_file(const char *a, const char *b)
{
    void *x, *y;
    size_t n, m;
    assert_int_equal(dd_read_file(a, 1 << 24, &x, &n), DD_OK);
    assert_int_equal(dd_read_file(b, 1 << 24, &y, &m), DD_OK);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    dd_free(x);
    dd_free(y);
}

static void synset_round_trip(void **state)
{
    dd_synset *s = make_set(20), *t;
    assert_int_equal(dd_i32(&s->labels)[3], 1);
    assert_int_equal(dd_tensor_init(&s->lr, DD_F32, DD_SHAPE(1)), DD_OK);
    assert_int_equal(dd_tensor_init(&s->soft_labels, DD_F32, DD_SHAPE(20, 10)), DD_OK);
    char a[DD_PATH], b[DD_PATH];
    copy(a, at(state, "a"));
    copy(b, at(state, "b"));
    assert_int_equal(dd_synset_save(s, a, "{\"method\": \"dm\", \"lr\": 0.1}\n"), DD_OK);
    assert_int_equal(dd_synset_load(&t, a), DD_OK);
    assert_memory_equal(s->images.data, t->images.data, dd_tensor_bytes(&s->images));
    assert_memory_equal(s->labels.data, t->labels.data, dd_tensor_bytes(&s->labels));
    assert_memory_equal(s->mean, t->mean, 8);
    assert_string_equal(t->class_names[9], "9");
    assert_non_null(strstr(t->json, "{\"method\": \"dm\", \"lr\": 0.1"));
    assert_int_equal(dd_synset_save(t, b, t->json), DD_OK);
    same_file(at(state, "a/set.json"), at(state, "b/set.json"));
    same_file(at(state, "a/set.safetensors"), at(state, "b/set.safetensors"));
    dd_f32(&t->images)[0] += 1;
    assert_int_equal(dd_synset_save(t, at(state, "b"), t->json), DD_OK);
    dd_synset_free(t);
    assert_int_equal(dd_synset_load(&t, at(state, "b")), DD_OK);
    dd_synset_free(t);
    assert_int_equal(dd_synset_save(s, at(state, "c"), "{} x"), DD_EINVAL);
    assert_int_equal(dd_synset_save(s, at(state, "c"), "{\"sha256\": 3}"), DD_EINVAL);
    dd_f32(&s->images)[70] = INFINITY;
    assert_int_equal(dd_synset_save(s, at(state, "c"), "{}"), DD_ENUMERIC);
    says("value 6 of row 1 of images is inf");
    dd_synset_free(s);
}

static void set_refused(const char *dir, dd_status st, const char *part)
{
    dd_synset *s = NULL;
    assert_int_equal(dd_synset_load(&s, dir), st);
    assert_null(s);
    says(part);
}

/* Replaces the first `from` in set.json by `to` of the same length. */
static void edit_json(void **state, const char *from, const char *to)
{
    void *text;
    size_t n;
    assert_int_equal(dd_read_file(at(state, "a/set.json"), 1 << 20, &text, &n), DD_OK);
    char *p = strstr(text, from);
    assert_non_null(p);
    memcpy(p, to, strlen(to));
    put(state, "a/set.json", text, n);
    dd_free(text);
}

static void edit_tensors(void **state, size_t from_end, uint8_t value)
{
    void *data;
    size_t n;
    assert_int_equal(dd_read_file(at(state, "a/set.safetensors"), 1 << 20, &data, &n), DD_OK);
    ((uint8_t *)data)[n - from_end] = value;
    put(state, "a/set.safetensors", data, n);
    dd_free(data);
}

static void synset_edited_by_hand(void **state)
{
    dd_synset *s = make_set(10);
    char dir[DD_PATH];
    copy(dir, at(state, "a"));
    set_refused(dir, DD_ENOTFOUND, "set.json");
    assert_int_equal(dd_synset_save(s, dir, "{}"), DD_OK);
    edit_tensors(state, 2, 0x11);
    set_refused(dir, DD_EFORMAT, "set.json records");
    edit_tensors(state, 1, 0x7f);
    edit_tensors(state, 2, 0x80);
    set_refused(dir, DD_EFORMAT, "value 63 of row 9 of images is nan");
    assert_int_equal(dd_synset_save(s, dir, "{}"), DD_OK);
    edit_tensors(state, 10 * 64 * 4 + 16 + 10 * 8 - 8, 77);
    set_refused(dir, DD_EFORMAT, "label 77 of row 1 is out of range, there are 10 classes");
    assert_int_equal(dd_synset_save(s, dir, "{}"), DD_OK);
    edit_json(state, "[10, 1", "[11, 1");
    set_refused(dir, DD_EFORMAT, "[10,1,8,8], set.json asks for f32 [11,1,8,8]");
    edit_json(state, "[11, 1", "[10, 1");
    edit_json(state, "\"mean\": [0", "\"mean\": [1");
    set_refused(dir, DD_EFORMAT, "mean of channel 0 is 0.3");
    edit_json(state, "\"mean\": [1", "\"mean\": [0");
    edit_json(state, "\"8\", \"9\"", "\"9\"     ");
    set_refused(dir, DD_EFORMAT, "label 9 of row 9 is out of range, there are 9 classes");
    put(state, "a/set.json", "{\"a\": 1, \"a\": 2}", 16);
    set_refused(dir, DD_EFORMAT, "duplicate");
    put(state, "a/set.json", "{}", 2);
    set_refused(dir, DD_EFORMAT, "\"sha256\" is missing");
    assert_int_equal(dd_synset_save(s, dir, "{}"), DD_OK);
    assert_int_equal(remove(at(state, "a/set.safetensors")), 0);
    set_refused(dir, DD_ENOTFOUND, "set.safetensors");
    put(state, "a/set.safetensors", "abc", 3);
    set_refused(dir, DD_EFORMAT, "3 bytes are too short");
    dd_synset_free(s);
}

static void synset_exports(void **state)
{
    dd_synset *s = make_set(20);
    dd_dataset *d;
    void *data;
    size_t n;
    assert_int_equal(dd_synset_export(s, "gif", "x"), DD_EINVAL);
    says("npz, pt and png");
    assert_int_equal(dd_synset_export(s, "npz", at(state, "s.npz")), DD_OK);
    d = must_open(at(state, "s.npz"), NULL);
    assert_int_equal(d->train.n + d->test.n, 20);
    dd_dataset_close(d);
    assert_int_equal(dd_synset_export(s, "png", at(state, "png")), DD_OK);
    d = must_open(at(state, "png"), NULL);
    assert_int_equal(d->classes, 10);
    assert_int_equal(d->h, 8);
    dd_dataset_close(d);
    assert_int_equal(dd_synset_export(s, "pt", at(state, "pt")), DD_OK);
    assert_int_equal(dd_read_file(at(state, "pt/images.pt"), 1 << 20, &data, &n), DD_OK);
    assert_memory_equal(data, "PK\3\4", 4);
    dd_free(data);
    assert_true(dd_exists(at(state, "pt/labels.pt")));
    dd_synset_free(s);
}

static void grid_is_a_picture(void **state)
{
    dd_synset *s = make_set(20);
    dd_picture im;
    void *data;
    size_t n;
    assert_int_equal(dd_grid_png(at(state, "g.png"), &s->images, s->mean, s->std, 2), DD_OK);
    assert_int_equal(dd_read_file(at(state, "g.png"), 1 << 24, &data, &n), DD_OK);
    assert_int_equal(dd_png_decode(data, n, "g", &im), DD_OK);
    assert_int_equal(im.w, 2 * 66 + 2);
    assert_int_equal(im.h, 10 * 66 + 2);
    dd_picture_fini(&im);
    dd_free(data);
    assert_int_equal(dd_grid_png(at(state, "g.png"), &s->images, s->mean, s->std, 0), DD_EINVAL);
    dd_synset_free(s);
}

/* Every allocation of an open, save and load fails once; nothing may leak or crash. */
static void out_of_memory(void **state)
{
    dd_dataset *d = NULL;
    dd_synset *s = make_set(10), *t = NULL;
    char dir[DD_PATH];
    copy(dir, at(state, "a"));
    dd_status st = DD_ENOMEM;
    picture_folder(state);
    for (long n = 1; st != DD_OK; n++) {
        assert_true(n < 500);
        dd_alloc_fail_after(n);
        st = dd_dataset_open(&d, at(state, "pics"), NULL);
        dd_alloc_fail_after(0);
        if (st != DD_OK) assert_null(d);
    }
    dd_dataset_close(d);
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(synset_round_trip), T(synset_edited_by_hand), T(synset_exports), T(grid_is_a_picture), T(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
