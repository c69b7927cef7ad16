/* SPDX-License-Identifier: Apache-2.0
 *
 * Status, memory, files, random numbers, options and tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "attar/options.h"
#include "attar/random.h"
#include "attar/tensor.h"
#include "base/fs.h"
#include "base/memory.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void status_keeps_the_last_sentence(void **state)
{
    (void)state;
    assert_int_equal(dd_fail(DD_EIO, "%d of %d", 3, 7), DD_EIO);
    assert_string_equal(dd_last_error(), "3 of 7");
    dd_fail(DD_EINVAL, "again: %s", dd_last_error());
    assert_string_equal(dd_last_error(), "again: 3 of 7");
    for (int s = DD_OK; s >= DD_EINTERRUPTED; s--) assert_true(strlen(dd_status_name((dd_status)s)) > 1);
}

static void allocation_is_aligned_zeroed_and_checked(void **state)
{
    (void)state;
    unsigned char *p = dd_alloc(100, 3);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int i = 0; i < 300; i++) assert_int_equal(p[i], 0);
    dd_free(p);
    assert_null(dd_alloc(SIZE_MAX / 2, 3));
    dd_alloc_fail_after(2);
    void *first = dd_alloc(1, 1);
    assert_non_null(first);
    assert_null(dd_alloc(1, 1));
    dd_free(first);
    dd_arena *a = dd_arena_new();
    assert_string_equal(dd_arena_strdup(a, "attar"), "attar");
    assert_non_null(dd_arena_alloc(a, 1000000));
    dd_arena_free(a);
}

/* Each failing allocation must come back as NULL or DD_ENOMEM and leave nothing behind (the leak checker looks). */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    void *grown = NULL;
    size_t cap = 0;
    const int64_t held = dd_memory_held();
    assert_int_equal(dd_grow(&grown, &cap, 10, 8), DD_OK);
    memcpy(grown, "kept", 5);
    dd_shrink(&grown, 8);
    assert_string_equal(grown, "kept");
    dd_free(grown);
    assert_int_equal(dd_memory_held(), held);
    grown = NULL;
    cap = 0;
    assert_int_equal(dd_grow(&grown, &cap, 10, 8), DD_OK);
    dd_alloc_fail_after(1);
    const size_t before = cap;
    assert_int_equal(dd_grow(&grown, &cap, 1000, 8), DD_ENOMEM);
    assert_int_equal(cap, before);
    assert_int_equal(dd_grow(&grown, &cap, SIZE_MAX, 8), DD_ENOMEM);
    dd_free(grown);
    dd_alloc_fail_after(1);
    assert_null(dd_strdup("x"));
    dd_alloc_fail_after(1);
    assert_null(dd_arena_new());
    dd_arena *a = dd_arena_new();
    dd_alloc_fail_after(1);
    assert_null(dd_arena_strdup(a, "x"));
    assert_non_null(dd_arena_strdup(a, "x"));
    assert_null(dd_arena_alloc(a, SIZE_MAX));
    dd_arena_free(a);
    dd_str s = {0};
    dd_alloc_fail_after(1);
    dd_str_add(&s, "x");
    dd_str_add(&s, "y"); /* sticky, though memory is back */
    assert_true(s.failed);
    dd_str_free(&s);
    dd_alloc_fail_after(0);
}

static void text_grows(void **state)
{
    (void)state;
    dd_str s = {0};
    for (int i = 0; i < 1000; i++) dd_str_addf(&s, "%03d", i);
    assert_false(s.failed);
    assert_int_equal(s.len, 3000);
    assert_memory_equal(s.p + 2997, "999", 4);
    dd_str_free(&s);
}

