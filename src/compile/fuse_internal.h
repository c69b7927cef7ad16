/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the row groups share: a group, the state of the pass, and a step seen as rows. Seen by
 * compile/fuse* only. */
#ifndef ATTAR_COMPILE_FUSE_INTERNAL_H
#define ATTAR_COMPILE_FUSE_INTERNAL_H
#include "compile/passes.h"

enum { DD_GROUP_MOST = 192 }; /* members */

/* Steps with the views of dd_rows_of, in the order they run. */
typedef struct dd_group {
    int64_t outer, longest; /* rows; elements of the longest */
    size_t first;           /* step where it stands */
    size_t n;
    dd_command k[DD_GROUP_MOST];
} dd_group;

typedef struct dd_fuser {
    dd_compiled *c;
    dd_group **group; /* [ngroup], in the order of `first` */
    size_t ngroup, group_cap;
    size_t *of;      /* [nstep] 1 + group; 0: on its own */
    size_t slots;    /* capacity of the arrays by slot: clones add slots */
    size_t *owner;   /* [slots] 1 + group that writes it; 0: none */
    bool *skipped;   /* [slots] touched by a step between the group's first and the one at hand */
    int *reads;      /* [slots] operands, over all steps */
    int *writes;     /* [slots] */
    int *buffer;     /* [slots] 1 + block buffer; 0: memory; < 0: -(1 + member) whose readers compute it */
    dd_command *out; /* [nout] the new list */
    size_t nout, out_cap;
} dd_fuser;

static inline dd_status dd_fuse_no_memory(const dd_fuser *f)
{
    return dd_fail(DD_ENOMEM, "out of memory while joining %zu instructions", f->c->nstep);
}

/* fuse_rows.c */
bool dd_rows_reduction(const dd_command *k);
bool dd_rows_pool(const dd_command *k); /* by 2x2 windows that do not overlap, one plane a row */
bool dd_rows_candidate(const dd_compiled *c, const dd_command *k); /* a step that may be a member at all */
/* The views of k with `outer` rows, the row as their last axis; *longest grows to the longest of them. */
bool dd_rows_of(const dd_command *k, int64_t outer, int64_t *longest, dd_command *out);
int64_t dd_rows_width(const dd_view *rows);
bool dd_rows_aligned(const dd_view *v, int64_t width);          /* v reads row r of a value where row r was written */
const dd_command *dd_group_writer(const dd_group *g, int slot); /* NULL: no member */

/* fuse_grow.c */
dd_status dd_groups_form(dd_fuser *f);
/* fuse_rerun.c; self: 1 + number of the group */
dd_status dd_group_recompute(dd_fuser *f, size_t self);
/* fuse_inside.c: marks what readers compute, gives buffers to the rest; returns their number */
int dd_group_buffers(dd_fuser *f, const dd_group *g);
#endif
