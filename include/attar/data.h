/* SPDX-License-Identifier: Apache-2.0
 *
 * Labelled image data sets, real ones and synthetic ones, and their files. */
#ifndef ATTAR_DATA_H
#define ATTAR_DATA_H
#include "attar/random.h"
#include "attar/tensor.h"
#ifdef __cplusplus
extern "C" {
#endif

/* images U8 (0..255 stands for 0..1) or F32 (already on [0,1]), [N,C,H,W]; labels I32 [N], 0..classes-1. */
typedef struct dd_split {
    int64_t n;
    dd_tensor images, labels;
    int64_t *class_first; /* [classes+1] offsets into class_index */
    int32_t *class_index; /* [N] item numbers sorted by class, ascending inside a class */
} dd_split;

/* A fitted ZCA whitening, shared by a data set and the synthetic sets made like it. */
typedef struct dd_whitening dd_whitening;
/* What tells two apart, such as "zca-mtt of variance 190.1". */
void dd_whitening_text(const dd_whitening *w, char *buf, size_t size);

typedef struct dd_dataset {
    char name[64];     /* "fashion-mnist", or the folder's name */
    char source[1024]; /* the folder or file it was read from; "embedded" */
    char sha256[65];   /* over the training pixels and labels, then the test ones, lower-case hex */
    int64_t c, h, w, classes;
    char **class_names;       /* [classes] */
    double mean[16], std[16]; /* per channel, of [0,1] values; used by dd_data_batch */
    char normalisation[32];   /* "published", "computed", "given", "none", or the whitening's name */
    dd_whitening *whitening;  /* NULL: none */
    dd_split train, test;
    char warning[512]; /* "" or one sentence, e.g. text order of class names differs from numeric order */
} dd_dataset;

typedef struct dd_data_opts {
    const char *data_dir;       /* searched first; NULL: ATTAR_DATA, XDG data folders, /usr/share/datasets */
    int64_t resize_h, resize_w; /* 0: as they are; image folders only */
    int64_t channels;           /* 0: as they are; 1 grey, 3 colour; image folders only */
    const char *classes_file;   /* one class name a line, fixes the class order; NULL: by name */
    const char *normalise;      /* "auto" (published where known, else computed), "computed", "none",
                                   "MEAN[,MEAN..]/STD[,STD..]", or "zca-mtt", "zca-kip", "zca-frepo", "zca-rfad":
                                   whitening fitted to all training images, of at most 12288 values each */
    char *const *class_names;   /* [classes] the class order of an image folder, in place of a file; or NULL */
    int64_t classes;
    dd_whitening *whitening; /* applied after `normalise`, instead of one fitted: a synthetic set's own; or NULL */
} dd_data_opts;
#define DD_DATA_OPTS_INIT                                                                                              \
    {                                                                                                                  \
        NULL, 0, 0, 0, NULL, "auto", NULL, 0, NULL                                                                     \
    }

/* Opens a data set by name (digits, fashion-mnist, mnist, cifar10) or by path (a folder with IDX, CIFAR binary or
 * image files, or an .npz file). Every defect of the files is one sentence with the numbers:
 * DD_ENOTFOUND, DD_EFORMAT, DD_EIO, DD_ENOMEM, DD_EINVAL. opts may be NULL. */
dd_status dd_dataset_open(dd_dataset **out, const char *name_or_path, const dd_data_opts *opts);
void dd_dataset_close(dd_dataset *d);
/* Normalised pixels of `n` items into out f32 [n,C,H,W]: (x - mean) / std, then whitened if the set is; that uses
 * memory of the whitening, so not from two threads at once. */
void dd_data_batch(const dd_dataset *d, const dd_split *s, const int32_t *items, int64_t n, float *out);
/* Splits off a stratified validation part of `fraction` (0..0.5) of the training items, chosen by key: the item
 * numbers of both parts, ascending; caller frees with free(). */
dd_status dd_data_holdout(const dd_dataset *d, double fraction, dd_key key, int32_t **train, int64_t *ntrain,
                          int32_t **val, int64_t *nval);
int dd_dataset_kind_count(void);
const char *dd_dataset_kind_name(int i);
const char *dd_dataset_kind_title(int i);

/* A synthetic set: rows are class-major. images F32 [M,C,H,W] in normalised space, labels I32 [M]. */
typedef struct dd_synset {
    int64_t m, classes, c, h, w;
    dd_tensor images, labels;
    dd_tensor soft_labels; /* F32 [M,classes] or empty */
    bool targets; /* soft_labels are what a squared loss was fitted to, about one-hot less 1/C, and no probabilities */
    dd_tensor lr; /* F32 [k] learned step sizes, or empty */
    dd_tensor theta; /* F32 [P] the one network that the set was made for, or empty: it is for any */
    double mean[16], std[16];
    dd_whitening *whitening; /* NULL: none */
    char **class_names;      /* [classes] */
    char *json;              /* set.json's text, "{}" when new; facts beyond the fields above */
} dd_synset;

dd_status dd_synset_new(dd_synset **out, int64_t m, const dd_dataset *like);
void dd_synset_free(dd_synset *s);
/* Writes DIR/set.safetensors, DIR/set.json and DIR/grid.png, each atomically, and DIR/whitening.safetensors if the set
 * is whitened; makes DIR if absent. `json` is the complete text of set.json. The safetensors bytes are a pure function
 * of the tensors. */
dd_status dd_synset_save(const dd_synset *s, const char *dir, const char *json);
/* Reads and cross-checks the files: shapes, dtypes, finite pixels, label range, hashes of set.safetensors and of
 * whitening.safetensors recorded in set.json ("sha256", "whitening.sha256"), class count. A set edited by hand is
 * refused with a sentence that says what differs. */
dd_status dd_synset_load(dd_synset **out, const char *dir);
/* The text or number that set.json holds under a key such as "data.name", as text in buf. DD_ENOTFOUND: no such key,
 * or its value is neither; DD_EINVAL: it does not fit; buf is then "". */
dd_status dd_synset_fact(const dd_synset *s, const char *dotted_key, char *buf, size_t size);
/* The labels to train on. regression: by a squared loss, which takes soft labels of either kind; else by cross-entropy,
 * to which targets are no labels: the class where a target is largest. Borrowed. */
const dd_tensor *dd_synset_labels(const dd_synset *s, bool regression);
/* Where there are targets, labels become the class of the largest. */
void dd_synset_classify(dd_synset *s);
/* format "npz" (images, labels[, soft_labels or targets, lr], mean, std), "pt" (folder with images.pt, labels.pt),
 * "png" (CLASS/NNN.png in natural colours). A whitened set adds zca_mean [D] and zca_w [D,D] to the first two. path:
 * file for npz, folder for the others. DD_EINVAL names the formats. */
dd_status dd_synset_export(const dd_synset *s, const char *format, const char *path);
/* Writes rows of [M,C,H,W] normalised images as one PNG, a class per row, in natural colours. */
dd_status dd_grid_png(const char *path, const dd_tensor *images, const double *mean, const double *std,
                      int64_t per_row);

#ifdef __cplusplus
}
#endif
#endif
