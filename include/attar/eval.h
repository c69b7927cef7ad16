/* SPDX-License-Identifier: Apache-2.0
 *
 * Training and evaluation of networks, on synthetic or real data, by a named protocol. */
#ifndef ATTAR_EVAL_H
#define ATTAR_EVAL_H
#include "attar/data.h"
#include "attar/net.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The DC protocol (Zhao, Mopuri, Bilen 2021): SGD, momentum 0.9, weight decay 5e-4, batch min(256, M), epochs+1
 * epochs, after the epoch with index epochs/2+1 lr *= 0.1 and the momentum restarts, one test at the end. */
typedef struct dd_protocol {
    char name[32];                     /* one of DD_PROTOCOLS */
    int64_t epochs;                    /* E: E+1 epochs are trained; see dd_protocol_named */
    int64_t batch;                     /* 256 */
    double lr, momentum, weight_decay; /* 0.01, 0.9, 5e-4 */
    char aug[64];                      /* "none", a DSA list (per-image parameters), "frepo:" and one, or "dc:" and a
                                          DC list, see below */
    int64_t test_batch;                /* 100: as fast as 256 in half the memory */
    bool adam;       /* Adam without weight decay at one learning rate, in place of SGD and its drop */
    bool own_epochs; /* epochs are what the method found best; 0 here until it says */
    bool own_lr;     /* lr is what the set has learned: dd_protocol_fit puts it there */
    /* Where `rates` is not NULL, epochs+1 plain steps take the place of all that (the DD family): step i by learning
     * rate rates[i] on the images i mod ipc of every class, in order, from the network `start` [P] or a fresh one. Both
     * are borrowed. */
    const dd_tensor *rates, *start;
    /* Half the squared error to regression targets times `scale`, and a network of batch norm goes without. */
    bool squared;
    double scale;   /* 1 */
    int64_t warmup; /* > 0: the learning rate rises over so many steps and falls to a hundredth along a cosine */
    bool centred;   /* the network's answer is what training has added to it; one learning rate throughout */
    /* Where `kernel` is not "", ridge regression with that kernel takes the place of networks; see kernel.h. */
    char kernel[DD_OPT_TEXT];
    double ridge;  /* relative to the mean of the kernel's diagonal, 1e-6 */
    bool in_steps; /* the protocol wants that: dd_protocol_fit sets rates, start and epochs */
} dd_protocol;

/* Takes from a set what its protocol wants of it. DD_EINVAL: the set has no learned step sizes. */
dd_status dd_protocol_fit(dd_protocol *p, const dd_synset *s);

/* Whether it is by a squared loss, to which dd_synset_labels gives regression targets. */
bool dd_protocol_regresses(const dd_protocol *p);
/* What the progress of one network's evaluation counts up to: its epochs, or by kernel hundredths of the test. */
int64_t dd_protocol_span(const dd_protocol *p);

#define DD_PROTOCOLS "dc|dsa|mtt|steps|adam|krr|frepo|rfad"
/* "dsa": 1000 epochs, DSA without flip for digit sets. "dc": 300 epochs, 1000 on mnist; augmentation dc:crop_noise for
 * a network with batch norm, else dc:crop_scale_rotate on mnist, else none. "mtt": as dsa, with the set's own learning
 * rate. "steps": a step for each learning rate that the set holds, without momentum or weight decay. "adam": Adam, lr
 * 0.001, batches of 50, as many epochs as the method found best, else 300. "krr": kernel ridge regression, with the
 * kernel FC-1 until another is put there; the same on every repeat. "frepo": as FRePo's sets are judged:
 * squared error, Adam at 0.0003 with warm-up and cosine, 1000 steps for 10 images, 2000 for 100, 5000 up to 500 but
 * 20,000 for 200, 10,000 up to 1000, 40,000 beyond, batches of 500, no batch norm, with their own ranges of
 * augmentation. "rfad": as RFAD's sets are judged: squared error, SGD with momentum 0.9 on the whole set at once, of a
 * centred network; targets times 8 and lr 0.001 for an image a class, and whatever their number on mnist, with weight
 * decay 0.001; else times 2 and 0.001 up to ten, 0.01 beyond; of 100 classes lr 0.1. 2000 steps; RFAD has up to 20,000
 * and ends early, how is not known. d and net may be NULL: of neither kind. DD_ENOTFOUND names the nearest right name.
 *
 * A DC list is one or more of crop, scale, rotate, noise, joined by "_". Each image of a batch gets one of them, chosen
 * uniformly: crop pads 4 pixels of the batch's channel mean and takes a window at offsets 0..7; scale resizes height
 * and width to U(0.8, 1.2) of the height each, nearest neighbour, and crops or pads with 0 about the centre; rotate
 * turns by -45..44 whole degrees, cubic spline, the channel mean outside; noise adds N(0, 0.001^2). */
