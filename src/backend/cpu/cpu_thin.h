/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of a matrix of few rows with a large one, which is read where it lies: a library copies it into an order of
 * its own first, and with few rows to use the copy for, that is an eighth of the time. Seen by cpu/ only. */
#ifndef ATTAR_BACKEND_CPU_THIN_H
#define ATTAR_BACKEND_CPU_THIN_H
#include "backend/cpu/cpu_internal.h"

/* c [m,n] = a [m,k] b, row-major. packed: a in the order of the kernel. */
typedef struct dd_thin_job {
    int64_t m, n, k;
    const void *a, *b;
    void *c, *packed;
} dd_thin_job;

/* One for b [k,n] and one for b [n,k]. Every number is summed in one order, however columns are divided. */
typedef struct dd_thin {
    int64_t unit; /* columns that are worth taking together */
    size_t (*packed_bytes)(int64_t m, int64_t k);
    size_t (*buffer_bytes)(int64_t m);      /* of a thread */
    int64_t (*parts)(int64_t m, int64_t k); /* that a is packed in, each by itself */
    void (*pack)(const dd_thin_job *j, int64_t part);
    void (*columns)(const dd_thin_job *j, int64_t from, int64_t to, void *buffer);
} dd_thin;

extern const dd_thin dd_thin_f32_avx2[2], dd_thin_f64_avx2[2], dd_thin_f32_avx512[2],
    dd_thin_f64_avx512[2]; /* [1]: b [n,k] */

/* Whether it takes a product; then the kernel and its scratch are set. */
bool dd_cpu_thin_prepare(dd_backend *b, dd_instr *in);
#endif
