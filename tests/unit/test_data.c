/* SPDX-License-Identifier: Apache-2.0
 *
 * Data sets: a miniature of every format is made in a temporary folder, opened, then damaged in each way a file can be,
 * and the status and the numbers in the sentence are asserted. */
#include "data_place.h"
#include "data/safetensors.h"
#include <math.h>
#include <jpeglib.h>

static void refuse_with(const char *path, const dd_data_opts *o, dd_status st, const char *part)
{
    dd_dataset *d = NULL;
    dd_status got = dd_dataset_open(&d, path, o);
    if (got != st) fail_msg("%s: status %d, expected %d: %s", path, got, st, dd_last_error());
    assert_null(d);
    says(part);
}

static void refuse(const char *path, dd_status st, const char *part)
{
    refuse_with(path, NULL, st, part);
}

/* ---- digits and what all data sets share ---- */

static void digits_are_complete(void **state)
{
    (void)state;
    dd_dataset *d = must_open("digits", NULL);
    assert_int_equal(d->train.n, 1437);
    assert_int_equal(d->test.n, 360);
    assert_int_equal(d->classes, 10);
    assert_string_equal(d->normalisation, "computed");
    assert_string_equal(d->warning, "");
    assert_int_equal(strlen(d->sha256), 64);
    for (int64_t k = 0; k < 10; k++) {
        int64_t a = d->train.class_first[k], n = d->train.class_first[k + 1] - a;
        int64_t m = d->test.class_first[k + 1] - d->test.class_first[k];
        assert_in_range(n, 139, 147);
        assert_in_range(m, 34, 38);
        for (int64_t i = a; i < a + n; i++) {
            assert_int_equal(dd_i32(&d->train.labels)[d->train.class_index[i]], k);
            if (i > a) assert_true(d->train.class_index[i] > d->train.class_index[i - 1]);
        }
    }
    dd_dataset_close(d);
}

static void batch_is_normalised(void **state)
{
    (void)state;
    dd_dataset *d = must_open("digits", NULL);
    int64_t n = d->train.n, px = 64;
    int32_t *items = calloc((size_t)n, sizeof *items);
    float *x = calloc((size_t)(n * px), sizeof *x);
    double sum = 0, sq = 0;
    for (int32_t i = 0; i < n; i++) items[i] = i;
    dd_data_batch(d, &d->train, items, n, x);
    for (int64_t i = 0; i < n * px; i++) {
        sum += (double)x[i];
        sq += (double)x[i] * (double)x[i];
    }
    assert_true(fabs(sum / (double)(n * px)) < 1e-5);
    assert_true(fabs(sq / (double)(n * px) - 1) < 1e-4);
    free(items);
    free(x);
    dd_dataset_close(d);
}

static void normalisation_options(void **state)
{
    (void)state;
    dd_data_opts o = DD_DATA_OPTS_INIT;
    o.normalise = "none";
    dd_dataset *d = must_open("digits", &o);
    assert_true(d->mean[0] <= 0 && d->mean[0] >= 0 && d->std[0] >= 1 && d->std[0] <= 1);
    dd_dataset_close(d);
    o.normalise = "0.25/0.5";
    d = must_open("digits", &o);
    assert_string_equal(d->normalisation, "given");
    assert_true(fabs(d->mean[0] - 0.25) < 1e-15 && fabs(d->std[0] - 0.5) < 1e-15);
    dd_dataset_close(d);
    const char *bad[] = {"0.1,0.2/1", "0.1", "a/b", "0.1/0", "0.1,/1", "/", "nan/1"};
    for (size_t i = 0; i < DD_LEN(bad); i++) {
        o.normalise = bad[i];
        refuse_with("digits", &o, DD_EINVAL, bad[i]);
    }
}