dd_status dd_protocol_named(dd_protocol *out, const char *name, const dd_dataset *d, const dd_net *net);

/* What one training run reports after each epoch, and an evaluation once more when it has tested a network; one by
 * kernel counts hundredths of its test (dd_protocol_span). accuracy is a fraction, -1 where none was measured. Return
 * false to stop (DD_EINTERRUPTED). */
typedef bool (*dd_train_fn)(void *self, int64_t epoch, int64_t epochs, double loss, double accuracy);

typedef struct dd_eval_result {
    int64_t repeats;
    double accuracy[64];   /* fraction right on the test part, per network */
    double mean, std;      /* over networks; std is the population's */
    double seconds;        /* wall time */
    double train_loss;     /* last epoch's, mean over networks */
    bool kernel;           /* of a regression by kernel: no networks, and the same each time on the same images */
    double ridge;          /* what that took: the protocol's, or more where its matrix had no factor; else 0 */
    char net[DD_OPT_TEXT]; /* the network trained, as its whole specification; else "" */
} dd_eval_result;

/* Trains `repeats` (1..64) fresh networks on m images and hard or soft labels and tests each on items of `split`.
 * images F32 [m,C,H,W]; labels I32 [m] or F32 [m,classes]; items may be NULL: all of split. DD_EINVAL
 * names a word of p->aug that is none, and what shapes, labels or numbers do not fit. */
dd_status dd_evaluate(dd_eval_result *out, dd_backend *b, const char *net, const dd_dataset *d, const dd_tensor *images,
                      const dd_tensor *labels, const dd_split *split, const int32_t *items, int64_t nitems,
                      const dd_protocol *p, int64_t repeats, dd_key key, dd_train_fn fn, void *self);

/* As dd_evaluate, on `ipc` random real images per class out of `items` (NULL: all of the training part); each of the
 * `repeats` (1..64) networks has images of its own. DD_EINVAL names a class with fewer images. */
dd_status dd_evaluate_random(dd_eval_result *out, dd_backend *b, const char *net, const dd_dataset *d,
                             const int32_t *items, int64_t nitems, int64_t ipc, const dd_protocol *p, int64_t repeats,
                             dd_key key, dd_train_fn fn, void *self);

/* The kernel matrix between the images of x and of y, or of x with itself where y is NULL, in the file `to` as tensor
 * "kernel", whose shape is put into *shape; x and y are folders of sets or safetensors files with "images", F32
 * [N,C,H,W]. spec: see kernel.h; wide: computed in float64, else in float32; memory: bytes that pairs of images may
 * take at once, 0: any. Before each block of them fn (or NULL) is told the part that is done; false stops
 * (DD_EINTERRUPTED, nothing written). DD_EINVAL: images of two sizes or, of two sets, two normalisations,
 * or a file that is read; DD_ENUMERIC: an image or the matrix is not finite; DD_EFORMAT, DD_EIO, before the work where
 * `to` cannot be written, errors of dd_kernel_open. */
typedef bool (*dd_kernel_fn)(void *self, double done);
dd_status dd_kernel_write(dd_backend *b, const char *spec, const char *x, const char *y, const char *to, bool wide,
                          int64_t memory, dd_kernel_fn fn, void *self, dd_shape *shape);

typedef struct dd_train_opts {
    int64_t epochs;                    /* 15 */
    int64_t batch;                     /* 128 */
    double lr, momentum, weight_decay; /* 0.05, 0.9, 5e-4 */
    char optimiser[16];                /* "sgd" | "adam" */
    char schedule[16];                 /* "cosine" | "step" | "constant" */
    char aug[64];                      /* "none" or a DSA list, all of it for every image ("crop_flip") */
} dd_train_opts;
#define DD_TRAIN_OPTS_INIT                                                                                             \
    {                                                                                                                  \
        15, 128, 0.05, 0.9, 5e-4, "sgd", "cosine", "none"                                                              \
    }
/* Ordinary training on real data; theta receives P floats (caller frees with dd_tensor_fini). accuracy on the test
 * part. fn is called after every epoch with the mean loss and the accuracy on `val` items (or -1 without any). */
dd_status dd_train(dd_tensor *theta, double *accuracy, dd_backend *b, const dd_net *net, const dd_dataset *d,
                   const int32_t *items, int64_t nitems, const int32_t *val, int64_t nval, const dd_train_opts *o,
                   dd_key key, dd_train_fn fn, void *self);

#ifdef __cplusplus
}
#endif
#endif
