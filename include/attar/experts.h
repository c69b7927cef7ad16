/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert trajectories: networks trained on the real data whose weights are kept after every epoch, for methods that
 * match where training goes (MTT: Cazenavette et al., CVPR 2022). They live in a folder: experts.json says what they
 * are, DIR/003/017.safetensors is expert 3 after 17 epochs, and 000 is how it began. */
#ifndef ATTAR_EXPERTS_H
#define ATTAR_EXPERTS_H
#include "attar/data.h"
#include "attar/net.h"
#ifdef __cplusplus
extern "C" {
#endif

/* SGD with a constant learning rate, as MTT trains them. */
typedef struct dd_experts_opts {
    int64_t experts;                   /* networks, 1..1000; 10 */
    int64_t expert_epochs;             /* E of each, 1..999: E+1 snapshots; 50 */
    int64_t batch;                     /* 256 */
    int64_t epoch_steps;               /* batches an epoch, >= 0: the first of each shuffle; 0, or more than there are:
                                          all of them, as MTT; 0 */
    int64_t seed;                      /* 0 */
    double lr, momentum, weight_decay; /* 0.01, 0, 0 */
    char aug[64];   /* "auto": the data set's DSA list | "none" | a DSA list | "frepo:LIST"; one strategy a batch, its
                       parameters per image; "auto" */
    char store[16]; /* "float32" | "bf16": rounded to half the disk; "float32" */
} dd_experts_opts;
#define DD_EXPERTS_OPTS_INIT                                                                                           \
    {                                                                                                                  \
        10, 50, 256, 0, 0, 0.01, 0, 0, "auto", "float32"                                                               \
    }

typedef struct dd_experts_progress {
    int64_t expert, experts; /* 0 .. experts-1 */
    int64_t epoch, epochs;   /* 0 .. epochs-1 */
    int64_t step, steps;     /* batches of this epoch behind it; equal once its snapshot is written */
    int64_t done, total;     /* whole epochs that this call has made and makes, over all experts */
    double loss;             /* mean of the epoch before; -1: none yet in this call */
} dd_experts_progress;
/* Called before every batch and after every snapshot; false: stop (DD_EINTERRUPTED). */
typedef bool (*dd_experts_fn)(void *self, const dd_experts_progress *p);

/* Trains what is missing of o->experts networks on the training part of d, into the folder `dir`, made if absent and
 * locked meanwhile. Expert e depends on o->seed and e alone, so the files are the same bytes however often the call was
 * stopped and however many experts are asked for (with the same backend and threads). With the same options a call on
 * the same folder goes on; it may ask for more experts, and for more epochs where the store is float32 and momentum 0.
 * DD_EEXIST: the folder belongs to other options or data (the sentence names the first that differs), holds something
 * else, or another process works in it; DD_EINVAL: an option; DD_EFORMAT: a damaged file; DD_ENUMERIC: a loss or weight
 * that is not finite; DD_EINTERRUPTED; DD_EIO, DD_ENOMEM. */
dd_status dd_experts_train(const dd_experts_opts *o, dd_backend *b, const dd_net *net, const dd_dataset *d,
                           const char *dir, dd_experts_fn fn, void *self);

/* Experts of a folder, read only, also while others are added to it. Several threads may read from one object. */
typedef struct dd_experts dd_experts;
/* Opens the finished experts of a folder. d and net are borrowed until dd_experts_close. DD_EINVAL: the experts have
 * another network, other data or another normalisation (both values are given); DD_ENOTFOUND: no experts there, or none
 * that has all its snapshots; DD_EFORMAT; DD_EIO; DD_ENOMEM. */
dd_status dd_experts_open(dd_experts **out, const char *dir, const dd_dataset *d, const dd_net *net);
void dd_experts_close(dd_experts *e);
int64_t dd_experts_count(const dd_experts *e);      /* experts with all their snapshots, at least 1 */
int64_t dd_experts_unfinished(const dd_experts *e); /* begun, but without all of their snapshots: left out */
/* What experts 0 .. count-1 are, the same for the same trainings wherever the folder lies: 64 hexadecimal digits.
 * DD_EINVAL: count is not in 1 .. dd_experts_count. */
dd_status dd_experts_fingerprint(const dd_experts *e, int64_t count, char hex[65]);
int64_t dd_experts_epochs(const dd_experts *e); /* E: snapshots are 0 .. E */
int64_t dd_experts_bytes(const dd_experts *e);  /* on disk, of all finished experts' snapshots */
/* Weights of expert 0 .. count-1 after `epoch` (0 .. E) epochs into theta, F32 [P]; checked against the digest in the
 * file. DD_EFORMAT: a damaged file, or one of other experts; DD_EINVAL: no such snapshot, or another shape. */
dd_status dd_experts_read(const dd_experts *e, int64_t expert, int64_t epoch, dd_tensor *theta);
/* Mean training loss of the epoch that ended with this snapshot, 1 .. E; -1 for snapshot 0. Errors as of reading. */
dd_status dd_experts_loss(const dd_experts *e, int64_t expert, int64_t epoch, double *loss);
/* Fraction of the test part that the snapshot gets right; -1 with batch norm, whose running statistics are not kept.
 * Errors as of reading. */
dd_status dd_experts_accuracy(const dd_experts *e, dd_backend *b, int64_t expert, int64_t epoch, double *accuracy);

#ifdef __cplusplus
}
#endif
#endif