static void folder(char *buf, size_t size)
{
    snprintf(buf, size, "%s/attar-base-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(buf));
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    char dir[256], path[300];
    void *data;
    size_t size;
    folder(dir, sizeof dir);
    assert_int_equal(dd_path_join(path, sizeof path, dir, "a"), DD_OK);
    assert_int_equal(dd_write_file(path, "one", 3), DD_OK);
    assert_int_equal(dd_write_file(path, "second", 6), DD_OK);
    assert_int_equal(dd_read_file(path, 100, &data, &size), DD_OK);
    assert_int_equal(size, 6);
    assert_string_equal(data, "second");
    dd_free(data);
    assert_int_equal(dd_read_file(path, 5, &data, &size), DD_EFORMAT);
    assert_non_null(strstr(dd_last_error(), "6 bytes"));
    assert_int_equal(dd_make_dir(path), DD_EIO);
    unlink(path);
    assert_int_equal(dd_read_file(path, 5, &data, &size), DD_ENOTFOUND);
    rmdir(dir);
}

/* A file-size limit stands in for a full disk: the write fails half-way. */
static void a_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    char dir[256], path[300], **names;
    void *data;
    size_t size, n;
    static char big[100000];
    folder(dir, sizeof dir);
    dd_path_join(path, sizeof path, dir, "a");
    assert_int_equal(dd_write_file(path, "old", 3), DD_OK);
    struct rlimit was, small;
    getrlimit(RLIMIT_FSIZE, &was);
    small = was;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    assert_int_equal(dd_write_file(path, big, sizeof big), DD_EIO);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_non_null(strstr(dd_last_error(), "5000 of 100000"));
    assert_int_equal(dd_read_file(path, 100, &data, &size), DD_OK);
    assert_string_equal(data, "old");
    dd_free(data);
    assert_int_equal(dd_list_dir(dir, &names, &n), DD_OK);
    assert_int_equal(n, 1);
    dd_list_free(names, n);
    unlink(path);
    rmdir(dir);
}

static void folders_are_made_and_listed_in_order(void **state)
{
    (void)state;
    char dir[256], path[300], deep[300], tiny[4], **names;
    size_t n;
    folder(dir, sizeof dir);
    const char *const parts[] = {"b", "a10", "a9"};
    for (size_t i = 0; i < DD_LEN(parts); i++) {
        dd_path_join(path, sizeof path, dir, parts[i]);
        assert_int_equal(dd_write_file(path, "", 0), DD_OK);
    }
    for (long fail = 1; fail <= 4; fail++) { /* the array and each name */
        dd_alloc_fail_after(fail);
        assert_int_equal(dd_list_dir(dir, &names, &n), DD_ENOMEM);
        assert_null(names);
    }
    dd_alloc_fail_after(0);
    assert_int_equal(dd_list_dir(dir, &names, &n), DD_OK);
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "a10");
    assert_string_equal(names[1], "a9");
    assert_string_equal(names[2], "b");
    dd_list_free(names, n);
    assert_int_equal(dd_list_dir(path, &names, &n), DD_ENOTFOUND);
    for (size_t i = 0; i < DD_LEN(parts); i++) {
        dd_path_join(path, sizeof path, dir, parts[i]);
        unlink(path);
    }
    dd_path_join(path, sizeof path, dir, "x");
    dd_path_join(deep, sizeof deep, path, "y/");
    assert_int_equal(dd_make_dir(deep), DD_OK);
    assert_int_equal(dd_make_dir(deep), DD_OK);
    assert_true(dd_is_dir(deep) && dd_exists(path));
    rmdir(deep);
    rmdir(path);
    rmdir(dir);
    assert_int_equal(dd_path_join(tiny, sizeof tiny, "ab", "c"), DD_EINVAL);
    assert_int_equal(dd_path_join(tiny, sizeof tiny, "a/", "c"), DD_OK);
    assert_string_equal(tiny, "a/c");
}

