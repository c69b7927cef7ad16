/* SPDX-License-Identifier: Apache-2.0
 *
 * A prepared row group: what each member does and where its operands lie. Made by cpu_group.c and run row by row
 * (cpu_group_rows.c) or, where rows lie in blocks, a block at a time (cpu_group_blocks.c). */
#ifndef ATTAR_BACKEND_CPU_GROUP_H
#define ATTAR_BACKEND_CPU_GROUP_H
#include "backend/cpu/cpu_internal.h"
#include "backend/cpu/cpu_loops.h"
#include "backend/cpu/cpu_numbers.h"
#include "backend/cpu/cpu_rows.h"
#include "backend/cpu/cpu_stripes.h"

#include <string.h>

enum { DD_ROW_SPARE = 6 }; /* spare rows, or blocks of rows, of a thread */

/* How one operand is found: in a buffer, or in memory from a cursor over the rows. */
typedef struct dd_row_operand {
    const dd_instr *in; /* whose operand it is in memory, and which: 0 is dst */
    int which;
    int buffer;    /* -1: memory */
    dd_nest rows;  /* the row axes */
    int64_t row;   /* elements from one row to the next; only if `steady` */
    int64_t inner; /* within a row */
    bool steady;
    bool turned; /* in a group that runs in blocks: whole rows that lie in memory as they are */
    bool half;   /* bfloat16 in memory */
    int numbers; /* member whose row numbers turn it into the value; -1: it is the value */
} dd_row_operand;

typedef enum dd_way {
    DD_WAY_MAP,     /* dd_row_map, for rows or the whole block */
    DD_WAY_FOLD,    /* reductions */
    DD_WAY_POOL,    /* SUMPOOL, SUMPOOL_T */
    DD_WAY_PLANES,  /* CONV: a row for each plane */
    DD_WAY_WEIGHTS, /* CONV_DW: reads a row for each plane */
    DD_WAY_BACK,    /* CONV_DX: the same */
    DD_WAY_NUMBERS, /* only the numbers of each row that make the value from its row: readers use them */
    DD_WAY_STORE,   /* the numbers, and the value */
    DD_WAY_AFFINE,  /* two operands, or a STEP, that readers compute */
    DD_WAY_AFFINE_FOLD,
    DD_WAY_LATER, /* an AFFINE whose only reader is the POOL that follows, or a POOL that the MAP after it scales or the
                     AFFINE after it gates, or a SUM of the AFFINE or MAP before it: done with it */
    DD_WAY_NOTHING /* a STEP that its reader computes */
} dd_way;

typedef struct dd_row_member {
    const dd_instr *in;
    dd_way way;
    int nop, wide; /* NUMBERS, STORE: op[wide] is the row, the other operand the number */
    int place;     /* of its numbers among those of the thread; 0: of rows that are the value itself */
    bool shift;    /* NUMBERS, STORE: the steps before are additions */
    bool gate;     /* AFFINE: the second operand is a STEP */
    int from;      /* POOL, AFFINE: the LATER it reads; -1: none */
    int pool;      /* in blocks: a MAP that became the POOL before it, which it multiplies by op[scale]; -1: none */
    int scale;
    int sum;   /* in blocks: AFFINE or MAP of two rows, whose values the LATER of this number sums; -1: none */
    bool kept; /* and which something else reads too */
    dd_row_operand op[DD_INSTR_SRC];
    int64_t width;
    bool block;   /* MAP: one call for the block */
    bool large;   /* SUMPOOL_T rather than SUMPOOL */
    size_t image; /* PLANES, WEIGHTS, BACK: in a thread's memory, its dd_row_image */
    dd_row_map map;
    dd_row_fold fold;
    dd_row_affine affine;
    dd_row_affine_fold affine_fold;
} dd_row_member;

/* Of a convolution, with its buffer behind it. */
typedef struct dd_row_image {
    _Alignas(64) int64_t held; /* the image in the buffer; -1: none yet */
    float buffer[];
} dd_row_image;

typedef struct dd_row_plan {
    dd_cpu_state base;
    const dd_stripes *stripes;               /* NULL: row by row */
    int64_t outer, block;                    /* rows, and those of a pass */
    int64_t unit;                            /* rows that one thread has to take together */
    size_t size, buffer, numbers, spare_row; /* bytes of an element, a buffer, a member's numbers (0: none has any), a
                                                spare row */
    size_t first_numbers, spare;             /* in a thread's memory: numbers, spare rows */
    size_t thread;                           /* its bytes */
    dd_row_affine store;
    int n;
    dd_row_member m[];
} dd_row_plan;

static inline dd_numbers dd_row_numbers_at(const dd_row_plan *p, int place, char *memory)
{
    return dd_numbers_at((double *)(void *)(memory + p->first_numbers + (size_t)place * p->numbers), p->block);
}

/* Of member i; -1: of a row that is the value itself. */
static inline dd_numbers dd_row_numbers_of(const dd_row_plan *p, int i, char *memory)
{
    return dd_row_numbers_at(p, i < 0 ? 0 : p->m[i].place, memory);
}

static inline dd_row_image *dd_row_image_of(const dd_row_member *m, char *memory)
{
    return (dd_row_image *)(void *)(memory + m->image);
}

/* Of a convolution the operand [n,channels,h,w] whose planes are the group's rows, else NULL. */
static inline const dd_view *dd_row_planes_of(const dd_instr *in)
{
    switch (in->kind) {
    case DD_K_CONV: return &in->dst;
    case DD_K_CONV_DX: return &in->src[0];
    case DD_K_CONV_DW: return &in->src[1];
    default: return NULL;
    }
}

/* One number for all rows. */
static inline bool dd_row_constant(const dd_row_operand *o)
{
    return o->inner == 0 && o->buffer < 0 && o->steady && o->row == 0;
}

/* Where an operand lies in memory. */
char *dd_row_base(const dd_row_operand *o);
/* The numbers that an operand with one number a row has in n rows. */
void dd_row_take(const dd_row_plan *p, const dd_row_operand *o, int64_t row, int64_t n, char *memory, double *to);
/* Member i of NUMBERS or STORE: its numbers in n rows. */
void dd_row_make_numbers(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory);
/* Member i in n rows. */
void dd_row_run(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory);
void dd_row_run_blocks(const dd_row_plan *p, int i, int64_t row, int64_t n, char *memory);
#endif