static void holdout_is_stratified(void **state)
{
    (void)state;
    dd_dataset *d = must_open("digits", NULL);
    int32_t *tr, *va, *tr2, *va2;
    int64_t nt, nv, nt2, nv2;
    assert_int_equal(dd_data_holdout(d, 0.1, dd_key_seed(7), &tr, &nt, &va, &nv), DD_OK);
    assert_int_equal(dd_data_holdout(d, 0.1, dd_key_seed(7), &tr2, &nt2, &va2, &nv2), DD_OK);
    assert_int_equal(nt + nv, 1437);
    assert_int_equal(nv, nv2);
    assert_memory_equal(va, va2, (size_t)nv * sizeof *va);
    int64_t per[10] = {0};
    for (int64_t i = 0; i < nv; i++) {
        per[dd_i32(&d->train.labels)[va[i]]]++;
        if (i) assert_true(va[i] > va[i - 1]);
    }
    for (int k = 0; k < 10; k++) assert_in_range(per[k], 14, 15);
    free(tr);
    free(va);
    free(tr2);
    free(va2);
    assert_int_equal(dd_data_holdout(d, 0.7, dd_key_seed(7), &tr, &nt, &va, &nv), DD_EINVAL);
    says("0.7");
    dd_dataset_close(d);
}

static void names_that_are_not_there(void **state)
{
    dd_data_opts o = DD_DATA_OPTS_INIT;
    refuse("fashion-mnits", DD_ENOTFOUND, "did you mean fashion-mnist");
    refuse("/no/such/folder", DD_ENOTFOUND, "/no/such/folder");
    refuse("", DD_EINVAL, "no data set");
    setenv("XDG_DATA_DIRS", "/nowhere-a:/nowhere-b", 1);
    o.data_dir = ((place *)*state)->dir;
    refuse_with("mnist", &o, DD_ENOTFOUND, o.data_dir);
    says("/nowhere-b/datasets");
    unsetenv("XDG_DATA_DIRS");
    put(state, "cifar-10-batches-bin/data_batch_1.bin.xz", "x", 1);
    refuse_with("cifar10", &o, DD_ENOTFOUND, "xz -dk");
    refuse(at(state, "cifar-10-batches-bin"), DD_ENOTFOUND, "xz -dk");
    put(state, "other/readme.txt", "x", 1);
    refuse(at(state, "other"), DD_EFORMAT, "holds no data set");
    refuse(at(state, "other/readme.txt"), DD_EFORMAT, "neither a folder nor");
    o.channels = 2;
    refuse_with("digits", &o, DD_EINVAL, "channels is 2");
}

static void kinds_are_listed(void **state)
{
    (void)state;
    assert_int_equal(dd_dataset_kind_count(), 4);
    assert_string_equal(dd_dataset_kind_name(0), "digits");
    assert_non_null(dd_dataset_kind_title(3));
    assert_null(dd_dataset_kind_name(4));
}

/* ---- IDX ---- */

/* 12 images of 3x2 in 3 classes; returns the size. */
static size_t idx_images(uint8_t *b, uint32_t n)
{
    const uint8_t head[16] = {0, 0, 8, 3, 0, 0, 0, (uint8_t)n, 0, 0, 0, 3, 0, 0, 0, 2};
    memcpy(b, head, 16);
    for (uint32_t i = 0; i < n * 6; i++) b[16 + i] = (uint8_t)(i * 7);
    return 16 + n * 6;
}

static size_t idx_labels(uint8_t *b, uint32_t n)
{
    const uint8_t head[8] = {0, 0, 8, 1, 0, 0, 0, (uint8_t)n};
    memcpy(b, head, 8);
    for (uint32_t i = 0; i < n; i++) b[8 + i] = (uint8_t)(i % 3);
    return 8 + n;
}

#define TRAIN_IMAGES "idx/train-images-idx3-ubyte"
#define TRAIN_LABELS "idx/train-labels-idx1-ubyte"

static void idx_folder(void **state)
{
    uint8_t b[256];
    put(state, TRAIN_IMAGES, b, idx_images(b, 12));
    put(state, TRAIN_LABELS, b, idx_labels(b, 12));
    put(state, "idx/t10k-images-idx3-ubyte", b, idx_images(b, 6));
    put(state, "idx/t10k-labels-idx1-ubyte", b, idx_labels(b, 6));
}

static void idx_opens(void **state)
{
    idx_folder(state);
    dd_dataset *d = must_open(at(state, "idx"), NULL);
    assert_int_equal(d->train.n, 12);
    assert_int_equal(d->test.n, 6);
    assert_int_equal(d->h, 3);
    assert_int_equal(d->w, 2);
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->name, "idx");
    float x[6];
    const int32_t item = 1;
    dd_data_batch(d, &d->train, &item, 1, x);
    assert_true(fabs((double)x[2] - (56.0 / 255 - d->mean[0]) / d->std[0]) < 1e-6);
    dd_dataset_close(d);
}