static void pipes_and_folders_are_no_files(void **state)
{
    (void)state;
    char dir[256], path[300];
    void *data;
    size_t size;
    folder(dir, sizeof dir);
    dd_path_join(path, sizeof path, dir, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(dd_read_file(path, 5, &data, &size), DD_EFORMAT);
    assert_int_equal(dd_read_file(dir, 5, &data, &size), DD_EFORMAT);
    assert_null(data);
    /* and are not replaced by one */
    struct stat is;
    char read_back[4] = {0};
    const int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(dd_write_file(path, "abc", 3), DD_OK);
    assert_true(stat(path, &is) == 0 && S_ISFIFO(is.st_mode));
    assert_int_equal(read(reader, read_back, 3), 3);
    assert_string_equal(read_back, "abc");
    close(reader);
    assert_int_equal(dd_write_file(dir, "abc", 3), DD_EIO);
    unlink(path);
    rmdir(dir);
}

static void a_link_stays_one(void **state)
{
    (void)state;
    char dir[256], path[300], link[300];
    struct stat is;
    void *data;
    size_t size;
    folder(dir, sizeof dir);
    dd_path_join(path, sizeof path, dir, "file");
    dd_path_join(link, sizeof link, dir, "link");
    assert_int_equal(dd_write_file(path, "one", 3), DD_OK);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(dd_write_file(link, "second", 6), DD_OK);
    assert_true(lstat(link, &is) == 0 && S_ISLNK(is.st_mode));
    assert_int_equal(dd_read_file(path, 100, &data, &size), DD_OK);
    assert_string_equal(data, "second");
    dd_free(data);
    assert_true(dd_same_file(path, link));
    assert_false(dd_same_file(path, dir));
    dd_remove_file(link);
    assert_false(dd_same_file(path, link));
    dd_remove_file(path);
    dd_remove_file(path);
    assert_int_equal(rmdir(dir), 0);
}

static void draws_are_functions_of_key_and_counter(void **state)
{
    (void)state;
    /* Philox 4x32-10 of counter 0 and key 0, from the generator's published known answers */
    assert_true(dd_key_u64((dd_key){0}, 0) == UINT64_C(0xe169c58d6627e8d5));
    /* its other two words, 0xbc57ac4c and 0x9b00dbd8, give the angle of a normal draw */
    const double u0 = ldexp((double)(UINT64_C(0xe169c58d6627e8d5) >> 11), -53);
    const double v0 = ldexp((double)(UINT64_C(0x9b00dbd8bc57ac4c) >> 11), -53);
    const double z0 = sqrt(-2 * log(1 - u0)) * cos(2 * 3.14159265358979323846 * v0);
    assert_true(fabs(dd_key_normal((dd_key){0}, 0) - z0) < 1e-14); /* rounding of one cosine */
    const dd_key k = dd_key_seed(1);
    assert_true(dd_key_at(k, "a", 0).k == dd_key_at(k, "a", 0).k);
    assert_true(dd_key_at(k, "a", 0).k != dd_key_at(k, "a", 1).k);
    assert_true(dd_key_at(k, "a", 0).k != dd_key_at(k, "b", 0).k);
    double sum = 0, square = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        const double u = dd_key_uniform(k, i), z = dd_key_normal(k, i);
        assert_true(u >= 0 && u < 1);
        assert_true(dd_key_below(k, i, 7) < 7);
        sum += z;
        square += z * z;
    }
    assert_true(sum / 20000 < 0.03 && sum / 20000 > -0.03); /* 4 standard errors */
    assert_true(square / 20000 < 1.05 && square / 20000 > 0.95);
    int32_t p[50];
    bool seen[50] = {false};
    dd_key_permutation(k, 50, p);
    for (int i = 0; i < 50; i++) seen[p[i]] = true;
    for (int i = 0; i < 50; i++) assert_true(seen[i]);
}

typedef struct opts {
    int64_t n;
    double lr;
    bool on;
    char name[DD_OPT_TEXT], kind[DD_OPT_TEXT];
} opts;

