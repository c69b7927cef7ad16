/* SPDX-License-Identifier: Apache-2.0
 *
 * One case of bench/run in attar: times it and writes what is needed to check the other side against it.
 *
 *   bench_steps CASE THREADS OUT.safetensors       CASE: train | infer
 *
 * train: SGD steps of a batch of 256 images of 1x28x28 (ConvNet-3, width 128); infer: logits of 10,000 such images in
 * batches of 256. Prints one JSON object: median seconds (of a step, of all 10,000), peak resident bytes. OUT receives
 * theta, x, labels as f32 rows, and loss and gradient with weight decay (train; from one long step) or logits (infer).
 */
#include "attar/net.h"
#include "base/fs.h"
#include "base/memory.h"
#include "nn/train_step.h"

#include "../tests/parity/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 256, IMAGES = 10000, PIXELS = 784, CLASSES = 10, STEPS = 9 };
static const float probe = 1024; /* a step so long that the old theta does not swallow the gradient's digits */

typedef struct bench {
    dd_backend *backend;
    dd_net *net;
    dd_trainer *trainer;
    dd_tensor x, y, theta, result, loss; /* result: gradient or logits */
    int n;
} bench;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static dd_status open_all(bench *b, bool train, int threads)
{
    const dd_trainer_opts o = {.momentum = train ? 0.9 : 0, .weight_decay = train ? 5e-4 : 0};
    b->n = train ? BATCH : IMAGES;
    DD_TRY(dd_backend_open(&b->backend, "cpu", threads));
    DD_TRY(dd_net_open(&b->net, "convnet:depth=3,width=128", (dd_image){1, 28, 28}, CLASSES));
    DD_TRY(dd_trainer_new(&b->trainer, b->backend, b->net, &o));
    DD_TRY(dd_trainer_reset(b->trainer, dd_key_seed(1)));
    DD_TRY(dd_tensor_init(&b->x, DD_F32, DD_SHAPE(b->n, 1, 28, 28)));
    DD_TRY(dd_tensor_init(&b->y, DD_F32, DD_SHAPE(b->n, CLASSES)));
    DD_TRY(dd_tensor_init(&b->theta, DD_F32, DD_SHAPE(dd_net_size(b->net))));
    DD_TRY(dd_tensor_init(&b->loss, DD_F32, DD_SHAPE(1)));
    DD_TRY(dd_tensor_copy(&b->theta, dd_trainer_theta(b->trainer)));
    dd_key_fill_normal(dd_key_seed(2), dd_f32(&b->x), (int64_t)b->n * PIXELS, 0, 1);
    for (int i = 0; i < b->n; i++) dd_f32(&b->y)[i * CLASSES + i % CLASSES] = 1;
    return train ? dd_tensor_init(&b->result, DD_F32, b->theta.shape)
                 : dd_tensor_init(&b->result, DD_F32, DD_SHAPE(b->n, CLASSES));
}

/* The gradient is what one long step takes from theta. */
static dd_status train(bench *b, double *seconds)
{
    double t[STEPS], loss;
    const float *after = dd_f32(dd_trainer_theta(b->trainer));
    DD_TRY(dd_trainer_step(b->trainer, dd_f32(&b->x), dd_f32(&b->y), BATCH, (double)probe, dd_key_seed(3), &loss));
    dd_f32(&b->loss)[0] = (float)loss;
    for (int64_t i = 0; i < dd_net_size(b->net); i++) dd_f32(&b->result)[i] = (dd_f32(&b->theta)[i] - after[i]) / probe;
    DD_TRY(dd_trainer_reset(b->trainer, dd_key_seed(1)));
    for (int i = 0; i < STEPS; i++) {
        const double start = dd_now();
        DD_TRY(dd_trainer_step(b->trainer, dd_f32(&b->x), dd_f32(&b->y), BATCH, 0.01, dd_key_seed(3), &loss));
        t[i] = dd_now() - start;
    }
    qsort(t, STEPS, sizeof *t, by_value);
    *seconds = t[STEPS / 2];
    return DD_OK;
}

static dd_status infer(bench *b, double *seconds)
{
    for (int turn = 0; turn < 2; turn++) { /* the first touches the memory */
        const double start = dd_now();
        for (int at = 0; at < IMAGES; at += BATCH)
            DD_TRY(dd_trainer_logits(b->trainer, dd_f32(&b->x) + at * PIXELS, IMAGES - at < BATCH ? IMAGES - at : BATCH,
                                     dd_f32(&b->result) + at * CLASSES));
        *seconds = dd_now() - start;
    }
    return DD_OK;
}

static dd_status run(bench *b, bool training, int threads, const char *path)
{
    double seconds;
    DD_TRY(open_all(b, training, threads));
    DD_TRY(training ? train(b, &seconds) : infer(b, &seconds));
    printf("{\"seconds\": %.6g, \"peak_bytes\": %lld}\n", seconds, (long long)dd_peak_memory());
    const char *const names[] = {"theta", "x", "labels", "loss", training ? "gradient" : "logits"};
    const dd_tensor *const of[] = {&b->theta, &b->x, &b->y, &b->loss, &b->result};
    dd_st_entry e[5];
    for (int i = 0; i < 5; i++) {
        snprintf(e[i].name, sizeof e[i].name, "case/%s", names[i]);
        e[i].t = dd_tensor_view(DD_F32, of[i]->shape, of[i]->data);
    }
    return write_entries(e, 5, path);
}

int main(int argc, char **argv)
{
    bench b = {0};
    const bool training = argc > 1 && strcmp(argv[1], "train") == 0;
    if (argc != 4 || (!training && strcmp(argv[1], "infer") != 0)) {
        fputs("usage: bench_steps train|infer THREADS OUT.safetensors\n", stderr);
        return 2;
    }
    const dd_status s = run(&b, training, atoi(argv[2]), argv[3]);
    if (s != DD_OK) fprintf(stderr, "bench_steps: %s\n", dd_last_error());
    dd_tensor_fini(&b.x);
    dd_tensor_fini(&b.y);
    dd_tensor_fini(&b.theta);
    dd_tensor_fini(&b.result);
    dd_tensor_fini(&b.loss);
    dd_trainer_free(b.trainer);
    dd_net_close(b.net);
    dd_backend_close(b.backend);
    return s == DD_OK ? 0 : 1;
}