static void idx_defects(void **state)
{
    uint8_t b[256];
    idx_folder(state);
    size_t n = idx_images(b, 12);
    put(state, TRAIN_IMAGES, b, n - 5);
    refuse(at(state, "idx"), DD_EFORMAT, "67 bytes of elements, the header's sizes need 72 (truncated");
    put(state, TRAIN_IMAGES, b, n + 3);
    refuse(at(state, "idx"), DD_EFORMAT, "75 bytes of elements, the header's sizes need 72 (bytes too many");
    put(state, TRAIN_IMAGES, b, 0);
    refuse(at(state, "idx"), DD_EFORMAT, "empty (0 bytes)");
    put(state, TRAIN_IMAGES, b, 9);
    refuse(at(state, "idx"), DD_EFORMAT, "9 bytes, the header alone has 16");
    b[2] = 13;
    put(state, TRAIN_IMAGES, b, n);
    refuse(at(state, "idx"), DD_EFORMAT, "magic number 0x00000d03, expected 0x00000803");
    idx_images(b, 12);
    memset(b + 4, 0xff, 12);
    put(state, TRAIN_IMAGES, b, n);
    refuse(at(state, "idx"), DD_EFORMAT, "2^40");
    idx_images(b, 0);
    put(state, TRAIN_IMAGES, b, 16);
    refuse(at(state, "idx"), DD_EFORMAT, "no items");
    idx_folder(state);
    put(state, TRAIN_LABELS, b, idx_labels(b, 11));
    refuse(at(state, "idx"), DD_EFORMAT, "11 labels for the 12 images");
    idx_labels(b, 12);
    b[8 + 4] = 200;
    put(state, TRAIN_LABELS, b, 20);
    refuse(at(state, "idx"), DD_EFORMAT, "label 200 of item 4 is out of range");
    for (int i = 0; i < 12; i++) b[8 + i] = (uint8_t)(i % 2 * 2);
    put(state, TRAIN_LABELS, b, 20);
    refuse(at(state, "idx"), DD_EFORMAT, "class 1, \"1\", has no training items");
    idx_folder(state);
    idx_labels(b, 6);
    b[8 + 5] = 3;
    put(state, "idx/t10k-labels-idx1-ubyte", b, 14);
    refuse(at(state, "idx"), DD_EFORMAT, "label 3 of test item 5");
    assert_int_equal(remove(at(state, "idx/t10k-labels-idx1-ubyte")), 0);
    refuse(at(state, "idx"), DD_ENOTFOUND, "t10k-labels-idx1-ubyte");
}

static void idx_known_name(void **state)
{
    uint8_t b[256];
    dd_data_opts o = DD_DATA_OPTS_INIT;
    char dir[DD_PATH];
    copy(dir, at(state, "idx"));
    o.data_dir = dir;
    idx_folder(state);
    refuse_with("mnist", &o, DD_EFORMAT, "1x3x2");
    idx_labels(b, 12);
    b[8 + 7] = 11;
    put(state, TRAIN_LABELS, b, 20);
    refuse_with("mnist", &o, DD_EFORMAT, "label 11 of item 7 is out of range, there are 10 classes (0..9)");
}

static void gzip_defects(void **state)
{
    /* "attar" packed by gzip -n */
    const uint8_t gz[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x2c, 0x29,
                          0x49, 0x2c, 2, 0, 0, 0, 0, 0, 5, 0, 0,    0};
    uint8_t b[64];
    void *out;
    size_t n;
    memcpy(b, gz, sizeof gz);
    const uint32_t crc = dd_crc32("attar", 5);
    memcpy(b + 17, &crc, 4);
    (void)state;
    assert_int_equal(dd_gunzip(b, sizeof gz, 100, "f", &out, &n), DD_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "attar", 5);
    dd_free(out);
    assert_int_equal(dd_gunzip(b, sizeof gz, 4, "f", &out, &n), DD_EFORMAT);
    says("limit of 4 bytes");
    assert_int_equal(dd_gunzip(b, sizeof gz - 3, 100, "f", &out, &n), DD_EFORMAT);
    says("truncated");
    b[25] = 'x';
    assert_int_equal(dd_gunzip(b, sizeof gz + 1, 100, "f", &out, &n), DD_EFORMAT);
    says("1 bytes that are no gzip data");
    b[18] ^= 1;
    assert_int_equal(dd_gunzip(b, sizeof gz, 100, "f", &out, &n), DD_EFORMAT);
    says("corrupt gzip data");
}