static const dd_option table[] = {
    {"ipc", DD_OPT_INT, offsetof(opts, n), "10", 1, 1000, NULL, "images"},
    {"lr_img", DD_OPT_REAL, offsetof(opts, lr), "0.1", 0, 100, NULL, "rate"},
    {"siamese", DD_OPT_BOOL, offsetof(opts, on), "true", 0, 0, NULL, "flag"},
    {"name", DD_OPT_STRING, offsetof(opts, name), "", 0, 0, NULL, "text"},
    {"norm", DD_OPT_CHOICE, offsetof(opts, kind), "instance", 0, 0, "none|batch|instance", "norm"},
    {NULL, DD_OPT_INT, 0, NULL, 0, 0, NULL, NULL},
};

static void options_say_range_and_nearest_name(void **state)
{
    (void)state;
    opts o;
    char text[DD_OPT_TEXT];
    assert_int_equal(dd_options_defaults(table, &o), DD_OK);
    assert_int_equal(o.n, 10);
    assert_true(o.on);
    assert_int_equal(dd_options_set(table, &o, "lr_img", "0.3"), DD_OK);
    assert_int_equal(dd_options_get(table, &o, "lr_img", text, sizeof text), DD_OK);
    assert_string_equal(text, "0.3");
    assert_int_equal(dd_options_set(table, &o, "ipc", "0"), DD_EINVAL);
    assert_non_null(strstr(dd_last_error(), "between 1 and 1000"));
    assert_int_equal(dd_options_set(table, &o, "ipc", "3x"), DD_EINVAL);
    assert_int_equal(dd_options_set(table, &o, "lr_img", "nan"), DD_EINVAL);
    assert_int_equal(dd_options_set(table, &o, "norm", "inst"), DD_EINVAL);
    assert_int_equal(dd_options_set(table, &o, "siamese", "maybe"), DD_EINVAL);
    assert_int_equal(dd_options_set(table, &o, "lr_imgs", "1"), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "\"lr_img\""));
    const char *const names[] = {"herding", "kcenter", "dm", NULL};
    assert_string_equal(dd_nearest("hreding", names), "herding");
    assert_null(dd_nearest("zzzzzz", names));
    char endless[DD_OPT_TEXT + 1] = {0};
    memset(endless, 'd', sizeof endless - 1);
    assert_null(dd_nearest(endless, names));
    assert_int_equal(dd_options_set(table, &o, "zzzzzz", "1"), DD_ENOTFOUND);
    assert_non_null(strstr(dd_last_error(), "there are: ipc, lr_img"));
    assert_int_equal(dd_options_set(table, &o, "name", endless), DD_EINVAL);
}

static void tensors_check_their_shapes(void **state)
{
    (void)state;
    dd_tensor t, u;
    char text[128];
    assert_int_equal(dd_tensor_init(&t, DD_F32, DD_SHAPE(4, 3)), DD_OK);
    dd_f32(&t)[6] = 5;
    dd_tensor rows = dd_tensor_rows(&t, 2, 2);
    assert_true(dd_f32(&rows)[0] > 4.5F);
    assert_string_equal(dd_shape_text(t.shape, text, sizeof text), "[4,3]");
    assert_int_equal(dd_tensor_init(&u, DD_F32, DD_SHAPE(4, 0)), DD_EINVAL);
    assert_int_equal(dd_shape_check(DD_SHAPE(1 << 30, 1 << 30)), DD_EINVAL);
    assert_int_equal(dd_tensor_copy(&t, &rows), DD_EINVAL);
    dd_tensor_fini(&t);
    dd_alloc_fail_after(1);
    assert_int_equal(dd_tensor_init(&t, DD_F64, DD_SHAPE(2)), DD_ENOMEM);
    dd_alloc_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_keeps_the_last_sentence),
        cmocka_unit_test(allocation_is_aligned_zeroed_and_checked),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(text_grows),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(folders_are_made_and_listed_in_order),
        cmocka_unit_test(pipes_and_folders_are_no_files),
        cmocka_unit_test(a_link_stays_one),
        cmocka_unit_test(draws_are_functions_of_key_and_counter),
        cmocka_unit_test(options_say_range_and_nearest_name),
        cmocka_unit_test(tensors_check_their_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
