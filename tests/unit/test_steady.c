/* SPDX-License-Identifier: Apache-2.0
 *
 * What stays still while programs run: the heap after the first step, and the bits from one run to the next. The
 * program's own malloc counts; sanitizers bring theirs, and then only the bits are compared. */
#include "attar/net.h"
#include "base/memory.h"
#include "nn/train_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define COUNTS false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS false
#endif
#endif

static atomic_long calls, bytes;

#ifndef COUNTS
#define COUNTS true
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static void count(size_t n)
{
    atomic_fetch_add(&calls, 1);
    atomic_fetch_add(&bytes, (long)n);
}
void *malloc(size_t n)
{
    count(n);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    count(n * size);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    count(n);
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n)
{
    count(n);
    return __libc_memalign(align, n);
}
int posix_memalign(void **out, size_t align, size_t n)
{
    count(n);
    *out = __libc_memalign(align, n);
    return *out ? 0 : 12;
}
#endif

/* LLVM's OpenMP takes memory for every parallel region. */
#ifdef __clang__
enum { QUIET_THREADS = false };
#else
enum { QUIET_THREADS = true };
#endif

/* Where our convolutions do not run, oneDNN's do. */
static bool own_kernels(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != DD_OK) fail_msg("%s: %s", #call, dd_last_error());                                               \
    } while (0)

enum { IMAGES = 12, CLASSES = 10, STEPS = 4, RUNS = 10 };
static const dd_image image = {1, 16, 16};

typedef struct training {
    dd_backend *b;
    dd_net *net;
    dd_trainer *t;
    float x[IMAGES * 256], y[IMAGES * CLASSES], logits[IMAGES * CLASSES];
} training;

static void start(training *w, const char *net, int threads)
{
    dd_trainer_opts o = {.momentum = 0.9, .weight_decay = 5e-4};
    memset(w, 0, sizeof *w);
    OK(dd_aug_parse(&o.aug, "color_crop_cutout_scale_rotate"));
    OK(dd_backend_open(&w->b, "cpu", threads));
    OK(dd_net_open(&w->net, net, image, CLASSES));
    OK(dd_trainer_new(&w->t, w->b, w->net, &o));
    OK(dd_trainer_reset(w->t, dd_key_seed(1)));
    dd_key_fill_normal(dd_key_seed(2), w->x, IMAGES * 256, 0, 1);
    for (int i = 0; i < IMAGES; i++) w->y[i * CLASSES + i % CLASSES] = 1;
}

static void step(training *w, int i)
{
    OK(dd_trainer_step(w->t, w->x, w->y, IMAGES, 0.01, dd_key_seed((uint64_t)i), NULL));
    OK(dd_trainer_logits(w->t, w->x, IMAGES, w->logits));
}

static void finish(training *w)
{
    dd_trainer_free(w->t);
    dd_net_close(w->net);
    dd_backend_close(w->b);
}

/* Ours allocates nothing. Two libraries do, and no option stops them: OpenBLAS takes half a MiB for the threads of a
 * large product, oneDNN some small blocks for a convolution. */
static void heap(void **state)
{
    static const struct {
        const char *net;
        bool library;
    } cases[] = {{"convnet:depth=2,width=32", false},
                 {"convnet:depth=2,width=32,norm=batch,act=sigmoid,pool=max", false},
                 {"convnet:depth=2,width=16,norm=none", false},
                 {"mlp", true},
                 {"lenet", true}};
    (void)state;
    for (size_t c = 0; c < DD_LEN(cases); c++) {
        training w;
        start(&w, cases[c].net, 2);
        step(&w, 0);
        const long calls0 = atomic_load(&calls), bytes0 = atomic_load(&bytes);
        for (int i = 1; i <= STEPS; i++) step(&w, i);
        const long n = atomic_load(&calls) - calls0, size = atomic_load(&bytes) - bytes0;
        if (COUNTS)
            printf("%s: %ld allocations of %ld bytes in all, in %d steps and tests after the first\n", cases[c].net, n,
                   size, STEPS);
        if (cases[c].library || !QUIET_THREADS || !own_kernels())
            assert_true(size / STEPS < 4 << 20);
        else
            assert_int_equal(n, 0);
        finish(&w);
    }
}

/* Ten runs of a step and its successors from the same seed. */
static void bits(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        float *first = NULL;
        for (int r = 0; r < RUNS; r++) {
            training w;
            start(&w, "convnet:depth=2,width=32", threads);
            for (int i = 0; i < STEPS; i++) step(&w, i);
            const dd_tensor *theta = dd_trainer_theta(w.t);
            if (!first) {
                first = dd_alloc(dd_tensor_bytes(theta), 1);
                assert_non_null(first);
                memcpy(first, theta->data, dd_tensor_bytes(theta));
            }
            assert_memory_equal(first, theta->data, dd_tensor_bytes(theta));
            finish(&w);
        }
        dd_free(first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(heap), cmocka_unit_test(bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
