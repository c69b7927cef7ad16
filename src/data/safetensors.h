/* SPDX-License-Identifier: Apache-2.0
 *
 * The safetensors format: u64 little-endian header length, a JSON header, the tensors' bytes without gaps. */
#ifndef ATTAR_DATA_SAFETENSORS_H
#define ATTAR_DATA_SAFETENSORS_H
#include "attar/tensor.h"

#define DD_ST_MAX 64 /* tensors in one file */

typedef struct dd_st_entry {
    char name[64];
    dd_tensor t; /* read: a view of the file's bytes, maybe unaligned, so copy before use */
} dd_st_entry;

typedef struct dd_st_file {
    dd_st_entry e[DD_ST_MAX];
    int n;
    void *bytes; /* the whole file, of dd_st_load; NULL of dd_st_parse */
} dd_st_file;

/* Checks everything: header cap of 100 MiB, duplicate keys, unknown element types, sizes that disagree with shapes,
 * overlaps, gaps, bytes left over. Views borrow `data`. DD_EFORMAT. */
dd_status dd_st_parse(dd_st_file *f, const void *data, size_t size, const char *what);
/* Reads a file whole; dd_st_free frees it. DD_ENOTFOUND, DD_EFORMAT, DD_EIO, DD_ENOMEM. */
dd_status dd_st_load(dd_st_file **out, const char *path);
void dd_st_free(dd_st_file *f);
/* The entry of that name or NULL. */
const dd_tensor *dd_st_find(const dd_st_file *f, const char *name);
/* Serialises in the order given; header padded to 8 bytes. *out is dd_free'd. */
dd_status dd_st_write(const dd_st_entry *e, int n, void **out, size_t *size);
#endif