/* ---- CIFAR ---- */

static const char meta[] = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

static void cifar_folder(void **state)
{
    enum { N = 10 };
    uint8_t *b = calloc(N, 3073);
    for (int i = 0; i < N; i++) {
        b[i * 3073] = (uint8_t)i;
        memset(b + i * 3073 + 1, i * 20, 1024);
        memset(b + i * 3073 + 2049, 255 - i, 1024);
    }
    for (int i = 1; i <= 5; i++) {
        char name[40];
        snprintf(name, sizeof name, "cifar10/data_batch_%d.bin", i);
        put(state, name, b, N * 3073);
    }
    put(state, "cifar10/test_batch.bin", b, N * 3073);
    put(state, "cifar10/batches.meta.txt", meta, sizeof meta - 1);
    free(b);
}

static void cifar_opens(void **state)
{
    dd_data_opts o = DD_DATA_OPTS_INIT;
    cifar_folder(state);
    o.data_dir = ((place *)*state)->dir;
    dd_dataset *d = must_open("cifar10", &o);
    assert_int_equal(d->train.n, 50);
    assert_int_equal(d->test.n, 10);
    assert_int_equal(d->c, 3);
    assert_string_equal(d->normalisation, "published");
    assert_true(fabs(d->mean[2] - 0.4465) < 1e-12);
    assert_string_equal(d->class_names[9], "truck");
    assert_int_equal(dd_u8(&d->train.images)[3 * 3072 + 2048], 252);
    dd_dataset_close(d);
}

static void cifar_defects(void **state)
{
    char dir[DD_PATH];
    copy(dir, at(state, "cifar10"));
    uint8_t *b = calloc(2, 3073);
    cifar_folder(state);
    put(state, "cifar10/data_batch_3.bin", b, 3072);
    refuse(dir, DD_EFORMAT, "data_batch_3.bin: 3072 bytes are no whole number of records of 3073 bytes");
    put(state, "cifar10/data_batch_3.bin", b, 0);
    refuse(dir, DD_EFORMAT, "data_batch_3.bin is empty");
    b[3073] = 10;
    put(state, "cifar10/data_batch_3.bin", b, 2 * 3073);
    refuse(dir, DD_EFORMAT, "label 10 of record 1 is out of range, there are 10 classes");
    cifar_folder(state);
    put(state, "cifar10/batches.meta.txt", meta, 20);
    refuse(dir, DD_EFORMAT, "names 2 classes, expected 10");
    cifar_folder(state);
    assert_int_equal(remove(at(state, "cifar10/data_batch_4.bin")), 0);
    refuse(at(state, "cifar10"), DD_ENOTFOUND, "data_batch_4.bin");
    free(b);
}

/* ---- image folders ---- */

static size_t jpeg_bytes(uint8_t **out)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr err;
    unsigned char row[48], *rows[1] = {row}, *mem = NULL;
    unsigned long n = 0;
    c.err = jpeg_std_error(&err);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &mem, &n);
    c.image_width = c.image_height = 16;
    c.input_components = 3;
    c.in_color_space = JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_start_compress(&c, TRUE);
    for (int y = 0; y < 16; y++) {
        for (int i = 0; i < 48; i++) row[i] = (unsigned char)(y * 15 + i * 3);
        jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    *out = mem;
    return n;
}

static void folder_opens(void **state)
{
    uint8_t *jpg;
    picture_folder(state);
    size_t n = jpeg_bytes(&jpg);
    put(state, "pics/train/dog/9.JPG", jpg, n);
    put(state, "pics/train/dog/notes.txt", "x", 1);
    free(jpg);
    dd_dataset *d = must_open(at(state, "pics"), NULL);
    assert_int_equal(d->train.n, 7);
    assert_int_equal(d->test.n, 6);
    assert_int_equal(d->c, 3); /* one picture is in colour, so all are */
    assert_string_equal(d->class_names[0], "cat");
    assert_int_equal(dd_u8(&d->train.images)[3 * 768], 100);
    assert_string_equal(d->warning, "6 of 7 pictures are grey and count as colour ones");
    dd_dataset_close(d);
    dd_data_opts o = DD_DATA_OPTS_INIT;
    o.resize_h = 8;
    o.resize_w = 4;
    o.channels = 1;
    d = must_open(at(state, "pics"), &o);
    assert_int_equal(d->h * 10 + d->w, 84);
    assert_int_equal(d->c, 1);
    assert_int_equal(dd_u8(&d->train.images)[3 * 32 + 5], 100);
    dd_dataset_close(d);
}

