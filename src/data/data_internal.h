/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of src/data share: readers of foreign bytes (each takes memory, never a path, so that it can be
 * fuzzed), the loaders that turn a folder into a dd_dataset, and the writers behind synset.c and export.c.
 * `what` is always the name to put in front of an error sentence. */
#ifndef ATTAR_DATA_INTERNAL_H
#define ATTAR_DATA_INTERNAL_H
#include "attar/data.h"
#include "base/memory.h"

#define DD_PATH 1200                      /* longest path built here, with its NUL */
#define DD_FILE_LIMIT ((size_t)1 << 31)   /* largest file, and largest file once inflated */
#define DD_PIXEL_LIMIT ((int64_t)1 << 26) /* largest PNG or JPEG picture, in pixels */

/* gz.c: the only user of zlib. */
bool dd_is_gzip(const void *data, size_t size);
/* Inflates all members; trailing bytes and truncation are DD_EFORMAT, more than `limit` bytes too. release
 * *out with dd_free. */
dd_status dd_gunzip(const void *data, size_t size, size_t limit, const char *what, void **out, size_t *out_size);
uint32_t dd_crc32(const void *data, size_t size);

/* source.c: files of a data folder, plain or gzip. */
typedef struct dd_bytes {
    uint8_t *p;
    size_t n;
    char path[DD_PATH]; /* the file that was read */
} dd_bytes;
/* True if DIR/STEM or DIR/STEM.gz is there. */
bool dd_source_has(const char *dir, const char *stem);
/* Reads DIR/STEM or DIR/STEM.gz, inflated; names `xz -dk` when only DIR/STEM.xz is there. */
dd_status dd_source_read(const char *dir, const char *stem, dd_bytes *b);
void dd_bytes_fini(dd_bytes *b);

/* sha256.c: the only user of nettle. */
typedef struct dd_chunk {
    const void *p;
    size_t n;
} dd_chunk;
void dd_sha256_hex(const dd_chunk *chunks, int n, char hex[65]);

/* idx.c */
dd_status dd_idx_images(const void *data, size_t size, const char *what, dd_tensor *out); /* U8 [N,C,H,W] */
/* I32 [N]; a label >= classes is refused, classes 0: any. */
dd_status dd_idx_labels(const void *data, size_t size, const char *what, int64_t classes, dd_tensor *out);
bool dd_idx_here(const char *dir);
dd_status dd_idx_load(dd_dataset *d, const char *dir, const dd_data_opts *o);

/* cifar.c */
/* Appends `size / 3073` records to images and labels at item `at`. */
dd_status dd_cifar_records(const void *data, size_t size, const char *what, int64_t classes, int64_t at, dd_split *s);
bool dd_cifar_here(const char *dir);
dd_status dd_cifar_load(dd_dataset *d, const char *dir, const dd_data_opts *o);

/* image.c, image_png.c, image_jpeg.c */
typedef struct dd_picture {
    int64_t w, h, c; /* c 1 grey or 3 colour */
    uint8_t *px;     /* [h][w][c], dd_free */
} dd_picture;
dd_status dd_png_decode(const void *data, size_t size, const char *what, dd_picture *out);
dd_status dd_png_encode(const uint8_t *px, int64_t w, int64_t h, int64_t c, void **out, size_t *size); /* dd_free */
dd_status dd_jpeg_decode(const void *data, size_t size, const char *what, dd_picture *out);
dd_status dd_picture_decode(const void *data, size_t size, const char *what, dd_picture *out); /* by the first bytes */
dd_status dd_picture_resize(dd_picture *im, int64_t h, int64_t w);
dd_status dd_picture_channels(dd_picture *im, int64_t c);   /* 1: luma of BT.601; 3: grey copied */
void dd_picture_planes(const dd_picture *im, uint8_t *out); /* [c][h][w] */
static inline void dd_picture_fini(dd_picture *im)
{
    dd_free(im->px);
    im->px = NULL;
}

/* folder.c */
bool dd_folder_here(const char *dir);
dd_status dd_folder_load(dd_dataset *d, const char *dir, const dd_data_opts *o);

/* npz.c: the only user of libzip. `limit` bounds the inflated bytes of one array. */
dd_status dd_npz_parse(dd_dataset *d, const void *data, size_t size, size_t limit, const char *what);
dd_status dd_npz_load(dd_dataset *d, const char *path, const dd_data_opts *o);

/* npy.c */
typedef struct dd_npy {
    char kind; /* 'u', 'i', 'f' or 'b' */
    int item;  /* bytes of one element */
    dd_shape shape;
    const uint8_t *p; /* borrowed from the parsed memory */
    int64_t count;
} dd_npy;
dd_status dd_npy_parse(const void *data, size_t size, const char *what, dd_npy *out);
double dd_npy_real(const dd_npy *a, int64_t i);
/* DD_EFORMAT if the element is no integer value in 0..2^31-1. */
dd_status dd_npy_label(const dd_npy *a, int64_t i, const char *what, int32_t *out);
size_t dd_npy_header(char *buf, size_t cap, const dd_tensor *t); /* a version 1 header for t; 0: does not fit */

/* digits.c */
dd_status dd_digits_load(dd_dataset *d, const char *dir, const dd_data_opts *o);

/* prep.c: what every loader's result goes through. */
dd_status dd_class_names_numbered(dd_dataset *d); /* "0", "1", ... */
dd_status dd_class_names_copy(dd_dataset *d, char *const *names);
dd_status dd_check_labels(dd_dataset *d, int64_t classes); /* 0: one more than the largest label */
dd_status dd_normalise(dd_dataset *d, const char *how, const double *mean, const double *std);
/* Whitens by the transform given, or by one fitted where `how` names one. */
dd_status dd_whiten_as(dd_dataset *d, const char *how, dd_whitening *given);
void dd_dataset_hash(dd_dataset *d);

/* batch.c */
dd_status dd_split_index(const dd_dataset *d, dd_split *s);
/* Moves every fifth item in class order from train to test. */
dd_status dd_split_fifth(dd_dataset *d);
void dd_split_fini(dd_split *s);

/* zipstore.c: zip archives without compression, bytes a pure function of the members. */
typedef struct dd_zip_member {
    const char *name;
    dd_chunk part[2]; /* written one after the other */
} dd_zip_member;
dd_status dd_zip_store(const dd_zip_member *m, int n, void **out, size_t *size); /* dd_free */

/* grid.c */
/* One image [C,H,W] of normalised values to 8-bit [h][w][c'], c' 1 or 3. */
void dd_natural(const float *x, int64_t c, int64_t h, int64_t w, const double *mean, const double *std, uint8_t *out);
#endif
