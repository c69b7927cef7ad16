/* SPDX-License-Identifier: Apache-2.0
 *
 * Loop nests over strided views: a nest is a box of at most 6 axes with the element strides of up to 4 operands, its
 * axes merged where every operand allows it. Used by the pointwise kernels and the reductions. */
#ifndef ATTAR_BACKEND_CPU_LOOPS_H
#define ATTAR_BACKEND_CPU_LOOPS_H
#include "backend/backend.h"

typedef struct dd_nest {
    int rank, nop;
    int64_t dim[DD_MAX_RANK], stride[DD_INSTR_SRC][DD_MAX_RANK];
    bool mark[DD_MAX_RANK]; /* axes merge only with axes of the same mark */
} dd_nest;

/* A place in the box spanned by the first `rank` axes. */
typedef struct dd_cursor {
    int64_t at[DD_MAX_RANK], off[DD_INSTR_SRC];
} dd_cursor;

/* Drops axes of size 1 and merges neighbours. A nest of one element keeps no axis. */
void dd_nest_merge(dd_nest *z);
/* Exchanges two axes. */
void dd_nest_swap(dd_nest *z, int a, int b);
int64_t dd_nest_count(const dd_nest *z, int rank);
/* The place with linear number `index` in the box of the first `rank` axes, and the next one. */
dd_cursor dd_cursor_at(const dd_nest *z, int rank, int64_t index);
void dd_cursor_next(dd_cursor *c, const dd_nest *z, int rank);
#endif