static void folder_defects(void **state)
{
    const uint8_t junk[40] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 1, 2, 3};
    char dir[DD_PATH];
    copy(dir, at(state, "pics"));
    dd_data_opts o = DD_DATA_OPTS_INIT;
    void *png;
    size_t n;
    uint8_t *jpg;
    picture_folder(state);
    put(state, "pics/train/cat/1.png", junk, sizeof junk);
    refuse(dir, DD_EFORMAT, "cat/1.png: corrupt PNG");
    put(state, "pics/train/cat/1.png", junk, 0);
    refuse(dir, DD_EFORMAT, "1.png is empty (0 bytes)");
    put(state, "pics/train/cat/1.png", "GIF89a", 6);
    refuse(dir, DD_EFORMAT, "6 bytes that start neither");
    assert_int_equal(dd_read_file(at(state, "pics/train/cat/0.png"), 10000, &png, &n), DD_OK);
    put(state, "pics/train/cat/1.png", png, n - 20);
    dd_free(png);
    refuse(dir, DD_EFORMAT, "cat/1.png: corrupt PNG");
    n = jpeg_bytes(&jpg);
    put(state, "pics/train/cat/1.png", jpg, n - 60);
    refuse(dir, DD_EFORMAT, "cat/1.png: corrupt JPEG");
    free(jpg);
    put_png(state, "pics/train/cat/1.png", 16, 15, 1, 3);
    refuse(dir, DD_EFORMAT, "is 15x16 (HxW) where");
    put_png(state, "pics/train/cat/1.png", 16, 16, 1, 3);
    put_png(state, "pics/val/emu/0.png", 16, 16, 1, 3);
    refuse(dir, DD_EFORMAT, "\"emu\" that is none of the 2 classes");
    assert_int_equal(dd_make_dir(at(state, "pics/train/emu")), DD_OK);
    refuse(at(state, "pics"), DD_EFORMAT, "\"emu\", has no training items");
    put(state, "classes.txt", "dog\ncat\n", 8);
    char list[DD_PATH];
    copy(list, at(state, "classes.txt"));
    o.classes_file = list;
    refuse_with(at(state, "pics"), &o, DD_EFORMAT, "\"emu\" that is none of the 2 classes");
    put(state, "classes.txt", "dog\ncat\ndog\nemu\n", 16);
    refuse_with(at(state, "pics"), &o, DD_EFORMAT, "class \"dog\" twice");
}

static void folder_order(void **state)
{
    const char *names[] = {"2", "10", "1"};
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 4; i++) {
            char name[64];
            snprintf(name, sizeof name, "nums/%s/%d.png", names[k], i);
            put_png(state, name, 4, 4, 1, k);
        }
    }
    dd_dataset *d = must_open(at(state, "nums"), NULL);
    assert_string_equal(d->class_names[1], "10");
    assert_non_null(strstr(d->warning, "numeric order"));
    assert_non_null(strstr(d->warning, "no test part was found"));
    assert_int_equal(d->test.n, 3);
    dd_dataset_close(d);
    put(state, "order.txt", "1\tone\n2\n10\n", 11);
    dd_data_opts o = DD_DATA_OPTS_INIT;
    o.classes_file = at(state, "order.txt");
    d = must_open(at(state, "nums"), &o);
    assert_string_equal(d->class_names[2], "10");
    assert_null(strstr(d->warning, "numeric order"));
    dd_dataset_close(d);
}

/* ---- npz ---- */

typedef struct npz_case {
    const char *x, *y;
    dd_tensor images, labels;
} npz_case;

static void put_npz(void **state, const char *file, const npz_case *c, int n)
{
    char heads[8][256], names[8][40];
    dd_zip_member m[8];
    int k = 0;
    void *zip;
    size_t size;
    for (int i = 0; i < n; i++) {
        for (int part = 0; part < 2; part++, k++) {
            const dd_tensor *t = part ? &c[i].labels : &c[i].images;
            snprintf(names[k], sizeof names[k], "%s.npy", part ? c[i].y : c[i].x);
            m[k] = (dd_zip_member){
                names[k], {{heads[k], dd_npy_header(heads[k], sizeof heads[k], t)}, {t->data, dd_tensor_bytes(t)}}};
        }
    }
    assert_int_equal(dd_zip_store(m, k, &zip, &size), DD_OK);
    put(state, file, zip, size);
    dd_free(zip);
}

static void npz_opens(void **state)
{
    float x[10 * 2 * 2 * 3], v[10 * 2 * 2 * 3];
    int64_t y[10];
    for (int i = 0; i < 120; i++) x[i] = v[i] = (float)i / 120;
    for (int i = 0; i < 10; i++) y[i] = i % 2;
    npz_case c[2] = {{"x_train", "y_train", dd_tensor_view(DD_F32, DD_SHAPE(10, 2, 2, 3), x),
                      dd_tensor_view(DD_I64, DD_SHAPE(10, 1), y)},
                     {"x_test", "y_test", dd_tensor_view(DD_F32, DD_SHAPE(10, 2, 2, 3), v),
                      dd_tensor_view(DD_I64, DD_SHAPE(10), y)}};
    put_npz(state, "a.npz", c, 2);
    dd_dataset *d = must_open(at(state, "a.npz"), NULL);
    assert_int_equal(d->c, 3);
    assert_int_equal(d->train.n + d->test.n, 20);
    /* [N,H,W,C] to [N,C,H,W]: channel 1 of pixel (1,0) of item 2 was element 2*12 + 1*6 + 0*3 + 1 */
    assert_true(fabs((double)dd_f32(&d->train.images)[2 * 12 + 1 * 4 + 2] - 31.0 / 120) < 1e-6);
    dd_dataset_close(d);
    c[0].x = "X";
    c[0].y = "y";
    for (int i = 0; i < 120; i++) x[i] = (float)i;
    put_npz(state, "b.npz", c, 1);
    d = must_open(at(state, "b.npz"), NULL);
    assert_int_equal(d->train.n, 8);
    assert_int_equal(d->test.n, 2);
    assert_non_null(strstr(d->warning, "divided by 255"));
    assert_non_null(strstr(d->warning, "2 of 10"));
    dd_dataset_close(d);
}

static void npz_defects(void **state)
{
    uint8_t x[10 * 4] = {0};
    float f[40] = {0};
    int64_t y[10] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
    npz_case c = {"images", "labels", dd_tensor_view(DD_U8, DD_SHAPE(10, 2, 2), x),
                  dd_tensor_view(DD_I64, DD_SHAPE(10), y)};
    char path[DD_PATH];
    copy(path, at(state, "a.npz"));
    void *data;
    size_t n;
    put_npz(state, "a.npz", &c, 1);
    assert_int_equal(dd_read_file(path, 100000, &data, &n), DD_OK);
    put(state, "a.npz", data, n - 10);
    refuse(path, DD_EFORMAT, "no readable npz archive");
    ((uint8_t *)data)[30 + 10 + 128 + 3] ^= 1;
    put(state, "a.npz", data, n);
    refuse(path, DD_EFORMAT, "cannot unpack images.npy");
    dd_free(data);
    put(state, "a.npz", "", 0);
    refuse(path, DD_EFORMAT, "empty");
    c.images = dd_tensor_view(DD_F32, DD_SHAPE(10, 2, 2), f);
    f[13] = NAN;
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "pixel 1 of image 3 is nan");
    f[13] = 0;
    y[4] = -1;
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "label -1 of item 4");
    y[4] = 12;
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "label 12 of item 4 is out of range");
    y[4] = 0;
    c.labels = dd_tensor_view(DD_I64, DD_SHAPE(9), y);
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "9 labels for 10 images");
    c.images = dd_tensor_view(DD_F32, DD_SHAPE(10, 4), f);
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "[10,4]");
    c.x = "pictures";
    put_npz(state, "a.npz", &c, 1);
    refuse(path, DD_EFORMAT, "has an array labels but no images");
}

/* A member that claims 2^31 bytes, and one within its own limit only. */
static void npz_limits(void **state)
{
    uint8_t x[10 * 4] = {0};
    int64_t y[10] = {0, 1};
    npz_case c = {"images", "labels", dd_tensor_view(DD_U8, DD_SHAPE(10, 2, 2), x),
                  dd_tensor_view(DD_I64, DD_SHAPE(10), y)};
    dd_dataset d = {0};
    void *data;
    size_t n;
    put_npz(state, "a.npz", &c, 1);
    assert_int_equal(dd_read_file(at(state, "a.npz"), 100000, &data, &n), DD_OK);
    assert_int_equal(dd_npz_parse(&d, data, n, 100, "z"), DD_EFORMAT);
    says("has 168 bytes, more than the limit of 100");
    dd_split_fini(&d.train);
    dd_free(data);
}

static void npy_headers(void **state)
{
    (void)state;
    static const struct {
        const char *dict, *says;
    } bad[] = {{"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "'>f4'"},
               {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "'|O'"},
               {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1)}", "Fortran"},
               {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", "empty"},
               {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "the shape needs 12"},
               {"{'descr': '<f4', 'fortran_order': False}", "dictionary"},
               {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "dictionary"},
               {"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 9)}", "2^40"}};
    for (size_t i = 0; i < DD_LEN(bad); i++) {
        char b[256] = "\x93NUMPY\x01";
        dd_npy a;
        size_t n = strlen(bad[i].dict);
        b[8] = (char)n;
        memcpy(b + 10, bad[i].dict, n);
        assert_int_equal(dd_npy_parse(b, 10 + n + 8, "f", &a), DD_EFORMAT);
        says(bad[i].says);
    }
}

/* ---- safetensors ---- */

static dd_status st_parse(const char *header, size_t body)
{
    uint8_t b[1024] = {0};
    dd_st_file f;
    size_t n = strlen(header);
    b[0] = (uint8_t)n;
    b[1] = (uint8_t)(n >> 8);
    memcpy(b + 8, header, n);
    return dd_st_parse(&f, b, 8 + n + body, "f");
}

static void safetensors_defects(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t body;
        const char *says;
    } bad[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
         "\"data_offsets\":[0,8]}}",
         8, "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "ends at byte 8 of 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "end at byte 8, the data at 9"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "has 8 bytes, its shape needs 12"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_"
         "offsets\":[2,6]}}",
         6, "gap or an overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "starts at byte 0"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]}}", 8, "element type F16"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,8]}}", 8, "no usable number"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[8,4]}}", 8, "data_offsets"},
        {"{\"a\":7}", 0, "element type"},
        {"[]      ", 0, "no object"},
        {"{\"a\":  ", 0, "no valid JSON"},
    };
    for (size_t i = 0; i < DD_LEN(bad); i++) {
        assert_int_equal(st_parse(bad[i].header, bad[i].body), DD_EFORMAT);
        says(bad[i].says);
    }
    const uint8_t huge[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    dd_st_file f;
    assert_int_equal(dd_st_parse(&f, huge, 16, "f"), DD_EFORMAT);
    says("at most 104857600");
    assert_int_equal(dd_st_parse(&f, huge, 0, "f"), DD_EFORMAT);
    assert_int_equal(
        st_parse("{\"__metadata__\":{\"a\":\"b\"},\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4),
        DD_OK);
}

static void resizing(void **state)
{
    (void)state;
    const uint8_t px[4] = {0, 100, 200, 40};
    dd_picture im = {4, 1, 1, dd_alloc(4, 1)};
    memcpy(im.px, px, 4);
    assert_int_equal(dd_picture_resize(&im, 1, 2), DD_OK);
    assert_int_equal(im.px[0], 50);
    assert_int_equal(im.px[1], 120);
    assert_int_equal(dd_picture_resize(&im, 2, 4), DD_OK);
    const uint8_t want[8] = {50, 68, 102, 120, 50, 68, 102, 120};
    assert_memory_equal(im.px, want, 8);
    dd_picture_fini(&im);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(digits_are_complete),
        T(batch_is_normalised),
        T(normalisation_options),
        T(holdout_is_stratified),
        T(names_that_are_not_there),
        T(kinds_are_listed),
        T(idx_opens),
        T(idx_defects),
        T(idx_known_name),
        T(gzip_defects),
        T(cifar_opens),
        T(cifar_defects),
        T(folder_opens),
        T(folder_defects),
        T(folder_order),
        T(npz_opens),
        T(npz_defects),
        T(npz_limits),
        T(npy_headers),
        T(safetensors_defects),
        T(resizing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
